"""Request and what hangs from it: lazily decoded views over an exchange in memory, and the reading of bodies."""

import asyncio
import gc
import weakref
from collections.abc import Coroutine, Mapping
from typing import Any, Literal

import msgspec
import pytest

from fastnet_ext.exchange.errors import BodyConsumed, ClientDisconnect, InvalidBody, PayloadTooLarge
from fastnet_ext.exchange.exchange import LoopLocal, Route
from fastnet_ext.exchange.memory import MemoryConnection, MemoryExchange
from fastnet_ext.exchange.request import Call, Headers, Request, request_for
from fastnet_ext.exchange.values import Address
from fastnet_ext.serve.http import HttpEndpoint
from fastnet_ext.serve.plan import CallPlan


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def make(method: str = "GET", target: str = "/", headers: Any = (), body: bytes = b"", **options: Any) -> Request:
    return request_for(MemoryExchange(method, target, headers, body, **options))


def late_route(max_body: int = 1024 * 1024) -> Route:
    return Route(HttpEndpoint(CallPlan(lambda: None), body="late"), max_body=max_body)


def arriving(*, max_body: int = 1024 * 1024, body: Literal["none", "whole", "late"] = "late") -> MemoryExchange:
    """An exchange whose body is still to come; only inside a running loop."""
    route = Route(HttpEndpoint(CallPlan(lambda: None), body=body), max_body=max_body)
    return MemoryExchange.streaming(route=route, local=LoopLocal(asyncio.get_running_loop()))


# --- the head


def test_one_request_per_exchange() -> None:
    x = MemoryExchange()
    assert request_for(x) is request_for(x)
    assert isinstance(request_for(x), Call)


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PURGE"]
)
def test_method(method: str) -> None:
    assert make(method).method == method


def test_target_is_taken_apart() -> None:
    request = make("GET", "/a%20b/c%2Fd%C3%A9?x=1&y=%20", [(b"host", b"example.com:8000")])
    assert request.path == "/a b/c/d\u00e9"
    assert request.raw_path == b"/a%20b/c%2Fd%C3%A9"
    assert request.query_string == b"x=1&y=%20"
    assert request.url == "http://example.com:8000/a%20b/c%2Fd%C3%A9?x=1&y=%20"
    assert request.host == "example.com:8000"


def test_no_host_no_query() -> None:
    request = make("GET", "/a")
    assert (request.host, request.query_string, request.url) == ("", b"", "http:///a")


@pytest.mark.parametrize(("version", "text"), [(10, "1.0"), (11, "1.1"), (20, "2")])
def test_http_version(version: int, text: str) -> None:
    assert make(version=version).http_version == text


def test_path_params_are_decoded() -> None:
    route = Route(HttpEndpoint(CallPlan(lambda: None)), path="/{a}/{b:path}", param_names=("a", "b"))
    request = make(route=route, params=("x%2Fy", "p/q%20r"))
    assert request.path_params == {"a": "x/y", "b": "p/q r"}
    assert make().path_params == {}


def test_app_and_state() -> None:
    app = object()
    request = make(route=Route(HttpEndpoint(CallPlan(lambda: None)), app=app))
    assert request.app is app
    request.state.user = "me"
    assert request.state.user == "me"
    assert "user" in request.state
    with pytest.raises(AttributeError, match=r"state\.other"):
        _ = request.state.other
    assert make().app is None


def test_client_and_tls() -> None:
    assert make().client is None
    assert make().tls is None
    connection = MemoryConnection(None, {"peername": ("10.0.0.1", 4711)})
    request = make(connection=connection)
    assert request.client == request.peer == Address("10.0.0.1", 4711)
    assert request.scheme == "http"
    # A Unix socket has a name, not an address.
    assert make(connection=MemoryConnection(None, {"peername": ""})).client is None

    info: object = object()
    secure = make(connection=MemoryConnection(None, {"tls": info}, True))
    assert (secure.scheme, secure.tls) == ("https", info)


