"""How long a quick request waits while another connection of the same process streams 1 GB."""

import gc
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from benches.load import client, machine, peers, report, runner
from benches.load.processes import CpuMeter, ServerFailed
from benches.load.report import Section, Verdict
from benches.load.runner import NOISE_LIMIT, Plan
from benches.load.scenarios import BY_NAME
from benches.load.servers import catalog
from benches.load.swarm import Template

SCENARIO = BY_NAME["hello"]
STREAM_BYTES = 1_000_000_000
STREAM_SECONDS = 60.0
MOST_STREAMS = 5
"""A server that streams 1 GB too fast for enough samples is asked again, so many times at most."""

ENOUGH = 2_000
DOUBLED = 2.0
DEFAULT = "fastnet,uvicorn,granian-asgi,aiohttp"


@dataclass
class LatencyResult:
    """99th percentiles in microseconds, one of each kind per repetition.

    The least of each kind is what counts: others on the machine only ever add to it, and a server that makes quick
    requests wait does so in every repetition.
    """

    server: catalog.Server
    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    """Bytes per second of each stream."""
    noise: float = 0.0
    fault: str = ""

    @property
    def ratio(self) -> float:
        return min(self.beside) / min(self.alone)


class QuickClient:
    """One connection that asks, waits for the whole answer, compares it and asks again."""

    def __init__(self, port: int) -> None:
        self._template = Template(port, SCENARIO.request)
        self._wire = SCENARIO.request.wire(port)
        self._sock = socket.create_connection(("127.0.0.1", port), client.TIMEOUT)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._sock.close()

    def ask(self) -> float:
        """Microseconds from the request's first byte to the answer's last. Raises WrongAnswer."""
        started = time.perf_counter_ns()
        self._sock.sendall(self._wire)
        answer = self._sock.recv(self._template.size)
        while len(answer) < self._template.size:
            more = self._sock.recv(self._template.size - len(answer))
            if not more:
                raise client.WrongAnswer("the quick connection was closed")
            answer += more
        took = (time.perf_counter_ns() - started) / 1000
        self._template.require(answer)
        return took


def percentile_99(values: list[float]) -> float:
    return sorted(values)[max(0, -(-len(values) * 99 // 100) - 1)]


def _beside_stream(quick: QuickClient, port: int, cores: machine.Cores) -> tuple[list[float], float]:
    """Latencies of quick requests while one stream runs, and the stream's bytes per second."""
    argv = [sys.executable, "-m", "benches.load.stream_reader", str(port), str(STREAM_BYTES)]
    with machine.on_core(cores.spare if cores.spare is not None else cores.load):
        reader = subprocess.Popen(argv, cwd=machine.ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert reader.stdout is not None
        word = reader.stdout.readline().strip()
        if word != "streaming":
            raise client.WrongAnswer(f"GET /stream: {word or 'no answer'}")
        started = time.monotonic()
        taken = []
        while reader.poll() is None:
            taken.append(quick.ask())
            if time.monotonic() - started > STREAM_SECONDS:
                raise client.WrongAnswer(f"GET /stream takes more than {STREAM_SECONDS:.0f} s")
        elapsed = time.monotonic() - started
        if reader.returncode != 0:
            raise client.WrongAnswer(f"GET /stream: {reader.stdout.read().strip()} bytes of {STREAM_BYTES}")
        return taken, STREAM_BYTES / elapsed
    finally:
        reader.kill()
        reader.wait()
        if reader.stdout is not None:
            reader.stdout.close()


def _measure(server: catalog.Server, plan: Plan, *, quick: bool) -> LatencyResult:
    result = LatencyResult(server)
    try:
        with ExitStack() as stack:
            standing = runner.start(stack, server, SCENARIO, plan.cores)
            asker = QuickClient(standing.port)
            stack.callback(asker.close)
            for _ in range(ENOUGH // 4):
                asker.ask()
            around, meter = runner.Surroundings(plan.cores), CpuMeter(standing.process)
            started = time.monotonic()
            for _ in range(plan.repetitions):
                result.alone.append(percentile_99([asker.ask() for _ in range(ENOUGH)]))
                taken: list[float] = []
                for _ in range(1 if quick else MOST_STREAMS):
                    more, rate = _beside_stream(asker, standing.port, plan.cores)
                    taken += more
                    result.rates.append(rate)
                    if len(taken) >= ENOUGH:
                        break
                result.beside.append(percentile_99(taken))
            result.noise = around.others(meter.spent()) / (2 * (time.monotonic() - started))
    except (peers.NotAvailable, ServerFailed) as error:
        result.fault = f"not available: {error}"
    except (client.WrongAnswer, OSError) as error:
        result.fault = f"disqualified: {error}"
    return result


def run(names: str | None, plan: Plan, *, quick: bool) -> list[Section]:
    """The latency table of the named servers; ``quick`` reads one stream per repetition."""
    able = [server for server in catalog.ALL if server.streams]
    section = Section(
        "latency: p99 of a quick request, alone and beside a stream of 1 GB",
        ["server", "alone µs", "beside µs", "ratio", "stream MB/s", "remark"],
        notes=[
            f"{plan.repetitions} repetitions, {ENOUGH:,} requests on one connection each; the least p99 of each kind"
        ],
    )
    if plan.cores.spare is None:
        section.notes.append("the stream's reader shares the measuring client's core: part of the rise is ours")
    noises = [0.0]
    gc.disable()
    for server in catalog.choose(names or DEFAULT, among=able):
        print(f"measuring latency of {server.name} …", flush=True)
        result = _measure(server, plan, quick=quick)
        noises.append(result.noise)
        section.rows.append(_row(result))
        if result.fault:
            section.failed.append(server.name)
        section.data[server.name] = {
            "fault": result.fault,
            "alone": result.alone,
            "beside": result.beside,
            "bytes_per_second": result.rates,
        }
        if server is catalog.FASTNET:
            section.verdicts.append(_verdict(result))
    gc.enable()
    section.notes.append(report.noise_note(max(noises), NOISE_LIMIT))
    return [section]


def _row(result: LatencyResult) -> list[str]:
    if result.fault:
        return [result.server.title, "–", "–", "–", "–", result.fault]
    rate = statistics.median(result.rates) / 1e6
    cells = [f"{min(result.alone):.0f}", f"{min(result.beside):.0f}", f"{result.ratio:.2f}", f"{rate:.0f}"]
    return [result.server.title, *cells, ""]


def _verdict(result: LatencyResult) -> Verdict:
    return Verdict(
        "latency: p99 beside a stream over p99 alone",
        DOUBLED,
        None if result.fault else result.ratio,
        "×",
        remark=result.fault.partition(":")[0],
        noisy=result.noise > NOISE_LIMIT,
    )
