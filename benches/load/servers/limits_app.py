"""fastnet with rate limits: the same answer without one, with one, with one whose fields are on every answer.

``/counted`` lets few requests in. Each worker counts them in a file of its own below BENCH_COUNTS, so that somebody
else can read at any moment how many there were.
"""

import mmap
import os
from collections.abc import AsyncIterator
from pathlib import Path

from fastnet import App
from fastnet.ratelimit import RateLimit, everyone

# Of what no load generator reaches.
NEVER = "1_000_000_000/second"

app = App()


def counts() -> memoryview:
    """Eight bytes of this worker's own."""
    path = Path(os.environ["BENCH_COUNTS"], str(os.getpid()))
    path.write_bytes(bytes(8))
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")


@app.lifespan
async def lifespan(app: App) -> AsyncIterator[None]:
    if "BENCH_COUNTS" in os.environ:
        app.state.admitted = counts()
    yield


@app.get("/free")
async def free() -> str:
    return "Hello, World!"


@app.get("/rate", limit=RateLimit(NEVER))
async def rate() -> str:
    return "Hello, World!"


@app.get("/told", limit=RateLimit(NEVER, headers=True))
async def told() -> str:
    return "Hello, World!"


@app.get("/counted", limit=RateLimit("2000/second", burst=100, key=everyone))
async def counted() -> str:
    app.state.admitted[0] += 1
    return "Hello, World!"
