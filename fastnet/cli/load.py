"""Finds an app by its ``module:name``, or makes it by ``module:create_app()``."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sys
import traceback
from dataclasses import dataclass, fields
from difflib import get_close_matches
from types import TracebackType
from typing import Any, Final

from fastnet.app import App
from fastnet.asgi.application import UnknownApplication, application_of
from fastnet.asgi.lifespan import LifespanMode
from fastnet.asgi.wsgi import THREADS
from fastnet.server.config import SETTINGS
from fastnet.server.sources import Sources

__all__ = ["AppFailed", "LoadError", "Target", "load_app"]


class LoadError(Exception):
    """There is no app at that place; the message says what is there instead."""


class AppFailed(Exception):
    """The app's code raised while it was imported or made. ``traceback`` is the text of it, from that code on."""

    def __init__(self, message: str, error: BaseException) -> None:
        super().__init__(message)
        self.traceback = "".join(traceback.format_exception(error.with_traceback(_from_the_app(error.__traceback__))))


def _from_the_app(frames: TracebackType | None) -> TracebackType | None:
    """The traceback without our frames and the import machinery's above the app's first."""
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if not (file == __file__ or file.startswith("<frozen importlib") or file == importlib.__file__):
            return frames
        frames = frames.tb_next
    return None


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to be served: where it is and how it is called; the settings of these names."""

    app: str
    app_dir: str | None = None
    factory: bool = False
    interface: str = "auto"
    lifespan: LifespanMode = "auto"
    wsgi_threads: int = THREADS

    @classmethod
    def of(cls, sources: Sources) -> Target | None:
        """What the sources tell, None when they name no app. Raises :class:`~fastnet.server.ConfigError`."""
        told: dict[str, Any] = {}
        for item in fields(cls):
            found = sources.find(item.name)
            if found is not None:
                told[item.name] = SETTINGS[item.name].read(found.value, f"{item.name} ({found.origin})")
        return cls(**told) if "app" in told else None


def load_app(target: Target) -> App:
    """The app of a target, looked for in ``app_dir`` and the current folder first; others' applications in one of ours.

    Raises :class:`LoadError` when there is none, and :class:`AppFailed` for what its code raises.
    """
    place = target.app
    module_name, colon, name = place.partition(":")
    if not module_name or not colon or not name:
        raise LoadError(f"{place!r} does not say where the app is: write it as module:app, for example service:app")
    if module_name.endswith(".py") or "/" in module_name:
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise LoadError(f"{module_name!r} is a file: name the module, {dotted}:{name}")
    call = _parse(place, name)
    if target.factory:
        if call.arguments is not None:
            raise LoadError(f"{place!r} is called already, as its parentheses say: leave out --factory")
        call.arguments = ((), {})
    _add_folders(target.app_dir)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise AppFailed(f"{module_name!r} could not be imported", error) from None
        looked = target.app_dir or os.getcwd()
        raise LoadError(f"there is no module {error.name!r} in {looked} or on the Python path") from None
    except Exception as error:
        raise AppFailed(f"{module_name!r} could not be imported", error) from None
    found: object = module
    for part in call.name.split("."):
        if not hasattr(found, part):
            raise LoadError(f"module {module_name!r} has no {call.name!r}{_apps_of(module, call.name)}")
        found = getattr(found, part)
    if call.arguments is not None:
        found = _make(found, f"{module_name}:{call.name}", *call.arguments)
    try:
        return application_of(found, target.interface, lifespan=target.lifespan, wsgi_threads=target.wsgi_threads)
    except UnknownApplication as error:
        raise LoadError(f"{place} {error}{_apps_of(module, call.name)}") from None


@dataclass
class _Call:
    """What stands behind the colon: a name, and the arguments that it is called with, if it is."""

    name: str
    arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None


_HOW: Final = 'write it as module:app or module:create_app("text", debug=True), with literals alone'


def _parse(place: str, name: str) -> _Call:
    # Nothing is evaluated but literals: the place may come from an environment variable.
    try:
        node = ast.parse(name, mode="eval").body
        if not isinstance(node, ast.Call):
            return _Call(_name_of(node))
        positional = tuple(ast.literal_eval(argument) for argument in node.args)
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg is not None}
        if len(named) < len(node.keywords):
            raise ValueError("** is no literal")
        return _Call(_name_of(node.func), (positional, named))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise LoadError(f"{place!r} does not say where the app is: {_HOW}") from None


def _name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name_of(node.value)}.{node.attr}"
    if isinstance(node, ast.Name):
        return node.id
    raise ValueError("neither a name nor an attribute")


def _add_folders(app_dir: str | None) -> None:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if app_dir is not None:
        folder = os.path.abspath(app_dir)
        if not os.path.isdir(folder):
            raise LoadError(f"app_dir {app_dir!r} is no folder")
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)


def _make(factory: Any, place: str, positional: tuple[Any, ...], named: dict[str, Any]) -> object:
    """What a factory makes."""
    if not callable(factory):
        raise LoadError(f"{place} is a {type(factory).__name__}, not a function that makes an app: leave out the call")
    if inspect.iscoroutinefunction(factory):
        raise LoadError(f"{place} is async: make the app in a plain function, and await what it needs in its lifespan")
    try:
        made: object = factory(*positional, **named)
    except Exception as error:
        if isinstance(error, TypeError) and _from_the_app(error.__traceback__) is None:
            raise LoadError(f"{place} cannot be called like that: {error}") from None
        raise AppFailed(f"{place} could not make the app", error) from None
    return made


def _apps_of(module: object, name: str) -> str:
    apps = [key for key, value in vars(module).items() if isinstance(value, App)]
    if apps:
        return f"; its app is {apps[0]!r}" if len(apps) == 1 else f"; its apps are {', '.join(apps)}"
    close = get_close_matches(name, list(vars(module)), n=1)
    return f"; did you mean {close[0]!r}?" if close and close[0] != name else ""
