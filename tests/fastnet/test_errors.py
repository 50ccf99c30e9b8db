"""Errors as answers: HTTPException, problem details, on_error, and what is never told."""

import logging
from typing import Annotated, Any

import msgspec
import pytest

from fastnet import App, Body, HTTPException, Request, RequestValidationError, Response, problem
from fastnet.http.errors import render_error, status_phrase
from fastnet_ext.exchange.errors import BodyConsumed, ClientDisconnect, InvalidBody, PayloadTooLarge, RequestTimeout
from fastnet_ext.exchange.memory import MemoryExchange
from fastnet_ext.exchange.request import request_for
from tests.fastnet.serving import serving


def request() -> Request:
    return request_for(MemoryExchange("GET", "/path", [(b"x-request-id", b"the-id")]))


def body_of(response: Response) -> dict[str, Any]:
    assert response.body is not None
    assert response.media_type == "application/problem+json"
    decoded: dict[str, Any] = msgspec.json.decode(response.body)
    return decoded


# --- HTTPException and problem


@pytest.mark.parametrize(
    ("error", "members"),
    [
        (HTTPException(404), {"type": "about:blank", "title": "Not Found", "status": 404}),
        (
            HTTPException(404, "no such user"),
            {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "no such user"},
        ),
        (
            HTTPException(403, "x", type="https://example.com/credit", title="No credit", balance=30, accounts=["/a"]),
            {
                "type": "https://example.com/credit", "title": "No credit", "status": 403, "detail": "x",
                "balance": 30, "accounts": ["/a"],
            },
        ),
        (
            HTTPException(400, {"reason": 1}),
            {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": {"reason": 1}},
        ),
    ],
)  # fmt: skip
def test_http_exception(error: HTTPException, members: dict[str, Any]) -> None:
    response = render_error(request(), error)
    assert response.status_code == error.status_code
    assert body_of(response) == members


def test_headers_of_an_exception() -> None:
    response = render_error(
        request(), HTTPException(401, headers={"WWW-Authenticate": "Bearer", "content-type": "text/x"})
    )
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers.getlist("content-type") == ["text/x"]


@pytest.mark.parametrize(
    "headers", [{"x-a": "1\r\nx-b: 2"}, {"x-a": "\x00"}, {"a b": "1"}, {"transfer-encoding": "chunked"}]
)
def test_headers_that_cannot_be_sent_raise_at_the_raise(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        HTTPException(400, headers=headers)


@pytest.mark.parametrize("status", [100, 200, 204, 299, 600])
def test_statuses_that_are_no_errors(status: int) -> None:
    with pytest.raises(ValueError, match="300 and 599"):
        HTTPException(status)


def test_extensions_cannot_take_the_status() -> None:
    with pytest.raises(ValueError, match="status_code"):
        HTTPException(400, status=3)


def test_not_modified_has_no_body() -> None:
    response = render_error(request(), HTTPException(304, headers={"etag": '"x"'}))
    assert (response.status_code, response.body, response.media_type) == (304, b"", None)
    assert response.headers["etag"] == '"x"'


def test_str_says_what_happened() -> None:
    assert str(HTTPException(404)) == "404 Not Found"
    assert str(HTTPException(404, "no user")) == "404 Not Found: no user"


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (404, "Not Found"),
        (413, "Content Too Large"),
        (422, "Unprocessable Content"),
        (499, "Client Error"),
        (599, "Server Error"),
    ],
)
def test_phrases(status: int, phrase: str) -> None:
    assert status_phrase(status) == phrase


def test_problem() -> None:
    response = problem(429, "slow down", headers={"retry-after": "3"}, limit=10, left=None)
    assert response.headers["retry-after"] == "3"
    assert body_of(response) == {
        "type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": "slow down", "limit": 10,
    }  # fmt: skip


# --- what the engine raises


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (PayloadTooLarge(10), 413, "10 bytes"),
        (RequestTimeout(), 408, "in time"),
        (InvalidBody("not JSON"), 400, "not JSON"),
        (InvalidBody("no", status=415), 415, "no"),
        (ClientDisconnect(), 400, "disconnected"),
    ],
)
def test_errors_of_the_peer(error: Exception, status: int, text: str, caplog: pytest.LogCaptureFixture) -> None:
    response = render_error(request(), error)
    assert response.status_code == status
    assert text in body_of(response)["detail"]
    assert not caplog.records


def test_validation_names_each_field() -> None:
    class User(msgspec.Struct):
        name: str
        age: int

    app = App()

    @app.post("/users/{id}")
    async def create(id: int, user: User, limit: int) -> None: ...

    with serving(app) as client:
        answer = client.post("/users/x?limit=y", b'{"name": 1, "age": "z"}')
        assert (answer.status, answer.json["title"]) == (422, "Unprocessable Content")
        places = [tuple(error["loc"]) for error in answer.json["errors"]]
        assert ("path", "id") in places
        assert ("query", "limit") in places
        assert any(place[0] == "body" for place in places)
        assert all(error["msg"] and error["type"] for error in answer.json["errors"])


