"""Methods of services: what protobuf and grpcio's handlers know of them, and the endpoints that answer them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fastnet.endpoints import plain_endpoint
from fastnet.grpc.errors import status_of
from fastnet.handlers import build_plan
from fastnet.http.errors import HTTPException
from fastnet.signatures import HandlerError, kind_of
from fastnet_ext.exchange.exchange import Endpoint
from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import Response
from fastnet_ext.serve.grpc import GrpcEndpoint, GrpcFallback
from fastnet_ext.serve.grpc_context import ServicerContext
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
]

MAX_MESSAGE = 4 * 1024 * 1024
STREAMING = "streaming methods are not served by this version"


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

    @property
    def streams(self) -> bool:
        """Whether it is of one of the three kinds with a stream."""
        return self.request_streaming or self.response_streaming

    def bound(self, handler: Callable[..., Any]) -> Method:
        """The same method with its handler, which is checked. Raises HandlerError."""
        if not callable(handler):
            raise TypeError(f"{self.path}: a handler is a function, not {handler!r}")
        if not self.streams and kind_of(handler) in ("asyncgen", "gen"):
            raise HandlerError(
                handler, f"{self.path} is unary in the .proto file: it returns one message and yields none"
            )
        return replace(self, handler=handler)


def grpcio() -> Any:
    """grpcio's package for asyncio. ``ImportError`` names the extra."""
    try:
        return importlib.import_module("grpc.aio")
    except ImportError as error:
        raise ImportError(EXTRA) from error


def _protobuf(module: str) -> Any:
    try:
        return importlib.import_module(f"google.protobuf.{module}")
    except ImportError as error:
        raise ImportError(EXTRA) from error


def described(service: str) -> dict[str, Method]:
    """The methods of a service by name, as its .proto file has them.

    ``LookupError`` when protobuf does not know the service: its ``_pb2`` module must be imported before.
    """
    try:
        descriptor = _protobuf("descriptor_pool").Default().FindServiceByName(service)
    except KeyError:
        raise LookupError(
            f"protobuf knows no service {service!r}: the name is package.Service as in the .proto file, "
            "and the _pb2 module that protoc made of it must be imported before"
        ) from None
    message_class = _protobuf("message_factory").GetMessageClass
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


def fallback_for(app: App, **options: Any) -> GrpcFallback:
    """What answers methods that are not there; see ``GrpcFallback``."""
    return GrpcFallback(refusals=plain_endpoint(app, _not_grpc), **options)


def endpoint_for(app: App, method: Method) -> Endpoint:
    """The endpoint of a method whose handler is there. Raises HandlerError for one that cannot be called."""
    handler = method.handler
    if handler is None:
        raise TypeError(f"{method.path} has no handler")
    if method.streams:
        return fallback_for(app, details=STREAMING)
    kind = kind_of(handler)
    options: dict[str, Any] = {
        "refusals": plain_endpoint(app, _not_grpc),
        "sync_context": kind != "async",
        "deserialize": method.deserialize,
        "serialize": method.serialize,
        "max_message": method.max_message,
        "translate": status_of,
    }
    if method.plain and not app._dependencies:
        # Taken as it is: wrappers around generated servicers often have no signature to speak of.
        return GrpcEndpoint(handler, thread=kind != "async", **options)
    plan, description = build_plan(
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
        raise HandlerError(handler, f"{method.path}: a gRPC method has no body but its message")
    if len(plan.arguments) < 2 and not isinstance(plan, DependentPlan):
        raise HandlerError(handler, f"{method.path}: the first two parameters are the message and the context")
    thread = description.mode == "thread"
    if len(plan.arguments) == 2 and not isinstance(plan, DependentPlan):
        return GrpcEndpoint(handler, thread=thread, **options)
    if thread:
        # The loop fetches the arguments; what is left for the thread is the call.
        plan = CallPlan(bind_call(plan.function), plan.arguments, plan.positional)
    return GrpcEndpoint(handler, plan=plan, thread=thread, **options)


def _providers(app: App) -> Mapping[type, Any]:
    return {**app.providers, ServicerContext: lambda name, annotation: ProtocolArgument(name)}


def _plainly(handler: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """A function of message and context that calls a handler, which need not tell its parameters."""
    if inspect.iscoroutinefunction(handler) or kind_of(handler) == "async":

        async def call(request: Any, context: Any) -> Any:
            return await handler(request, context)

        return call

    def call_in_thread(request: Any, context: Any) -> Any:
        return handler(request, context)

    return call_in_thread
