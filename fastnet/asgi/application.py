"""What ``fastnet run`` found, as an App: one of ours as it is, an ASGI or WSGI application mounted at ``/``."""

from __future__ import annotations

import inspect
from typing import Any, Final, Literal

from fastnet.app import App

from .lifespan import LifespanMode
from .wsgi import THREADS, WSGI

__all__ = ["INTERFACES", "Interface", "UnknownApplication", "application_of", "interface_of"]

Interface = Literal["fastnet", "asgi", "wsgi"]

INTERFACES: Final = ("auto", "fastnet", "asgi", "wsgi")


class UnknownApplication(TypeError):
    """Something that cannot be served; the message, which goes on after its name, says what it is and what to do."""


def application_of(
    found: Any, interface: str = "auto", *, lifespan: LifespanMode = "auto", wsgi_threads: int = THREADS
) -> App:
    """The App that serves what was found; ``interface`` is one of ``INTERFACES``.

    ``lifespan`` is for ASGI applications, ``wsgi_threads`` for WSGI ones. Raises :class:`UnknownApplication`.
    """
    kind = interface_of(found, interface)
    if kind == "fastnet":
        app: App = found
        return app
    # No route of ours in front, and no redirect: every path is the application's.
    app = App(title=type(found).__name__, redirect_slashes=False)
    if kind == "wsgi":
        app.mount("/", WSGI(found, threads=wsgi_threads), lifespan="on")
    else:
        app.mount("/", found, lifespan=lifespan)
    return app


def interface_of(found: Any, interface: str = "auto") -> Interface:
    """How something is called that is to be served; what is told counts, if it can be. Raises UnknownApplication."""
    kind = type(found).__name__
    if isinstance(found, App):
        if interface in ("auto", "fastnet"):
            return "fastnet"
        raise UnknownApplication(f"is a fastnet App, not {interface.upper()}: leave out --interface")
    if interface == "fastnet" or not callable(found):
        raise UnknownApplication(
            f"is a {kind}, not a fastnet App" + ("" if interface == "fastnet" else ", and no ASGI or WSGI application")
        )
    if interface == "asgi":
        return "asgi"
    if interface == "wsgi":
        return "wsgi"
    return _detect(found)


def _detect(found: Any) -> Interface:
    if inspect.isclass(found):
        if _takes(found, 1) and _takes(found.__call__, 3) and not _takes(found.__call__, 4):
            raise UnknownApplication(_ASGI_2)
        raise UnknownApplication(f"is a class: make an application of it, or name it as {found.__name__}()")
    asynchronous = inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(type(found).__call__)
    takes = [_takes(found, count) for count in range(4)]
    if takes[3] and (asynchronous or not takes[2]):
        return "asgi"
    if takes[2] and not asynchronous and not takes[1]:
        return "wsgi"
    if takes[0] and not takes[3]:
        raise UnknownApplication(
            "is called without arguments: if it makes the application, write it with parentheses or say --factory"
        )
    if takes[1] and not takes[2] and not asynchronous:
        raise UnknownApplication(_ASGI_2)
    raise UnknownApplication(
        f"is a {type(found).__name__} that takes neither scope, receive and send (ASGI) nor environ and "
        "start_response (WSGI); if it is one of them, say which by --interface"
    )


_ASGI_2: Final = (
    "is an ASGI 2 application, called with the scope alone: wrap it, "
    "app = asgiref.compatibility.guarantee_single_callable(app)"
)


def _takes(function: Any, count: int) -> bool:
    """Whether it can be called with so many positional arguments."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    return True
