"""A Quart application: what its lifespan made, streams both ways, WebSockets."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from typing import Any

from quart import Quart, abort, request, websocket

app = Quart(__name__)
things: dict[str, Any] = {}


@app.before_serving
async def begin() -> None:
    things["begun"] = True
    app.add_background_task(tick)


async def tick() -> None:
    things["ticked"] = True


@app.after_serving
async def end() -> None:
    print("quart has ended", flush=True, file=sys.stderr)


@app.get("/")
async def index() -> dict[str, Any]:
    return {
        "things": things,
        "url": request.url,
        "query": request.args.to_dict(flat=False),
        "version": request.http_version,
    }


@app.post("/upload")
async def upload() -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    async for chunk in request.body:
        digest.update(chunk)
        size += len(chunk)
    return {"size": size, "hash": digest.hexdigest()}


@app.post("/form")
async def form() -> dict[str, Any]:
    return (await request.form).to_dict()


@app.get("/stream")
async def stream() -> Any:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(50):
            await asyncio.sleep(0)
            yield f"line {at}\n".encode()

    return pieces(), {"content-type": "text/plain"}


@app.get("/fails")
async def fails() -> str:
    raise LookupError("of the view")


@app.websocket("/ws/<name>")
async def ws(name: str) -> None:
    if name == "stranger":
        abort(403)
    await websocket.accept(subprotocol="chat" if "chat" in websocket.requested_subprotocols else None)
    await websocket.send(f"hello {name} {websocket.args.get('room')}")
    while True:
        message = await websocket.receive()
        if message == "bye":
            await websocket.close(4001, "as you wish")
            return
        await websocket.send(message)
