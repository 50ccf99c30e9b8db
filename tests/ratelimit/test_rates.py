"""What a rate may be written as, and what is said of anything else."""

from __future__ import annotations

from typing import Any

import pytest

from fastnet import App
from fastnet.ratelimit import Rate, RateLimit
from fastnet_ext.ratelimit.limiter import FixedWindow


@pytest.mark.parametrize(
    ("text", "count", "period"),
    [
        ("100/second", 100, 1),
        ("100/s", 100, 1),
        (" 5 / min ", 5, 60),
        ("5 per minute", 5, 60),
        ("5 per 10 minutes", 5, 600),
        ("1/0.5s", 1, 0.5),
        ("1_000_000/hour", 1_000_000, 3600),
        ("3/day", 3, 86400),
    ],
)
def test_a_rate(text: str, count: int, period: float) -> None:
    assert Rate.parse(text) == Rate(count, period)


@pytest.mark.parametrize("text", ["", "100", "/s", "100/", "100/week", "x/s", "-1/s", "0/s", "1/0s", "1e3/s", "1/s/s"])
def test_a_text_that_is_no_rate_is_refused_at_registration(text: str) -> None:
    app = App()
    with pytest.raises(ValueError, match="is no rate"):
        app.limit(text)
    with pytest.raises(ValueError, match="is no rate"):
        app.get("/", limit=text)(lambda: "")
    with pytest.raises(ValueError, match="is no rate"):
        app.websocket("/", message_limit=text)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"rate": 5}, TypeError, "a rate is text"),
        ({"burst": 0}, ValueError, "a burst of 0"),
        ({"burst": 5, "algorithm": FixedWindow}, ValueError, "FixedWindow has no burst"),
        ({"key": "client"}, TypeError, "the key of a rate limit"),
        ({"cost": -1}, ValueError, "the cost of a request"),
        ({"cost": "5"}, ValueError, "the cost of a request"),
        ({"name": 'with "quotes"'}, ValueError, "is no name of a rate limit"),
        ({"name": ""}, ValueError, "is no name of a rate limit"),
        ({"capacity": 0}, ValueError, "a capacity of 0"),
        ({"when_full": "wait"}, ValueError, "when_full is"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        RateLimit(**{"rate": "1/s", **options})


def test_what_is_no_limit() -> None:
    app = App()
    with pytest.raises(TypeError, match="a limit is a RateLimit"):
        app.get("/", limit=[5])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="given where it is made"):
        app.limit(RateLimit("1/s"), burst=5)
