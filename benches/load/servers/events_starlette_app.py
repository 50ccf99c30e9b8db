"""Ten events a second to each client, by sse-starlette as its documentation teaches it."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import orjson
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route


async def generate() -> AsyncIterator[dict[str, Any]]:
    for n in itertools.count():
        yield {"data": orjson.dumps({"n": n, "text": "hello, world"}).decode(), "event": "tick", "id": str(n)}
        await asyncio.sleep(0.1)


async def events(request: Request) -> EventSourceResponse:
    return EventSourceResponse(generate())


app = Starlette(routes=[Route("/events", events)])
