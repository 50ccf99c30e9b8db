import ssl
from collections.abc import Iterable
from typing import final

class TlsSource:
    context: ssl.SSLContext
    protocols: frozenset[bytes]
    def __init__(self, context: ssl.SSLContext, protocols: Iterable[str] = ()) -> None: ...

@final
class Lent: ...

@final
class TlsLayer:
    ssl_object: ssl.SSLObject
    def __init__(self, source: TlsSource) -> None: ...
