from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, final

from fastnet_ext.serve.grpc import GrpcEndpoint, Interceptors
from fastnet_ext.serve.grpc_context import ServicerContext
from fastnet_ext.serve.grpc_values import Metadatum, Peer

__all__ = ["Chain", "HandlerLink", "InterceptedCall", "InterceptorLink", "Link", "ServiceLink"]

class _Surface(Protocol):
    def details(self, method: str, metadata: tuple[Metadatum, ...], /) -> Any: ...
    def handler(
        self,
        function: Callable[..., Any],
        request_streaming: bool,
        response_streaming: bool,
        deserialize: Callable[[bytes], Any] | None,
        serialize: Callable[[Any], bytes] | None,
        /,
    ) -> Any: ...
    def function(
        self, proceeding: Callable[[Any, Any], Awaitable[Any]], response_streaming: bool, /
    ) -> Callable[[Any, Any], Any]: ...
    def is_async(self, function: Callable[..., Any], /) -> bool: ...
    def lookup(self, details: Any, /) -> GrpcEndpoint | None: ...

@final
class InterceptedCall:
    request: Any
    @property
    def method(self) -> str: ...
    @property
    def request_streaming(self) -> bool: ...
    @property
    def response_streaming(self) -> bool: ...
    @property
    def kind(self) -> Literal["unary_unary", "unary_stream", "stream_unary", "stream_stream"]: ...
    @property
    def metadata(self) -> tuple[Metadatum, ...]: ...
    @property
    def context(self) -> ServicerContext: ...
    @property
    def peer(self) -> Peer: ...
    @property
    def deadline(self) -> float | None: ...

class Link:
    def __call__(self, call: InterceptedCall) -> Awaitable[Any]: ...

@final
class HandlerLink(Link): ...

@final
class InterceptorLink(Link):
    def __init__(
        self,
        interceptor: Callable[[InterceptedCall, Callable[[InterceptedCall], Awaitable[Any]]], Awaitable[Any]],
        following: Link,
    ) -> None: ...

@final
class ServiceLink(Link):
    def __init__(self, interceptors: Sequence[Any], blocking: Sequence[bool], following: Link) -> None: ...

@final
class Continuation:
    def __call__(self, handler_call_details: Any) -> Any: ...

@final
class Proceeding:
    def __call__(self, request: Any, context: Any) -> Awaitable[Any]: ...

@final
class Chain(Interceptors):
    def __init__(self, first: Link, surface: _Surface, method: str | None = None) -> None: ...
