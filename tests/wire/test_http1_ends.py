"""How requests end when their peer does: half-closed, closed, reset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from fastnet import App, Request
from tests.wire.live import Live, live, until


class Seen:
    """What handlers noticed."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.let_go = asyncio.Event()

    def __contains__(self, event: str) -> bool:
        return event in self.events


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def server(seen: Seen) -> Iterator[Live]:
    app = App()

    @app.get("/number/{n}")
    async def number(n: int) -> str:
        return str(n)

    @app.get("/slow/{n}")
    async def slow(n: int) -> str:
        await asyncio.sleep(0.01)
        return str(n)

    @app.get("/held/{n}")
    async def held(n: int) -> str:
        seen.events.append("held")
        await seen.let_go.wait()
        return str(n)

    @app.get("/thread/{n}")
    def thread(n: int) -> str:
        return str(n)

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        try:
            while True:
                yield "tick\n"
                await asyncio.sleep(0.005)
        finally:
            seen.events.append("stream closed")

    @app.get("/silent")
    async def silent() -> AsyncIterator[str]:
        try:
            yield "first\n"
            await asyncio.sleep(60)
        finally:
            seen.events.append("silent closed")

    @app.get("/inline", inline=True)
    def inline() -> AsyncIterator[str]:
        return silent()

    @app.get("/plain")
    async def plain(request: Request) -> str:
        seen.events.append("plain begun")
        await asyncio.sleep(0.05)
        seen.events.append("plain ended, disconnected" if request.disconnected else "plain ended")
        return "done"

    @app.get("/cancelled", cancel_on_disconnect=True)
    async def cancelled() -> str:
        try:
            seen.events.append("begun")
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.events.append("cancelled")
            raise
        return "never"

    @app.post("/upload", cancel_on_disconnect=True)
    async def upload(request: Request) -> str:
        try:
            seen.events.append("begun")
            await asyncio.sleep(60)
        finally:
            seen.events.append("cancelled")
        return "never"

    with live(app) as running:
        yield running


# --- half-closed peers


@pytest.mark.parametrize("kind", ["number", "slow", "thread"])
@pytest.mark.parametrize("count", [1, 5, 100])
def test_a_half_closed_peer_gets_every_answer(server: Live, kind: str, count: int) -> None:
    with server.peer() as peer:
        requests = b"".join(b"GET /%s/%d HTTP/1.1\r\nhost: t\r\n\r\n" % (kind.encode(), n) for n in range(count))
        peer.send(requests).half_close()
        assert [peer.answer().body for _ in range(count)] == [b"%d" % n for n in range(count)]
        assert peer.closed()
    assert server.settle()["disconnects"] == 0


def test_half_closed_while_the_handler_runs(server: Live, seen: Seen) -> None:
    async def let_go() -> None:
        for _ in range(5):  # turns of the loop, in which it reads the end
            await asyncio.sleep(0)
        seen.let_go.set()

    with server.peer() as peer:
        peer.get("/held/1")
        until(lambda: "held" in seen)
        peer.half_close()
        server.run(let_go())
        answer = peer.answer()
        assert (answer.body, answer["connection"]) == (b"1", "close")
        assert peer.closed()


def test_half_closed_in_the_middle_of_a_head(server: Live) -> None:
    with server.peer() as peer:
        peer.get("/number/1").send(b"GET /number/2 HTT").half_close()
        assert peer.answer().body == b"1"
        assert peer.closed()
    assert server.settle()["disconnects"] == 1


def test_half_closed_without_a_byte(server: Live) -> None:
    with server.peer() as peer:
        assert peer.half_close().closed()
    assert server.settle()["malformed"] == 0


# --- streams


@pytest.mark.parametrize("target", ["/stream", "/silent", "/inline"])
@pytest.mark.parametrize("end", ["half close", "close", "reset"])
def test_a_stream_is_closed_as_soon_as_its_peer_is(server: Live, seen: Seen, target: str, end: str) -> None:
    peer = server.peer()
    peer.get(target).until(b"\n\r\n")
    if end == "half close":
        peer.half_close()
    elif end == "close":
        peer.sock.close()
    else:
        peer.reset()
    until(lambda: "stream closed" in seen or "silent closed" in seen)
    peer.sock.close()
    counters = server.settle()
    assert counters["disconnects"] == 1
    assert counters["internal"] == 0


def test_an_endless_stream_whose_peer_is_gone_before_it_begins_ends() -> None:
    """The runner's Task takes its first step a turn later: nobody is there to be cancelled when the peer goes."""
    app = App()
    steps = 0

    @app.get("/")
    async def endless() -> AsyncIterator[str]:
        nonlocal steps
        while True:
            steps += 1
            yield "x"

    with live(app) as running:
        # Many at once, so that some find no parked runner.
        for _ in range(40):
            running.peer().get("/").reset()
        until(lambda: running.counters["connections"] == 40)
        running.settle()
        before = steps
        running.run(asyncio.sleep(0.02))
        assert steps == before


# --- plain handlers


def test_a_plain_handler_runs_to_its_end(server: Live, seen: Seen) -> None:
    peer = server.peer()
    peer.get("/plain")
    until(lambda: "plain begun" in seen)
    peer.reset()
    until(lambda: "plain ended, disconnected" in seen)
    assert server.settle()["disconnects"] == 1


def test_a_plain_handler_answers_a_half_closed_peer(server: Live, seen: Seen) -> None:
    with server.peer() as peer:
        assert peer.get("/plain").half_close().answer().body == b"done"
        assert peer.closed()
    assert "plain ended" in seen
    assert server.settle()["disconnects"] == 0


@pytest.mark.parametrize("end", ["half close", "close", "reset"])
def test_a_route_may_ask_to_be_cancelled(server: Live, seen: Seen, end: str) -> None:
    peer = server.peer()
    peer.get("/cancelled")
    until(lambda: "begun" in seen)
    if end == "half close":
        peer.half_close()
    elif end == "close":
        peer.sock.close()
    else:
        peer.reset()
    until(lambda: "cancelled" in seen)
    peer.sock.close()
    assert server.settle()["disconnects"] == 1


def test_cancelled_before_its_body_is_complete(server: Live, seen: Seen) -> None:
    peer = server.peer()
    peer.send(b"POST /upload HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n12345")
    until(lambda: "begun" in seen)
    peer.sock.close()
    until(lambda: "cancelled" in seen)
    server.settle()


def test_a_reset_while_an_answer_is_written(server: Live) -> None:
    """Nothing of it reaches the log as a mistake of ours."""
    for _ in range(20):
        peer = server.peer()
        peer.send(b"GET /slow/1 HTTP/1.1\r\nhost: t\r\n\r\n" * 10)
        peer.reset()
    assert server.settle()["internal"] == 0


def test_a_peer_that_is_gone_while_nobody_reads_its_body() -> None:
    """Reading is paused, so that its end is seen only by the answer, which then has nobody to go to."""
    app = App()
    go = asyncio.Event()

    @app.post("/")
    async def held(request: Request) -> str:
        await go.wait()
        return "late"

    with live(app, keeps=True) as server:
        peer = server.peer().send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 800000\r\n\r\n" + b"x" * 800_000)
        until(lambda: server.counters["bytes_buffered"] > 256 * 1024)
        peer.sock.close()
        server.call(go.set)
        assert server.settle()["internal"] == 0
