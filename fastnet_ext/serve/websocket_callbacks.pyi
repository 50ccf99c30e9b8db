from collections.abc import Callable
from typing import Any, Self, final

from fastnet_ext.serve.http import HttpEndpoint
from fastnet_ext.serve.plan import CallPlan
from fastnet_ext.serve.websocket import WebSocketEndpoint
from fastnet_ext.serve.websocket_driver import Sink

__all__ = ["CallbackEndpoint"]

@final
class CallbackEndpoint(WebSocketEndpoint):
    def __init__(
        self,
        plan: CallPlan,
        refusals: HttpEndpoint,
        *,
        dependent: bool = False,
        on_message: Callable[[Any, Any], Any] | None = None,
        on_close: Callable[[Any, int, str], Any] | None = None,
        **options: Any,
    ) -> None: ...

@final
class Callbacks(Sink): ...

@final
class UntilClosed:
    def __await__(self) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any: ...
    def close(self) -> None: ...
