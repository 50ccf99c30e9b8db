"""WSGI applications as ASGI ones, by hand-made scopes and messages; wsgiref's validator stands in between."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import logging
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from fastnet.asgi.wsgi import WINDOW, WSGI
from tests.asgi.hand import Exchange, answer_of, exchange, http_scope, until
from tests.loops import run

TEXT = [("Content-Type", "text/plain")]


def environ_for(scope: Any, body: Iterable[bytes] = (b"",)) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        found.update(environ)
        start_response("200 OK", TEXT)
        return [b"x"]

    assert answer_of(application, scope, body).status == 200
    return found


# --- environ


def test_environ() -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"3"), (b"x-one", b"1")]
    scope = http_scope("/a/b?c=d&e", method="POST", headers=headers)
    found = environ_for(scope, [b"abc"])
    assert {name: value for name, value in found.items() if not name.startswith("wsgi.")} == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a/b",
        "QUERY_STRING": "c=d&e",
        "REQUEST_URI": "/a/b?c=d&e",
        "RAW_URI": "/a/b?c=d&e",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_SOFTWARE": found["SERVER_SOFTWARE"],
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_PORT": "4711",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "3",
        "HTTP_HOST": "example.org",
        "HTTP_X_ONE": "1",
    }
    assert found["SERVER_SOFTWARE"].startswith("fastnet/")
    assert found["wsgi.version"] == (1, 0)
    assert found["wsgi.url_scheme"] == "http"
    assert found["wsgi.multithread"] is True
    assert found["wsgi.multiprocess"] is True
    assert found["wsgi.run_once"] is False
    assert found["wsgi.input_terminated"] is True
    secure = environ_for(http_scope(scheme="https", http_version="2"))
    assert (secure["wsgi.url_scheme"], secure["HTTPS"], secure["SERVER_PROTOCOL"]) == ("https", "on", "HTTP/2.0")


@pytest.mark.parametrize(
    ("path", "raw_path", "root_path", "script_name", "path_info"),
    [
        ("/legacy/a", b"/legacy/a", "/legacy", "/legacy", "/a"),
        ("/legacy", b"/legacy", "/legacy", "/legacy", ""),
        ("/legacy/", b"/legacy/", "/legacy/", "/legacy", "/"),
        # A proxy has cut the prefix off.
        ("/a", b"/a", "/api", "/api", "/a"),
        # What only begins alike is not below it.
        ("/apix/a", b"/apix/a", "/api", "/api", "/apix/a"),
        ("/ü/a b/c", b"/%C3%BC/a%20b%2Fc", "/ü", "/\xc3\xbc", "/a b/c"),
        ("/ü", None, "", "", "/\xc3\xbc"),
        # No UTF-8: the path has replacement characters, the bytes come through.
        ("/\ufffd\ufffdx", b"/%ff%FEx", "", "", "/\xff\xfex"),
        ("/\ufffd/x", b"/%ff/x", "/\ufffd", "/\xef\xbf\xbd", "/x"),
        # Some transports leave the query in.
        ("/a", b"/a?b", "", "", "/a"),
        ("//a", b"//a", "", "", "//a"),
    ],
)
def test_paths(path: str, raw_path: bytes | None, root_path: str, script_name: str, path_info: str) -> None:
    found = environ_for(http_scope() | {"path": path, "raw_path": raw_path, "root_path": root_path})
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == (script_name, path_info)


def test_target_as_it_came() -> None:
    found = environ_for(http_scope() | {"path": "/a b", "raw_path": b"/a%20b", "query_string": b"x=%ff\xff"})
    assert found["REQUEST_URI"] == found["RAW_URI"] == "/a%20b?x=%ff\xff"
    assert found["QUERY_STRING"] == "x=%ff\xff"


def test_repeated_fields_are_joined_and_spoofed_names_dropped() -> None:
    found = environ_for(
        http_scope(
            headers=[
                (b"x-forwarded-for", b"1.1.1.1"),
                (b"x_forwarded_for", b"6.6.6.6"),
                (b"x-forwarded_for", b"6.6.6.6"),
                (b"x-forwarded-for", b"2.2.2.2"),
                (b"content_length", b"100"),
                (b"cookie", b"a=1"),
                (b"cookie", b"b=2"),
                (b"x-latin", b"\xfc"),
            ]
        )
    )
    assert found["HTTP_X_FORWARDED_FOR"] == "1.1.1.1,2.2.2.2"
    assert found["HTTP_COOKIE"] == "a=1; b=2"
    assert found["HTTP_X_LATIN"] == "\xfc"
    assert "CONTENT_LENGTH" not in found
    assert not any("6.6.6.6" in str(value) for value in found.values())


@pytest.mark.parametrize(
    ("server", "host", "expected"),
    [
        (None, b"example.org:81", ("example.org", "81")),
        (("/run/app.sock", None), b"example.org", ("example.org", "80")),
        (None, b"[::1]", ("[::1]", "80")),
        (None, b"[::1]:81", ("[::1]", "81")),
        (None, b"", ("localhost", "80")),
    ],
)
def test_server_name_behind_a_unix_socket(server: Any, host: bytes, expected: tuple[str, str]) -> None:
    scope = http_scope() | {"server": server, "client": None, "headers": [(b"host", host)]}
    found = environ_for(scope)
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == expected
    assert found["REMOTE_ADDR"] == ""
    assert "REMOTE_PORT" not in found


# --- the body of the request


def reading(read: Callable[[Any], Any]) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return [repr(read(environ["wsgi.input"])).encode()]

    return application


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda body: body.read(-1), b"one\ntwo\nthree"),
        (lambda body: body.read(5), b"one\nt"),
        (lambda body: [body.read(7), body.read(100), body.read(1)], [b"one\ntwo", b"\nthree", b""]),
        (lambda body: [body.readline(), body.readline(2), body.readline()], [b"one\n", b"tw", b"o\n"]),
        (lambda body: body.readlines(), [b"one\n", b"two\n", b"three"]),
        (lambda body: body.readlines(3), [b"one\n"]),
        (lambda body: list(body), [b"one\n", b"two\n", b"three"]),
        (lambda body: body.read(0), b""),
    ],
)
def test_reading(read: Callable[[Any], Any], expected: Any) -> None:
    parts = [b"on", b"", b"e\ntw", b"o\nthree"]
    assert answer_of(reading(read), body=parts).body == repr(expected).encode()


def test_a_body_is_fetched_as_it_is_read() -> None:
    size, count = 1 << 20, 40
    found: Any = None

    class Endless(Exchange):
        async def receive(self) -> Any:
            self.taken += 1
            return {"type": "http.request", "body": bytes(size), "more_body": self.taken < count}

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        total = most = 0
        while data := environ["wsgi.input"].read(65536):
            total += len(data)
            most = max(most, found.taken * size - total)
        start_response("200 OK", TEXT)
        return [f"{total} {most}".encode()]

    async def main() -> None:
        nonlocal found
        found = Endless()
        await WSGI(application)(http_scope(method="POST"), found.receive, found.send)

    tracemalloc.start()
    try:
        run(main())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    total, ahead = found.body.split()
    assert int(total) == size * count
    assert int(ahead) <= size
    assert peak < 6 * size


def test_what_is_not_read_is_not_fetched() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        return [b"no thanks"]

    found = answer_of(application, body=[b"x"] * 10)
    assert found.taken == 0


def test_echo_while_the_client_still_sends() -> None:
    """Reads go on while the client takes nothing."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield from iter(lambda: environ["wsgi.input"].read(1000), b"")

    async def main() -> None:
        found = Exchange([bytes([at]) * 1000 for at in range(20)])
        found.room.clear()
        task = asyncio.ensure_future(WSGI(application)(http_scope(), found.receive, found.send))
        await until(lambda: found.taken >= 20)
        found.room.set()
        await task
        assert found.body == b"".join(bytes([at]) * 1000 for at in range(20))

    run(main())


