from typing import final

from fastnet_ext.net.connection import Negotiator

@final
class OnePort(Negotiator): ...
