"""What a rate limit costs, and how exactly four workers together keep one."""

import os
import statistics
import struct
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from benches.load import client, peers, report, runner, wrk
from benches.load.processes import Process, ServerFailed
from benches.load.report import Section, Verdict
from benches.load.runner import NOISE_LIMIT, Plan
from benches.load.scenarios import BY_NAME, Request, Scenario
from benches.load.servers import catalog
from benches.load.switches import CONFIDENCE, REPETITIONS, median_interval
from benches.load.workers import require_workers

FREE, LIMITED, TOLD = "no limit", "a limit of each client", "the same, with RateLimit fields on every answer"
PATHS = {FREE: "/free", LIMITED: "/rate", TOLD: "/told"}
COST_LIMIT = 1.03

WORKERS = 4
RATE = 2000
"""Requests a second of ``/counted``."""
SECONDS = 10.0
EXACT = 0.1
"""Per cent by which what was admitted may differ from the limit."""


def scenario_of(path: str) -> Scenario:
    return replace(BY_NAME["hello"], request=Request(path))


SERVER = replace(catalog.FASTNET, title="fastnet with rate limits", command=catalog.fastnet("limits_app"))


# --- what it costs


@dataclass
class Costs:
    """Microseconds of each variant, one per repetition."""

    costs: dict[str, list[float]] = field(default_factory=dict)
    noises: list[float] = field(default_factory=list)
    fault: str = ""

    def ratios(self, name: str) -> list[float]:
        return [one / free for one, free in zip(self.costs.get(name, ()), self.costs.get(FREE, ()), strict=False)]


def _repetition(found: Costs, plan: Plan) -> None:
    """One fresh process, whose routes take turns forth and back: nothing but the route differs."""
    scenarios = {name: scenario_of(path) for name, path in PATHS.items()}
    with ExitStack() as stack:
        standing = runner.start(stack, SERVER, scenarios[FREE], plan.cores)
        sizes = {name: client.check(standing.port, one, live=True, rounds=5) for name, one in scenarios.items()}
        for name, one in scenarios.items():
            standing.answer_size = sizes[name]
            runner.turn(standing, one, plan.warm_up, plan.cores)
        spent: dict[str, tuple[float, int]] = dict.fromkeys(PATHS, (0.0, 0))
        for name in [*PATHS, *reversed(PATHS)]:
            standing.answer_size = sizes[name]
            sample = runner.turn(standing, scenarios[name], plan.seconds, plan.cores)
            cpu, requests = spent[name]
            spent[name] = (cpu + sample.cpu, requests + sample.requests)
            found.noises.append(sample.noise)
    for name, (cpu, requests) in spent.items():
        found.costs.setdefault(name, []).append(cpu / requests * 1e6)


def _costs(plan: Plan, repetitions: int) -> Costs:
    found = Costs()
    try:
        for _ in range(repetitions):
            _repetition(found, plan)
    except (peers.NotAvailable, ServerFailed) as error:
        found.fault = f"not available: {error}"
    except (client.WrongAnswer, wrk.LoadFailed) as error:
        found.fault = f"disqualified: {error}"
    return found


def cost_verdicts(found: Costs, *, noisy: bool = False) -> list[Verdict]:
    """What a limit costs, beside what it may cost. The fields on every answer are asked for, and have no target."""
    ratios = [] if found.fault else found.ratios(LIMITED)
    return [
        Verdict(
            "limits: a rate-limited route over a free one",
            COST_LIMIT,
            statistics.median(ratios) if ratios else None,
            "×",
            spread=median_interval(ratios),
            remark=found.fault.partition(":")[0],
            noisy=noisy,
        )
    ]


def _costs_section(plan: Plan, *, quick: bool) -> Section:
    print("measuring rate limits …", flush=True)
    repetitions = 2 if quick else REPETITIONS
    found = _costs(replace(plan, seconds=1), repetitions)
    noise = statistics.fmean(found.noises) if found.noises else 0.0
    section = Section(
        "limits: CPU µs per GET of a route with a rate limit, by client address, that is never reached",
        ["route", "µs/request", "min", "× free", "remark"],
        notes=[
            f"{repetitions} repetitions with a fresh process, two turns of 1 s for each route, forth and back; in "
            f"parentheses the {CONFIDENCE:.0%} interval of the median",
            report.noise_note(noise, NOISE_LIMIT),
        ],
        data={"costs": found.costs, "fault": found.fault},
        failed=[SERVER.name] if found.fault else [],
    )
    for name in PATHS:
        costs = found.costs.get(name)
        if costs and not found.fault:
            ratio = statistics.median(found.ratios(name))
            section.rows.append([name, f"{statistics.median(costs):.3f}", f"{min(costs):.3f}", f"{ratio:.3f}", ""])
        else:
            section.rows.append([name, "–", "–", "–", found.fault])
    section.verdicts = cost_verdicts(found, noisy=noise > NOISE_LIMIT)
    return section


