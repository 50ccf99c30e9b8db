"""Finds an app by its ``module:name``."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from difflib import get_close_matches
from types import TracebackType

from fastnet.app import App

__all__ = ["AppFailed", "LoadError", "load_app"]


class LoadError(Exception):
    """There is no app at that place; the message says what is there instead."""


class AppFailed(Exception):
    """The app's module raised while it was imported. ``traceback`` is the text of it, from that module on."""

    def __init__(self, module: str, error: BaseException) -> None:
        super().__init__(f"{module!r} could not be imported")
        self.traceback = "".join(traceback.format_exception(error.with_traceback(_from_the_app(error.__traceback__))))


def _from_the_app(frames: TracebackType | None) -> TracebackType | None:
    """The traceback without our frames and the import machinery's above the app's first."""
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if not (file == __file__ or file.startswith("<frozen importlib") or file == importlib.__file__):
            return frames
        frames = frames.tb_next
    return None


def load_app(place: str) -> App:
    """The app at ``"module:name"``, looked for in the current folder first.

    Raises :class:`LoadError` when there is none, and :class:`AppFailed` for what its module raises.
    """
    module_name, colon, name = place.partition(":")
    if not module_name or not colon or not name:
        raise LoadError(f"{place!r} does not say where the app is: write it as module:app, for example service:app")
    if module_name.endswith(".py") or "/" in module_name:
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise LoadError(f"{module_name!r} is a file: name the module, {dotted}:{name}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise AppFailed(module_name, error) from None
        raise LoadError(f"there is no module {error.name!r} in {os.getcwd()} or on the Python path") from None
    except Exception as error:
        raise AppFailed(module_name, error) from None
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise LoadError(f"module {module_name!r} has no {name!r}{_apps_of(module, name)}")
        found = getattr(found, part)
    if not isinstance(found, App):
        raise LoadError(f"{place} is a {type(found).__name__}, not a fastnet App{_apps_of(module, name)}")
    return found


def _apps_of(module: object, name: str) -> str:
    apps = [key for key, value in vars(module).items() if isinstance(value, App)]
    if apps:
        return f"; its app is {apps[0]!r}" if len(apps) == 1 else f"; its apps are {', '.join(apps)}"
    close = get_close_matches(name, list(vars(module)), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
