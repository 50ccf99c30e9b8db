"""``app.grpc``: registration of services on the port that everything else uses."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MethodType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar

from fastnet.endpoints import plain_endpoint
from fastnet.grpc.cors import Cors
from fastnet.grpc.health import Health
from fastnet.grpc.interceptors import InterceptorT, Surface, check_interceptor, link
from fastnet.grpc.methods import (
    MAX_MESSAGE,
    HandlerCallDetails,
    Method,
    MethodHandler,
    adopted,
    described,
    endpoint_for,
    fallback_for,
    grpcio,
    missing_endpoints,
    safe,
)
from fastnet.grpc.pools import HEALTH, REFLECTION
from fastnet.grpc.reflection import Reflection
from fastnet.ratelimit.limits import AnyLimit, Concurrency, RateLimit, guards_of, limits_of
from fastnet.signatures import locate, name_of
from fastnet_ext.exchange.exchange import Route
from fastnet_ext.serve.grpc import GrpcEndpoint
from fastnet_ext.serve.grpc_dialects import SharedAnswers
from fastnet_ext.serve.grpc_interceptors import Chain, Link
from fastnet_ext.serve.grpc_values import Metadatum

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["GrpcServer"]

ServiceT = TypeVar("ServiceT")
MethodT = TypeVar("MethodT", bound=Callable[..., Any])

# What the routing table takes: methods, path, route.
# What the option ``limit`` takes.
Limits: TypeAlias = AnyLimit | Iterable[AnyLimit] | None

Entry = tuple[tuple[str, ...], str, Route]

_POST = ("POST",)
_OPTIONS = ("OPTIONS",)

_PORT = "app.grpc shares the port of its application, which app.run and app.serve open and close"


class GrpcServer:
    """The gRPC face of an application: a ``grpc.aio.Server`` without a port of its own.

    Handlers take the message and the context, and then whatever handlers of other protocols take:
    dependencies, ``Call``, header values. ``async def`` handlers run on the loop, ``def`` handlers in
    the pool of threads. Where the .proto file says ``stream``, the first parameter is an iterator of messages, and
    the handler yields messages or writes them to its context.
    The same methods answer gRPC, gRPC-Web and the Connect protocol, so that
    ``curl -d '{"name": "Ada"}' -H 'content-type: application/json' host/greeter.Greeter/SayHello`` is a call.

    Everything raises ``RuntimeError`` once the application serves, ``ValueError`` for a method that
    is there already, and ``ImportError`` without the extra ``grpc``.
    """

    def __init__(self, app: App) -> None:
        # isinstance(server, grpc.aio.Server) is how add-ons of grpcio choose their asynchronous half.
        grpcio().Server.register(GrpcServer)
        self._app = app
        self._methods: dict[str, Method] = {}
        # What was registered for a path, for comparisons and messages.
        self._sources: dict[str, Any] = {}
        self._classes: dict[str, type[Any]] = {}
        self._generic: list[Any] = []
        self._interceptors: list[Any] = []
        # What is made of all that at start-up: the chain of interceptors, and the endpoints, which they may ask for.
        self._chain: tuple[Link, Surface] | None = None
        self._endpoints: dict[str, GrpcEndpoint] = {}
        self._cors: Cors | None = None
        self._answers = SharedAnswers()

    # --- registration

    def service(
        self, name: str, *, max_message: int = MAX_MESSAGE, limit: Limits = None
    ) -> Callable[[type[ServiceT]], type[ServiceT]]:
        """Serve a class: ``@app.grpc.service("greeter.Greeter")``. Returns the class unchanged.

        ``name`` is package and service as in the .proto file, whose ``_pb2`` module must be imported
        before: ``LookupError`` otherwise. Methods that the class lacks answer UNIMPLEMENTED. The class is
        called once, without arguments, when the application starts. ``max_message``: bytes of a
        request message; above it RESOURCE_EXHAUSTED. ``limit``: a rate limit of the calls of all methods together,
        or several; above it RESOURCE_EXHAUSTED too.
        """
        limits = limits_of(limit)

        def register(cls: type[ServiceT]) -> type[ServiceT]:
            if not inspect.isclass(cls):
                raise TypeError(f"service decorates a class, not {cls!r}; app.grpc.add takes an instance")
            _check_no_arguments(cls)
            self._add_methods(name, cls, max_message, limits)
            self._classes[name] = cls
            return cls

        return register

    def add(
        self, servicer: Any, name: str | None = None, *, max_message: int = MAX_MESSAGE, limit: Limits = None
    ) -> None:
        """Serve an instance: ``app.grpc.add(Greeter(database))``.

        ``name`` is package and service; without it, the class says it by an attribute ``service_name``,
        or is derived from the servicer that protoc generated. ``TypeError`` when nothing says it.
        """
        if inspect.isclass(servicer):
            raise TypeError("add takes an instance; app.grpc.service(name) decorates a class")
        name = name or getattr(servicer, "service_name", None)
        if name is not None:
            self._add_methods(name, servicer, max_message, limits_of(limit))
            return
        if limit is not None:
            raise TypeError(
                "add needs the name of the service for its limit: add(servicer, 'package.Service', limit=…)"
            )
        register = _generated_registration(type(servicer))
        if register is None:
            raise TypeError(
                f"which service {name_of(type(servicer))} serves must be said: add(servicer, 'package.Service'), "
                "or service_name = 'package.Service' in the class"
            )
        register(servicer, self)

    def method(
        self, path: str, *, inline: bool = False, max_message: int = MAX_MESSAGE, limit: Limits = None
    ) -> Callable[[MethodT], MethodT]:
        """Serve one function: ``@app.grpc.method("/greeter.Greeter/SayHello")``. Returns it unchanged.

        ``inline``: the ``def`` handler is quick: it runs on the event loop, not in a thread.
        ``LookupError`` when the .proto file of the method is not known; see ``service``.
        """
        service, name = _split(path)
        limits = limits_of(limit)

        def register(function: MethodT) -> MethodT:
            known = described(service)
            if name not in known:
                raise LookupError(f"service {service} has no method {name!r}, only {', '.join(known)}")
            method = known[name].bound(function)
            self._register(replace(method, inline=inline, max_message=max_message, limits=limits), function)
            return function

        return register

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[Any]) -> None:
        """Serve grpcio's generic handlers; what ``add_…Servicer_to_server`` of generated code calls.

        Handlers that do not list their methods are asked for each call of a method that nobody else has.
        """
        for generic in generic_rpc_handlers:
            known: Mapping[str, MethodHandler] | None = getattr(generic, "_method_handlers", None)
            if isinstance(known, Mapping):
                for path, handler in known.items():
                    self._register(adopted(path, handler), handler)
            elif callable(getattr(generic, "service", None)):
                self._app._refuse_when_serving()
                self._generic.append(generic)
            else:
                raise TypeError(f"{generic!r} is no grpc.GenericRpcHandler")

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, MethodHandler]) -> None:
        """Serve grpcio's handlers by name of the method; what newer generated code calls too."""
        for name, handler in method_handlers.items():
            self._register(adopted(f"/{service_name}/{name}", handler), handler)

    def interceptor(self, interceptor: InterceptorT) -> InterceptorT:
        """Run an interceptor around every call of every method; returns it unchanged. The first one is the outermost.

        ``async def interceptor(call, next)``, also under this as a decorator: ``call`` is an ``InterceptedCall``, and
        ``response = await next(call)`` runs the rest, the handler at last. What it returns is the answer: a message,
        or an asynchronous iterator of them where ``call.response_streaming``. Or one of grpcio's: an instance of
        ``grpc.aio.ServerInterceptor``, or of ``grpc.ServerInterceptor``, whose ``intercept_service`` must not block.
        They see health checks, reflection and methods that nobody serves, too. ``TypeError`` for anything else.
        """
        self._app._refuse_when_serving()
        check_interceptor(interceptor)
        self._interceptors.append(interceptor)
        return interceptor

    def cors(self, *origins: str, expose: Iterable[str] = (), credentials: bool = False, max_age: int = 7200) -> None:
        """Let web pages of other origins call by gRPC-Web and Connect: ``app.grpc.cors("https://app.example")``.

        ``origins``: scheme, host and port, or "*" for all of them. ``expose``: metadata that pages may read, beside
        the status: names as they are in the header, so "trailer-cost" for trailing metadata of Connect.
        ``credentials``: browsers send cookies along. ``max_age``: seconds for which browsers keep this answer.
        Without this call browsers let pages of the own origin call only. ``ValueError`` says what is wrong.
        """
        self._app._refuse_when_serving()
        self._cors = Cors(origins, expose=expose, credentials=credentials, max_age=max_age)
        self._answers = self._cors.answers()

    def health(self) -> Health:
        """Serve grpc.health.v1.Health, which tells load balancers whether this server takes calls.

        It says what ``app.ready`` says, NOT_SERVING from the beginning of a shutdown on, and of single services
        what is said to the ``Health`` that this returns.
        """
        health = Health(self._app, self._services)
        self._add_methods(f"{HEALTH}.Health", health, MAX_MESSAGE)
        return health

    def reflection(self) -> None:
        """Serve grpc.reflection.v1 and v1alpha, so that tools such as grpcurl need no .proto files.

        It tells everybody who can connect of all that protobuf knows in this process.
        """
        for package in REFLECTION:
            service = Reflection(package, self._services)
            self._add_methods(f"{package}.ServerReflection", service, MAX_MESSAGE)

    # --- what the engine needs

    @property
    def methods(self) -> tuple[str, ...]:
        """The paths of all methods, in the order of registration: "/greeter.Greeter/SayHello"."""
        return tuple(self._methods)

    @property
    def limits(self) -> list[RateLimit | Concurrency]:
        """The limits of all methods."""
        return [limit for method in self._methods.values() for limit in method.limits]

    def entries(self) -> list[Entry]:
        """The routes of all methods, for the routing table; makes the instances of decorated classes.

        Each service has one more, for the methods that it lacks.
        """
        instances = {name: cls() for name, cls in self._classes.items()}
        self._chain = (link(self._interceptors), Surface(self._lookup)) if self._interceptors else None
        self._endpoints = {}
        entries: list[Entry] = []
        for path, method in self._methods.items():
            service, name = _split(path)
            if method.handler is None:
                method = method.bound(getattr(instances[service], name))
            methods = ("GET", "POST") if safe(path) else _POST
            endpoint = self._endpoints[path] = endpoint_for(self._app, method, self._answers, self._chain_of(path))
            route = self._route(path, endpoint, method.handler, methods=methods, limits=method.limits)
            entries.append((methods, path, route))
        patterns = [f"/{service}/{{method}}" for service in self._services()]
        entries += [(_POST, path, self.fallback_route(path)) for path in patterns]
        if self._cors is not None:
            preflight = plain_endpoint(self._app, self._cors.preflight)
            for path in (*patterns, *self._methods):
                params = ("method",) if path in patterns else ()
                entries.append((_OPTIONS, path, self._route(path, preflight, None, params, _OPTIONS)))
        return entries

    def fallback_route(self, path: str = "") -> Route:
        """The route for calls of methods that have none: UNIMPLEMENTED, unless a generic handler knows them."""
        chain = self._chain_of(None)
        endpoint = fallback_for(
            self._app,
            self._answers,
            find=self._find if self._generic else None,
            **({} if chain is None else missing_endpoints(self._app, self._answers, chain)),
        )
        return self._route(path, endpoint, None, ("method",) if path else ())

    def _route(
        self,
        path: str,
        endpoint: Any,
        handler: Any,
        params: tuple[str, ...] = (),
        methods: tuple[str, ...] = _POST,
        limits: tuple[RateLimit | Concurrency, ...] = (),
    ) -> Route:
        app = self._app
        return Route(
            endpoint,
            guards=guards_of((*app._limits, *limits)),
            path=path,
            methods=methods,
            param_names=params,
            handler=handler,
            on_error=app.answer_error,
            app=app,
            max_body=app.max_body,
        )

    def _find(self, path: str, metadata: tuple[Metadatum, ...]) -> GrpcEndpoint | None:
        return self._ask_generic(HandlerCallDetails(path, metadata))

    def _ask_generic(self, details: HandlerCallDetails) -> GrpcEndpoint | None:
        for generic in self._generic:
            handler = generic.service(details)
            if handler is not None:
                path = details.method
                return endpoint_for(self._app, adopted(path, handler), self._answers, self._chain_of(path))
        return None

    def _lookup(self, details: HandlerCallDetails) -> GrpcEndpoint | None:
        """The endpoint of a method that an interceptor put in the place of the one that was called."""
        return self._endpoints.get(details.method) or self._ask_generic(details)

    def _chain_of(self, path: str | None) -> Chain | None:
        return None if self._chain is None else Chain(*self._chain, path)

    def _services(self) -> list[str]:
        """The full names of all services, in the order of registration."""
        return list(dict.fromkeys(_split(path)[0] for path in self._methods))

    def _add_methods(
        self, service: str, holder: Any, max_message: int, limits: tuple[RateLimit | Concurrency, ...] = ()
    ) -> None:
        """Register the methods that a class or an instance has."""
        known = described(service)
        mine = {name: method for name, method in known.items() if callable(getattr(holder, name, None))}
        if not mine:
            raise TypeError(f"{holder!r} has none of the methods of {service}: {', '.join(known)}")
        for name, method in mine.items():
            source = getattr(holder, name)
            if inspect.isclass(holder) and inspect.isfunction(inspect.getattr_static(holder, name)):
                # Nobody's method as yet; what it takes can be checked already.
                checked = method.bound(MethodType(source, holder))
            else:
                checked = method.bound(source)
            self._register(
                replace(checked, max_message=max_message, limits=limits), source, late=inspect.isclass(holder)
            )

    def _register(self, method: Method, source: Any, *, late: bool = False) -> None:
        """Take note of a method; ``late``: its handler is an instance's, and that is not there yet."""
        self._app._refuse_when_serving()
        before = self._sources.get(method.path)
        # Generated code registers the same handlers twice, in its old and its new way.
        if before is source:
            return
        if before is not None:
            raise ValueError(f"{method.path} is answered twice: by {_where(before)} and by {_where(source)}")
        # Refuses what cannot be called; the endpoint that will answer is made at start-up.
        endpoint_for(self._app, method, self._answers)
        self._methods[method.path] = replace(method, handler=None) if late else method
        self._sources[method.path] = source

    # --- the rest of grpc.aio.Server

    def add_insecure_port(self, address: str) -> NoReturn:
        """There is none to add: ``RuntimeError``."""
        raise RuntimeError(_PORT)

    def add_secure_port(self, address: str, server_credentials: Any) -> NoReturn:
        """There is none to add: ``RuntimeError``."""
        raise RuntimeError(_PORT)

    async def start(self) -> NoReturn:
        """The application starts: ``RuntimeError``."""
        raise RuntimeError(_PORT)

    async def stop(self, grace: float | None) -> NoReturn:
        """The application stops: ``RuntimeError``."""
        raise RuntimeError(_PORT)

    async def wait_for_termination(self, timeout: float | None = None) -> NoReturn:
        """The application waits: ``RuntimeError``."""
        raise RuntimeError(_PORT)


