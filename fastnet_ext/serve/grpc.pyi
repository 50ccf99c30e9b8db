from collections.abc import Callable
from typing import Any, final

from fastnet_ext.exchange.exchange import Endpoint, Responder
from fastnet_ext.serve.grpc_values import Metadatum
from fastnet_ext.serve.http import HttpEndpoint
from fastnet_ext.serve.plan import CallPlan

__all__ = ["Dialects", "GrpcEndpoint", "GrpcFallback", "Interceptors"]

class Dialects: ...
class Interceptors: ...

@final
class GrpcEndpoint(Endpoint):
    @property
    def handler(self) -> Callable[..., Any] | None: ...
    @property
    def interceptors(self) -> Interceptors | None: ...
    @property
    def plan(self) -> CallPlan | None: ...
    @property
    def max_message(self) -> int: ...
    @property
    def request_streaming(self) -> bool: ...
    @property
    def response_streaming(self) -> bool: ...
    @property
    def dialects(self) -> Dialects: ...
    def __init__(
        self,
        handler: Callable[..., Any] | None,
        *,
        refusals: HttpEndpoint,
        request_streaming: bool = False,
        response_streaming: bool = False,
        plan: CallPlan | None = None,
        thread: bool = False,
        sync_context: bool = False,
        deserialize: Callable[[bytes], Any] | None = None,
        serialize: Callable[[Any], bytes] | None = None,
        max_message: int = 4194304,
        translate: Callable[[BaseException], tuple[int, str] | None] | None = None,
        dialects: Dialects | None = None,
        interceptors: Interceptors | None = None,
    ) -> None: ...

@final
class GrpcFallback(Endpoint):
    @property
    def code(self) -> int: ...
    @property
    def details(self) -> str: ...
    @property
    def dialects(self) -> Dialects: ...
    def __init__(
        self,
        *,
        refusals: HttpEndpoint,
        find: Callable[[str, tuple[Metadatum, ...]], GrpcEndpoint | None] | None = None,
        code: int = 12,
        details: str = "Method not found!",
        dialects: Dialects | None = None,
        missing: GrpcEndpoint | None = None,
        missing_unary: GrpcEndpoint | None = None,
    ) -> None: ...

@final
class GrpcCall(Responder): ...
