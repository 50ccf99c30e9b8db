"""What a switch of fastnet costs: all limits, the access log, each beside the same server without it.

A few per cent are below what a run of one process pair can tell: where its memory happens to lie makes as much of a
difference. So each repetition starts fresh processes, takes its turns forth and back (A B C C B A), and gives one
ratio; the verdict is their median, and beside it stands the interval in which the true one lies with 95 % confidence.
"""

import math
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields

from benches.load import client, peers, report, runner, wrk
from benches.load.processes import Process, ServerFailed
from benches.load.report import Section, Verdict
from benches.load.runner import NOISE_LIMIT, Plan
from benches.load.scenarios import BY_NAME
from benches.load.servers import catalog
from fastnet.server.config import Config

SCENARIO = BY_NAME["hello"]
REPETITIONS = 14
CONFIDENCE = 0.95
LOG_SECONDS = 5.0
"""How long after the load the last line of an access log may come."""

ON = {"limit_connections_per_address": "100000", "limit_in_flight": "100000", "limit_queue_time": "5s"}
"""Values, never reached here, for limits that have none by default."""

HIGHEST = {"limit_request_line": "16MiB", "limit_head": "16MiB", "limit_fields": "1024", "limit_streams": "1000"}
"""What a parser needs a bound of cannot be turned off."""


@dataclass(frozen=True)
class Switch:
    """Two variants of one server, and by how much the first may be dearer."""

    name: str
    dearer: str
    cheaper: str
    limit: float


@dataclass
class Turns:
    """Each variant's costs in microseconds, one per repetition."""

    costs: dict[str, list[float]] = field(default_factory=dict)
    noises: list[float] = field(default_factory=list)
    unlogged: str = ""
    """Why the access log's costs do not count."""

    def ratios(self, switch: Switch) -> list[float]:
        pairs = zip(self.costs.get(switch.dearer, ()), self.costs.get(switch.cheaper, ()), strict=False)
        return [dearer / cheaper for dearer, cheaper in pairs]


def limit_names() -> list[str]:
    """The settings that are limits of what a peer may do."""
    drain = "timeout_drain"  # of stopping, and no peer's matter
    names = (item.name for item in fields(Config) if item.name != drain)
    return [name for name in names if name.startswith(("limit_", "timeout_", "rate_"))]


LOGGED = "access log"
LINE = 40
"""Bytes that a line of an access log has at the very least."""

VARIANTS = {
    "limits on": {**ON, "access_log": "false"},
    "limits off": {**dict.fromkeys(limit_names(), "0"), **HIGHEST, "access_log": "false"},
    LOGGED: {**ON, "access_log": "true"},
}
SWITCHES = (
    Switch("all limits", "limits on", "limits off", 1.03),
    Switch("access log", LOGGED, "limits on", 1.10),
)


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Where the median of what the values are drawn from lies, whatever its distribution; None with too few values.

    The number of values below the median is binomial with p = 1/2, so order statistics bound it.
    """
    ordered = sorted(values)
    count = len(ordered)
    tail = 0.0
    for rank in range(count // 2 + 1):
        tail += math.comb(count, rank) / 2**count
        if 2 * tail > 1 - confidence:
            return None if rank == 0 else (ordered[rank - 1], ordered[count - rank])
    return None


def _repetition(turns: Turns, plan: Plan) -> None:
    """Fresh processes, each asked twice, forth and back. Raises what a turn may raise."""
    with ExitStack() as stack:
        up = {
            name: runner.start(stack, catalog.FASTNET, SCENARIO, plan.cores, settings=settings)
            for name, settings in VARIANTS.items()
            if not (turns.unlogged and name == LOGGED)
        }
        for standing in up.values():
            runner.turn(standing, SCENARIO, plan.warm_up, plan.cores)
        spent = dict.fromkeys(up, (0.0, 0))
        log = up[LOGGED].process if LOGGED in up else None
        before = log.written() if log is not None else 0
        for name in [*up, *reversed(up)]:
            sample = runner.turn(up[name], SCENARIO, plan.seconds, plan.cores)
            cpu, requests = spent[name]
            spent[name] = (cpu + sample.cpu, requests + sample.requests)
            turns.noises.append(sample.noise)
        if log is not None:
            turns.unlogged = _unlogged(log, before + spent[LOGGED][1] * LINE)
        for standing in up.values():
            client.check(standing.port, SCENARIO, live=True, rounds=runner.CHECKS_AFTER)
    for name, (cpu, requests) in spent.items():
        turns.costs.setdefault(name, []).append(cpu / requests * 1e6)


def _unlogged(process: Process, size: int) -> str:
    """What is wrong with a log that has no line for each request: what is not written costs nothing."""
    deadline = time.monotonic() + LOG_SECONDS
    while process.written() < size:
        if time.monotonic() > deadline:
            return f"disqualified: a log of {process.written():,} bytes where {size:,} are the least"
        time.sleep(0.05)
    return ""


def run(plan: Plan, *, quick: bool) -> list[Section]:
    """The table of switches; ``quick`` takes two repetitions."""
    print("measuring switches …", flush=True)
    repetitions = 2 if quick else REPETITIONS
    turns, fault = Turns(), ""
    try:
        for _ in range(repetitions):
            _repetition(turns, plan)
    except (peers.NotAvailable, ServerFailed) as error:
        fault = f"not available: {error}"
    except (client.WrongAnswer, wrk.LoadFailed) as error:
        fault = f"disqualified: {error}"
    noise = statistics.fmean(turns.noises) if turns.noises else 0.0
    section = Section(
        "switches: CPU µs per GET / of fastnet with limits and access log on and off",
        ["variant", "µs/request", "min", "remark"],
        notes=[
            f"{repetitions} repetitions with fresh processes, two turns of {plan.seconds:g} s for each variant, forth "
            f"and back; in parentheses the {CONFIDENCE:.0%} interval of the median",
            f"limits on: the defaults, and {', '.join(f'{name} {value}' for name, value in ON.items())}",
            f"limits off: {', '.join(f'{name} {value}' for name, value in VARIANTS['limits off'].items())}",
            report.noise_note(noise, NOISE_LIMIT),
        ],
    )
    for name in VARIANTS:
        costs = turns.costs.get(name)
        wrong = fault or (turns.unlogged if name == LOGGED else "")
        if costs and not wrong:
            section.rows.append([name, f"{statistics.median(costs):.3f}", f"{min(costs):.3f}", ""])
        else:
            section.rows.append([name, "–", "–", wrong])
    section.verdicts = [verdict(switch, turns, fault, noisy=noise > NOISE_LIMIT) for switch in SWITCHES]
    section.failed = [catalog.FASTNET.name] if fault or turns.unlogged else []
    section.data = {"costs": turns.costs, "fault": fault or turns.unlogged}
    return [section]


def verdict(switch: Switch, turns: Turns, fault: str, *, noisy: bool = False) -> Verdict:
    """What a switch costs beside what it may cost."""
    fault = fault or (turns.unlogged if LOGGED in (switch.dearer, switch.cheaper) else "")
    ratios = [] if fault else turns.ratios(switch)
    return Verdict(
        f"switches: {switch.name}, {switch.dearer} over {switch.cheaper}",
        switch.limit,
        statistics.median(ratios) if ratios else None,
        "×",
        spread=median_interval(ratios),
        remark=fault.partition(":")[0],
        noisy=noisy,
    )
