from typing import final

from fastnet_ext.exchange.exchange import Responder

__all__ = ["WebEncoder"]

@final
class WebEncoder:
    def __init__(self, text: bool, fields: list[tuple[bytes, bytes]]) -> None: ...

@final
class WebTextCall(Responder): ...
