"""The access log: one line for each request, whatever became of it; nothing in it that a peer could forge."""

import asyncio
import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import connect

from fastnet import App, Request, Stream, WebSocket
from fastnet.observability.access import AccessWriter
from fastnet.server import Config, ConfigError, Server
from fastnet_ext.net.access_log import QueryMask
from tests.loops import run

app = App()


@app.get("/")
async def index() -> str:
    return "hello"


@app.post("/users/{id}")
async def user(id: int, request: Request[Any]) -> dict[str, int]:
    return {"id": id, "bytes": len(await request.body())}


@app.get("/slow")
async def slow() -> AsyncIterator[str]:
    yield "begin"
    await asyncio.sleep(30)


@app.get("/broken")
async def broken() -> Stream:
    async def parts() -> AsyncIterator[str]:
        yield "begin"
        raise KeyError("secret of ours")

    return Stream(parts())


@app.get("/wait")
async def wait() -> str:
    await asyncio.sleep(0.05)
    return "waited"


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


Talk = Any


def lines_of(path: Path, talk: Talk, **settings: Any) -> list[str]:
    """What is logged while `talk(port)` runs and the server stops."""

    async def main() -> None:
        config = Config(port=0, access_log=True, access_log_file=str(path), **settings)
        async with Server(app, config) as server:
            await talk(server.port)

    run(main())
    return path.read_text(encoding="ascii").splitlines()


def objects_of(path: Path, talk: Talk, **settings: Any) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in lines_of(path, talk, **settings)]


