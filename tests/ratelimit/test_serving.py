"""Limits before handlers: who is refused, with what, and that nothing else is."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from fastnet import App, Request, Router
from fastnet.ratelimit import Concurrency, RateLimit, api_key, client_network, everyone, header
from fastnet_ext.ratelimit.limiter import GCRA, FixedWindow, LeakyBucket, SlidingLog, SlidingWindow, TokenBucket
from tests.memory import Growth
from tests.wire.live import Answer, Live, live

# Long enough for a test on a machine that does many things at once.
HOUR = "/hour"


def get(server: Live, target: str = "/", *fields: str) -> Answer:
    with server.peer() as peer:
        return peer.get(target, *fields).answer()


def statuses(server: Live, count: int, target: str = "/", *fields: str) -> list[int]:
    with server.peer() as peer:
        return [peer.get(target, *fields).answer().status for _ in range(count)]


def hello(app: App | Router, path: str = "/", **options: Any) -> None:
    @app.get(path, **options)
    async def answer() -> str:
        return "hello"


@pytest.mark.parametrize("algorithm", [TokenBucket, GCRA, FixedWindow, SlidingWindow, SlidingLog])
@pytest.mark.limit("Rate limits: requests of a key")
def test_what_is_over_the_limit_is_refused(algorithm: Any) -> None:
    app = App()
    app.limit("3" + HOUR, algorithm=algorithm, name="hourly")
    hello(app)
    with live(app) as server:
        assert statuses(server, 3) == [200, 200, 200]
        answer = get(server)
        assert answer.status == 429
        assert answer["content-type"] == "application/problem+json"
        wait = int(answer["retry-after"] or 0)
        assert 0 < wait <= 2 * 3600
        assert answer["ratelimit-policy"] == '"hourly";q=3;w=3600'
        assert answer["ratelimit"] == f'"hourly";r=0;t={wait}'
        assert orjson.loads(answer.body) == {
            "type": "about:blank",
            "title": "Too Many Requests",
            "status": 429,
            "detail": f"too many requests; try again in {wait} s",
            "limit": "hourly",
        }
        assert server.server.counters["limit_rate"] == 1


def test_a_leaky_bucket_takes_one_at_a_time() -> None:
    app = App()
    app.limit("60" + HOUR, algorithm=LeakyBucket)
    hello(app)
    with live(app) as server:
        assert statuses(server, 3) == [200, 429, 429]
        assert 0 < int(get(server)["retry-after"] or 0) <= 60


def test_what_is_not_found_counts_too() -> None:
    app = App()
    app.limit("2" + HOUR)
    hello(app)
    with live(app) as server:
        assert statuses(server, 3, "/nothing") == [404, 404, 429]


def test_limits_of_app_router_and_route() -> None:
    app, router = App(), Router("/api")
    app.limit("6" + HOUR, name="app")
    hello(app)
    router.limit("4" + HOUR, name="router")
    hello(router, "/wide")
    hello(router, "/narrow", limit=RateLimit("1" + HOUR, name="route"))
    app.include(router)
    with live(app) as server:
        assert statuses(server, 2, "/api/narrow") == [200, 429]
        assert orjson.loads(get(server, "/api/narrow").body)["limit"] == "route"
        # What the route refused was given back to router and app.
        assert statuses(server, 4, "/api/wide") == [200, 200, 200, 429]
        assert orjson.loads(get(server, "/api/wide").body)["limit"] == "router"
        assert statuses(server, 3) == [200, 200, 429]
        assert orjson.loads(get(server).body)["limit"] == "app"


def test_one_limit_for_two_routes() -> None:
    app = App()
    both = RateLimit("2" + HOUR)
    hello(app, "/one", limit=both)
    hello(app, "/two", limit=[both, Concurrency(5)])
    with live(app) as server:
        assert statuses(server, 1, "/one") + statuses(server, 2, "/two") == [200, 200, 429]


def test_keys() -> None:
    app = App()
    hello(app, "/key", limit=RateLimit("1" + HOUR, key=api_key()))
    hello(app, "/header", limit=RateLimit("1" + HOUR, key=header("X-Tenant")))
    hello(app, "/all", limit=RateLimit("1" + HOUR, key=everyone))

    def user(request: Any) -> str | None:
        name = request.headers.get("x-user")
        return None if name == "admin" else name or ""

    hello(app, "/user", limit=RateLimit("1" + HOUR, key=user))
    with live(app) as server:
        assert statuses(server, 2, "/key", "x-api-key: a") == [200, 429]
        assert statuses(server, 2, "/key", "x-api-key: b") == [200, 429]
        assert statuses(server, 2, "/key") == [200, 429]
        assert statuses(server, 2, "/header", "x-tenant: a") == [200, 429]
        assert statuses(server, 2, "/all", "x-api-key: a") == [200, 429]
        assert statuses(server, 2, "/user", "x-user: admin") == [200, 200]
        assert statuses(server, 2, "/user", "x-user: ada") == [200, 429]


def test_addresses_behind_trusted_proxies_only() -> None:
    def make() -> App:
        app = App()
        app.limit("1" + HOUR)
        hello(app)
        return app

    with live(make(), trusted_proxies=["127.0.0.1"]) as server:
        assert statuses(server, 2, "/", "x-forwarded-for: 192.0.2.1") == [200, 429]
        assert statuses(server, 1, "/", "x-forwarded-for: 192.0.2.2") == [200]
        # IPv6 by its first 64 bits, IPv4 in IPv6 as itself.
        assert statuses(server, 1, "/", "x-forwarded-for: 2001:db8:1:2::1") == [200]
        assert statuses(server, 1, "/", "x-forwarded-for: 2001:db8:1:2:ffff::2") == [429]
        assert statuses(server, 1, "/", "x-forwarded-for: 2001:db8:1:3::1") == [200]
        assert statuses(server, 1, "/", "x-forwarded-for: ::ffff:192.0.2.2") == [429]
    with live(make()) as server:
        assert statuses(server, 1, "/", "x-forwarded-for: 192.0.2.1") == [200]
        assert statuses(server, 1, "/", "x-forwarded-for: 192.0.2.2") == [429]


def test_networks_of_another_size() -> None:
    app = App()
    app.limit("1" + HOUR, key=client_network(48))
    hello(app)
    with live(app, trusted_proxies=["127.0.0.1"]) as server:
        assert statuses(server, 1, "/", "x-forwarded-for: 2001:db8:1:2::1") == [200]
        assert statuses(server, 1, "/", "x-forwarded-for: 2001:db8:1:3::1") == [429]
        assert statuses(server, 1, "/", "x-forwarded-for: 2001:db8:2:3::1") == [200]
        assert statuses(server, 1, "/", "x-forwarded-for: 192.0.2.1") == [200]
        assert statuses(server, 1, "/", "x-forwarded-for: 192.0.2.2") == [200]
    with pytest.raises(ValueError, match="1 to 128"):
        client_network(0)


def test_costs() -> None:
    app = App()

    def cost(request: Any) -> int:
        return int(request.headers.get("x-cost", 1))

    hello(app, "/", limit=RateLimit("10" + HOUR, cost=cost))
    hello(app, "/free", limit=RateLimit("1" + HOUR, cost=0))
    with live(app) as server:
        assert statuses(server, 1, "/", "x-cost: 7") == [200]
        assert statuses(server, 1, "/", "x-cost: 4") == [429]
        assert statuses(server, 1, "/", "x-cost: 3") == [200]
        assert statuses(server, 3, "/", "x-cost: 0") == [200, 200, 200]
        answer = get(server, "/", "x-cost: 11")
        # Waiting does not help.
        assert (answer.status, answer["retry-after"]) == (429, None)
        assert statuses(server, 3, "/free") == [200, 200, 200]


@pytest.mark.parametrize("option", ["key", "cost"])
def test_a_function_that_fails_is_an_error_of_the_app(option: str) -> None:
    app = App()

    def fail(request: Any) -> Any:
        raise KeyError("secret")

    options: Any = {option: fail}
    hello(app, "/", limit=RateLimit("1" + HOUR, **options))
    options = {option: lambda request: -1.5}
    hello(app, "/odd", limit=RateLimit("1" + HOUR, **options))
    # What pytest captures of the log has tracebacks, and their frames the request.
    with live(app, keeps=True) as server, server.peer() as peer:
        for target in ("/", "/odd", "/"):
            answer = peer.get(target).answer()
            assert answer.status == 500
            assert b"secret" not in answer.body


def test_middleware_and_error_handlers_see_the_refusal() -> None:
    app = App()
    app.limit("1" + HOUR)
    hello(app)

    @app.on_error(429)
    async def refused(request: Request, error: Exception) -> str:
        return "slow down"

    @app.middleware
    async def mark(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["x-seen"] = "yes"
        return response

    with live(app) as server:
        get(server)
        answer = get(server)
        assert (answer.status, answer.body, answer["x-seen"]) == (429, b"slow down", "yes")


@pytest.mark.limit("Rate limits: requests of a key", memory=True)
@pytest.mark.limit("Rate limits: keys of a limit", memory=True)
@pytest.mark.measures
def test_a_flood_of_fresh_keys_takes_no_memory_and_frees_nobody() -> None:
    app = App()
    limit = app.limit("2" + HOUR, key=header("x-key"), capacity=1000)
    hello(app)
    batch, value = 200, "v" * 1000
    with live(app) as server, server.peer() as peer:
        assert statuses(server, 3, "/", "x-key: victim") == [200, 200, 429]
        growth = Growth(os.getpid())
        for first in range(0, 20_000, batch):
            for number in range(first, first + batch):
                peer.get("/", f"x-key: {value}{number}")
            assert {peer.answer().status for _ in range(batch)} == {200}
        # The values alone are 20 MB.
        assert growth.most < 10 * 1024 * 1024
        assert statuses(server, 1, "/", "x-key: victim") == [429]
    assert isinstance(limit, RateLimit)
    assert isinstance(limit.limiter, TokenBucket)
    assert limit.limiter.memory_size == TokenBucket.size_for(1000)


def test_concurrency_is_a_limit_of_requests_in_flight() -> None:
    app = App()
    limit = Concurrency(1)
    app.limit(limit)
    hello(app)
    with live(app) as server:
        assert statuses(server, 3) == [200, 200, 200]
    assert repr(limit) == "<Concurrency <InFlightLimit 0 of 1, 0 waiting>>"


def test_a_route_of_events_is_limited() -> None:
    app = App()

    @app.sse("/events", limit="1" + HOUR)
    async def events() -> AsyncIterator[str]:
        yield "one"

    with live(app) as server:
        assert statuses(server, 2, "/events") == [200, 429]
