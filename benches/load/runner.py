"""Runs scenarios: all servers of one scenario stand side by side and take turns under load.

For each repetition and each server: read the CPU clock of its process tree, load it, read the clock again. What is
kept is CPU time per answer, which depends on the machine's mood far less than answers per second do, and because the
turns interleave, the ratios between servers depend on it least of all.
"""

import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benches.load import client, machine, peers, protocols, wrk
from benches.load.certificate import certificate
from benches.load.processes import CpuMeter, Process, ServerFailed, free_port
from benches.load.scenarios import Scenario
from benches.load.servers.catalog import Launch, Server

READY_SECONDS = 20.0
CHECKS_BEFORE = 20
CHECKS_AFTER = 5

NOISE_LIMIT = 0.10
"""Share of the two cores taken by others from which on a turn, or a whole section, is called noisy."""

ATTEMPTS = 3
"""A noisy turn is taken again, so many times in all, and the quietest counts: chosen by the noise, not by the cost."""


@dataclass(frozen=True)
class Sample:
    """One turn of one server."""

    requests: int
    seconds: float
    cpu: float
    """CPU seconds of the server's process tree."""
    load_cpu: float
    """CPU seconds of the load generator."""
    others: float
    """CPU seconds that somebody else took from the two cores."""
    wire: int = 0
    """As ``Load.wire``."""

    @property
    def cost(self) -> float:
        """Server CPU microseconds per request."""
        return self.cpu / self.requests * 1e6

    @property
    def size(self) -> int:
        """Bytes of an answer as it came, on average; whole ones, since a turn ends anywhere in a round of messages."""
        return round(self.wire / self.requests)

    @property
    def noise(self) -> float:
        """The share of the two cores that somebody else took."""
        return self.others / (2 * self.seconds)


@dataclass
class Result:
    """One server in one scenario. ``fault`` says why it has no samples: not available, or disqualified."""

    server: Server
    samples: list[Sample] = field(default_factory=list)
    fault: str = ""

    @property
    def costs(self) -> list[float]:
        return [sample.cost for sample in self.samples]

    @property
    def sizes(self) -> list[int]:
        return [sample.size for sample in self.samples]

    @property
    def median(self) -> float:
        return statistics.median(self.costs)

    @property
    def rate(self) -> float:
        """Requests answered per second, median of the turns."""
        return statistics.median(sample.requests / sample.seconds for sample in self.samples)

    @property
    def busy(self) -> float:
        """Share of the wall time the server was computing; far below 1 it was waiting for the load generator."""
        return statistics.median(sample.cpu / sample.seconds for sample in self.samples)

    def disqualify(self, reason: str) -> None:
        """Void everything measured so far."""
        self.samples.clear()
        self.fault = f"disqualified: {reason}"


@dataclass
class Standing:
    """A server that is up and has answered rightly."""

    result: Result
    process: Process
    port: int
    answer_size: int


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    repetitions: int
    seconds: float
    warm_up: float
    cores: machine.Cores


