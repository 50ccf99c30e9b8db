"""Compression where ASGI and WSGI come in: mounted applications, and apps that other servers host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from fastnet import App, Request
from fastnet.asgi.wsgi import WSGI
from fastnet.compression import CODINGS, CodingName, Decompressor, compress, decompress
from tests.loops import run
from tests.net.asgi_host import END, Call, http_scope, part
from tests.wire.live import live

TEXT = "".join(f"line {n} of a text\n" for n in range(400)).encode()


async def mounted(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application: whole bodies, pieces of them, a file, one that is coded already, events, and an echo."""
    path = scope["path"].removeprefix(scope["root_path"])
    fields = [(b"content-type", b"text/plain")]
    if path == "/coded":
        fields.append((b"content-encoding", b"deflate"))
    if path == "/sized":
        fields.append((b"content-length", b"%d" % len(TEXT)))
    body = TEXT
    if path == "/echo":
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
    if path == "/events":
        fields = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    if path == "/file":
        await send({"type": "http.response.pathsend", "path": __file__})
        return
    if path == "/events":
        for n in range(3):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % n, "more_body": True})
            await asyncio.sleep(0.01)
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    if path.startswith("/large"):
        body = TEXT * 50
    if path == "/large/pieces":
        for _ in range(3):
            await send({"type": "http.response.body", "body": body, "more_body": True})
        body = b""
    if path == "/pieces":
        for line in TEXT.splitlines(keepends=True):
            await send({"type": "http.response.body", "body": line, "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": body})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [TEXT] if environ["PATH_INFO"] == "/whole" else iter(TEXT.splitlines(keepends=True))


def make_app(*, middleware: bool = False) -> App:
    app = App()
    app.compress()
    app.decompress()
    app.mount("/asgi", mounted)
    app.mount("/wsgi", WSGI(wsgi))
    app.mount("/off", mounted, compress=False)

    @app.get("/text")
    async def text() -> bytes:
        return TEXT

    @app.get("/json")
    async def rows() -> list[str]:
        return TEXT.decode().splitlines()

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        for line in TEXT.decode().splitlines(keepends=True):
            yield line

    @app.sse("/events")
    async def events() -> AsyncIterator[str]:
        yield "one"
        await asyncio.Event().wait()

    @app.post("/echo")
    async def echo(request: Request) -> str:
        return (await request.body()).decode()

    if middleware:

        @app.middleware
        async def named(request: Request, call_next: Any) -> Any:
            response = await call_next(request)
            response.headers["x-named"] = "1"
            return response

    return app


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize("coding", CODINGS)
def test_mounts(middleware: bool, coding: CodingName) -> None:
    with live(make_app(middleware=middleware)) as server, server.peer() as peer:
        for target in ("/asgi/whole", "/asgi/pieces", "/asgi/sized", "/wsgi/whole", "/wsgi/pieces"):
            answer = peer.get(target, f"accept-encoding: {coding}").answer()
            assert (answer["content-encoding"], answer["vary"]) == (coding, "accept-encoding"), target
            assert decompress(answer.body, coding) == TEXT
            assert answer["x-named"] == ("1" if middleware else None)
            answer = peer.get(target).answer()
            assert (answer["content-encoding"], answer.body) == (None, TEXT)
        assert peer.get("/asgi/coded", f"accept-encoding: {coding}").answer().body == TEXT
        answer = peer.get("/off/whole", f"accept-encoding: {coding}").answer()
        assert (answer["content-encoding"], answer["vary"], answer.body) == (None, None, TEXT)


LARGE = TEXT * 50
BODIES = {"/large": LARGE, "/large/pieces": LARGE * 3, "/file": Path(__file__).read_bytes()}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("target", BODIES)
def test_what_a_thread_compresses(coding: CodingName, target: str) -> None:
    with live(make_app()) as server, server.peer() as peer:
        # Behind each other: their answers stay in order.
        for _ in range(3):
            peer.get("/asgi" + target, f"accept-encoding: {coding}")
        peer.get("/text")
        for _ in range(3):
            answer = peer.answer()
            assert answer["content-encoding"] == coding
            assert decompress(answer.body, coding) == BODIES[target]
        assert peer.answer().body == TEXT
        assert peer.get("/asgi" + target).answer().body == BODIES[target]


