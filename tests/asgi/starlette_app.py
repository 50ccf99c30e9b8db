"""A Starlette application of everything that such applications use."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

__all__ = ["Notes", "make"]


class Notes:
    """What the application has noticed, for tests to look at from another thread."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._lock = threading.Lock()

    def add(self, note: str) -> None:
        with self._lock:
            self.seen.append(note)


class Timing(BaseHTTPMiddleware):  # type: ignore[misc]
    """Middleware as Starlette's users write it."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        request.state.by_middleware = "here"
        response = await call_next(request)
        response.headers["x-dispatched"] = request.url.path
        return response


class Pure:
    """Middleware of the specification alone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-pure", b"1")]
            await send(message)

        await self.app(scope, receive, marked)


# --- requests


async def item(request: Request) -> Response:
    return JSONResponse({"id": request.path_params["id"], "query": request.query_params.multi_items()})


async def rest(request: Request) -> Response:
    return PlainTextResponse(request.path_params["rest"])


async def scope_seen(request: Request) -> Response:
    """The scope, less what differs from connection to connection."""
    scope = request.scope
    # Of the carrier: HTTP/2 has neither. The rest comes in the order in which it was sent.
    headers = [
        [name.decode("latin-1"), value.decode("latin-1")]
        for name, value in scope["headers"]
        if name not in (b"connection", b"host", b"transfer-encoding")
    ]
    seen = {key: scope[key] for key in ("type", "method", "scheme", "path", "root_path")}
    seen |= {key: scope[key].decode("latin-1") for key in ("raw_path", "query_string")}
    return JSONResponse(
        {
            **seen,
            "asgi": scope["asgi"],
            "headers": headers,
            "host": request.headers["host"],
            "client": scope["client"][0],
            "server": scope["server"][0],
            "state": scope["state"].get("greeting"),
            "url": str(request.url),
            "base": str(request.base_url),
        }
    )


async def links(request: Request) -> Response:
    return JSONResponse(
        [
            str(request.url_for("item", id=1)),
            str(request.url_for("sub:inner", name="ü x")),
            str(request.url_for("static", path="/page.html")),
            request.app.url_path_for("sub:inner", name="a"),
        ]
    )


async def inner(request: Request) -> Response:
    return JSONResponse({"name": request.path_params["name"], "root": request.scope["root_path"]})


async def echo(request: Request) -> Response:
    body = await request.body()
    return Response(body, media_type=request.headers.get("content-type"))


async def count(request: Request) -> Response:
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return JSONResponse({"size": size, "sha256": digest.hexdigest()})


async def form(request: Request) -> Response:
    async with request.form() as fields:
        found: list[list[Any]] = []
        for name, value in fields.multi_items():
            if isinstance(value, str):
                found.append([name, value])
            else:
                content = await value.read()
                found.append([name, value.filename, value.content_type, len(content), content[:16].hex()])
    return JSONResponse(found)


async def unread(request: Request) -> Response:
    return PlainTextResponse("not read", status_code=202)


# --- answers


async def stream(request: Request) -> Response:
    async def numbers() -> AsyncIterator[str]:
        for number in range(1000):
            yield f"{number}\n"

    length = sum(len(f"{number}\n") for number in range(1000))
    headers = {"content-length": str(length)} if "length" in request.query_params else None
    return StreamingResponse(numbers(), media_type="text/csv", headers=headers)


def blocking(request: Request) -> Response:
    """In Starlette's own pool of threads."""
    return StreamingResponse((b"x" * 10_000 for _ in range(100)), media_type="application/octet-stream")


async def cookies(request: Request) -> Response:
    response = HTMLResponse("<p>baked</p>", headers={"x-given": "caf\xe9"})
    response.set_cookie("a", "1", max_age=60, httponly=True)
    response.set_cookie("b", "2", samesite="strict", secure=True)
    return response


async def session(request: Request) -> Response:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JSONResponse(dict(request.session))


async def empty(request: Request) -> Response:
    return Response(status_code=request.path_params["status"], headers={"etag": '"1"'})


async def redirect(request: Request) -> Response:
    return RedirectResponse(request.url_for("item", id=7), status_code=303)


async def large(request: Request) -> Response:
    return PlainTextResponse("compress me " * 2000)


async def broken(request: Request) -> Response:
    raise LookupError("nobody handles this")


async def handled(request: Request) -> Response:
    raise ValueError("somebody handles this")


async def teapot(request: Request) -> Response:
    raise HTTPException(418, "short and stout", headers={"x-pot": "tea"})


async def on_value_error(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=400)


# --- connections


def about_connections(notes: Notes) -> list[Route | WebSocketRoute]:
    """What happens when clients leave, and after answers."""

    async def later(request: Request) -> Response:
        return PlainTextResponse("soon", background=BackgroundTask(notes.add, "background"))

    async def endless(request: Request) -> Response:
        async def ticks() -> AsyncIterator[str]:
            try:
                while True:
                    yield "tick\n"
                    await asyncio.sleep(0.01)
            finally:
                notes.add("stream ended")

        return StreamingResponse(ticks())

    async def silent(request: Request) -> Response:
        async def nothing() -> AsyncIterator[str]:
            try:
                yield "begin\n"
                await asyncio.Event().wait()
            finally:
                notes.add("silence ended")

        return StreamingResponse(nothing())

    async def patient(request: Request) -> Response:
        notes.add("waits")
        while not await request.is_disconnected():  # noqa: ASYNC110 -- the question that is tested
            await asyncio.sleep(0.01)
        notes.add("disconnected")
        return PlainTextResponse("to nobody")

    async def half(request: Request) -> Response:
        try:
            await request.body()
        except ClientDisconnect:
            notes.add("body broken off")
            raise
        return PlainTextResponse("whole")

    async def seen(request: Request) -> Response:
        return JSONResponse(notes.seen)

    return [
        Route("/later", later),
        Route("/endless", endless),
        Route("/silent", silent),
        Route("/patient", patient),
        Route("/half", half, methods=["POST"]),
        Route("/seen", seen),
        WebSocketRoute("/ws/noted", socket_of(notes)),
    ]


