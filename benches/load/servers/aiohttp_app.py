"""aiohttp's server on uvloop, validation by pydantic: ``python aiohttp_app.py PORT``."""

import os
import sys

import orjson
import uvloop
from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

CHUNK = bytes(65536)
CHUNKS = 15259  # 1 GB, rounded up to whole chunks
FLAGS = {"true": True, "false": False}

routes = web.RouteTableDef()


class User(BaseModel):
    name: str = Field(min_length=1)
    age: int = Field(default=0, ge=0)


def answer(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")


@routes.get("/")
async def index(request: web.Request) -> web.Response:
    return web.Response(text="Hello, World!")


@routes.get("/users/{id}")
async def read_user(request: web.Request) -> web.Response:
    try:
        id = int(request.match_info["id"])
        verbose = FLAGS[request.query.get("verbose", "false")]
    except (ValueError, KeyError):
        return web.Response(status=422)
    return answer(orjson.dumps({"id": id, "verbose": verbose}))


@routes.post("/users")
async def create_user(request: web.Request) -> web.Response:
    try:
        user = User.model_validate_json(await request.read())
    except ValidationError:
        return web.Response(status=422)
    return answer(user.model_dump_json().encode(), 201)


@routes.get("/stream")
async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "application/octet-stream"})
    await response.prepare(request)
    for _ in range(CHUNKS):
        await response.write(CHUNK)
    await response.write_eof()
    return response


async def _static(request: web.Request) -> web.Response:
    return answer(orjson.dumps({"id": 0, "verbose": False}))


async def _parameter(request: web.Request) -> web.Response:
    return answer(orjson.dumps({"id": int(request.match_info["id"]), "verbose": False}))


def main(port: int) -> None:
    app = web.Application()
    app.add_routes(routes)
    for number in range(int(os.environ.get("BENCH_ROUTES", "0")) // 2):
        app.router.add_get(f"/api/resource{number}/list", _static)
        app.router.add_get(f"/api/resource{number}/{{id}}", _parameter)
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
        keepalive_timeout=300.0,
        backlog=4096,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
