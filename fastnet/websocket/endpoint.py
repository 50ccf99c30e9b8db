"""From a registered WebSocket route to what the engine runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypedDict, get_args, get_origin

from fastnet.handlers import HandlerError, build_plan
from fastnet.routing import ResolvedRoute
from fastnet.signatures import kind_of, parameters_of
from fastnet.websocket.messages import Decode, decoder_of
from fastnet_ext.routing.paths import param_names
from fastnet_ext.serve.http import HttpEndpoint
from fastnet_ext.serve.plan import Argument, CallPlan, ProtocolArgument
from fastnet_ext.serve.websocket import WebSocket, WebSocketEndpoint

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["WebSocketOptions", "build_websocket_endpoint"]

MAX_MESSAGE: Final = 1024 * 1024


class WebSocketOptions(TypedDict, total=False):
    """What a WebSocket route may be told, besides its path.

    * ``origins``: the pages that may connect, as browsers name them: ``["https://example.com"]``, or
      ``["*"]`` for all. Without it, those of the request's own host. Clients that are no browsers send no
      Origin, and are not asked.
    * ``subprotocols``: those that the handler speaks, the preferred one first.
    * ``max_message``: the largest message in bytes, 1 MiB by default; a larger one closes with 1009.
    * ``max_in_flight``: how many connections of this route may be open at once; above it 503.
    * ``name``: for listings; the function's.
    * ``dependencies``: ``Depends(...)`` that run before the handler, their results dropped.
    """

    origins: Sequence[str]
    subprotocols: Sequence[str]
    max_message: int
    max_in_flight: int
    name: str
    dependencies: Sequence[Any]


def build_websocket_endpoint(app: App, route: ResolvedRoute) -> WebSocketEndpoint:
    """The endpoint of a WebSocket handler, which is an ``async def``.

    Raises ``HandlerError`` for a handler that cannot be called, ``TypeError`` for options that there
    are not, and ``ValueError`` for values that they cannot have.
    """
    handler, options = route.handler, route.options
    if unknown := set(options) - set(WebSocketOptions.__annotations__):
        known = ", ".join(sorted(WebSocketOptions.__annotations__))
        raise TypeError(f"{', '.join(sorted(unknown))}: no option of a WebSocket route; there are {known}")
    if kind_of(handler) != "async":
        raise HandlerError(handler, "a WebSocket handler is a coroutine function: write async def")
    max_message = options.get("max_message", MAX_MESSAGE)
    if max_message < 1:
        raise ValueError("max_message is at least 1 byte")
    plan, _ = build_plan(
        handler,
        param_names(route.path),
        methods=("GET",),
        dependencies=route.dependencies,
        providers={**app.providers, WebSocket: _websocket_argument},
        overrides=app.dependency_overrides,
        dec_hook=app.dec_hook,
    )
    decode, encodes = _typed(app, handler)
    return WebSocketEndpoint(
        plan,
        HttpEndpoint(CallPlan(_answered_by_on_error), mode="inline", encoder=app.json),
        origins=_list("origins", options.get("origins")),
        subprotocols=_list("subprotocols", options.get("subprotocols")) or (),
        max_message=max_message,
        encoder=app.json,
        decode=decode,
        encode=app.json.encode if encodes else None,
    )


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
