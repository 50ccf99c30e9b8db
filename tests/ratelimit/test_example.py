"""The example does what it says."""

from __future__ import annotations

from examples.rate_limits import app
from tests.wire.live import live


def test_its_limits() -> None:
    with live(app) as server, server.peer() as peer:

        def status(target: str, *fields: str) -> int:
            return peer.get(target, *fields).answer().status

        standing = peer.get("/").answer()
        assert (standing.status, standing["ratelimit-policy"]) == (200, '"client";q=50;w=1')
        assert [status("/search?q=x", "x-search: deep") for _ in range(3)] == [200, 200, 429]
        assert status("/search?q=x", "x-api-key: mine") == 200
        assert [status("/report") for _ in range(6)] == [200] * 5 + [429]
        assert status("/report", "x-plan: paid") == 200
