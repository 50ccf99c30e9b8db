"""What the log and the counters say of those whom a limit cut off."""

from __future__ import annotations

import logging

import pytest

from fastnet import App
from tests.wire.live import Live, live, until

SHORT = 0.1


def make_app() -> App:
    app = App(max_body=100)

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.post("/")
    async def body(body: bytes) -> str:
        return str(len(body))

    return app


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "fastnet.limits"]


CASES = {
    "request_line": (b"GET /" + b"x" * 9000, 414, "limit_request_line", "8192 bytes"),
    "head": (b"GET / HTTP/1.1\r\nhost: t\r\nx: " + b"x" * 70_000, 431, "limit_head", "65536 bytes"),
    "fields": (b"GET / HTTP/1.1\r\nhost: t\r\n" + b"x: y\r\n" * 200 + b"\r\n", 431, "limit_fields", "128 fields"),
    "body": (b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 101\r\n\r\n", 413, "max_body", "100 bytes"),
    "head_time": (b"GET / HTTP/1.1\r\n", 408, "timeout_head", "0.1 s"),
    "body_time": (b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\nx", 408, "timeout_body", "0.1 s"),
}


@pytest.mark.parametrize("limit", CASES)
def test_each_cut_is_counted_and_names_peer_limit_and_setting(limit: str, caplog: pytest.LogCaptureFixture) -> None:
    data, status, setting, value = CASES[limit]
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(make_app(), timeout_head=SHORT, timeout_body=SHORT) as server, server.peer() as peer:
        assert peer.send(data).answer().status == status
        port = peer.sock.getsockname()[1]
        until(lambda: server.counters[f"limit_{limit}"] == 1)
    (line,) = lines(caplog)
    assert line.startswith(f"listener main: 127.0.0.1:{port}: ")
    assert f"(limit {value}; {setting} changes it): answered {status}" in line
    (record,) = (record for record in caplog.records if record.name == "fastnet.limits")
    assert vars(record)["limit"] == limit
    assert vars(record)["setting"] == setting


def test_a_chunked_body_above_the_limit_counts_as_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(make_app()) as server, server.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n" + b"65\r\n" + b"x" * 101)
        assert peer.answer().status == 413
        assert server.counters["limit_body"] == 1
    assert len(lines(caplog)) == 1


def attack(server: Live, count: int) -> None:
    for _ in range(count):
        with server.peer() as peer:
            assert peer.send(b"GET /" + b"x" * 9000).answer().status == 414


def test_an_attack_is_no_flood_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(make_app(), timeout_idle=0.2) as server, server.peer():
        attack(server, 200)
        assert server.counters["limit_request_line"] == 200
        until(lambda: sum(counted(caplog)) == 200)
    assert len(lines(caplog)) < 100
    assert any("more in the last" in line for line in lines(caplog))


def counted(caplog: pytest.LogCaptureFixture) -> list[int]:
    """Each line's count of attacks."""
    found = [record for record in caplog.records if record.name == "fastnet.limits"]
    found = [record for record in found if vars(record)["limit"] == "request_line"]
    return [vars(record).get("more", 1) for record in found]


def test_a_listener_may_be_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(make_app(), log_level="warning") as server:
        attack(server, 1)
        assert server.counters["limit_request_line"] == 1
    assert lines(caplog) == []


def test_the_end_of_an_idle_connection_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(make_app(), timeout_idle=SHORT) as server, server.peer() as peer:
        peer.get("/").answer()
        assert peer.closed()
        assert server.counters["limit_idle_time"] == 1
    assert lines(caplog) == []
