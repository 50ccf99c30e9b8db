"""WSGI applications under uvicorn, which judges what they say as ASGI ones, with gunicorn as the oracle."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.sources import ROOT
from tests.asgi.wsgi_service import asgi
from tests.loops import new_loop
from tests.server.service import until

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("gunicorn")


@contextmanager
def uvicorn_serving(app: Any, **settings: Any) -> Iterator[int]:
    """The port at which uvicorn serves an app in a thread."""
    config = uvicorn.Config(app, port=0, http="httptools", ws="none", lifespan="on", log_config=None, **settings)
    server = uvicorn.Server(config)

    def target() -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(server.serve())

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def gunicorn_serving(place: str, folder: Path) -> Iterator[int]:
    """The port at which gunicorn serves a WSGI application in a process."""
    log = folder / "gunicorn.log"
    command = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket"]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--worker-class", "gthread", "--threads", "4", place],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd=folder,
            stderr=stream,
        )
    try:
        until(lambda: "Listening at" in log.read_text() or process.poll() is not None)
        found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", log.read_text())
        assert found is not None, log.read_text()
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def ours() -> Iterator[int]:
    with uvicorn_serving(asgi) as port:
        yield port


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with gunicorn_serving("tests.asgi.wsgi_service:application", tmp_path_factory.mktemp("gunicorn")) as port:
        yield port


def ask(port: int, request: bytes) -> tuple[int, list[tuple[str, str]], bytes | None]:
    """Status, fields and body of the answer to raw bytes; None is a body that is cut short."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as sock:
        sock.sendall(request)
        method = request.split()[0].decode()
        response = http.client.HTTPResponse(sock, method=method)
        response.begin()
        fields = sorted((name.lower(), value) for name, value in response.getheaders())
        try:
            return response.status, fields, response.read()
        except (http.client.IncompleteRead, ConnectionResetError):
            return response.status, fields, None


def get(path: bytes, *fields: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    return b"\r\n".join([b"%s %s HTTP/1.1" % (method, path), b"Host: example.org", *fields, b"", body])


# What servers say of themselves and of the connection.
SERVERS_OWN = ("date", "server", "connection", "transfer-encoding")
ENVIRON_OWN = ("SERVER_SOFTWARE", "SERVER_PORT", "REMOTE_PORT", "REQUEST_URI", "wsgi.multiprocess", "wsgi.multithread")


@pytest.mark.parametrize(
    "request_",
    [
        get(b"/a/b?c=d&c"),
        get(b"/"),
        get(b"//a/../b"),
        get(b"/%C3%BC/%ff%FE/a%2Fb%20c?%C3%BC=%ff+"),
        get(b"/a", b"X-A: 1", b"x-a: 2", b"X-B: \xfc", b"Cookie: a=1"),
        get(b"/a", b"X_A: 1", b"X-A: 2", b"Content_Length: 5"),
        get(b"/a", b"Content-Type: text/plain", b"Content-Length: 3", method=b"POST", body=b"abc"),
        get(b"/a", b"Transfer-Encoding: chunked", method=b"PUT", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        get(b"/a", method=b"DELETE"),
        get(b"/a", b"Proxy: x", b"Authorization: Basic eA=="),
    ],
)
def test_environ_as_under_gunicorn(ours: int, theirs: int, request_: bytes) -> None:
    shown = []
    for port in (ours, theirs):
        status, _, body = ask(port, request_)
        assert status == 200
        assert body is not None
        shown.append(json.loads(body))
    mine, other = shown
    assert mine["REQUEST_URI"] == mine["RAW_URI"]
    for name in ENVIRON_OWN:
        mine.pop(name, None)
        other.pop(name, None)
    assert mine == other


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(
    "path",
    [
        b"/pieces",
        b"/whole",
        b"/more_than_said",
        b"/written",
        b"/nothing",
        b"/not_modified",
        b"/connection",
        b"/file",
    ],
)
def test_answers_as_under_gunicorn(ours: int, theirs: int, path: bytes, method: bytes) -> None:
    answers = []
    for port in (ours, theirs):
        status, fields, body = ask(port, get(path, b"Connection: close", method=method))
        kept = [(name, value) for name, value in fields if name not in SERVERS_OWN]
        answers.append((status, kept, body))
    mine, other = answers
    if ("content-length", str(len(mine[2] or b""))) not in other[1] and method == b"GET":
        # gunicorn does not say what it could know: it sends chunks.
        mine[1][:] = [field for field in mine[1] if field[0] != "content-length"]
    if method == b"HEAD":
        mine[1][:] = [field for field in mine[1] if field[0] != "content-length" or field in other[1]]
    assert mine == other


def test_what_replaces_an_answer_has_none_of_its_fields(ours: int) -> None:
    """As PEP 3333 has it; gunicorn sends those of both."""
    status, fields, body = ask(ours, get(b"/replaced"))
    assert (status, dict(fields).get("x-first"), body) == (418, None, b"sorry")


def test_failures(ours: int, theirs: int) -> None:
    for port in (ours, theirs):
        assert ask(port, get(b"/fails"))[0] == 500
        status, _, body = ask(port, get(b"/fails_later"))
        # Whatever has arrived, it does not look complete.
        assert (status, body) == (200, None)
        status, _, body = ask(port, get(b"/less_than_said", b"Connection: close"))
        assert (status, body) == (200, None)
        assert ask(port, get(b"/whole"))[2] == b"12345"


def test_a_large_echo(ours: int) -> None:
    body = os.urandom(1 << 20) * 4
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:3000], body[3000:2_000_000], body[2_000_000:])
    )
    request = get(b"/echo", b"Transfer-Encoding: chunked", method=b"POST", body=chunks + b"0\r\n\r\n")
    with closing(socket.create_connection(("127.0.0.1", ours), timeout=20)) as sock:
        sender = threading.Thread(target=sock.sendall, args=(request,))
        sender.start()
        response = http.client.HTTPResponse(sock)
        response.begin()
        assert response.read() == body
        sender.join()


def test_below_a_root_path() -> None:
    with uvicorn_serving(asgi, root_path="/api") as port:
        body = ask(port, get(b"/%C3%BC?x"))[2]
        assert body is not None
        found = json.loads(body)
    assert (found["SCRIPT_NAME"], found["PATH_INFO"], found["QUERY_STRING"]) == ("/api", "/\xc3\xbc", "x")
