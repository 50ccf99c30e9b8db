"""WebSocket echoes by the peers: ``websocket_app.py picows|websockets|aiohttp|socketify PORT``."""

import asyncio
import sys
from typing import Any


def picows(port: int) -> None:
    import uvloop
    from picows import WSFrame, WSListener, WSTransport, WSUpgradeRequest, ws_create_server

    class Echo(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            # A view, which is cheaper than the bytes; fragments are not put together: none are sent.
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())

    def listener(request: WSUpgradeRequest) -> WSListener:
        return Echo()

    async def main() -> None:
        server = await ws_create_server(listener, "127.0.0.1", port, backlog=4096)
        await server.serve_forever()

    uvloop.run(main())


def websockets(port: int) -> None:
    import uvloop
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def main() -> None:
        async with serve(echo, "127.0.0.1", port, backlog=4096):
            await asyncio.get_running_loop().create_future()

    uvloop.run(main())


def aiohttp(port: int) -> None:
    import uvloop
    from aiohttp import WSMsgType, web

    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                await ws.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await ws.send_bytes(message.data)
        return ws

    app = web.Application()
    app.router.add_get("/", echo)
    app.router.add_get("/kept", echo)
    loop = uvloop.new_event_loop()
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=loop, backlog=4096)


def socketify(port: int) -> None:
    from socketify import App, AppListenOptions, CompressOptions

    def message(ws: Any, message: Any, opcode: Any) -> None:
        # The last argument asks for compression where it was negotiated.
        ws.send(message, opcode, True)

    app = App()
    behavior = {"message": message, "max_payload_length": 1 << 20, "max_backpressure": 1 << 24}
    alone = CompressOptions.SHARED_COMPRESSOR | CompressOptions.SHARED_DECOMPRESSOR
    kept = CompressOptions.DEDICATED_COMPRESSOR_256KB | CompressOptions.DEDICATED_DECOMPRESSOR_32KB
    app.ws("/", {**behavior, "compression": alone})
    app.ws("/kept", {**behavior, "compression": kept})
    app.listen(AppListenOptions(port=port, host="127.0.0.1"))
    app.run()


if __name__ == "__main__":
    run = {"picows": picows, "websockets": websockets, "aiohttp": aiohttp, "socketify": socketify}[sys.argv[1]]
    run(int(sys.argv[2]))
