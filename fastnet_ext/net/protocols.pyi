from collections.abc import Collection
from typing import final

from fastnet_ext.net.service import Negotiator

@final
class OnePort(Negotiator):
    http1: bool
    http2: bool
    def __init__(self, protocols: Collection[str] = ("h2", "http/1.1")) -> None: ...
