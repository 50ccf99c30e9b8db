"""gRPC's interop test descriptions (grpc/doc/interop-test-descriptions.md), row by row, by grpcio's client.

The same rows against grpcio's own server show that it is not the test that asks for what we do. Where the client
cannot see or choose whether a message is compressed, ``raw_call`` does. Rows that are not here ask for Google's
accounts (compute_engine_creds, jwt_token_creds, oauth2_auth_token, per_rpc_creds), for a caching proxy and a client
that calls by GET (cacheable_unary), or for a load balancer (orca_per_rpc, orca_oob, soak tests).
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
import trustme

from fastnet import App
from tests.conformance import raw_call
from tests.conformance.interop_service import ECHO_INITIAL, ECHO_TRAILING, TestService, payload, pb, pb_grpc
from tests.fastnet.serving import serving

PATIENCE = 20
LARGE, ANSWER = 271828, 314159
SERVICE = "/grpc.testing.TestService"


@dataclass
class Target:
    """A server that stands, and a client's way to it."""

    channel: Any
    stub: Any
    port: int
    service: TestService


@contextmanager
def grpcio_serving(service: TestService) -> Iterator[int]:
    """grpcio's asynchronous server on a loop in a thread."""
    ready = threading.Event()
    state: dict[str, Any] = {}

    async def main() -> None:
        server = grpc.aio.server()
        pb_grpc.add_TestServiceServicer_to_server(service, server)
        state["port"] = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        state["stop"] = lambda: loop.call_soon_threadsafe(stop.set)
        ready.set()
        await stop.wait()
        await server.stop(None)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield state["port"]
    finally:
        state["stop"]()
        thread.join(PATIENCE)


@pytest.fixture(scope="module")
def fastnet() -> Iterator[Target]:
    app, service = App(), TestService()
    pb_grpc.add_TestServiceServicer_to_server(service, app.grpc)
    with serving(app) as client, grpc.insecure_channel(f"127.0.0.1:{client.port}") as channel:
        yield Target(channel, pb_grpc.TestServiceStub(channel), client.port, service)


@pytest.fixture(scope="module")
def fastnet_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    issued = ca.issue_cert("localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(folder / "cert.pem", append=number > 0)
    app = App(settings={"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")})
    service = TestService()
    pb_grpc.add_TestServiceServicer_to_server(service, app.grpc)
    credentials = grpc.ssl_channel_credentials(ca.cert_pem.bytes())
    options = (("grpc.ssl_target_name_override", "localhost"),)
    with (
        serving(app) as client,
        grpc.secure_channel(f"127.0.0.1:{client.port}", credentials, options) as channel,
    ):
        yield Target(channel, pb_grpc.TestServiceStub(channel), client.port, service)


@pytest.fixture(scope="module")
def grpcio() -> Iterator[Target]:
    service = TestService()
    with grpcio_serving(service) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Target(channel, pb_grpc.TestServiceStub(channel), port, service)


def failure(call: Callable[[], Any]) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def output_request(*sizes: int, body: int | None = None, **fields: Any) -> Any:
    parameters = [pb.ResponseParameters(size=size) for size in sizes]
    found = pb.StreamingOutputCallRequest(response_parameters=parameters, **fields)
    if body is not None:
        found.payload.CopyFrom(payload(body))
    return found


def sizes(replies: Any) -> list[int]:
    return [len(reply.payload.body) for reply in replies]


