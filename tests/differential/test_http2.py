"""Our server against the h2 library's client, our client against its server, and both of ours together."""

from collections.abc import Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.http2.errors import ErrorCode
from fastnet_ext.http2.limits import Limits
from fastnet_ext.http2.peer import Peer
from tests.http2.wire import GET, OK, POST, Event

Field = tuple[bytes, bytes]


def library(client: bool) -> Any:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding=None))
    connection.initiate_connection()
    return connection


def cut(data: bytes, step: int) -> Iterator[bytes]:
    return (data[at : at + step] for at in range(0, len(data), step))


class Pair:
    """Our server and the library's client, with nothing lost in between; the server answers when it is told to."""

    def __init__(self, limits: Limits | None = None, step: int = 1 << 20) -> None:
        self.ours, self.theirs, self.step = Peer(limits=limits), library(client=True), step
        self.seen: list[Event] = []
        self.heard: list[Any] = []
        self.bodies: dict[int, bytes] = {}
        self.read_by_application = True
        self.read_by_client = True
        self.run()

    def run(self) -> None:
        """Carry bytes to and fro until both are silent."""
        while True:
            there, back = self.theirs.data_to_send(), self.ours.data_to_send()
            if not there and not back:
                self.ours.pump()
                back = self.ours.data_to_send()
                if not back:
                    return
            for part in cut(there, self.step):
                for event in self.ours.receive(part):
                    self.seen.append(event)
                    if event[0] == "data" and self.read_by_application:
                        self.ours.acknowledge(event[1], len(event[2]))
            for event in self.theirs.receive_data(back) if back else []:
                self.heard.append(event)
                if isinstance(event, h2.events.DataReceived):
                    self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                    if self.read_by_client and event.flow_controlled_length:
                        self.theirs.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def send_body(self, stream_id: int, body: bytes) -> None:
        """What the client's windows allow, run by run, then the end."""
        while body:
            size = min(self.theirs.local_flow_control_window(stream_id), self.theirs.max_outbound_frame_size, len(body))
            assert size, "the server gave no window"
            self.theirs.send_data(stream_id, body[:size])
            body = body[size:]
            self.run()
        self.theirs.end_stream(stream_id)
        self.run()

    def received(self, stream_id: int) -> bytes:
        return b"".join(event[2] for event in self.seen if event[:2] == ("data", stream_id))

    def kinds(self, kind: type) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]


names = st.sampled_from([b"accept", b"x-a", b"x-b", b"content-type", b"grpc-timeout", b"user-agent"])
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60).map(str.encode)
fields = st.lists(st.tuples(names, values), max_size=6)
bodies = st.integers(0, 150_000) | st.integers(0, 100)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(fields, bodies, bodies, st.booleans()), min_size=1, max_size=4), st.sampled_from([1 << 20, 977])
)
def test_requests_and_answers(exchanges: list[tuple[list[Field], int, int, bool]], step: int) -> None:
    pair = Pair(step=step)
    for n, (extra, size_in, size_out, trailers) in enumerate(exchanges):
        stream_id = 2 * n + 1
        asked = [*POST, *extra]
        body, answer = bytes([n]) * size_in, bytes([n + 100]) * size_out
        pair.theirs.send_headers(stream_id, asked)
        pair.run()
        pair.send_body(stream_id, body)
        (request,) = (event for event in pair.seen if event[:2] == ("request", stream_id))
        assert request[3] == extra
        assert pair.received(stream_id) == body
        pair.ours.send_headers(stream_id, [*OK, *extra])
        pair.ours.send_data(stream_id, answer, end_stream=not trailers)
        if trailers:
            pair.ours.send_trailers(stream_id, [(b"grpc-status", b"0")])
        pair.run()
        head = pair.kinds(h2.events.ResponseReceived)[-1]
        assert [tuple(field) for field in head.headers] == [*OK, *extra]
        assert pair.bodies.get(stream_id, b"") == answer
        assert pair.kinds(h2.events.StreamEnded)[-1].stream_id == stream_id
        assert len(pair.kinds(h2.events.TrailersReceived)) == sum(t for *_, t in exchanges[: n + 1])
    pair.ours.receive(b"")
    assert pair.ours.open_streams == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 200_000), min_size=2, max_size=6),
    st.sampled_from([65535, 100, 1]),
    st.sampled_from([262144, 16384]),
)
def test_many_answers_at_once_under_flow_control(sizes: list[int], window: int, output: int) -> None:
    if window == 1:
        sizes = [size % 50 for size in sizes]
    elif window == 100:
        sizes = [size % 5000 for size in sizes]
    pair = Pair(Limits(output=output))
    pair.theirs.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
    pair.run()
    for n in range(len(sizes)):
        pair.theirs.send_headers(2 * n + 1, GET, end_stream=True)
    pair.run()
    for n, size in enumerate(sizes):
        pair.ours.send_headers(2 * n + 1, OK)
        pair.ours.send_data(2 * n + 1, bytes([n]) * size, end_stream=True)
    pair.run()
    assert {2 * n + 1: bytes([n]) * size for n, size in enumerate(sizes) if size} == {
        stream_id: body for stream_id, body in pair.bodies.items() if body
    }
    assert len(pair.kinds(h2.events.StreamEnded)) == len(sizes)


