import asyncio
from concurrent.futures import Executor
from typing import Any, final

from fastnet_ext.exchange.exchange import Endpoint, Exchange, LoopLocal, Responder

class AsyncEndpoint(Endpoint): ...

@final
class CancelTask(Responder):
    def __init__(self, task: asyncio.Task[Any]) -> None: ...

def executor_of(exchange: Exchange) -> Executor | None: ...

@final
class Runner:
    def __init__(self, pool: RunnerPool) -> None: ...

@final
class RunnerPool:
    limit: int
    def __init__(self, local: LoopLocal, *, limit: int = 256, eager: bool = True) -> None: ...
    def close(self) -> None: ...
    @property
    def idle(self) -> int: ...
