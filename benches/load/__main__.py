"""``python -m benches.load [what]``: see benches/README.md."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from benches.load import (
    broadcast,
    events,
    latency,
    limits,
    load,
    machine,
    memory,
    peers,
    report,
    restart,
    routes,
    switches,
    versions,
    workers,
)
from benches.load.processes import raise_file_limit
from benches.load.report import Section
from benches.load.runner import Plan
from benches.load.scenarios import ALL, ASGI, BY_NAME, GRPC, TLS, WEBSOCKETS, Scenario
from benches.load.servers import catalog

KINDS = (
    "scenarios",
    "memory",
    "connections",
    "routes",
    "methods",
    "versions",
    "latency",
    "sockets",
    "broadcast",
    "events",
    "switches",
    "limits",
    "workers",
    "restart",
)
HTTP2 = ("methods", "versions", "connections")
"""What ``grpc`` asks beside its scenarios."""
WEBSOCKET = ("sockets", "broadcast")
"""What ``websocket`` asks beside its scenarios."""
PRODUCTION = ("tls", "switches", "workers", "restart")
"""What TLS, limits, logs and workers cost."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches.load", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        default="scenarios",
        choices=(*KINDS, "tls", "asgi", "grpc", "websocket", "production", "all"),
    )
    parser.add_argument("--scenarios", default="all", help=f"some of {','.join(BY_NAME)}, or all")
    parser.add_argument("--servers", default=None, help=f"some of {','.join(catalog.BY_NAME)}, or all")
    parser.add_argument("--reps", type=int, default=None, help="repetitions (5; 2 when quick)")
    parser.add_argument(
        "--seconds", type=int, default=None, help="whole seconds of a turn under load (2; 1 when quick)"
    )
    parser.add_argument("--quick", action="store_true", help="see that everything works; the numbers mean little")
    parser.add_argument("--no-install", action="store_true", help="use what is there, install nothing")
    parser.add_argument("--no-write", action="store_true", help="print the tables only")
    parser.add_argument("--strict", action="store_true", help="exit with 1 unless every target is met")
    return parser


def _scenarios(names: str) -> list[Scenario]:
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    if unknown := wanted - set(BY_NAME) - {"all"}:
        raise ValueError(f"unknown scenario {', '.join(sorted(unknown))}; known are {', '.join(BY_NAME)}")
    return [scenario for scenario in ALL if "all" in wanted or scenario.name in wanted]


def _measure(options: argparse.Namespace, cores: machine.Cores) -> list[Section]:
    quick = options.quick
    plan = Plan(
        repetitions=options.reps or (2 if quick else 5),
        seconds=options.seconds or (1 if quick else 2),
        warm_up=1,
        cores=cores,
    )

    def scenarios(wanted: Sequence[Scenario]) -> list[Section]:
        return load.run(wanted, catalog.choose(options.servers or "all"), plan)

    kinds: dict[str, Callable[[], list[Section]]] = {
        "scenarios": lambda: scenarios(_scenarios(options.scenarios)),
        "tls": lambda: scenarios(TLS),
        "asgi": lambda: scenarios(ASGI),
        "memory": lambda: memory.run(options.servers, plan, quick=quick),
        "routes": lambda: routes.run(routes.ROUTES, options.servers, plan, quick=quick),
        "methods": lambda: routes.run(routes.METHODS, options.servers, plan, quick=quick),
        "versions": lambda: versions.run(plan),
        "connections": lambda: memory.run_idle(memory.HTTP2, options.servers, plan, quick=quick),
        "sockets": lambda: memory.run_idle(memory.WEBSOCKET, options.servers, plan, quick=quick),
        "latency": lambda: latency.run(options.servers, plan, quick=quick),
        "broadcast": lambda: broadcast.run(plan, quick=quick),
        "events": lambda: events.run(plan, quick=quick),
        "switches": lambda: switches.run(replace(plan, seconds=1), quick=quick),
        "limits": lambda: limits.run(plan, quick=quick),
        "workers": lambda: workers.run(plan, quick=quick),
        "restart": lambda: restart.run(plan, quick=quick),
    }
    if options.what == "grpc":
        asked = scenarios(GRPC)
        options.servers = None  # each kind has servers of its own
        return [*asked, *(section for kind in HTTP2 for section in kinds[kind]())]
    if options.what == "websocket":
        return [*scenarios(WEBSOCKETS), *(section for kind in WEBSOCKET for section in kinds[kind]())]
    if options.what not in ("all", "production"):
        return kinds[options.what]()
    options.servers = None
    chosen = KINDS if options.what == "all" else PRODUCTION
    return [section for kind in chosen for section in kinds[kind]()]


def main(arguments: list[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    raise_file_limit()
    if not options.no_install:
        peers.install_system_packages()
        peers.install()
    try:
        peers.require_command("wrk")
        peers.compiled("floor.c")
        cores = machine.choose_cores()
        sections = _measure(options, cores)
    except (ValueError, peers.NotAvailable) as error:
        parser.error(str(error))
    for section in sections:
        print(report.as_text(section))
    if not options.no_write:
        name = "" if options.what in ("scenarios", "all") else options.what
        name = "-".join(part for part in (name, "quick" if options.quick else "") if part)
        path = report.write(sections, machine.describe(peers.versions()), " ".join(arguments), name)
        print(f"\nwritten to {path.relative_to(machine.ROOT)}")
    disqualified = any(catalog.FASTNET.name in section.failed for section in sections)
    missed = any(not verdict.met for section in sections for verdict in section.verdicts)
    return 1 if disqualified or (options.strict and missed) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
