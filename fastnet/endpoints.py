"""From registered routes to what the engine runs: endpoints by kind, and what answers when no route fits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn, get_args, get_origin

from fastnet.asgi.mount import UNLIMITED, build_mount_endpoint
from fastnet.compression.settings import Compression, largest
from fastnet.handlers import build_plan
from fastnet.http.errors import HTTPException
from fastnet.ratelimit.limits import guards_of
from fastnet.routing import WEBSOCKET, ResolvedRoute
from fastnet.sse.endpoint import build_sse_endpoint
from fastnet.websocket.endpoint import build_callback_endpoint, build_websocket_endpoint
from fastnet_ext.exchange.exchange import Endpoint, Route
from fastnet_ext.exchange.guards import InFlightLimit
from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import RedirectResponse, Response
from fastnet_ext.routing.paths import param_names
from fastnet_ext.routing.table import RoutingTable
from fastnet_ext.serve.http import HttpEndpoint, bind_call
from fastnet_ext.serve.plan import CallPlan, RequestArgument

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["BUILDERS", "EndpointBuilder", "Fallbacks", "compress_by", "endpoint_of", "engine_route", "plain_endpoint"]

# Makes the endpoint of a route of one kind; raises TypeError for a handler that cannot be called. That of a plain
# HTTP handler gets its middleware later.
EndpointBuilder = Callable[["App", ResolvedRoute], Endpoint]

_STREAM_TYPES: Final = {str: "text/plain", bytes: "application/octet-stream"}


def http_endpoint(app: App, route: ResolvedRoute) -> HttpEndpoint:
    """The endpoint of a plain HTTP handler."""
    plan, description = build_plan(
        route.handler,
        param_names(route.path),
        methods=route.methods,
        dependencies=route.dependencies,
        providers=app.providers,
        inline=bool(route.options.get("inline", False)),
        overrides=app.dependency_overrides,
        dec_hook=app.dec_hook,
    )
    if description.mode == "thread":
        # The loop fetches the arguments; what is left for the thread is the call.
        plan = CallPlan(bind_call(plan.function), plan.arguments, plan.positional)
    return HttpEndpoint(
        plan,
        mode=description.mode,
        body=description.body,
        status_code=route.options.get("status_code", 200),
        none_is_empty=description.returns is None or description.returns is type(None),
        encoder=app.json,
        stream_type=route.options.get("media_type", _stream_type(description.returns)),
    )


def _stream_type(returned: Any) -> str | None:
    """The media type of a generator's items, when its annotation says what they are."""
    origin = get_origin(returned)
    if not isinstance(origin, type) or not issubclass(origin, (AsyncIterator, Iterator, Generator)):
        return None
    item = (get_args(returned) or (Any,))[0]
    if item is Any or item is object:
        return None
    return _STREAM_TYPES.get(item, "application/jsonl")


# The builders by kind of registration.
BUILDERS: Final = MappingProxyType[str, EndpointBuilder](
    {
        "http": http_endpoint,
        "sse": build_sse_endpoint,
        "websocket": build_websocket_endpoint,
        "websocket callbacks": build_callback_endpoint,
        "asgi": build_mount_endpoint,
    }
)


def endpoint_of(app: App, route: ResolvedRoute) -> Endpoint:
    """The endpoint of a route, by the builder of its kind."""
    builder = BUILDERS.get(route.kind)
    if builder is None:
        raise NotImplementedError(f"this version has no {route.kind} routes")
    return builder(app, route)


def plain_endpoint(app: App, handler: Callable[[Request[Any]], Response]) -> HttpEndpoint:
    """The endpoint of a function of ours that takes the request and is quick."""
    return HttpEndpoint(CallPlan(handler, [RequestArgument("request")]), mode="inline", body="none", encoder=app.json)


def compress_by(endpoint: HttpEndpoint, compression: Compression | None) -> HttpEndpoint:
    """Let an endpoint, the outermost of its middleware, compress what it sends; None: it does not. The endpoint."""
    endpoint.compression = None if compression is None else compression.engine
    return endpoint


