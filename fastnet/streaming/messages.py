"""What is told of token streams, over event streams and WebSockets alike: JSON objects, told apart by ``type``."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Final

import msgspec

from fastnet.http.errors import HTTPException, problem_members
from fastnet_ext.exchange.errors import ExchangeError
from fastnet_ext.serve.events import ServerSentEvent
from fastnet_ext.serve.runner import current_request_id

__all__ = [
    "Cancel",
    "Chunk",
    "End",
    "Failure",
    "Message",
    "Start",
    "Started",
    "StreamId",
    "Usage",
    "encode",
    "event_of",
    "fail",
]

log = logging.getLogger("fastnet.error")

ID_PATTERN: Final = r"^[A-Za-z0-9._:-]{1,64}\Z"

StreamId = Annotated[str, msgspec.Meta(pattern=ID_PATTERN)]
"""Who asks for a stream names it: 1 to 64 letters, digits, dots, colons, hyphens and underscores."""


# --- what the peer says


class Start(msgspec.Struct, frozen=True, tag="start"):
    """Begin a stream; ``input`` is what it is made from, which only the application knows."""

    id: StreamId
    input: msgspec.Raw = msgspec.Raw(b"null")


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Close a stream's source. What it has sent meanwhile may still come, and then its end."""

    id: StreamId


# --- what the peer is told


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``id`` is the stream's; left out where there is only one."""

    id: str | None = None


class Started(Message, frozen=True, kw_only=True, tag="start"):
    """The stream was begun; nothing of it came before."""


class Chunk(Message, frozen=True, kw_only=True, tag="chunk"):
    """The next piece of a stream's text."""

    text: str


class Usage(Message, frozen=True, kw_only=True, tag="usage"):
    """What a stream has cost so far; sent once, before its end.

    * ``tokens``: how many the source gave.
    * ``duration``: seconds since the source was begun, until its end or until now.
    * ``time_to_first_token``: seconds until the first came; None when none has.
    * ``tokens_per_second``: the rate of those after the first, None with fewer than two. A source that waits for a
      slow reader is as slow as that.
    """

    tokens: int
    duration: float
    time_to_first_token: float | None
    tokens_per_second: float | None


class End(Message, frozen=True, kw_only=True, tag="end"):
    """The stream is complete. ``reason``: what its source gave, "stop" by default, or "cancelled"."""

    reason: str


class Failure(Message, frozen=True, kw_only=True, tag="error"):
    """Problem details (RFC 9457) of what ended the stream, or, with no stream of that id, refused what was asked."""

    problem: dict[str, Any]


def fail(error: Exception, id: str | None = None) -> Failure:
    """What the peer is told of an exception.

    What is meant for it, an ``HTTPException`` for example, is told. Anything else is a 500 and goes to the log
    ``fastnet.error``.
    """
    if isinstance(error, HTTPException):
        members = problem_members(
            error.status_code, error.detail, type=error.type, title=error.title, **error.extensions
        )
    elif isinstance(error, ExchangeError) and error.status >= 400:
        members = problem_members(error.status, str(error))
    else:
        request = current_request_id()
        extra = {} if request is None else {"request_id": request}
        place = "" if request is None else f" [request {request}]"
        name = "a token stream" if id is None else f"the token stream {id!r}"
        log.error("%s failed%s", name, place, exc_info=error, extra=extra)
        members = problem_members(500, "the source of the stream failed; the server's log has the reason", **extra)
    return Failure(id=id, problem=members)


_TYPES: Final[dict[type[Message], str]] = {
    kind: str(kind.__struct_config__.tag) for kind in (Started, Chunk, Usage, End, Failure)
}
_encode = msgspec.json.Encoder().encode


def encode(message: Message) -> bytes:
    """A message as JSON. One that has no form in JSON is logged, and the error of it is told in its place."""
    try:
        return _encode(message)
    except Exception as error:
        # Details of a problem may be anything, and the application's words no Unicode.
        return _encode(fail(error, message.id))


def event_of(message: Message) -> ServerSentEvent:
    """The event that carries a message: its ``type`` is the event's."""
    return ServerSentEvent(encode(message), event=_TYPES[type(message)])
