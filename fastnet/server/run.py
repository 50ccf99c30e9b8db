"""Runs an app until a signal ends it: in this process, or in workers under a supervisor."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

from fastnet.debugging.dump import dump_stacks_on_signal
from fastnet.debugging.mode import enter_debug_mode
from fastnet.observability.logs import configure_logging

from .config import Config, ConfigError
from .handover import SUPERVISE, command_line, environment, handed_over
from .preload import check_fork
from .server import Server, contexts_of
from .supervisor import Supervisor
from .trial import is_trial
from .worker import Source, end_process, serve

__all__ = ["run", "supervise_from_the_start", "supervises"]

log = logging.getLogger("fastnet.server")


def run(source: Source, config: Config, *, command: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second SIGINT ends at once.

    ``source`` gives the app. ``command`` says that this process is a command of ours, which may be started anew.
    When a thread of a handler still works after all that, the process ends here: it would wait for it otherwise.
    Raises :class:`ConfigError` for settings that cannot be used, and :class:`StartError` when the app does not start.
    """
    configure_logging(config)
    if command and is_trial():
        contexts_of(config)
        source().build()
        return
    if config.debug:
        enter_debug_mode()
    with pid_file(config.pid_file):
        if supervises(config) if command else is_supervised(config):
            os.environ.pop(SUPERVISE, None)
            if not command:
                _check_embedded(config)
            Supervisor(source, config, reexec=command).run()
            return
        dump_stacks_on_signal()
        ended = serve(Server(source(), config))
    if not ended:
        end_process(0)


def is_supervised(config: Config) -> bool:
    """Whether workers under a supervisor do the work: several, or one that is to be replaced now and then."""
    limited = config.worker_max_age or config.worker_max_requests or config.worker_max_memory
    return config.supervise == "always" or config.workers > 1 or bool(limited) or config.reload


def supervises(config: Config) -> bool:
    """Whether this process, a command of ours, is to be a supervisor."""
    if is_trial():
        return False
    return is_supervised(config) or handed_over() or SUPERVISE in os.environ


def supervise_from_the_start() -> NoReturn:
    """Begin anew as a supervisor: that it should be one was told by the app, which is imported here already."""
    os.execve(sys.executable, command_line(), {**environment(), SUPERVISE: "1"})


def _check_embedded(config: Config) -> None:
    """Raise for what a program that has its app already cannot have from us."""
    if config.reload:
        raise ConfigError("app.run() cannot reload: its app is imported already; use `fastnet run module:app --reload`")
    check_fork()


@contextlib.contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Write the process id to a file for as long as the block lasts. Raises :class:`ConfigError`."""
    if path is None:
        yield
        return
    text = f"{os.getpid()}\n"
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"pid_file {path} cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            with open(path) as file:
                found = file.read()
            # Another server may have been started with the same file.
            if found == text:
                os.unlink(path)
