"""A process that serves: the only one, or a worker under a supervisor."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib.util
import logging
import os
import random
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from fastnet.channels.workers import WorkerRelay
from fastnet.debugging.dump import Dumper, dump_stacks_on_signal

from .channel import Channel
from .config import Config, ConfigError
from .heartbeat import Slot, State, resident_memory
from .server import GRACE, Server
from .systemd import notify, watchdog_interval
from .threads import OFFLOADED, threads_left

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["Source", "StartError", "Worker", "end_process", "longest_stop", "serve", "work"]

Source = Callable[[], "App"]
"""What gives the app: imports it, or has it already. Raises :class:`StartError`."""

log = logging.getLogger("fastnet.server")

EXIT_START: Final = 3

# Characters of a traceback that fit into a message.
TRACEBACK: Final = 32 * 1024


class StartError(Exception):
    """The app could not be started. ``traceback`` is that of the app's own code, if it is to blame."""

    def __init__(self, message: str, *, code: int = EXIT_START, traceback: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.traceback = traceback


def loop_factory(config: Config) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop; None is the stock one."""
    if config.loop == "asyncio":
        return None
    if config.loop == "auto" and importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop


@dataclass
class Worker:
    """What makes a worker of a serving process: whom it reports to, and what reaches the other workers.

    ``supervisor`` is a process id.
    """

    channel: Channel
    slot: Slot
    supervisor: int
    relay: WorkerRelay | None = None


class _Serving:
    """One server on its loop, from the first signal handler to the last."""

    def __init__(self, server: Server, worker: Worker | None) -> None:
        self.server = server
        self.worker = worker
        self.loop = asyncio.get_running_loop()
        self.stopped = asyncio.Event()
        self.starting = asyncio.current_task()
        self._limits: Iterator[str] | None = None
        self._interval = _beat_interval(server.config)
        self._beating: asyncio.TimerHandle | None = None

    def stop(self, reason: str) -> None:
        """Begin to stop; in the middle of the start-up by cancelling it."""
        if self.stopped.is_set():
            return
        log.info("stopping (%s): running requests get %g s", reason, self.server.config.timeout_drain)
        self.stopped.set()
        if self.starting is not None:
            self.starting.cancel()

    # --- what comes from outside

    def listen_to_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGTERM or (number == signal.SIGINT and self.worker is None):
            self.stop(signal.Signals(number).name)
        if number == signal.SIGINT and self.worker is None:
            # A second one ends the process by the system's hand, whatever the loop is doing.
            self.loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        # A terminal sends SIGINT and SIGHUP to workers too: what becomes of them is the supervisor's to say.
        if number == signal.SIGHUP and self.worker is None:
            log.info("SIGHUP: certificates are read again; new code and settings need --supervise always, or a restart")
            self.server.reload_certificates()

    def listen_to_supervisor(self, channel: Channel) -> None:
        self.loop.add_reader(channel.fileno(), self._on_message, channel)

    def _on_message(self, channel: Channel) -> None:
        for message in channel.receive():
            if message.get("retire"):
                self.stop("replaced")
            elif "peer" in message:
                self._add_peer(message["peer"], socket.socket(fileno=message["descriptor"]))
            elif "gone" in message and self.worker is not None and self.worker.relay is not None:
                self.worker.relay.remove_peer(message["gone"])
        if channel.ended:
            self.loop.remove_reader(channel.fileno())
            self.stop("the supervisor is gone")

    def _add_peer(self, name: str, sock: socket.socket) -> None:
        if self.worker is None or self.worker.relay is None:
            sock.close()
        else:
            self.worker.relay.add_peer(name, sock)

    # --- the beat

    def beat(self) -> None:
        """Tell that the loop runs, and look at what limits this worker's life."""
        self._beating = self.loop.call_later(self._interval, self.beat)
        worker = self.worker
        if worker is None:
            if watchdog_interval():
                notify("WATCHDOG=1")
            return
        counters = self.server.counters
        state = self.server.vital_state
        memory = resident_memory()
        worker.slot.beat(
            state,
            requests=counters.get("requests", 0),
            connections=counters.get("connections_open", 0),
            memory=memory,
        )
        if os.getppid() != worker.supervisor:
            self.stop("the supervisor is gone")
        if state is State.DRAINING:
            return
        if self._limits is None:
            self._limits = _life(self.server, random.uniform(1 - self.server.config.worker_jitter, 1))
        reason = next(self._limits)
        if reason:
            worker.channel.send(replace=reason)

    def end(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
        if self.worker is not None:
            self.loop.remove_reader(self.worker.channel.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with contextlib.suppress(ValueError, RuntimeError):
                self.loop.remove_signal_handler(number)


def _beat_interval(config: Config) -> float:
    limits = [config.worker_heartbeat / 4 or 1.0, watchdog_interval() or 1.0, 1.0]
    return max(min(limits), 0.02)


def _life(server: Server, part: float) -> Iterator[str]:
    """Why this worker is to be replaced, at each beat; empty while it is not. Said once."""
    config = server.config
    end = time.monotonic() + config.worker_max_age * part
    while True:
        reason = ""
        if config.worker_max_age and time.monotonic() >= end:
            reason = f"it has lived for {config.worker_max_age * part:.0f} s (worker_max_age)"
        elif config.worker_max_requests and server.counters["requests"] >= config.worker_max_requests * part:
            reason = f"it has answered {server.counters['requests']} requests (worker_max_requests)"
        elif config.worker_max_memory and resident_memory() >= config.worker_max_memory * part:
            reason = f"it takes {resident_memory() / 2**20:.0f} MiB (worker_max_memory)"
        yield reason
        if reason:
            break
    while True:
        yield ""


def serve(server: Server, worker: Worker | None = None) -> bool:
    """Serve on an event loop of its own until something asks to stop, then drain and end the lifespan.

    False when threads of handlers still work after ``timeout_drain``: the interpreter would wait for them, so that the
    process has to be ended by ``end_process``, and its loop stays open. Raises what the start-up raises:
    :class:`ConfigError` for what the settings are to blame for, :class:`StartError` from the lifespan's exception
    otherwise.
    """
    runner = asyncio.Runner(loop_factory=loop_factory(server.config))
    ended = True
    try:
        ended = runner.run(_serve(server, worker))
    finally:
        if ended:
            runner.close()
    return ended


async def _serve(server: Server, worker: Worker | None) -> bool:
    serving = _Serving(server, worker)
    serving.listen_to_signals()
    # Under a name by which its threads are known.
    serving.loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix=OFFLOADED))
    try:
        if worker is not None:
            serving.listen_to_supervisor(worker.channel)
        try:
            await server.start()
        except asyncio.CancelledError:
            if not serving.stopped.is_set():
                raise
            return True
        except ConfigError:
            raise
        except Exception as error:
            raise StartError(f"the app could not be started: {_line_of(error)}", traceback=text_of(error)) from error
        serving.starting = None
        assert server.state is not None
        dumper = Dumper(server.state, server.config.log_mask)
        dumper.install()
        try:
            serving.beat()
            if worker is None:
                for name, url in server.urls:
                    log.info("listening on %s%s", url, "" if name == "main" else f" ({name})")
                notify("READY=1")
            else:
                worker.channel.send(ready=True)
            await serving.stopped.wait()
            deadline = time.monotonic() + server.config.timeout_drain
            if worker is None:
                notify("STOPPING=1")
        finally:
            await server.stop()
            dumper.remove()
        left = await threads_left(deadline)
        for text in left:
            log.error("a thread still works, and is ended with the process: %s", text)
    finally:
        serving.end()
    if worker is None:
        log.info("stopped")
    return not left


def text_of(error: BaseException) -> str:
    """The traceback as it is usually shown."""
    return "".join(traceback.format_exception(error))


def _line_of(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]


def work(source: Source, config: Config, worker: Worker, make: Callable[[App], Server]) -> int:
    """All that a worker does; its exit code. Nothing but the end of its process may follow."""
    dump_stacks_on_signal()
    try:
        try:
            server = make(source())
        except (ConfigError, StartError):
            raise
        except Exception as error:
            raise StartError(f"the app could not be loaded: {_line_of(error)}", traceback=text_of(error)) from error
        serve(server, worker)
    except ConfigError as error:
        worker.channel.send(failed=str(error), code=EXIT_START)
        return EXIT_START
    except StartError as error:
        worker.channel.send(failed=str(error), code=error.code, traceback=error.traceback[-TRACEBACK:])
        return EXIT_START
    return 0


def end_process(code: int) -> NoReturn:
    """End a forked process: what was registered for its end runs, but nobody waits for threads that do not end."""
    try:
        atexit._run_exitfuncs()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def longest_stop(config: Config) -> float:
    """Seconds in which a process that was told to stop has stopped, or will not by itself."""
    drain = config.timeout_drain
    return drain + GRACE + max(drain, GRACE) + GRACE