class Sent:
    """Requests that a client's iterator gives out as they are put in; ``end`` half-closes."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()

    def put(self, request: Any) -> None:
        self._queue.put(request)

    def end(self) -> None:
        self._queue.put(None)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._queue.get, None)


LARGE_REQUEST = pb.SimpleRequest(response_size=ANSWER, payload=payload(LARGE))

# --- unary


def empty_unary(target: Target) -> None:
    assert target.stub.EmptyCall(pb.Empty(), timeout=PATIENCE) == pb.Empty()


def large_unary(target: Target) -> None:
    reply = target.stub.UnaryCall(LARGE_REQUEST, timeout=PATIENCE)
    assert reply.payload.body == bytes(ANSWER)


def custom_metadata_unary(target: Target) -> None:
    metadata = ((ECHO_INITIAL, "test_initial_metadata_value"), (ECHO_TRAILING, b"\xab\xab\xab"))
    _, call = target.stub.UnaryCall.with_call(LARGE_REQUEST, metadata=metadata, timeout=PATIENCE)
    assert dict(call.initial_metadata())[ECHO_INITIAL] == "test_initial_metadata_value"
    assert dict(call.trailing_metadata())[ECHO_TRAILING] == b"\xab\xab\xab"


def status_code_and_message_unary(target: Target) -> None:
    status = pb.EchoStatus(code=2, message="test status message")
    error = failure(lambda: target.stub.UnaryCall(pb.SimpleRequest(response_status=status), timeout=PATIENCE))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "test status message")


def special_status_message(target: Target) -> None:
    text = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
    status = pb.EchoStatus(code=2, message=text)
    error = failure(lambda: target.stub.UnaryCall(pb.SimpleRequest(response_status=status), timeout=PATIENCE))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, text)


def unimplemented_method(target: Target) -> None:
    error = failure(lambda: target.stub.UnimplementedCall(pb.Empty(), timeout=PATIENCE))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def unimplemented_service(target: Target) -> None:
    stub = pb_grpc.UnimplementedServiceStub(target.channel)
    error = failure(lambda: stub.UnimplementedCall(pb.Empty(), timeout=PATIENCE))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def concurrent_large_unary(target: Target) -> None:
    """Far more calls than streams that a connection may have at once."""
    calls = [target.stub.UnaryCall.future(LARGE_REQUEST, timeout=3 * PATIENCE) for _ in range(1000)]
    assert {len(call.result().payload.body) for call in calls} == {ANSWER}


# --- streams


def client_streaming(target: Target) -> None:
    requests = [pb.StreamingInputCallRequest(payload=payload(size)) for size in (27182, 8, 1828, 45904)]
    reply = target.stub.StreamingInputCall(iter(requests), timeout=PATIENCE)
    assert reply.aggregated_payload_size == 74922


def server_streaming(target: Target) -> None:
    request = output_request(31415, 9, 2653, 58979)
    assert sizes(target.stub.StreamingOutputCall(request, timeout=PATIENCE)) == [31415, 9, 2653, 58979]


def ping_pong(target: Target) -> None:
    sent = Sent()
    replies = target.stub.FullDuplexCall(iter(sent), timeout=PATIENCE)
    for size, body in ((31415, 27182), (9, 8), (2653, 1828), (58979, 45904)):
        sent.put(output_request(size, body=body))
        assert len(next(replies).payload.body) == size
    sent.end()
    assert list(replies) == []
    assert replies.code() is grpc.StatusCode.OK


def empty_stream(target: Target) -> None:
    replies = target.stub.FullDuplexCall(iter(()), timeout=PATIENCE)
    assert list(replies) == []
    assert replies.code() is grpc.StatusCode.OK


def custom_metadata_stream(target: Target) -> None:
    metadata = ((ECHO_INITIAL, "test_initial_metadata_value"), (ECHO_TRAILING, b"\xab\xab\xab"))
    requests = iter([output_request(ANSWER, body=LARGE)])
    call = target.stub.FullDuplexCall(requests, metadata=metadata, timeout=PATIENCE)
    assert sizes(call) == [ANSWER]
    assert dict(call.initial_metadata())[ECHO_INITIAL] == "test_initial_metadata_value"
    assert dict(call.trailing_metadata())[ECHO_TRAILING] == b"\xab\xab\xab"


def status_code_and_message_stream(target: Target) -> None:
    request = output_request(response_status=pb.EchoStatus(code=2, message="test status message"))
    error = failure(lambda: list(target.stub.FullDuplexCall(iter([request]), timeout=PATIENCE)))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "test status message")


def cancel_after_begin(target: Target) -> None:
    sent = Sent()
    call = target.stub.StreamingInputCall.future(iter(sent), timeout=PATIENCE)
    call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED
    sent.end()
    empty_unary(target)


def cancel_after_first_response(target: Target) -> None:
    sent = Sent()
    replies = target.stub.FullDuplexCall(iter(sent), timeout=PATIENCE)
    sent.put(output_request(31415, body=27182))
    assert len(next(replies).payload.body) == 31415
    replies.cancel()
    assert failure(lambda: next(replies)).code() is grpc.StatusCode.CANCELLED
    sent.end()


def timeout_on_sleeping_server(target: Target) -> None:
    sent = Sent()
    replies = target.stub.FullDuplexCall(iter(sent), timeout=0.001)
    sent.put(output_request(body=27182))
    assert failure(lambda: list(replies)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    sent.end()


# --- compressed: what a client of grpcio neither sees nor chooses


def client_compressed_unary(target: Target) -> None:
    def ask(expected: bool, compress: bool) -> raw_call.Outcome:
        request = pb.SimpleRequest(
            response_size=ANSWER, payload=payload(LARGE), expect_compressed=pb.BoolValue(value=expected)
        )
        return raw_call.call(target.port, f"{SERVICE}/UnaryCall", (compress, request.SerializeToString()))

    assert ask(expected=True, compress=False).trailers["grpc-status"] == "3"
    for compressed in (True, False):
        outcome = ask(compressed, compressed)
        assert outcome.trailers["grpc-status"] == "0"
        assert len(pb.SimpleResponse.FromString(outcome.messages[0][1]).payload.body) == ANSWER


def server_compressed_unary(target: Target) -> None:
    for compressed in (True, False):
        request = pb.SimpleRequest(
            response_size=ANSWER, payload=payload(LARGE), response_compressed=pb.BoolValue(value=compressed)
        )
        outcome = raw_call.call(target.port, f"{SERVICE}/UnaryCall", (False, request.SerializeToString()))
        assert outcome.trailers["grpc-status"] == "0"
        ((flag, message),) = outcome.messages
        assert flag is compressed
        assert len(pb.SimpleResponse.FromString(message).payload.body) == ANSWER


def client_compressed_streaming(target: Target) -> None:
    def message(expected: bool, size: int) -> bytes:
        request = pb.StreamingInputCallRequest(payload=payload(size), expect_compressed=pb.BoolValue(value=expected))
        data: bytes = request.SerializeToString()
        return data

    path = f"{SERVICE}/StreamingInputCall"
    assert raw_call.call(target.port, path, (False, message(True, 27182))).trailers["grpc-status"] == "3"
    outcome = raw_call.call(target.port, path, (True, message(True, 27182)), (False, message(False, 45904)))
    assert outcome.trailers["grpc-status"] == "0"
    assert pb.StreamingInputCallResponse.FromString(outcome.messages[0][1]).aggregated_payload_size == 73086


def server_compressed_streaming(target: Target) -> None:
    wanted = ((31415, True), (92653, False))
    parameters = [pb.ResponseParameters(size=size, compressed=pb.BoolValue(value=flag)) for size, flag in wanted]
    request = pb.StreamingOutputCallRequest(response_parameters=parameters)
    outcome = raw_call.call(target.port, f"{SERVICE}/StreamingOutputCall", (False, request.SerializeToString()))
    assert outcome.trailers["grpc-status"] == "0"
    found = [
        (len(pb.StreamingOutputCallResponse.FromString(message).payload.body), flag)
        for flag, message in outcome.messages
    ]
    assert found == list(wanted)


UNARY = (
    empty_unary,
    large_unary,
    custom_metadata_unary,
    status_code_and_message_unary,
    special_status_message,
    unimplemented_method,
    unimplemented_service,
    concurrent_large_unary,
)
STREAMS = (
    client_streaming,
    server_streaming,
    ping_pong,
    empty_stream,
    custom_metadata_stream,
    status_code_and_message_stream,
    cancel_after_begin,
    cancel_after_first_response,
    timeout_on_sleeping_server,
)
COMPRESSED = (client_compressed_unary, server_compressed_unary)
COMPRESSED_STREAMS = (client_compressed_streaming, server_compressed_streaming)


def rows() -> Iterator[Any]:
    """Row and server: in cleartext only what looks at bytes.

    grpcio's server is not asked whether its request was compressed, which it cannot see, nor to compress a unary
    answer: grpc.aio sends it as it is.
    """
    for row in (*UNARY, *STREAMS, *COMPRESSED, *COMPRESSED_STREAMS):
        yield pytest.param(row, "fastnet", id=f"{row.__name__}-fastnet")
        if row not in (*COMPRESSED, *COMPRESSED_STREAMS):
            yield pytest.param(row, "fastnet_tls", id=f"{row.__name__}-fastnet over TLS")
        if row not in (*COMPRESSED, client_compressed_streaming):
            yield pytest.param(row, "grpcio", id=f"{row.__name__}-grpcio")


@pytest.mark.parametrize(("row", "server"), list(rows()))
def test_row(row: Callable[[Target], None], server: str, request: pytest.FixtureRequest) -> None:
    row(request.getfixturevalue(server))
