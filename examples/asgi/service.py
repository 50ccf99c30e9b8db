"""The shop behind fastnet: one route is taken over, all others answer as before.

``fastnet run examples.asgi.service:app``
"""

import msgspec

from examples.asgi.shop import app as shop
from fastnet import App, HTTPException


class Item(msgspec.Struct):
    """What the shop sells."""

    name: str
    price: float


ITEMS = {1: Item("saw", 12.5), 2: Item("hammer", 9)}

app = App()


@app.get("/items/{item_id}")
async def read_item(item_id: int) -> Item:
    """Routes of ours come before what is mounted."""
    if item_id not in ITEMS:
        raise HTTPException(404, "no such item")
    return ITEMS[item_id]


# Everything else: its routes, its pages of documentation, its WebSockets, its lifespan.
app.mount("/", shop)


if __name__ == "__main__":
    app.run(port=8000)
