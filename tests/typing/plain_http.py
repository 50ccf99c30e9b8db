"""What users write for plain HTTP, fully annotated: mypy --strict and pyright must find nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, assert_type

import msgspec

from fastnet import (
    App,
    CallNext,
    Depends,
    Header,
    HTTPException,
    JSONResponse,
    Request,
    Response,
    Router,
    State,
    Stream,
)

app = App(debug=True, max_body=10)
router = Router(prefix="/r")


class User(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    age: Annotated[int, msgspec.Meta(ge=0)] = 0


class MyState(State):
    user: User


@app.get("/")
async def index() -> str:
    return "Hello, World!"


@app.get("/users/{id}", name="user", cancel_on_disconnect=True)
async def read_user(id: int, verbose: bool = False) -> dict[str, object]:
    return {"id": id, "verbose": verbose}


@app.post("/users", status_code=201, max_body=1000)
async def create_user(user: User, token: Annotated[str, Header("x-token")] = "") -> User:
    return user


@app.get("/report", media_type="text/csv")
async def report() -> AsyncIterator[str]:
    for i in range(3):
        yield f"line {i}\n"


async def current_user(token: Annotated[str, Header("authorization")]) -> User:
    raise HTTPException(401, headers={"www-authenticate": "Bearer"}, type="about:blank", left=3)


@app.get("/me", dependencies=[Depends(current_user)])
async def me(user: Annotated[User, Depends(current_user)]) -> User:
    return user


@app.route("/both", methods=["GET", "POST"])
@router.get("/sync", inline=True)
def both(request: Request) -> Response:
    return Response("x", 200, {"x-a": request.headers["x-b"]}, "text/html")


@router.put("/upload")
async def upload(request: Request[MyState]) -> Stream | JSONResponse:
    assert_type(request.state, MyState)
    assert_type(await request.body(), bytes)
    assert_type(await request.json(), Any)
    assert_type(await request.json(User), User)
    assert_type(await request.json(list[int]), list[int])
    assert_type(request.query_params.getlist("a"), list[str])
    assert_type(request.cookies, dict[str, str])
    async for chunk in request.stream():
        assert_type(chunk, bytes)
    return Stream(report(), media_type="text/plain")


@app.middleware
async def timing(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)
    assert_type(response, Response)
    response.headers["x-served-by"] = "fastnet"
    response.set_cookie("a", "b", samesite="strict", max_age=3)
    return response


@app.on_error(KeyError)
async def on_key_error(request: Request, error: KeyError) -> Response:
    return Response(str(error), 404)


@app.on_error(404)
def on_not_found(request: Request, error: HTTPException) -> dict[str, Any]:
    return {"detail": error.detail}


@app.lifespan
async def lifespan(app: App) -> AsyncIterator[None]:
    app.state.ready = True
    task = app.background(asyncio.sleep(1, "done"))
    assert_type(task, asyncio.Task[str])
    yield
    app.state.ready = False


@app.lifespan
@asynccontextmanager
async def resources() -> AsyncIterator[None]:
    yield


app.include(router, prefix="/api", middleware=[timing], dependencies=[Depends(current_user)])
app.dependency_overrides[current_user] = lambda: User("test")


async def main() -> None:
    # Decorators return what they were given.
    assert_type(await read_user(3, verbose=True), dict[str, object])
    assert_type(await index(), str)
    async with app.serve(port=0) as server:
        assert_type(server.url, str)
