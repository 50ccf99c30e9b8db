"""Chromium's EventSource against event streams: format, reconnecting, Last-Event-ID, what was missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastnet import App, HTMLResponse, LastEventId, ServerSentEvent
from tests.browser import browsing
from tests.wire.live import live

PAGE = """<!doctype html><meta charset="utf-8"><script>
const seen = [], source = new EventSource("%s");
let closed = false;
function report(event) {
  if (closed) return;
  seen.push([event.type, event.data, event.lastEventId]);
  if (seen.length == %d) {
    source.close();
    closed = true;
  }
}
for (const name of ["message", "tick", "größe"]) source.addEventListener(name, report);
</script>"""


def watched(app: App, path: str, count: int, profile: Path) -> list[list[str]]:
    """The first ``count`` events that a page sees: type, data, lastEventId."""

    @app.get("/page")
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE % (path, count))

    with live(app) as server, browsing(profile) as browser:
        found: list[list[str]] = browser.open(f"http://127.0.0.1:{server.port}/page").until("closed && seen")
    return found


def test_what_the_encoder_writes(tmp_path: Path) -> None:
    app = App()
    events = [
        ServerSentEvent("plain"),
        ServerSentEvent("two\nlines\r\nthree\r", event="tick", id="1"),
        ServerSentEvent(" space, größe … 😀", event="größe", comment="not seen"),
        ServerSentEvent("", id="ü"),
        ServerSentEvent({"n": [1, None]}, id=""),
    ]

    @app.sse("/events")
    async def stream() -> AsyncIterator[Any]:
        for event in events:
            yield event
        await asyncio.Event().wait()

    assert watched(app, "/events", 5, tmp_path) == [
        ["message", "plain", ""],
        ["tick", "two\nlines\nthree\n", "1"],
        ["größe", " space, größe … 😀", "1"],
        ["message", "", "ü"],
        ["message", '{"n":[1,null]}', ""],
    ]


def test_it_reconnects_and_says_what_it_saw_last(tmp_path: Path) -> None:
    app, asked = App(), list[str]()

    @app.sse("/events", retry=50)
    async def stream(last: LastEventId) -> AsyncIterator[Any]:
        asked.append(last)
        number = len(asked)
        yield ServerSentEvent(f"connection {number}", id=f"nº {number}")

    assert watched(app, "/events", 3, tmp_path) == [
        ["message", f"connection {number}", f"nº {number}"] for number in (1, 2, 3)
    ]
    assert asked[:3] == ["", "nº 1", "nº 2"]


def test_replay_closes_the_gap_of_a_broken_connection(tmp_path: Path) -> None:
    app, broken = App(), list[bool]()

    @app.middleware
    async def cut(request: Any, call_next: Any) -> Any:
        """Breaks the first stream off after its second event; the source goes on."""
        response = await call_next(request)
        if request.path == "/events" and not broken:
            broken.append(True)
            subscribe = response.subscribe

            async def two(request: Any, events: Any) -> AsyncIterator[Any]:
                count = 0
                async for event in subscribe(request, events):
                    yield event
                    count += 1
                    if count == 2:
                        return

            response.subscribe = two
        return response

    @app.sse("/events", replay=100, retry=300)
    async def stream() -> AsyncIterator[Any]:
        number = 0
        while True:
            yield {"number": number}
            number += 1
            await asyncio.sleep(0.02)

    seen = watched(app, "/events", 20, tmp_path)
    assert [data for _, data, _ in seen] == [f'{{"number":{number}}}' for number in range(20)]
    assert [id.partition("-")[2] for _, _, id in seen] == [str(number) for number in range(20)]
