"""Ten events a second to each client, by fastnet as its documentation teaches it."""

import asyncio
import itertools
from collections.abc import AsyncIterator

from fastnet import App, ServerSentEvent

app = App()


@app.sse("/events")
async def events() -> AsyncIterator[ServerSentEvent]:
    for n in itertools.count():
        yield ServerSentEvent({"n": n, "text": "hello, world"}, event="tick", id=str(n))
        await asyncio.sleep(0.1)
