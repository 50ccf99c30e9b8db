"""Runs an app in this process until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastnet.debugging.dump import Dumper, dump_stacks_on_signal
from fastnet.debugging.mode import enter_debug_mode

from .config import Config
from .server import Server

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["run"]

log = logging.getLogger("fastnet.server")


def run(app: App, config: Config) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second SIGINT ends at once.

    Raises :class:`~fastnet.server.config.ConfigError`, and what the lifespan's start-up raises.
    """
    _log_to_terminal()
    dump_stacks_on_signal()
    if config.debug:
        enter_debug_mode()
    with asyncio.Runner(loop_factory=loop_factory(config)) as runner:
        runner.run(_serve(app, config))


def loop_factory(config: Config) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop; None is the stock one."""
    if config.loop == "asyncio":
        return None
    if config.loop == "auto" and importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop


async def _serve(app: App, config: Config) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    stopping = [False]

    def on_signal(number: int) -> None:
        if stopping[0] and number == signal.SIGINT:
            log.warning("stopped at once by a second SIGINT")
            sys.stderr.flush()
            # The default action: no handler, no clean-up, the exit status of a process that SIGINT ended.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        stopping[0] = True
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    server = Server(app, config)
    await server.start()
    assert server.state is not None
    dumper = Dumper(server.state, config.log_mask)
    dumper.install()
    try:
        log.info("listening on %s", server.url)
        await stop.wait()
        log.info("stopping: running requests get %g s", config.timeout_drain)
    finally:
        await server.stop()
        dumper.remove()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)
    log.info("stopped")


def _log_to_terminal() -> None:
    """Show our log on standard error unless the program has set up logging itself."""
    logger = logging.getLogger("fastnet")
    if not logger.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
