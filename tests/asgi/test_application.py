"""Which interface an application has, found out by how it can be called."""

from __future__ import annotations

import functools
from typing import Any

import django.core.handlers.asgi
import django.core.handlers.wsgi
import flask
import pytest
import quart

from fastnet import App, Router
from fastnet.asgi.application import UnknownApplication, application_of, interface_of
from fastnet.asgi.wsgi import WSGI


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi(environ: Any, start_response: Any) -> Any: ...


class Asgi:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...


class Wrapped:
    """What middleware looks like that passes calls on without being async itself."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any: ...


class Wsgi:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...

    def method(self, environ: Any, start_response: Any) -> Any: ...


class Asgi2:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


def asgi_2(scope: Any) -> Any: ...


async def asgi_with_more(scope: Any, receive: Any, send: Any, more: int = 0) -> None: ...


async def asgi_of_anything(*arguments: Any) -> None: ...


def wsgi_with_more(environ: Any, start_response: Any, more: int = 0) -> Any: ...


def factory(name: str = "x") -> Any: ...


def nothing() -> Any: ...


def four(a: Any, b: Any, c: Any, d: Any) -> Any: ...


def anything(*arguments: Any) -> Any: ...


async def handler(request: Any) -> Any: ...


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (App(), "fastnet"),
        (asgi, "asgi"),
        (Asgi(), "asgi"),
        (Asgi().method, "asgi"),
        (Wrapped(), "asgi"),
        (functools.partial(asgi_with_more, more=1), "asgi"),
        (asgi_with_more, "asgi"),
        (asgi_of_anything, "asgi"),
        (WSGI(wsgi), "asgi"),
        (quart.Quart("x"), "asgi"),
        (django.core.handlers.asgi.ASGIHandler.__new__(django.core.handlers.asgi.ASGIHandler), "asgi"),
        (wsgi, "wsgi"),
        (Wsgi(), "wsgi"),
        (Wsgi().method, "wsgi"),
        (wsgi_with_more, "wsgi"),
        (functools.partial(wsgi_with_more, more=1), "wsgi"),
        (flask.Flask("x"), "wsgi"),
        (django.core.handlers.wsgi.WSGIHandler.__new__(django.core.handlers.wsgi.WSGIHandler), "wsgi"),
    ],
)
def test_found_out(found: Any, expected: str) -> None:
    assert interface_of(found) == expected
    assert interface_of(found, expected) == expected


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (asgi_2, "is an ASGI 2 application.*guarantee_single_callable"),
        (Asgi2, "is an ASGI 2 application.*guarantee_single_callable"),
        (Asgi, r"is a class: make an application of it, or name it as Asgi\(\)"),
        (factory, "without arguments: if it makes the application, write it with parentheses or say --factory"),
        (nothing, "without arguments"),
        (four, "neither scope, receive and send .* say which by --interface"),
        (anything, "neither scope, receive"),
        (handler, "neither scope, receive"),
        (Router(), "is a Router, not a fastnet App, and no ASGI or WSGI application"),
        ("service:app", "is a str, not a fastnet App"),
        (None, "is a NoneType"),
    ],
)
def test_what_cannot_be_served(found: Any, message: str) -> None:
    with pytest.raises(UnknownApplication, match=message):
        interface_of(found)


def test_what_is_told_counts_if_it_can_be() -> None:
    assert interface_of(anything, "asgi") == "asgi"
    assert interface_of(anything, "wsgi") == "wsgi"
    with pytest.raises(UnknownApplication, match="is a str"):
        interface_of("x", "wsgi")
    with pytest.raises(UnknownApplication, match=r"is a function, not a fastnet App$"):
        interface_of(asgi, "fastnet")
    with pytest.raises(UnknownApplication, match="is a fastnet App, not WSGI: leave out --interface"):
        interface_of(App(), "wsgi")


def test_an_app_of_ours_is_served_as_it_is() -> None:
    app = App()
    assert application_of(app) is app


def test_others_are_mounted_at_the_root_of_an_app_without_a_route() -> None:
    app = application_of(Asgi(), lifespan="off")
    (route,) = app.routes
    assert (route.kind, route.path, route.methods) == ("asgi", "/{rest:path}", ("*",))
    assert not app.redirect_slashes
    (route,) = application_of(wsgi, wsgi_threads=3).routes
    mounted = route.options["mount"].of.application
    assert isinstance(mounted, WSGI)
    assert mounted.threads == 3
