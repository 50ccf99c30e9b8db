"""One message to many WebSockets: CPU of the server for each that got it, beside a C loop of sends."""

import selectors
import socket
import statistics
import struct
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benches.load import peers
from benches.load.machine import Cores
from benches.load.processes import CpuMeter, Process, ServerFailed, free_port
from benches.load.report import Section, Verdict
from benches.load.runner import Plan
from benches.load.targets import paired_ratios, spread

CONNECTIONS = 1_000
SIZE = 128
ROUNDS = 100
FLOOR_LIMIT = 1.3
WEBSOCKETS_LIMIT = 1 / 3
START_SECONDS = 20.0

HAND_SHAKE = (
    b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)
APP = Path(__file__).parent / "servers" / "broadcast_app.py"
SERVERS = ("floor", "fastnet", "websockets")


def frame(size: int, *, masked: bool) -> bytes:
    """A binary message of zeros; a client's with a mask of zeros."""
    bit = 0x80 if masked else 0
    head = bytes([0x82, bit | size]) if size < 126 else struct.pack(">BBH", 0x82, bit | 126, size)
    return head + bytes(4 if masked else 0) + bytes(size)


def run(plan: Plan, *, quick: bool) -> list[Section]:
    """Repetition by repetition, each server in turn."""
    connections, rounds = (200, 20) if quick else (CONNECTIONS, ROUNDS)
    costs: dict[str, list[float]] = {name: [] for name in SERVERS}
    section = Section(
        f"broadcast of {SIZE} bytes to {connections} WebSockets", ["server", "CPU µs per message that arrived", "ratio"]
    )
    for _ in range(plan.repetitions):
        for name in SERVERS:
            try:
                costs[name].append(_cost(name, plan.cores, connections, rounds))
            except (ServerFailed, OSError, peers.NotAvailable) as error:
                section.failed.append(name)
                section.notes.append(f"{name}: {error}")
    floor = statistics.median(costs["floor"]) if costs["floor"] else None
    for name, values in costs.items():
        if values:
            median = statistics.median(values)
            section.rows.append([name, f"{median:.2f}", f"{median / floor:.2f}" if floor else "–"])
    section.verdicts = [
        _verdict("broadcast over the C loop of sends", FLOOR_LIMIT, costs["fastnet"], costs["floor"]),
        _verdict("broadcast over websockets' broadcast", WEBSOCKETS_LIMIT, costs["fastnet"], costs["websockets"]),
    ]
    section.data = {"cpu_us": costs}
    return [section]


def _verdict(target: str, limit: float, over: list[float], under: list[float]) -> Verdict:
    ratios = paired_ratios(over, under)
    return Verdict(target, limit, statistics.median(ratios) if ratios else None, spread=spread(ratios))


def _argv(name: str, port: int) -> list[str]:
    if name == "floor":
        return [str(peers.compiled("broadcast.c")), str(port), str(SIZE)]
    if name == "websockets":
        peers.require(name)
        return [str(peers.python()), str(APP), name, str(port)]
    return [sys.executable, str(APP), name, str(port)]


def _cost(name: str, cores: Cores, connections: int, rounds: int) -> float:
    port = free_port()
    process = Process(_argv(name, port), core=cores.server)
    try:
        _wait(process, port)
        with ExitStack() as stack:
            opened = [stack.enter_context(_opened(port)) for _ in range(connections)]
            _rounds(opened, max(rounds // 10, 2))
            meter = CpuMeter(process)
            _rounds(opened, rounds)
            return meter.spent() / (rounds * connections) * 1e6
    finally:
        process.stop()


def _wait(process: Process, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        process.require_running()
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise ServerFailed("it does not listen") from None
            time.sleep(0.05)


def _opened(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), START_SECONDS)
    sock.sendall(HAND_SHAKE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = sock.recv(4096)
        if not more:
            raise ServerFailed("it closed a connection instead of answering the hand-shake")
        head += more
    if b" 101 " not in head.split(b"\r\n")[0]:
        raise ServerFailed(f"it answered the hand-shake with {head[:60]!r}")
    return sock


def _rounds(opened: list[socket.socket], rounds: int) -> None:
    """One connection speaks, all of them hear it, again and again. Raises ServerFailed for anything else."""
    ask, wanted = frame(SIZE, masked=True), frame(SIZE, masked=False)
    with selectors.DefaultSelector() as selector:
        for sock in opened:
            selector.register(sock, selectors.EVENT_READ)
        for number in range(rounds):
            opened[number % len(opened)].sendall(ask)
            missing = len(opened)
            while missing:
                ready = selector.select(START_SECONDS)
                if not ready:
                    raise ServerFailed(f"{missing} connections did not hear a message")
                for key, _ in ready:
                    assert isinstance(key.fileobj, socket.socket)
                    if key.fileobj.recv(4096) != wanted:
                        raise ServerFailed("what arrived is not what was sent")
                    missing -= 1