@pytest.mark.parametrize("given_id", ["abc-DEF_1.2", "x" * 128])
def test_a_good_request_id_is_taken_over(given_id: str) -> None:
    assert make(headers=[(b"x-request-id", given_id.encode())]).id == given_id


@pytest.mark.parametrize("given_id", ["", "x" * 129, "a b", "a\tb", "a<b", 'a"b', "a\x00b", "\u00e9"])
def test_a_bad_request_id_is_replaced(given_id: str) -> None:
    made = make(headers=[(b"x-request-id", given_id.encode("latin-1"))]).id
    assert made != given_id
    assert len(made) == 16
    assert int(made, 16) >= 0


def test_request_ids_stay_and_differ() -> None:
    request = make()
    assert request.id == request.id
    assert request.id != make().id


def test_no_deadline() -> None:
    assert make().deadline is None
    assert make().time_remaining() is None


# --- headers

FIELDS = [
    (b"Host", b"a"),
    (b"X-Thing", b"1"),
    (b"Cookie", b"a=1"),
    (b"x-thing", b"2"),
    (b"cookie", b"b=2"),
    (b"X-Latin", b"\xe9"),
]


def test_headers_ignore_case_and_join() -> None:
    headers = make(headers=FIELDS).headers
    assert headers["x-thing"] == headers["X-THING"] == "1, 2"
    assert headers["Cookie"] == "a=1; b=2"
    assert headers["x-latin"] == "\xe9"
    assert headers.getlist("X-Thing") == ["1", "2"]
    assert headers.getlist("nothing") == []
    assert headers.get("host") == "a"
    assert headers.get("nothing") is None
    assert headers.get("nothing", "d") == "d"
    assert "HOST" in headers
    assert "nothing" not in headers
    number: Any = 3
    assert number not in headers
    with pytest.raises(KeyError):
        _ = headers["nothing"]


def test_headers_are_a_mapping() -> None:
    headers = make(headers=FIELDS).headers
    assert isinstance(headers, Mapping)
    assert list(headers) == list(headers.keys()) == ["host", "x-thing", "cookie", "x-latin"]
    assert len(headers) == 4
    assert (
        dict(headers)
        == dict(headers.items())
        == {"host": "a", "x-thing": "1, 2", "cookie": "a=1; b=2", "x-latin": "\xe9"}
    )
    assert list(headers.values()) == ["a", "1, 2", "a=1; b=2", "\xe9"]
    assert headers.multi_items()[0] == ("host", "a")
    assert headers.raw[3] == (b"x-thing", b"2")
    assert headers == make(headers=FIELDS).headers
    assert headers != make().headers
    assert headers == dict(headers)
    assert "x-thing" in repr(headers)


def test_very_long_and_foreign_names_are_not_there() -> None:
    headers = make(headers=FIELDS).headers
    assert headers.get("x" * 5000) is None
    assert headers.get("\u00e9") is None
    assert headers.get("") is None


# --- cookies and the body's type


def test_cookies_of_several_fields() -> None:
    assert make(headers=FIELDS).cookies == {"a": "1", "b": "2"}
    assert make().cookies == {}


def test_content_type_and_length() -> None:
    request = make("POST", "/", [(b"content-type", b" Application/JSON ; charset=utf-8")], b"123")
    assert request.content_type == "application/json"
    assert request.content_length == 3
    assert make().content_type is None


# --- a body that is there


def test_body_json_text_and_stream_of_a_whole_body() -> None:
    async def main() -> None:
        request = make("POST", "/", (), b'{"a": [1, 18446744073709551616]}')
        assert await request.body() is await request.body()
        assert await request.json() == {"a": [1, 2**64]}
        assert await request.text() == '{"a": [1, 18446744073709551616]}'
        assert [chunk async for chunk in request.stream()] == [await request.body()]
        assert [chunk async for chunk in request.stream()] == [await request.body()]
        assert [chunk async for chunk in make().stream()] == []

    run(main())


