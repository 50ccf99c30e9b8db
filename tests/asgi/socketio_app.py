"""A Socket.IO server with rooms."""

from __future__ import annotations

from typing import Any

import socketio

__all__ = ["make"]


def make() -> socketio.ASGIApp:
    """The application."""
    server = socketio.AsyncServer(async_mode="asgi")

    @server.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        if auth == "nobody":
            raise socketio.exceptions.ConnectionRefusedError("not you")
        assert environ["asgi.scope"]["path"] == "/socket.io/"

    @server.event
    async def join(sid: str, room: str) -> str:
        await server.enter_room(sid, room)
        return f"joined {room}"

    @server.event
    async def say(sid: str, room: str, what: Any) -> None:
        await server.emit("said", what, room=room, skip_sid=sid)

    return socketio.ASGIApp(server)