async def send(port: int, data: bytes, *, leave_after: bytes = b"") -> bytes:
    """Send raw bytes and read what comes back: until the end, or until `leave_after` was seen."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    got = b""
    async with asyncio.timeout(20):
        while not (leave_after and leave_after in got) and (more := await reader.read(65536)):
            got += more
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return got


def get(target: str, fields: str = "") -> bytes:
    return f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}\r\n".encode("latin-1")


# --- what is in a line


def test_json_lines_have_the_members_that_the_documentation_lists(tmp_path: Path) -> None:
    body = b"POST /users/7?a=1&token=hunter2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n"
    fields = b"user-agent: me\r\nreferer: http://a/?password=hunter2&b=1\r\nx-request-id: my-id\r\n\r\nbody"
    (line,) = objects_of(tmp_path / "log", lambda port: send(port, body + fields))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert 0 < line.pop("duration_ms") < 20000
    assert line == {
        "level": "INFO",
        "logger": "fastnet.access.main",
        "listener": "main",
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/users/7",
        "query": "a=1&token=***",
        "route": "/users/{id}",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes_in": 4,
        "bytes_out": 18,
        "request_id": "my-id",
        "user_agent": "me",
        "referer": "http://a/?password=***&b=1",
    }


def test_text_lines(tmp_path: Path) -> None:
    (line,) = lines_of(tmp_path / "log", lambda port: send(port, get("/?a=1&token=hunter2")), log_format="text")
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z 127\.0\.0\.1 "GET /\?a=1&token=\*\*\* HTTP/1\.1" 200 5 '
        r"\d+\.\d{3}ms [0-9a-f]{16}",
        line,
    )


def test_durations_are_those_of_the_handler(tmp_path: Path) -> None:
    (line,) = objects_of(tmp_path / "log", lambda port: send(port, get("/wait")))
    assert 40 <= line["duration_ms"] < 10000


def test_ids_differ(tmp_path: Path) -> None:
    async def talk(port: int) -> None:
        request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
        await send(port, request * 500 + get("/"))

    lines = objects_of(tmp_path / "log", talk)
    assert len(lines) == 501
    assert len({line["request_id"] for line in lines}) == 501


def test_what_no_route_answers(tmp_path: Path) -> None:
    async def talk(port: int) -> None:
        await send(port, get("/nowhere"))
        await send(port, get("/users/1"))
        await send(port, b"POST /users/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    assert [line["status"] for line in objects_of(tmp_path / "log", talk)] == [404, 405, 422]


def test_refusals_before_there_is_a_request(tmp_path: Path) -> None:
    async def talk(port: int) -> None:
        await send(port, b"GET / HTTP/1.1\r\nbad field\r\n\r\n")
        await send(port, b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 70000 + b"\r\n\r\n")
        await send(port, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n")
        await send(port, b"GET / HTTP/1.1\r\nhost:")

    found = objects_of(tmp_path / "log", talk, timeout_head=0.2)
    assert [line["status"] for line in found] == [400, 431, 414, 408]
    assert {line["end"] for line in found} == {"refused"}
    assert {line["client"] for line in found} == {"127.0.0.1"}


def test_answers_that_were_not_completed_say_why(tmp_path: Path) -> None:
    async def talk(port: int) -> None:
        await send(port, get("/slow"), leave_after=b"begin")
        await asyncio.sleep(0.1)
        await send(port, get("/broken"))
        upload = b"POST /users/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\npart"
        await send(port, upload)

    slow_one, broken_one, upload = objects_of(tmp_path / "log", talk, timeout_body=0.2)
    assert (slow_one["status"], slow_one["end"]) == (200, "peer left")
    assert (broken_one["status"], broken_one["end"]) == (200, "failed")
    assert (upload["status"], upload["end"]) == (408, "timeout")


def test_a_websocket_is_one_line_with_its_close_code(tmp_path: Path) -> None:
    async def talk(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/echo?token=hunter2") as ws:
            await ws.send("x")
            assert await ws.recv() == "x"
            await ws.close(4001)

    (line,) = objects_of(tmp_path / "log", talk)
    assert (line["status"], line["close_code"], line["route"], line["query"]) == (101, 4001, "/echo", "token=***")
    (text,) = lines_of(tmp_path / "text", talk, log_format="text")
    assert text.endswith(" close=4001")


# --- what a peer cannot do


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_ends_a_line_or_its_quotes(tmp_path: Path, log_format: str) -> None:
    async def talk(port: int) -> None:
        await send(port, get('/a"b\\c%0d%0aINFO?q="\\', 'user-agent: a"b\\c\t\xff\r\nreferer: x"\r\n'))
        await send(port, get("/" + "%0a" * 1500 + "?" + "a" * 2000 + "=1", "user-agent: " + '"' * 2000 + "\r\n"))

    found = lines_of(tmp_path / "log", talk, log_format=log_format)
    assert len(found) == 2
    for line in found:
        assert line.isascii()
        assert line.isprintable()
    if log_format == "json":
        first = orjson.loads(found[0])
        if first["status"] == 404:
            assert first["path"] == '/a"b\\c%0d%0aINFO'
        assert len(orjson.loads(found[1])["user_agent"]) <= 512
        assert orjson.loads(found[1])["status"] == 404


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ""),
        ("a=1", "a=1"),
        ("token=x", "token=***"),
        ("TOKEN=x&a=1", "TOKEN=***&a=1"),
        ("a=1&to%6ben=x", "a=1&to%6ben=***"),
        ("token=", "token=***"),
        ("token", "token"),
        ("=x", "=x"),
        ("&&token=x&&", "&&token=***&&"),
        ("tokens=x", "tokens=x"),
        ("a=token=x", "a=token=x"),
        ("%zztoken=x", "%zztoken=x"),
        ("my+key=x", "my+key=***"),
        ("a=\n", "a=\\x0a"),
        ("k" * 100 + "=1", "k" * 100 + "=1"),
    ],
)
def test_secret_query_keys(query: str, shown: str) -> None:
    assert QueryMask(["token", "my key"]).mask(query) == shown


@pytest.mark.parametrize("place", range(18))
def test_every_byte_is_shown_or_escaped_wherever_it_stands(place: int) -> None:
    for byte in range(128):
        query = "a" * place + chr(byte) + "b" * (17 - place)
        plain = chr(byte).isprintable() and chr(byte) not in '"\\'
        assert QueryMask([]).mask(query) == query.replace(chr(byte), chr(byte) if plain else f"\\x{byte:02x}")


# --- where it goes


def test_only_when_it_is_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with Server(app, Config(port=0, access_log_file=str(tmp_path / "log"))) as server:
            await send(server.port, get("/"))

    run(main())
    assert not (tmp_path / "log").exists()


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory"):
        lines_of(tmp_path / "none" / "log", lambda port: send(port, get("/")))


def test_lines_arrive_while_the_server_runs(tmp_path: Path) -> None:
    async def talk(port: int) -> None:
        await send(port, get("/"))
        await asyncio.to_thread(wait_for, lambda: (tmp_path / "log").read_bytes().endswith(b"\n"))

    lines_of(tmp_path / "log", talk)


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_file_is_opened_again_when_it_was_moved_away(tmp_path: Path) -> None:
    path, moved = tmp_path / "log", tmp_path / "log.1"
    writer = AccessWriter(str(path))
    writer.take(b"one\n")
    wait_for(lambda: path.read_bytes() == b"one\n")
    path.rename(moved)

    def written() -> bool:
        writer.take(b"two\n")
        return path.exists() and path.read_bytes().startswith(b"two\n")

    wait_for(written)
    writer.close()
    assert moved.read_bytes().startswith(b"one\n")


def test_a_reader_that_stalls_costs_lines_and_no_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = AccessWriter(str(pipe), limit=200_000)
    block = b"x" * 999 + b"\n"
    started = time.monotonic()
    for _ in range(2000):
        writer.take(block)
    assert time.monotonic() - started < 5
    assert writer.dropped > 1000
    assert writer.dropped < 2000
    got = bytearray()

    def drained() -> bool:
        with contextlib.suppress(BlockingIOError):
            while part := os.read(reader, 65536):
                got.extend(part)
        return len(got) == (2000 - writer.dropped) * 1000

    wait_for(drained)
    closing = threading.Thread(target=writer.close)
    closing.start()
    closing.join(20)
    os.close(reader)
    assert "lines of the access log were lost" in caplog.text


def test_handlers_of_the_program_get_records(tmp_path: Path) -> None:
    class Keep(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.records: list[logging.LogRecord] = []

        def emit(self, record: logging.LogRecord) -> None:
            self.records.append(record)

    handler = Keep()
    logger = logging.getLogger("fastnet.access")
    logger.addHandler(handler)
    try:
        objects_of(tmp_path / "json", lambda port: send(port, get("/?token=hunter2")))
        lines_of(tmp_path / "text", lambda port: send(port, get("/?token=hunter2")), log_format="text")
    finally:
        logger.removeHandler(handler)
    first, second = handler.records
    assert (first.name, first.levelno, first.getMessage()) == (
        "fastnet.access.main",
        logging.INFO,
        "127.0.0.1 GET / 200",
    )
    assert vars(first)["status"] == 200
    assert vars(first)["query"] == "token=***"
    assert second.getMessage().startswith('127.0.0.1 "GET /?token=*** HTTP/1.1" 200')