# --- how exactly it is kept


@dataclass
class Kept:
    """What four workers admitted under a load that was always above the limit."""

    admitted: int = 0
    asked: int = 0
    seconds: float = 0.0
    fault: str = ""

    @property
    def off(self) -> float:
        """Per cent."""
        return abs(self.admitted / (RATE * self.seconds) - 1) * 100


def counted(folder: Path) -> tuple[float, int]:
    """The moment, and what all workers have admitted until then."""
    paths = list(folder.iterdir())
    before = time.monotonic()
    total = sum(struct.unpack("=Q", path.read_bytes())[0] for path in paths)
    return (before + time.monotonic()) / 2, total


def _start(stack: ExitStack, plan: Plan, folder: Path) -> tuple[Process, int]:
    os.environ["BENCH_COUNTS"] = str(folder)
    stack.callback(os.environ.pop, "BENCH_COUNTS")
    settings = {"workers": str(WORKERS)}
    standing = runner.start(stack, SERVER, scenario_of("/free"), plan.cores.shared(), settings=settings)
    require_workers(standing.process, settings)
    return standing.process, standing.port


def _kept(plan: Plan, seconds: float) -> Kept:
    found = Kept()
    loads: list[wrk.Load] = []
    scenario = replace(scenario_of("/counted"), connections=64)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastnet-bench-")))
            process, port = _start(stack, plan, folder)
            place = plan.cores.shared().load

            def load() -> None:
                loads.append(wrk.run(port, scenario, seconds + 4, core=place))

            thread = threading.Thread(target=load)
            thread.start()
            stack.callback(thread.join)
            # Until all connections are there, and what may come at once has come.
            time.sleep(2)
            began, before = counted(folder)
            time.sleep(seconds)
            ended, after = counted(folder)
            thread.join()
            process.require_running()
            found.seconds, found.admitted = ended - began, after - before
        if not loads:
            raise wrk.LoadFailed("wrk did not run")
        found.asked = round(loads[0].requests / loads[0].seconds * found.seconds)
        refused = loads[0].errors.pop("status")
        if bad := {kind: count for kind, count in loads[0].errors.items() if count}:
            raise wrk.LoadFailed(f"the load generator counted {bad}")
        if refused < loads[0].requests / 10:
            raise wrk.LoadFailed(f"only {refused} of {loads[0].requests} were refused: the load was near the limit")
    except (peers.NotAvailable, ServerFailed) as error:
        found.fault = f"not available: {error}"
    except (client.WrongAnswer, wrk.LoadFailed) as error:
        found.fault = f"disqualified: {error}"
    return found


def kept_verdict(found: Kept) -> Verdict:
    return Verdict(
        f"limits: admitted by {WORKERS} workers, off the limit",
        EXACT,
        None if found.fault else found.off,
        " %",
        remark=found.fault.partition(":")[0],
    )


def _kept_section(plan: Plan, *, quick: bool) -> Section:
    print("measuring a limit of four workers …", flush=True)
    seconds = 3.0 if quick else SECONDS
    found = _kept(plan, seconds)
    section = Section(
        f"limits: what {WORKERS} workers admit of {RATE} requests a second for everybody",
        ["seconds", "asked", "admitted", "the limit", "off", "remark"],
        notes=[
            "64 connections; admitted requests are counted by the handlers, from the outside, while the load goes on"
        ],
        data={"admitted": found.admitted, "asked": found.asked, "seconds": found.seconds, "fault": found.fault},
        failed=[SERVER.name] if found.fault else [],
    )
    if found.fault:
        section.rows.append(["–", "–", "–", "–", "–", found.fault])
    else:
        limit = f"{RATE * found.seconds:.1f}"
        section.rows.append(
            [f"{found.seconds:.4f}", str(found.asked), str(found.admitted), limit, f"{found.off:.3f} %", ""]
        )
    section.verdicts = [kept_verdict(found)]
    return section


def run(plan: Plan, *, quick: bool) -> list[Section]:
    """The tables of rate limits."""
    return [_costs_section(plan, quick=quick), _kept_section(plan, quick=quick)]
