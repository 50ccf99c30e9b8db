from typing import final

from fastnet_ext.exchange.exchange import Exchange
from fastnet_ext.net.connection import Carrier

@final
class Http2Carrier(Carrier): ...

@final
class Http2Exchange(Exchange): ...
