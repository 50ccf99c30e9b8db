"""BlackSheep with its automatic bindings."""

import os

import orjson
from blacksheep import Application, Response, get, json, post, text
from blacksheep.settings.json import json_settings
from pydantic import BaseModel, Field

app = Application(show_error_details=False)
json_settings.use(loads=orjson.loads, dumps=lambda value: orjson.dumps(value).decode())


class User(BaseModel):
    name: str = Field(min_length=1)
    age: int = Field(default=0, ge=0)


@get("/")
async def index() -> Response:
    return text("Hello, World!")


@get("/users/{id}")
async def read_user(id: int, verbose: bool = False) -> Response:
    return json({"id": id, "verbose": verbose})


@post("/users")
async def create_user(user: User) -> Response:
    return json(user.model_dump(), status=201)


def _add_routes(count: int) -> None:
    async def static() -> Response:
        return json({"id": 0, "verbose": False})

    async def parameter(id: int) -> Response:
        return json({"id": id, "verbose": False})

    for number in range(count // 2):
        app.router.add_get(f"/api/resource{number}/list", static)
        app.router.add_get(f"/api/resource{number}/{{id}}", parameter)


_add_routes(int(os.environ.get("BENCH_ROUTES", "0")))
