"""WebSocket echoes by fastnet: ``app`` has handlers, ``callbacks`` has callbacks."""

from fastnet import App, WebSocket
from fastnet.websocket import PerMessageDeflate

# zlib's own level, which is what the others take: what is compared is the cost of the same work.
ALONE = PerMessageDeflate(level=6)
# The window and memory that websockets takes; ours are larger by default, and compress a little better for more time.
KEPT = PerMessageDeflate(
    level=6,
    server_no_context_takeover=False,
    client_no_context_takeover=False,
    server_max_window_bits=12,
    client_max_window_bits=12,
    memory_level=5,
)

app = App()
callbacks = App()


@app.websocket("/", compression=ALONE)
@app.websocket("/kept", compression=KEPT)
async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


def on_message(ws: WebSocket, message: str | bytes) -> None:
    ws.send_nowait(message)


callbacks.websocket("/", on_message=on_message, compression=ALONE)
callbacks.websocket("/kept", on_message=on_message, compression=KEPT)
