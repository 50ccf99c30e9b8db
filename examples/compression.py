"""Compression: of answers as their clients accept it, of a stream and of events, and of what is uploaded.

``fastnet run examples.compression:app``, then ``curl --compressed -v localhost:8000/rows`` and
``gzip -c README.md | curl --data-binary @- -H 'content-encoding: gzip' localhost:8000/count``.
"""

import asyncio
from collections.abc import AsyncIterator

from fastnet import App
from fastnet.compression import Compression

app = App()
app.compress()
app.decompress(max_size=10_000_000)


@app.get("/rows")
async def rows() -> list[dict[str, int]]:
    return [{"id": n, "square": n * n} for n in range(1000)]


# Made once a day and fetched by everybody: it may take its time, in a thread.
@app.get("/report", compress=Compression(codings={"br": 11, "gzip": 9}))
async def report() -> str:
    return "\n".join(f"{n} of 1000" for n in range(1000))


# Something secret beside what a client has sent: its size would tell too much.
@app.get("/token", compress=False)
async def token(name: str) -> dict[str, str]:
    return {"name": name, "token": "0123456789abcdef" * 100}


@app.get("/lines")
async def lines() -> AsyncIterator[str]:
    for n in range(100):
        yield f"line {n}\n"


@app.sse("/ticks")
async def ticks() -> AsyncIterator[dict[str, int]]:
    for n in range(1000):
        yield {"n": n}
        await asyncio.sleep(1)


@app.post("/count")
async def count(body: bytes) -> int:
    return len(body)
