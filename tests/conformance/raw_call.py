"""A gRPC call message by message, over the ``h2`` library: what grpcio's client does not let one see or choose."""

import gzip
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events

PATIENCE = 20


@dataclass
class Outcome:
    """Head and trailers of an answer, and its messages: whether each was compressed, and its bytes, decompressed."""

    head: dict[str, str] = field(default_factory=dict)
    messages: list[tuple[bool, bytes]] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)


def texts(fields: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in fields}


def framed(message: bytes, *, compress: bool) -> bytes:
    data = gzip.compress(message) if compress else message
    return bytes((compress,)) + len(data).to_bytes(4, "big") + data


def call(port: int, path: str, *messages: tuple[bool, bytes]) -> Outcome:
    """Send all messages, each compressed by gzip or not, and read the answer to its end."""
    machine = h2.connection.H2Connection(h2.config.H2Configuration())
    machine.initiate_connection()
    machine.increment_flow_control_window(2**24)
    fields = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "test"), ("te", "trailers")]
    fields += [("content-type", "application/grpc"), ("grpc-accept-encoding", "identity, gzip")]
    if any(compress for compress, _ in messages):
        fields.append(("grpc-encoding", "gzip"))
    body = b"".join(framed(message, compress=compress) for compress, message in messages)
    outcome, received, sent = Outcome(), b"", 0
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        machine.send_headers(1, fields)
        sock.sendall(machine.data_to_send())
        while True:
            while sent < len(body) and (room := machine.local_flow_control_window(1)):
                piece = body[sent : sent + min(room, machine.max_outbound_frame_size)]
                sent += len(piece)
                machine.send_data(1, piece, end_stream=sent == len(body))
            sock.sendall(machine.data_to_send())
            data = sock.recv(65536)
            assert data, "the connection ended before the answer"
            for event in machine.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    outcome.head = texts(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    received += event.data
                    machine.acknowledge_received_data(event.flow_controlled_length, 1)
                elif isinstance(event, h2.events.TrailersReceived):
                    outcome.trailers = texts(event.headers)
                elif isinstance(event, h2.events.StreamEnded):
                    outcome.messages = list(split(received))
                    if not outcome.trailers:  # a head alone
                        outcome.trailers = outcome.head
                    return outcome


def split(data: bytes) -> list[tuple[bool, bytes]]:
    found = []
    while data:
        size = int.from_bytes(data[1:5], "big")
        message = data[5 : 5 + size]
        found.append((bool(data[0]), gzip.decompress(message) if data[0] else message))
        data = data[5 + size :]
    return found
