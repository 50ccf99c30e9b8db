"""The table of scenarios: every server's cost, its ratio to the baseline, fastnet's targets."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from benches.load import report, targets
from benches.load.report import Section
from benches.load.runner import NOISE_LIMIT, Plan, Result, run_scenario
from benches.load.scenarios import Scenario
from benches.load.servers.catalog import Server


def run(scenarios: Sequence[Scenario], servers: Sequence[Server], plan: Plan) -> list[Section]:
    """Measure the scenarios one after the other; a section for each."""
    results: dict[str, dict[str, Result]] = {}
    for scenario in scenarios:
        print(f"measuring {scenario.name} …", flush=True)
        results[scenario.name] = {result.server.name: result for result in run_scenario(scenario, servers, plan)}
    verdicts = targets.of_scenarios(results, [scenario.name for scenario in scenarios])
    sections = []
    for scenario in scenarios:
        section = _section(scenario, results[scenario.name], plan)
        noisy = _noise(results[scenario.name]) > NOISE_LIMIT
        section.verdicts = [replace(verdict, noisy=noisy) for verdict in verdicts[scenario.name]]
        sections.append(section)
    return sections


def _section(scenario: Scenario, results: Mapping[str, Result], plan: Plan) -> Section:
    title = f"{scenario.name}: {scenario.title}; {scenario.connections} connections"
    header = ["server", "µs/request", "min", f"× {scenario.baseline}", "fastnet is ×", "requests/s", "busy", "remark"]
    section = Section(title, header)
    baseline, subject = (results.get(name) for name in (scenario.baseline, targets.SUBJECT))
    for result in results.values():
        section.rows.append(_row(result, baseline, subject))
        if result.fault:
            section.failed.append(result.server.name)
    section.notes = [*_sizes(scenario, results), *_notes(results, plan)]
    section.data = {
        "scenario": scenario.name,
        "servers": {
            name: {
                "fault": result.fault,
                "samples": [{**vars(sample), "cost": sample.cost} for sample in result.samples],
            }
            for name, result in results.items()
        },
    }
    return section


def _row(result: Result, baseline: Result | None, subject: Result | None) -> list[str]:
    if not result.samples:
        return [result.server.title, "–", "–", "–", "–", "–", "–", result.fault]
    return [
        result.server.title,
        f"{result.median:.2f}",
        f"{min(result.costs):.2f}",
        _ratio(result, baseline),
        _ratio(subject, result),
        f"{result.rate:.0f}",
        f"{result.busy:.2f}",
        "",
    ]


def _ratio(over: Result | None, under: Result | None) -> str:
    if over is None or under is None or not over.samples or not under.samples:
        return "–"
    ratio = statistics.median(targets.paired_ratios(over.costs, under.costs))
    return f"{ratio:.2f}"


def _sizes(scenario: Scenario, results: Mapping[str, Result]) -> list[str]:
    """What compression made of the messages, where there is any."""
    sizes = {name: statistics.median(result.sizes) for name, result in results.items() if any(result.sizes)}
    plain = len(scenario.messages[0]) if scenario.messages else 0
    if all(size == plain for size in sizes.values()):
        return []
    return [f"{plain} bytes came back in " + ", ".join(f"{size:.0f} ({name})" for name, size in sizes.items())]


def _notes(results: Mapping[str, Result], plan: Plan) -> list[str]:
    notes = [
        f"{plan.repetitions} interleaved turns of {plan.seconds:g} s each; medians, and ratios of the same repetition",
    ]
    if not plan.cores.apart:
        notes.append("ONE CORE: server and load generator share it, and the costs are not comparable with others")
    notes.append(report.noise_note(_noise(results), NOISE_LIMIT))
    return notes


def _noise(results: Mapping[str, Result]) -> float:
    """The share of the two cores that others took, over all turns that count."""
    noises = [sample.noise for result in results.values() for sample in result.samples]
    return statistics.fmean(noises) if noises else 0.0
