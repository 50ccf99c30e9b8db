from collections.abc import Callable
from typing import final

from fastnet_ext.exchange.exchange import Responder

__all__ = ["Transcoder"]

@final
class Transcoder:
    def __init__(
        self, request_from_json: Callable[[bytes], bytes], reply_to_json: Callable[[bytes], bytes]
    ) -> None: ...

@final
class ConnectEncoder: ...

@final
class ConnectCall(Responder): ...
