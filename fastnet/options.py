"""What routes may be told, besides their paths."""

from collections.abc import Sequence
from typing import Any, TypedDict

from fastnet.compression.settings import Compression, Decompress
from fastnet.ratelimit.limits import AnyLimit
from fastnet_ext.websocket.extensions import PerMessageDeflate

__all__ = ["RouteOptions", "SseOptions", "WebSocketOptions"]


class RouteOptions(TypedDict, total=False):
    """What a route may be told, besides its path.

    * ``status_code``: of answers that are not a ``Response``; 200.
    * ``name``: for listings; the function's.
    * ``inline``: the ``def`` handler is quick: it runs on the event loop, not in a thread.
    * ``max_body``: the largest request body in bytes; above it 413. The app's.
    * ``max_in_flight``: how many requests are answered at once; above it they wait for their turn, then 503.
    * ``limit``: a rate limit, or several: ``"10/second"``, ``RateLimit(...)``, ``Concurrency(...)``; above a rate 429.
    * ``timeout``: seconds until the answer begins; then 503. The listener's ``timeout_handler``; 0: no limit.
    * ``timeout_body``, ``rate_body``: seconds of silence in a request's body, and its bytes a second; then
      408. The listener's; 0: no limit.
    * ``cancel_on_disconnect``: cancel the handler when the client leaves before the answer.
    * ``dependencies``: ``Depends(...)`` that run before the handler, their results dropped.
    * ``media_type``: of what a generator yields.
    * ``compress``: False leaves the answers as they are, where ``app.compress`` has them compressed; True or a
      ``Compression`` compresses them.
    * ``decompress``: False, True, or how many bytes a request's body may become: see ``app.decompress``.
    """

    status_code: int
    name: str
    inline: bool
    max_body: int
    max_in_flight: int
    limit: AnyLimit | Sequence[AnyLimit]
    timeout: float
    timeout_body: float
    rate_body: float
    cancel_on_disconnect: bool
    dependencies: Sequence[Any]
    media_type: str
    compress: bool | Compression
    decompress: Decompress


class SseOptions(TypedDict, total=False):
    """What a route of events may be told, besides its path and methods.

    * ``heartbeat``: seconds of silence after which a comment is sent, 15 by default; 0: none.
    * ``retry``: milliseconds that a client waits before it reconnects, said when a stream begins.
    * ``replay``: keep so many of the latest events of each stream, one for each path with its parameters. Its
      clients share one generator, and a client that reconnects gets what it missed.
    * ``linger``: with ``replay``, seconds that a stream goes on without a client, 60 by default.
    * ``max_idle_streams``: with ``replay``, how many streams go on without a client, 1,000 by default; above it
      the one that lost its last client first ends.
    * ``name``, ``dependencies``, ``max_body``, ``max_in_flight``, ``limit``, ``timeout``, ``timeout_body``,
      ``rate_body``, ``compress``, ``decompress``: as other routes have them.
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
    limit: AnyLimit | Sequence[AnyLimit]
    timeout: float
    timeout_body: float
    rate_body: float
    compress: bool | Compression
    decompress: Decompress


class WebSocketOptions(TypedDict, total=False):
    """What a WebSocket route may be told, besides its path.

    * ``origins``: the pages that may connect, as browsers name them: ``["https://example.com"]``, or
      ``["*"]`` for all. Without it, those of the request's own host. Clients that are no browsers send no
      Origin, and are not asked.
    * ``subprotocols``: those that the handler speaks, the preferred one first.
    * ``compression``: permessage-deflate for clients that offer it. True, the default, compresses each message by
      itself, which costs an idle connection no memory; ``PerMessageDeflate(...)`` says it in detail; False
      declines.
    * ``max_message``: the largest message in bytes, 1 MiB by default; a larger one closes with 1009.
    * ``ping_interval``: seconds of silence after which the peer is pinged, and left when it is silent through two
      pings. The listener's ``keepalive_websocket``; 0: never.
    * ``max_in_flight``: how many connections of this route may be open at once; above it 503.
    * ``limit``: of the connections that are opened, a rate limit or several; above a rate 429.
    * ``message_limit``: of the messages that clients send, a rate limit or several; above it the connection is closed
      with 1013, or where there is a ``message_warning``, text or bytes, that is sent, and the message dropped.
    * ``name``: for listings; the function's.
    * ``dependencies``: ``Depends(...)`` that run before the handler, their results dropped.
    """

    origins: Sequence[str]
    subprotocols: Sequence[str]
    compression: bool | PerMessageDeflate
    max_message: int
    ping_interval: float
    max_in_flight: int
    limit: AnyLimit | Sequence[AnyLimit]
    message_limit: AnyLimit | Sequence[AnyLimit]
    message_warning: str | bytes
    name: str
    dependencies: Sequence[Any]
