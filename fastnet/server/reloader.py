"""Watches source files for ``--reload``, in a process of its own: the supervisor has no threads."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from .channel import Channel
from .config import ConfigError
from .worker import end_process

__all__ = ["Watcher", "check_watcher", "is_configuration", "is_source"]

# What a worker is made of: code, templates, and what it is told by.
SUFFIXES: Final = frozenset((".py", ".pyi", ".so", ".html", ".htm", ".jinja", ".jinja2", ".j2"))
CONFIGURATION: Final = frozenset(("fastnet.toml", ".env"))
IGNORED: Final = frozenset(("__pycache__", "node_modules", "venv", "site-packages"))

# Milliseconds of silence after which a burst of changes counts as over, and until the supervisor's life is looked at.
DEBOUNCE: Final = 200
LOOK: Final = 1000


def check_watcher() -> None:
    """Raise :class:`ConfigError` where files cannot be watched."""
    if importlib.util.find_spec("watchfiles") is None:
        raise ConfigError("reload needs watchfiles: install fastnet-server[reload]")


def is_source(path: str, root: str) -> bool:
    """Whether a change of this file, somewhere below ``root``, concerns the app."""
    parts = Path(os.path.relpath(path, root)).parts
    if any(part in IGNORED or (part.startswith(".") and part not in (".", "..")) for part in parts[:-1]):
        return False
    name = parts[-1]
    return name in CONFIGURATION or (not name.startswith(".") and Path(name).suffix in SUFFIXES)


def is_configuration(path: str) -> bool:
    """Whether a source file holds settings: they are the supervisor's as well."""
    return os.path.basename(path) in CONFIGURATION


class Watcher:
    """The process that watches the files below some folders, from when it is made."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._channel, theirs = Channel.pair()
        supervisor, since = os.getpid(), time.time()
        self._pid = os.fork()
        if self._pid == 0:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            _watch(paths, theirs, supervisor, since)
        theirs.close()

    def fileno(self) -> int:
        """The descriptor, for whoever waits for changes."""
        return self._channel.fileno()

    def changes(self) -> list[str]:
        """The source files that have changed, as seen from the current folder."""
        return [path for message in self._channel.receive() for path in message["changed"]]

    @property
    def ended(self) -> bool:
        """Whether it watches no longer, as ``changes`` found."""
        return self._channel.ended

    def leave(self) -> None:
        """In a forked worker: close what is the supervisor's."""
        self._channel.close()

    def end(self) -> None:
        """End the process; it is still to be reaped."""
        self._channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)


def _sources(root: str) -> Iterator[str]:
    """The files below a folder whose changes concern the app."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in IGNORED and not name.startswith(".")]
        for name in names:
            path = os.path.join(folder, name)
            if is_source(path, root) and os.path.exists(path):
                yield path


def _watch(folders: Sequence[str], channel: Channel, supervisor: int, since: float) -> NoReturn:
    code = 1
    try:
        from watchfiles import watch

        roots = [os.path.realpath(folder) for folder in folders]

        def concerns(_: object, path: str) -> bool:
            return any(is_source(path, root) for root in roots if path.startswith(root))

        first = True
        for changes in watch(
            *roots,
            watch_filter=concerns,
            debounce=DEBOUNCE,
            step=50,
            rust_timeout=LOOK,
            yield_on_timeout=True,
            raise_interrupt=False,
        ):
            if os.getppid() != supervisor:
                break
            paths = {path for _, path in changes}
            if first:
                # What was written while the watching began, which takes as long as an import.
                paths.update(path for root in roots for path in _sources(root) if os.stat(path).st_mtime > since)
                first = False
            if paths:
                channel.send(changed=sorted(os.path.relpath(path) for path in paths)[:10])
        code = 0
    except Exception as error:
        print(f"fastnet: files are no longer watched: {error}", file=sys.stderr)
    finally:
        end_process(code)
