from asyncio import Task
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any

from fastnet_ext.exchange.exchange import Exchange

__all__ = ["executor_of", "spawn", "when_done"]

def when_done(exchange: Exchange, callback: Callable[[], object]) -> None: ...
def spawn(exchange: Exchange, coroutine: Coroutine[Any, Any, Any]) -> Task[Any]: ...
def executor_of(exchange: Exchange) -> Executor | None: ...
