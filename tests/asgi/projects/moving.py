"""Three frameworks at one port: ours in front, others behind and below it."""

from __future__ import annotations

from django_shop.asgi import application as django
from flask_shop import create_app
from quart_chat import app as quart

from fastnet import App
from fastnet.asgi.wsgi import WSGI

app = App()


@app.get("/users/")
async def users() -> dict[str, str]:
    return {"answered by": "fastnet"}


app.mount("/chat", quart)
app.mount("/legacy", WSGI(create_app("legacy"), threads=4))
app.mount("/", django)
