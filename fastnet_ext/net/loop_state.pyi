import asyncio
from concurrent.futures import Executor
from typing import final

from fastnet_ext.exchange.exchange import LoopLocal

@final
class LoopState:
    local: LoopLocal
    sweep_interval: float
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        executor: Executor | None = None,
        *,
        eager: bool = True,
        sweep_interval: float = 1.0,
    ) -> None: ...
    @property
    def open(self) -> int: ...
    @property
    def counters(self) -> dict[str, int]: ...
    def drain(self) -> None: ...
    def cut(self) -> None: ...
    async def wait_empty(self) -> None: ...
    def close(self) -> None: ...
