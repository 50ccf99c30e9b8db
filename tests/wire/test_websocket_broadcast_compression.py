"""Broadcasts to connections that compress: once for all that keep no context."""

from __future__ import annotations

import random
from contextlib import ExitStack

import pytest
from websockets.sync.client import connect

from fastnet import App
from fastnet.websocket import PerMessageDeflate, WebSocket
from tests.wire.live import live

KEEP = PerMessageDeflate(server_no_context_takeover=False, client_no_context_takeover=False)


@pytest.mark.parametrize("size", [10, 5000, 300_000])
def test_a_broadcast_reaches_connections_of_every_kind(size: int) -> None:
    app = App()
    hub = app.hub()

    async def join(ws: WebSocket) -> None:
        hub.join(ws, "room")
        await ws.send("joined")
        async for message in ws:
            hub.broadcast("room", message)

    for path, compression in (("/shared", True), ("/kept", KEEP), ("/plain", False)):
        app.websocket(path, compression=compression)(join)
    text = random.Random(1).randbytes(size // 2).hex()
    with live(app) as server, ExitStack() as stack:
        clients = []
        for path in ("/shared", "/shared", "/kept", "/kept", "/plain"):
            server.opened += 1
            dialed = connect(f"ws://127.0.0.1:{server.port}{path}", proxy=None, max_size=1 << 22)
            clients.append(stack.enter_context(dialed))
            assert clients[-1].recv() == "joined"
        for sent in (text, text, text.encode(), text):
            clients[0].send(sent)
            for client in clients:
                assert client.recv() == sent
        for client in clients:
            client.close()
        assert server.settle()["internal"] == 0
