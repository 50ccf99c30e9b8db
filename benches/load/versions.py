"""What a request costs by HTTP/2 over what the same one costs by HTTP/1.1, of one server on one port."""

import statistics
from contextlib import ExitStack
from dataclasses import replace

from benches.load import client, peers, protocols, report, runner, targets, wrk
from benches.load.processes import ServerFailed
from benches.load.report import Section, Verdict
from benches.load.runner import NOISE_LIMIT, Plan, Sample
from benches.load.scenarios import VERSIONS, Scenario
from benches.load.servers import catalog

LIMITS = {"hello": (1.0, True), "upload": (1.5, False)}
"""By scenario: HTTP/2 over HTTP/1.1, and whether the limit itself misses."""

Pair = tuple[Scenario, Scenario]


def _measure(pair: Pair, plan: Plan) -> tuple[list[Sample], list[Sample]]:
    """Turns of the same process by either version, one after the other. Raises what a turn may raise."""
    first, second = pair
    with ExitStack() as stack:
        up = runner.start(stack, catalog.FASTNET, first, plan.cores)
        size = protocols.BY_NAME[second.protocol].check(up.port, second, True, runner.CHECKS_BEFORE)
        standing = [(first, up), (second, replace(up, answer_size=size))]
        turns: dict[str, list[Sample]] = {first.name: [], second.name: []}
        for scenario, one in standing:
            runner.turn(one, scenario, plan.warm_up, plan.cores)
        for repetition in range(plan.repetitions):
            for scenario, one in standing if repetition % 2 else reversed(standing):
                turns[scenario.name].append(runner.quiet_turn(one, scenario, plan.seconds, plan.cores))
        for scenario, one in standing:
            protocols.BY_NAME[scenario.protocol].check(one.port, scenario, True, runner.CHECKS_AFTER)
    return turns[first.name], turns[second.name]


def run(plan: Plan) -> list[Section]:
    """The table of both versions; fastnet only, as its peers speak one of them at a time."""
    header = ["request", "at once", "HTTP/1.1 µs", "HTTP/2 µs", "HTTP/2 is ×", "remark"]
    section = Section("versions: CPU µs per request by HTTP/1.1 and by HTTP/2, in cleartext", header)
    noises: list[float] = []
    for pair in VERSIONS:
        print(f"measuring {pair[0].name} by both versions …", flush=True)
        fault = ""
        turns: tuple[list[Sample], list[Sample]] = ([], [])
        try:
            turns = _measure(pair, plan)
        except (peers.NotAvailable, ServerFailed) as error:
            fault = f"not available: {error}"
        except (client.WrongAnswer, wrk.LoadFailed) as error:
            fault = f"disqualified: {error}"
        if fault:
            section.failed.append(catalog.FASTNET.name)
        costs = [[sample.cost for sample in taken] for taken in turns]
        ratios = targets.paired_ratios(costs[1], costs[0])
        section.rows.append(_row(pair, costs, ratios, fault))
        section.verdicts.append(_verdict(pair, ratios, fault))
        section.data[pair[0].name] = {"fault": fault, "http1": costs[0], "http2": costs[1]}
        noises += [sample.noise for taken in turns for sample in taken]
    section.notes.append(f"{plan.repetitions} interleaved turns of {plan.seconds:g} s each, medians; wrk and h2load")
    noise = statistics.fmean(noises) if noises else 0.0
    section.notes.append(report.noise_note(noise, NOISE_LIMIT))
    section.verdicts = [replace(verdict, noisy=noise > NOISE_LIMIT) for verdict in section.verdicts]
    return [section]


def _row(pair: Pair, costs: list[list[float]], ratios: list[float], fault: str) -> list[str]:
    first, second = pair
    at_once = f"{first.connections} connections; {second.connections} of {second.depth} streams"
    if fault:
        return [first.title, at_once, "–", "–", "–", fault]
    cells = [f"{statistics.median(values):.2f}" for values in (*costs, ratios)]
    return [first.title, at_once, *cells, ""]


def _verdict(pair: Pair, ratios: list[float], fault: str) -> Verdict:
    limit, below = LIMITS[pair[0].name]
    return Verdict(
        f"{pair[0].name}: HTTP/2 over HTTP/1.1",
        limit,
        statistics.median(ratios) if ratios else None,
        "×",
        below=below,
        spread=targets.spread(ratios),
        remark=fault.partition(":")[0],
    )
