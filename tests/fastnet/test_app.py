"""The application over a real socket: every kind of return value, bodies, streams, fallbacks, options of routes."""

import asyncio
import contextvars
import dataclasses
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fastnet import App, CallNext, JSONResponse, Request, Response, Router, Stream
from fastnet_ext.serve.dispatch import Dispatcher
from tests.fastnet.serving import serving


class User(msgspec.Struct):
    name: str
    age: int = 0


@dataclasses.dataclass
class Point:
    x: int


RETURNED: list[tuple[str, Any, str | None, bytes]] = [
    ("text", "h\u00e9", "text/plain; charset=utf-8", b"h\xc3\xa9"),
    ("empty", "", "text/plain; charset=utf-8", b""),
    ("bytes", b"\x00\xff", "application/octet-stream", b"\x00\xff"),
    ("bytearray", bytearray(b"x"), "application/octet-stream", b"x"),
    ("dict", {"a": 1}, "application/json", b'{"a":1}'),
    ("list", [1, "a", None], "application/json", b'[1,"a",null]'),
    ("tuple", (1, 2), "application/json", b"[1,2]"),
    ("int", 3, "application/json", b"3"),
    ("float", 1.5, "application/json", b"1.5"),
    ("bool", True, "application/json", b"true"),
    ("struct", User("a"), "application/json", b'{"name":"a","age":0}'),
    ("structs", [User("a")], "application/json", b'[{"name":"a","age":0}]'),
    ("dataclass", Point(1), "application/json", b'{"x":1}'),
    ("moment", {"at": datetime(2030, 1, 1, tzinfo=UTC)}, "application/json", b'{"at":"2030-01-01T00:00:00Z"}'),
    ("decimal", Decimal("1.0"), "application/json", b'"1.0"'),
    ("none", None, "application/json", b"null"),
    ("response", Response("x", 200, media_type="text/html"), "text/html; charset=utf-8", b"x"),
    ("json", JSONResponse({"a": 1}), "application/json", b'{"a":1}'),
]


def test_every_kind_of_return_value_in_every_kind_of_handler() -> None:
    app, behind = App(), Router()
    app.include(behind, "/middleware", middleware=[passing])
    for name, value, _, _ in RETURNED:
        _handlers(app, behind, name, value)
    with serving(app) as client:
        for way in ("async", "thread", "inline", "middleware"):
            for name, _, content_type, body in RETURNED:
                answer = client.get(f"/{way}/{name}")
                assert (answer.status, answer.headers.get("content-type"), answer.body) == (200, content_type, body), (
                    name
                )


async def passing(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)
    assert isinstance(response, Response)
    return response


def _handlers(app: App, behind: Router, name: str, value: Any) -> None:
    @app.get(f"/async/{name}")
    async def asynchronous() -> Any:
        return value

    @app.get(f"/thread/{name}")
    def threaded() -> Any:
        assert threading.current_thread().name.startswith("fastnet")
        return value

    @app.get(f"/inline/{name}", inline=True)
    def inline() -> Any:
        assert asyncio.get_running_loop()
        return value

    behind.get(f"/{name}")(asynchronous)


def test_none_and_status_codes() -> None:
    app = App()

    @app.get("/annotated")
    async def annotated() -> None:
        return None

    @app.get("/created", status_code=201)
    async def created() -> dict[str, int]:
        return {"id": 1}

    @app.delete("/gone", status_code=204)
    async def gone() -> Any:
        return None

    @app.get("/response", status_code=201)
    async def response() -> Response:
        return Response(status_code=202)

    with serving(app) as client:
        answer = client.get("/annotated")
        assert (answer.status, answer.body) == (204, b"")
        assert "content-type" not in answer.headers
        assert client.get("/created").status == 201
        answer = client.request("DELETE", "/gone")
        assert (answer.status, answer.body) == (204, b"")
        assert client.get("/response").status == 202


