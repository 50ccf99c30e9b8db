"""What the harness says of WebSocket echoes: right ones pass, wrong ones are found, compressed or not."""

import shutil
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from benches.load import machine, peers, runner, websocket
from benches.load.client import WrongAnswer
from benches.load.scenarios import BY_NAME, WEBSOCKETS, Scenario
from benches.load.servers import catalog
from benches.load.swarm import WebSocketSwarm


def missing() -> str:
    if shutil.which("cc") is None:
        return "no cc on the PATH"
    try:
        peers.compiled("websocket.c", *websocket.LIBRARIES)
    except peers.NotAvailable as error:
        return str(error) if "zlib.h" in str(error) else ""
    return ""


pytestmark = pytest.mark.skipif(missing() != "", reason=missing())
PLAN = runner.Plan(repetitions=1, seconds=1, warm_up=0.2, cores=machine.Cores(None, None))


@pytest.mark.parametrize("scenario", WEBSOCKETS, ids=lambda scenario: scenario.name)
def test_messages_are_of_one_kind_and_size_and_differ(scenario: Scenario) -> None:
    assert len({(websocket.opcode(message), len(websocket.octets(message))) for message in scenario.messages}) == 1
    assert len(set(scenario.messages)) == len(scenario.messages) > 1


@pytest.mark.parametrize("server", [catalog.FASTNET, catalog.CALLBACKS], ids=lambda server: server.name)
@pytest.mark.parametrize("name", [scenario.name for scenario in WEBSOCKETS])
def test_fastnet_is_measured(name: str, server: catalog.Server) -> None:
    scenario = BY_NAME[name]
    (result,) = runner.run_scenario(scenario, [server], PLAN)
    assert result.fault == ""
    (sample,) = result.samples
    assert sample.requests > scenario.connections
    size = len(scenario.messages[0])
    assert sample.size < size / 3 if name.startswith("ws-deflate") else sample.size == size


WRONG = """
from fastnet import App, WebSocket
from fastnet.websocket import PerMessageDeflate

app = App()
count = 0

async def echo(ws: WebSocket) -> None:
    global count
    async for message in ws:
        count += 1
        {wrong}
        await ws.send(message)

for path in ("/", "/kept"):
    app.websocket(path, compression={compression})(echo)
"""
SHORT, LOAD = "message = message[:-1]", "if count > 500: "
FLIP = "message = message[:-1] + message[:1]"


@pytest.mark.parametrize("name", ["ws-128", "ws-deflate-kept"])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (SHORT, "bytes"),
        (FLIP, "instead of"),
        ("message = message if isinstance(message, bytes) else message.encode()", "opcode 2"),
        ("message = message.decode('latin-1') if isinstance(message, bytes) else message", "opcode 1"),
        # On a slow machine all connections may have failed before the seconds that are counted begin.
        (LOAD + SHORT, "answer errors|only 0 answers"),
        (LOAD + FLIP, "answer errors|only 0 answers"),
        (LOAD + "continue", "only 0 answers"),
        (LOAD + "return", "closed errors|only 0 answers"),
        (LOAD + "await ws.send(message)", "answer errors|only 0 answers"),
    ],
)
def test_wrong_echoes_are_found(name: str, wrong: str, words: str, tmp_path: Path) -> None:
    fault = _fault(name, WRONG.format(wrong=wrong, compression="PerMessageDeflate()"), tmp_path)
    assert fault.startswith("disqualified: ")
    assert any(word in fault for word in words.split("|"))


def test_compression_must_be_agreed_on(tmp_path: Path) -> None:
    fault = _fault("ws-deflate", WRONG.format(wrong="pass", compression="False"), tmp_path)
    assert fault == "disqualified: the hand-shake was answered with Sec-WebSocket-Extensions: "


def test_a_refused_hand_shake_says_how(tmp_path: Path) -> None:
    assert "HTTP/1.1 404" in _fault("ws-128", "from fastnet import App\napp = App()", tmp_path)


ALIVE = """
import asyncio

from fastnet import App, WebSocket

app = App()

@app.websocket("/", ping_interval={seconds})
async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)
        if message == "twice":
            await asyncio.sleep(0.2)  # not in one read with the first
            await ws.send(message)
"""


def test_idle_connections_may_be_pinged(tmp_path: Path) -> None:
    with ExitStack() as stack:
        swarm = _swarm(stack, ALIVE.format(seconds=1), tmp_path)
        assert swarm._sockets[1].recv(1, socket.MSG_PEEK) == b"\x89"
        swarm.require_open()


def test_idle_connections_are_told_nothing_else(tmp_path: Path) -> None:
    with ExitStack() as stack:
        swarm = _swarm(stack, ALIVE.format(seconds=0), tmp_path)
        swarm.require_open()
        told = swarm._sockets[0]
        swarm._clients[told].require_echo("twice")
        assert told.recv(1, socket.MSG_PEEK)
        with pytest.raises(WrongAnswer, match="nobody asked for"):
            swarm.require_open()


def _swarm(stack: ExitStack, program: str, folder: Path) -> WebSocketSwarm:
    scenario = BY_NAME["ws-128"]
    up = runner.start(stack, _served(program, scenario.name, folder), scenario, PLAN.cores)
    return stack.enter_context(WebSocketSwarm(up.port, scenario.request, 2))


def _served(program: str, name: str, folder: Path) -> catalog.Server:
    (folder / "wrong.py").write_text(program)
    argv = ["env", f"PYTHONPATH={machine.ROOT}", sys.executable, "-m", "fastnet", "run", "wrong:app", "--port"]
    return catalog.Server("wrong", "wrong", lambda launch: [*argv, str(launch.port)], frozenset({name}), cwd=folder)


def _fault(name: str, program: str, folder: Path) -> str:
    (result,) = runner.run_scenario(BY_NAME[name], [_served(program, name, folder)], PLAN)
    assert result.samples == []
    return result.fault
