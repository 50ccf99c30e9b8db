"""Methods of services: what protobuf and grpcio's handlers know of them, and the endpoints that answer them."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fastnet.endpoints import plain_endpoint
from fastnet.grpc.errors import status_of
from fastnet.grpc.json_form import transcoder_for
from fastnet.grpc.pools import find_service, protobuf
from fastnet.handlers import build_plan
from fastnet.http.errors import HTTPException
from fastnet.ratelimit.limits import Concurrency, RateLimit
from fastnet.signatures import HandlerError, kind_of
from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import Response
from fastnet_ext.serve.connect import Transcoder
from fastnet_ext.serve.grpc import GrpcEndpoint, GrpcFallback, Interceptors
from fastnet_ext.serve.grpc_context import ServicerContext
from fastnet_ext.serve.grpc_dialects import SharedAnswers, WebDialects
from fastnet_ext.serve.grpc_values import EXTRA, Metadatum
from fastnet_ext.serve.http import bind_call
from fastnet_ext.serve.plan import CallPlan, DependentPlan, ProtocolArgument

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = [
    "HandlerCallDetails",
    "Method",
    "MethodHandler",
    "adopted",
    "described",
    "endpoint_for",
    "fallback_for",
    "grpcio",
    "missing_endpoints",
    "safe",
]

MAX_MESSAGE = 4 * 1024 * 1024


class MethodHandler(Protocol):
    """What ``grpc.unary_unary_rpc_method_handler`` and its like return."""

    request_streaming: bool
    response_streaming: bool
    request_deserializer: Callable[[bytes], Any] | None
    response_serializer: Callable[[Any], bytes] | None
    unary_unary: Callable[..., Any] | None
    unary_stream: Callable[..., Any] | None
    stream_unary: Callable[..., Any] | None
    stream_stream: Callable[..., Any] | None


class HandlerCallDetails(NamedTuple):
    """What a generic handler is asked with: ``method`` is "/package.Service/Method"."""

    method: str
    invocation_metadata: tuple[Metadatum, ...]


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service. ``handler`` is None until the service's instance is there."""

    path: str  # "/package.Service/Method"
    handler: Callable[..., Any] | None
    request_streaming: bool
    response_streaming: bool
    deserialize: Callable[[bytes], Any] | None
    serialize: Callable[[Any], bytes] | None
    # Handlers of generated code are called with message and context; ours may take more.
    plain: bool = False
    inline: bool = False
    max_message: int = MAX_MESSAGE
    limits: tuple[RateLimit | Concurrency, ...] = ()

    def bound(self, handler: Callable[..., Any]) -> Method:
        """The same method with its handler, which is checked. Raises HandlerError."""
        if not callable(handler):
            raise TypeError(f"{self.path}: a handler is a function, not {handler!r}")
        if not self.response_streaming and kind_of(handler) in ("asyncgen", "gen"):
            raise HandlerError(
                handler, f"{self.path} is answered by one message in the .proto file: it is returned, not yielded"
            )
        return replace(self, handler=handler)


def grpcio() -> Any:
    """grpcio's package for asyncio. ``ImportError`` names the extra."""
    try:
        return importlib.import_module("grpc.aio")
    except ImportError as error:
        raise ImportError(EXTRA) from error


def described(service: str) -> dict[str, Method]:
    """The methods of a service by name, as its .proto file has them.

    ``LookupError`` when protobuf does not know the service: its ``_pb2`` module must be imported before.
    """
    try:
        descriptor = find_service(service)
    except KeyError:
        raise LookupError(
            f"protobuf knows no service {service!r}: the name is package.Service as in the .proto file, "
            "and the _pb2 module that protoc made of it must be imported before"
        ) from None
    message_class = protobuf("message_factory").GetMessageClass
    return {
        method.name: Method(
            path=f"/{service}/{method.name}",
            handler=None,
            request_streaming=method.client_streaming,
            response_streaming=method.server_streaming,
            deserialize=message_class(method.input_type).FromString,
            serialize=message_class(method.output_type).SerializeToString,
        )
        for method in descriptor.methods
    }


def safe(path: str) -> bool:
    """Whether the .proto file says that a unary method changes nothing: ``idempotency_level = NO_SIDE_EFFECTS``."""
    service, _, name = path.removeprefix("/").rpartition("/")
    try:
        method = find_service(service).methods_by_name[name]
    except KeyError:
        return False
    if method.client_streaming or method.server_streaming:
        return False
    options = method.GetOptions()
    return bool(options.idempotency_level == type(options).NO_SIDE_EFFECTS)


