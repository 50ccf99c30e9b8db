"""What the engine says of its connections and of what runs, for whoever looks for what it is busy with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from fastnet import App, Request, WebSocket
from fastnet_ext.serve.runner import Runner
from tests.wire.h2peer import H2Peer
from tests.wire.live import Live, live, until

HAND_SHAKE = (
    "upgrade: websocket",
    "connection: Upgrade",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version: 13",
)


@pytest.fixture
def server() -> Iterator[Live]:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.get("/slow/{name}")
    async def slow(name: str) -> str:
        await asyncio.sleep(600)
        return "slow"

    @app.post("/late")
    async def late(request: Request) -> str:
        return str(len(await request.body()))

    @app.get("/inline", inline=True)
    def inline(request: Request) -> str:
        found = describing[0].running()
        return f"{found['route']} {found['request_id']}"

    @app.websocket("/ws")
    async def ws(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()

    describing: list[Any] = []
    with live(app, timeout_drain=0.1) as running:
        describing.append(running.server.state)
        yield running


def connections(server: Live) -> list[dict[str, Any]]:
    state = server.server.state
    assert state is not None
    found: list[dict[str, Any]] = server.call(state.describe)["connections"]
    return found


def only(server: Live) -> dict[str, Any]:
    (found,) = connections(server)
    return found


def test_a_connection_from_its_beginning_to_its_end(server: Live) -> None:
    with server.peer() as peer:
        until(lambda: len(connections(server)) == 1)
        found = only(server)
        assert (found["protocol"], found["state"], found["requests"]) == ("", "head", [])
        assert found["peer"] == peer.sock.getsockname()
        assert found["listener"][1] == server.port
        assert 0 <= found["age"] < 10
        assert 0 < found["seconds_left"] <= 11
        peer.get("/").answer()
        found = only(server)
        assert (found["number"], found["protocol"], found["state"], found["tls"]) == (1, "HTTP/1", "idle", False)
        assert 60 < found["seconds_left"] <= 76
        peer.get("/slow/7?token=abc")
        until(lambda: only(server)["state"] == "answering")
        found = only(server)
        assert found["seconds_left"] is None
        (request,) = found["requests"]
        assert (request["method"], request["path"], request["query"]) == ("GET", "/slow/7", "token=abc")
        assert (request["route"], request["handler"].__name__) == ("/slow/{name}", "slow")
        assert (len(request["request_id"]), request["status"]) == (16, 0)
        assert 0 <= request["seconds"] < 10
        peer.get("/")
        until(lambda: only(server)["bytes_in"] > 0)
        assert not only(server)["reading_paused"]


def test_a_body_on_its_way(server: Live) -> None:
    with server.peer() as peer:
        peer.send(b"POST /late HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n12345")
        until(lambda: [found["state"] for found in connections(server)] == ["body"])
        assert only(server)["requests"][0]["bytes_received"] == 5


def test_streams_and_tunnels(server: Live) -> None:
    with H2Peer(server.port) as many, server.peer() as socket:
        for name in "ab":
            many.request("GET", f"/slow/{name}")
        until(lambda: server.counters["requests_active"] == 2)
        socket.get("/ws", *HAND_SHAKE).answer()
        one, two = connections(server)
        assert (one["protocol"], two["protocol"]) == ("HTTP/2", "WebSocket")
        assert [request["path"] for request in one["requests"]] == ["/slow/a", "/slow/b"]
        assert [(request["route"], request["status"]) for request in two["requests"]] == [("/ws", 101)]


def test_no_more_than_the_limit_is_told(server: Live) -> None:
    peers = [server.peer() for _ in range(5)]
    until(lambda: server.counters["connections_open"] == 5)
    state = server.server.state
    assert state is not None
    found = server.call(lambda: state.describe(limit=3))
    assert [connection["number"] for connection in found["connections"]] == [1, 2, 3]
    assert (found["connections_open"], found["draining"]) == (5, False)
    for peer in peers:
        peer.sock.close()


def test_a_runner_tells_its_request_and_its_coroutine(server: Live) -> None:
    async def runners() -> list[Runner]:
        coroutines: list[object] = [task.get_coro() for task in asyncio.all_tasks()]
        return [runner for runner in coroutines if isinstance(runner, Runner) and runner.job is not None]

    with server.peer() as peer:
        peer.get("/slow/x")
        until(lambda: server.counters["requests_active"] == 1)
        (runner,) = server.run(runners())
        assert getattr(runner.job, "__name__", "") == "slow"
        described = server.call(runner.describe)
        assert described is not None
        assert described["path"] == "/slow/x"
        del runner


def test_what_is_being_answered_is_known_while_it_is(server: Live) -> None:
    state = server.server.state
    assert state is not None
    assert server.call(state.running) is None
    with server.peer() as peer:
        assert peer.get("/inline", "x-request-id: abc").answer().body == b"/inline abc"
    assert server.call(state.running) is None
