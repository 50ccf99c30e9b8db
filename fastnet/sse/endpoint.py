"""From a registered route of events to what the engine runs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict

from fastnet.handlers import HandlerError, build_plan
from fastnet.params import Depends
from fastnet.routing import ResolvedRoute
from fastnet.signatures import kind_of
from fastnet.sse.replay import ReplayLogs, last_event_id_of
from fastnet_ext.routing.paths import param_names
from fastnet_ext.serve.events import EventStream
from fastnet_ext.serve.http import HttpEndpoint

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["LastEventId", "SseOptions", "build_sse_endpoint"]

HEARTBEAT: Final = 15.0
LINGER: Final = 60.0
MAX_IDLE_STREAMS: Final = 1000

LastEventId = Annotated[str, Depends(last_event_id_of, inline=True)]
"""A handler's parameter of this type is what the client says in ``Last-Event-ID``, "" when it says nothing."""


class SseOptions(TypedDict, total=False):
    """What a route of events may be told, besides its path and methods.

    * ``heartbeat``: seconds of silence after which a comment is sent, 15 by default; 0: none.
    * ``retry``: milliseconds that a client waits before it reconnects, said when a stream begins.
    * ``replay``: keep so many of the latest events of each stream, one for each path with its parameters. Its
      clients share one generator, and a client that reconnects gets what it missed.
    * ``linger``: with ``replay``, seconds that a stream goes on without a client, 60 by default.
    * ``max_idle_streams``: with ``replay``, how many streams go on without a client, 1,000 by default; above it
      the one that lost its last client first ends.
    * ``name``, ``dependencies``, ``max_body``, ``max_in_flight``, ``timeout``, ``timeout_body``, ``rate_body``: as
      other routes have them.
    """

    heartbeat: float
    retry: int
    replay: int
    linger: float
    max_idle_streams: int
    name: str
    dependencies: Sequence[Any]
    max_body: int
    max_in_flight: int
    timeout: float
    timeout_body: float
    rate_body: float


def build_sse_endpoint(app: App, route: ResolvedRoute) -> HttpEndpoint:
    """The endpoint of a generator of events, asynchronous or not.

    Raises ``HandlerError`` for a handler that cannot be called, ``TypeError`` for options that there are not, and
    ``ValueError`` for values that they cannot have.
    """
    handler, options = route.handler, route.options
    if unknown := set(options) - set(SseOptions.__annotations__):
        known = ", ".join(sorted(SseOptions.__annotations__))
        raise TypeError(f"{', '.join(sorted(unknown))}: no option of a route of events; there are {known}")
    kind = kind_of(handler)
    if kind not in ("asyncgen", "gen"):
        raise HandlerError(
            handler, "a handler of events is a generator: it yields them; another may return EventStream"
        )
    heartbeat, retry = options.get("heartbeat", HEARTBEAT), options.get("retry")
    # Refuses what cannot be, now and not with the first request.
    EventStream((), heartbeat=heartbeat, retry=retry)
    subscribe = None
    if "replay" in options:
        if kind != "asyncgen":
            raise HandlerError(handler, "with replay the generator runs beside the requests: write async def")
        subscribe = ReplayLogs(
            app.background,
            keep=options["replay"],
            linger=options.get("linger", LINGER),
            max_idle=options.get("max_idle_streams", MAX_IDLE_STREAMS),
        ).subscribe
    elif lost := {"linger", "max_idle_streams"} & set(options):
        raise TypeError(f"{', '.join(sorted(lost))}: only with replay")

    @functools.wraps(handler)
    def stream(*arguments: Any, **named: Any) -> EventStream:
        events = EventStream(handler(*arguments, **named), heartbeat=heartbeat, retry=retry)
        events.subscribe = subscribe
        return events

    plan, description = build_plan(
        stream,
        param_names(route.path),
        methods=route.methods,
        dependencies=route.dependencies,
        providers=app.providers,
        inline=True,
        overrides=app.dependency_overrides,
        dec_hook=app.dec_hook,
    )
    return HttpEndpoint(plan, mode=description.mode, body=description.body, encoder=app.json)
