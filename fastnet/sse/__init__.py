"""Server-sent events (HTML, section 9.2): streams of events that a browser's EventSource reads.

Handlers under ``app.sse`` yield events; others return an ``EventStream``.
"""

from fastnet.options import SseOptions
from fastnet.sse.endpoint import LastEventId
from fastnet_ext.serve.events import EventStream, ServerSentEvent

__all__ = ["EventStream", "LastEventId", "ServerSentEvent", "SseOptions"]
