"""A client that checks: each answer is parsed by the standard library and compared in full."""

import http.client
import io
import socket
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Self

from benches.load.scenarios import Expected, Request, Scenario

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

TIMEOUT = 10.0
DATE_TOLERANCE = 5.0
DATE_SIZE = len("Sun, 06 Nov 1994 08:49:37 GMT")


class WrongAnswer(Exception):
    """The server answered, and not with what was asked for; or it did not answer at all."""


@dataclass(frozen=True)
class Answer:
    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    size: int
    """Bytes on the wire, head and framing included."""

    def values(self, name: str) -> list[str]:
        return [value for field, value in self.fields if field.lower() == name]


class _Received(io.RawIOBase):
    """The receiving half of a socket, counting bytes and keeping them."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.total = 0
        self.kept = bytearray()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        count = self._sock.recv_into(buffer)
        self.total += count
        self.kept += memoryview(buffer)[:count]
        return count


class _Shared(io.BufferedReader):
    """http.client closes its file after each answer; here the next answer comes from the same one."""

    def close(self) -> None:
        pass


class _Socket:
    """As much of a socket as http.client.HTTPResponse asks for."""

    def __init__(self, reader: _Shared) -> None:
        self._reader = reader

    def makefile(self, mode: str) -> _Shared:
        return self._reader


class Connection:
    """One keep-alive connection, over TLS with a ``context``; a context manager."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.port = port
        try:
            sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock = sock if context is None else context.wrap_socket(sock, server_hostname="localhost")
        except OSError as error:
            raise WrongAnswer(f"no connection: {error}") from error
        self._received = _Received(self._sock)
        self._reader = _Shared(self._received)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def ask(self, request: Request, times: int = 1) -> list[Answer]:
        """Send ``request`` ``times`` in one write and read as many answers. Raises WrongAnswer if they do not come."""
        wire = request.wire(self.port) * times
        before = self._received.total
        try:
            self._sock.sendall(wire)
            answers = [self._read(request.method) for _ in range(times)]
        except (OSError, http.client.HTTPException) as error:
            raise WrongAnswer(f"{request.method} {request.path}: {type(error).__name__}: {error}") from error
        size = self._received.total - before
        if self._buffered() or size % times:
            raise WrongAnswer(f"{request.method} {request.path}: more than {times} answers came, or unequal ones")
        return [Answer(status, fields, body, size // times) for status, fields, body in answers]

    def ask_raw(self, request: Request) -> bytes:
        """Send ``request`` and return its answer as it came over the wire."""
        self._received.kept.clear()
        self.ask(request)
        return bytes(self._received.kept)

    def _buffered(self) -> bool:
        self._sock.setblocking(False)
        try:
            return bool(self._reader.peek(1))
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        finally:
            self._sock.settimeout(TIMEOUT)

    def _read(self, method: str) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        response = http.client.HTTPResponse(_Socket(self._reader), method=method)  # type: ignore[arg-type]
        response.begin()
        if response.version != 11:
            raise WrongAnswer(f"HTTP version {response.version} in the answer")
        body = response.read()
        if response.will_close:
            raise WrongAnswer("the answer ends the connection")
        return response.status, tuple(response.getheaders()), body


def _media_type(value: str) -> tuple[str, str]:
    """A media type and its charset, both in lower case; UTF-8 where JSON names none (RFC 8259 section 8.1)."""
    media_type, _, parameters = value.lower().partition(";")
    charset = parameters.replace('"', "").replace(" ", "").removeprefix("charset=")
    media_type = media_type.strip()
    return media_type, charset or ("utf-8" if media_type == "application/json" else "")


def faults(answer: Answer, expected: Expected, *, live: bool = True) -> list[str]:
    """What is wrong with an answer; empty when all is right. A ``live`` server must send the current Date."""
    found = []
    if answer.status not in expected.statuses:
        found.append(f"status {answer.status} instead of {' or '.join(map(str, sorted(expected.statuses)))}")
    if expected.body is not None and answer.body != expected.body:
        found.append(f"body {answer.body[:120]!r} instead of {expected.body[:120]!r}")
    if expected.content_type is not None:
        types = answer.values("content-type")
        if [_media_type(value) for value in types] != [_media_type(expected.content_type)]:
            found.append(f"content type {types} instead of {expected.content_type!r}")
    dates = answer.values("date")
    if len(dates) != 1:
        found.append(f"{len(dates)} Date fields")
    elif live and not _is_current(dates[0]):
        found.append(f"Date {dates[0]!r} at {time.time():.0f}")
    return found


def _is_current(date: str) -> bool:
    try:
        return len(date) == DATE_SIZE and abs(parsedate_to_datetime(date).timestamp() - time.time()) <= DATE_TOLERANCE
    except ValueError:
        return False


def check(port: int, scenario: Scenario, *, live: bool, rounds: int, context: ssl.SSLContext | None = None) -> int:
    """Ask the scenario's request ``rounds`` times at its depth, and its probes once; compare every answer, over
    TLS with a ``context``.

    ``live`` is False for servers that repeat fixed bytes: they get no probes and may send any Date. Returns the size
    of one right answer in bytes. Raises WrongAnswer with what was wrong.
    """
    sizes = set()
    with Connection(port, context) as connection:
        for depth in (1, scenario.depth):
            for _ in range(rounds):
                for answer in connection.ask(scenario.request, depth):
                    _require(answer, scenario.request, scenario.expected, live)
                    sizes.add(answer.size)
        for probe in scenario.probes if live else ():
            for answer in connection.ask(probe.request):
                _require(answer, probe.request, probe.expected, live)
    if len(sizes) != 1:
        raise WrongAnswer(f"answers to the same request of {sorted(sizes)} bytes")
    return sizes.pop()


def _require(answer: Answer, request: Request, expected: Expected, live: bool) -> None:
    if found := faults(answer, expected, live=live):
        raise WrongAnswer(f"{request.method} {request.path}: {'; '.join(found)}")
