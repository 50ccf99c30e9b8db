"""WebSocket handlers, ``@app.websocket("/echo") async def echo(ws: WebSocket)``, and rooms of them: ``app.hub()``."""

from fastnet.options import WebSocketOptions
from fastnet.websocket.endpoint import build_websocket_endpoint
from fastnet.websocket.hub import Hub, Member
from fastnet_ext.serve.errors import HandshakeRefused, InvalidMessage, WebSocketDisconnect
from fastnet_ext.serve.websocket import WebSocket
from fastnet_ext.websocket.extensions import PerMessageDeflate

__all__ = [
    "HandshakeRefused",
    "Hub",
    "InvalidMessage",
    "Member",
    "PerMessageDeflate",
    "WebSocket",
    "WebSocketDisconnect",
    "WebSocketOptions",
    "build_websocket_endpoint",
]
