import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Executor
from typing import Any, final

from fastnet_ext.exchange.exchange import ConnectionInfo, Exchange
from fastnet_ext.net.loop_state import LoopState
from fastnet_ext.serve.dispatch import Dispatcher
from fastnet_ext.serve.runner import RunnerPool

@final
class HostedPool(RunnerPool): ...

@final
class AsgiService:
    dispatcher: Dispatcher
    state: LoopState
    handler_timeout: float
    body_timeout: float
    queue_time: float
    body_rate: float
    def __init__(
        self,
        dispatcher: Dispatcher,
        loop: asyncio.AbstractEventLoop,
        executor: Executor | None = None,
        *,
        handler_timeout: float = 60,
        body_timeout: float = 30,
        queue_time: float = 5,
        body_rate: float = 240,
        sweep_interval: float = 1.0,
    ) -> None: ...

@final
class AsgiConnection(ConnectionInfo):
    number: int
    def drain(self) -> None: ...
    def drain_on(self, elapsed: int) -> None: ...
    def cut(self) -> None: ...
    def describe(self) -> dict[str, Any]: ...

@final
class AsgiExchange(Exchange): ...

async def carry(
    service: AsgiService,
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None: ...