def test_client_that_does_not_read_holds_up_only_itself() -> None:
    pair = Pair()
    pair.read_by_client = False
    for stream_id in (1, 3):
        pair.theirs.send_headers(stream_id, GET, end_stream=True)
    pair.run()
    pair.ours.send_headers(1, OK)
    assert pair.ours.send_data(1, bytes(100_000), end_stream=True) > 0
    pair.run()
    assert len(pair.bodies[1]) == 65535
    pair.theirs.increment_flow_control_window(1 << 20)
    pair.run()
    assert len(pair.bodies[1]) == 65535
    pair.ours.send_headers(3, OK)
    pair.ours.send_data(3, b"quick", end_stream=True)
    pair.run()
    assert pair.bodies[3] == b"quick"
    pair.theirs.increment_flow_control_window(1 << 20, 1)
    pair.run()
    assert len(pair.bodies[1]) == 100_000
    assert ("window", 1) in pair.seen


def test_application_that_does_not_read_holds_up_only_its_stream() -> None:
    pair = Pair()
    pair.read_by_application = False
    pair.theirs.send_headers(1, POST)
    pair.theirs.send_headers(3, POST)
    pair.run()
    for _ in range(4):
        pair.theirs.send_data(1, bytes(16384))
    pair.run()
    assert pair.theirs.local_flow_control_window(1) == 0
    pair.read_by_application = True
    pair.send_body(3, bytes(500_000))
    assert len(pair.received(3)) == 500_000
    pair.ours.acknowledge(1, 65536)
    pair.run()
    assert pair.theirs.local_flow_control_window(1) == 65536


def test_settings_changed_in_the_middle() -> None:
    pair = Pair()
    codes = h2.settings.SettingCodes
    pair.theirs.send_headers(1, GET, end_stream=True)
    pair.run()
    pair.ours.send_headers(1, OK)
    pair.ours.send_data(1, b"a" * 60_000)
    pair.run()
    pair.theirs.update_settings(
        {codes.INITIAL_WINDOW_SIZE: 5, codes.MAX_FRAME_SIZE: 100_000, codes.HEADER_TABLE_SIZE: 0}
    )
    pair.run()
    assert any(isinstance(event, h2.events.SettingsAcknowledged) for event in pair.heard)
    pair.ours.send_data(1, b"b" * 40_000)
    pair.ours.send_trailers(1, [(b"x-checksum", b"1")])
    pair.theirs.update_settings({codes.INITIAL_WINDOW_SIZE: 100_000})
    pair.run()
    assert pair.bodies[1] == b"a" * 60_000 + b"b" * 40_000
    assert len(pair.kinds(h2.events.TrailersReceived)) == 1


def test_resets_in_both_directions() -> None:
    pair = Pair()
    pair.theirs.send_headers(1, POST)
    pair.theirs.send_headers(3, POST)
    pair.run()
    pair.theirs.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
    pair.run()
    assert ("reset", 1, ErrorCode.CANCEL, True) in pair.seen
    pair.ours.reset(3, ErrorCode.INTERNAL_ERROR)
    pair.run()
    (event,) = pair.kinds(h2.events.StreamReset)
    assert (event.stream_id, event.error_code) == (3, ErrorCode.INTERNAL_ERROR)


def test_early_answer() -> None:
    """RFC 9113, section 8.1: the whole answer, then RST_STREAM(NO_ERROR)."""
    pair = Pair()
    pair.theirs.send_headers(1, POST)
    pair.theirs.send_data(1, bytes(1000))
    pair.run()
    pair.ours.send_headers(1, [(b":status", b"413")])
    pair.ours.send_data(1, b"too large", end_stream=True)
    pair.run()
    assert pair.bodies[1] == b"too large"
    (event,) = pair.kinds(h2.events.StreamReset)
    assert event.error_code == 0
    pair.theirs.send_headers(3, GET, end_stream=True)
    pair.run()
    assert pair.seen[-1][:2] == ("request", 3)


def test_pings_and_goaway() -> None:
    pair = Pair()
    pair.theirs.ping(b"12345678")
    pair.ours.ping(b"abcdefgh")
    pair.run()
    assert pair.kinds(h2.events.PingAckReceived)[0].ping_data == b"12345678"
    assert ("pong", b"abcdefgh") in pair.seen
    pair.theirs.send_headers(1, GET, end_stream=True)
    pair.run()
    # The library takes no frames behind a GOAWAY, so the answer goes first.
    pair.ours.send_headers(1, OK, end_stream=True)
    pair.ours.goaway(1, ErrorCode.NO_ERROR)
    pair.run()
    assert pair.kinds(h2.events.ConnectionTerminated)[0].last_stream_id == 1
    pair.theirs.close_connection()
    pair.run()
    assert pair.seen[-1] == ("goaway", 0, 0)


