"""The example of event streams: two clients, a reconnection, and the page in a browser."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from examples.events import app
from fastnet_ext.sse.parser import EventParser, ServerEvent
from tests.browser import browsing
from tests.wire.live import WAIT, live


def ticks(port: int, count: int, last: str = "") -> list[ServerEvent]:
    """The first events of a connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
    try:
        connection.request("GET", "/ticks/0.05", headers={"Last-Event-ID": last} if last else {})
        answer = connection.getresponse()
        assert answer.status == 200
        parser, seen = EventParser(), list[ServerEvent]()
        while len(seen) < count:
            seen += parser.feed(answer.read1())
        return seen[:count]
    finally:
        connection.close()


def test_who_reconnects_misses_nothing() -> None:
    with live(app, keeps=True) as server:
        first = ticks(server.port, 3)
        again = ticks(server.port, 3, first[-1].id)
        numbers = [json.loads(event.data)["n"] for event in first + again]
        assert numbers == list(range(numbers[0], numbers[0] + 6))
        assert {event.event for event in first} == {"tick"}


def test_the_page(tmp_path: Path) -> None:
    with live(app, keeps=True) as server, browsing(tmp_path) as browser:
        tab = browser.open(f"http://127.0.0.1:{server.port}/")
        tab.until("document.querySelectorAll('li').length >= 3 && document.body.innerText.includes('\"n\":1')")
