from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal

from fastnet_ext.exchange.exchange import Exchange
from fastnet_ext.exchange.head import ResponseHead
from fastnet_ext.exchange.response import Response
from fastnet_ext.serve.compression import Compression
from fastnet_ext.serve.json import JsonEncoder
from fastnet_ext.serve.plan import CallPlan
from fastnet_ext.serve.runner import AsyncEndpoint

class HttpEndpoint(AsyncEndpoint):
    plan: CallPlan
    status_code: int
    stream_type: str | None
    compression: Compression | None
    def __init__(
        self,
        plan: CallPlan,
        *,
        mode: Literal["async", "inline", "thread"] = "async",
        body: Literal["none", "whole", "late"] = "none",
        status_code: int = 200,
        none_is_empty: bool = False,
        encoder: JsonEncoder | None = None,
        stream_type: str | None = None,
    ) -> None: ...
    def to_response(self, value: Any) -> Response: ...

async def send_stream(endpoint: HttpEndpoint, x: Exchange, iterable: Any, head: ResponseHead | None) -> None: ...
def iterate_in_threads(iterator: Iterator[Any], x: Exchange) -> AsyncIterator[Any]: ...
def bind_call(function: Callable[..., Any]) -> Callable[..., Callable[[], Any]]: ...
