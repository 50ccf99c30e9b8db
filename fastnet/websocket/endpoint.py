"""From a registered WebSocket route to what the engine runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, get_args, get_origin

from fastnet.handlers import Description, HandlerError, build_plan
from fastnet.options import WebSocketOptions
from fastnet.ratelimit.limits import Concurrency, RateLimit, limits_of
from fastnet.routing import ResolvedRoute
from fastnet.signatures import kind_of, parameters_of
from fastnet.websocket.messages import Decode, decoder_of
from fastnet_ext.exchange.rate_limit import RateLimitGuard
from fastnet_ext.routing.paths import param_names
from fastnet_ext.serve.http import HttpEndpoint
from fastnet_ext.serve.plan import MISSING, Argument, CallPlan, ProtocolArgument
from fastnet_ext.serve.websocket import WebSocket, WebSocketEndpoint
from fastnet_ext.serve.websocket_callbacks import CallbackEndpoint

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["build_callback_endpoint", "build_websocket_endpoint"]

MAX_MESSAGE: Final = 1024 * 1024

# What a route of callbacks may have.
CALLBACKS: Final = ("on_open", "on_message", "on_close")


def build_websocket_endpoint(app: App, route: ResolvedRoute) -> WebSocketEndpoint:
    """The endpoint of a WebSocket handler, which is an ``async def``.

    Raises ``HandlerError`` for a handler that cannot be called, ``TypeError`` for options that there
    are not, and ``ValueError`` for values that they cannot have.
    """
    handler, options = route.handler, route.options
    _check_names(options, WebSocketOptions.__annotations__)
    if kind_of(handler) != "async":
        raise HandlerError(handler, "a WebSocket handler is a coroutine function: write async def")
    plan, _ = _plan(app, route, handler)
    decode, encodes = _typed(app, handler)
    return WebSocketEndpoint(
        plan,
        _refusals(app),
        **_common(app, options),
        decode=decode,
        encode=app.json.encode if encodes else None,
    )


def build_callback_endpoint(app: App, route: ResolvedRoute) -> CallbackEndpoint:
    """The endpoint of a route of callbacks: those that there are stand in the options, beside ``WebSocketOptions``.

    Raises as ``build_websocket_endpoint`` does.
    """
    options = route.options
    _check_names(options, {*WebSocketOptions.__annotations__, *CALLBACKS})
    on_open, on_message, on_close = (options.get(name) for name in CALLBACKS)
    for callback in (on_open, on_message, on_close):
        if callback is not None and kind_of(callback) != "sync":
            raise HandlerError(callback, "a callback is called and not awaited: write def, or one async def handler")
    plan, description = _plan(app, route, on_open or _admit)
    decode, encodes = None, False
    if on_message is not None:
        decode, encodes = _typed_callback(app, on_message)
    return CallbackEndpoint(
        plan,
        _refusals(app),
        dependent=description.mode == "async",
        on_message=on_message,
        on_close=on_close,
        **_common(app, options),
        decode=decode,
        encode=app.json.encode if encodes else None,
    )


def _check_names(options: Mapping[str, Any], names: Collection[str]) -> None:
    if unknown := set(options) - set(names):
        known = ", ".join(sorted(WebSocketOptions.__annotations__))
        raise TypeError(f"{', '.join(sorted(unknown))}: no option of a WebSocket route; there are {known}")


def _plan(app: App, route: ResolvedRoute, function: Callable[..., Any]) -> tuple[CallPlan, Description]:
    return build_plan(
        function,
        param_names(route.path),
        methods=("GET",),
        dependencies=route.dependencies,
        providers={**app.providers, WebSocket: _websocket_argument},
        inline=True,
        overrides=app.dependency_overrides,
        dec_hook=app.dec_hook,
    )


def _common(app: App, options: Mapping[str, Any]) -> dict[str, Any]:
    """What endpoints of both kinds are told."""
    max_message = options.get("max_message", MAX_MESSAGE)
    if max_message < 1:
        raise ValueError("max_message is at least 1 byte")
    ping_interval = options.get("ping_interval", -1)
    if "ping_interval" in options and not ping_interval >= 0:
        raise ValueError(f"ping_interval is {ping_interval}: it is at least 0 seconds, and 0 is no ping")
    return {
        "origins": _list("origins", options.get("origins")),
        "subprotocols": _list("subprotocols", options.get("subprotocols")) or (),
        "compression": options.get("compression", True),
        "max_message": max_message,
        "ping_interval": ping_interval,
        "encoder": app.json,
        "message_rate": _message_guard(options),
        "warning": options.get("message_warning"),
    }


def _refusals(app: App) -> HttpEndpoint:
    return HttpEndpoint(CallPlan(_answered_by_on_error), mode="inline", encoder=app.json)


def _admit() -> None:
    """The ``on_open`` of routes that have none."""


def _message_guard(options: Mapping[str, Any]) -> RateLimitGuard | None:
    """What is asked for each message that comes in. Raises ``TypeError`` for limits that are no rates."""
    limits = limits_of(options.get("message_limit"))
    if any(isinstance(limit, Concurrency) for limit in limits):
        raise TypeError("message_limit takes rates: a Concurrency limits requests in flight")
    rates = [limit for limit in limits if isinstance(limit, RateLimit)]
    if any(rate.store is not None for rate in rates):
        raise TypeError("message_limit is counted by each server: messages do not wait for a store")
    return RateLimitGuard([rate.engine for rate in rates]) if rates else None


def _websocket_argument(name: str, annotation: Any) -> Argument:
    return ProtocolArgument(name)


def _answered_by_on_error() -> NoReturn:
    """The handler of the endpoint that only sends what ``on_error`` made."""
    raise AssertionError("a refused hand-shake has no handler")


def _list(name: str, values: Sequence[str] | None) -> tuple[str, ...] | None:
    if values is None:
        return None
    if isinstance(values, str):
        raise ValueError(f"{name} is a list: {name}=[{values!r}]")
    return tuple(values)


def _typed_callback(app: App, on_message: Any) -> tuple[Decode | None, bool]:
    """As ``_typed``, by the two parameters of ``on_message(ws, message)``."""
    parameters = parameters_of(on_message)
    if len(parameters) != 2 or any(one.by_name for one in parameters):
        raise HandlerError(on_message, "on_message is called with the WebSocket and the message")
    socket, message = parameters
    _, encodes = _typed(app, on_message)
    wanted = message.annotation
    if wanted is MISSING and get_origin(socket.annotation) is WebSocket:
        wanted = get_args(socket.annotation)[0]
    try:
        return None if wanted is MISSING else decoder_of(wanted, app.dec_hook), encodes
    except TypeError as error:
        raise HandlerError(on_message, f"parameter {message.name}: {error}") from error


def _typed(app: App, handler: Any) -> tuple[Decode | None, bool]:
    """How messages become values, and whether values become messages, by the handler's ``WebSocket[In, Out]``."""
    for parameter in parameters_of(handler):
        if get_origin(parameter.annotation) is WebSocket:
            arguments = get_args(parameter.annotation)
            try:
                return decoder_of(arguments[0], app.dec_hook), len(arguments) > 1
            except TypeError as error:
                raise HandlerError(handler, f"parameter {parameter.name}: {error}") from error
    return None, False
