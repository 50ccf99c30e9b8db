"""websocket.c as the load generator of WebSocket echoes, and a client that checks a server before and after."""

import base64
import hashlib
import os
import socket
import struct
import tempfile
import zlib
from itertools import cycle, islice
from pathlib import Path
from typing import Self

from benches.load import generator
from benches.load.client import TIMEOUT, WrongAnswer
from benches.load.machine import Place
from benches.load.scenarios import WEBSOCKET_KEY, Request, Scenario
from benches.load.wrk import Load

TEXT, BINARY, PING, PONG = 1, 2, 9, 10
LIBRARIES = ("-lz",)
ERRORS = ("connect", "handshake", "refused", "closed", "answer")
TAIL = b"\x00\x00\xff\xff"
"""What the last block of a compressed message ends with, which does not travel (RFC 7692, 7.2.1)."""

PROBES: tuple[str | bytes, ...] = ("", b"", "Grüße, Мир, 世界", bytes(125), bytes(126), "a" * 4000, os.urandom(4000))
"""Messages other than the measured ones, around the sizes at which the frame's head changes."""


def opcode(message: str | bytes) -> int:
    return TEXT if isinstance(message, str) else BINARY


def octets(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def compressed(payload: bytes) -> bytes:
    """A message's payload by permessage-deflate, without reference to any before it: right whether or not the
    client agreed to keep no context."""
    deflater = zlib.compressobj(wbits=-15)
    return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


class Client:
    """One WebSocket, a context manager. Raises WrongAnswer for whatever a right server would not send."""

    def __init__(self, port: int, request: Request) -> None:
        offered = any(name == "Sec-WebSocket-Extensions" for name, _ in request.headers)
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
            self._input = self.socket.makefile("rb")
        except OSError as error:
            raise WrongAnswer(f"no connection: {error}") from error
        try:
            self.socket.sendall(request.wire(port))
            status, *lines = self._head().split("\r\n")
        except BaseException:
            self.close()
            raise
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        agreed = fields.get("sec-websocket-extensions", "")
        key = hashlib.sha1(f"{WEBSOCKET_KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        wrong = ""
        if not status.startswith("HTTP/1.1 101 "):
            wrong = status
        elif fields.get("sec-websocket-accept") != base64.b64encode(key).decode():
            wrong = f"Sec-WebSocket-Accept: {fields.get('sec-websocket-accept')}"
        elif offered != agreed.startswith("permessage-deflate"):
            wrong = f"Sec-WebSocket-Extensions: {agreed}"
        if wrong:
            self.close()
            raise WrongAnswer(f"the hand-shake was answered with {wrong}")
        self._compresses = offered
        self._keeps_context = "server_no_context_takeover" not in agreed
        self._inflater = zlib.decompressobj(wbits=-15)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._input.close()
        self.socket.close()

    def _head(self) -> str:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._input.readline(8192)
            if not line:
                raise WrongAnswer("the connection was closed instead of an answer to the hand-shake")
            head += line
        return head.decode("latin-1").removesuffix("\r\n\r\n")

    def _exactly(self, size: int) -> bytes:
        data = self._input.read(size)
        if len(data) != size:
            raise WrongAnswer("the connection was closed instead of an answer")
        return data

    def _send(self, kind: int, payload: bytes, *, rsv1: bool = False) -> None:
        mask = os.urandom(4)
        size = len(payload)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 1 << 16:
            length = struct.pack(">BH", 0x80 | 126, size)
        else:
            length = struct.pack(">BQ", 0x80 | 127, size)
        masked = bytes(byte ^ mask[at & 3] for at, byte in enumerate(payload))
        self.socket.sendall(bytes([0x80 | (0x40 if rsv1 else 0) | kind]) + length + mask + masked)

    def _receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame, which must be a whole message."""
        first, second = self._exactly(2)
        if not first & 0x80 or first & 0x30 or second & 0x80:
            raise WrongAnswer(f"a frame that begins with {first:02x} {second:02x}")
        size = second
        if second > 125:
            size = int.from_bytes(self._exactly(2 if second == 126 else 8), "big")
        payload = self._exactly(size)
        if not first & 0x40:
            return first & 0x0F, payload
        if not self._compresses:
            raise WrongAnswer("a compressed message, of which nothing was agreed")
        if not self._keeps_context:
            self._inflater = zlib.decompressobj(wbits=-15)
        try:
            return first & 0x0F, self._inflater.decompress(payload + TAIL)
        except zlib.error as error:
            raise WrongAnswer(f"what came does not decompress: {error}") from error

    def require_echo(self, message: str | bytes) -> None:
        """Send the message, compressed where that was agreed on, and compare what comes back."""
        kind, payload = opcode(message), octets(message)
        try:
            if self._compresses:
                self._send(kind, compressed(payload), rsv1=True)
            else:
                self._send(kind, payload)
            answered, answer = self._receive()
        except OSError as error:
            raise WrongAnswer(f"{type(error).__name__}: {error}") from error
        if (answered, answer) != (kind, payload):
            raise WrongAnswer(
                f"opcode {answered}, {len(answer)} bytes {answer[:60]!r} instead of {kind}, {len(payload)} bytes "
                f"{payload[:60]!r}"
            )

    def require_pong(self) -> None:
        self._send(PING, b"still there?")
        if (answer := self._receive()) != (PONG, b"still there?"):
            raise WrongAnswer(f"{answer!r} instead of a Pong")


def check(port: int, scenario: Scenario, live: bool, rounds: int) -> int:
    """Have ``rounds`` of the scenario's messages echoed and, if ``live``, PROBES and a Ping answered. Returns the
    size of one message. Raises WrongAnswer."""
    with Client(port, scenario.request) as client:
        for message in islice(cycle(scenario.messages), rounds):
            client.require_echo(message)
        if live:
            client.require_pong()
            for message in (*PROBES, scenario.messages[0]):
                client.require_echo(message)
    return len(octets(scenario.messages[0]))


def run(port: int, scenario: Scenario, seconds: float, *, core: Place) -> Load:
    """Load with the scenario's connections, ``depth`` messages on their way on each. Raises LoadFailed.

    The program compares every answer by itself; ``Load.bytes`` are those of messages, ``Load.wire`` those of their
    payloads as they came.
    """
    offers = any(name == "Sec-WebSocket-Extensions" for name, _ in scenario.request.headers)
    with tempfile.TemporaryDirectory(prefix="fastnet-bench-") as folder:
        request, messages = Path(folder, "request"), Path(folder, "messages")
        request.write_bytes(scenario.request.wire(port))
        messages.write_bytes(b"".join(_record(octets(message), offers) for message in scenario.messages))
        arguments = [str(port), f"{seconds:g}", str(scenario.connections), str(scenario.depth)]
        arguments += [str(opcode(scenario.messages[0])), str(request), str(messages)]
        numbers, cpu = generator.run("websocket.c", LIBRARIES, arguments, seconds, core=core)
    errors = {kind: numbers[kind] for kind in ERRORS}
    counted = numbers["requests"], numbers["seconds"], numbers["bytes"]
    return Load(*counted, errors, p99=0.0, cpu=cpu, wire=numbers["wire"])


def _record(plain: bytes, offers: bool) -> bytes:
    """One message as websocket.c reads it."""
    wire = compressed(plain) if offers else plain
    return struct.pack(">II", len(plain), len(wire)) + plain + wire
