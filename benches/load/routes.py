"""Whether the cost of a request depends on the number of routes."""

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from benches.load import client, peers, report, runner, targets, wrk
from benches.load.processes import ServerFailed
from benches.load.report import Section, Verdict
from benches.load.runner import NOISE_LIMIT, Plan, Sample
from benches.load.scenarios import JSON, Request, Scenario, answer
from benches.load.servers import catalog

COUNTS = (10, 100, 1_000, 5_000)
FLAT_LIMIT = 1.10
"""5,000 routes over 10: what a deeper tree and a larger working set may cost, and what this bench can tell apart."""

DEFAULT = "fastnet,aiohttp,blacksheep,fastapi"


def scenarios(count: int) -> tuple[Scenario, Scenario]:
    """A static and a parameter route among ``count``: the last of each, which a list is searched for longest."""
    last = count // 2 - 1
    static, parameter = Request(f"/api/resource{last}/list"), Request(f"/api/resource{last}/42")
    return (
        Scenario(f"static-{count}", static.path, static, answer(200, JSON, b'{"id":0,"verbose":false}')),
        Scenario(f"parameter-{count}", parameter.path, parameter, answer(200, JSON, b'{"id":42,"verbose":false}')),
    )


Turns = dict[tuple[str, int], list[Sample]]
"""The turns by kind of route and number of routes."""


def _measure(server: catalog.Server, counts: Sequence[int], plan: Plan) -> Turns:
    """All numbers of routes stand side by side and take turns. Raises what a turn may raise."""
    turns: Turns = {}
    with ExitStack() as stack:
        standing = []
        for count in counts:
            static, parameter = scenarios(count)
            up = runner.start(stack, server, static, plan.cores, routes=count)
            size = client.check(up.port, parameter, live=True, rounds=runner.CHECKS_BEFORE)
            standing.append((("static", count), static, up))
            standing.append((("parameter", count), parameter, replace(up, answer_size=size)))
        for _, scenario, up in standing:
            runner.turn(up, scenario, plan.warm_up, plan.cores)
        for repetition in range(plan.repetitions):
            shift = repetition % len(standing)
            for key, scenario, up in standing[shift:] + standing[:shift]:
                turns.setdefault(key, []).append(runner.quiet_turn(up, scenario, plan.seconds, plan.cores))
        for _, scenario, up in standing:
            client.check(up.port, scenario, live=True, rounds=runner.CHECKS_AFTER)
    return turns


def run(names: str | None, plan: Plan, *, quick: bool) -> list[Section]:
    """The table of routes; ``quick`` measures the ends of the scale only."""
    counts = (COUNTS[0], COUNTS[-1]) if quick else COUNTS
    able = [server for server in catalog.ALL if server.routes]
    header = ["server", "route", *(f"{count:,} routes" for count in counts), "last/first", "remark"]
    section = Section("routes: CPU µs per request by number of routes", header)
    noises: list[float] = []
    for server in catalog.choose(names or DEFAULT, among=able):
        print(f"measuring routes of {server.name} …", flush=True)
        fault, turns = "", Turns()
        try:
            turns = _measure(server, counts, plan)
        except (peers.NotAvailable, ServerFailed) as error:
            fault = f"not available: {error}"
        except (client.WrongAnswer, wrk.LoadFailed) as error:
            fault = f"disqualified: {error}"
        if fault:
            section.failed.append(server.name)
        for kind in ("static", "parameter"):
            section.rows.append(_row(server, kind, counts, turns, fault))
        section.data[server.name] = {
            "fault": fault,
            "costs": {f"{kind}-{count}": [turn.cost for turn in taken] for (kind, count), taken in turns.items()},
        }
        if server is catalog.FASTNET:
            section.verdicts = [_verdict(kind, counts, turns, fault) for kind in ("static", "parameter")]
        noises += [turn.noise for taken in turns.values() for turn in taken]
    section.notes.append(f"{plan.repetitions} interleaved turns of {plan.seconds:g} s each; the last route is asked")
    noise = statistics.fmean(noises) if noises else 0.0
    section.notes.append(report.noise_note(noise, NOISE_LIMIT))
    section.verdicts = [replace(verdict, noisy=noise > NOISE_LIMIT) for verdict in section.verdicts]
    return [section]


def _ratios(kind: str, counts: Sequence[int], turns: Turns) -> list[float]:
    most, fewest = ([turn.cost for turn in turns.get((kind, count), ())] for count in (counts[-1], counts[0]))
    return targets.paired_ratios(most, fewest)


def _row(server: catalog.Server, kind: str, counts: Sequence[int], turns: Turns, fault: str) -> list[str]:
    if fault:
        return [server.title, kind, *("–" for _ in counts), "–", fault]
    cells = [f"{statistics.median(turn.cost for turn in turns[kind, count]):.2f}" for count in counts]
    return [server.title, kind, *cells, f"{statistics.median(_ratios(kind, counts, turns)):.2f}", ""]


def _verdict(kind: str, counts: Sequence[int], turns: Turns, fault: str) -> Verdict:
    ratios = _ratios(kind, counts, turns)
    return Verdict(
        f"routes: {kind}, {counts[-1]:,} routes over {counts[0]:,}",
        FLAT_LIMIT,
        statistics.median(ratios) if ratios else None,
        "×",
        spread=targets.spread(ratios),
        remark=fault.partition(":")[0] or "flat, give or take what the bench can tell apart",
    )
