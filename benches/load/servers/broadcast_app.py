"""What is broadcast to all connections by fastnet's hub or by websockets: ``broadcast_app.py fastnet|websockets PORT``.

Whatever a connection sends goes to all of them.
"""

import asyncio
import sys


def fastnet(port: int) -> None:
    from fastnet import App, WebSocket

    app = App()
    hub = app.hub()

    def on_open(ws: WebSocket) -> None:
        hub.join(ws, "all")

    def on_message(ws: WebSocket, message: bytes) -> None:
        hub.broadcast("all", message)

    app.websocket("/", on_open=on_open, on_message=on_message)
    app.run(port=port)


def websockets(port: int) -> None:
    import uvloop
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    connections: set[ServerConnection] = set()

    async def handler(connection: ServerConnection) -> None:
        connections.add(connection)
        try:
            async for message in connection:
                broadcast(connections, message)
        finally:
            connections.discard(connection)

    async def main() -> None:
        async with serve(handler, "127.0.0.1", port, compression=None):
            await asyncio.get_running_loop().create_future()

    uvloop.run(main())


if __name__ == "__main__":
    {"fastnet": fastnet, "websockets": websockets}[sys.argv[1]](int(sys.argv[2]))
