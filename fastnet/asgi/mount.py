"""ASGI applications below a path of ours: what ``app.mount`` registers and what the engine runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypedDict

from fastnet.asgi.lifespan import AsgiLifespan, LifespanMode
from fastnet.asgi.types import AsgiApp
from fastnet.asgi.wrapped import respond_with
from fastnet.compression.settings import Compression
from fastnet.ratelimit.limits import AnyLimit
from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import Response
from fastnet_ext.serve.asgi import AsgiEndpoint
from fastnet_ext.serve.asgi_scope import AsgiApplication
from fastnet_ext.serve.chain import with_middleware
from fastnet_ext.serve.http import HttpEndpoint
from fastnet_ext.serve.plan import CallPlan, RequestArgument
from fastnet_ext.serve.websocket import WebSocketEndpoint
from fastnet_ext.websocket.extensions import PerMessageDeflate

if TYPE_CHECKING:
    from fastnet.app import App
    from fastnet.middleware import Middleware
    from fastnet.routing import ResolvedRoute

__all__ = [
    "MAX_MESSAGE",
    "UNLIMITED",
    "Mount",
    "MountOptions",
    "behind_middleware",
    "build_mount_endpoint",
    "lifespans_of",
]

# A mounted application takes bodies of any size unless it is told otherwise: it reads them piece by piece, and
# no more than 256 KiB wait for it.
UNLIMITED: Final = 2**63 - 1
# What uvicorn and Hypercorn let a WebSocket message be, in bytes.
MAX_MESSAGE: Final = 16 * 1024 * 1024


class MountOptions(TypedDict, total=False):
    """What a mount may be told, besides its path and the application.

    * ``lifespan``: ``"auto"`` (the default) runs the application's lifespan with ours if it has one, ``"on"``
      insists on it, ``"off"`` leaves it.
    * ``max_body``: the largest request body in bytes; above it 413. None, the default: the application decides.
    * ``max_message``: the largest WebSocket message in bytes; 16 MiB.
    * ``compression``: permessage-deflate on its WebSockets, as of a WebSocket route; True.
    * ``compress``: as of any route. Its requests are not decompressed.
    * ``max_in_flight``, ``limit``, ``timeout``, ``timeout_body``, ``rate_body``: as of any route.
    """

    lifespan: LifespanMode
    max_body: int | None
    max_message: int
    compression: bool | PerMessageDeflate
    compress: bool | Compression
    max_in_flight: int
    limit: AnyLimit | Sequence[AnyLimit]
    timeout: float
    timeout_body: float
    rate_body: float


class Mount:
    """One mounted application: what its requests and its lifespan share."""

    def __init__(self, application: AsgiApp, lifespan: LifespanMode = "auto") -> None:
        if not callable(application):
            raise TypeError(f"a mounted application is an ASGI callable, not {type(application).__name__}")
        if lifespan not in ("auto", "on", "off"):
            raise ValueError(f'lifespan is "auto", "on" or "off", not {lifespan!r}')
        self.of = AsgiApplication(application)
        self._lifespan: LifespanMode = lifespan

    def lifespan(self) -> AsgiLifespan | None:
        """The application's lifespan; None when it is left alone."""
        if self._lifespan == "off":
            return None
        return AsgiLifespan(self.of.application, self.of.state, self._lifespan)


def build_mount_endpoint(app: App, route: ResolvedRoute) -> AsgiEndpoint:
    """The endpoint of a mount, without middleware."""
    options = route.options
    refusals = HttpEndpoint(CallPlan(_never, []), mode="inline", encoder=app.json)
    max_message = options.get("max_message", MAX_MESSAGE)
    if max_message < 1:
        raise ValueError("max_message is at least 1 byte")
    # Which pages may connect is for the application to say.
    sockets = WebSocketEndpoint(
        None,
        refusals,
        origins=["*"],
        compression=options.get("compression", True),
        max_message=max_message,
        encoder=app.json,
    )
    return AsgiEndpoint(options["mount"].of, refusals=refusals, sockets=sockets)


def behind_middleware(
    app: App, endpoint: AsgiEndpoint, middleware: Sequence[Middleware], compression: Compression | None
) -> AsgiEndpoint:
    """The endpoint of a mount whose requests go through middleware and compression; its WebSockets do not."""
    engine = None if compression is None else compression.engine
    if not middleware:
        endpoint.compression = engine
        return endpoint
    call: Callable[[Request[Any]], Any] = partial(respond_with, endpoint.of)
    plan = CallPlan(call, [RequestArgument("request")])
    wrapped = with_middleware(HttpEndpoint(plan, mode="async", body="late", encoder=app.json), middleware)
    wrapped.compression = engine
    return endpoint.behind(wrapped)


def _never() -> Response:
    """The endpoint of refusals renders errors; it is never called."""
    raise AssertionError


def lifespans_of(routes: Iterable[ResolvedRoute]) -> list[AsgiLifespan]:
    """The lifespans of what is mounted, each application once, in the order of registration."""
    mounts = dict.fromkeys(route.options["mount"] for route in routes if route.kind == "asgi")
    found = [mount.lifespan() for mount in mounts]
    return [one for one in found if one is not None]