def test_generators_and_streams() -> None:
    app = App()

    @app.get("/text")
    async def text() -> AsyncIterator[str]:
        for i in range(3):
            yield f"line {i}\n"

    @app.get("/bytes")
    async def raw() -> AsyncIterator[bytes]:
        yield b"a"
        yield b""
        yield b"b"

    @app.get("/values")
    async def values() -> AsyncIterator[User]:
        yield User("a")
        yield User("b", 1)

    @app.get("/sync")
    def synchronous() -> Iterator[str]:
        yield "one "
        yield threading.current_thread().name[:7]

    @app.get("/csv")
    async def csv() -> Stream:
        return Stream((f"{i}\n" for i in range(2)), media_type="text/csv", headers={"x-a": "1"})

    @app.get("/typed", media_type="text/x-log")
    async def typed() -> AsyncIterator[str]:
        yield "x"

    @app.get("/nothing")
    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    with serving(app) as client:
        expected = {
            "/text": ("text/plain; charset=utf-8", b"line 0\nline 1\nline 2\n"),
            "/bytes": ("application/octet-stream", b"ab"),
            "/values": ("application/jsonl", b'{"name":"a","age":0}\n{"name":"b","age":1}\n'),
            "/sync": ("text/plain; charset=utf-8", b"one fastnet"),
            "/csv": ("text/csv; charset=utf-8", b"0\n1\n"),
            "/typed": ("text/x-log; charset=utf-8", b"x"),
            "/nothing": ("application/octet-stream", b""),
        }
        for path, (content_type, body) in expected.items():
            answer = client.get(path)
            assert (answer.status, answer.headers.get("content-type"), answer.body) == (200, content_type, body), path
        assert client.get("/csv").headers["x-a"] == "1"
        head = client.request("HEAD", "/text")
        assert (head.status, head.body) == (200, b"")


def test_request_bodies() -> None:
    app = App(max_body=100)

    @app.post("/user", status_code=201)
    async def user(user: User) -> User:
        return user

    @app.post("/whole")
    async def whole(request: Request) -> dict[str, Any]:
        return {"text": await request.text(), "again": len(await request.body())}

    @app.post("/pieces")
    async def pieces(request: Request) -> int:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
        return size

    @app.post("/json")
    async def untyped(request: Request) -> Any:
        return await request.json()

    @app.post("/large", max_body=1000)
    async def large(request: Request) -> int:
        return len(await request.body())

    with serving(app) as client:
        answer = client.post("/user", b'{"name": "a", "age": 3}')
        assert (answer.status, answer.json) == (201, {"name": "a", "age": 3})
        assert client.post("/whole", b"abc").json == {"text": "abc", "again": 3}
        assert client.post("/pieces", b"x" * 100).json == 100
        assert client.post("/json", b'{"a": [1]}').json == {"a": [1]}
        answer = client.post("/json", b"{")
        assert (answer.status, answer.json["title"]) == (400, "Bad Request")
        assert client.post("/whole", b"x" * 101).status == 413
        assert client.post("/large", b"x" * 1000).json == 1000
        assert client.post("/large", b"x" * 1001).status == 413


def test_a_chunked_body_over_the_limit_is_413() -> None:
    app = App(max_body=10)

    @app.post("/")
    async def read(request: Request) -> int:
        return len(await request.body())

    with serving(app) as client, socket.create_connection(("127.0.0.1", client.port), timeout=10) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n")
        answer = sock.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer


def test_fallbacks() -> None:
    app = App()

    @app.get("/users")
    async def users() -> str:
        return "users"

    @app.put("/users")
    async def put() -> str:
        return "put"

    @app.get("/dir/")
    async def directory() -> str:
        return "dir"

    @app.options("/own")
    async def own() -> str:
        return "own"

    with serving(app) as client:
        answer = client.get("/nope")
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
        assert answer.json["title"] == "Not Found"
        answer = client.request("DELETE", "/users")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PUT, OPTIONS")
        answer = client.request("OPTIONS", "/users")
        assert (answer.status, answer.headers["allow"], answer.body) == (204, "GET, HEAD, PUT, OPTIONS", b"")
        assert client.request("OPTIONS", "*").status == 204
        assert client.request("OPTIONS", "/nope").status == 404
        assert client.request("OPTIONS", "/own").text == "own"
        for path, location in (("/users/?a=%20b", "/users?a=%20b"), ("/dir", "/dir/")):
            answer = client.get(path)
            assert (answer.status, answer.headers["location"]) == (308, location)
        head = client.request("HEAD", "/users")
        assert (head.status, head.headers["content-length"], head.body) == (200, "5", b"")


