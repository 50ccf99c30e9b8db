"""``app.grpc.health()``: whether the application and its services take calls, as grpc.health.v1 has it."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import TYPE_CHECKING, Any, Final

from fastnet.grpc.pools import HEALTH, message_class
from fastnet_ext.serve.grpc_context import ServicerContext

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["Health"]

# HealthCheckResponse.ServingStatus
SERVING: Final = 1
NOT_SERVING: Final = 2
SERVICE_UNKNOWN: Final = 3


class Health:
    """The service grpc.health.v1.Health, and what an application says to it.

    All services are SERVING until ``set`` says otherwise of one. While ``app.ready`` is False, and once the
    server shuts down, none is.
    """

    def __init__(self, app: App, services: Callable[[], Collection[str]]) -> None:
        self._app = app
        self._services = services
        self._said: dict[str, bool] = {}
        # Those who wait for a change, with the loops on which they do.
        self._watchers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._response = message_class(f"{HEALTH}.HealthCheckResponse")
        self._list_response = message_class(f"{HEALTH}.HealthListResponse")
        app.on_state_change(self._tell)

    def set(self, service: str, serving: bool) -> None:
        """Say whether a service takes calls, by its full name; "" is the application. From any thread.

        A name that no service has is known from then on: what it stands for is the application's affair.
        """
        self._said[service] = bool(serving)
        self._tell()

    def serving(self, service: str = "") -> bool | None:
        """Whether a service takes calls now; None when nobody knows it."""
        if service and service not in self._said and service not in self._services():
            return None
        if not self._app.ready or self._app.shutting_down or not self._said.get("", True):
            return False
        return self._said.get(service, True)

    async def Check(self, request: Any, context: ServicerContext) -> Any:
        """Answer for one service; NOT_FOUND when nobody knows it."""
        serving = self.serving(request.service)
        if serving is None:
            code = importlib.import_module("grpc").StatusCode.NOT_FOUND
            await context.abort(code, f"there is no service {request.service!r} here")
        return self._response(status=SERVING if serving else NOT_SERVING)

    async def List(self, request: Any, context: ServicerContext) -> Any:
        """Answer for all services at once; "" is the application."""
        names = dict.fromkeys(("", *self._services(), *self._said))
        statuses = {name: self._response(status=SERVING if self.serving(name) else NOT_SERVING) for name in names}
        return self._list_response(statuses=statuses)

    async def Watch(self, request: Any, context: ServicerContext) -> AsyncIterator[Any]:
        """Answer for one service now and at each change; ends with UNAVAILABLE when the server shuts down."""
        changed = asyncio.Event()
        self._watchers[changed] = asyncio.get_running_loop()
        told: int | None = None
        try:
            while True:
                changed.clear()
                stopping = self._app.shutting_down
                serving = self.serving(request.service)
                status = SERVICE_UNKNOWN if serving is None else SERVING if serving else NOT_SERVING
                if status != told:
                    told = status
                    yield self._response(status=status)
                if stopping:
                    # A call that goes on would hold up the drain; whoever watches asks another server.
                    code = importlib.import_module("grpc").StatusCode.UNAVAILABLE
                    await context.abort(code, "the server is shutting down")
                await changed.wait()
        finally:
            del self._watchers[changed]

    def _tell(self) -> None:
        for event, loop in list(self._watchers.items()):
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:
                # Its loop is closed, and it with it.
                continue
