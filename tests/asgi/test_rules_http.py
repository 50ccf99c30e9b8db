"""The HTTP half of the ASGI specification, rule by rule, over raw sockets."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.asgi.mounted import START, Gate, Message, Receive, Send, body, serving, stuck_at, whole_body
from tests.wire.live import until


async def hello(scope: Message, receive: Receive, send: Send) -> None:
    await send({**START, "headers": [(b"content-type", b"text/plain"), (b"x-a", b"1"), (b"x-a", b"2")]})
    await send(body(b"hello"))


# --- answers


def test_an_answer_in_one_piece_has_a_length() -> None:
    with serving(hello) as server, server.peer() as peer:
        answer = peer.get("/").answer()
        assert (answer.status, answer.body, answer["content-length"]) == (200, b"hello", "5")
        assert [value for name, value in answer.fields if name == "x-a"] == ["1", "2"]
        assert answer["date"]
        assert peer.get("/").answer().body == b"hello"


def test_pieces_are_chunks_and_each_leaves_at_once() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"one", more=True))
        await send(body(b"", more=True))
        await asyncio.sleep(0)
        await send(body(b"two", more=True))
        await send(body(b"three"))

    with serving(application) as server, server.peer() as peer:
        answer = peer.get("/").answer()
        assert (answer["transfer-encoding"], answer.chunks) == ("chunked", [b"one", b"two", b"three"])


def test_nothing_leaves_before_the_first_piece() -> None:
    release: list[Any] = []

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        release.append((asyncio.get_running_loop(), future := asyncio.get_running_loop().create_future()))
        await future
        raise ValueError("before the body")

    with serving(application) as server, server.peer() as peer:
        peer.get("/")
        until(lambda: bool(release))
        loop, future = release[0]
        loop.call_soon_threadsafe(future.set_result, None)
        assert peer.answer().status == 500


def test_a_length_that_was_told_is_kept() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"Content-Length", b"6")]})
        await send(body(b"abc", more=True))
        await send(body(b"def"))

    with serving(application) as server, server.peer() as peer:
        answer = peer.get("/").answer()
        assert (answer["content-length"], answer["transfer-encoding"], answer.body) == ("6", None, b"abcdef")


@pytest.mark.parametrize("told", [b"", b"5"])
def test_head_has_no_body(told: bytes) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-length", told)] if told else []})
        await send(body(b"hello" if scope["path"] == "/with" else b""))

    with serving(application) as server, server.peer() as peer:
        for target in ("/with", "/without") if told else ("/with",):
            peer.send(f"HEAD {target} HTTP/1.1\r\nhost: t\r\n\r\n".encode())
            answer = peer.answer("HEAD")
            assert (answer.status, answer["content-length"]) == (200, "5")
        peer.send(b"HEAD /without HTTP/1.1\r\nhost: t\r\n\r\n")
        answer = peer.answer("HEAD")
        # Only GET would know a length that was not told.
        assert answer["content-length"] == (told.decode() or None)


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(status: int) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send({**START, "status": status})
        await send(body(b"nobody sees this"))

    with serving(application) as server, server.peer() as peer:
        assert peer.get("/").answer().status == status
        assert peer.get("/").answer().status == status


def test_http_1_0_gets_no_chunks() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"one", more=True))
        await send(body(b"two"))

    with serving(application) as server, server.peer() as peer:
        answer = peer.send(b"GET / HTTP/1.0\r\n\r\n").answer()
        assert (answer["transfer-encoding"], answer["connection"], answer.body) == (None, "close", b"onetwo")


def test_what_frames_a_message_is_the_servers() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        headers = [
            (b"Transfer-Encoding", b"gzip"),
            (b"keep-alive", b"timeout=1"),
            (b"connection", b"keep-alive"),
            (b"upgrade", b"h2c"),
        ]
        await send({**START, "headers": headers})
        await send(body(b"hello"))

    with serving(application) as server, server.peer() as peer:
        answer = peer.get("/").answer()
        assert (answer["content-length"], answer["transfer-encoding"], answer["connection"]) == ("5", None, None)
        assert (answer["keep-alive"], answer["upgrade"]) == (None, None)


def test_an_application_may_close_the_connection() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [[b"connection", b"Close"]]})
        await send(body(b"bye"))

    with serving(application) as server, server.peer() as peer:
        assert peer.get("/").answer()["connection"] == "close"
        assert peer.closed()


def test_pipelined_requests_are_answered_in_order() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await asyncio.sleep(0.02)
        await send(START)
        await send(body(scope["raw_path"]))

    with serving(application) as server, server.peer() as peer:
        for target in ("/slow", "/b", "/slow", "/d"):
            peer.get(target)
        assert [peer.answer().body for _ in range(4)] == [b"/slow", b"/b", b"/slow", b"/d"]


def test_what_runs_after_the_answer_holds_up_nobody() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"fine"))
        await gate.passed()

    gate = Gate()
    with serving(application) as server, server.peer() as peer:
        assert [peer.get("/").answer().body for _ in range(3)] == [b"fine"] * 3
        assert server.notes.ended == 0
        gate.open()
        server.notes.wait(3)


# --- requests


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 1000, 300_000, 3_000_000])
def test_a_body_arrives_whole_whatever_its_size(size: int, chunked: bool) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        data = await whole_body(receive)
        await send(START)
        await send(body(b"%d %d" % (len(data), data.count(b"x"))))

    with serving(application) as server, server.peer() as peer:
        if chunked:
            peer.send(b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n")
            if size:
                peer.send(b"%x\r\n%s\r\n" % (size, b"x" * size))
            peer.send(b"0\r\n\r\n")
        else:
            peer.post("/", b"x" * size)
        assert peer.answer().body == b"%d %d" % (size, size)
        assert server.notes.received[-1]["more_body"] is False


def test_a_body_that_came_with_its_head_is_one_message() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        assert await receive() == {"type": "http.request", "body": b"small", "more_body": False}
        await send(START)
        await send(body(b"fine"))

    with serving(application) as server, server.peer() as peer:
        assert peer.post("/", b"small").answer().body == b"fine"


def test_a_body_that_nobody_reads_keeps_the_peer_waiting() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await gate.passed()
        data = await whole_body(receive)
        await send(START)
        await send(body(b"%d" % len(data)))

    gate = Gate()
    size = 20_000_000
    with serving(application) as server, server.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: %d\r\n\r\n" % size)
        peer.sock.settimeout(0.5)
        sent = 0
        with suppress(TimeoutError):
            while sent < size:
                sent += peer.sock.send(bytes(65536))
        assert sent < size
        assert server.counters["bytes_buffered"] < 2**20
        gate.open()
        peer.sock.settimeout(10)
        peer.send(bytes(size - sent))
        assert peer.answer().body == b"%d" % size


def test_100_continue_is_said_when_the_body_is_asked_for() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["path"] == "/reads":
            await whole_body(receive)
        await send(START)
        await send(body(b"fine"))

    head = b"POST /%s HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n"
    with serving(application) as server, server.peer() as peer:
        assert peer.send(head % b"reads").answer().status == 100
        assert peer.send(b"body").answer().status == 200
        assert peer.send(head % b"not").answer().status == 200
        assert peer.closed()


def test_receive_after_the_answer_is_a_disconnect() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await send(START)
        await send(body(b"fine"))
        assert await waiting == {"type": "http.disconnect"}
        assert await receive() == {"type": "http.disconnect"}

    with serving(application) as server, server.peer() as peer:
        assert peer.get("/").answer().body == b"fine"
        assert not server.notes.wait().errors


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
def test_a_peer_that_leaves_a_stream_is_told(how: str) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"one", more=True))
        assert (await receive())["type"] == "http.request"
        assert await receive() == {"type": "http.disconnect"}
        # What follows goes nowhere, and raises nothing.
        await send(body(b"two", more=True))
        await send(body(b"three"))

    with serving(application) as server, server.peer() as peer:
        peer.get("/").until(b"one")
        {"close": peer.sock.close, "reset": peer.reset, "half_close": peer.half_close}[how]()
        assert not server.notes.wait().errors


def test_a_peer_that_only_half_closes_gets_a_plain_answer() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.02)
        await send(START)
        await send(body(b"fine"))

    with serving(application) as server, server.peer() as peer:
        assert peer.get("/").half_close().answer().body == b"fine"


def test_a_peer_that_half_closed_has_left_for_whoever_asks() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.05)
        await receive()
        assert await receive() == {"type": "http.disconnect"}
        await send(START)
        await send(body(b"fine"))

    with serving(application) as server, server.peer() as peer:
        peer.get("/").half_close()
        assert not server.notes.wait().errors


def test_a_peer_that_leaves_in_its_body() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    with serving(application) as server, server.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\nabc")
        until(lambda: bool(server.notes.received))
        peer.sock.close()
        server.notes.wait()
        assert server.notes.received[0]["body"] == b"abc"
        assert not server.notes.errors


def test_several_may_receive() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        both = await asyncio.gather(receive(), receive(), receive())
        assert sorted(message["type"] for message in both) == ["http.disconnect", "http.disconnect", "http.request"]

    with serving(application) as server, server.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\n")
        until(lambda: bool(server.notes.scopes))
        peer.send(b"abc")
        until(lambda: bool(server.notes.received))
        peer.sock.close()
        assert not server.notes.wait().errors


def test_a_cancelled_receive_loses_nothing() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        first = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.001)
        ready.append(1)
        assert await whole_body(receive) == b"abc"
        await send(START)
        await send(body(b"fine"))

    ready: list[int] = []
    with serving(application) as server, server.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\n")
        until(lambda: bool(ready))
        assert peer.send(b"abc").answer().body == b"fine"


def test_a_slow_peer_makes_send_wait() -> None:
    sent: list[int] = []

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        for _ in range(400):
            await send(body(bytes(65536), more=True))
            sent.append(1)
        await send(body())

    with serving(application) as server, server.peer(receive_buffer=4096) as peer:
        peer.get("/")
        assert stuck_at(peer, sent) < 390
        assert server.counters["bytes_buffered"] < 2**20


def test_who_sends_for_ever_stops_neither_the_loop_nor_the_others() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        while scope["path"] == "/endless" and not over:
            await send(body(b"x" * 1000, more=True))
        await send(body(b"fine"))

    over: list[int] = []
    with serving(application) as server, server.peer() as endless, server.peer() as other:
        endless.get("/endless").until(b"x" * 1000)
        assert other.get("/").answer().body == b"fine"
        endless.reset()
        assert other.get("/").answer().body == b"fine"
        over.append(1)
        server.notes.wait(3)


# --- extensions


def test_early_hints_come_before_the_answer() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        assert scope["extensions"]["http.response.early_hint"] == {}
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]})
        await send(START)
        await send({"type": "http.response.early_hint", "links": [b"</c>; rel=preload"]})
        await send(body(b"fine", more=True))
        await send({"type": "http.response.early_hint", "links": [b"</too-late>; rel=preload"]})
        await send(body())

    with serving(application) as server, server.peer() as peer:
        first, second, last = [peer.answer() for _ in range(3)] if peer.get("/") else []
        assert [value for name, value in first.fields if name == "link"] == [
            "</a.css>; rel=preload",
            "</b.js>; rel=preload",
        ]
        assert (first.status, second.status, second["link"]) == (103, 103, "</c>; rel=preload")
        assert (last.status, last.body, last["link"]) == (200, b"fine", None)


@pytest.mark.parametrize("accepts", [True, False])
def test_trailers_go_to_who_takes_them(accepts: bool) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send({**START, "trailers": True})
        await send(body(b"data"))
        await send({"type": "http.response.trailers", "headers": [(b"X-Sum", b"1")], "more_trailers": True})
        await send({"type": "http.response.trailers", "headers": [(b"x-end", b"2")]})

    with serving(application) as server, server.peer() as peer:
        answer = peer.get("/", *(["te: trailers", "connection: te"] if accepts else [])).answer()
        assert answer.body == b"data"
        assert answer.trailers == ([("x-sum", "1"), ("x-end", "2")] if accepts else [])
        assert peer.get("/").answer().body == b"data"
        assert not server.notes.errors


@pytest.mark.parametrize("size", [0, 1, 262_144, 1_000_000])
def test_a_file_is_sent_by_its_path(tmp_path: Path, size: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(i % 251 for i in range(size)))

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.pathsend", "path": str(file)})

    with serving(application) as server, server.peer() as peer:
        assert peer.get("/").answer().body == file.read_bytes()
        peer.send(b"HEAD / HTTP/1.1\r\nhost: t\r\n\r\n")
        assert peer.answer("HEAD")["content-length"] == str(size)
        assert peer.get("/").answer().body == file.read_bytes()


@pytest.mark.parametrize("path", ["relative", "/does/not/exist", None])
def test_a_path_that_is_none_is_a_500(path: str | None) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.pathsend", "path": path})

    with serving(application) as server, server.peer() as peer:
        assert peer.get("/").answer().status == 500
        assert isinstance(server.notes.errors[0], OSError if path == "/does/not/exist" else ValueError)


# --- what an application may not do: the exception names the rule, the wire gets a 500, the server goes on

TOO_EARLY: list[tuple[list[Message], type[Exception], str]] = [
    ([body(b"x")], RuntimeError, "http.response.start comes first"),
    ([{"type": "http.response.trailers"}], RuntimeError, "http.response.start comes first"),
    ([START, START], RuntimeError, "the answer has begun already"),
    ([START, {"type": "http.response.trailers"}], RuntimeError, "announced by trailers=True"),
    ([{"type": "websocket.accept"}], RuntimeError, "'websocket.accept' is no message that an HTTP application sends"),
    ([{"type": None}], RuntimeError, "None is no message"),
    ([{}], RuntimeError, "None is no message"),
    ([{**START, "status": "200"}], ValueError, "status is a number from 200 to 599, not '200'"),
    ([{**START, "status": 101}], ValueError, "status is a number"),
    ([{"type": "http.response.start"}], ValueError, "status is a number"),
    ([{**START, "headers": [("a", "b")]}], TypeError, "headers are pairs of bytes, not (str, str)"),
    ([{**START, "headers": [(b"a", 1)]}], TypeError, "headers are pairs of bytes, not (bytes, int)"),
    ([{**START, "headers": [(b"a\r\nb", b"x")]}], ValueError, "is no header name"),
    ([{**START, "headers": [(b"a", b"x\r\ny: z")]}], ValueError, "has a control character"),
    ([{**START, "headers": [(b"a", b"x\0")]}], ValueError, "has a control character"),
    ([{**START, "headers": [(b"content-length", b"-1")]}], ValueError, "must be a decimal number"),
    ([START, body("text")], TypeError, "body is bytes, not str"),  # type: ignore[arg-type]
    ([{**START, "headers": [(b"content-length", b"3")]}, body(b"four")], ValueError, "content-length says 3"),
    ([{**START, "headers": [(b"content-length", b"9")]}, body(b"four")], ValueError, "content-length says 9"),
    ([{"type": "http.response.early_hint", "links": ["text"]}], TypeError, "links are bytes, not str"),
    ([{"type": "http.response.early_hint", "links": [b"a\nb"]}], ValueError, "has a control character"),
]


@pytest.mark.parametrize(("messages", "kind", "text"), TOO_EARLY)
def test_a_wrong_message_before_the_answer(messages: list[Message], kind: type[Exception], text: str) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wrong":
            for message in messages:
                await send(message)
        else:
            await hello(scope, receive, send)

    with serving(application) as server, server.peer() as peer:
        answer = peer.get("/wrong").answer()
        assert (answer.status, answer["content-type"]) == (500, "application/problem+json")
        assert b"Traceback" not in answer.body
        assert text.encode() not in answer.body
        assert peer.get("/").answer().body == b"hello"
        (error,) = server.notes.errors
        assert type(error) is kind
        assert text in str(error)


TOO_LATE: list[tuple[list[Message], type[Exception], str]] = [
    ([START], RuntimeError, "the answer has begun already"),
    ([{**body(b"x"), "body": 5}], TypeError, "body is bytes, not int"),
    ([{"type": "http.response.pathsend", "path": "/x"}], RuntimeError, "it is the whole body"),
    ([{"type": "nonsense"}], RuntimeError, "'nonsense' is no message"),
]


@pytest.mark.parametrize(("messages", "kind", "text"), TOO_LATE)
def test_a_wrong_message_in_the_middle_ends_the_connection(
    messages: list[Message], kind: type[Exception], text: str
) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"begun", more=True))
        for message in messages:
            await send(message)

    with serving(application) as server, server.peer() as peer:
        peer.get("/").until(b"begun")
        with pytest.raises((ConnectionResetError, EOFError)):
            peer.exactly(100)
        (error,) = server.notes.wait().errors
        assert type(error) is kind
        assert text in str(error)
        with server.peer() as other:
            # Others are served as ever.
            other.get("/").until(b"begun")


@pytest.mark.parametrize("pieces", [[b"abcdef", b"ghijkl"], [b"abc", b""]], ids=["longer", "shorter"])
def test_a_body_that_breaks_its_length_ends_the_connection(pieces: list[bytes]) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-length", b"8")]})
        await send(body(pieces[0], more=True))
        await send(body(pieces[1]))

    with serving(application) as server, server.peer() as peer:
        assert peer.get("/").until(pieces[0])
        with pytest.raises((ConnectionResetError, EOFError)):
            peer.exactly(100)
        (error,) = server.notes.wait().errors
        assert "content-length" in str(error)


@pytest.mark.parametrize("message", [START, body(b"x"), {"type": "http.response.trailers"}])
def test_a_message_after_the_answer(message: Message, caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        await send(message)

    with serving(application) as server, server.peer() as peer:
        assert peer.get("/").answer().body == b"hello"
        (error,) = server.notes.wait().errors
        assert "the answer is complete" in str(error)
        assert peer.get("/").answer().body == b"hello"
        until(lambda: "after its answer was complete" in caplog.text)


@pytest.mark.parametrize("ending", ["returns", "starts and returns", "raises"])
def test_an_application_without_an_answer_is_a_500(ending: str, caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if ending == "starts and returns":
            await send(START)
        if ending == "raises":
            raise KeyError("secret")

    with serving(application) as server, server.peer() as peer:
        answer = peer.get("/").answer()
        assert answer.status == 500
        assert b"secret" not in answer.body
        assert ("secret" if ending == "raises" else "returned without an answer") in caplog.text
        assert peer.get("/").answer().status == 500


@pytest.mark.parametrize("raises", [True, False])
def test_an_answer_that_is_left_open_ends_the_connection(raises: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"begun", more=True))
        if raises:
            raise KeyError("midway")

    with serving(application) as server, server.peer() as peer:
        peer.get("/").until(b"begun")
        with pytest.raises((ConnectionResetError, EOFError)):
            peer.exactly(100)
        until(lambda: ("midway" if raises else "before its answer was complete") in caplog.text)


def test_a_value_that_is_returned_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> Any:
        await hello(scope, receive, send)
        return "a value"

    with serving(application) as server, server.peer() as peer, caplog.at_level(logging.ERROR):
        assert peer.get("/").answer().body == b"hello"
        until(lambda: "returned 'a value'" in caplog.text)


def test_the_time_until_the_answer_begins_is_limited() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await asyncio.sleep(60)

    with serving(application, timeout=0.2) as server, server.peer() as peer:
        assert peer.get("/").answer().status == 503
        (error,) = server.notes.wait().errors
        assert isinstance(error, asyncio.CancelledError)


def test_a_limit_on_bodies_is_413_and_the_application_sees_its_client_leave() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    with serving(application, max_body=1000) as server:
        with server.peer() as peer:
            assert peer.post("/", bytes(1001)).answer().status == 413
        assert not server.notes.scopes
        with server.peer() as peer:
            peer.send(b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n3e8\r\n%s\r\n" % bytes(1000))
            until(lambda: bool(server.notes.received))
            peer.send(b"1\r\nx\r\n")
            assert peer.answer().status == 413
        assert not server.notes.wait().errors


def test_a_stop_ends_what_streams_for_ever() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"begun", more=True))
        await receive()
        assert (await receive())["type"] == "http.disconnect"

    with serving(application, timeout_drain=0.2) as server, server.peer() as peer:
        peer.get("/").until(b"begun")
    assert server.notes.ended == 1