# --- the answer


def returning(
    result: Callable[[], Iterable[bytes]], status: str = "200 OK", headers: Iterable[tuple[str, str]] = TEXT
) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, list(headers))
        return result()

    return application


class Closing:
    """An iterable that tells what became of it."""

    def __init__(self, parts: Iterable[bytes], length: int | None = None) -> None:
        self._parts = iter(parts)
        self.closed = 0
        self.asked = 0
        self.thread: threading.Thread | None = None

    def __iter__(self) -> Closing:
        self.thread = threading.current_thread()
        return self

    def __next__(self) -> bytes:
        self.asked += 1
        return next(self._parts)

    def close(self) -> None:
        self.closed += 1


class One(Closing):
    def __len__(self) -> int:
        return 1


def test_a_list_is_one_message_with_its_length() -> None:
    found = answer_of(returning(lambda: [b"ab", b"", b"c"]), validate=False)
    assert found.status == 200
    assert found.headers == {b"content-type": b"text/plain", b"content-length": b"3"}
    assert found.sent[1:] == [{"type": "http.response.body", "body": b"abc", "more_body": False}]
    found = answer_of(returning(lambda: One([b"abcd"])), validate=False)
    assert found.headers[b"content-length"] == b"4"
    assert len(found.sent) == 2
    found = answer_of(returning(list), validate=False)
    assert found.headers[b"content-length"] == b"0"
    assert found.body == b""
    assert found.complete