def _split(path: str) -> tuple[str, str]:
    """Service and method of "/package.Service/Method"."""
    service, slash, name = path.removeprefix("/").rpartition("/")
    if not path.startswith("/") or not slash or not service or not name or "/" in service:
        raise ValueError(f"{path!r} is no method: its path is /package.Service/Method")
    return service, name


def _check_no_arguments(cls: type[Any]) -> None:
    try:
        inspect.signature(cls).bind()
    except TypeError as error:
        raise TypeError(
            f"{name_of(cls)} ({locate(cls)}) is called without arguments at start-up ({error}); "
            "app.grpc.add takes an instance"
        ) from None
    except ValueError:
        # Some compiled classes tell no signature.
        return


def _generated_registration(cls: type[Any]) -> Callable[[Any, Any], None] | None:
    """The ``add_…Servicer_to_server`` of the generated class that a servicer is derived from."""
    for base in cls.__mro__:
        found = getattr(sys.modules.get(base.__module__), f"add_{base.__name__}_to_server", None)
        if found is not None:
            return found  # type: ignore[no-any-return]
    return None


def _where(source: Any) -> str:
    function = source if callable(source) else next((each for each in source[4:] if each is not None), source)
    return f"{name_of(function)} ({locate(function)})" if callable(function) else repr(source)