def test_slashes_do_not_redirect_when_told_so() -> None:
    app = App(redirect_slashes=False)

    @app.get("/users")
    async def users() -> str:
        return "users"

    with serving(app) as client:
        assert client.get("/users/").status == 404


def test_redirects_stay_on_this_host() -> None:
    app = App()

    @app.get("/{a}/{b}")
    async def two(a: str, b: str) -> str:
        return a

    @app.get("/{rest:path}")
    async def rest(rest: str) -> str:
        return rest

    with serving(app) as client:
        for path in ("//evil.example/", "/\\evil.example/x/", "//evil.example/x/"):
            location = client.get(path).headers.get("location", "/")
            assert location.startswith("/")
            assert not location.startswith(("//", "/\\"))


def test_state_debug_and_hooks() -> None:
    class Foreign:
        pass

    def enc_hook(value: Any) -> Any:
        if isinstance(value, Foreign):
            return "foreign"
        raise NotImplementedError

    app = App(debug=True, title="t", enc_hook=enc_hook)
    app.state.answer = 42

    @app.get("/state")
    async def state(request: Request, app: App) -> int:
        assert request.app is app
        return int(app.state.answer)

    @app.get("/foreign")
    async def foreign() -> Any:
        return [Foreign()]

    @app.get("/boom")
    async def boom() -> str:
        raise LookupError("the reason")

    with serving(app) as client:
        assert client.get("/state").text == "42"
        assert client.get("/foreign").text == '["foreign"]'
        assert "LookupError: the reason" in client.get("/boom").json["exception"]


def test_context_variables_reach_threads() -> None:
    app = App()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    @app.middleware
    async def setting(request: Request, call_next: Any) -> Any:
        variable.set("set")
        return await call_next(request)

    @app.get("/thread")
    def thread() -> str:
        return variable.get()

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield variable.get()

    with serving(app) as client:
        assert client.get("/thread").text == "set"
        assert client.get("/stream").text == "set"


def test_decorators_return_the_function() -> None:
    app = App()

    async def handler() -> None: ...

    async def middleware(request: Request, call_next: Any) -> Any: ...

    async def on_error(request: Request, error: Exception) -> None: ...

    async def lifespan() -> AsyncIterator[None]:
        yield

    for decorate in (app.get, app.post, app.put, app.patch, app.delete, app.head, app.options):
        assert decorate(f"/{decorate.__name__}")(handler) is handler
    assert app.route("/r", methods=["GET", "POST"])(handler) is handler
    assert app.middleware(middleware) is middleware
    assert app.on_error(KeyError)(on_error) is on_error
    assert app.lifespan(lifespan) is lifespan
    assert {method for route in app.routes for method in route.methods} == {
        "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS",
    }  # fmt: skip


def test_building_and_registering_later() -> None:
    app = App()
    dispatcher = app.build()
    assert isinstance(dispatcher, Dispatcher)

    async def handler() -> None: ...

    async def middleware(request: Request, call_next: Any) -> Any: ...

    with pytest.raises(RuntimeError, match="registered before"):
        app.get("/")(handler)
    with pytest.raises(RuntimeError, match="registered before"):
        app.middleware(middleware)
    asyncio.run(app.shutdown())
    app.get("/")(handler)
    assert app.build().table.match_path("GET", "/").kind == "found"


@pytest.mark.parametrize("options", [{"max_body": -1}, {"pool_size": 0}])
def test_bad_options(options: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        App(**options)  # type: ignore[arg-type]


def test_handlers_are_checked_when_they_are_registered() -> None:
    app = App()

    async def two_bodies(a: User, b: Point) -> None: ...

    async def body_on_get(a: User) -> None: ...

    with pytest.raises(TypeError, match=r"two_bodies.*test_app\.py:\d+"):
        app.post("/")(two_bodies)
    with pytest.raises(TypeError, match=r"body_on_get.*test_app\.py:\d+"):
        app.get("/")(body_on_get)
    with pytest.raises(TypeError):
        app.get("/")("not a function")  # type: ignore[type-var]
    assert app.routes == []


def test_the_client_may_leave() -> None:
    app = App()
    left = threading.Event()

    @app.get("/wait", cancel_on_disconnect=True)
    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            left.set()
            raise

    with serving(app) as client:
        with socket.create_connection(("127.0.0.1", client.port), timeout=10) as sock:
            sock.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not left.wait(0.05)
        assert left.wait(10)