def test_an_iterator_streams_and_is_closed() -> None:
    parts = Closing([b"", b"a", b"", b"b"])
    found = answer_of(returning(lambda: parts))
    assert b"content-length" not in found.headers
    assert found.body == b"ab"
    assert found.complete
    assert parts.closed == 1
    assert parts.thread is not threading.main_thread()
    empty = Closing([])
    found = answer_of(returning(lambda: empty))
    assert (found.headers[b"content-length"], found.body, empty.closed) == (b"0", b"", 1)


def test_a_piece_leaves_before_the_next_is_asked_for() -> None:
    """PEP 3333: transmission of a piece is never delayed."""
    go = threading.Event()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"first"
        assert go.wait(20)
        yield b"second"

    async def main() -> None:
        found = Exchange()
        task = asyncio.ensure_future(WSGI(application)(http_scope(), found.receive, found.send))
        await until(lambda: len(found.sent) == 2)
        assert found.body == b"first"
        go.set()
        await task
        assert found.body == b"firstsecond"

    run(main())


def test_no_more_than_content_length_is_asked_for_and_sent() -> None:
    parts = Closing([b"abc", b"def", b"ghi"])
    found = answer_of(returning(lambda: parts, headers=[*TEXT, ("Content-Length", "5")]))
    assert found.body == b"abcde"
    assert found.complete
    assert (parts.asked, parts.closed) == (2, 1)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "200 OK"])
def test_answers_without_a_body(status: str) -> None:
    method = "HEAD" if status == "200 OK" else "GET"
    parts = Closing([b"abc", b"def"])
    found = answer_of(returning(lambda: parts, status), http_scope(method=method), validate=False)
    assert (found.body, found.complete, parts.closed, parts.asked) == (b"", True, 1, 1)
    whole = answer_of(returning(lambda: [b"abc"], status), http_scope(method=method), validate=False)
    assert (whole.body, whole.complete) == (b"", True)
    # Only HEAD knows how long the body of a GET would be.
    assert whole.headers.get(b"content-length") == (b"3" if method == "HEAD" else None)
    named = [("Content-Length", "3")]
    told = answer_of(returning(lambda: [b"abc"], status, named), http_scope(method=method), validate=False)
    assert told.headers.get(b"content-length") == (None if status.startswith("204") else b"3")
    assert told.body == b""


def test_fields_of_the_connection_are_dropped() -> None:
    headers = [
        ("X-One", " 1\t"),
        ("Connection", "close"),
        ("Transfer-Encoding", "chunked"),
        ("Set-Cookie", "a"),
        ("Set-Cookie", "b"),
    ]
    found = answer_of(returning(lambda: [b"x"], headers=headers), validate=False)
    assert found.sent[0]["headers"] == [
        (b"x-one", b"1"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"content-length", b"1"),
    ]


def test_write() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"ab")
        write(b"")
        write(b"c")
        return [b"d"]

    found = answer_of(application)
    assert b"content-length" not in found.headers
    assert (found.body, found.complete) == (b"abcd", True)