def socket_of(notes: Notes) -> Any:
    async def noted(ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_text(await ws.receive_text())
        except WebSocketDisconnect as error:
            notes.add(f"left {error.code} {error.reason}")

    return noted


async def ws_echo(ws: WebSocket) -> None:
    offered = ws.scope["subprotocols"]
    await ws.accept(offered[-1] if offered else None, headers=[(b"x-ws", b"yes"), (b"set-cookie", b"w=1")])
    async for text in ws.iter_text():
        await ws.send_text(text)


async def ws_bytes(ws: WebSocket) -> None:
    await ws.accept()
    async for data in ws.iter_bytes():
        await ws.send_bytes(data)


async def ws_about(ws: WebSocket) -> None:
    await ws.accept()
    scope = ws.scope
    await ws.send_json(
        {
            **{key: scope[key] for key in ("type", "scheme", "path", "root_path", "http_version")},
            "name": ws.path_params["name"],
            "query": ws.query_params.multi_items(),
            "state": ws.state.greeting,
            "extensions": sorted(scope["extensions"]),
        }
    )
    await ws.close(4321, "that was all")


async def ws_closes(ws: WebSocket) -> None:
    await ws.accept()
    await ws.close(int(ws.query_params["code"]), ws.query_params.get("reason"))


async def ws_returns(ws: WebSocket) -> None:
    await ws.accept()


async def ws_raises(ws: WebSocket) -> None:
    await ws.accept()
    raise LookupError("in a WebSocket")


async def ws_refuses(ws: WebSocket) -> None:
    await ws.close(1008, "not today")


async def ws_denies(ws: WebSocket) -> None:
    raise HTTPException(401, "who are you?", headers={"www-authenticate": "Basic"})


async def ws_denies_in_pieces(ws: WebSocket) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"piece %d\n" % number

    await ws.send_denial_response(StreamingResponse(pieces(), 503, {"retry-after": "7"}))


async def ws_breaks(ws: WebSocket) -> None:
    raise LookupError("before the hand-shake")


# --- the whole


def make(folder: Path, notes: Notes | None = None) -> Starlette:
    """The application, with the static files of a folder."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        yield {"greeting": "from the lifespan"}

    async def download(request: Request) -> Response:
        return FileResponse(folder / "large.bin", filename="nächstes.bin")

    compressed = Starlette(
        routes=[Route("/large", large), Route("/stream", stream), Route("/small", rest_of_nothing)],
        middleware=[Middleware(GZipMiddleware, minimum_size=500)],
    )
    wrapped = Starlette(
        routes=[Route("/item/{id:int}", item), Route("/stream", stream), Route("/echo", echo, methods=["POST"])],
        middleware=[Middleware(Timing), Middleware(Pure)],
    )
    return Starlette(
        routes=[
            Route("/items/{id:int}", item, name="item"),
            Route("/rest/{rest:path}", rest),
            Route("/scope{rest:path}", scope_seen, methods=["GET", "POST"]),
            Route("/links", links),
            Route("/slash/", rest_of_nothing),
            Route("/echo", echo, methods=["POST", "PUT"]),
            Route("/count", count, methods=["POST"]),
            Route("/form", form, methods=["POST"]),
            Route("/unread", unread, methods=["POST"]),
            Route("/stream", stream),
            Route("/blocking", blocking),
            Route("/cookies", cookies),
            Route("/session", session),
            Route("/empty/{status:int}", empty),
            Route("/redirect", redirect),
            Route("/download", download),
            Route("/broken", broken),
            Route("/handled", handled),
            Route("/teapot", teapot),
            *about_connections(notes or Notes()),
            WebSocketRoute("/ws/echo", ws_echo),
            WebSocketRoute("/ws/bytes", ws_bytes),
            WebSocketRoute("/ws/about/{name}", ws_about),
            WebSocketRoute("/ws/closes", ws_closes),
            WebSocketRoute("/ws/returns", ws_returns),
            WebSocketRoute("/ws/raises", ws_raises),
            WebSocketRoute("/ws/refuses", ws_refuses),
            WebSocketRoute("/ws/denies", ws_denies),
            WebSocketRoute("/ws/denies-in-pieces", ws_denies_in_pieces),
            WebSocketRoute("/ws/breaks", ws_breaks),
            Mount("/sub", routes=[Route("/inner/{name}", inner, name="inner")], name="sub"),
            Mount("/static", StaticFiles(directory=folder, html=True), name="static"),
            Mount("/gzip", compressed),
            Mount("/wrapped", wrapped),
        ],
        middleware=[Middleware(SessionMiddleware, secret_key="of a test")],
        exception_handlers={ValueError: on_value_error},
        lifespan=lifespan,
    )


async def rest_of_nothing(request: Request) -> Response:
    return PlainTextResponse("here")
