from typing import final

from fastnet_ext.serve.websocket_driver import WebSocketDriver

@final
class MessageDriver(WebSocketDriver): ...
