"""A client that speaks HTTP/2 frame by frame: the ``h2`` library over a plain socket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import h2.config
import h2.connection
import h2.events
from hyperframe.frame import Frame

from tests.wire.live import WAIT

FrameT = TypeVar("FrameT", bound=Frame)


class H2Peer:
    """One connection. Windows are opened only when told, by ``take``."""

    def __init__(self, port: int, *, window: int = 65_535) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
        self.machine = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.machine.initiate_connection()
        self.machine.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.events: list[Any] = []
        self.unread = bytearray()
        self.flush()

    def __enter__(self) -> H2Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def flush(self) -> None:
        self.sock.sendall(self.machine.data_to_send())

    def request(self, method: str, path: str, body: bytes | None = None, *, end: bool = True) -> int:
        """Begin a request; the id of its stream."""
        stream = self.machine.get_next_available_stream_id()
        fields = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "test")]
        self.machine.send_headers(stream, fields, end_stream=end and body is None)
        if body is not None:
            self.machine.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.machine.send_data(stream, data, end_stream=end)
        self.flush()

    def wait(self, kind: type[Any], matches: Callable[[Any], bool] = lambda event: True) -> Any:
        """The first event of that kind that matches, now or to come."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and matches(event):
                    self.events.remove(event)
                    return event
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError(f"the server closed, after {self.events!r}")
            self.events += self.machine.receive_data(data)
            self.flush()

    def status(self, stream: int) -> int:
        event = self.wait(h2.events.ResponseReceived, lambda event: event.stream_id == stream)
        return int(dict(event.headers)[b":status"])

    def ended(self, stream: int) -> None:
        self.wait(h2.events.StreamEnded, lambda event: event.stream_id == stream)

    def reset(self, stream: int) -> int:
        """Wait for a reset of the stream; its code."""
        return int(self.wait(h2.events.StreamReset, lambda event: event.stream_id == stream).error_code)

    def take(self, stream: int) -> bytes:
        """What has come of the body, its window given back."""
        event = self.wait(h2.events.DataReceived, lambda event: event.stream_id == stream)
        self.machine.acknowledge_received_data(event.flow_controlled_length, stream)
        self.flush()
        return bytes(event.data)

    def frames(self) -> list[Frame]:
        """Every frame that comes until the server closes, however it does, unread by the library."""
        data, self.unread = self.unread, bytearray()
        with suppress(ConnectionResetError):
            while more := self.sock.recv(1 << 16):
                data += more
        found = []
        while data:
            frame, length = Frame.parse_frame_header(memoryview(bytes(data[:9])))
            frame.parse_body(memoryview(bytes(data[9 : 9 + length])))
            del data[: 9 + length]
            found.append(frame)
        return found

    def frame(self, kind: type[FrameT]) -> FrameT:
        """The next frame of a kind, unread by the library; those before it are dropped."""
        while True:
            if len(self.unread) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(bytes(self.unread[:9])))
                if len(self.unread) >= 9 + length:
                    frame.parse_body(memoryview(bytes(self.unread[9 : 9 + length])))
                    del self.unread[: 9 + length]
                    if isinstance(frame, kind):
                        return frame
                    continue
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError(f"the server closed before it sent a {kind.__name__}")
            self.unread += data

    def closed(self) -> bool:
        """Whether the server closes without a reset."""
        while data := self.sock.recv(1 << 16):
            self.events += self.machine.receive_data(data)
        return True
