"""The soak of WebSockets, as short as it still says something: ``make soak`` is the long one."""

from __future__ import annotations

import sys

import pytest

from tests.soak.websocket import soak


@pytest.mark.skipif(sys.platform != "linux", reason="memory of a process is read from /proc")
def test_idle_connections_and_a_storm() -> None:
    found = soak(500, 2, slow=8, quick=3)
    assert found.connections == 500
    assert found.read == 3 * found.sent
    assert found.dropped > 0
