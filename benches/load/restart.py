"""Whether a rolling restart is felt: SIGHUP under a steady rate of requests, every latency beside those before it."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from benches.load import client, machine, peers, runner
from benches.load.processes import Process, ServerFailed
from benches.load.report import Section, Verdict
from benches.load.runner import Plan
from benches.load.scenarios import BY_NAME
from benches.load.servers import catalog
from benches.load.workers import require_workers

SCENARIO = BY_NAME["hello"]
RATE = 500
CALM, RESTARTS = 5.0, 8.0
"""Seconds before the first SIGHUP, and from then on."""
WORKERS = 2
ADDED_LIMIT_MS = 250.0

MODES = {
    "two workers": {"workers": str(WORKERS)},
    "two workers, preloaded": {"workers": str(WORKERS), "preload": "true"},
    "two workers, one socket": {"workers": str(WORKERS), "sockets": "shared"},
}


@dataclass
class Felt:
    """What one way of running workers did to the requests; latencies in milliseconds."""

    calm: list[float] = field(default_factory=list)
    restarting: list[float] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    """How long each restart took, in seconds."""
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    raced: int = 0
    lag: float = 0.0
    fault: str = ""

    @property
    def added(self) -> float:
        """By how much the slowest request of the restarts was slower than the slowest before."""
        return max(self.restarting) - max(self.calm)


def quantile(values: list[float], part: float) -> float:
    """The least value that ``part`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(part * 1000) // 1000) - 1)]


def restarted(process: Process, seconds: float) -> float:
    """Send SIGHUP, wait until all workers are others; how long that took. Raises ServerFailed after ``seconds``."""
    old = set(process.tree()) - {process.pid}
    os.kill(process.pid, signal.SIGHUP)
    started = time.monotonic()
    while True:
        now = set(process.tree()) - {process.pid}
        if not now & old and len(now) >= WORKERS:
            return time.monotonic() - started
        if time.monotonic() - started > seconds:
            raise ServerFailed(f"workers {sorted(now & old)} still run {seconds:g} s after SIGHUP")
        time.sleep(0.02)


def measure(mode: str, plan: Plan, *, calm: float = CALM, restarts: float = RESTARTS) -> Felt:
    """Ask at a steady rate for ``calm`` seconds, then for ``restarts`` seconds while the workers are replaced."""
    felt = Felt()
    cores = plan.cores.shared()
    try:
        with ExitStack() as stack:
            standing = runner.start(stack, catalog.FASTNET, SCENARIO, cores, settings=MODES[mode])
            require_workers(standing.process, MODES[mode])
            argv = [sys.executable, "-m", "benches.load.steady", str(standing.port), str(RATE), f"{calm + restarts:g}"]
            with machine.on_core(cores.load):
                asking = subprocess.Popen(argv, cwd=machine.ROOT, stdout=subprocess.PIPE, text=True)
            stack.callback(_end, asking)
            assert asking.stdout is not None
            asking.stdout.readline()
            time.sleep(calm)
            first = time.monotonic()
            # As many as there is time for, the last one done while requests still come.
            while not felt.restarts or time.monotonic() - first + 1.5 * max(felt.restarts) < restarts:
                felt.restarts.append(restarted(standing.process, restarts))
            seen = json.loads(asking.stdout.readline())
            client.check(standing.port, SCENARIO, live=True, rounds=runner.CHECKS_AFTER)
    except (peers.NotAvailable, ServerFailed) as error:
        felt.fault = f"not available: {error}"
    except client.WrongAnswer as error:
        felt.fault = f"disqualified: {error}"
    else:
        for due, latency in seen["latencies"]:
            (felt.calm if due < first else felt.restarting).append(latency * 1e3)
        felt.failed, felt.failures = seen["failed"], seen["failures"]
        felt.raced, felt.lag = seen["raced"], seen["lag"] * 1e3
    return felt


def _end(asking: subprocess.Popen[str]) -> None:
    asking.kill()
    asking.wait()
    if asking.stdout is not None:
        asking.stdout.close()


def run(plan: Plan, *, quick: bool) -> list[Section]:
    """The table of restarts; ``quick`` takes the first way of running workers only, for a shorter time."""
    section = Section(
        f"restart: SIGHUP under {RATE} requests a second, half of them on new connections",
        ["workers", "restarts", "s each", "p50 ms", "p99.9 ms", "max ms", "max before", "failed", "raced", "remark"],
        notes=[
            "latencies of an open loop, from the time a request was due; p50, p99.9 and max are of the restarts",
            "raced: a kept connection was closed as the request left; asked again, as clients do, and counted whole",
        ],
    )
    for mode in list(MODES)[: 1 if quick else None]:
        print(f"measuring restart of {mode} …", flush=True)
        felt = measure(mode, plan, calm=2.0, restarts=4.0) if quick else measure(mode, plan)
        section.rows.append(_row(mode, felt))
        section.verdicts += verdicts(mode, felt)
        section.data[mode] = vars(felt)
        if felt.lag:
            section.notes.append(f"{mode}: the asking process was late by {felt.lag:.1f} ms at most")
        section.notes += [f"{mode}: {failure}" for failure in felt.failures]
        if felt.fault:
            section.failed.append(catalog.FASTNET.name)
    return [section]


def _row(mode: str, felt: Felt) -> list[str]:
    if felt.fault:
        return [mode, *["–"] * 8, felt.fault]
    after = felt.restarting
    cells = [f"{value:.2f}" for value in (quantile(after, 0.5), quantile(after, 0.999), max(after), max(felt.calm))]
    took = f"{statistics.median(felt.restarts):.2f}"
    return [mode, str(len(felt.restarts)), took, *cells, str(felt.failed), str(felt.raced), ""]


def verdicts(mode: str, felt: Felt) -> list[Verdict]:
    """No request slower by more than the limit, and none failed."""
    remark = felt.fault.partition(":")[0]
    added = None if felt.fault else felt.added
    failed = None if felt.fault else float(felt.failed)
    return [
        Verdict(f"restart: added to the slowest request, {mode}", ADDED_LIMIT_MS, added, " ms", remark=remark),
        Verdict(f"restart: failed requests, {mode}", 0.0, failed, remark=remark),
    ]
