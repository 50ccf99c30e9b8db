"""Nothing is left of a request: neither objects nor cycles for the collector, whatever way it ended."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from fastnet import App, Request
from fastnet_ext.net.loop_state import LoopState
from tests.net.test_counters import ENDINGS, make_app
from tests.wire.live import Live, Peer, live, until

OURS = ("fastnet_ext.", "fastnet.")


def ours() -> Counter[str]:
    """Live objects that the collector knows, by type, of our modules and of what requests are made of."""
    kinds = Counter(type(thing) for thing in gc.get_objects())
    names = {
        kind: f"{kind.__module__}.{kind.__qualname__}"
        for kind in kinds
        if str(kind.__module__).startswith(OURS) or kind.__name__ in ("Task", "coroutine", "async_generator", "Context")
    }
    return Counter({name: kinds[kind] for kind, name in names.items()})


def grown(before: Counter[str], after: Counter[str]) -> dict[str, int]:
    # A parked runner more or less is no leak; one for each request is. asyncio keeps up to a hundred timers that were
    # cancelled, and with each the context that it was made in.
    allowed = {"_contextvars.Context": 140}
    return {name: count - before[name] for name, count in after.items() if count - before[name] > allowed.get(name, 40)}


def state_of(server: Live) -> LoopState:
    state = server.server.state
    assert state is not None
    return state


def check(server: Live, act: Callable[[Peer], object], rounds: int, per_peer: int = 1) -> None:
    """Act again and again, with the collector off: what is there afterwards was there before."""

    def one() -> None:
        with server.peer() as peer:
            for _ in range(per_peer):
                act(peer)

    for _ in range(3):
        one()
    server.settle()
    server.call(gc.collect)
    before = server.call(ours)
    gc.disable()
    try:
        for _ in range(rounds // per_peer):
            one()
        server.settle()
        # What ends with the next turns of the loop.
        server.run(asyncio.sleep(0.01))
        assert grown(before, server.call(ours)) == {}
        # And the collector finds nothing to do that is ours.
        gc.set_debug(gc.DEBUG_SAVEALL)
        server.call(gc.collect)
        found = Counter(type(thing).__name__ for thing in gc.garbage if str(type(thing).__module__).startswith(OURS))
        # This server lives: these were the one's of the test before, whose thread may have kept them until now.
        for name in ("LoopLocal", "RunnerPool"):
            found.pop(name, None)
        gc.set_debug(0)
        assert found == {}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert state_of(server).open == 0


KEEP_ALIVE = {"answered", "answered later", "answered from a thread", "answered inline", "not found", "failed"}
# These wait for a deadline each.
SLOW = {"body stalled", "head late"}


@pytest.mark.parametrize("ending", [name for name in ENDINGS if name not in SLOW])
def test_nothing_is_left_of_a_request(ending: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "fastnet.error")
    with live(make_app()) as server:
        if ending in KEEP_ALIVE:
            check(server, ENDINGS[ending][0], 2000, per_peer=500)
        else:
            check(server, ENDINGS[ending][0], 2000)


@pytest.mark.parametrize("ending", sorted(SLOW))
def test_nothing_is_left_of_a_late_one(ending: str) -> None:
    with live(make_app(), timeout_body=0.02, timeout_head=0.02) as server:

        def many(peer: Peer) -> None:
            peers = [server.peer() for _ in range(50)]
            for one in peers:
                one.send(
                    b"GET / HT"
                    if ending == "head late"
                    else b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 9\r\n\r\n1"
                )
            for one in peers:
                assert one.answer().status == 408
                one.sock.close()

        check(server, many, 4)


@pytest.mark.parametrize("kind", ["kept", "cycle"])
def test_the_check_itself_finds_leaks(kind: str) -> None:
    app = App()
    kept: list[object] = []

    @app.get("/")
    async def leak(request: Request) -> str:
        if kind == "kept":
            kept.append(request)
        else:
            request.state.itself = request
        return "leaked"

    with live(app, keeps=True) as server, pytest.raises(AssertionError):
        check(server, lambda peer: peer.get("/").answer(), 100, per_peer=50)


def test_runners_are_bounded() -> None:
    """A burst of handlers that wait leaves a few parked tasks, not one for each."""
    app = App()

    @app.get("/")
    async def slow() -> str:
        await asyncio.sleep(0.01)
        return "ok"

    async def tasks() -> int:
        return len(asyncio.all_tasks())

    with live(app) as server:
        for _ in range(5):
            peers = [server.peer() for _ in range(200)]
            for peer in peers:
                peer.get("/")
            for peer in peers:
                assert peer.answer().status == 200
                peer.sock.close()
        server.settle()
        until(lambda: server.run(tasks()) < 40)


def test_what_a_handler_keeps_of_its_request_does_not_keep_the_connection() -> None:
    app = App()
    kept: list[Request] = []

    @app.get("/")
    async def keep(request: Request) -> str:
        request.headers.get("host")
        kept.append(request)
        return "kept"

    with live(app, keeps=True) as server:
        with server.peer() as peer:
            for _ in range(10):
                peer.get("/").answer()
        server.settle()
        assert len(kept) == 10
        # It can still be asked, and says that it is over.
        assert kept[0].headers["host"] == "test"
        assert kept[0].client is None or kept[0].client.host == "127.0.0.1"


def test_a_stream_left_midway_gives_its_generator_back() -> None:
    app = App()
    living = 0

    class Held:
        def __init__(self) -> None:
            nonlocal living
            living += 1

        def __del__(self) -> None:
            nonlocal living
            living -= 1

    @app.get("/")
    async def stream() -> AsyncIterator[str]:
        held = Held()
        while held:
            yield "tick"
            await asyncio.sleep(0.001)

    gc.disable()
    try:
        with live(app) as server:
            for _ in range(50):
                with server.peer() as peer:
                    peer.get("/").until(b"tick")
            server.settle()
            until(lambda: living == 0)
    finally:
        gc.enable()
