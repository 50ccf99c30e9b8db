"""A live dashboard: ``fastnet run examples.dashboard.service:app``.

Ten times a second each worker measures itself and broadcasts one binary message to all who look: the time and three
figures, as four doubles of 8 bytes, little-endian. A browser reads it without parsing any text. Who is too slow for it
gets the latest figures, not all of them.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

from fastnet import App, HTMLResponse, WebSocket

app = App(title="dashboard")
# Old figures are worth nothing: of those that wait only the last one is kept.
hub = app.hub("dashboard", queue=1, slow="drop_oldest")

PAGE = (Path(__file__).parent / "index.html").read_text(encoding="utf-8")
ROOM = "figures"
INTERVAL = 0.1
FIGURES = struct.Struct("<4d")


@app.get("/", inline=True)
def index() -> HTMLResponse:
    """The page."""
    return HTMLResponse(PAGE)


def look(ws: WebSocket) -> None:
    """Somebody looks; what they send is for nobody."""
    hub.join(ws, ROOM)


app.websocket("/figures", on_open=look, max_message=1)


async def measure() -> None:
    """The load of the machine, the share of a core that this process takes, and how late the loop is (ms)."""
    before, used = time.perf_counter(), time.process_time()
    while True:
        await asyncio.sleep(INTERVAL)
        now, using = time.perf_counter(), time.process_time()
        lag = max(now - before - INTERVAL, 0.0) * 1000
        share = 100 * (using - used) / (now - before)
        before, used = now, using
        hub.broadcast(ROOM, FIGURES.pack(time.time(), os.getloadavg()[0], share, lag), here=True)


@app.lifespan
async def measuring(app: App) -> AsyncIterator[None]:
    """Measure while the service runs."""
    app.background(measure())
    yield


if __name__ == "__main__":
    app.run(port=8000)
