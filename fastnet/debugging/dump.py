"""What a serving process is at, in words: SIGUSR1 has it written to the log."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import io
import logging
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator
from typing import Any, Final

from fastnet._version import __version__
from fastnet_ext.net.loop_state import LoopState
from fastnet_ext.serve.runner import Runner

from .secrets import SECRET_KEYS, mask_query
from .stacks import coroutine_stack, describe_place, thread_stack

__all__ = ["Dumper", "dump", "dump_stacks_on_signal"]

log = logging.getLogger("fastnet.dump")

# Connections, their requests, and tasks that are listed.
MAX_CONNECTIONS: Final = 200
MAX_REQUESTS: Final = 20
MAX_TASKS: Final = 200


def dump_stacks_on_signal() -> None:
    """From now on SIGUSR1 writes the stacks of all threads to standard error instead of ending the process.

    In C, so that they come also when Python hangs in a C function.
    """
    _register(chain=False)


class Dumper:
    """Answers SIGUSR1 while a server runs: ``install`` and ``remove`` on the loop of the main thread.

    The stacks come at once (see ``dump_stacks_on_signal``), the rest is logged as soon as the loop gets to it.
    """

    def __init__(self, state: LoopState, masked: Collection[str] = SECRET_KEYS) -> None:
        self._state = state
        self._masked = masked
        self._started = time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None

    def install(self) -> None:
        """Begin to answer. Does nothing in a thread that signals do not reach."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._loop = asyncio.get_running_loop()
        # The handler in C calls the one that it finds when it is registered.
        faulthandler.unregister(signal.SIGUSR1)
        self._loop.add_signal_handler(signal.SIGUSR1, self._on_signal)
        _register(chain=True)

    def remove(self) -> None:
        """Write stacks only, from now on."""
        if self._loop is not None:
            faulthandler.unregister(signal.SIGUSR1)
            self._loop.remove_signal_handler(signal.SIGUSR1)
            self._loop = None
            _register(chain=False)

    def _on_signal(self) -> None:
        text = dump(self._state, masked=self._masked, uptime=time.monotonic() - self._started)
        log.warning("asked by SIGUSR1 what this process is at:\n%s", text)


def _register(*, chain: bool) -> None:
    # Without a file behind standard error there is nothing for C to write to.
    with contextlib.suppress(AttributeError, ValueError, io.UnsupportedOperation):
        faulthandler.register(signal.SIGUSR1, sys.stderr, all_threads=True, chain=chain)


def dump(state: LoopState, *, masked: Collection[str] = SECRET_KEYS, uptime: float | None = None) -> str:
    """Process, requests and tasks, connections, threads; on the loop of ``state``. Values of header fields are left
    out, and those of the query's ``masked`` keys."""
    described = state.describe(limit=MAX_CONNECTIONS)
    sections = (
        ("process", _process(state, described, uptime)),
        ("tasks", _tasks(described, masked)),
        ("connections", _connections(described, masked)),
        ("threads", _threads()),
    )
    return "\n".join(f"== {title}\n" + "\n".join(lines) for title, lines in sections)


def _process(state: LoopState, described: dict[str, Any], uptime: float | None) -> Iterator[str]:
    yield f"pid {os.getpid()}, fastnet {__version__}, Python {platform.python_version()}, {sys.platform}"
    loop = asyncio.get_running_loop()
    serving = "" if uptime is None else f"serving for {_seconds(uptime)}, "
    draining = ", draining" if described["draining"] else ""
    yield f"{serving}loop {type(loop).__module__}.{type(loop).__qualname__}{draining}"
    yield "  ".join(f"{name} {value}" for name, value in state.counters.items())


# --- tasks


def _tasks(described: dict[str, Any], masked: Collection[str]) -> Iterator[str]:
    working = []
    for task in asyncio.all_tasks():
        coroutine = task.get_coro()
        if not isinstance(coroutine, Runner) or coroutine.job is not None:
            working.append((task, coroutine))
    for task, coroutine in sorted(working, key=lambda item: not isinstance(item[1], Runner))[:MAX_TASKS]:
        request = coroutine.describe() if isinstance(coroutine, Runner) else None
        flags = ", to be cancelled" if task.cancelling() else ", current" if task is asyncio.current_task() else ""
        yield f"{task.get_name()}{flags}{f': {_request(request, masked)}' if request is not None else ''}"
        stack = coroutine_stack(coroutine)
        yield from (f"    {line}" for line in stack or ["not begun, or in a step just now"])
    if len(working) > MAX_TASKS:
        yield f"and {len(working) - MAX_TASKS} tasks more"
    yield f"{described['parked']} parked: they wait for requests"


def _request(request: dict[str, Any], masked: Collection[str]) -> str:
    target = request["path"] + (f"?{mask_query(request['query'], masked)}" if request["query"] else "")
    facts = [f"request {request['request_id']}"]
    if request["route"]:
        facts.append(f"route {request['route']}")
    if request["handler"] is not None:
        facts.append(f"handler {describe_place(request['handler'])}")
    if request["status"]:
        facts.append(f"status {request['status']} sent")
    facts.append(f"{request['bytes_received']} bytes in, {request['bytes_sent']} out")
    return (
        f"{request['method']} {_plain(target)} of {_address(request['peer'])}"
        f" for {_seconds(request['seconds'])} ({', '.join(facts)})"
    )


# --- connections


def _connections(described: dict[str, Any], masked: Collection[str]) -> Iterator[str]:
    connections = described["connections"]
    titles = ("number", "peer", "listener", "protocol", "state", "left", "in", "out", "streams", "age")
    rows = [titles] + [_connection(item) for item in connections]
    widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
    for row, item in zip(rows, [None, *connections], strict=True):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        requests = [] if item is None else item["requests"]
        yield from (f"    {_request(request, masked)}" for request in requests[:MAX_REQUESTS])
        if len(requests) > MAX_REQUESTS:
            yield f"    and {len(requests) - MAX_REQUESTS} requests more"
    if described["connections_open"] > len(connections):
        yield f"and {described['connections_open'] - len(connections)} connections more"


def _connection(item: dict[str, Any]) -> tuple[str, ...]:
    protocol = item["protocol"] or "-"
    return (
        str(item["number"]),
        _address(item["peer"]),
        _address(item["listener"]),
        f"{protocol} TLS" if item["tls"] else protocol,
        item["state"] + (", reading paused" if item["reading_paused"] else ""),
        "-" if item["seconds_left"] is None else _seconds(item["seconds_left"]),
        str(item["bytes_in"]),
        str(item["bytes_out"]),
        str(len(item["requests"])),
        _seconds(item["age"]),
    )


# --- threads


def _threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        this = ", this one" if ident == threading.get_ident() else ""
        yield f"{names.get(ident, 'a thread of others')} ({ident}){this}"
        yield from (f"    {line}" for line in thread_stack(frame))


# --- words


def _address(address: Any) -> str:
    if isinstance(address, (tuple, list)) and len(address) >= 2:
        return f"[{address[0]}]:{address[1]}" if ":" in str(address[0]) else f"{address[0]}:{address[1]}"
    return _plain(str(address)) if address else "-"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 600 else f"{value / 60:.0f} min"


def _plain(text: str) -> str:
    """Text of a peer in one line, whatever it holds."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
