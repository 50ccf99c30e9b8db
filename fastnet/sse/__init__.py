"""Server-sent events (HTML, section 9.2): streams of events that a browser's EventSource reads.

Handlers under ``app.sse`` yield events; others return an ``EventStream``.
"""

from fastnet.sse.endpoint import LastEventId, SseOptions
from fastnet_ext.serve.events import EventStream, ServerSentEvent

__all__ = ["EventStream", "LastEventId", "ServerSentEvent", "SseOptions"]
