"""What a connection holds while it is idle, and whether memory grows with the requests answered.

Resident memory of the server's process tree (Rss of /proc/PID/smaps_rollup). What the kernel keeps for a socket is
not in it, and is the same for every server.
"""

import gc
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from benches.load import client, peers, runner
from benches.load.processes import Process, ServerFailed
from benches.load.report import Section, Verdict
from benches.load.runner import Plan
from benches.load.scenarios import BY_NAME, Scenario
from benches.load.servers import catalog
from benches.load.swarm import Http2Swarm, Swarm, WebSocketSwarm
from benches.load.targets import SUBJECT

SCENARIO = BY_NAME["hello"]
IDLE_LIMIT_KIB = 3.0
GROWTH_LIMIT_KIB = 128.0
"""An allocator moves by some pages either way; one leaked byte per request would be 98 KiB, a leaked object 5 MiB."""

WARM_UP_CONNECTIONS = 16
"""Few, since what they free is used again by those that are counted."""

DEFAULT = "floor,fastnet,uvicorn,granian-asgi,aiohttp,blacksheep,fastapi,nginx,socketify"


@dataclass(frozen=True)
class Kind:
    """Connections other than HTTP/1.1's, and what one of them may hold."""

    name: str
    noun: str
    scenario: Scenario
    swarm: type[Swarm]
    limit_kib: float
    asked: str
    """What each connection did before it was idle."""


HTTP2 = Kind("connections", "HTTP/2 connection", BY_NAME["h2c"], Http2Swarm, 12.0, "made one request each")
WEBSOCKET = Kind("sockets", "WebSocket", BY_NAME["ws-128"], WebSocketSwarm, 4.0, "had one message echoed each")


@dataclass
class MemoryResult:
    server: catalog.Server
    idle: list[float] = field(default_factory=list)
    """Bytes per idle connection, one value per fresh process."""
    growth: list[int] = field(default_factory=list)
    """Bytes gained by each round of requests after the warm-up round, connections closed."""
    resident: int = 0
    """Bytes of the fresh server."""
    fault: str = ""


def settled(process: Process) -> int:
    """Resident bytes, once they stay the same for a moment (threads start late, closes are seen later)."""
    deadline = time.monotonic() + 3.0
    last = process.memory().rss
    while time.monotonic() < deadline:
        time.sleep(0.25)
        now = process.memory().rss
        if now == last:
            break
        last = now
    return last


def idle_bytes(
    process: Process, port: int, connections: int, swarm_of: type[Swarm] = Swarm, scenario: Scenario = SCENARIO
) -> float:
    """Resident bytes that one more kept connection costs after its first answer."""
    with swarm_of(port, scenario.request, WARM_UP_CONNECTIONS):
        pass
    before = settled(process)
    with swarm_of(port, scenario.request, connections) as swarm:
        after = settled(process)
        swarm.require_open()
    return (after - before) / connections


