"""Events that every open page sees, and misses none of when it reconnects: ``fastnet run examples.events:app``."""

import asyncio
import itertools
from collections.abc import AsyncIterator

from fastnet import App, HTMLResponse, ServerSentEvent

app = App()

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Ticks</title>
<ul></ul>
<script>
const show = text => {
    const line = document.createElement("li");
    line.textContent = text;
    document.querySelector("ul").prepend(line);
};
const source = new EventSource("ticks/1");
source.onopen = () => show("connected");
source.onerror = () => show("disconnected");
source.addEventListener("tick", event => show(`${event.lastEventId}: ${event.data}`));
</script>
</html>
"""


@app.get("/", inline=True)
def index() -> HTMLResponse:
    """The page."""
    return HTMLResponse(PAGE)


@app.sse("/ticks/{seconds}", replay=100, retry=1000)
async def ticks(seconds: float) -> AsyncIterator[ServerSentEvent]:
    """A tick every so many seconds, the same for all who ask for as many."""
    for n in itertools.count():
        yield ServerSentEvent({"n": n}, event="tick")
        await asyncio.sleep(max(seconds, 0.01))
