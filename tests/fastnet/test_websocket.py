"""WebSocket routes of an app: registration, arguments, dependencies, typed messages, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest
import websockets
from websockets.asyncio.client import connect

from fastnet import App, Call, Depends, Header, HTTPException, Query, Request, Response, Router, Stream
from fastnet.handlers import HandlerError
from fastnet.server import Server
from fastnet.websocket import HandshakeRefused, InvalidMessage, WebSocket, WebSocketDisconnect
from fastnet.websocket.messages import decoder_of
from tests.loops import run


def dial(server: Server, path: str, **options: Any) -> connect:
    return connect(server.url.replace("http", "ws", 1) + path, compression=None, proxy=None, **options)


async def refusal(server: Server, path: str, **options: Any) -> tuple[int, dict[str, str], Any]:
    """Status, headers and problem of a hand-shake that is refused."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with dial(server, path, **options):
            pass
    response = caught.value.response
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, dict(response.headers.raw_items()), msgspec.json.decode(bytes(response.body or b""))


class Point(msgspec.Struct):
    x: int
    y: int = 0


@dataclass
class Plain:
    n: int


# --- registration


def test_the_decorator_returns_the_function() -> None:
    app = App()

    async def handler(ws: WebSocket) -> None:
        pass

    assert app.websocket("/")(handler) is handler


