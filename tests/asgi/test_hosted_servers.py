"""The contract, and what peers may do, under uvicorn, Hypercorn and Granian."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import h2.events
import orjson
import pytest

from tests.asgi.hosts import Host, hosted
from tests.wire.h2peer import H2Peer
from tests.wire.live import Answer, until

pytest.importorskip("uvicorn")
pytest.importorskip("hypercorn")
pytest.importorskip("granian")
httpx = pytest.importorskip("httpx")
client = pytest.importorskip("websockets.sync.client")
exceptions = pytest.importorskip("websockets.exceptions")

SERVERS = ["uvicorn", "hypercorn", "granian"]


@pytest.fixture(scope="module", params=SERVERS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with hosted(request.param) as running:
        yield running


def get(host: Host, target: str, *fields: str) -> Answer:
    with host.peer() as peer:
        return peer.get(target, *fields).answer()


def post(host: Host, target: str, body: bytes, *fields: str) -> Answer:
    with host.peer() as peer:
        return peer.post(target, body, *fields).answer()


def json(answer: Answer) -> Any:
    return orjson.loads(answer.body)


# --- HTTP


def test_text(host: Host) -> None:
    answer = get(host, "/")
    assert (answer.status, answer.body, answer["content-type"]) == (
        200,
        b"Hello, World!",
        "text/plain; charset=utf-8",
    )
    assert (answer["content-length"], answer["x-served-by"]) == ("13", "fastnet")


def test_typed_parameters(host: Host) -> None:
    assert json(get(host, "/users/7?verbose=true")) == {"id": 7, "verbose": True}
    assert get(host, "/users/seven").status == 422


def test_typed_bodies(host: Host) -> None:
    answer = post(host, "/users", b'{"name":"ada","age":36}', "content-type: application/json")
    assert (answer.status, json(answer)) == (201, {"name": "ada", "age": 36})
    assert post(host, "/users", b'{"name":"","age":-1}', "content-type: application/json").status == 422


def test_streams(host: Host) -> None:
    answer = get(host, "/report")
    # It was all there at once: Granian then finds its length.
    framing = answer["transfer-encoding"], answer["content-length"]
    assert framing in (("chunked", None), (None, "21"))
    assert answer.body == b"line 0\nline 1\nline 2\n"


def test_event_streams(host: Host) -> None:
    answer = get(host, "/events")
    assert answer["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.body.count(b"event: tick\n") == 3


def test_dependencies(host: Host) -> None:
    assert get(host, "/me").status == 422
    assert get(host, "/me", "authorization: wrong").status == 401
    assert json(get(host, "/me", "authorization: secret")) == {"name": "ada", "age": 36}


def test_head(host: Host) -> None:
    with host.peer() as peer:
        peer.send(b"HEAD / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
        answer = peer.answer("HEAD")
        assert (answer.status, answer["content-length"], peer.rest()) == (200, "13", b"")


def test_errors(host: Host) -> None:
    assert get(host, "/absent").status == 404
    answer = get(host, "/fails")
    assert answer.status == 500
    assert b"secret" not in answer.body
    with host.peer() as peer:
        answer = peer.send(b"DELETE / HTTP/1.1\r\nhost: t\r\ncontent-length: 0\r\n\r\n").answer()
        assert (answer.status, answer["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert get(host, "/report/").status == 308


def test_the_lifespan_has_run(host: Host) -> None:
    assert json(get(host, "/ready")) is True


def test_what_the_handler_sees_of_the_request(host: Host) -> None:
    assert json(get(host, "/seen?a=%20b")) == {
        "version": "1.1",
        "scheme": "http",
        "host": "test",
        "client": "127.0.0.1",
        "raw_path": "/seen",
        "url": "http://test/seen?a=%20b",
    }


def test_connections_are_kept(host: Host) -> None:
    with host.peer() as peer:
        for _ in range(5):
            assert peer.get("/").answer().body == b"Hello, World!"
            assert peer.post("/users", b'{"name":"ada"}', "content-type: application/json").answer().status == 201
            assert peer.get("/report").answer().body.endswith(b"line 2\n")


# --- bodies


@pytest.mark.parametrize(("size", "pieces"), [(1024 * 1024, 1), (64 * 1024, 64), (1, 1000)])
def test_large_answers(host: Host, size: int, pieces: int) -> None:
    assert len(get(host, f"/large?size={size}&pieces={pieces}").body) == size * pieces


def test_large_bodies(host: Host) -> None:
    assert json(post(host, "/count", b"x" * 8 * 1024 * 1024)) == {"bytes": 8 * 1024 * 1024}


def test_bodies_in_chunks(host: Host) -> None:
    with host.peer() as peer:
        peer.send(b"POST /count HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(100):
            peer.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        assert json(peer.send(b"0\r\n\r\n").answer()) == {"bytes": 100_000}


def test_bodies_above_the_limit(host: Host) -> None:
    with host.peer() as peer:
        peer.send(b"POST /users HTTP/1.1\r\nhost: t\r\ncontent-length: 999999999\r\n\r\n")
        assert peer.answer().status == 413
    with host.peer() as peer:
        peer.send(b"POST /users HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n")
        peer.send(b"80000\r\n" + b"x" * 0x80000 + b"\r\n")
        peer.send(b"80001\r\n" + b"x" * 0x80001 + b"\r\n")
        assert peer.answer().status == 413


def test_continue_is_said_when_the_body_is_wanted(host: Host) -> None:
    with host.peer() as peer:
        peer.send(b"POST /count HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        assert peer.answer().status == 100
        assert json(peer.send(b"abc").answer()) == {"bytes": 3}


def test_trailers_where_the_server_has_them(host: Host) -> None:
    answer = get(host, "/summed", "te: trailers")
    # None of them has the extension over HTTP/1.1.
    assert (answer.body, answer.trailers) == (b"abc", [])


def test_an_answer_that_breaks_midway_does_not_look_whole(host: Host) -> None:
    with host.peer() as peer:
        peer.get("/breaks")
        assert b"begun" in peer.until(b"begun")
        try:
            rest = peer.rest()
        except ConnectionResetError:
            return
        assert not rest.endswith(b"0\r\n\r\n")


# --- peers that leave


def leave_in_a_body(host: Host) -> None:
    with host.peer() as peer:
        peer.send(b"POST /users HTTP/1.1\r\nhost: t\r\ncontent-length: 1000\r\n\r\n{")


def leave_in_a_streamed_body(host: Host) -> None:
    with host.peer() as peer:
        peer.send(b"POST /count HTTP/1.1\r\nhost: t\r\ncontent-length: 1000\r\n\r\nabc")


def leave_in_a_stream(host: Host) -> None:
    with host.peer() as peer:
        peer.get("/endless").until(b"tick")


def reset_in_a_stream(host: Host) -> None:
    with host.peer() as peer:
        peer.get("/endless").until(b"tick")
        peer.reset()


def leave_before_the_answer(host: Host) -> None:
    with host.peer() as peer:
        peer.get("/large?size=100000&pieces=100")


def leave_a_websocket(host: Host) -> None:
    with client.connect(f"ws://127.0.0.1:{host.port}/waits") as ws:
        ws.socket.shutdown(socket.SHUT_RDWR)


def break_an_answer(host: Host) -> None:
    with host.peer() as peer:
        peer.get("/breaks").until(b"begun")


def echo_once(host: Host) -> None:
    with client.connect(f"ws://127.0.0.1:{host.port}/echo") as ws:
        ws.send("x")
        assert ws.recv() == "x"


ENDINGS: list[Callable[[Host], None]] = [
    leave_in_a_body,
    leave_in_a_streamed_body,
    leave_in_a_stream,
    reset_in_a_stream,
    leave_before_the_answer,
    leave_a_websocket,
    break_an_answer,
    echo_once,
    lambda host: test_bodies_above_the_limit(host),
    lambda host: test_text(host),
]


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_left_of(host: Host, ending: Callable[[Host], None]) -> None:
    def process() -> dict[str, int]:
        found: dict[str, int] = json(get(host, "/process"))
        return found

    ending(host)
    until(lambda: process()["streams"] == 0)
    before = process()
    for _ in range(20):
        ending(host)
    # One that is over more or less may still be on its way; one for each would be too many.
    until(lambda: process()["streams"] == 0 and process()["tasks"] < before["tasks"] + 10)
    until(lambda: process()["objects"] < before["objects"] + 10)
    assert get(host, "/").status == 200


# --- WebSocket


def connect(host: Host, path: str, **options: Any) -> Any:
    return client.connect(f"ws://127.0.0.1:{host.port}{path}", **options)


def test_messages_of_both_kinds(host: Host) -> None:
    with connect(host, "/echo") as ws:
        for message in ("héllo", "", b"\0\1\2", "x" * 100_000, b"y" * 100_000):
            ws.send(message)
            assert ws.recv(timeout=10) == message


def test_many_messages(host: Host) -> None:
    with connect(host, "/echo") as ws:
        for i in range(200):
            ws.send(str(i))
        assert [ws.recv(timeout=10) for _ in range(200)] == [str(i) for i in range(200)]


def test_subprotocols(host: Host) -> None:
    with connect(host, "/echo", subprotocols=["other", "chat"]) as ws:
        ws.send("x")
        assert (ws.recv(timeout=10), ws.subprotocol) == ("x", "chat")


def test_the_handler_closes(host: Host) -> None:
    with connect(host, "/bye") as ws:
        ws.send("x")
        with pytest.raises(exceptions.ConnectionClosed) as closed:
            ws.recv(timeout=10)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")


def test_a_message_above_the_limit(host: Host) -> None:
    with connect(host, "/echo") as ws:
        ws.send(b"x" * (1024 * 1024 + 1))
        with pytest.raises(exceptions.ConnectionClosed) as closed:
            ws.recv(timeout=10)
    assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize(("path", "status"), [("/private", 422), ("/absent", 404)])
def test_refused_hand_shakes(host: Host, path: str, status: int) -> None:
    with pytest.raises(exceptions.InvalidStatus) as refused:
        connect(host, path)
    assert refused.value.response.status_code == status


def test_dependencies_of_a_websocket(host: Host) -> None:
    with connect(host, "/private", additional_headers={"authorization": "secret"}) as ws:
        assert ws.recv(timeout=10) == "ada"


# --- gRPC


def test_grpc_is_told_where_it_is_served(host: Host) -> None:
    answer = post(host, "/greeter.Greeter/SayHello", b"\0\0\0\0\0", "content-type: application/grpc", "te: trailers")
    assert (answer.status, answer["grpc-status"]) == (200, "12")
    assert "fastnet run" in (answer["grpc-message"] or "")


# --- HTTP/2, which two of them have


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
def test_http2(server: str) -> None:
    with (
        hosted(server) as host,
        httpx.Client(http1=False, http2=True, base_url=f"http://127.0.0.1:{host.port}") as session,
    ):
        assert session.get("/").text == "Hello, World!"
        assert session.get("/seen").json()["version"] == "2"
        assert session.post("/users", json={"name": "ada"}).status_code == 201
        assert session.post("/count", content=iter([b"x" * 1000] * 100)).json() == {"bytes": 100_000}
        assert session.get("/report").text == "line 0\nline 1\nline 2\n"
        assert len(session.get("/large?size=65536&pieces=64").content) == 4 * 1024 * 1024
        assert session.head("/").headers["content-length"] == "13"
        refused = session.post(
            "/greeter.Greeter/SayHello", content=b"\0\0\0\0\0", headers={"content-type": "application/grpc"}
        )
        assert refused.headers["grpc-status"] == "12"


def test_trailers_over_http2() -> None:
    """Of Hypercorn, which has the extension there, for clients that say that they take them."""
    with hosted("hypercorn") as host, H2Peer(host.port) as peer:
        stream = peer.machine.get_next_available_stream_id()
        fields = [(":method", "GET"), (":path", "/summed"), (":scheme", "http"), (":authority", "test")]
        peer.machine.send_headers(stream, [*fields, ("te", "trailers")], end_stream=True)
        peer.flush()
        trailers = peer.wait(h2.events.TrailersReceived, lambda event: event.stream_id == stream)
        assert list(trailers.headers) == [(b"x-sum", b"294")]


# --- start and end


@pytest.mark.parametrize("server", SERVERS)
def test_start_and_end(server: str) -> None:
    with hosted(server) as host:
        assert get(host, "/").status == 200
        peer = host.peer()
        peer.get("/endless").until(b"tick")
        peer.sock.close()
    assert "the app was shut down" in host.log
    assert host.log.count("fastnet run") == 1
    assert "Traceback" not in host.log


@pytest.mark.parametrize("server", SERVERS)
def test_an_app_that_cannot_start(server: str) -> None:
    with hosted(server, "tests.asgi.contract:broken", starts=False) as host:
        pass
    assert host.process.returncode not in (0, None)
    assert "the database is away" in host.log
