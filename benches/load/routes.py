"""Whether the cost of a request depends on the number of routes, and that of a call on the number of methods."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from benches.load import client, peers, protocols, report, runner, targets, wrk
from benches.load.processes import ServerFailed
from benches.load.report import Section, Verdict
from benches.load.runner import NOISE_LIMIT, Plan, Sample
from benches.load.scenarios import JSON, Request, Scenario, answer, last_method
from benches.load.servers import catalog

FLAT_LIMIT = 1.10
"""The most over the fewest: what a deeper tree and a larger working set may cost, and what this bench can tell
apart."""


@dataclass(frozen=True)
class Table:
    """What is registered so many times, and what is asked of it."""

    name: str
    counts: tuple[int, ...]
    asked: Callable[[int], Mapping[str, Scenario]]
    """By kind, the requests to a server with that many."""
    answers: str
    """A scenario that servers must answer to be asked."""
    default: str


def _routes(count: int) -> dict[str, Scenario]:
    """A static and a parameter route among ``count``: the last of each, which a list is searched for longest."""
    last = count // 2 - 1
    static, parameter = Request(f"/api/resource{last}/list"), Request(f"/api/resource{last}/42")
    return {
        "static": Scenario(f"static-{count}", static.path, static, answer(200, JSON, b'{"id":0,"verbose":false}')),
        "parameter": Scenario(
            f"parameter-{count}", parameter.path, parameter, answer(200, JSON, b'{"id":42,"verbose":false}')
        ),
    }


ROUTES = Table("routes", (10, 100, 1_000, 5_000), _routes, "typed", "fastnet,aiohttp,blacksheep,fastapi")
METHODS = Table(
    "methods", (1, 10, 100, 500), lambda count: {"unary": last_method(count)}, "grpc-4x32", "fastnet,grpc-aio"
)

Turns = dict[tuple[str, int], list[Sample]]
"""The turns by kind of request and number registered."""


def _check(port: int, scenario: Scenario, rounds: int) -> int:
    return protocols.BY_NAME[scenario.protocol].check(port, scenario, True, rounds)


def _measure(table: Table, server: catalog.Server, counts: Sequence[int], plan: Plan) -> Turns:
    """All numbers of routes stand side by side and take turns. Raises what a turn may raise."""
    turns: Turns = {}
    with ExitStack() as stack:
        standing = []
        for count in counts:
            (first, scenario), *others = table.asked(count).items()
            up = runner.start(stack, server, scenario, plan.cores, routes=count)
            standing.append(((first, count), scenario, up))
            for kind, other in others:
                size = _check(up.port, other, runner.CHECKS_BEFORE)
                standing.append(((kind, count), other, replace(up, answer_size=size)))
        for _, scenario, up in standing:
            runner.turn(up, scenario, plan.warm_up, plan.cores)
        for repetition in range(plan.repetitions):
            shift = repetition % len(standing)
            for key, scenario, up in standing[shift:] + standing[:shift]:
                turns.setdefault(key, []).append(runner.quiet_turn(up, scenario, plan.seconds, plan.cores))
        for _, scenario, up in standing:
            _check(up.port, scenario, runner.CHECKS_AFTER)
    return turns


def run(table: Table, names: str | None, plan: Plan, *, quick: bool) -> list[Section]:
    """The table of routes or of methods; ``quick`` measures the ends of the scale only."""
    counts = (table.counts[0], table.counts[-1]) if quick else table.counts
    kinds = tuple(table.asked(counts[0]))
    able = [server for server in catalog.ALL if server.routes and table.answers in server.scenarios]
    header = ["server", "kind", *(f"{count:,} {table.name}" for count in counts), "last/first", "remark"]
    section = Section(f"{table.name}: CPU µs per request by number of {table.name}", header)
    noises: list[float] = []
    for server in catalog.choose(names or table.default, among=able):
        print(f"measuring {table.name} of {server.name} …", flush=True)
        fault, turns = "", Turns()
        try:
            turns = _measure(table, server, counts, plan)
        except (peers.NotAvailable, ServerFailed) as error:
            fault = f"not available: {error}"
        except (client.WrongAnswer, wrk.LoadFailed) as error:
            fault = f"disqualified: {error}"
        if fault:
            section.failed.append(server.name)
        for kind in kinds:
            section.rows.append(_row(server, kind, counts, turns, fault))
        section.data[server.name] = {
            "fault": fault,
            "costs": {f"{kind}-{count}": [turn.cost for turn in taken] for (kind, count), taken in turns.items()},
        }
        if server is catalog.FASTNET:
            section.verdicts = [_verdict(table, kind, counts, turns, fault) for kind in kinds]
        noises += [turn.noise for taken in turns.values() for turn in taken]
    section.notes.append(f"{plan.repetitions} interleaved turns of {plan.seconds:g} s each; the last one is asked")
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


def _verdict(table: Table, kind: str, counts: Sequence[int], turns: Turns, fault: str) -> Verdict:
    ratios = _ratios(kind, counts, turns)
    return Verdict(
        f"{table.name}: {kind}, {counts[-1]:,} {table.name} over {counts[0]:,}",
        FLAT_LIMIT,
        statistics.median(ratios) if ratios else None,
        "×",
        spread=targets.spread(ratios),
        remark=fault.partition(":")[0] or "flat, give or take what the bench can tell apart",
    )