def wait_until_ready(process: Process, port: int) -> None:
    """Return once the server accepts connections. Raises ServerFailed when it ends or takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        process.require_running()
        try:
            with client.Connection(port):
                return
        except client.WrongAnswer:
            if time.monotonic() > deadline:
                raise ServerFailed(f"not ready after {READY_SECONDS:.0f} s: {process.last_words()}") from None
            time.sleep(0.05)


def start(
    stack: ExitStack,
    server: Server,
    scenario: Scenario,
    cores: machine.Cores,
    routes: int = 0,
    settings: Mapping[str, str] | None = None,
) -> Standing:
    """Start a server pinned to its core and check its answers; ``stack`` stops it.

    Raises NotAvailable or ServerFailed when it does not come up, WrongAnswer when it answers wrong.
    """
    scratch = Path(tempfile.mkdtemp(prefix="fastnet-bench-"))
    stack.callback(shutil.rmtree, scratch, ignore_errors=True)
    # The server's worker may be another user (nginx started by root), and works in this folder.
    scratch.chmod(0o755)
    port = free_port()
    protocol = protocols.BY_NAME[scenario.protocol]
    tls = certificate() if protocol.tls else None
    process = server.start(Launch(port, scenario, scratch, routes, tls, settings or {}), cores.server)
    stack.callback(process.stop)
    wait_until_ready(process, port)
    size = protocol.check(port, scenario, server.live, CHECKS_BEFORE)
    return Standing(Result(server), process, port, size)


def start_all(
    stack: ExitStack, servers: Iterable[Server], scenario: Scenario, cores: machine.Cores
) -> tuple[list[Standing], list[Result]]:
    """Start every server; the second list holds those that are not there, each with its reason."""
    standing: list[Standing] = []
    absent: list[Result] = []
    for server in servers:
        try:
            standing.append(start(stack, server, scenario, cores))
        except (peers.NotAvailable, ServerFailed) as error:
            absent.append(Result(server, fault=f"not available: {error}"))
        except client.WrongAnswer as error:
            absent.append(Result(server, fault=f"disqualified: {error}"))
    return standing, absent


class Surroundings:
    """What others take from the two cores between construction and ``others``."""

    def __init__(self, cores: machine.Cores) -> None:
        self._cores = cores
        self._busy = machine.busy_seconds(cores)
        self._ours = _our_seconds()

    def others(self, server: float) -> float:
        """CPU seconds spent by neither us, nor children that have ended, nor the server, which spent ``server``."""
        busy = machine.busy_seconds(self._cores) - self._busy
        return max(0.0, busy - server - (_our_seconds() - self._ours))


def _our_seconds() -> float:
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def turn(standing: Standing, scenario: Scenario, seconds: float, cores: machine.Cores) -> Sample:
    """Load one server once. Raises LoadFailed or ServerFailed when the turn does not count."""
    around = Surroundings(cores)
    meter = CpuMeter(standing.process)
    load = protocols.BY_NAME[scenario.protocol].load(standing.port, scenario, seconds, cores.load)
    cpu = meter.spent()
    others = around.others(cpu)
    load.require_clean(standing.answer_size, scenario.connections * scenario.depth)
    return Sample(load.requests, load.seconds, cpu, load.cpu, others, load.wire)


def quiet_turn(standing: Standing, scenario: Scenario, seconds: float, cores: machine.Cores) -> Sample:
    """The first turn that others did not disturb, or the least disturbed of ATTEMPTS. Raises what ``turn`` raises."""
    best = turn(standing, scenario, seconds, cores)
    for _ in range(ATTEMPTS - 1):
        if best.noise <= NOISE_LIMIT:
            break
        again = turn(standing, scenario, seconds, cores)
        best = min(best, again, key=lambda sample: sample.noise)
    return best


def run_scenario(scenario: Scenario, servers: Sequence[Server], plan: Plan) -> list[Result]:
    """Measure the servers that can answer this scenario; every one of them has a Result, in the given order."""
    able = [server for server in servers if scenario.name in server.scenarios]
    with ExitStack() as stack:
        standing, absent = start_all(stack, able, scenario, plan.cores)
        in_race = list(standing)

        def attempt(one: Standing, take: Callable[..., Sample], seconds: float) -> Sample | None:
            try:
                return take(one, scenario, seconds, plan.cores)
            except (wrk.LoadFailed, ServerFailed) as error:
                one.result.disqualify(str(error))
                in_race.remove(one)
                return None

        for one in list(in_race):
            attempt(one, turn, plan.warm_up)
        for repetition in range(plan.repetitions):
            # Nobody runs after the same neighbour each time.
            shift = repetition % max(1, len(in_race))
            for one in in_race[shift:] + in_race[:shift]:
                if (sample := attempt(one, quiet_turn, plan.seconds)) is not None:
                    one.result.samples.append(sample)
        for one in list(in_race):
            try:
                protocols.BY_NAME[scenario.protocol].check(one.port, scenario, one.result.server.live, CHECKS_AFTER)
            except client.WrongAnswer as error:
                one.result.disqualify(f"after the load: {error}")
    by_name = {result.server.name: result for result in [*absent, *(one.result for one in standing)]}
    return [by_name[server.name] for server in able]
