"""fastnet as its README teaches it."""

import os
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Annotated

import msgspec

from benches.load.scenarios import WORK_TURNS
from fastnet import App, Request

CHUNK = bytes(65536)
CHUNKS = 15259  # 1 GB, rounded up to whole chunks
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
async def create_user(user: User) -> User:
    return user


@app.post("/length")
async def length(request: Request) -> str:
    return str(len(await request.body()))


@app.post("/digest")
async def digest(request: Request) -> str:
    return sha256(await request.body()).hexdigest()


@app.get("/work")
async def work() -> int:
    """About 300 µs of the interpreter's time."""
    total = 0
    for number in range(WORK_TURNS):
        total += number * number % 7
    return total


@app.get("/stream")
async def stream() -> AsyncIterator[bytes]:
    for _ in range(CHUNKS):
        yield CHUNK


def _add_routes(count: int) -> None:
    async def static() -> dict[str, object]:
        return {"id": 0, "verbose": False}

    async def parameter(id: int) -> dict[str, object]:
        return {"id": id, "verbose": False}

    for number in range(count // 2):
        app.get(f"/api/resource{number}/list")(static)
        app.get(f"/api/resource{number}/{{id}}")(parameter)


_add_routes(int(os.environ.get("BENCH_ROUTES", "0")))
