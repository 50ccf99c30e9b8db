"""WebSockets of a Starlette application: a client sees the same of us and of uvicorn."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.asgi.both import Way, files_of, served, uvicorn_serves
from tests.asgi.starlette_app import Notes, make
from tests.loops import run
from tests.wire.live import until

WAYS = (
    Way("plain"),
    Way("mounted", prefix="/below/it"),
    Way("tls", secure=True),
    Way("behind-middleware", wrapped=True),
)
LARGE = bytes(range(256)) * 8000  # 2 MB: above the 1 MiB of a WebSocket route of ours

Dial = Callable[..., connect]


class Both:
    """Two servers, and connections to each."""

    def __init__(self, ours: Dial, theirs: Dial, notes: tuple[Notes, Notes]) -> None:
        self.dials = (ours, theirs)
        self.notes = notes

    def see(self, talk: Callable[[Dial], Awaitable[Any]]) -> Any:
        """What a client sees, which must be the same of both."""

        async def both() -> tuple[Any, Any]:
            return await talk(self.dials[0]), await talk(self.dials[1])

        ours, theirs = run(both())
        assert ours == theirs
        return ours

    def noticed(self, note: str, theirs: str | None = None) -> None:
        until(lambda: note in self.notes[0].seen)
        until(lambda: (theirs or note) in self.notes[1].seen)


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.name)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    way: Way = request.param
    folder = tmp_path_factory.mktemp("ws")
    files = files_of(folder) if way.secure else None
    context = files.client() if files is not None else None
    notes = (Notes(), Notes())

    def dial_of(port: int, prefix: str) -> Dial:
        def dial(path: str, **options: Any) -> connect:
            uri = f"{'wss' if context else 'ws'}://127.0.0.1:{port}{prefix}{path}"
            return connect(uri, compression=None, proxy=None, max_size=None, ssl=context, **options)

        return dial

    with ExitStack() as stack:
        ours = stack.enter_context(served(make(folder, notes[0]), way, files)).port
        theirs = stack.enter_context(uvicorn_serves(make(folder, notes[1]), way, files))
        yield Both(dial_of(ours, way.prefix), dial_of(theirs, ""), notes)


async def ending(ws: ClientConnection) -> tuple[list[str | bytes], int, str]:
    """What still comes, and how it ends."""
    messages: list[str | bytes] = []
    try:
        while True:
            messages.append(await ws.recv())
    except ConnectionClosed as closed:
        if closed.rcvd is None:
            raise
        return messages, closed.rcvd.code, closed.rcvd.reason


@pytest.mark.parametrize("path", ["/ws/echo", "/ws/bytes"])
def test_messages(both: Both, path: str) -> None:
    async def talk(dial: Dial) -> list[Any]:
        async with dial(path) as ws:
            sent = [b"", b"x", LARGE] if "bytes" in path else ["", "ü", "long" * 500_000]
            for message in sent:
                await ws.send(message)
            answers = [await ws.recv() for _ in sent]
            await ws.send([b"in ", b"pieces"] if "bytes" in path else ["in ", "pieces"])
            answers.append(await ws.recv())
            assert answers[:-1] == sent
            await (await ws.ping())
            return answers

    both.see(talk)


@pytest.mark.parametrize("offered", [None, ["one"], ["one", "two"]])
def test_subprotocols_and_headers_of_the_hand_shake(both: Both, offered: Any) -> None:
    async def talk(dial: Dial) -> Any:
        async with dial("/ws/echo", subprotocols=offered) as ws:
            assert ws.response is not None
            fields = sorted((name.lower(), value) for name, value in ws.response.headers.raw_items())
            return ws.subprotocol, [field for field in fields if field[0] in ("x-ws", "set-cookie")]

    subprotocol, fields = both.see(talk)
    assert subprotocol == (offered[-1] if offered else None)
    assert fields == [("set-cookie", "w=1"), ("x-ws", "yes")]


def test_what_the_scope_says(both: Both) -> None:
    async def talk(dial: Dial) -> Any:
        async with dial("/ws/about/a%20b?x=1&x=2") as ws:
            messages, code, reason = await ending(ws)
            about = json.loads(messages[0])
            # uvicorn has no TLS extension.
            about["extensions"] = [name for name in about["extensions"] if name != "tls"]
            return about, code, reason

    about, code, reason = both.see(talk)
    assert (code, reason) == (4321, "that was all")
    assert about["state"] == "from the lifespan"
    assert about["extensions"] == ["websocket.http.response"]


@pytest.mark.parametrize(
    "path",
    [
        "/ws/closes?code=1000",
        "/ws/closes?code=1001&reason=going",
        "/ws/closes?code=1011&reason=%C3%BC",
        "/ws/closes?code=4000",
    ],
)
def test_how_the_application_ends_it(both: Both, path: str) -> None:
    async def talk(dial: Dial) -> Any:
        async with dial(path) as ws:
            return await ending(ws)

    both.see(talk)


@pytest.mark.parametrize(("path", "code"), [("/ws/returns", 1000), ("/ws/raises", 1011)])
def test_an_application_that_ends_without_a_word(both: Both, path: str, code: int) -> None:
    # uvicorn drops the connection without a Close frame (1006 for browsers); RFC 6455, 7.1.1 wants one.
    async def ours() -> int:
        async with both.dials[0](path) as ws:
            return (await ending(ws))[1]

    async def theirs() -> None:
        async with both.dials[1](path) as ws:
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.rcvd is None

    assert run(ours()) == code
    run(theirs())


@pytest.mark.parametrize(
    "path", ["/ws/refuses", "/ws/denies", "/ws/denies-in-pieces", "/ws/breaks", "/ws/nowhere", "/items/1"]
)
def test_hand_shakes_that_are_refused(both: Both, path: str) -> None:
    async def talk(dial: Dial) -> Any:
        with pytest.raises(InvalidStatus) as refused:
            async with dial(path):
                pass
        answer = refused.value.response
        fields = {name.lower(): value for name, value in answer.headers.raw_items()}
        said = {name: fields.get(name) for name in ("www-authenticate", "retry-after")}
        # The body of an error of the server is the server's own.
        return answer.status_code, said, answer.body if "denies" in path else None

    both.see(talk)


@pytest.mark.parametrize(("code", "reason"), [(1000, "bye"), (1001, ""), (4567, "ünd")])
def test_how_the_client_ends_it(both: Both, code: int, reason: str) -> None:
    async def talk(dial: Dial) -> Any:
        async with dial("/ws/noted") as ws:
            await ws.send("one")
            assert await ws.recv() == "one"
            await ws.close(code, reason)
            return ws.close_code, ws.close_reason

    assert both.see(talk) == (code, reason)
    both.noticed(f"left {code} {reason}")


def test_a_client_that_disappears(both: Both) -> None:
    async def talk(dial: Dial) -> None:
        ws = await dial("/ws/noted")
        ws.transport.abort()

    both.see(talk)
    # RFC 6455, 7.1.5: 1005 is a Close frame without a code, 1006 no Close frame at all. uvicorn has one for both.
    both.noticed("left 1006 ", "left 1005 ")


def test_messages_that_are_too_long(both: Both) -> None:
    async def talk(dial: Dial) -> Any:
        async with dial("/ws/echo") as ws:
            with suppress(ConnectionClosed):
                await ws.send("x" * (16 * 1024 * 1024 + 1))
            return (await ending(ws))[1]

    assert both.see(talk) == 1009


# Without TLS: aiohttp does not wait for the end of its own.
@pytest.mark.parametrize("both", [WAYS[0], WAYS[1]], ids=lambda way: way.name, indirect=True)
def test_aiohttp(both: Both) -> None:
    async def talk(dial: Dial) -> Any:
        at = dial("/ws/echo")
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(at.uri, protocols=("a", "b")) as ws,
        ):
            await ws.send_str("hello")
            return ws.protocol, await ws.receive_str()

    assert both.see(talk) == ("b", "hello")