def test_typed_json() -> None:
    class User(msgspec.Struct):
        name: str

    async def main() -> None:
        assert await make("POST", "/", (), b'{"name": "a"}').json(User) == User("a")
        assert await make("POST", "/", (), b"[1, 2]").json(list[int]) == [1, 2]
        with pytest.raises(InvalidBody, match=r"\$\.name") as caught:
            await make("POST", "/", (), b'{"name": 1}').json(User)
        assert caught.value.status == 422

    run(main())


def test_json_of_pydantic_models() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", age=(int, ...))

    async def main() -> None:
        assert (await make("POST", "/", (), b'{"age": 3}').json(model)).age == 3
        with pytest.raises(InvalidBody, match="age") as caught:
            await make("POST", "/", (), b'{"age": "x"}').json(model)
        assert caught.value.status == 422

    run(main())


@pytest.mark.parametrize("body", [b"", b"{", b"nope", b"[" * 100_000, b'"\xff"', b'{"a": 1} x'])
def test_no_json_is_400(body: bytes) -> None:
    with pytest.raises(InvalidBody) as caught:
        run(make("POST", "/", (), body).json())
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        (b"text/plain", b"\xc3\xa9", "\u00e9"),
        (b"text/plain; charset=iso-8859-1", b"\xe9", "\u00e9"),
        (b'text/plain; charset="UTF-16"', "\u00e9".encode("utf-16"), "\u00e9"),
    ],
)
def test_text_in_its_charset(content_type: bytes, body: bytes, text: str) -> None:
    assert run(make("POST", "/", [(b"content-type", content_type)], body).text()) == text


def test_text_that_is_none() -> None:
    with pytest.raises(InvalidBody) as caught:
        run(make("POST", "/", (), b"\xff").text())
    assert caught.value.status == 400
    with pytest.raises(InvalidBody) as caught:
        run(make("POST", "/", [(b"content-type", b"text/plain; charset=klingon")], b"a").text())
    assert caught.value.status == 415


# --- a body that arrives


def test_body_waits_for_the_rest() -> None:
    async def main() -> None:
        x = arriving()
        request = request_for(x)
        x.push(b"one ")
        reading = asyncio.ensure_future(request.body())
        await asyncio.sleep(0)
        for piece in (b"two ", b"three"):
            x.push(piece)
            await asyncio.sleep(0)
            assert not reading.done()
        x.push_end()
        assert await reading == b"one two three"
        assert await request.body() == b"one two three"

    run(main())


@pytest.mark.parametrize("sizes", [[1], [0, 7, 0], [1] * 600, [200, 400, 1000], [70_000, 1, 140_000, 5, 300_000]])
@pytest.mark.parametrize("body", ["whole", "late"])
def test_body_is_what_its_pieces_were(sizes: list[int], body: Literal["whole", "late"]) -> None:
    async def main() -> None:
        x = arriving(body=body)
        sent = b""
        for number, size in enumerate(sizes):
            piece = bytes([number % 251]) * size
            x.push(piece)
            sent += piece
        x.push_end()
        assert await request_for(x).body() == sent

    run(main())


def test_piece_that_was_handed_out_stays_as_it_is() -> None:
    async def main() -> None:
        x = arriving()
        pieces = request_for(x).stream()
        # The second leaves room behind what the first brought.
        x.push(b"a" * 1000)
        x.push(b"b" * 10)
        first = await anext(pieces)
        x.push(b"c" * 500)
        second = await anext(pieces)
        x.push_end()
        assert first == b"a" * 1000 + b"b" * 10
        assert second == b"c" * 500
        assert [piece async for piece in pieces] == []

    run(main())