@pytest.mark.parametrize("middleware", [False, True])
def test_heads_of_mounts(middleware: bool) -> None:
    with live(make_app(middleware=middleware)) as server, server.peer() as peer:
        for target in ("/asgi/whole", "/asgi/large", "/asgi/pieces", "/wsgi/whole"):
            peer.send(f"HEAD {target} HTTP/1.1\r\nhost: test\r\naccept-encoding: br\r\n\r\n".encode())
            answer = peer.answer("HEAD")
            assert (answer.status, answer["content-encoding"], answer["content-length"]) == (200, "br", None), target


@pytest.mark.parametrize("middleware", [False, True])
def test_mounts_that_are_not_acceptable(middleware: bool, caplog: pytest.LogCaptureFixture) -> None:
    with live(make_app(middleware=middleware)) as server, server.peer() as peer:
        for target in ("/asgi/whole", "/asgi/pieces", "/asgi/large", "/wsgi/whole", "/wsgi/pieces"):
            answer = peer.get(target, "accept-encoding: lzma, *;q=0").answer()
            assert (answer.status, answer["content-type"]) == (406, "application/problem+json"), target
    # What the client accepts is no mistake of the application's.
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize("coding", CODINGS)
def test_events_of_a_mount(middleware: bool, coding: CodingName) -> None:
    with live(make_app(middleware=middleware)) as server, server.peer() as peer:
        peer.get("/asgi/events", f"accept-encoding: {coding}").until(b"\r\n\r\n")
        reader, seen = Decompressor(coding), b""
        while not seen.endswith(b"data: 2\n\n"):
            size = int(peer.until(b"\r\n"), 16)
            seen += reader.decompress(peer.exactly(size + 2)[:-2])


def test_what_is_mounted_gets_bodies_as_they_are() -> None:
    """It is told the Content-Encoding, and sees to it itself."""
    with live(make_app()) as server, server.peer() as peer:
        body = compress(TEXT, "gzip")
        assert peer.post("/off/echo", body, "content-encoding: gzip").answer().body == body


def accepting(target: str, coding: str, **more: Any) -> dict[str, Any]:
    return http_scope(path=target, headers=[(b"host", b"test"), (b"accept-encoding", coding.encode())], **more)


def fields_of(call: Call) -> dict[bytes, bytes]:
    return dict(call.sent[0]["headers"])


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("target", ["/json", "/stream", "/asgi/whole", "/asgi/pieces"])
def test_hosted_by_another_server(coding: CodingName, target: str) -> None:
    async def main() -> None:
        call = await Call(make_app(), accepting(target, coding), END).end()
        fields = fields_of(call)
        assert fields[b"content-encoding"] == coding.encode()
        assert fields[b"vary"] == b"accept-encoding"
        body = b"".join(message.get("body", b"") for message in call.sent[1:])
        assert b"line 399 of a text" in decompress(body, coding)
        assert fields.get(b"content-length", b"%d" % len(body)) == b"%d" % len(body)

    run(main())


@pytest.mark.parametrize("coding", CODINGS)
def test_hosted_events(coding: CodingName) -> None:
    async def main() -> None:
        call = Call(make_app(), accepting("/events", coding), END)
        reader, seen = Decompressor(coding), b""
        await call.until(lambda: len(call.sent) > 1)
        assert fields_of(call)[b"content-encoding"] == coding.encode()
        for at in range(1, 100):
            await call.until(lambda at=at: len(call.sent) > at)
            seen += reader.decompress(call.sent[at].get("body", b""))
            if seen == b"data: one\n\n":
                break
        assert seen == b"data: one\n\n"
        call.bring({"type": "http.disconnect"})
        await call.end()

    run(main())


@pytest.mark.parametrize("coding", CODINGS)
def test_hosted_uploads(coding: CodingName) -> None:
    async def main() -> None:
        app, body = make_app(), compress(TEXT, coding)
        scope = http_scope("POST", "/echo", headers=[(b"host", b"test"), (b"content-encoding", coding.encode())])
        call = await Call(app, scope, part(body[:50]), part(body[50:], more=False)).end()
        assert call.sent[1]["body"] == TEXT
        bomb = compress(bytes(30_000_000), coding)
        call = await Call(app, scope, part(bomb, more=False)).end()
        assert call.sent[0]["status"] == 413

    run(main())
