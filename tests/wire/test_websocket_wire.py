"""WebSocket over real sockets, with the ``websockets`` client and with raw bytes."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import socket
import struct
from pathlib import Path
from typing import Any, Unpack

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from fastnet import App, HTTPException
from fastnet.server import Server
from fastnet.websocket import WebSocket, WebSocketDisconnect, WebSocketOptions
from fastnet_ext.websocket.connection import Connection
from tests.loops import run

EXAMPLES = Path(__file__).parents[2] / "examples"

HAND_SHAKE = (
    b"GET %s HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)


def url(server: Server, path: str) -> str:
    return server.url.replace("http", "ws", 1) + path


def dial(server: Server, path: str, **options: Any) -> connect:
    return connect(url(server, path), compression=None, proxy=None, max_size=2**24, **options)


async def raw(server: Server, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    return reader, writer


def echo_app(**options: Unpack[WebSocketOptions]) -> App:
    app = App()

    @app.websocket("/echo", **options)
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    return app


def test_an_echo_of_every_size() -> None:
    async def test() -> None:
        async with echo_app(max_message=2**22).serve(port=0) as server, dial(server, "/echo") as client:
            for size in (0, 1, 125, 126, 65_535, 65_536, 300_000, 2**22):
                await client.send("x" * size)
                assert await client.recv() == "x" * size
                await client.send(b"\xff" * size)
                assert await client.recv() == b"\xff" * size
            await client.send("žluťoučký 🐎")
            assert await client.recv() == "žluťoučký 🐎"
            await client.send(["frag", "ments", ""])
            assert await client.recv() == "fragments"
            await asyncio.wait_for(await client.ping(b"are you there"), 5)
            await client.close(4000, "done")
            assert (client.close_code, client.close_reason) == (4000, "done")

    run(test())


def test_many_connections_at_once() -> None:
    async def test() -> None:
        async def talk(server: Server, number: int) -> None:
            async with dial(server, "/echo") as client:
                for index in range(20):
                    await client.send(f"{number} {index}")
                    assert await client.recv() == f"{number} {index}"

        async with echo_app().serve(port=0) as server:
            await asyncio.gather(*(talk(server, number) for number in range(20)))

    run(test())


def test_frames_in_the_packet_of_the_hand_shake_and_many_in_one() -> None:
    async def test() -> None:
        async with echo_app().serve(port=0) as server:
            client = Connection("client")
            messages = [str(index) for index in range(500)]
            for message in messages:
                client.send_text(message)
            reader, writer = await raw(server, HAND_SHAKE % b"/echo" + client.data_to_send())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"connection: upgrade\r\n" in head
            got: list[Any] = []
            while len(got) < len(messages):
                got += client.receive_data(bytearray(await reader.read(65_536)))
            assert got == [("text", message) for message in messages]
            client.close()
            writer.write(client.data_to_send())
            assert client.receive_data(bytearray(await reader.read())) == [("close", 1000, "")]
            writer.close()

    run(test())


def test_byte_by_byte() -> None:
    async def test() -> None:
        async with echo_app().serve(port=0) as server:
            client = Connection("client")
            client.send_text("slow")
            client.send_bytes(b"and steady")
            data = HAND_SHAKE % b"/echo" + client.data_to_send()
            reader, writer = await raw(server, b"")
            for index in range(len(data)):
                writer.write(data[index : index + 1])
                await writer.drain()
                await asyncio.sleep(0)
            await reader.readuntil(b"\r\n\r\n")
            got: list[Any] = []
            while len(got) < 2:
                got += client.receive_data(bytearray(await reader.read(65_536)))
            assert got == [("text", "slow"), ("binary", b"and steady")]
            writer.close()

    run(test())


def test_a_handler_that_opens_late() -> None:
    async def test() -> None:
        app = App()

        @app.websocket("/late")
        async def late(ws: WebSocket) -> None:
            await asyncio.sleep(0.01)
            async for message in ws:
                await ws.send(message)

        async with app.serve(port=0) as server:
            client = Connection("client")
            client.send_text("early")
            reader, writer = await raw(server, HAND_SHAKE % b"/late" + client.data_to_send())
            await reader.readuntil(b"\r\n\r\n")
            assert client.receive_data(bytearray(await reader.read(7))) == [("text", "early")]
            writer.close()

    run(test())


def test_a_refusal_keeps_the_connection() -> None:
    async def test() -> None:
        app = echo_app()

        @app.websocket("/private")
        async def private(ws: WebSocket) -> None:
            raise HTTPException(401, "who are you?", headers={"www-authenticate": "Basic"})

        async with app.serve(port=0) as server:
            reader, writer = await raw(server, HAND_SHAKE % b"/private")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 401 ")
            assert b"www-authenticate: Basic\r\n" in head
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            assert b"who are you?" in await reader.readexactly(length)
            # The same connection, now with success.
            writer.write(HAND_SHAKE % b"/echo")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            writer.close()

    run(test())


def test_another_version_is_told_ours() -> None:
    async def test() -> None:
        async with echo_app().serve(port=0) as server:
            reader, writer = await raw(server, (HAND_SHAKE % b"/echo").replace(b"version: 13", b"version: 8"))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 426 ")
            assert b"sec-websocket-version: 13\r\n" in head
            assert b"upgrade: websocket\r\n" in head
            writer.close()

    run(test())


def test_pages_of_other_hosts_are_refused() -> None:
    async def test() -> None:
        async with echo_app().serve(port=0) as server:
            with pytest.raises(websockets.InvalidStatus) as caught:
                async with dial(server, "/echo", origin="https://evil.example"):
                    pass
            assert caught.value.response.status_code == 403
            async with dial(server, "/echo", origin=server.url) as client:
                await client.send("x")
                assert await client.recv() == "x"

    run(test())


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_peer_that_vanishes(how: str) -> None:
    async def test() -> None:
        app = App()
        ends: asyncio.Queue[Any] = asyncio.Queue()

        @app.websocket("/receive")
        async def receive(ws: WebSocket) -> None:
            try:
                while True:
                    await ws.receive()
            except WebSocketDisconnect as error:
                ends.put_nowait(error.code)

        @app.websocket("/wait")
        async def wait(ws: WebSocket) -> None:
            await ws.accept()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ends.put_nowait("cancelled")
                raise

        async with app.serve(port=0) as server:
            for path, end in ((b"/receive", 1006), (b"/wait", "cancelled")):
                reader, writer = await raw(server, HAND_SHAKE % path)
                await reader.readuntil(b"\r\n\r\n")
                if how == "reset":
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.close()
                assert await asyncio.wait_for(ends.get(), 5) == end
            assert ends.empty()

    run(test())


def test_a_handler_that_does_not_read_holds_the_peer_back() -> None:
    async def test() -> None:
        app = App()
        go = asyncio.Event()
        taken: list[int] = []

        @app.websocket("/slow")
        async def slow(ws: WebSocket) -> None:
            await ws.accept()
            await go.wait()
            async for message in ws:
                taken.append(len(message))
                if len(taken) == 512:
                    await ws.send("all of it")

        async with app.serve(port=0) as server, dial(server, "/slow") as client:

            async def flood() -> None:
                for _ in range(512):
                    await client.send(b"x" * 65_536)

            flooding = asyncio.create_task(flood())
            await asyncio.wait({flooding}, timeout=0.5)
            assert not flooding.done()
            assert server.counters["bytes_received"] < 8 * 2**20
            assert taken == []
            go.set()
            await flooding
            assert await client.recv() == "all of it"
            assert taken == [65_536] * 512

    run(test())


def test_a_peer_that_does_not_read_holds_the_handler_back() -> None:
    async def test() -> None:
        app = App()
        sent: list[int] = []

        @app.websocket("/source")
        async def source(ws: WebSocket) -> None:
            for number in range(400):
                await ws.send(number.to_bytes(4, "big") * 16_384)
                sent.append(number)

        async with app.serve(port=0) as server:
            client = Connection("client")
            reader, writer = await raw(server, HAND_SHAKE % b"/source")
            # Our stream stops reading at its limit; the rest is up to the sockets' buffers.
            await asyncio.sleep(0.3)
            held = len(sent)
            assert held < 400
            await reader.readuntil(b"\r\n\r\n")
            got: list[Any] = []
            while not got or got[-1][0] != "close":
                got += client.receive_data(bytearray(await reader.read(2**20)))
            assert [kind for kind, *_ in got] == ["binary"] * 400 + ["close"]
            assert [int.from_bytes(each[1][-4:], "big") for each in got[:-1]] == list(range(400))
            writer.close()

    run(test())


def test_a_handler_that_fails_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        app = App()

        @app.websocket("/boom")
        async def boom(ws: WebSocket) -> None:
            await ws.send(await ws.receive())
            raise RuntimeError("secret")

        async with app.serve(port=0) as server, dial(server, "/boom") as client:
            await client.send("x")
            assert await client.recv() == "x"
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()
            assert client.close_code == 1011
            assert "secret" not in (client.close_reason or "")

    with caplog.at_level(logging.ERROR, "fastnet.error"):
        run(test())
    assert "secret" in caplog.text


def test_the_real_task_through_all_of_it() -> None:
    async def test() -> None:
        app = App()
        tasks: list[Any] = []

        @app.websocket("/task")
        async def task(ws: WebSocket) -> None:
            tasks.append(asyncio.current_task())
            async for _ in ws:
                tasks.append(asyncio.current_task())
                async with asyncio.timeout(5), asyncio.TaskGroup() as group:
                    group.create_task(asyncio.sleep(0))
                tasks.append(asyncio.current_task())
                await ws.send("ok")

        async with app.serve(port=0) as server:
            for _ in range(3):
                async with dial(server, "/task") as client:
                    for _ in range(3):
                        await client.send("x")
                        assert await client.recv() == "ok"
            assert len(tasks) == 3 * 7
            assert None not in tasks
            assert [len(set(tasks[start : start + 7])) for start in (0, 7, 14)] == [1, 1, 1]

    run(test())


def test_one_connection_writes_to_another_while_it_is_stepped() -> None:
    """Handlers resumed in the same batch of input must not step each other."""

    async def test() -> None:
        app = App()
        members: list[WebSocket] = []

        @app.websocket("/room")
        async def room(ws: WebSocket) -> None:
            await ws.accept()
            members.append(ws)
            async for message in ws:
                for member in members:
                    if message == "kick" and member is not ws:
                        await member.close(4001, "kicked")
                    else:
                        await member.send(message)
            members.remove(ws)

        async def receive(client: ClientConnection, *messages: str) -> None:
            for message in messages:
                assert await client.recv() == message

        async with app.serve(port=0) as server, dial(server, "/room") as one, dial(server, "/room") as two:
            await one.send("hello")
            await receive(one, "hello")
            await receive(two, "hello")
            await two.send("kick")
            await receive(two, "kick")
            with pytest.raises(websockets.ConnectionClosed):
                await one.recv()
            assert one.close_code == 4001
            await two.send("alone")
            await receive(two, "alone")

    run(test())


def test_the_example() -> None:
    async def test() -> None:
        spec = importlib.util.spec_from_file_location("echo_example", EXAMPLES / "echo.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        async with module.app.serve(port=0) as server:
            async with dial(server, "/echo", origin=server.url) as client:
                await client.send("hello")
                assert await client.recv() == "hello"
            reader, writer = await raw(server, b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            page = await reader.read()
            assert b"text/html" in page
            assert b"new WebSocket(" in page
            writer.close()

    run(test())