def adopted(path: str, handler: MethodHandler) -> Method:
    """A method from one of grpcio's handlers."""
    function = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    if function is None:
        raise TypeError(f"{path}: {handler!r} is no handler of a method")
    return Method(
        path=path,
        handler=function,
        request_streaming=bool(handler.request_streaming),
        response_streaming=bool(handler.response_streaming),
        deserialize=handler.request_deserializer,
        serialize=handler.response_serializer,
        plain=True,
    )


# --- endpoints


def _not_grpc(request: Request[Any]) -> Response:
    raise HTTPException(415, f"{request.path} is a gRPC method")


def _unknown(answers: SharedAnswers) -> WebDialects:
    """The dialects of methods of which nothing is known: JSON passes as it is, should an interceptor take it."""
    return WebDialects(answers, transcoder=Transcoder(bytes, bytes))


def fallback_for(app: App, answers: SharedAnswers, **options: Any) -> GrpcFallback:
    """What answers methods that are not there; see ``GrpcFallback``."""
    return GrpcFallback(refusals=plain_endpoint(app, _not_grpc), dialects=_unknown(answers), **options)


def missing_endpoints(app: App, answers: SharedAnswers, interceptors: Interceptors) -> dict[str, GrpcEndpoint]:
    """What lets interceptors see the calls of methods that are not there; options of ``fallback_for``.

    Nothing is known of such a method: by gRPC it is a stream of bytes in both directions, by other dialects,
    which ask for the kind before the first message, one message each way.
    """

    def endpoint(streaming: bool) -> GrpcEndpoint:
        return GrpcEndpoint(
            None,
            refusals=plain_endpoint(app, _not_grpc),
            request_streaming=streaming,
            response_streaming=streaming,
            translate=status_of,
            dialects=_unknown(answers),
            interceptors=interceptors,
        )

    return {"missing": endpoint(True), "missing_unary": endpoint(False)}


def endpoint_for(
    app: App, method: Method, answers: SharedAnswers, interceptors: Interceptors | None = None
) -> GrpcEndpoint:
    """The endpoint of a method whose handler is there. Raises HandlerError for one that cannot be called.

    ``answers`` writes what goes to callers that speak gRPC-Web or Connect.
    """
    handler = method.handler
    if handler is None:
        raise TypeError(f"{method.path} has no handler")
    kind = kind_of(handler)
    sync = kind not in ("async", "asyncgen")
    thread = sync and not method.inline
    if method.inline and method.request_streaming and sync:
        raise HandlerError(handler, f"{method.path}: whoever waits for the messages of a stream is not inline")
    unary = not (method.request_streaming or method.response_streaming)
    options: dict[str, Any] = {
        "refusals": plain_endpoint(app, _not_grpc),
        "request_streaming": method.request_streaming,
        "response_streaming": method.response_streaming,
        "sync_context": sync,
        "thread": thread,
        "deserialize": method.deserialize,
        "serialize": method.serialize,
        "max_message": method.max_message,
        "translate": status_of,
        "dialects": WebDialects(answers, transcoder=transcoder_for(method.path), unary=unary),
        "interceptors": interceptors,
    }
    if method.plain and not app._dependencies:
        # Taken as it is: wrappers around generated servicers often have no signature to speak of.
        return GrpcEndpoint(handler, **options)
    plan, _ = build_plan(
        _plainly(handler) if method.plain else handler,
        methods=("POST",),
        dependencies=app._dependencies,
        providers=_providers(app),
        given=2,
        inline=method.inline,
        overrides=app.dependency_overrides,
        dec_hook=app.dec_hook,
    )
    if plan.needs_body:
        raise HandlerError(handler, f"{method.path}: a gRPC method has no body but its messages")
    if len(plan.arguments) < 2 and not isinstance(plan, DependentPlan):
        raise HandlerError(handler, f"{method.path}: the first two parameters are the request and the context")
    if len(plan.arguments) == 2 and not isinstance(plan, DependentPlan):
        return GrpcEndpoint(handler, **options)
    if thread and not isinstance(plan, DependentPlan):
        # The loop fetches the arguments; what is left for the thread is the call.
        plan = CallPlan(bind_call(plan.function), plan.arguments, plan.positional)
    return GrpcEndpoint(handler, plan=plan, **options)


def _providers(app: App) -> Mapping[type, Any]:
    return {**app.providers, ServicerContext: lambda name, annotation: ProtocolArgument(name)}


def _plainly(handler: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """A function of request and context that calls a handler, which need not tell its parameters."""
    kind = kind_of(handler)
    if kind == "async":

        async def call(request: Any, context: Any) -> Any:
            return await handler(request, context)

        return call
    if kind == "asyncgen":

        async def iterate(request: Any, context: Any) -> AsyncIterator[Any]:
            async with contextlib.aclosing(handler(request, context)) as messages:
                async for message in messages:
                    yield message

        return iterate

    def call_in_thread(request: Any, context: Any) -> Any:
        return handler(request, context)

    return call_in_thread
