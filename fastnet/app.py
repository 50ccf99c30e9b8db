"""The application: what is registered, and what the engine needs of it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Literal, TypeVar

from fastnet.admin import add_admin_routes
from fastnet.arguments import Provider
from fastnet.asgi.hosted import Hosted
from fastnet.asgi.mount import behind_middleware, lifespans_of
from fastnet.asgi.types import Receive, Scope, Send
from fastnet.background import BackgroundTasks
from fastnet.endpoints import Fallbacks, compress_by, endpoint_of, engine_route, plain_endpoint
from fastnet.grpc.server import GrpcServer
from fastnet.http.errors import HTTPException, render_error
from fastnet.lifespan import Lifespan, LifespanT
from fastnet.middleware import Middleware
from fastnet.ratelimit.limits import Concurrency, RateLimit
from fastnet.routing import Registration, ResolvedRoute, Routes
from fastnet.server import Config, Server, run
from fastnet.state import State
from fastnet.websocket.hub import Hub, Hubs
from fastnet_ext.exchange.errors import ExchangeError
from fastnet_ext.exchange.exchange import Endpoint, Guard
from fastnet_ext.exchange.guards import InFlightLimit
from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import Response
from fastnet_ext.routing.table import RoutingTable
from fastnet_ext.serve.asgi import AsgiEndpoint
from fastnet_ext.serve.chain import with_middleware
from fastnet_ext.serve.dispatch import Dispatcher
from fastnet_ext.serve.http import HttpEndpoint
from fastnet_ext.serve.json import JsonEncoder
from fastnet_ext.serve.plan import AppArgument

__all__ = ["App"]

T = TypeVar("T")
ErrorHandler = Callable[[Request[Any], Any], Any]
ErrorHandlerT = TypeVar("ErrorHandlerT", bound=ErrorHandler)


class App(Routes):
    """An application: handlers under decorators, and what surrounds them.

    * ``debug``: answers to unexpected exceptions name them.
    * ``redirect_slashes``: a missing or extra slash at the end of a path redirects (308).
    * ``max_body``: the largest request body in bytes, unless a route says otherwise; above it 413.
    * ``max_in_flight``: how many requests are answered at once, all routes together; above it 503.
    * ``pool_size``: threads for ``def`` handlers, for all of them together.
    * ``enc_hook``: turns a value of a foreign type into one that JSON knows; ``dec_hook(type, value)``
      makes a foreign type of what JSON gave.
    * ``dependencies`` and ``middleware``: before and around every handler.
    * ``grpc_interceptors``: around every gRPC call; see ``app.grpc.interceptor``.
    * ``settings``: of the server, with the names that they have in ``fastnet.toml``; flags, ``FASTNET_*`` and that
      file win over them.

    ``state`` is a bag of attributes, ``json`` the encoder of answers, and ``dependency_overrides``
    puts one dependency in the place of another (tests). ``shutting_down`` is True from the moment in which
    the server begins to drain: handlers that never end by themselves look at it.
    """

    _is_root = True

    def __init__(
        self,
        *,
        debug: bool = False,
        title: str = "fastnet",
        version: str = "0.1.0",
        redirect_slashes: bool = True,
        max_body: int = 1024 * 1024,
        max_in_flight: int | None = None,
        pool_size: int = 40,
        enc_hook: Callable[[Any], Any] | None = None,
        dec_hook: Callable[[type, Any], Any] | None = None,
        dependencies: Sequence[Any] = (),
        middleware: Sequence[Middleware] = (),
        grpc_interceptors: Sequence[Any] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if max_body < 0 or pool_size < 1:
            raise ValueError("max_body is at least 0 and pool_size at least 1")
        self.debug = debug
        self.title = title
        self.version = version
        self.redirect_slashes = redirect_slashes
        self.max_body = max_body
        self.pool_size = pool_size
        self.settings: dict[str, Any] = dict(settings or {})
        # What admits requests before any route's own guards.
        self.guards: tuple[Guard, ...] = () if max_in_flight is None else (InFlightLimit(max_in_flight),)
        self.enc_hook = enc_hook
        self.dec_hook = dec_hook
        self.json = JsonEncoder(enc_hook)
        self.state = State()
        self._grpc: GrpcServer | None = None
        # A handler's parameter of our type gets the app.
        self.providers: dict[type, Provider] = {
            kind: lambda name, annotation: AppArgument(name) for kind in type(self).__mro__ if issubclass(kind, App)
        }
        self.dependency_overrides: dict[Callable[..., Any], Callable[..., Any]] = {}
        self._error_types: dict[type[Exception], ErrorHandler] = {}
        self._error_statuses: dict[int, ErrorHandler] = {}
        self._lifespan = Lifespan()
        self._background = BackgroundTasks()
        self.hubs = Hubs()
        self._endpoints: dict[tuple[Registration, str], Endpoint] = {}
        self._serving = False
        self._prepared: Dispatcher | None = None
        # What was registered anywhere, once it is built, in an order that is the same in every process.
        self.rate_limits: tuple[RateLimit, ...] = ()
        self._ready = True
        self._shutting_down = False
        self._state_observers: list[Callable[[], None]] = []
        self._hosted = Hosted(self)
        super().__init__(dependencies=dependencies, middleware=middleware)
        for interceptor in grpc_interceptors:
            self.grpc.interceptor(interceptor)

    @property
    def grpc(self) -> GrpcServer:
        """The gRPC face of the application; ``ImportError`` without the extra ``grpc``."""
        if self._grpc is None:
            self._grpc = GrpcServer(self)
        return self._grpc

    def hub(
        self,
        name: str | None = None,
        *,
        queue: int = 64,
        queue_bytes: int = 1024 * 1024,
        slow: Literal["drop_oldest", "drop_new", "close"] = "drop_oldest",
    ) -> Hub:
        """Rooms of WebSocket connections, shared by all workers.

        ``queue`` messages, of ``queue_bytes`` together, may wait for a connection that is slow; ``slow`` says what
        becomes of more: the oldest or the new one is dropped, or the connection closed with 1013. ``name`` is what the
        workers know the hub by: its number by default, when all of them make theirs in the same order. Raises
        ``ValueError`` for a name that is taken.
        """
        name = str(len(list(self.hubs))) if name is None else name
        hub = Hub(name, self.json, queue=queue, queue_bytes=queue_bytes, slow=slow)
        self.hubs.add(hub)
        return hub

    # --- errors

    def on_error(self, which: type[Exception] | int) -> Callable[[ErrorHandlerT], ErrorHandlerT]:
        """Answer exceptions of a type, or errors of a status, by ``function(request, error)``.

        It may be async, and returns a ``Response`` or a value that becomes one with the error's
        status. The nearest base class counts, types before statuses. A handler of ``Exception``
        takes what would be logged; one of 500 answers after the logging.
        """
        if isinstance(which, type) and issubclass(which, Exception):
            known: dict[Any, ErrorHandler] = self._error_types
        elif isinstance(which, int) and 400 <= which <= 599:
            known = self._error_statuses
        else:
            raise TypeError(f"on_error takes an exception class or a status from 400 to 599, not {which!r}")

        def register(function: ErrorHandlerT) -> ErrorHandlerT:
            if which in known:
                raise ValueError(f"there is a handler for {which!r} already")
            known[which] = function
            return function

        return register

    def answer_error(self, request: Request[Any], error: Exception) -> Response | Coroutine[Any, Any, Response]:
        """What ``Route.on_error`` calls."""
        handler = self._handler_of(error)
        if handler is None:
            response = render_error(request, error)
            handler = self._error_statuses.get(response.status_code)
            if handler is None:
                return response
        else:
            response = None
        try:
            result = handler(request, error)
        except Exception as second:
            return render_error(request, second)
        if inspect.isawaitable(result):
            return self._await_error(request, error, result)
        return self._error_response(result, error)

    def _handler_of(self, error: Exception) -> ErrorHandler | None:
        if self._error_types:
            for kind in type(error).__mro__:
                if kind in self._error_types:
                    return self._error_types[kind]
        return None

    async def _await_error(self, request: Request[Any], error: Exception, result: Awaitable[Any]) -> Response:
        try:
            return self._error_response(await result, error)
        except Exception as second:
            # Not asked again: a handler that always fails would never end.
            return render_error(request, second)

    def _error_response(self, result: Any, error: Exception) -> Response:
        if isinstance(result, Response):
            return result
        status = error.status_code if isinstance(error, HTTPException) else 500
        if isinstance(error, ExchangeError) and error.status:
            status = error.status
        if isinstance(result, (str, bytes)):
            return Response(result, status)
        return Response(self.json.encode(result), status, media_type="application/json")

    # --- around serving

    @property
    def ready(self) -> bool:
        """Whether the app wants requests; it may be set to False and back at any time.

        What decides about traffic asks the admin listener's ``/ready``: 200 once the lifespans have started, while
        this is True and the server does not stop. Requests that come all the same are answered as ever.
        """
        return self._ready

    @ready.setter
    def ready(self, value: bool) -> None:
        self._ready = bool(value)
        self._state_changed()

    @property
    def shutting_down(self) -> bool:
        """Whether the server stops: set when it begins to drain."""
        return self._shutting_down

    @shutting_down.setter
    def shutting_down(self, value: bool) -> None:
        self._shutting_down = bool(value)
        self._state_changed()

    def on_state_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback()``, in whichever thread that is, after ``ready`` or ``shutting_down`` was set."""
        self._state_observers.append(callback)

    def _state_changed(self) -> None:
        for callback in self._state_observers:
            callback()

    def admin_app(self, server: Server) -> App:
        """The app that a server's admin listeners serve."""
        app = App(title=f"{self.title} (admin)")
        add_admin_routes(app, server)
        return app

    def lifespan(self, function: LifespanT) -> LifespanT:
        """Run up to the ``yield`` before the first request, and the rest after the last one.

        An async generator function, or one that returns an async context manager; it may take the
        app. Several are entered in the order of registration and left in reverse.
        """
        self._lifespan.register(function)
        return function

    def background(self, coroutine: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Run a coroutine beside the requests; returns its task.

        A failure is logged. Shutdown cancels it and waits for its end, before the lifespans end.
        Raises ``RuntimeError`` while the application shuts down.
        """
        return self._background.start(coroutine, name=name)

    async def startup(self) -> None:
        """Run the lifespans up to their ``yield``. Raises what they raise, after leaving those that ran."""
        self.shutting_down = False
        self._background.open()
        try:
            await self._lifespan.start(self, lifespans_of(self.routes))
        except BaseException:
            await self._background.close()
            raise

    async def shutdown(self) -> None:
        """End the background tasks, then the lifespans; in the task that called ``startup``. Idempotent."""
        try:
            await self._background.close()
        finally:
            self._serving = False
            await self._lifespan.stop()

    def run(self, **settings: Any) -> None:
        """Serve until SIGTERM or SIGINT, then drain: ``app.run(port=8000)``.

        Settings are those of ``fastnet run``, with underscores. With several workers this process supervises
        them, and they have the app as it is now: SIGHUP replaces them but brings no new code. Raises
        ``ConfigError`` for a setting that cannot be used, and ``StartError`` for what the lifespans raise.
        """
        run(lambda: self, Config.load(settings, app_settings=self.settings))

    def serve(self, **settings: Any) -> Server:
        """A server on the running loop: ``async with app.serve(port=0) as server: server.url``."""
        return Server(self, Config.load(settings, app_settings=self.settings))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app as an ASGI 3 application: for the servers of others, and for their test clients."""
        await self._hosted(scope, receive, send)

    # --- what the engine needs

    @property
    def grpc_methods(self) -> tuple[str, ...]:
        """The paths of all gRPC methods."""
        return () if self._grpc is None else self._grpc.methods

    def prepare(self) -> None:
        """Build in advance for the next one that serves: workers that are forked share what was built."""
        self._prepared = self.build()

    def build(self) -> Dispatcher:
        """The routing table and all that answers, for the engine. Nothing can be registered until ``shutdown``."""
        if self._prepared is not None:
            prepared, self._prepared = self._prepared, None
            return prepared
        routes = []
        for route in self.routes:
            endpoint = self._endpoint(route)
            if isinstance(endpoint, HttpEndpoint):
                endpoint = with_middleware(endpoint, route.middleware)
                compress_by(endpoint, route.codings.compress)
            elif isinstance(endpoint, AsgiEndpoint):
                endpoint = behind_middleware(self, endpoint, route.middleware, route.codings.compress)
            routes.append((route.methods, route.path, engine_route(self, route, endpoint)))
        if self._grpc is not None:
            routes += self._grpc.entries()
        table = RoutingTable(routes)
        middleware = tuple(self._middleware)
        fallbacks = Fallbacks(table)

        def fallback(handler: Callable[..., Any]) -> Any:
            endpoint = with_middleware(plain_endpoint(self, handler), middleware)
            return engine_route(self, None, compress_by(endpoint, self._compression), handler)

        self._serving = True
        self.rate_limits = self._all_rate_limits()
        return Dispatcher(
            table,
            not_found=fallback(fallbacks.not_found),
            method_not_allowed=fallback(fallbacks.method_not_allowed),
            options=fallback(fallbacks.options),
            slash_redirect=fallback(fallbacks.slash_redirect) if self.redirect_slashes else None,
            refusals=compress_by(plain_endpoint(self, fallbacks.not_found), self._compression),
            grpc_not_found=None if self._grpc is None else self._grpc.fallback_route(),
        )

    def _all_rate_limits(self) -> tuple[RateLimit, ...]:
        found: list[RateLimit | Concurrency] = [*self._limits]
        for route in self.routes:
            found += [*route.limits, *route.options.get("message_limit", ())]
        if self._grpc is not None:
            found += self._grpc.limits
        return tuple(dict.fromkeys(one for one in found if isinstance(one, RateLimit)))

    def _admit(self, route: ResolvedRoute) -> None:
        self._endpoint(route)

    def _endpoint(self, route: ResolvedRoute) -> Endpoint:
        """The endpoint of a route, without middleware; made once, when its whole path is known."""
        key = (route.registration, route.path)
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            endpoint = self._endpoints[key] = endpoint_of(self, route)
        return endpoint

    def _refuse_when_serving(self) -> None:
        if self._serving:
            raise RuntimeError("the application is being served: routes and middleware are registered before that")
