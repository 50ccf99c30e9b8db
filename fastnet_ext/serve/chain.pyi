from collections.abc import Awaitable, Callable, Sequence
from typing import Any, final

from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import Response
from fastnet_ext.serve.http import HttpEndpoint

@final
class HandlerLink:
    def __init__(self, endpoint: HttpEndpoint) -> None: ...
    def __call__(self, request: Request[Any]) -> Awaitable[Response]: ...

@final
class MiddlewareLink:
    def __init__(
        self, endpoint: HttpEndpoint, middleware: Callable[..., Any], call_next: Callable[..., Any]
    ) -> None: ...
    def __call__(self, request: Request[Any]) -> Awaitable[Response]: ...

def with_middleware(endpoint: HttpEndpoint, middleware: Sequence[Callable[..., Any]]) -> HttpEndpoint: ...
