"""An app as an ASGI application: what stands in the place of our server when another one runs it."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING

from fastnet.asgi.types import Receive, Scope, Send
from fastnet.server.config import Config, Listener
from fastnet.server.limits import sweep_interval
from fastnet_ext.exchange.guards import InFlightLimit
from fastnet_ext.net.asgi import AsgiService, carry
from fastnet_ext.net.asgi_errors import MessageError, ScopeError
from fastnet_ext.serve.dispatch import Dispatcher

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["Hosted"]

log = logging.getLogger("fastnet.server")

# Seconds that what still runs at the server's shutdown gets to end, and once more after its cancellation.
GRACE = 5.0


class Hosted:
    """Answers the calls of ASGI servers for one app.

    What answers is made per event loop: when the server starts the app there (``lifespan``), or at the first request
    when it never does; then the app's own lifespans do not run, since nobody would say when to end them.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._services: dict[asyncio.AbstractEventLoop, tuple[AsgiService, ThreadPoolExecutor]] = {}
        self._dispatcher: Dispatcher | None = None
        # Several threads may have a loop each.
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call of ASGI. Raises :class:`ScopeError` for a scope that is none of http, websocket and lifespan."""
        kind = scope.get("type")
        if kind == "http" or kind == "websocket":
            await carry(self._service(), scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        else:
            raise ScopeError(f"its type is {kind!r}; known are http, websocket and lifespan")

    # --- what answers on one event loop

    def _service(self) -> AsgiService:
        loop = _running_loop()
        found = self._services.get(loop)
        return found[0] if found is not None else self._open(loop)

    def _open(self, loop: asyncio.AbstractEventLoop) -> AsgiService:
        app = self._app
        config = Config.load({}, app_settings=app.settings)
        limits = _limits(config)
        with self._lock:
            # Tests make a loop for each request, and say nothing when they close it.
            for closed in [one for one in self._services if one.is_closed()]:
                self._services.pop(closed)[1].shutdown(wait=False)
            if self._dispatcher is None:
                self._dispatcher = app.build()
            gate = InFlightLimit(limits.limit_in_flight) if limits.limit_in_flight else None
            executor = ThreadPoolExecutor(app.pool_size, thread_name_prefix="fastnet")
            make = partial(
                AsgiService,
                self._dispatcher.of_listener(gate),
                loop,
                executor,
                handler_timeout=limits.timeout_handler,
                body_timeout=limits.timeout_body,
                body_rate=limits.rate_body,
                queue_time=limits.limit_queue_time,
                sweep_interval=sweep_interval(config),
            )
            # It outlives the call that it is made for, whose context variables are not its own.
            service = Context().run(make)
            self._services[loop] = service, executor
            return service

    async def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let what still runs on the loop end, then the app."""
        app = self._app
        service, executor = self._services[loop]
        app.shutting_down = True
        try:
            await _drain(service)
            await app.shutdown()
        finally:
            self._services.pop(loop, None)
            service.state.close()
            executor.shutdown(wait=False, cancel_futures=True)
            if not self._services:
                self._dispatcher = None

    # --- lifespan

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        loop = _running_loop()
        await _expect(receive, "lifespan.startup")
        try:
            self._service()
            await self._app.startup()
        except Exception as error:
            self._forget(loop)
            log.exception("the application could not be started")
            await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
            return
        except BaseException:
            self._forget(loop)
            raise
        self._warn_of_grpc()
        try:
            await send({"type": "lifespan.startup.complete"})
            await _expect(receive, "lifespan.shutdown")
        except BaseException:
            # The server gave up without a word: its loop ends, and with it what the lifespans hold.
            await self._close(loop)
            raise
        try:
            await self._close(loop)
        except Exception as error:
            log.exception("the application's shutdown failed")
            await send({"type": "lifespan.shutdown.failed", "message": f"{type(error).__name__}: {error}"})
            return
        await send({"type": "lifespan.shutdown.complete"})

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        found = self._services.pop(loop, None)
        if found is not None:
            found[0].state.close()
            found[1].shutdown(wait=False)
        self._dispatcher = None

    def _warn_of_grpc(self) -> None:
        served = self._app.grpc_methods
        if served:
            log.warning(
                "%d gRPC methods are not served: ASGI has no HTTP/2 streams, which gRPC needs. Calls are answered with "
                "UNIMPLEMENTED; `fastnet run` serves them beside everything else",
                len(served),
            )


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "a fastnet app needs an asyncio event loop (asyncio or uvloop): start the server without trio"
        ) from None


def _limits(config: Config) -> Listener:
    """The limits of the listener that is there for everybody."""
    return next((one for one in config.listeners if one.name == "main"), config.listeners[0])


async def _expect(receive: Receive, kind: str) -> None:
    message = await receive()
    if message.get("type") != kind:
        raise MessageError(f"receive() brought {message.get('type')!r} to a lifespan scope in place of {kind}")


async def _drain(service: AsgiService) -> None:
    """What goes on for long is told to end. The server has given everything else its time already."""
    state = service.state
    state.drain()
    try:
        await asyncio.wait_for(state.wait_empty(), GRACE)
    except TimeoutError:
        log.warning("%d requests were cut off: they did not end within %g s", state.open, GRACE)
        state.cut()
        try:
            await asyncio.wait_for(state.wait_empty(), GRACE)
        except TimeoutError:
            log.error("handlers do not end: they swallow their cancellation, or clean up for ever")
