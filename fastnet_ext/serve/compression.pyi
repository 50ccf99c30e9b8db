from collections.abc import Iterable
from typing import final

from fastnet_ext.compression.codecs import Codec
from fastnet_ext.compression.negotiation import Negotiator
from fastnet_ext.exchange.exchange import Exchange
from fastnet_ext.exchange.head import ResponseHead

@final
class HeadForms: ...

@final
class Compression:
    negotiator: Negotiator
    thread_size: int
    def __init__(self, negotiator: Negotiator, codecs: Iterable[Codec], *, thread_size: int) -> None: ...

@final
class BodyCoder:
    def __call__(self) -> None: ...

async def respond_from_thread(
    compression: Compression, x: Exchange, head: ResponseHead, forms: HeadForms, coding: int, body: bytes
) -> None: ...
async def write_from_thread(coder: BodyCoder, data: bytes) -> int: ...
