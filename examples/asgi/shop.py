"""The application that is there already: FastAPI, as it runs on any ASGI server.

``uvicorn examples.asgi.shop:app`` serves it as before; service.py puts it behind fastnet.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request, WebSocket
from pydantic import BaseModel


class Item(BaseModel):
    """What the shop sells."""

    name: str
    price: float


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, dict[int, Item]]]:
    """Runs with the server's own, whoever serves it."""
    yield {"items": {1: Item(name="saw", price=12.5), 2: Item(name="hammer", price=9)}}


app = FastAPI(title="Shop", lifespan=lifespan)


@app.get("/items/{item_id}")
async def read_item(item_id: int, request: Request) -> Item:
    """The route that is busy: service.py takes it over."""
    items: dict[int, Item] = request.state.items
    if item_id not in items:
        raise HTTPException(404, "no such item")
    return items[item_id]


@app.post("/orders", status_code=201)
async def order(item: Item) -> dict[str, str]:
    """One of the routes that stay."""
    return {"ordered": item.name}


@app.websocket("/prices")
async def prices(ws: WebSocket) -> None:
    """A WebSocket that stays."""
    await ws.accept()
    await ws.send_json({"saw": 12.5, "hammer": 9})
    await ws.close()
