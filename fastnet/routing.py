"""Registration: the decorators that ``App`` and ``Router`` share, and how routers join.

Nothing is resolved when a router is included: routes registered on it later count too. What
cannot work is refused by the decorator or the ``include`` that makes it so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, Unpack, overload

from fastnet.asgi.mount import Mount, MountOptions
from fastnet.asgi.types import AsgiApp
from fastnet.compression.settings import Compression, CompressionOptions, Decompress, chosen, largest
from fastnet.middleware import Middleware, MiddlewareT, check_middleware
from fastnet.options import RouteOptions, SseOptions, WebSocketOptions
from fastnet.ratelimit.limits import Concurrency, LimitOptions, RateLimit, limits_of
from fastnet.ratelimit.rates import Rate
from fastnet.signatures import locate, name_of
from fastnet_ext.routing.paths import RouteConflict, RouteSyntaxError, parse_path

__all__ = [
    "ResolvedRoute",
    "RouteConflict",
    "RouteSyntaxError",
    "Router",
    "Routes",
]

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])

# The method that hand-shakes are registered for: the dispatcher asks for it in place of GET.
WEBSOCKET = "WEBSOCKET"

# In place of methods: all of them, and hand-shakes too.
EVERY_METHOD = "*"

# The pattern of a path: what is left when its parameters lose their names.
Pattern = tuple[tuple[str, bytes, bytes], ...]

_Limits = tuple[RateLimit | Concurrency, ...]


@dataclass(frozen=True, slots=True)
class Codings:
    """What becomes of bodies: how answers are compressed, and what compressed requests may become."""

    compress: Compression | None = None
    decompress: Decompress = False

    def within(self, compress: bool | Compression | None, decompress: Decompress | None) -> Codings:
        """The same, with what is said further inside, None being nothing."""
        return Codings(chosen(compress, self.compress), self.decompress if decompress is None else decompress)


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """What one decorator said; ``kind`` chooses who makes the endpoint: "http", "sse", "websocket" …"""

    kind: str
    path: str
    methods: tuple[str, ...]
    handler: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResolvedRoute:
    """A registration with all that its routers add: the whole path, outer middleware and dependencies first."""

    registration: Registration
    path: str
    middleware: tuple[Middleware, ...] = ()
    dependencies: tuple[Any, ...] = ()
    limits: tuple[RateLimit | Concurrency, ...] = ()
    codings: Codings = Codings()

    @property
    def kind(self) -> str:
        """Who makes the endpoint: "http", "sse", "websocket" …"""
        return self.registration.kind

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in capitals."""
        return self.registration.methods

    @property
    def handler(self) -> Callable[..., Any]:
        """The function that was decorated."""
        return self.registration.handler

    @property
    def options(self) -> Mapping[str, Any]:
        """What the decorator was told: see ``RouteOptions``."""
        return self.registration.options

    @property
    def name(self) -> str:
        """The route's name: the option, or the function's."""
        name = self.options.get("name") or getattr(self.handler, "__name__", None)
        return str(name or type(self.handler).__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Inclusion:
    router: Routes
    prefix: str
    middleware: tuple[Middleware, ...]
    dependencies: tuple[Any, ...]


class Routes:
    """The decorators. Each returns the function unchanged.

    All raise ``RouteSyntaxError`` for a path that cannot be, ``RouteConflict`` when another route
    answers the same requests, ``TypeError`` when the handler's parameters cannot be filled, and
    ``RuntimeError`` once the application serves.
    """

    # Stands before every path of ours once we are included.
    prefix = ""

    def __init__(self, *, dependencies: Sequence[Any] = (), middleware: Sequence[Middleware] = ()) -> None:
        self._registrations: list[Registration] = []
        self._inclusions: list[_Inclusion] = []
        self._middleware: list[Middleware] = []
        self._limits: list[RateLimit | Concurrency] = []
        self._compression: Compression | None = None
        self._decompression: Decompress | None = None
        self._dependencies = tuple(dependencies)
        # Where this was included, and the routes that answer below it by pattern and method.
        self._parents: list[tuple[Routes, _Inclusion]] = []
        self._claims: dict[Pattern, dict[str, Registration]] = {}
        for one in middleware:
            self.middleware(one)

    # --- handlers

    def route(
        self, path: str, *, methods: Iterable[str] = ("GET",), **options: Unpack[RouteOptions]
    ) -> Callable[[HandlerT], HandlerT]:
        """Answer requests for ``path`` with one of ``methods``: see ``RouteOptions`` for the rest."""
        return self._decorator("http", path, _methods(methods), options)

    def get(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[HandlerT], HandlerT]:
        """Answer GET, and HEAD without the body."""
        return self.route(path, methods=("GET",), **options)

    def post(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[HandlerT], HandlerT]:
        """Answer POST."""
        return self.route(path, methods=("POST",), **options)

    def put(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[HandlerT], HandlerT]:
        """Answer PUT."""
        return self.route(path, methods=("PUT",), **options)

    def patch(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[HandlerT], HandlerT]:
        """Answer PATCH."""
        return self.route(path, methods=("PATCH",), **options)

    def delete(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[HandlerT], HandlerT]:
        """Answer DELETE."""
        return self.route(path, methods=("DELETE",), **options)

    def head(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[HandlerT], HandlerT]:
        """Answer HEAD by a handler of its own; ``get`` answers it already."""
        return self.route(path, methods=("HEAD",), **options)

    def options(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[HandlerT], HandlerT]:
        """Answer OPTIONS; without it, the methods that the path knows are listed."""
        return self.route(path, methods=("OPTIONS",), **options)

    @overload
    def websocket(self, path: str, **options: Unpack[WebSocketOptions]) -> Callable[[HandlerT], HandlerT]: ...

    @overload
    def websocket(
        self,
        path: str,
        *,
        on_message: Callable[[Any, Any], None],
        on_open: Callable[..., None] | None = None,
        on_close: Callable[[Any, int, str], None] | None = None,
        **options: Unpack[WebSocketOptions],
    ) -> None: ...

    @overload
    def websocket(
        self,
        path: str,
        *,
        on_open: Callable[..., None],
        on_message: None = None,
        on_close: Callable[[Any, int, str], None] | None = None,
        **options: Unpack[WebSocketOptions],
    ) -> None: ...

    def websocket(self, path: str, **options: Any) -> Callable[[HandlerT], HandlerT] | None:
        """Answer WebSocket hand-shakes for ``path``: see ``WebSocketOptions``.

        A decorator of an ``async def`` handler; with ``on_open`` or ``on_message(ws, message)``, and perhaps
        ``on_close(ws, code, reason)``, a registration instead. These are ``def``, and called by the reader itself:
        they must not block. ``on_open`` has parameters and dependencies as handlers do; it refuses by raising.
        """
        callbacks = [options[name] for name in ("on_message", "on_open") if options.get(name) is not None]
        if not callbacks:
            return self._decorator("websocket", path, (WEBSOCKET,), options)
        self._register(Registration("websocket callbacks", path, (WEBSOCKET,), callbacks[0], _checked(options)))
        return None

    def sse(
        self, path: str, *, methods: Iterable[str] = ("GET",), **options: Unpack[SseOptions]
    ) -> Callable[[HandlerT], HandlerT]:
        """Answer ``path`` with server-sent events, which the handler, a generator, yields: see ``SseOptions``.

        Each is a ``ServerSentEvent``, a str (its data) or a value (its data as JSON).
        """
        return self._decorator("sse", path, _methods(methods), options)

    def middleware(self, function: MiddlewareT) -> MiddlewareT:
        """Wrap every handler below: ``async def one(request, call_next) -> Response``; the first one is outermost."""
        check_middleware(function)
        self._refuse_when_serving()
        self._middleware.append(function)
        return function

    def limit(
        self, rate: str | Rate | RateLimit | Concurrency, **options: Unpack[LimitOptions]
    ) -> RateLimit | Concurrency:
        """Limit the requests of every handler below, together: ``app.limit("100/second", burst=200, key=client_ip)``.

        Returns the limit, which may be registered elsewhere too; see ``RateLimit`` for the options. Several are
        asked in their order, outer ones first. Raises ``ValueError`` for a rate that is none.
        """
        self._refuse_when_serving()
        if isinstance(rate, (RateLimit, Concurrency)):
            if options:
                raise TypeError(f"{', '.join(options)}: options of a limit are given where it is made")
            limit = rate
        else:
            limit = RateLimit(rate, **options)
        self._limits.append(limit)
        return limit

    def compress(self, compression: Compression | None = None, **options: Unpack[CompressionOptions]) -> Compression:
        """Compress the answers of every handler below, as their clients accept it: see ``Compression`` for the options.

        A route says otherwise by ``compress=False``, or ``compress=Compression(...)``; what is said further inside
        counts. Returns the settings. Raises ``ValueError`` for what they cannot be.
        """
        self._refuse_when_serving()
        if compression is not None and options:
            raise TypeError(f"{', '.join(options)}: options of a Compression are given where it is made")
        self._compression = Compression(**options) if compression is None else compression
        return self._compression

    def decompress(self, max_size: int | None = None) -> None:
        """Decompress the bodies of requests that have a Content-Encoding, for every handler below.

        ``max_size``: what a body may become, in bytes; None is what it may be without (``max_body``). Above it 413; for
        a coding that is none of ours 415, for a damaged body 400. A route says otherwise by ``decompress=False``, or
        a number of bytes.
        """
        self._refuse_when_serving()
        if max_size is not None:
            largest(max_size, 0)
        self._decompression = True if max_size is None else max_size

    def mount(self, path: str, application: AsgiApp, **options: Unpack[MountOptions]) -> None:
        """Let an ASGI application answer everything below ``path`` that no route of ours does.

        It sees the whole path; what was matched of it joins ``root_path``. Requests go through middleware, but
        not through dependencies. See ``MountOptions`` for the rest. Routers are joined by ``include``.
        """
        unknown = set(options) - set(MountOptions.__annotations__)
        if unknown:
            known = ", ".join(sorted(MountOptions.__annotations__))
            raise TypeError(f"{', '.join(sorted(unknown))}: no option of a mount; there are {known}")
        if isinstance(application, Routes) and not callable(application):
            raise TypeError(f"a {type(application).__name__} is joined by include(), not mounted")
        if path and not path.startswith("/"):
            raise RouteSyntaxError(path, "a path starts with a slash")
        mount = Mount(application, options.get("lifespan", "auto"))
        place = path.rstrip("/") + "/{rest:path}"
        told = {**_checked(options), "mount": mount}
        self._register(Registration("asgi", place, (EVERY_METHOD,), application, told))

    # --- routers

    def include(
        self,
        router: Router,
        prefix: str = "",
        *,
        middleware: Sequence[Middleware] = (),
        dependencies: Sequence[Any] = (),
    ) -> None:
        """Join a router's routes under ``prefix``, behind this middleware and after these dependencies.

        Routes, middleware and routers that it gets later are joined too.
        """
        if not isinstance(router, Router):
            raise TypeError(f"include takes a Router, not {type(router).__name__}")
        if prefix and not prefix.startswith("/"):
            raise RouteSyntaxError(prefix, "a prefix starts with a slash")
        for one in middleware:
            check_middleware(one)
        self._refuse_when_serving()
        if any(place is router for place, _ in self._places()):
            raise ValueError("a router cannot include itself, neither directly nor through others")
        inclusion = _Inclusion(router, prefix.rstrip("/"), tuple(middleware), tuple(dependencies))
        self._claim(list(self._resolve_inclusion(inclusion, (), (), (), Codings())))
        self._inclusions.append(inclusion)
        router._parents.append((self, inclusion))

    @property
    def routes(self) -> list[ResolvedRoute]:
        """Every route, with its whole path, those of included routers after our own."""
        return list(self._resolve((), (), (), Codings()))

    # --- how it works

    def _decorator(
        self, kind: str, path: str, methods: tuple[str, ...], options: Mapping[str, Any]
    ) -> Callable[[HandlerT], HandlerT]:
        options = _checked(options)

        def register(handler: HandlerT) -> HandlerT:
            self._register(Registration(kind, path, methods, handler, options))
            return handler

        return register

    def _register(self, registration: Registration) -> None:
        if not callable(registration.handler):
            raise TypeError(f"a handler is a function, not {registration.handler!r}")
        self._refuse_when_serving()
        self._claim([ResolvedRoute(registration, registration.path, (), self._own_dependencies(registration))])
        self._registrations.append(registration)

    def _claim(self, routes: list[ResolvedRoute]) -> None:
        """Check the routes here and wherever we are included; then, and only then, take note of them."""
        claims: list[tuple[dict[Pattern, dict[str, Registration]], Pattern, Registration]] = []
        for place, chain in self._places():
            for route in routes:
                whole = _wrapped(route, chain)
                pattern = _pattern(whole.path, complete=place._is_root)
                taken = place._claims.get(pattern, {})
                for method in whole.methods:
                    if method in taken:
                        raise _conflict(whole, taken[method], method)
                place._admit(whole)
                claims.append((place._claims, pattern, whole.registration))
        for index, pattern, registration in claims:
            index.setdefault(pattern, {}).update(dict.fromkeys(registration.methods, registration))

    # Whether paths here are whole: nothing will stand before them.
    _is_root = False

    def _admit(self, route: ResolvedRoute) -> None:
        """Refuse a route whose path is whole, by an exception; ``App`` does."""

    def _refuse_when_serving(self) -> None:
        for place, _ in self._places():
            if place._is_root:
                place._refuse_when_serving()

    def _places(self) -> Iterator[tuple[Routes, _Chain]]:
        """Ourselves and wherever we are included, each with the inclusions on the way, innermost first."""
        yield self, ()
        for parent, inclusion in self._parents:
            for place, chain in parent._places():
                yield place, ((parent, inclusion), *chain)

    def _own_dependencies(self, registration: Registration) -> tuple[Any, ...]:
        return (*self._dependencies, *registration.options.get("dependencies", ()))

    def _resolve(
        self, middleware: tuple[Middleware, ...], dependencies: tuple[Any, ...], limits: _Limits, codings: Codings
    ) -> Iterator[ResolvedRoute]:
        middleware = (*middleware, *self._middleware)
        limits = (*limits, *self._limits)
        codings = codings.within(self._compression, self._decompression)
        for registration in self._registrations:
            yield ResolvedRoute(
                registration,
                registration.path,
                middleware,
                (*dependencies, *self._own_dependencies(registration)),
                (*limits, *registration.options.get("limit", ())),
                codings.within(registration.options.get("compress"), registration.options.get("decompress")),
            )
        for inclusion in self._inclusions:
            yield from self._resolve_inclusion(inclusion, middleware, dependencies, limits, codings)

    def _resolve_inclusion(
        self,
        inclusion: _Inclusion,
        middleware: tuple[Middleware, ...],
        dependencies: tuple[Any, ...],
        limits: _Limits,
        codings: Codings,
    ) -> Iterator[ResolvedRoute]:
        router = inclusion.router
        for route in router._resolve(
            (*middleware, *inclusion.middleware),
            (*dependencies, *self._dependencies, *inclusion.dependencies),
            limits,
            codings,
        ):
            yield replace(route, path=inclusion.prefix + router.prefix + route.path)


class Router(Routes):
    """Routes to be joined: ``app.include(router, prefix="/api")``. Routers nest.

    A path may be empty here when a prefix will stand before it.
    """

    def __init__(
        self, prefix: str = "", *, dependencies: Sequence[Any] = (), middleware: Sequence[Middleware] = ()
    ) -> None:
        super().__init__(dependencies=dependencies, middleware=middleware)
        if prefix and not prefix.startswith("/"):
            raise RouteSyntaxError(prefix, "a prefix starts with a slash")
        self.prefix = prefix.rstrip("/")


_Chain = tuple[tuple[Routes, _Inclusion], ...]


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with limits made of their rates, once: wherever a route is included, they count together."""
    # Refuses what cannot be, now.
    Codings().within(options.get("compress"), largest(options.get("decompress", False), 0))
    made = {name: limits_of(options[name]) for name in ("limit", "message_limit") if name in options}
    return {**options, **made}


def _wrapped(route: ResolvedRoute, chain: _Chain) -> ResolvedRoute:
    """A route of a router as it looks from outside a chain of inclusions."""
    path, dependencies = route.path, route.dependencies
    for parent, inclusion in chain:
        path = inclusion.prefix + inclusion.router.prefix + path
        dependencies = (*parent._dependencies, *inclusion.dependencies, *dependencies)
    return ResolvedRoute(route.registration, path, route.middleware, dependencies)


def _methods(methods: Iterable[str]) -> tuple[str, ...]:
    if isinstance(methods, str):
        raise TypeError(f"methods is a list: methods=[{methods!r}]")
    wanted = tuple(dict.fromkeys(method.upper() for method in methods))
    if not wanted:
        raise ValueError("a route answers at least one method")
    for method in wanted:
        if not method.isascii() or not method.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"{method!r} is no HTTP method")
    return wanted


def _pattern(path: str, *, complete: bool) -> Pattern:
    if not complete and path == "":
        return ()
    return tuple((part.kind, part.text, part.suffix) for part in parse_path(path))


def _conflict(route: ResolvedRoute, other: Registration, method: str) -> RouteConflict:
    error = RouteConflict(route.path, other.path, method)
    error.args = (f"{method} {route.path} is answered twice: by {where(other.handler)} and by {where(route.handler)}",)
    return error


def where(handler: Callable[..., Any]) -> str:
    """A handler's name, file and line, for messages: ``read_user (service.py:12)``."""
    return f"{name_of(handler)} ({locate(handler)})"
