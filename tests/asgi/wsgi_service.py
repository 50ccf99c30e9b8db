"""A WSGI application with an answer of each kind, for servers whose answers are compared."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from wsgiref.types import StartResponse, WSGIEnvironment

from fastnet.asgi.wsgi import WSGI

TEXT = [("Content-Type", "text/plain")]


def environ(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    shown = {name: value for name, value in environ.items() if isinstance(value, (str, bool, tuple))}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({**shown, "body": body.decode("latin-1")}).encode()]


def pieces(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    for at in range(100):
        yield b"%d\n" % at


def whole(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "5"), ("X-Twice", "a"), ("X-Twice", "b"), ("X-L", "\xfc ")])
    return [b"12", b"345"]


def more_than_said(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "3")])
    return [b"12", b"345"]


def less_than_said(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "30")])
    return iter([b"12", b"345"])


def written(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("201 Created", TEXT)
    write(b"one ")
    return [b"two"]


def nothing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


def not_modified(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("304 Not Modified", [("ETag", '"1"')])
    return [b"not to be sent"]


def connection(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Transfer-Encoding", "identity"), ("Keep-Alive", "timeout=1")])
    return [b"x"]


def fails(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise LookupError("before")


def fails_later(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b"begun"
    raise LookupError("after")


def replaced(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("X-First", "1")])
    try:
        raise LookupError("handled")
    except LookupError:
        start_response("418 Teapot", TEXT, sys.exc_info())
    return [b"sorry"]


def file(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    found: Iterable[bytes] = environ["wsgi.file_wrapper"](open(__file__, "rb"), 1000)  # noqa: SIM115 - it closes it
    return found


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield from iter(lambda: environ["wsgi.input"].read(10_000), b"")


ANSWERS: dict[str, Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]] = {
    f"/{found.__name__}": found
    for found in (
        pieces,
        whole,
        more_than_said,
        less_than_said,
        written,
        nothing,
        not_modified,
        connection,
        fails,
        fails_later,
        replaced,
        file,
        echo,
    )
}


def application(environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    answer = ANSWERS.get(environment["PATH_INFO"], environ)
    return answer(environment, start_response)


asgi = WSGI(application)
