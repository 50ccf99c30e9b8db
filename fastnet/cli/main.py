"""``fastnet run``, ``fastnet config``, ``fastnet routes`` and ``fastnet proto``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

from fastnet._version import __version__
from fastnet.app import App
from fastnet.cli.flags import Parser, UsageError, add_flags, flag_of, told_by_flags
from fastnet.cli.load import AppFailed, LoadError, Target, load_app
from fastnet.cli.probe import load_for_worker, settings_of
from fastnet.cli.proto import add_proto_command
from fastnet.cli.show import as_json, as_toml
from fastnet.routing import ResolvedRoute
from fastnet.server import Config, ConfigError, StartError, preloaded, run, supervise_from_the_start, supervises
from fastnet.server.config import SETTINGS
from fastnet.server.handover import remember_exported
from fastnet.server.sources import Sources

__all__ = ["main"]

# Exit codes. 1 is what an uncaught exception gives.
EXIT_USAGE = 2
EXIT_START = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        options = _parse(arguments)
        command: Callable[[argparse.Namespace], int] = options.function
        return command(options)
    except (UsageError, LoadError, ConfigError) as error:
        print(f"fastnet: {error}", file=sys.stderr)
        return EXIT_USAGE
    except AppFailed as error:
        # The traceback is the user's: it begins in the app.
        print(f"{error.traceback}fastnet: {error}", file=sys.stderr)
        return EXIT_START
    except BrokenPipeError:
        # `fastnet routes | head`: nobody wants the rest. Nor may the interpreter flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="fastnet", description="Serve HTTP, WebSocket and gRPC handlers on one port.")
    parser.add_argument("--version", action="version", version=f"fastnet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    made: dict[str, Parser] = {}
    for name, function, text, description in (
        ("run", _run, "serve an app", "Serve an app until SIGTERM or SIGINT."),
        ("config", _config, "show the settings in force, and where each was told", _CONFIG_DESCRIPTION),
        ("routes", _routes, "list an app's routes", "List an app's routes."),
    ):
        command = commands.add_parser(
            name, help=text, description=description, usage=f"fastnet {name} [MODULE:APP] [flags]"
        )
        command.add_argument(
            "app", nargs="?", metavar="MODULE:APP", help="where the app is, such as service:app [FASTNET_APP]"
        )
        command.set_defaults(function=function)
        add_flags(command)
        made[name] = command
    made["proto"] = add_proto_command(commands)
    made["config"].add_argument("--json", action="store_true", help="as JSON")
    made["config"].add_argument("--changed", action="store_true", help="only what is not a default")
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        made[options.command].refuse(unknown[0])
    return options


_CONFIG_DESCRIPTION = """Show every setting as fastnet.toml would have it and where it was told: a flag, a FASTNET_
variable, the file, App(settings=) (if an app is named), or nowhere: the default."""


def _sources(options: argparse.Namespace) -> Sources:
    """What the command line, the environment and the files tell; variables of a .env file join the environment."""
    sources = Sources(
        told_by_flags(options),
        os.environ,
        SETTINGS,
        file=options.config,
        source=lambda name: f"flag {flag_of(name)}" if name != "app" else "argument",
    )
    remember_exported(name for name in sources.env_variables if name not in os.environ)
    sources.export()
    return sources


def _needed(target: Target | None) -> Target:
    if target is None:
        raise UsageError('which app? Name it as module:app, or with FASTNET_APP or app = "module:app" in fastnet.toml')
    return target


def _run(options: argparse.Namespace) -> int:
    sources = _sources(options)
    target = _needed(Target.of(sources))
    try:
        app, config = _app_and_config(target, sources)
        try:
            run(app, config, command=True)
        except ConfigError as error:
            print(f"fastnet: {error}", file=sys.stderr)
            return EXIT_START
    except StartError as error:
        print(f"{error.traceback}fastnet: {error}", file=sys.stderr)
        return error.code
    return 0


def _app_and_config(target: Target, sources: Sources) -> tuple[Callable[[], App], Config]:
    """What gives the app where it is served, and the settings in force, of which the app may have told some."""
    config = Config.from_sources(sources)
    if supervises(config) and not config.preload:
        try:
            settings = settings_of(target)
        except StartError:
            # Whoever edits the app is told by its worker, and mends it.
            if not config.reload:
                raise
            settings = {}
        return partial(load_for_worker, target), Config.from_sources(sources, settings)
    if config.preload:
        app = preloaded(lambda: load_app(target))
    else:
        app = load_app(target)
    config = Config.from_sources(sources, app.settings)
    if supervises(config) and not config.preload:
        supervise_from_the_start()
    return lambda: app, config


def _config(options: argparse.Namespace) -> int:
    sources = _sources(options)
    target = Target.of(sources)
    config = Config.from_sources(sources, None if target is None else load_app(target).settings)
    print(as_json(config) if options.json else as_toml(config, changed=options.changed))
    return 0


def _routes(options: argparse.Namespace) -> int:
    for route in load_app(_needed(Target.of(_sources(options)))).routes:
        print(f"{' '.join(route.methods):10} {route.path}{_mounted(route)}")
    return 0


def _mounted(route: ResolvedRoute) -> str:
    """What is mounted there, if it is a mount."""
    if route.kind != "asgi":
        return ""
    application = route.options["mount"].of.application
    return f"  ({getattr(application, '__qualname__', type(application).__qualname__)})"
