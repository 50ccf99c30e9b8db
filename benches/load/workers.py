"""What workers bring and what they take: throughput of two beside one, memory of four forked from one import."""

import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from benches.load import client, memory, peers, report, runner, wrk
from benches.load.processes import Process, ServerFailed
from benches.load.report import Section, Verdict
from benches.load.runner import NOISE_LIMIT, Plan
from benches.load.scenarios import BY_NAME, WORK
from benches.load.servers import catalog
from benches.load.targets import paired_ratios, spread

SCALING_LIMIT = 1.8
SHARING_LIMIT = 1.5

ONE, JUDGED = "one worker", "two workers, a socket each"
SCALED = {
    ONE: {"workers": "1"},
    JUDGED: {"workers": "2", "sockets": "reuseport"},
    "two workers, one socket": {"workers": "2", "sockets": "shared"},
}
ALONE, FOUR = "one worker", "supervisor and 4 preloaded workers"
SHARED = {ALONE: {"workers": "1"}, FOUR: {"workers": "4", "preload": "true"}}


def require_workers(process: Process, settings: Mapping[str, str]) -> None:
    """Raise ServerFailed unless as many workers run below the first process as were asked for."""
    wanted = int(settings["workers"])
    below = len(process.tree()) - 1
    if wanted > 1 and below < wanted:
        raise ServerFailed(f"{below} processes below the first, {wanted} workers asked for")


@dataclass
class Scaling:
    """Requests a second of each variant, one value per repetition."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    noises: list[float] = field(default_factory=list)
    fault: str = ""

    def ratios(self, variant: str) -> list[float]:
        return paired_ratios(self.rates.get(variant, []), self.rates.get(ONE, []))


def _scaling(plan: Plan) -> Scaling:
    found = Scaling()
    cores = plan.cores.shared()
    try:
        with ExitStack() as stack:
            up = {
                name: runner.start(stack, catalog.FASTNET, WORK, cores, settings=settings)
                for name, settings in SCALED.items()
            }
            for name, standing in up.items():
                require_workers(standing.process, SCALED[name])
                runner.turn(standing, WORK, plan.warm_up, cores)
            for _ in range(plan.repetitions):
                taken: dict[str, list[float]] = {}
                for name in [*up, *reversed(up)]:
                    sample = runner.turn(up[name], WORK, plan.seconds, cores)
                    taken.setdefault(name, []).append(sample.requests / sample.seconds)
                    found.noises.append(sample.noise)
                for name, rates in taken.items():
                    found.rates.setdefault(name, []).append(statistics.fmean(rates))
    except (peers.NotAvailable, ServerFailed) as error:
        found.fault = f"not available: {error}"
    except (client.WrongAnswer, wrk.LoadFailed) as error:
        found.fault = f"disqualified: {error}"
    return found


def _scaling_section(plan: Plan) -> Section:
    print("measuring workers …", flush=True)
    found = _scaling(plan)
    noise = statistics.fmean(found.noises) if found.noises else 0.0
    section = Section(
        f"workers: {WORK.title}; {WORK.connections} connections, both cores for everybody",
        ["fastnet", "requests/s", "× one", "remark"],
        notes=[
            f"{plan.repetitions} repetitions, two turns of {plan.seconds:g} s each, forth and back; medians",
            "wrk needs a core too: with this much work for the interpreter it takes a few per cent of one",
            report.noise_note(noise, NOISE_LIMIT),
        ],
        data={"rates": found.rates, "fault": found.fault},
        failed=[catalog.FASTNET.name] if found.fault else [],
    )
    for name in SCALED:
        if found.fault:
            section.rows.append([name, "–", "–", found.fault])
        else:
            rate, ratio = statistics.median(found.rates[name]), statistics.median(found.ratios(name))
            section.rows.append([name, f"{rate:.0f}", f"{ratio:.2f}", ""])
    ratios = [] if found.fault else found.ratios(JUDGED)
    section.verdicts = [
        Verdict(
            f"workers: throughput of {JUDGED}, over one",
            SCALING_LIMIT,
            statistics.median(ratios) if ratios else None,
            "×",
            least=True,
            spread=spread(ratios),
            remark=found.fault.partition(":")[0],
            noisy=noise > NOISE_LIMIT,
        )
    ]
    return section


@dataclass
class Sharing:
    """Proportional memory in bytes, of the whole tree: when it has answered a little, and after load."""

    fresh: dict[str, list[int]] = field(default_factory=dict)
    loaded: dict[str, list[int]] = field(default_factory=dict)
    fault: str = ""

    def ratio(self) -> float:
        return statistics.median(paired_ratios(self.loaded[FOUR], self.loaded[ALONE]))


def _settled(process: Process) -> int:
    memory.settled(process)
    return process.memory().pss


def _sharing(plan: Plan, repetitions: int) -> Sharing:
    found = Sharing()
    scenario = replace(BY_NAME["typed"], connections=64)
    try:
        for _ in range(repetitions):
            for name, settings in SHARED.items():
                with ExitStack() as stack:
                    standing = runner.start(stack, catalog.PRELOADED, scenario, plan.cores.shared(), settings=settings)
                    require_workers(standing.process, settings)
                    found.fresh.setdefault(name, []).append(_settled(standing.process))
                    runner.turn(standing, scenario, plan.seconds, plan.cores.shared())
                    time.sleep(0.5)
                    found.loaded.setdefault(name, []).append(_settled(standing.process))
    except (peers.NotAvailable, ServerFailed) as error:
        found.fault = f"not available: {error}"
    except (client.WrongAnswer, wrk.LoadFailed) as error:
        found.fault = f"disqualified: {error}"
    return found


def _sharing_section(plan: Plan, *, quick: bool) -> Section:
    print("measuring memory of workers …", flush=True)
    repetitions = 1 if quick else 3
    found = _sharing(plan, repetitions)
    section = Section(
        "sharing: proportional memory (PSS) of an app that imports fastnet, msgspec and grpcio",
        ["fastnet", "fresh MiB", "after load MiB", "remark"],
        notes=[
            f"the whole process tree, {repetitions} times with fresh processes; medians",
            f"after load: {plan.seconds:g} s of typed requests on 64 connections, all of them closed again",
        ],
        data={"fresh": found.fresh, "loaded": found.loaded, "fault": found.fault},
        failed=[catalog.FASTNET.name] if found.fault else [],
    )
    for name in SHARED:
        if found.fault:
            section.rows.append([name, "–", "–", found.fault])
        else:
            sizes = [statistics.median(kind[name]) / 2**20 for kind in (found.fresh, found.loaded)]
            section.rows.append([name, *(f"{size:.1f}" for size in sizes), ""])
    section.verdicts = [
        Verdict(
            "sharing: 4 preloaded workers and their supervisor over one process, after load",
            SHARING_LIMIT,
            None if found.fault else found.ratio(),
            "×",
            below=True,
            remark=found.fault.partition(":")[0],
        )
    ]
    return section


def run(plan: Plan, *, quick: bool) -> list[Section]:
    """The tables of workers."""
    return [_scaling_section(plan), _sharing_section(plan, quick=quick)]
