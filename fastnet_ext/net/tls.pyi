import ssl
from typing import final

class TlsSource:
    context: ssl.SSLContext
    def __init__(self, context: ssl.SSLContext) -> None: ...

@final
class TlsLayer:
    ssl_object: ssl.SSLObject
    def __init__(self, context: ssl.SSLContext) -> None: ...
