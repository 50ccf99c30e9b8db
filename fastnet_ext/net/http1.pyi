from typing import final

from fastnet_ext.exchange.exchange import Exchange
from fastnet_ext.net.connection import Carrier

@final
class Http1Carrier(Carrier): ...

@final
class Http1Exchange(Exchange): ...
