from collections.abc import Callable
from typing import Any, final

from fastnet_ext.exchange.response import HeadersInit, Response

@final
class JsonEncoder:
    @property
    def enc_hook(self) -> Callable[[Any], Any] | None: ...
    def __init__(self, enc_hook: Callable[[Any], Any] | None = None) -> None: ...
    def encode(self, value: Any) -> bytes: ...
    def __call__(self, value: Any) -> bytes: ...

class JSONResponse(Response):
    def __init__(
        self,
        value: Any,
        status_code: int = 200,
        headers: HeadersInit | None = None,
        media_type: str = "application/json",
        *,
        encoder: JsonEncoder | None = None,
    ) -> None: ...