def test_write_beyond_content_length_is_an_error() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [*TEXT, ("Content-Length", "3")])
        write(b"ab")
        with pytest.raises(ValueError, match="2 bytes where Content-Length leaves 1"):
            write(b"cd")
        write(b"c")
        write(b"")
        with pytest.raises(ValueError, match="leaves 0"):
            write(b"d")
        return []

    found = answer_of(application)
    assert (found.body, found.complete) == (b"abc", True)


def test_file_wrapper() -> None:
    file = io.BytesIO(b"x" * 100_000)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [*TEXT, ("Content-Length", "100000")])
        result: Iterable[bytes] = environ["wsgi.file_wrapper"](file, 8192)
        return result

    assert answer_of(application).body == b"x" * 100_000
    assert file.closed


# --- what applications do wrong


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        ("200 OK\r\nX: y", [], "is no status"),
        ("OK", [], "is no status"),
        ("2000 OK", [], "is no status"),
        ("101 Switching Protocols", [], "from 200 on"),
        (200, [], "is no status"),
        ("200 OK", [("X-A", "a\r\nX-B: b")], "the value of X-A has line breaks"),
        ("200 OK", [("X-A", "\u20ac")], "no Latin-1"),
        ("200 OK", [("X A", "a")], "'X A' is no name"),
        ("200 OK", [("X-A", b"a")], "pairs of str"),
        ("200 OK", [("Content-Length", "-1")], "Content-Length is one number"),
        ("200 OK", [("Content-Length", "1"), ("content-length", "1")], "Content-Length is one number"),
    ],
)
def test_heads_that_cannot_be_sent(status: Any, headers: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        answer_of(returning(lambda: [b"x"], status, headers), validate=False)
    assert "X-B: b" not in str(caught.value)


@pytest.mark.parametrize(
    "result", [lambda: ["text"], lambda: iter(["text"]), lambda: "text", lambda: [bytearray(b"a")]]
)
def test_an_answer_that_is_no_bytes(result: Any) -> None:
    with pytest.raises(TypeError, match="answers with bytes, not"):
        answer_of(returning(result), validate=False)


def silent(answer: Iterable[bytes]) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    return lambda environ, start_response: answer


def test_start_response_is_called_once_and_before_the_answer() -> None:
    def twice(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        start_response("404 Not Found", TEXT)
        return []

    with pytest.raises(AssertionError, match="called already"):
        answer_of(twice, validate=False)
    for answer in ([b"x"], []):
        with pytest.raises(AssertionError, match="without having called start_response"):
            answer_of(silent(answer), validate=False)


def test_start_response_in_the_iterator() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("201 Created", TEXT)
        yield b"x"

    assert answer_of(application).status == 201


def test_an_error_replaces_an_answer_that_has_not_begun() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [*TEXT, ("Content-Length", "1")])
        try:
            raise LookupError("nothing there")
        except LookupError:
            start_response("500 Oh", TEXT, sys.exc_info())
        return [b"sorry"]

    found = answer_of(application)
    assert (found.status, found.body, found.headers.get(b"content-length")) == (500, b"sorry", None)


def test_an_error_after_the_begin_goes_on() -> None:
    parts: list[Closing] = []

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def answer() -> Iterator[bytes]:
            yield b"a"
            try:
                raise LookupError("nothing there")
            except LookupError:
                start_response("500 Oh", TEXT, sys.exc_info())

        start_response("200 OK", TEXT)
        parts.append(Closing(answer()))
        return parts[0]

    async def main() -> Exchange:
        found = Exchange()
        with pytest.raises(LookupError, match="nothing there"):
            await WSGI(application)(http_scope(), found.receive, found.send)
        return found

    found = run(main())
    assert (found.status, found.body, found.complete, parts[0].closed) == (200, b"a", False, 1)


@pytest.mark.parametrize("where", ["call", "iteration", "close"])
def test_exceptions_reach_the_server(where: str) -> None:
    class Failing(Closing):
        def __next__(self) -> bytes:
            if where == "iteration":
                raise LookupError("mine")
            return super().__next__()

        def close(self) -> None:
            super().close()
            if where == "close":
                raise LookupError("mine")

    parts = Failing([b"x"])

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if where == "call":
            raise LookupError("mine")
        start_response("200 OK", TEXT)
        return parts

    async def main() -> Exchange:
        found = Exchange()
        with pytest.raises(LookupError, match="mine"):
            await WSGI(application)(http_scope(), found.receive, found.send)
        return found

    found = run(main())
    # Nothing has begun: the server can answer 500. Or it was all there.
    assert found.complete if where == "close" else found.sent == []
    assert parts.closed == (where != "call")


def test_exit_does_not_end_the_server() -> None:
    with pytest.raises(RuntimeError, match=r"called sys.exit\(3\)"):
        answer_of(lambda environ, start_response: sys.exit(3), validate=False)


# --- clients that are slow, or leave


def test_a_slow_client_makes_the_thread_wait() -> None:
    piece = bytes(1000)
    parts = Closing(piece for _ in range(1000))

    async def main() -> None:
        found = Exchange()
        found.room.clear()
        task = asyncio.ensure_future(WSGI(returning(lambda: parts))(http_scope(), found.receive, found.send))
        await until(lambda: parts.asked * 1000 > WINDOW)
        before = -1
        while before != parts.asked:
            before = parts.asked
            await asyncio.sleep(0.1)
        assert parts.asked * 1000 <= WINDOW + 2000
        assert parts.closed == 0
        found.room.set()
        await task
        assert len(found.body) == 1_000_000
        assert parts.closed == 1

    run(main())


@pytest.mark.parametrize("how", ["disconnect", "error", "cancelled", "refused"])
def test_a_client_that_leaves_frees_the_thread(how: str) -> None:
    parts = Closing(bytes(1000) for _ in iter(int, 1))

    async def main() -> None:
        found = Exchange()
        found.room.clear()
        app = WSGI(returning(lambda: parts), threads=1)
        task = asyncio.ensure_future(app(http_scope(), found.receive, found.send))
        await until(lambda: parts.asked * 1000 > WINDOW)
        if how == "cancelled":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif how == "refused":
            found.fail = RuntimeError("not like this")
            found.room.set()
            with pytest.raises(RuntimeError, match="not like this"):
                await task
        else:
            if how == "error":
                found.fail = ConnectionResetError()
                found.room.set()
            else:
                found.leave()
            await task
        await until(lambda: parts.closed)
        # Its only thread is there for others.
        assert (await exchange(WSGI(returning(lambda: [b"x"])), http_scope())).body == b"x"
        app.application = returning(lambda: [b"next"])
        assert (await exchange(app, http_scope())).body == b"next"

    run(main())


def test_a_client_that_leaves_is_noticed_while_nothing_is_sent() -> None:
    go = threading.Event()
    parts: Closing

    def slowly() -> Iterator[bytes]:
        yield b"a"
        assert go.wait(20)
        yield b"b"
        yield b"c"

    parts = Closing(slowly())

    async def main() -> Exchange:
        found = Exchange()
        task = asyncio.ensure_future(WSGI(returning(lambda: parts))(http_scope(), found.receive, found.send))
        await until(lambda: found.taken >= 2)
        found.leave()
        # A turn for the message to arrive in.
        await asyncio.sleep(0.01)
        go.set()
        await task
        return found

    found = run(main())
    assert (found.body, parts.closed, parts.asked) == (b"a", 1, 2)


def test_a_client_that_leaves_in_the_middle_of_its_body() -> None:
    errors: list[BaseException] = []

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        assert environ["wsgi.input"].read(4) == b"half"
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            errors.append(error)
            raise
        return []

    async def main() -> Exchange:
        found = Exchange([b"half"], whole=False)
        task = asyncio.ensure_future(WSGI(application)(http_scope(), found.receive, found.send))
        await until(lambda: found.taken >= 2)
        found.leave()
        await task
        return found

    assert run(main()).sent == []
    assert str(errors[0]) == "the client has left"


def test_what_the_server_says_of_a_body_reaches_the_application() -> None:
    class TooLarge(Exception):
        pass

    class Refusing(Exchange):
        async def receive(self) -> Any:
            raise TooLarge("of this body")

    async def main() -> None:
        found = Refusing()
        with pytest.raises(TooLarge, match="of this body"):
            await WSGI(reading(lambda body: body.read()))(http_scope(), found.receive, found.send)

    run(main())


def test_a_request_that_waits_for_a_thread_can_be_cancelled() -> None:
    go = threading.Event()
    calls = []

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        calls.append(environ["PATH_INFO"])
        assert go.wait(20)
        start_response("200 OK", TEXT)
        return [b"x"]

    async def main() -> None:
        app = WSGI(application, threads=1)
        first = asyncio.ensure_future(exchange(app, http_scope("/first")))
        await until(lambda: calls)
        second = asyncio.ensure_future(exchange(app, http_scope("/second")))
        await asyncio.sleep(0.01)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        go.set()
        assert (await first).status == 200
        assert (await exchange(app, http_scope("/third"))).status == 200
        assert calls == ["/first", "/third"]

    run(main())


# --- threads, context, log, the other scopes


def test_requests_run_at_once_in_so_many_threads() -> None:
    barrier = threading.Barrier(3)
    running: set[str] = set()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        running.add(threading.current_thread().name)
        barrier.wait(20)
        start_response("200 OK", TEXT)
        return [b"x"]

    async def main() -> None:
        app = WSGI(application, threads=3)
        await asyncio.gather(*[exchange(app, http_scope()) for _ in range(9)])

    run(main())
    assert len(running) == 3


def test_the_context_of_the_request() -> None:
    variable = contextvars.ContextVar("variable", default="nothing")

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        found = variable.get()
        variable.set("changed")
        start_response("200 OK", TEXT)
        return [found.encode()]

    async def main() -> None:
        variable.set("request 1")
        assert (await exchange(WSGI(application), http_scope())).body == b"request 1"
        assert variable.get() == "request 1"

    run(main())


def test_errors_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        errors = environ["wsgi.errors"]
        errors.write("one\ntw")
        errors.writelines(["o\n", "three"])
        errors.flush()
        errors.write("the rest")
        start_response("200 OK", TEXT)
        return [b"x"]

    with caplog.at_level(logging.ERROR, "fastnet.wsgi"):
        answer_of(application)
    assert [record.message for record in caplog.records] == ["one", "two", "three", "the rest"]


def test_lifespan_ends_the_threads() -> None:
    async def main() -> None:
        app = WSGI(returning(lambda: [b"x"]), threads=2)
        before = set(threading.enumerate())
        for _ in range(2):
            messages = asyncio.Queue[Any]()
            sent: list[Any] = []

            async def send(message: Any, sent: list[Any] = sent) -> None:
                sent.append(message["type"])

            task = asyncio.ensure_future(app({"type": "lifespan"}, messages.get, send))
            messages.put_nowait({"type": "lifespan.startup"})
            await until(sent.__len__)
            assert sent == ["lifespan.startup.complete"]
            await exchange(app, http_scope())
            assert not set(threading.enumerate()) <= before
            messages.put_nowait({"type": "lifespan.shutdown"})
            await task
            assert sent[1:] == ["lifespan.shutdown.complete"]
            await until(lambda: set(threading.enumerate()) <= before)

    run(main())


def test_other_scopes() -> None:
    async def main() -> None:
        app = WSGI(returning(lambda: [b"x"]))
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await app({"type": "websocket"}, receive, send)
        assert sent == [{"type": "websocket.close", "code": 1000, "reason": "WSGI has no WebSockets"}]
        with pytest.raises(ValueError, match="not 'other'"):
            await app({"type": "other"}, receive, send)

    run(main())


def test_arguments() -> None:
    with pytest.raises(TypeError, match="not 'module:app'"):
        WSGI("module:app")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        WSGI(returning(list), threads=0)


def test_many_requests_leave_nothing_behind() -> None:
    async def main() -> None:
        app = WSGI(returning(lambda: iter([b"a", b"b"])), threads=4)
        tasks = asyncio.all_tasks()
        for _ in range(100):
            answers = await asyncio.gather(*[exchange(app, http_scope(), [b"abc"]) for _ in range(4)])
            assert all(answer.body == b"ab" and answer.complete for answer in answers)
        await until(lambda: asyncio.all_tasks() == tasks)
        gc.collect()
        assert not [found for found in gc.get_objects() if type(found).__qualname__ == "_Call"]

    run(main())
