"""The same application served by us and by uvicorn, asked the same: whatever differs fails.

``WAYS`` are ways to be served by us; each has its counterpart in uvicorn. Left out of the comparison is what
belongs to a server and not to an application: Date, Server, and how a body is framed.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import trustme
import uvicorn

from fastnet import App, Request, Response
from fastnet.asgi.types import AsgiApp
from tests.loops import NAME
from tests.wire.live import WAIT, Live, live, until
from tests.wire.tls import Files, issue

__all__ = ["OF_SERVERS", "WAYS", "Pair", "Way", "files_of", "pair", "served", "uvicorn_serves"]

# Hosts stand in links, ports change: all tests call the server by this name.
HOST = "service.example"


@dataclass(frozen=True)
class Way:
    """How the application is served by us."""

    name: str
    version: Literal["HTTP/1.1", "HTTP/2"] = "HTTP/1.1"
    secure: bool = False
    prefix: str = ""
    wrapped: bool = False


WAYS = (
    Way("http1"),
    Way("http2", "HTTP/2"),
    Way("tls-http1", secure=True),
    Way("tls-http2", "HTTP/2", secure=True),
    Way("mounted", prefix="/below/it"),
    Way("behind-middleware", wrapped=True),
    Way("mounted-behind-middleware-http2", "HTTP/2", prefix="/below/it", wrapped=True),
)


def files_of(folder: Any) -> Files:
    """A certificate for the loopback address."""
    return issue(folder, trustme.CA(), "server", "127.0.0.1", "localhost")


# --- servers


@contextmanager
def served(application: AsgiApp, way: Way = WAYS[0], files: Files | None = None, **settings: Any) -> Iterator[Live]:
    """The application served by us."""
    app = App()
    if way.wrapped:

        @app.middleware
        async def look(request: Request, call_next: Any) -> Response:
            response: Response = await call_next(request)
            response.headers["x-wrapped"] = "yes"
            return response

    app.mount(way.prefix or "/", application, lifespan="auto")
    if way.secure:
        assert files is not None
        settings.update(tls_cert=files.cert, tls_key=files.key)
    with live(app, keeps=True, **settings) as server:
        yield server


@contextmanager
def uvicorn_serves(
    application: AsgiApp, way: Way = WAYS[0], files: Files | None = None, **options: Any
) -> Iterator[int]:
    """The application served by uvicorn; its port. What we mount, uvicorn sees below the same ``root_path``."""
    if way.secure:
        assert files is not None
        options.update(ssl_certfile=files.cert, ssl_keyfile=files.key)
    config = uvicorn.Config(
        application, port=0, root_path=way.prefix, loop=NAME, log_config=None, access_log=False, **options
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started or not thread.is_alive())
    assert server.started, "uvicorn does not start"
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(WAIT)
        assert not thread.is_alive(), "uvicorn does not stop"


# --- the comparison


@dataclass
class Pair:
    """Both servers, and a client of each."""

    way: Way
    live: Live
    their_port: int
    ours: httpx.Client
    theirs: httpx.Client

    def ask(self, method: str, target: str, **options: Any) -> httpx.Response:
        """Ask both, expect the same; our answer."""
        content = options.pop("content", None)
        if callable(content):
            # A generator can be sent once.
            options["content"], following = content(), content()
        else:
            options["content"] = following = content
        ours = self.ours.request(method, self.way.prefix + target, **options)
        options["content"] = following
        theirs = self.theirs.request(method, target, **options)
        assert ours.http_version == self.way.version
        if self.way.wrapped:
            assert ours.headers.pop("x-wrapped", None) is not None
        same(ours, theirs)
        return ours

    def get(self, target: str, **options: Any) -> httpx.Response:
        return self.ask("GET", target, **options)

    def post(self, target: str, **options: Any) -> httpx.Response:
        return self.ask("POST", target, **options)


# A server's own, or the frame of the message (RFC 9112, 6 and 9).
OF_SERVERS = {"date", "server", "connection", "keep-alive", "transfer-encoding"}


def fields_of(answer: httpx.Response) -> list[tuple[str, str]]:
    """What an application said; of several fields of one name the order counts."""
    fields = [(name.lower(), value) for name, value in answer.headers.multi_items()]
    return sorted((field for field in fields if field[0] not in OF_SERVERS), key=lambda field: field[0])


def same(ours: httpx.Response, theirs: httpx.Response) -> None:
    """Fail unless the answers are the same."""
    assert ours.status_code == theirs.status_code, (ours.content, theirs.content)
    fields, expected = fields_of(ours), fields_of(theirs)
    if "content-length" in ours.headers and "content-length" not in theirs.headers:
        # A body that comes in one piece has a length with us, and one chunk with uvicorn.
        fields = [field for field in fields if field[0] != "content-length"]
        if "content-encoding" not in ours.headers and ours.request.method != "HEAD":
            assert int(ours.headers["content-length"]) == len(ours.content)
    assert fields == expected
    assert ours.content == theirs.content


@contextmanager
def pair(make: Callable[[], AsgiApp], way: Way = WAYS[0], files: Files | None = None) -> Iterator[Pair]:
    """The application, made once for each server, until the block ends."""
    scheme = "https" if way.secure else "http"
    verify: ssl.SSLContext | bool = files.client() if way.secure and files is not None else False
    with ExitStack() as stack:
        server = stack.enter_context(served(make(), way, files))
        their_port = stack.enter_context(uvicorn_serves(make(), way, files))
        # uvicorn closes the connection of an application that has failed, after an answer that does not say so: the
        # next request on it may be reset.
        kept, fresh = httpx.Limits(), httpx.Limits(max_keepalive_connections=0)
        clients = [
            stack.enter_context(
                httpx.Client(
                    base_url=f"{scheme}://127.0.0.1:{port}",
                    headers={"host": HOST},
                    http1=version == "HTTP/1.1",
                    http2=version == "HTTP/2",
                    verify=verify,
                    trust_env=False,
                    timeout=WAIT,
                    limits=limits,
                )
            )
            for port, version, limits in ((server.port, way.version, kept), (their_port, "HTTP/1.1", fresh))
        ]
        yield Pair(way, server, their_port, *clients)