def growth_bytes(process: Process, port: int, connections: int, requests: int, rounds: int) -> list[int]:
    """Growth by each of ``rounds`` rounds of ``requests`` over fresh ``connections``, a warm-up round before them."""
    grown = []
    before = 0
    for number in range(rounds + 1):
        with Swarm(port, SCENARIO.request, connections) as swarm:
            swarm.ask_all(requests // connections - 1)
        after = settled(process)
        if number > 0:
            grown.append(after - before)
        before = after
    return grown


def _measure(server: catalog.Server, plan: Plan, *, quick: bool) -> MemoryResult:
    result = MemoryResult(server)
    idle, many, requests = (500, 100, 10_000) if quick else (5_000, 1_000, 100_000)
    try:
        for _ in range(1 if quick else 3):
            with ExitStack() as stack:
                standing = runner.start(stack, server, SCENARIO, plan.cores)
                result.resident = settled(standing.process)
                result.idle.append(idle_bytes(standing.process, standing.port, idle))
        with ExitStack() as stack:
            standing = runner.start(stack, server, SCENARIO, plan.cores)
            result.growth = growth_bytes(standing.process, standing.port, many, requests, 2)
            client.check(standing.port, SCENARIO, live=server.live, rounds=runner.CHECKS_AFTER)
    except (peers.NotAvailable, ServerFailed) as error:
        result.fault = f"not available: {error}"
    except client.WrongAnswer as error:
        result.fault = f"disqualified: {error}"
    return result


def run(names: str | None, plan: Plan, *, quick: bool) -> list[Section]:
    """The memory table of the named servers; ``quick`` takes a tenth of everything."""
    servers = [server for server in catalog.choose(names or DEFAULT) if SCENARIO.name in server.scenarios]
    gc.disable()  # ours, with thousands of sockets alive
    results = []
    for server in servers:
        print(f"measuring memory of {server.name} …", flush=True)
        results.append(_measure(server, plan, quick=quick))
    gc.enable()
    count, requests = ("500", "10,000 requests over 100") if quick else ("5,000", "100,000 requests over 1,000")
    section = Section(
        "memory: resident, per idle keep-alive connection and by requests",
        ["server", "fresh MiB", "KiB/connection", "growth KiB", "remark"],
        notes=[
            f"KiB/connection: {count} connections that made one request each; median of fresh processes",
            f"growth: two rounds of {requests} connections, after a round like them",
        ],
    )
    section.rows = [_row(result) for result in results]
    section.failed = [result.server.name for result in results if result.fault]
    section.verdicts = _verdicts({result.server.name: result for result in results})
    section.data = {
        result.server.name: {"idle": result.idle, "growth": result.growth, "fault": result.fault} for result in results
    }
    return [section]


def run_idle(kind: Kind, names: str | None, plan: Plan, *, quick: bool) -> list[Section]:
    """What an idle connection of this kind holds, in servers that answer its scenario."""
    servers = [server for server in catalog.choose(names or "all") if kind.scenario.name in server.scenarios]
    connections = 500 if quick else 5_000
    section = Section(
        f"{kind.name}: resident, per idle {kind.noun}",
        ["server", "fresh MiB", "KiB/connection", "remark"],
        notes=[f"{connections:,} connections that {kind.asked}; median of fresh processes"],
    )
    gc.disable()  # ours, with thousands of sockets alive
    for server in servers:
        print(f"measuring {kind.name} of {server.name} …", flush=True)
        result = MemoryResult(server)
        try:
            for _ in range(1 if quick else 3):
                with ExitStack() as stack:
                    standing = runner.start(stack, server, kind.scenario, plan.cores)
                    result.resident = settled(standing.process)
                    idle = idle_bytes(standing.process, standing.port, connections, kind.swarm, kind.scenario)
                    result.idle.append(idle)
        except (peers.NotAvailable, ServerFailed) as error:
            result.fault = f"not available: {error}"
        except client.WrongAnswer as error:
            result.fault = f"disqualified: {error}"
        median = "–" if result.fault else f"{statistics.median(result.idle) / 1024:.2f}"
        section.rows.append([server.title, f"{result.resident / 2**20:.1f}", median, result.fault])
        section.data[server.name] = {"idle": result.idle, "fault": result.fault}
        if result.fault:
            section.failed.append(server.name)
        if server.name == SUBJECT:
            measured = None if result.fault else statistics.median(result.idle) / 1024
            remark = result.fault.partition(":")[0]
            text = f"{kind.name}: idle {kind.noun}"
            section.verdicts = [Verdict(text, kind.limit_kib, measured, " KiB", remark=remark)]
    gc.enable()
    return [section]


def _row(result: MemoryResult) -> list[str]:
    if result.fault:
        return [result.server.title, "–", "–", "–", result.fault]
    growth = " then ".join(f"{grown / 1024:.0f}" for grown in result.growth)
    idle = statistics.median(result.idle) / 1024
    return [result.server.title, f"{result.resident / 2**20:.1f}", f"{idle:.2f}", growth, ""]


def _verdicts(results: dict[str, MemoryResult]) -> list[Verdict]:
    subject = results.get(SUBJECT)
    fault = f"{SUBJECT} was not asked for" if subject is None else subject.fault.partition(":")[0]
    idle = statistics.median(subject.idle) / 1024 if subject and not fault else None
    # A leak grows in every round; what only the first round gained is a plateau.
    growth = min(subject.growth) / 1024 if subject and not fault else None
    remark = fault or "the lesser of two rounds; the limit is the allocator's play"
    return [
        Verdict("memory: idle keep-alive connection", IDLE_LIMIT_KIB, idle, " KiB", remark=fault),
        Verdict("memory: growth by 100,000 requests", GROWTH_LIMIT_KIB, growth, " KiB", remark=remark),
    ]
