"""What goes over a connection, for people who look for a mistake: the log "fastnet.wire" at level DEBUG.

Each entry names the connection, the direction, the number of bytes and shows the first of them, with the values of
fields that hold secrets masked. HTTP/2 is shown by its frames, whose heads nobody could read. Plain Python: it runs in
``--debug`` only.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

__all__ = ["PREVIEW", "WireTrace"]

log = logging.getLogger("fastnet.wire")

PREVIEW: Final = 256
"""Bytes that an entry shows of what was sent or received."""

_SECRET: Final = re.compile(
    rb"^((?:proxy-)?authorization|(?:set-)?cookie)([ \t]*:[ \t]*)[^\r\n]+", re.IGNORECASE | re.MULTILINE
)
# The longest beginning of a line that has to be known to tell whether its value is a secret.
_NAME: Final = 32

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAMES: Final = (
    *("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS"),
    *("PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"),
)
_FRAME_HEAD: Final = 9
_MOST_FRAMES: Final = 16  # of an entry


class WireTrace:
    """Writes down what one connection receives and sends, as plain bytes (after TLS)."""

    def __init__(self, number: int, peer: Any) -> None:
        self._name = f"connection {number}"
        self._input = _Direction()
        self._output = _Direction()
        # The first bytes, until they tell whether this is HTTP/2.
        self._first: bytes | None = b""
        log.debug("%s: opened by %s", self._name, _address(peer))

    @classmethod
    def begin(cls, number: int, peer: Any) -> WireTrace | None:
        """A trace, or None when nobody reads it."""
        return cls(number, peer) if log.isEnabledFor(logging.DEBUG) else None

    def received(self, data: bytes) -> None:
        """Bytes came."""
        if self._first is not None:
            self._first += data[: len(_PREFACE) - len(self._first)]
            if self._first == _PREFACE:
                self._input.frames = self._output.frames = True
                # The rest of the preface, if it came in pieces, is text.
                cut = len(_PREFACE) - self._input.seen
                self._write("received", data[:cut], self._input.text(data[:cut]))
                data = data[cut:]
                self._first = None
            elif not _PREFACE.startswith(self._first):
                self._first = None
        if data:
            self._write("received", data, self._input.shown(data))

    def sent(self, data: bytes) -> None:
        """Bytes are about to be written."""
        if data:
            self._write("sent", data, self._output.shown(data))

    def note(self, text: str) -> None:
        """Something else happened."""
        log.debug("%s: %s", self._name, text)

    def end(self, error: BaseException | None, by_us: bool) -> None:
        """The connection is gone."""
        why = f"lost: {error}" if error is not None else "closed by us" if by_us else "closed by the peer"
        log.debug("%s: %s", self._name, why)

    def _write(self, what: str, data: bytes, shown: str) -> None:
        log.debug("%s: %s %d bytes: %s", self._name, what, len(data), shown)


class _Direction:
    """What has to be kept between two pieces of one direction."""

    def __init__(self) -> None:
        self.seen = 0
        self.frames = False
        self._line = b""  # how the line begins in which the last piece ended
        self._frame = b""  # the beginning of a frame's head
        self._payload = 0  # bytes of a frame's payload that are still to come

    def shown(self, data: bytes) -> str:
        return self._as_frames(data) if self.frames else self.text(data)

    def text(self, data: bytes) -> str:
        """A preview without secrets, also where a piece begins or ends in one."""
        self.seen += len(data)
        before = len(self._line)
        whole = self._line + data
        last = whole.rfind(b"\n") + 1
        self._line = whole[last : last + _NAME]
        shown, end = bytearray(), before
        for found in _SECRET.finditer(whole[: before + PREVIEW]):
            shown += whole[end : max(end, found.end(2))] + b"***"
            end = max(end, found.end())
        shown += whole[end : before + PREVIEW]
        return _escaped(bytes(shown)) + (" …" if len(data) > PREVIEW else "")

    def _as_frames(self, data: bytes) -> str:
        """The heads of the frames that begin here."""
        self.seen += len(data)
        found: list[str] = []
        while data:
            if self._payload:
                size = min(self._payload, len(data))
                self._payload -= size
                data = data[size:]
                continue
            size = _FRAME_HEAD - len(self._frame)
            self._frame += data[:size]
            data = data[size:]
            if len(self._frame) == _FRAME_HEAD:
                found.append(_frame(self._frame))
                self._payload = int.from_bytes(self._frame[:3])
                self._frame = b""
        shown = ", ".join(found[:_MOST_FRAMES]) or "more of a frame"
        return f"{shown} …" if len(found) > _MOST_FRAMES else shown


def _frame(head: bytes) -> str:
    kind, flags, stream = head[3], head[4], int.from_bytes(head[5:]) & 0x7FFFFFFF
    name = _FRAMES[kind] if kind < len(_FRAMES) else f"type {kind}"
    return f"{name} stream {stream} flags {flags:#04x} length {int.from_bytes(head[:3])}"


def _escaped(data: bytes) -> str:
    return repr(data)[2:-1]


def _address(peer: Any) -> str:
    if isinstance(peer, (tuple, list)) and len(peer) >= 2:
        return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
    return "a Unix socket"