@pytest.mark.parametrize("kind", ["def", "generator"])
def test_a_handler_must_be_a_coroutine_function(kind: str) -> None:
    def plain(ws: WebSocket) -> None:
        pass

    async def generator(ws: WebSocket) -> AsyncIterator[str]:
        yield ""

    with pytest.raises(HandlerError, match="async def"):
        App().websocket("/")({"def": plain, "generator": generator}[kind])


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"status_code": 201}, TypeError, "status_code: no option of a WebSocket route"),
        ({"origin": ["x"]}, TypeError, "origins"),
        ({"origins": "https://a.example"}, ValueError, r"origins=\['https://a.example'\]"),
        ({"subprotocols": "chat"}, ValueError, r"subprotocols=\['chat'\]"),
        ({"max_message": 0}, ValueError, "at least 1"),
        ({"compression": "gzip"}, TypeError, r"PerMessageDeflate\(...\), not 'gzip'"),
        ({"compression": 15}, TypeError, r"compression is True, False or"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    async def handler(ws: WebSocket) -> None:
        pass

    with pytest.raises(error, match=text):
        App().websocket("/", **options)(handler)


def test_a_handler_has_no_body() -> None:
    async def handler(ws: WebSocket, point: Point) -> None:
        pass

    with pytest.raises(HandlerError, match="body"):
        App().websocket("/")(handler)


def test_a_websocket_of_a_type_that_json_cannot_build() -> None:
    async def handler(ws: WebSocket[Point | Plain, str]) -> None:
        pass

    with pytest.raises(HandlerError, match="ws"):
        App().websocket("/")(handler)


def test_http_and_websocket_may_share_a_path() -> None:
    async def test() -> None:
        app = App()

        @app.get("/both")
        async def page() -> str:
            return "page"

        @app.websocket("/both")
        async def socket(ws: WebSocket) -> None:
            await ws.send("socket")

        async with app.serve(port=0) as server, dial(server, "/both") as client:
            assert await client.recv() == "socket"

    run(test())


# --- arguments and dependencies


def test_arguments_and_dependencies_as_in_http() -> None:
    async def test() -> None:
        app = App()
        router = Router()
        closed: list[str] = []

        def user(token: Annotated[str, Header("x-token")]) -> str:
            if token != "secret":
                raise HTTPException(403, "wrong token")
            return "ada"

        async def session(call: Call) -> AsyncIterator[str]:
            try:
                yield f"session of {call.path}"
            finally:
                closed.append("closed")

        @router.websocket("/rooms/{room}")
        async def chat(
            ws: WebSocket,
            room: int,
            request: Request,
            name: Annotated[str, Depends(user)],
            open_session: Annotated[str, Depends(session)],
            limit: Annotated[int, Query(ge=1)] = 7,
        ) -> None:
            await ws.send_json([room, limit, name, open_session, request.headers["x-token"], ws.path_params])

        app.include(router, prefix="/api")
        async with app.serve(port=0) as server:
            async with dial(server, "/api/rooms/42?limit=3", additional_headers={"x-token": "secret"}) as client:
                got = msgspec.json.decode(await client.recv())
                assert got == [42, 3, "ada", "session of /api/rooms/42", "secret", {"room": "42"}]
            status, _, problem = await refusal(server, "/api/rooms/42", additional_headers={"x-token": "x"})
            assert (status, problem["detail"]) == (403, "wrong token")
            status, _, problem = await refusal(server, "/api/rooms/x?limit=0", additional_headers={"x-token": "secret"})
            assert status == 422
            assert sorted(error["loc"] for error in problem["errors"]) == [["path", "room"], ["query", "limit"]]
            status, *_ = await refusal(server, "/api/nowhere")
            assert status == 404
        # Both sessions: that of the hand-shake that was refused for its arguments too.
        assert closed == ["closed", "closed"]

    run(test())


def test_dependencies_of_the_route_and_overrides() -> None:
    async def test() -> None:
        app = App()

        def deny() -> None:
            raise HTTPException(401)

        @app.websocket("/", dependencies=[Depends(deny)])
        async def handler(ws: WebSocket) -> None:
            await ws.send("in")

        async with app.serve(port=0) as server:
            assert (await refusal(server, "/"))[0] == 401
            app.dependency_overrides[deny] = lambda: None
            async with dial(server, "/") as client:
                assert await client.recv() == "in"

    run(test())


# --- refusals


def test_refusals_are_problems_and_on_error_sees_them() -> None:
    async def test() -> None:
        app = App()
        seen: list[Any] = []

        @app.websocket("/open", origins=["https://a.example"])
        async def handler(ws: WebSocket) -> None:
            raise HTTPException(429, "slow down", headers={"retry-after": "3"})

        @app.on_error(HandshakeRefused)
        async def refused(request: Request, error: HandshakeRefused) -> Any:
            seen.append((request.path, error.status))
            raise HTTPException(error.status, "not from there")

        async with app.serve(port=0) as server:
            status, headers, problem = await refusal(server, "/open")
            assert (status, headers["retry-after"], problem["detail"]) == (429, "3", "slow down")
            status, _, problem = await refusal(server, "/open", origin="https://b.example")
            assert (status, problem["detail"]) == (403, "not from there")
            assert seen == [("/open", 403)]

    run(test())


@pytest.mark.parametrize("path", ["/coroutine", "/callbacks", "/callbacks/dependent", "/mounted"])
@pytest.mark.parametrize("origins", [(), ("*",)])  # refused by the check; by the handler
def test_a_refusal_may_be_answered_in_pieces(path: str, origins: tuple[str, ...]) -> None:
    """The coroutine that sends them ends behind the answer."""

    async def test() -> None:
        app = App()

        def refuses(ws: WebSocket) -> None:
            raise HandshakeRefused(403, "no")

        @app.websocket("/coroutine", origins=origins)
        async def handler(ws: WebSocket) -> None:
            refuses(ws)

        def dependent(ws: WebSocket, n: Annotated[int, Depends(lambda: 1)]) -> None:
            refuses(ws)

        async def mounted(scope: Any, receive: Any, send: Any) -> None:
            raise HandshakeRefused(403, "no")

        app.websocket("/callbacks", on_open=refuses, origins=origins)
        app.websocket("/callbacks/dependent", on_open=dependent, origins=origins)
        app.mount("/mounted", mounted)

        @app.on_error(HandshakeRefused)
        async def refused(request: Request, error: HandshakeRefused) -> Response:
            async def pieces() -> AsyncIterator[str]:
                for piece in ("not ", "from ", "there"):
                    yield piece
                    await asyncio.sleep(0)

            return Stream(pieces(), error.status)

        async with app.serve(port=0) as server:
            for _ in range(3):
                with pytest.raises(websockets.InvalidStatus) as caught:
                    async with dial(server, path, origin="https://b.example"):
                        pass
                assert (caught.value.response.status_code, caught.value.response.body) == (403, b"not from there")
            await asyncio.sleep(0)
            assert server.counters["requests_active"] == 0

    run(test())


def test_an_unexpected_failure_before_the_answer_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        app = App()

        @app.websocket("/")
        async def handler(ws: WebSocket) -> None:
            raise LookupError("secret")

        async with app.serve(port=0) as server:
            status, _, problem = await refusal(server, "/")
            assert status == 500
            assert "secret" not in str(problem)
            assert problem["request_id"] in caplog.text

    run(test())


def test_subprotocols_and_headers() -> None:
    async def test() -> None:
        app = App()

        @app.websocket("/route", subprotocols=["v2", "v1"])
        async def by_route(ws: WebSocket) -> None:
            await ws.send(str(ws.subprotocol))

        @app.websocket("/accept")
        async def by_accept(ws: WebSocket) -> None:
            await ws.accept("v1", headers={"x-room": "7"})

        async with app.serve(port=0) as server:
            async with dial(server, "/route", subprotocols=["v1", "v2"]) as client:
                assert client.subprotocol == "v2"
                assert await client.recv() == "None"  # chosen when the hand-shake is answered, by this send
            async with dial(server, "/accept", subprotocols=["v1", "v2"]) as client:
                assert client.subprotocol == "v1"
                assert client.response is not None
                assert client.response.headers["x-room"] == "7"

    run(test())


def test_max_in_flight() -> None:
    async def test() -> None:
        app = App()

        @app.websocket("/", max_in_flight=1)
        async def handler(ws: WebSocket) -> None:
            await ws.receive()

        async with app.serve(port=0) as server:
            async with dial(server, "/"):
                assert (await refusal(server, "/"))[0] == 503
            async with dial(server, "/"):
                pass

    run(test())


# --- typed messages


def test_typed_messages() -> None:
    async def test() -> None:
        app = App()

        @app.websocket("/")
        async def handler(ws: WebSocket[Point, Point]) -> None:
            async for point in ws:
                assert isinstance(point, Point)
                await ws.send(Point(point.y, point.x))

        async with app.serve(port=0) as server, dial(server, "/") as client:
            await client.send('{"x": 1, "y": 2}')
            assert await client.recv() == '{"x":2,"y":1}'
            await client.send(b'{"x": 3}')
            assert await client.recv() == '{"x":0,"y":3}'
            await client.send('{"x": "no"}')
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()
            assert client.close_code == 1007
            assert "`$.x`" in (client.close_reason or "")

    run(test())


@pytest.mark.parametrize(
    ("wanted", "message", "value"),
    [
        (Point, '{"x": 1}', Point(1)),
        (Plain, b'{"n": 1}', Plain(1)),
        (list[int], "[1]", [1]),
        (int | None, "null", None),
        (dict, "{}", {}),
        (str, "text", "text"),
        (bytes, b"binary", b"binary"),
    ],
)
def test_decoders(wanted: Any, message: str | bytes, value: Any) -> None:
    decode = decoder_of(wanted)
    assert decode is not None
    assert decode(message) == value


@pytest.mark.parametrize("wanted", [Any, object, str | bytes, bytes | str])
def test_what_needs_no_decoder(wanted: Any) -> None:
    assert decoder_of(wanted) is None


@pytest.mark.parametrize(
    ("wanted", "message", "code"),
    [
        (str, b"binary", 1003),
        (bytes, "text", 1003),
        (Point, "{}", 1007),
        (Point, "not json", 1007),
        (list[int], "[" * 5000, 1007),
    ],
)
def test_decoders_refuse(wanted: Any, message: str | bytes, code: int) -> None:
    decode = decoder_of(wanted)
    assert decode is not None
    with pytest.raises(InvalidMessage) as caught:
        decode(message)
    assert caught.value.code == code


def test_a_pydantic_model_and_a_foreign_type() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", n=(int, ...))
    decode = decoder_of(model)
    assert decode is not None
    assert decode('{"n": 3}').n == 3
    with pytest.raises(InvalidMessage):
        decode('{"n": "x"}')

    foreign = decoder_of(complex, lambda kind, value: kind(value))
    assert foreign is not None
    assert foreign('"1+2j"') == 1 + 2j


# --- receiving


def test_disconnect_has_code_and_reason() -> None:
    async def test() -> None:
        app = App()
        ends: asyncio.Queue[Any] = asyncio.Queue()

        @app.websocket("/")
        async def handler(ws: WebSocket) -> None:
            try:
                await ws.receive()
            except WebSocketDisconnect as error:
                ends.put_nowait((error.code, error.reason, str(error)))

        async with app.serve(port=0) as server, dial(server, "/") as client:
            await client.close(4000, "tired")
            assert await ends.get() == (4000, "tired", "the WebSocket is closed: 4000 tired")

    run(test())
