from typing import final

from fastnet_ext.exchange.exchange import Guard

@final
class InFlightLimit(Guard):
    limit: int
    active: int
    refused: int
    queue_limit: int
    def __init__(self, limit: int) -> None: ...
    @property
    def waiting(self) -> int: ...
