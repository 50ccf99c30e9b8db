"""What servers host in these tests: the README's contract, and what looks into the process that serves it."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec

from fastnet import App, Depends, Header, HTTPException, Request, Response, Stream, WebSocket
from tests.protos import greeter

pb, _ = greeter()

app = App()


class User(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    age: Annotated[int, msgspec.Meta(ge=0)] = 0


@app.get("/")
async def index() -> str:
    return "Hello, World!"


@app.get("/users/{id}")
async def read_user(id: int, verbose: bool = False) -> dict[str, object]:
    return {"id": id, "verbose": verbose}


@app.post("/users", status_code=201)
async def create_user(user: User, token: Annotated[str, Header("x-token")] = "") -> User:
    return user


@app.get("/report")
async def report() -> AsyncIterator[str]:
    for i in range(3):
        yield f"line {i}\n"


async def current_user(token: Annotated[str, Header("authorization")]) -> User:
    if token != "secret":
        raise HTTPException(401, "who are you?")
    return User("ada", 36)


@app.get("/me")
async def me(user: Annotated[User, Depends(current_user)]) -> User:
    return user


@app.websocket("/echo", subprotocols=["chat"])
async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@app.websocket("/private")
async def private(ws: WebSocket, user: Annotated[User, Depends(current_user)]) -> None:
    await ws.send(user.name)


@app.websocket("/bye")
async def bye(ws: WebSocket) -> None:
    await ws.receive()
    await ws.close(4001, "enough")


@app.get("/events")
async def events() -> Stream:
    async def ticks() -> AsyncIterator[str]:
        for i in range(3):
            yield f"event: tick\nid: {i}\ndata: {{}}\n\n"
            await asyncio.sleep(0.001)

    return Stream(ticks(), media_type="text/event-stream")


@app.grpc.service("greeter.Greeter")
class Greeter:
    async def SayHello(self, request: Any, context: Any) -> Any:
        return pb.HelloReply(message=f"Hello, {request.name}!")


@app.middleware
async def timing(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    response.headers["x-served-by"] = "fastnet"
    return response


@app.lifespan
async def lifespan(app: App) -> AsyncIterator[None]:
    app.state.ready = True
    yield
    # Where the test that started the process looks for it.
    sys.stderr.write("the app was shut down\n")


# --- beside the contract


@app.get("/ready")
async def ready() -> bool:
    return app.state.ready is True


@app.get("/seen")
async def seen(request: Request) -> dict[str, object]:
    return {
        "version": request.http_version,
        "scheme": request.scheme,
        "host": request.host,
        "client": request.client is not None and request.client.host,
        "raw_path": request.raw_path.decode(),
        "url": request.url,
    }


@app.post("/count", max_body=64 * 1024 * 1024)
async def count(request: Request) -> dict[str, int]:
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
    return {"bytes": total}


@app.get("/large")
async def large(size: int, pieces: int = 1) -> Response:
    if pieces == 1:
        return Response(b"x" * size)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield b"x" * size

    return Stream(parts(), media_type="application/octet-stream")


@app.get("/summed")
async def summed() -> Stream:
    async def parts() -> AsyncIterator[bytes]:
        yield b"abc"
        response.trailers["x-sum"] = "294"

    response = Stream(parts(), media_type="text/plain")
    return response


@app.get("/breaks")
async def breaks() -> AsyncIterator[str]:
    yield "begun"
    await asyncio.sleep(0.05)
    raise LookupError("midway")


@app.get("/fails")
def fails() -> str:
    raise LookupError("secret")


streams = 0


@app.get("/endless")
async def endless() -> AsyncIterator[bytes]:
    global streams
    streams += 1
    try:
        while True:
            yield b"tick\n"
            await asyncio.sleep(0.005)
    finally:
        streams -= 1


@app.websocket("/waits")
async def waits(ws: WebSocket) -> None:
    global streams
    await ws.accept()
    streams += 1
    try:
        await asyncio.sleep(600)
    finally:
        streams -= 1


@app.get("/process")
async def process() -> dict[str, object]:
    """What lives in here: handlers that have not ended, Tasks and objects of ours.

    Tasks of the server's own do not count: Hypercorn keeps those of a closed connection until it would have been idle.
    """
    gc.collect()
    kinds = Counter(type(thing) for thing in gc.get_objects())
    ours = sum(count for kind, count in kinds.items() if str(kind.__module__).startswith("fastnet_ext.net.asgi"))
    working = [task.get_coro() for task in asyncio.all_tasks()]
    tasks = sum(type(one).__name__ == "Runner" or getattr(one, "__name__", "") == "_pump" for one in working)
    return {"streams": streams, "tasks": tasks, "objects": ours}


# --- an app that cannot be started

broken = App()


@broken.lifespan
async def unavailable() -> AsyncIterator[None]:
    raise ConnectionError("the database is away")
    yield
