"""Imports an app before workers are forked, so that they share the memory of its code and data."""

from __future__ import annotations

import gc
import importlib
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from .worker import StartError

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["check_fork", "preloaded"]


def preloaded(load: Callable[[], App]) -> App:
    """The app that ``load`` gives, made ready to be shared by forked workers.

    Raises :class:`StartError` when what it brought along does not survive a fork: threads, event loops, sockets.
    """
    before = _open_things()
    collecting = gc.isenabled()
    # What a collection frees leaves holes in pages that are shared: the workers would fill them, each in a copy.
    gc.disable()
    try:
        app = load()
        with suppress(ImportError):
            # Imported after the fork, it takes each worker 3 MiB of its own.
            importlib.import_module("uvloop")
        app.prepare()
        check_fork(before)
        _forget_lookups()
        # What is here now is not looked at by the workers' collectors, which would write to its pages.
        gc.freeze()
    finally:
        if collecting:
            gc.enable()
    return app


def _forget_lookups() -> None:
    """Empty the interpreter's cache of attribute look-ups, which is full of what the import looked up.

    An entry that a worker puts in another's place counts down that one's name, in a page that it would share.
    """
    if sys.version_info >= (3, 13):
        sys._clear_internal_caches()
    else:
        sys._clear_type_cache()


def check_fork(before: dict[int, str] | None = None) -> None:
    """Raise :class:`StartError` if this process has what a forked worker could not go on with."""
    found = [f"thread {thread.name!r}" for thread in threading.enumerate() if thread is not threading.main_thread()]
    if before is not None:
        found += [what for number, what in _open_things().items() if before.get(number) != what]
    if found:
        raise StartError(
            f"workers cannot be forked from what the app's import left behind: {', '.join(found)}. "
            "Start that in a lifespan, which runs in each worker, or serve without --preload"
        )


def _open_things() -> dict[int, str]:
    """The sockets and event loops of this process by their descriptors."""
    found: dict[int, str] = {}
    for name in os.listdir("/dev/fd"):
        number = int(name)
        try:
            mode = os.fstat(number).st_mode
            target = os.readlink(f"/dev/fd/{name}") if os.path.islink(f"/dev/fd/{name}") else ""
        except OSError:
            continue  # it was the listing's own
        if stat.S_ISSOCK(mode):
            found[number] = _describe(number)
        elif "eventpoll" in target or "io_uring" in target:
            found[number] = f"an event loop (descriptor {number})"
    return found


def _describe(number: int) -> str:
    with socket.socket(fileno=os.dup(number)) as sock:
        try:
            peer = sock.getpeername()
        except OSError:
            return f"a socket (descriptor {number})"
    return f"a connection to {peer[0]}:{peer[1]}" if isinstance(peer, tuple) else f"a socket (descriptor {number})"
