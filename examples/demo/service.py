"""The demo service: ``make serve`` runs it, ``make demo`` drives it over the wire.

One port answers HTTP/1.1 and HTTP/2, WebSocket and gRPC. The gRPC messages are protoc's output of
``proto/greeter.proto``, unmodified.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import greeter_pb2 as pb  # protoc's output, found by examples/__init__.py
import grpc
import msgspec

from fastnet import (
    App,
    CallNext,
    Depends,
    Header,
    HTMLResponse,
    HTTPException,
    Request,
    Response,
    Router,
    WebSocket,
)

app = App(title="fastnet demo")


class User(msgspec.Struct):
    """A user, as clients send and see it."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    age: Annotated[int, msgspec.Meta(ge=0, le=150)] = 0


class StoredUser(User):
    """A user with the number that the service gave it."""

    id: int = 0


class Users:
    """The users, in memory."""

    def __init__(self) -> None:
        self.by_id: dict[int, StoredUser] = {}

    def add(self, user: User) -> StoredUser:
        stored = StoredUser(user.name, user.age, len(self.by_id) + 1)
        self.by_id[stored.id] = stored
        return stored


async def users_of(request: Request) -> Users:
    """The service's users, for handlers that ask for them."""
    users: Users = request.app.state.users
    return users


UsersDep = Annotated[Users, Depends(users_of)]


@app.lifespan
async def lifespan(app: App) -> AsyncIterator[None]:
    app.state.users = Users()
    app.state.users.add(User("Ada", 36))
    yield


@app.middleware
async def served_by(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)
    response.headers["x-served-by"] = "fastnet"
    return response


PAGE = (Path(__file__).parent / "index.html").read_text()


@app.get("/")
async def index() -> Response:
    return HTMLResponse(PAGE)


@app.get("/hello")
async def hello(name: str = "World") -> str:
    return f"Hello, {name}!"


users = Router()


@users.get("/{id}")
async def read_user(id: int, users: UsersDep, verbose: bool = False) -> dict[str, object]:
    user = users.by_id.get(id)
    if user is None:
        raise HTTPException(404, f"there is no user {id}")
    return {"id": user.id, "name": user.name, **({"age": user.age} if verbose else {})}


@users.post("", status_code=201)
async def create_user(user: User, users: UsersDep) -> StoredUser:
    return users.add(user)


app.include(users, prefix="/users")


async def current_user(token: Annotated[str, Header("authorization")]) -> User:
    """Who calls, by a bearer token; 401 for anybody else."""
    kind, _, name = token.partition(" ")
    if kind.lower() != "bearer" or not name:
        raise HTTPException(401, "send 'Authorization: Bearer <your name>'", headers={"www-authenticate": "Bearer"})
    return User(name)


@app.get("/me")
async def me(user: Annotated[User, Depends(current_user)]) -> User:
    return user


@app.get("/report")
async def report() -> AsyncIterator[str]:
    for number in range(3):
        yield f"line {number}\n"


@app.post("/upload")
async def upload(request: Request) -> dict[str, int]:
    size = chunks = 0
    async for chunk in request.stream():
        size += len(chunk)
        chunks += 1
    return {"bytes": size, "chunks": chunks}


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@app.grpc.service("greeter.Greeter")
class Greeter:
    async def SayHello(self, request: Any, context: Any) -> Any:
        if not request.name:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a greeting needs a name")
        return pb.HelloReply(message=f"Hello, {request.name}!")

    async def SayHelloStream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for number in range(3):
            yield pb.HelloReply(message=f"{number}: {request.name}")

    async def RecordGreetings(self, requests: Any, context: Any) -> Any:
        names = [request.name async for request in requests]
        return pb.GreetingSummary(count=len(names), summary=", ".join(names))

    async def Chat(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for message in requests:
            yield pb.ChatMessage(user="server", content=message.content.upper())