def test_stream_gives_pieces_as_they_come() -> None:
    async def main() -> None:
        x = arriving()
        request = request_for(x)
        seen: list[bytes] = []

        async def read() -> None:
            # One by one: what has come so far is looked at while this waits.
            async for piece in request.stream():
                seen.append(piece)  # noqa: PERF401

        reading = asyncio.ensure_future(read())
        for piece in (b"one", b"two"):
            x.push(piece)
            for _ in range(3):
                await asyncio.sleep(0)
            assert seen[-1] == piece
        x.push(b"three")
        x.push_end()
        await reading
        assert seen == [b"one", b"two", b"three"]
        with pytest.raises(BodyConsumed):
            await request.body()
        with pytest.raises(BodyConsumed):
            async for _ in request.stream():
                pass

    run(main())


def test_the_end_alone_ends_the_stream() -> None:
    async def main() -> None:
        x = arriving()
        stream = request_for(x).stream()
        reading = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(0)
        x.push_end()
        assert await reading is None
        assert await anext(stream, None) is None

    run(main())


def test_two_readers_at_once() -> None:
    async def main() -> None:
        x = arriving()
        request = request_for(x)
        reading = asyncio.ensure_future(request.body())
        await asyncio.sleep(0)
        with pytest.raises(BodyConsumed, match="somebody else"):
            await request.body()
        with pytest.raises(BodyConsumed):
            await anext(request.stream())
        x.push_end()
        assert await reading == b""

    run(main())


def test_a_cancelled_reader_leaves_the_body_readable() -> None:
    async def main() -> None:
        x = arriving()
        request = request_for(x)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await request.body()
        x.push(b"late")
        x.push_end()
        assert await request.body() == b"late"

    run(main())


def test_disconnect_reaches_the_reader() -> None:
    async def main() -> None:
        x = arriving()
        request = request_for(x)
        assert not request.disconnected
        reading = asyncio.ensure_future(request.body())
        await asyncio.sleep(0)
        x.push(b"half")
        x.disconnect()
        with pytest.raises(ClientDisconnect):
            await reading
        assert request.disconnected
        assert await request.is_disconnected()
        with pytest.raises(ClientDisconnect):
            await anext(request.stream())

    run(main())


def test_a_complete_body_is_there_after_the_disconnect() -> None:
    async def main() -> None:
        x = arriving()
        x.push(b"all")
        x.push_end()
        x.disconnect()
        assert await request_for(x).body() == b"all"

    run(main())


def test_over_the_limit() -> None:
    async def main() -> None:
        x = arriving(max_body=5)
        request = request_for(x)
        x.push(b"12345")
        reading = asyncio.ensure_future(request.body())
        await asyncio.sleep(0)
        x.push(b"6")
        with pytest.raises(PayloadTooLarge, match="5 bytes") as caught:
            await reading
        assert (caught.value.status, caught.value.limit) == (413, 5)

    run(main())


def test_a_route_without_a_body_says_so() -> None:
    async def main() -> None:
        x = arriving(body="none")
        with pytest.raises(BodyConsumed, match="does not read bodies"):
            await request_for(x).body()

    run(main())


def test_trailers_are_empty_without_any() -> None:
    trailers = make().trailers
    assert isinstance(trailers, Headers)
    assert len(trailers) == 0


# --- lifetime


def test_a_request_may_outlive_its_exchange() -> None:
    x = MemoryExchange("GET", "/a?b=c", [(b"host", b"h")])
    request = request_for(x)
    x.disconnect()
    del x
    assert (request.path, request.query_params["b"], request.headers["host"]) == ("/a", "c", "h")


def test_request_takes_a_type_for_its_state() -> None:
    assert Request[int] is Request


class Tag:
    """Something that can be watched."""


def test_nothing_is_left_behind() -> None:
    request = make()
    tag = request.state.tag = Tag()
    watch = weakref.ref(tag)
    del request, tag
    gc.collect()
    assert watch() is None
