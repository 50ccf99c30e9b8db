"""The app of the private listener: whether the service lives, whether it is ready, and what it has counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnet.server.heartbeat import State
from fastnet_ext.serve.json import JSONResponse

if TYPE_CHECKING:
    from fastnet.app import App
    from fastnet.server import Server

__all__ = ["add_admin_routes"]


def add_admin_routes(app: App, server: Server) -> None:
    """Register ``/live``, ``/ready`` and ``/counters`` about a server."""

    def workers() -> list[dict[str, Any]]:
        return [
            {
                "pid": one.pid,
                "state": one.state.name.lower(),
                "requests": one.requests,
                "connections": one.connections,
                "memory": one.memory,
            }
            for one in server.workers
        ]

    @app.get("/live")
    async def live() -> dict[str, str]:
        """That this is answered shows that the loop runs."""
        return {"status": "live"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        # Which worker is asked is the kernel's choice: the answer is that of the whole service.
        state = server.vital_state
        states = [state, *(one.state for one in server.workers)]
        good = State.READY in states
        content = {"status": "ready" if good else state.name.lower().replace("_", " "), "workers": workers()}
        return JSONResponse(content, 200 if good else 503)

    @app.get("/counters")
    async def counters() -> dict[str, Any]:
        return {"counters": server.counters, "workers": workers()}
