"""The access log's way from the event loop to its place: a thread writes it, for which the loop never waits."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import select
import stat
import sys
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import orjson

from fastnet.observability.logs import writes_json
from fastnet_ext.exchange.exchange import Observer
from fastnet_ext.net.access_log import AccessLog, AccessSink, QueryMask

if TYPE_CHECKING:
    from fastnet.server.config import Config, Listener

__all__ = ["AccessLogs", "AccessWriter"]

log = logging.getLogger("fastnet.server")
records = logging.getLogger("fastnet.access")

# Bytes that may wait for a slow disk or reader; what comes on top is dropped.
WAITING_LIMIT: Final = 8 * 1024 * 1024
# Seconds between two messages about lines that were lost, and between two looks whether the file was moved away.
REPORT_EVERY: Final = 10.0
LOOK_EVERY: Final = 1.0
# Writes of several processes to one pipe do not mix up to this size (POSIX).
PIPE_BUF: Final = 4096


class AccessWriter:
    """Writes blocks of whole lines to a file, or to standard output without one, in a thread of its own.

    A file is opened again when it was moved away or deleted, as logrotate does. What comes while more than
    ``limit`` bytes wait is dropped and counted in ``dropped`` (lines). Raises ``OSError`` when the file cannot be
    opened.
    """

    def __init__(self, path: str | None, listeners: Iterable[str] = (), *, limit: int = WAITING_LIMIT) -> None:
        self.path = path
        self.limit = limit
        self.dropped = 0
        self._loggers = [records, *(records.getChild(name) for name in listeners)]
        self._reported = 0
        self._report_at = 0.0
        self._look_at = 0.0
        # Bytes given and bytes dealt with: each is counted by one thread only.
        self._given = 0
        self._done = 0
        self._blocks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._file = -1 if path is None else _open(path)
        self._thread = threading.Thread(target=self._run, name="fastnet-access-log", daemon=True)
        self._thread.start()

    def take(self, block: bytes) -> None:
        """Have a block written some time; never waits."""
        if self._given - self._done + len(block) > self.limit:
            self.dropped += block.count(b"\n")
            return
        self._given += len(block)
        self._blocks.put(block)

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits, for ``timeout`` seconds at most."""
        self._blocks.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None:
            try:
                self._write(block)
                self._log(block)
            except OSError as error:
                self.dropped += block.count(b"\n")
                self._report(f"{error.strerror}: {self.path or 'standard output'}")
            except Exception:
                log.exception("a block of the access log was lost")
            self._done += len(block)
            if self.dropped > self._reported:
                self._report("the disk, or whoever reads it, is slower than the requests")
        if self._file >= 0:
            os.close(self._file)

    def _report(self, reason: str) -> None:
        now = time.monotonic()
        if now >= self._report_at:
            self._report_at = now + REPORT_EVERY
            log.warning("%d lines of the access log were lost: %s", self.dropped - self._reported, reason)
            self._reported = self.dropped

    # --- to its place

    def _write(self, block: bytes) -> None:
        if self.path is not None:
            self._follow()
            _write_all(self._file, block)
            return
        try:
            place = sys.stdout.fileno()
        except (AttributeError, OSError, ValueError):
            # No standard output, or one that is no file (notebooks, tests).
            if sys.stdout is not None:
                sys.stdout.write(block.decode("ascii"))
            return
        if stat.S_ISFIFO(os.fstat(place).st_mode):
            for part in _parts(block):
                _write_all(place, part)
        else:
            _write_all(place, block)

    def _follow(self) -> None:
        """Open the file again if what is called so is another one by now."""
        now = time.monotonic()
        if now < self._look_at or self.path is None:
            return
        self._look_at = now + LOOK_EVERY
        try:
            named = os.stat(self.path)
        except FileNotFoundError:
            named = None
        if named is None or not os.path.samestat(named, os.fstat(self._file)):
            fresh = _open(self.path)
            os.close(self._file)
            self._file = fresh

    # --- to handlers of the program

    def _log(self, block: bytes) -> None:
        """Records for handlers that somebody gave to ``fastnet.access`` or to the child of a listener."""
        if not any(logger.handlers for logger in self._loggers):
            return
        for line in block.splitlines():
            record = _record(line.decode("ascii"))
            logging.getLogger(record.name).handle(record)


def _record(line: str) -> logging.LogRecord:
    if not line.startswith("{"):
        return logging.makeLogRecord(
            {"name": records.name, "levelno": logging.INFO, "levelname": "INFO", "msg": line.partition(" ")[2]}
        )
    members = orjson.loads(line)
    name = members.pop("logger", records.name)
    del members["time"], members["level"]
    text = f"{members.get('client')} {members.get('method', '-')} {members.get('path', '-')} {members.get('status')}"
    return logging.makeLogRecord(
        {**members, "name": name, "levelno": logging.INFO, "levelname": "INFO", "msg": "%s", "args": (text,)}
    )


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _write_all(place: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        try:
            view = view[os.write(place, view) :]
        except BlockingIOError:
            # Somebody made the descriptor non-blocking: this thread may wait all the same.
            select.select((), (place,), (), 1.0)


def _parts(block: bytes) -> list[bytes]:
    """The block cut behind lines, in parts of PIPE_BUF bytes at most where lines are no longer themselves."""
    parts, start = [], 0
    while len(block) - start > PIPE_BUF:
        end = block.rfind(b"\n", start, start + PIPE_BUF) + 1 or block.find(b"\n", start) + 1
        parts.append(block[start:end])
        start = end
    parts.append(block[start:])
    return parts


class AccessLogs:
    """The access log of a process, for those of its listeners that want one. Raises ``OSError`` for a bad file."""

    def __init__(self, config: Config, loop: asyncio.AbstractEventLoop, *, worker: int | None = None) -> None:
        self._writer: AccessWriter | None = None
        self._sink: AccessSink | None = None
        self._worker = worker
        if any(listener.access_log for listener in config.listeners):
            self._writer = AccessWriter(config.access_log_file, [one.name for one in config.listeners])
            self._sink = AccessSink(loop, self._writer.take)
            self._mask = QueryMask(config.log_mask)
            self._json = writes_json(config, sys.stdout if config.access_log_file is None else None)

    def observers(self, listener: Listener) -> tuple[Observer, ...]:
        """What has to see the requests of a listener."""
        if self._sink is None or not listener.access_log:
            return ()
        return (AccessLog(self._sink, self._mask, listener=listener.name, json=self._json, worker=self._worker),)

    @property
    def dropped(self) -> int:
        """Lines that were lost since the start."""
        return 0 if self._writer is None else self._writer.dropped

    def close(self) -> None:
        """Write what waits."""
        if self._sink is not None:
            self._sink.flush()
        if self._writer is not None:
            self._writer.close()
