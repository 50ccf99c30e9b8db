"""What bad input gets: a status with its reason, or the close code of RFC 6455 and then the TCP close."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from fastnet import App
from fastnet.websocket import WebSocket
from tests.websocket.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame, parse
from tests.wire.frames import UPGRADE
from tests.wire.live import Live, live


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    app = App()

    @app.websocket("/echo", max_message=1000)
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    @app.websocket("/listed", origins=["https://app.example"])
    async def listed(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    with live(app) as running:
        yield running


def without(name: str) -> list[str]:
    return [line for line in UPGRADE if not line.startswith(name)]


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        (without("upgrade"), 426, "WebSocket"),
        (without("connection"), 426, "WebSocket"),
        (without("sec-websocket-version"), 426, "version 13"),
        ([*without("sec-websocket-version"), "sec-websocket-version: 8"], 426, "version 13"),
        ([*UPGRADE, "sec-websocket-version: 13"], 400, "more than one Sec-WebSocket-Version"),
        (without("sec-websocket-key"), 400, "Sec-WebSocket-Key"),
        ([*without("sec-websocket-key"), "sec-websocket-key: c2hvcnQ="], 400, "Sec-WebSocket-Key"),
        ([*UPGRADE, "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="], 400, "Sec-WebSocket-Key"),
        ([*UPGRADE, "sec-websocket-protocol: a, a"], 400, "Sec-WebSocket-Protocol"),
        ([*UPGRADE, "sec-websocket-extensions: a b"], 400, "Sec-WebSocket-Extensions"),
        ([*UPGRADE, "origin: https://evil.example"], 403, "origins=[...]"),
        ([*UPGRADE, "origin: null"], 403, "origins=[...]"),
    ],
)
def test_a_wrong_hand_shake(server: Live, fields: list[str], status: int, reason: str) -> None:
    with server.peer().get("/echo", *fields) as peer:
        answer = peer.answer()
        assert answer.status == status
        assert reason in answer.body.decode()
        assert b"Traceback" not in answer.body
        if status == 426:
            assert answer["sec-websocket-version"] == "13"
            assert answer["upgrade"] == "websocket"
        # The connection goes on, with a right one.
        assert peer.get("/echo", *UPGRADE).answer().status == 101
    assert server.settle()["internal"] == 0


def test_a_page_that_is_not_listed(server: Live) -> None:
    with server.peer().get("/listed", *UPGRADE, "origin: https://evil.example") as peer:
        answer = peer.answer()
        assert answer.status == 403
        assert "origins=[...]" in answer.body.decode()
        assert peer.get("/listed", *UPGRADE, "origin: https://app.example").answer().status == 101


FAULTS = {
    "unmasked": (frame(TEXT, b"x", key=None), 1002),
    "unmasked Ping": (frame(PING, key=None), 1002),
    "RSV1": (frame(TEXT, b"x", rsv=4), 1002),
    "RSV2": (frame(TEXT, b"x", rsv=2), 1002),
    "RSV3": (frame(BINARY, b"x", rsv=1), 1002),
    "reserved opcode": (frame(3, b"x"), 1002),
    "reserved control opcode": (frame(0xB), 1002),
    "fragmented control frame": (frame(PING, b"x", fin=False), 1002),
    "long control frame": (frame(PONG, b"x" * 126), 1002),
    "continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "message in a message": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"), 1002),
    "length not in its shortest form": (frame(BINARY, b"x", form=16), 1002),
    "length of 64 bits not in its shortest form": (frame(BINARY, length=200, form=64), 1002),
    "length with its top bit": (frame(BINARY, length=1 << 63, form=64), 1002),
    "text": (frame(TEXT, b"\xff"), 1007),
    "text that ends in a character": (frame(TEXT, "é".encode()[:1]), 1007),
    "text in pieces": (frame(TEXT, b"\xed", fin=False) + frame(CONTINUATION, b"\xa0", fin=False), 1007),
    "message too big": (frame(BINARY, length=1001), 1009),
    "fragments too big": (frame(BINARY, b"x" * 600, fin=False) + frame(CONTINUATION, length=401), 1009),
    "close code of one byte": (frame(CLOSE, b"\x03"), 1002),
    **{
        f"close code {code}": (frame(CLOSE, close_payload(code)), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535)
    },
    "close reason": (frame(CLOSE, close_payload(1000, b"\xff")), 1007),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_after_the_hand_shake(server: Live, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    """What came before it is answered; then the Close with its code; then the end, in both directions."""
    wire, code = FAULTS[fault]
    with caplog.at_level(logging.ERROR), server.peer().get("/echo", *UPGRADE) as peer:
        assert peer.answer().status == 101
        peer.send(frame(TEXT, b"before") + wire + frame(TEXT, b"after"))
        first, *others = parse(peer.rest())
        assert (first.opcode, first.payload) == (TEXT, b"before")
        (close,) = others
        assert close.opcode == CLOSE
        assert int.from_bytes(close.payload[:2]) == code
        assert len(close.payload) > 2, "the reason is said"
    counters = server.settle()
    assert (counters["internal"], counters["bytes_buffered"]) == (0, 0)
    assert caplog.records == []


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])
def test_codes_that_may_be_sent_are_echoed(server: Live, code: int) -> None:
    with server.peer().get("/echo", *UPGRADE) as peer:
        assert peer.answer().status == 101
        peer.send(frame(CLOSE, close_payload(code, "bye")))
        (close,) = parse(peer.rest())
        assert (close.opcode, close.payload[:2]) == (CLOSE, code.to_bytes(2))


def test_a_close_without_a_code_is_echoed_without_one(server: Live) -> None:
    with server.peer().get("/echo", *UPGRADE) as peer:
        assert peer.answer().status == 101
        assert [sent.payload for sent in parse(peer.send(frame(CLOSE)).rest())] == [b""]
