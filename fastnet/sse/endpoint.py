"""From a registered route of events to what the engine runs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastnet.handlers import HandlerError, build_plan
from fastnet.options import SseOptions
from fastnet.params import Depends
from fastnet.routing import ResolvedRoute
from fastnet.signatures import kind_of
from fastnet.sse.replay import ReplayLogs, last_event_id_of
from fastnet_ext.routing.paths import param_names
from fastnet_ext.serve.events import EventStream
from fastnet_ext.serve.http import HttpEndpoint

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["LastEventId", "build_sse_endpoint"]

HEARTBEAT: Final = 15.0
LINGER: Final = 60.0
MAX_IDLE_STREAMS: Final = 1000

LastEventId = Annotated[str, Depends(last_event_id_of, inline=True)]
"""A handler's parameter of this type is what the client says in ``Last-Event-ID``, "" when it says nothing."""


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
