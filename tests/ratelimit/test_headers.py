"""RateLimit and RateLimit-Policy on the answers to admitted requests."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fastnet import App, Request, Response, WebSocket
from fastnet.ratelimit import RateLimit, header
from tests.fastnet.test_websocket import dial
from tests.loops import run
from tests.wire.live import Answer, Live, live

# RFC 9651, of what these fields may hold: a list of items that are strings, with parameters of integers.
ITEM = re.compile(r' *"((?:[ !#-\[\]-~]|\\["\\])*)"((?: *; *[a-z*][a-z0-9_.*-]*=-?[0-9]{1,15})*) *(,|$)', re.ASCII)


def parsed(answer: Answer, name: str) -> dict[str, dict[str, int]]:
    """The list that all lines of a field are together; anything that RFC 9651 does not allow fails the test."""
    text = ", ".join(value for field, value in answer.fields if field == name)
    found: dict[str, dict[str, int]] = {}
    place = 0
    while place < len(text):
        item = ITEM.match(text, place)
        assert item is not None, text[place:]
        parameters = [one.strip().split("=") for one in item[2].split(";") if one.strip()]
        found[item[1]] = {key: int(value) for key, value in parameters}
        place = item.end()
        assert item[3] == ("," if place < len(text) else ""), text
    return found


def hello(app: App, path: str = "/", **options: Any) -> None:
    @app.get(path, **options)
    async def answer() -> str:
        return "hello"


def get(server: Live, target: str = "/", *fields: str) -> Answer:
    with server.peer() as peer:
        return peer.get(target, *fields).answer()


def test_who_is_admitted_is_told_how_it_stands() -> None:
    app = App()
    app.limit("60/minute", burst=3, headers=True)
    hello(app)
    with live(app) as server:
        first, second = get(server), get(server)
        assert parsed(first, "ratelimit-policy") == {"default": {"q": 60, "w": 60}}
        assert parsed(first, "ratelimit") == {"default": {"r": 2, "t": 1}}
        assert parsed(second, "ratelimit") == {"default": {"r": 1, "t": 2}}
        assert get(server).status == 200
        refused = get(server)
        assert refused.status == 429
        assert parsed(refused, "ratelimit-policy") == {"default": {"q": 60, "w": 60}}
        assert parsed(refused, "ratelimit") == {"default": {"r": 0, "t": 1}}


def test_several_limits_are_one_list() -> None:
    app = App()
    app.limit("100/hour", headers=True, name="app")
    app.limit("50/hour", name="quiet")
    hello(app, limit=RateLimit("10/hour", headers=True, name="the route; a, b"))
    with live(app) as server:
        answer = get(server)
        assert parsed(answer, "ratelimit-policy") == {
            "app": {"q": 100, "w": 3600},
            "the route; a, b": {"q": 10, "w": 3600},
        }
        assert {name: one["r"] for name, one in parsed(answer, "ratelimit").items()} == {
            "app": 99,
            "the route; a, b": 9,
        }


def test_all_kinds_of_answers() -> None:
    app = App()
    app.limit("100/hour", headers=True)
    hello(app)

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "one"

    @app.sse("/events")
    async def events() -> AsyncIterator[str]:
        yield "one"

    @app.get("/none")
    async def none() -> None: ...

    @app.get("/own")
    async def own(request: Request) -> Response:
        return Response("own", headers={"x-own": "yes"})

    @app.get("/fails")
    async def fails() -> str:
        raise ValueError

    expected = {"/": 200, "/stream": 200, "/events": 200, "/none": 204, "/own": 200, "/fails": 500, "/no": 404}
    with live(app, keeps=True) as server:
        for number, (target, status) in enumerate(expected.items()):
            answer = get(server, target)
            assert answer.status == status
            assert parsed(answer, "ratelimit")["default"]["r"] == 99 - number


def test_who_is_not_limited_and_who_did_not_ask_for_it_are_told_nothing() -> None:
    app = App()
    hello(app, limit=RateLimit("9/hour", key=lambda request: None, headers=True))
    hello(app, "/free", limit=RateLimit("9/hour", cost=0, headers=True))
    hello(app, "/quiet", limit="9/hour")
    with live(app) as server:
        for target in ("/", "/free", "/quiet"):
            assert not parsed(get(server, target), "ratelimit")
            assert not parsed(get(server, target), "ratelimit-policy")


def test_over_http2() -> None:
    app = App()
    app.limit("100/hour", headers=True)
    hello(app)

    async def main() -> None:
        async with app.serve(port=0) as server:
            process = await asyncio.create_subprocess_exec(
                "curl", "-sSi", "--http2-prior-knowledge", f"http://127.0.0.1:{server.port}/", stdout=subprocess.PIPE
            )
            text = (await process.communicate())[0].decode()
        assert text.startswith("HTTP/2 200")
        assert 'ratelimit-policy: "default";q=100;w=3600\r\n' in text
        assert 'ratelimit: "default";r=99;t=36\r\n' in text
        assert text.endswith("\r\n\r\nhello")

    run(main())


def test_the_hand_shake_of_a_websocket_and_no_message() -> None:
    app = App()

    @app.websocket("/", limit=RateLimit("9/hour", headers=True), message_limit=RateLimit("9/hour", headers=True))
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        async with app.serve(port=0) as server, dial(server, "/") as ws:
            assert ws.response is not None
            assert ws.response.headers["ratelimit"] == '"default";r=8;t=400'
            await ws.send("hello")
            assert await ws.recv() == "hello"

    run(main())


@pytest.mark.parametrize("pipelined", [2, 20])
def test_each_of_many_pipelined_answers(pipelined: int) -> None:
    app = App()
    app.limit("100/hour", key=header("x-key"), headers=True)
    hello(app)
    with live(app) as server, server.peer() as peer:
        for _ in range(pipelined):
            peer.get("/", "x-key: a")
        left = [parsed(peer.answer(), "ratelimit")["default"]["r"] for _ in range(pipelined)]
        assert left == [99 - number for number in range(pipelined)]