def test_one_value_or_several() -> None:
    error = {"loc": ["query", "a"], "msg": "Expected `int`", "type": "int_parsing"}
    assert body_of(render_error(request(), RequestValidationError([error])))["detail"].startswith("1 value ")
    assert body_of(render_error(request(), RequestValidationError([error, error])))["detail"].startswith("2 values ")


# --- what nobody expected


def test_the_unexpected_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise LookupError("secret")
    except LookupError as error:
        response = render_error(request(), error)
    assert response.status_code == 500
    members = body_of(response)
    assert members["request_id"] == "the-id"
    assert b"secret" not in (response.body or b"")
    assert b"LookupError" not in (response.body or b"")
    [record] = caplog.records
    assert record.name == "fastnet.error"
    assert record.levelno == logging.ERROR
    assert "the-id" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is LookupError
    assert record.exc_info[2] is not None


def test_mistakes_in_reading_a_body_are_ours() -> None:
    assert render_error(request(), BodyConsumed("twice")).status_code == 500


# --- on_error


class Base(Exception):
    pass


class Derived(Base):
    pass


def test_on_error() -> None:
    app = App()

    @app.on_error(Base)
    async def base(request: Request, error: Base) -> Response:
        return Response(f"base {type(error).__name__}", 409)

    @app.on_error(KeyError)
    def key(request: Request, error: KeyError) -> dict[str, str]:
        return {"key": str(error)}

    @app.on_error(404)
    async def missing(request: Request, error: HTTPException) -> str:
        return f"nothing at {request.path}: {error.detail}"

    @app.on_error(422)
    def invalid(request: Request, error: RequestValidationError) -> dict[str, int]:
        return {"count": len(error.errors)}

    @app.get("/derived")
    async def derived() -> None:
        raise Derived

    @app.get("/key")
    def key_error() -> None:
        raise KeyError("k")

    @app.get("/mine")
    async def mine() -> None:
        raise HTTPException(404, "mine")

    @app.get("/typed")
    async def typed(n: int) -> None: ...

    with serving(app) as client:
        assert (client.get("/derived").status, client.get("/derived").text) == (409, "base Derived")
        assert (client.get("/key").status, client.get("/key").json) == (500, {"key": "'k'"})
        assert (client.get("/mine").status, client.get("/mine").text) == (404, "nothing at /mine: mine")
        assert client.get("/nope").text.startswith("nothing at /nope")
        assert (client.get("/typed").status, client.get("/typed").json) == (422, {"count": 1})


def test_a_handler_of_500_comes_after_the_log(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.on_error(500)
    async def page(request: Request, error: Exception) -> str:
        return f"sorry: {type(error).__name__}"

    @app.get("/")
    async def boom() -> None:
        raise LookupError

    with serving(app) as client:
        assert (client.get("/").status, client.get("/").text) == (500, "sorry: LookupError")
    assert [record.name for record in caplog.records].count("fastnet.error") == 2


def test_a_handler_of_exception_takes_the_log_over(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.on_error(Exception)
    async def everything(request: Request, error: Exception) -> str:
        return "mine"

    @app.get("/")
    async def boom() -> None:
        raise LookupError

    with serving(app) as client:
        assert client.get("/").text == "mine"
    assert not [record for record in caplog.records if record.name == "fastnet.error"]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_error_handlers_that_fail(asynchronous: bool, caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    if asynchronous:

        @app.on_error(LookupError)
        async def failing(request: Request, error: Exception) -> str:
            raise LookupError("again")

        @app.on_error(TypeError)
        async def raising(request: Request, error: Exception) -> str:
            raise HTTPException(418)

    else:

        @app.on_error(LookupError)
        def failing_sync(request: Request, error: Exception) -> str:
            raise LookupError("again")

        @app.on_error(TypeError)
        def raising_sync(request: Request, error: Exception) -> str:
            raise HTTPException(418)

    @app.get("/lookup")
    async def lookup() -> None:
        raise LookupError("first")

    @app.get("/type")
    async def type_() -> None:
        raise TypeError

    with serving(app) as client:
        assert client.get("/lookup").status == 500
        assert client.get("/type").status == 418
    assert "again" in caplog.text


@pytest.mark.parametrize("which", [399, 600, "404", int, BaseException, KeyError("x")])
def test_what_on_error_does_not_take(which: Any) -> None:
    with pytest.raises(TypeError, match="on_error takes"):
        App().on_error(which)


def test_one_handler_each() -> None:
    app = App()
    app.on_error(404)(lambda request, error: "a")
    with pytest.raises(ValueError, match="already"):
        app.on_error(404)(lambda request, error: "b")


def test_bad_headers_of_a_handler_are_a_500_and_never_sent(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.post("/")
    async def handler(value: Annotated[str, Body()]) -> Response:
        return Response("x", headers={"x-a": value})

    with serving(app) as client:
        assert client.post("/", b"fine", "text/plain").headers["x-a"] == "fine"
        answer = client.post("/", b"bad\r\nset-cookie: a=b", "text/plain")
        assert answer.status == 500
        assert "set-cookie" not in answer.headers
    assert "control character" in caplog.text