def engine_route(app: App, route: ResolvedRoute | None, endpoint: Endpoint, handler: Any = None) -> Route:
    """The engine's Route; ``route`` is None for what answers when no route fits."""
    if route is None:
        guards = (*guards_of(app._limits), *app.guards)
        return Route(
            endpoint, handler=handler, guards=guards, on_error=app.answer_error, app=app, max_body=app.max_body
        )
    limit = route.options.get("max_in_flight")
    # Rates first: who is over one must not wait for a turn.
    guards = (*guards_of(route.limits), *app.guards)
    times = {name: _least(name, route.options.get(name)) for name in ("timeout", "timeout_body", "rate_body")}
    return Route(
        endpoint,
        guards=guards if limit is None else (*guards, InFlightLimit(limit)),
        path=route.path,
        methods=route.methods,
        param_names=param_names(route.path),
        max_body=_largest_body(app, route),
        max_decompressed=_largest_decompressed(app, route),
        **times,
        cancel_on_disconnect=bool(route.options.get("cancel_on_disconnect", False)),
        handler=route.handler,
        on_error=app.answer_error,
        app=app,
    )


def _largest_body(app: App, route: ResolvedRoute) -> int:
    """What a route's request body may be, in bytes."""
    if route.kind == "asgi":
        told = route.options.get("max_body")
        return UNLIMITED if told is None else int(told)
    return int(route.options.get("max_body", app.max_body))


def _largest_decompressed(app: App, route: ResolvedRoute) -> int:
    """What a compressed body may become, in bytes; -1: it is left as it is, as mounted applications want it."""
    return -1 if route.kind == "asgi" else largest(route.codings.decompress, _largest_body(app, route))


def _least(name: str, value: float | None) -> float:
    """A limit of a route; -1 is the listener's."""
    if value is None:
        return -1
    if not value >= 0:
        raise ValueError(f"{name} is {value}: it is at least 0, and 0 is no limit")
    return value


class Fallbacks:
    """What answers when no route fits. Middleware and ``on_error`` see these as they see handlers."""

    def __init__(self, table: RoutingTable) -> None:
        self._table = table

    def not_found(self, request: Request[Any]) -> NoReturn:
        """404."""
        raise HTTPException(404, f"there is nothing at {request.path}")

    def method_not_allowed(self, request: Request[Any]) -> NoReturn:
        """405, with the methods that there are; 426 where only a WebSocket is."""
        if not self._methods(request):
            raise HTTPException(
                426,
                f"{request.path} answers WebSocket clients only",
                headers={"upgrade": "websocket", "sec-websocket-version": "13"},
            )
        detail = f"{request.path} does not answer {request.method}"
        raise HTTPException(405, detail, headers={"allow": self._allow(request)})

    def options(self, request: Request[Any]) -> Response:
        """OPTIONS of a path whose handlers do not answer it themselves, and of ``*``."""
        if request.raw_path == b"*":
            return Response(status_code=204)
        return Response(status_code=204, headers={"allow": self._allow(request)})

    def slash_redirect(self, request: Request[Any]) -> Response:
        """308 to the path with one slash more or less at its end."""
        path = request.raw_path.decode("latin-1")
        path = path[:-1] if path.endswith("/") else path + "/"
        # "//host" would be another site: a redirect stays on this one.
        target = request.root_path + "/" + path.lstrip("/")
        query = request.query_string.decode("latin-1")
        return RedirectResponse(f"{target}?{query}" if query else target, 308)

    def _allow(self, request: Request[Any]) -> str:
        return ", ".join(self._methods(request))

    def _methods(self, request: Request[Any]) -> list[str]:
        """What the path answers to; the pseudo-method of WebSocket routes is none of them."""
        allowed = list(self._table.allowed(request.raw_path))
        if WEBSOCKET not in allowed:
            return allowed
        allowed.remove(WEBSOCKET)
        # OPTIONS comes with every path; alone it says nothing.
        return [] if allowed == ["OPTIONS"] else allowed