def test_more_streams_than_allowed_are_refused_by_number() -> None:
    pair = Pair(Limits(max_concurrent_streams=2))
    for stream_id in (1, 3):
        pair.theirs.send_headers(stream_id, GET, end_stream=True)
    with pytest.raises(h2.exceptions.TooManyStreamsError):
        pair.theirs.send_headers(5, GET, end_stream=True)


# ---- Our client ----------------------------------------------------------------------------------------


def test_our_client_against_the_librarys_server() -> None:
    ours, theirs = Peer(client=True), library(client=False)
    assert ours.open_stream() == 1
    ours.send_headers(1, [*POST, (b"cookie", b"a=1"), (b"x", b"y" * 200)])
    assert ours.send_data(1, b"b" * 100_000, end_stream=True) == 100_000 - 65535
    seen: list[Any] = []
    heard: list[Event] = []
    answered = False
    while (there := ours.data_to_send()) or (back := theirs.data_to_send()):
        if there:
            for event in theirs.receive_data(there):
                seen.append(event)
                if isinstance(event, h2.events.DataReceived):
                    theirs.acknowledge_received_data(event.flow_controlled_length, 1)
                if isinstance(event, h2.events.StreamEnded):
                    theirs.send_headers(1, [(b":status", b"103"), (b"link", b"</a>")])
                    theirs.send_headers(1, [*OK, (b"content-length", b"3")])
                    theirs.send_data(1, b"abc")
                    theirs.send_headers(1, [(b"x", b"y")], end_stream=True)
                    answered = True
        back = theirs.data_to_send()
        heard += ours.receive(back)
    assert answered
    assert sum(len(event.data) for event in seen if isinstance(event, h2.events.DataReceived)) == 100_000
    assert [event[0] for event in heard] == ["settings", "window", "response", "response", "data", "trailers"]
    ours.receive(b"")
    assert ours.open_streams == 0


def carry(client: Peer, server: Peer) -> tuple[list[Event], list[Event]]:
    """Between both of ours, each end reading at once; what the client and what the server saw."""
    at_client: list[Event] = []
    at_server: list[Event] = []
    while True:
        there, back = client.data_to_send(), server.data_to_send()
        if not there and not back:
            client.pump()
            server.pump()
            there, back = client.data_to_send(), server.data_to_send()
            if not there and not back:
                return at_client, at_server
        for peer, data, events in ((server, there, at_server), (client, back, at_client)):
            for event in peer.receive(data):
                events.append(event)
                if event[0] == "data":
                    peer.acknowledge(event[1], len(event[2]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(bodies, bodies, st.booleans()), min_size=1, max_size=8),
    st.integers(0, 100_000),
    st.integers(65535, 200_000),
)
def test_our_client_against_our_server(exchanges: list[tuple[int, int, bool]], initial: int, total: int) -> None:
    limits = Limits(initial_window=initial + 1, connection_window=total, output=16384)
    client, server = Peer(client=True, limits=limits), Peer(limits=limits)
    carry(client, server)
    if initial < 1000:
        exchanges = [(size_in % 1000, size_out % 1000, trailers) for size_in, size_out, trailers in exchanges]
    for n, (size_in, _, trailers) in enumerate(exchanges):
        stream_id = client.open_stream()
        assert stream_id == 2 * n + 1
        client.send_headers(stream_id, POST)
        client.send_data(stream_id, bytes([n]) * size_in, end_stream=not trailers)
        if trailers:
            client.send_trailers(stream_id, [(b"a", b"b")])
    _, at_server = carry(client, server)
    for n, (size_in, size_out, trailers) in enumerate(exchanges):
        stream_id = 2 * n + 1
        mine = [event for event in at_server if event[1:2] == (stream_id,)]
        assert mine[0][0] == "request"
        assert b"".join(event[2] for event in mine if event[0] == "data") == bytes([n]) * size_in
        assert (mine[-1][0] == "trailers") == trailers
        server.send_headers(stream_id, OK)
        server.send_data(stream_id, bytes([n]) * size_out)
        server.send_trailers(stream_id, [(b"grpc-status", b"0")])
    at_client, _ = carry(client, server)
    for n, (_, size_out, _) in enumerate(exchanges):
        mine = [event for event in at_client if event[1:2] == (2 * n + 1,)]
        assert b"".join(event[2] for event in mine if event[0] == "data") == bytes([n]) * size_out
        assert mine[-1][0] == "trailers"
    client.receive(b"")
    server.receive(b"")
    assert client.open_streams == server.open_streams == 0
