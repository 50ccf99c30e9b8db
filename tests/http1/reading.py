"""How the tests of the HTTP/1 reader feed it: whole, cut at one place, byte by byte."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from fastnet_ext.http1.reader import Limits, Reader

Event = tuple[Any, ...]


class Outcome(NamedTuple):
    """What the bytes amount to: events with adjacent data merged, how the input's end was taken, what was left."""

    events: list[Event]
    end: str
    unread: bytes


def merged(events: Iterable[Event]) -> list[Event]:
    """The events with adjacent ``data`` joined: where they are cut depends on where the input was."""
    joined: list[Event] = []
    for event in events:
        if event[0] == "data" and joined and joined[-1][0] == "data":
            joined[-1] = ("data", joined[-1][1] + event[1])
        else:
            joined.append(event)
    return joined


def read(
    pieces: bytes | Iterable[bytes], *, limits: Limits | None = None, client: bool = False, method: bytes = b"GET"
) -> Outcome:
    """Feed the pieces to a new reader, then the end of the input."""
    reader = Reader(limits, client=client)
    reader.answers(method)
    events: list[Event] = []
    for piece in [pieces] if isinstance(pieces, bytes) else pieces:
        events += reader.events(piece)
        if events and events[-1][0] in ("failed", "not_http"):
            break
    return Outcome(merged(events), reader.finish(), reader.unread)


def bytewise(data: bytes) -> list[bytes]:
    """The bytes one by one."""
    return [data[i : i + 1] for i in range(len(data))]


def read_every_way(data: bytes, **options: Any) -> Outcome:
    """Read whole, byte by byte and cut in two at every place; all must agree. The whole reading."""
    whole = read(data, **options)
    agree(whole, read(bytewise(data), **options), data, "byte by byte")
    for cut in range(1, len(data)):
        agree(whole, read([data[:cut], data[cut:]], **options), data, f"cut at {cut}")
    return whole


def agree(whole: Outcome, cut: Outcome, data: bytes, how: str) -> None:
    """Same events and same end. What a failed reader has not consumed depends on what had come."""
    assert whole.events == cut.events, (how, data)
    assert whole.end == cut.end, (how, data)
    if whole.end != "failed":
        assert whole.unread == cut.unread, (how, data)


def error_of(data: bytes, **options: Any) -> int:
    """The status that reading ``data`` every way fails with, 0 for NOT_HTTP."""
    last = read_every_way(data, **options).events[-1]
    if last == ("not_http",):
        return 0
    assert last[0] == "failed", f"{data!r} was accepted: {last}"
    return int(last[1])


def request(*lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bool = True, body: bytes = b"") -> bytes:
    """A request with the lines given, with a valid Host unless told otherwise."""
    fields = ([b"Host: example.com"] if host else []) + list(lines)
    return b"\r\n".join([start, *fields, b"", b""]) + body
