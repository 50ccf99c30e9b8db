"""``fastnet run`` and ``fastnet routes``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from fastnet._version import __version__
from fastnet.cli.load import LoadError, load_app
from fastnet.server import Config, ConfigError, run
from fastnet.server.config import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["main"]

# Exit codes. 1 is what an uncaught exception gives, such as a failing lifespan.
EXIT_USAGE = 2
EXIT_START = 3

SETTINGS = [item for item in fields(Config) if "parse" in item.metadata]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        app = load_app(options.app)
        if options.command == "routes":
            return _print_routes(app)
        config = Config.load({item.name: getattr(options, item.name) for item in SETTINGS})
    except (LoadError, ConfigError) as error:
        print(f"fastnet: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        run(app, config)
    except ConfigError as error:
        print(f"fastnet: {error}", file=sys.stderr)
        return EXIT_START
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastnet", description="Serve HTTP, WebSocket and gRPC handlers on one port.")
    parser.add_argument("--version", action="version", version=f"fastnet {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="serve an app", description="Serve an app until SIGTERM or SIGINT.")
    command.add_argument("app", metavar="MODULE:APP", help="where the app is, such as service:app")
    for item in SETTINGS:
        _add_flag(command, item)
    command = commands.add_parser("routes", help="list an app's routes")
    command.add_argument("app", metavar="MODULE:APP", help="where the app is, such as service:app")
    return parser


def _add_flag(parser: argparse.ArgumentParser, item: Any) -> None:
    flag = "--" + item.name.replace("_", "-")
    default = "" if item.default is None else f"; default {item.default}"
    parser.add_argument(
        flag,
        dest=item.name,
        default=None,
        help=f"{item.metadata['help']} (or {ENVIRONMENT_PREFIX}{item.name.upper()}{default})",
    )


def _print_routes(app: App) -> int:
    for route in app.routes:
        print(f"{' '.join(route.methods):10} {route.path}")
    return 0
