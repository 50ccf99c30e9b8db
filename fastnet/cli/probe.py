"""Asks an app for its settings without importing it here: a supervisor has none of the app's code."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import Any

from fastnet.app import App
from fastnet.cli.load import AppFailed, LoadError, Target, load_app
from fastnet.server import StartError
from fastnet.server.children import described

__all__ = ["load_for_worker", "settings_of"]

EXIT_USAGE = 2


def load_for_worker(target: Target) -> App:
    """The app of a target. Raises :class:`~fastnet.server.StartError`."""
    try:
        return load_app(target)
    except LoadError as error:
        raise StartError(str(error), code=EXIT_USAGE) from None
    except AppFailed as error:
        raise StartError(str(error), traceback=error.traceback) from error


def settings_of(target: Target) -> dict[str, Any]:
    """``App(settings=)`` of a target's app, which a process of its own imports.

    Raises :class:`~fastnet.server.StartError` when it cannot be imported there.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _answer(target, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(pid, 0)
    if not answer:
        raise StartError(f"the process that imported {target.app} {described(status)}")
    found: dict[str, Any] | StartError = pickle.loads(answer)
    if isinstance(found, StartError):
        raise found
    return found


def _answer(target: Target, descriptor: int) -> None:
    """In the child: write what was found, and end without what a process does at its end."""
    code = 1
    try:
        try:
            found: object = load_for_worker(target).settings
        except StartError as error:
            found = error
        try:
            data = pickle.dumps(found)
        except Exception as error:
            data = pickle.dumps(StartError(f"App(settings=) holds what cannot be passed on: {error}", code=EXIT_USAGE))
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
