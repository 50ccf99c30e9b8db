"""HTTP/1.0 and 1.1 over real sockets: keep-alive, pipelining, methods, framing both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet import App, Request, Response, Stream
from tests.wire.live import Live, live, until


def make_app() -> App:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "Hello, World!"

    @app.get("/slow/{n}")
    async def slow(n: int) -> str:
        # Later requests wait for less: order must come from the connection.
        await asyncio.sleep(0.02 / n)
        return str(n)

    @app.get("/number/{n}")
    async def number(n: int) -> str:
        return str(n)

    @app.get("/chunks")
    async def chunks() -> AsyncIterator[str]:
        for word in ("one", "two", "three"):
            yield word

    @app.get("/trailers")
    async def trailers(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "summed"
            response.trailers[request.query_params.get("name") or "x-sum"] = "42"
            yield " up"

        response = Stream(body(), media_type="text/plain")
        return response

    @app.get("/sized")
    async def sized() -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"12345"
            yield b"67890"

        return Stream(body(), headers={"content-length": "10"})

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        body = await request.body()
        return Response(body, headers={"x-trailer": request.trailers.get("x-sum", "none")})

    @app.get("/empty", status_code=204)
    async def empty() -> None: ...

    @app.get("/what")
    async def what(request: Request) -> dict[str, object]:
        return {"version": request.http_version, "path": request.path, "query": request.query_string.decode()}

    return app


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with live(make_app()) as running:
        yield running


def test_keep_alive_answers_one_request_after_the_other(server: Live) -> None:
    before = server.counters["connections"]
    with server.peer() as peer:
        for _ in range(5):
            answer = peer.get("/").answer()
            assert (answer.status, answer.body) == (200, b"Hello, World!")
            assert answer["connection"] is None
            assert answer["content-length"] == "13"
            assert answer["content-type"] == "text/plain; charset=utf-8"
            assert (answer["date"] or "").endswith(" GMT")
    assert server.counters["connections"] == before + 1


def test_connection_close_is_said_and_done(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.get("/", "connection: close").answer()
        assert answer["connection"] == "close"
        assert peer.closed()


def test_http_1_0_closes_unless_asked_otherwise(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.send(b"GET / HTTP/1.0\r\n\r\n").answer()
        assert (answer.body, answer["connection"]) == (b"Hello, World!", "close")
        assert peer.closed()


def test_http_1_0_keep_alive(server: Live) -> None:
    with server.peer() as peer:
        for _ in range(3):
            answer = peer.send(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").answer()
            assert (answer.body, answer["connection"]) == (b"Hello, World!", "keep-alive")


def test_a_stream_to_http_1_0_ends_with_the_connection(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.send(b"GET /chunks HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").answer()
        assert answer["transfer-encoding"] is None
        assert (answer["connection"], answer.body) == ("close", b"onetwothree")


def test_sixteen_pipelined_requests_are_answered_by_one_write(server: Live) -> None:
    with server.peer() as peer:
        peer.get("/").answer()  # the runners and the memory for output are there
        peer.send(b"".join(b"GET /number/%d HTTP/1.1\r\nhost: t\r\n\r\n" % n for n in range(16)))
        # The first recv wakes up for the first write.
        whole = peer.sock.recv(1 << 16)
        peer.buffer += whole
        for n in range(16):
            assert peer.answer().body == b"%d" % n
        assert peer.buffer == b""
        assert whole.count(b"HTTP/1.1 200 OK") == 16


def test_pipelined_answers_keep_the_order_of_the_requests(server: Live) -> None:
    with server.peer() as peer:
        peer.send(b"".join(b"GET /slow/%d HTTP/1.1\r\nhost: t\r\n\r\n" % n for n in range(1, 9)))
        assert [peer.answer().body for _ in range(8)] == [b"%d" % n for n in range(1, 9)]


def test_what_follows_connection_close_is_not_answered(server: Live) -> None:
    with server.peer() as peer:
        # In one piece: what arrives after the close is answered by a reset, as RFC 9112, 9.6, warns such clients.
        first = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
        peer.send(first + b"GET /number/2 HTTP/1.1\r\nhost: test\r\n\r\n")
        assert peer.answer().body == b"Hello, World!"
        assert peer.closed()


def test_a_stream_is_chunked_and_the_connection_goes_on(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.get("/chunks").answer()
        assert answer["content-length"] is None
        assert answer.chunks == [b"one", b"two", b"three"]
        assert peer.get("/").answer().status == 200


def test_a_stream_of_known_length_is_not_chunked(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.get("/sized").answer()
        assert (answer["content-length"], answer["transfer-encoding"], answer.body) == ("10", None, b"1234567890")
        assert peer.get("/").answer().status == 200


def test_a_chunked_body_with_trailers_comes_in(server: Live) -> None:
    with server.peer() as peer:
        peer.send(b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n")
        peer.send(b"5;ext=1\r\nhello\r\n1\r\n \r\n")
        answer = peer.send(b"5\r\nworld\r\n0\r\nX-Sum: 42\r\n\r\n").answer()
        assert (answer.body, answer["x-trailer"]) == (b"hello world", "42")
        assert peer.get("/").answer().status == 200


def test_a_stream_may_end_with_trailers(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.get("/trailers").answer()
        assert (answer.body, answer.trailers) == (b"summed up", [("x-sum", "42")])
        assert peer.get("/").answer().status == 200
        # They have no place in HTTP/1.0.
        answer = peer.send(b"GET /trailers HTTP/1.0\r\n\r\n").answer()
        assert (answer.body, answer.trailers) == (b"summed up", [])


@pytest.mark.parametrize("name", ["content-length", "content-type", "host"])
def test_a_trailer_that_would_change_the_body_cuts_the_answer_off(server: Live, name: str) -> None:
    with server.peer() as peer:
        assert not peer.get(f"/trailers?name={name}").rest().endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("target", ["/", "/chunks", "/sized", "/what", "/none"])
def test_head_is_get_without_the_body(server: Live, target: str) -> None:
    with server.peer() as peer:
        full = peer.get(target).answer()
        peer.send(f"HEAD {target} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
        head = peer.answer("HEAD")
        assert head.status == full.status
        assert {name for name, _ in head.fields} == {name for name, _ in full.fields}
        assert head["content-length"] == full["content-length"]
        # Nothing of a body precedes the next answer.
        assert peer.get("/").answer().body == b"Hello, World!"


def test_options_lists_the_methods(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.send(b"OPTIONS /echo HTTP/1.1\r\nhost: t\r\n\r\n").answer()
        assert answer.status == 204
        assert set((answer["allow"] or "").split(", ")) == {"POST", "OPTIONS"}
        assert peer.send(b"OPTIONS * HTTP/1.1\r\nhost: t\r\n\r\n").answer().status == 204


def test_a_wrong_method_is_405_with_allow(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.send(b"DELETE /number/1 HTTP/1.1\r\nhost: t\r\n\r\n").answer()
        assert answer.status == 405
        assert {"GET", "HEAD", "OPTIONS"} == set((answer["allow"] or "").split(", "))
        assert answer["content-type"] == "application/problem+json"
        assert peer.send(b"BREW / HTTP/1.1\r\nhost: t\r\n\r\n").answer().status == 405


def test_nothing_there_is_404_and_the_connection_goes_on(server: Live) -> None:
    with server.peer() as peer:
        assert peer.get("/none").answer().status == 404
        assert peer.post("/none", b"x" * 1000).answer().status == 404
        assert peer.get("/").answer().status == 200


def test_204_has_neither_body_nor_length(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.get("/empty").answer()
        assert (answer.status, answer["content-length"], answer["transfer-encoding"]) == (204, None, None)
        assert peer.get("/").answer().status == 200


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/what?a=1&b=%20", "/what", "a=1&b=%20"),
        ("http://test/what", "/what", ""),
        ("http://test:80/what?x", "/what", "x"),
    ],
)
def test_the_forms_of_a_target(server: Live, target: str, path: str, query: str) -> None:
    with server.peer() as peer:
        answer = peer.get(target).answer()
        assert answer.body == f'{{"version":"1.1","path":"{path}","query":"{query}"}}'.encode()


@pytest.mark.parametrize("target", ["http://test", "http://test?q=1", "http://test:8000"])
def test_an_absolute_target_without_a_path_is_the_root(server: Live, target: str) -> None:
    with server.peer() as peer:
        assert peer.get(target).answer().body == b"Hello, World!"


def test_empty_lines_before_a_request_are_skipped(server: Live) -> None:
    with server.peer() as peer:
        assert peer.send(b"\r\n\r\nGET / HTTP/1.1\r\nhost: t\r\n\r\n").answer().status == 200


SCRIPT = (
    b"GET /number/1 HTTP/1.1\r\nhost: t\r\n\r\n"
    b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: 11\r\n\r\nhello world"
    b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nx-sum: 7\r\n\r\n"
    b"HEAD / HTTP/1.1\r\nhost: t\r\n\r\n"
    b"GET /chunks HTTP/1.1\r\nhost: t\r\n\r\n"
    b"GET /none HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"
)


def talk(server: Live, parts: list[bytes]) -> list[tuple[int, bytes, str | None]]:
    with server.peer() as peer:
        for part in parts:
            peer.send(part)
        answers = [peer.answer(method) for method in ("GET", "POST", "POST", "HEAD", "GET", "GET")]
        assert peer.closed()
    return [(answer.status, answer.body, answer["x-trailer"]) for answer in answers]


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, len(SCRIPT) - 1), max_size=12, unique=True))
def test_where_the_bytes_are_cut_changes_nothing(server: Live, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(SCRIPT)]
    parts = [SCRIPT[start:end] for start, end in pairwise(places)]
    assert talk(server, parts) == [
        (200, b"1", None),
        (200, b"hello world", "none"),
        (200, b"abc0123456789abcdef", "7"),
        (200, b"", None),
        (200, b"onetwothree", None),
        (404, b'{"type":"about:blank","title":"Not Found","status":404,"detail":"there is nothing at /none"}', None),
    ]


def test_one_byte_at_a_time(server: Live) -> None:
    assert [status for status, _, _ in talk(server, [SCRIPT[i : i + 1] for i in range(len(SCRIPT))])] == [200] * 5 + [
        404
    ]
    until(lambda: server.counters["requests_active"] == 0)
