"""A chat in the browser: ``fastnet run examples.chat.service:app``, with ``--workers 4`` too.

Who opens ``/?room=tea&name=Ada`` talks in that room and sees who else is there. The rooms are a hub's: its members in
other workers hear what is said here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from fastnet import App, HTMLResponse, Query, WebSocket
from fastnet.websocket import Member

app = App(title="chat")
# Who reads too slowly loses what was said longest ago.
hub = app.hub("chat", queue=100, slow="drop_oldest")

PAGE = (Path(__file__).parent / "index.html").read_text(encoding="utf-8")

Name = Annotated[str, Query(min_length=1, max_length=40)]


class Say(msgspec.Struct):
    """What a browser sends."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class Said(msgspec.Struct, tag="said", tag_field="kind"):
    """What everybody in the room gets."""

    name: str
    text: str


class Present(msgspec.Struct, tag="present", tag_field="kind"):
    """Who is there, each time that this changes."""

    names: list[str]


@app.get("/", inline=True)
def index() -> HTMLResponse:
    """The page."""
    return HTMLResponse(PAGE)


@app.get("/rooms")
async def rooms() -> dict[str, list[str]]:
    """The rooms, and who is in each."""
    return {room: names_in(room) for room in hub.rooms}


@app.websocket("/rooms/{room}", max_message=8 * 1024)
async def talk(ws: WebSocket[Say, Said], room: str, name: Name) -> None:
    """One browser in a room, until it closes."""
    hub.join(ws, room, name)
    async for said in ws:
        hub.broadcast_json(room, Said(name, said.text))


def names_in(room: str) -> list[str]:
    """The names of those in a room, in whichever worker they are."""
    return sorted({member.info for member in hub.members(room)})


@hub.on_join
@hub.on_leave
def tell_who_is_there(room: str, member: Member) -> None:
    """Each worker tells its own."""
    hub.broadcast_json(room, Present(names_in(room)), here=True)


if __name__ == "__main__":
    app.run(port=8000)
