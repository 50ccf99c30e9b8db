"""Fetching arguments and calling: a plan's call beside the bare call of the same function.

``test_bare_*`` calls the function with its values at hand; what a plan costs is the difference.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from fastnet.handlers import build_plan
from fastnet.params import Cookie, Depends, Header
from fastnet_ext.exchange.exchange import LoopLocal
from fastnet_ext.exchange.memory import MemoryExchange

CALLS = 1000

BODY = b'{"name":"Ada","age":36}'


class User(msgspec.Struct):
    name: str
    age: int = 0


def nothing() -> None: ...


def read_user(id: int, verbose: bool = False) -> int:
    return id


def find(q: str, limit: int = 10, tags: list[str] = []) -> str:  # noqa: B006 - a plan does not share it
    return q


def authorized(token: Annotated[str, Header("authorization")], session: Annotated[str, Cookie()]) -> str:
    return token


def create_user(user: User) -> User:
    return user


def calls(function: Callable[..., Any], *arguments: Any) -> None:
    for _ in range(CALLS):
        function(*arguments)


def planned(benchmark: Any, function: Callable[..., Any], exchange: MemoryExchange, *path_params: str) -> None:
    plan, _ = build_plan(function, path_params, methods=["POST"], inline=True)
    benchmark.extra_info["items"] = CALLS
    benchmark(plan.invoke_repeatedly, exchange, CALLS)
    plan.invoke(exchange)


def test_bare_nothing(benchmark: Any) -> None:
    benchmark.extra_info["items"] = CALLS
    benchmark(calls, nothing)


def test_plan_nothing(benchmark: Any) -> None:
    planned(benchmark, nothing, MemoryExchange())


def test_bare_path_and_query(benchmark: Any) -> None:
    benchmark.extra_info["items"] = CALLS
    benchmark(calls, read_user, 42, True)


def test_plan_path_and_query(benchmark: Any) -> None:
    planned(benchmark, read_user, MemoryExchange("GET", "/users/42?verbose=true", params=["42"]), "id")


def test_plan_text_and_list(benchmark: Any) -> None:
    planned(benchmark, find, MemoryExchange("GET", "/?q=caf%C3%A9+noir&limit=25&tags=a&tags=b"))


def test_plan_header_and_cookie(benchmark: Any) -> None:
    fields = [
        (b"host", b"example.com"),
        (b"user-agent", b"bench"),
        (b"authorization", b"Bearer 0123456789abcdef"),
        (b"cookie", b"theme=dark; session=0123456789abcdef"),
    ]
    planned(benchmark, authorized, MemoryExchange("GET", "/", fields))


def test_bare_json_body(benchmark: Any) -> None:
    decode = msgspec.json.Decoder(User).decode

    def decoded(body: bytes) -> User:
        return create_user(decode(body))

    benchmark.extra_info["items"] = CALLS
    benchmark(calls, decoded, BODY)


def test_plan_json_body(benchmark: Any) -> None:
    planned(benchmark, create_user, MemoryExchange("POST", "/", [(b"content-type", b"application/json")], BODY))


async def user(token: Annotated[str, Header("authorization")]) -> str:
    return token


async def handler(user: Annotated[str, Depends(user)]) -> str:
    return user


def test_dependency(benchmark: Any) -> None:
    plan, _ = build_plan(handler)
    loop = asyncio.new_event_loop()
    exchange = MemoryExchange("GET", "/", [(b"authorization", b"Bearer x")], local=LoopLocal(loop))

    async def many() -> None:
        for _ in range(CALLS):
            await plan.invoke(exchange)

    benchmark.extra_info["items"] = CALLS
    benchmark(lambda: loop.run_until_complete(many()))
    loop.close()
