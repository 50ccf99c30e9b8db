"""What a thousand event streams cost, beside sse-starlette on uvicorn: ten events a second each."""

import json
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from benches.load import client, machine, peers, report, runner
from benches.load.processes import CpuMeter, Process, ServerFailed, free_port
from benches.load.report import Section, Verdict
from benches.load.runner import NOISE_LIMIT, Plan
from benches.load.servers.catalog import APPS, ROOT

CLIENTS = 1000
RATE = 10
LEAST = 0.5
"""The share of its events that a turn must have brought: a server that falls behind costs less."""
LIMIT = 1 / 3


@dataclass
class EventsResult:
    """Server CPU microseconds for each event, one a repetition."""

    title: str
    costs: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    noise: float = 0.0
    fault: str = ""


def _fastnet(port: int, core: machine.Place) -> Process:
    argv = [sys.executable, "-m", "fastnet", "run", "benches.load.servers.events_fastnet_app:app"]
    return Process([*argv, "--host", "127.0.0.1", "--port", str(port)], core=core, cwd=ROOT)


def _starlette(port: int, core: machine.Place) -> Process:
    for name in ("sse-starlette", "starlette", "uvicorn", "uvloop", "httptools", "orjson"):
        peers.require(name)
    argv = [str(peers.python()), "-m", "uvicorn", "events_starlette_app:app", "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--loop", "uvloop", "--http", "httptools", "--ws", "none", "--no-access-log"]
    return Process([*argv, "--log-level", "warning", "--backlog", "4096"], core=core, cwd=APPS)


SERVERS = {"fastnet": (_fastnet, "fastnet"), "sse-starlette": (_starlette, "sse-starlette on uvicorn, uvloop")}


class Readers:
    """The process that reads all streams of a server; a context manager."""

    def __init__(self, port: int, cores: machine.Cores, clients: int) -> None:
        argv = [sys.executable, "-m", "benches.load.event_reader", str(port), str(clients)]
        with machine.on_core(cores.load):
            self._process = subprocess.Popen(
                argv, cwd=machine.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._output, self._input = self._process.stdout, self._process.stdin
        if self._output.readline().strip() != "ready":
            self.close()
            raise client.WrongAnswer("not every client has had a right event")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()
        self._input.close()

    def count(self) -> dict[str, int]:
        """What has come since the last count. Raises WrongAnswer when a stream has ended."""
        try:
            self._input.write("count\n")
            self._input.flush()
            return dict(json.loads(self._output.readline()))
        except (OSError, ValueError) as error:
            raise client.WrongAnswer("a stream ended") from error


def _measure(name: str, plan: Plan, clients: int) -> EventsResult:
    start, title = SERVERS[name]
    result = EventsResult(title)
    try:
        with ExitStack() as stack:
            port = free_port()
            process = start(port, plan.cores.server)
            stack.callback(process.stop)
            runner.wait_until_ready(process, port)
            readers = Readers(port, plan.cores, clients)
            stack.callback(readers.close)
            time.sleep(plan.warm_up)
            for _ in range(plan.repetitions):
                readers.count()
                around, meter, started = runner.Surroundings(plan.cores), CpuMeter(process), time.monotonic()
                time.sleep(plan.seconds)
                came, spent, elapsed = readers.count(), meter.spent(), time.monotonic() - started
                if came["fewest"] < LEAST * RATE * elapsed - 1:
                    raise client.WrongAnswer(f"a client had {came['fewest']} events in {elapsed:.1f} s")
                result.costs.append(spent / came["events"] * 1e6)
                result.rates.append(came["events"] / elapsed)
                result.noise = max(result.noise, around.others(spent) / (2 * elapsed))
    except (peers.NotAvailable, ServerFailed) as error:
        result.fault = f"not available: {error}"
    except (client.WrongAnswer, OSError) as error:
        result.fault = f"disqualified: {error}"
    return result


def run(plan: Plan, *, quick: bool) -> list[Section]:
    """The table of both servers; ``quick`` opens a tenth of the streams."""
    clients = CLIENTS // 10 if quick else CLIENTS
    section = Section(
        f"events: {clients:,} clients, {RATE} events a second each",
        ["server", "CPU µs an event", "events a second", "remark"],
        notes=[f"{plan.repetitions} repetitions of {plan.seconds} s; the median"],
    )
    results = {name: _measure(name, plan, clients) for name in SERVERS}
    for name, result in results.items():
        if result.fault:
            section.rows.append([result.title, "–", "–", result.fault])
            section.failed.append(name)
        else:
            cells = [f"{statistics.median(result.costs):.1f}", f"{statistics.median(result.rates):,.0f}"]
            section.rows.append([result.title, *cells, ""])
        section.data[name] = {"fault": result.fault, "costs": result.costs, "rates": result.rates}
    noise = max(result.noise for result in results.values())
    section.notes.append(report.noise_note(noise, NOISE_LIMIT))
    ours, theirs = results.values()
    measured = None
    if not (ours.fault or theirs.fault):
        measured = statistics.median(ours.costs) / statistics.median(theirs.costs)
    section.verdicts.append(
        Verdict(
            "events: CPU an event over sse-starlette's",
            LIMIT,
            measured,
            "×",
            below=True,
            remark=(ours.fault or theirs.fault).partition(":")[0],
            noisy=noise > NOISE_LIMIT,
        )
    )
    return [section]
