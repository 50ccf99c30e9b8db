from typing import final

from fastnet_ext.exchange.exchange import Responder

@final
class StreamEncoder: ...

@final
class JsonStreamCall(Responder): ...
