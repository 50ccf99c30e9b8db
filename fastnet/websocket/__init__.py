"""WebSocket handlers: ``@app.websocket("/echo") async def echo(ws: WebSocket)``."""

from fastnet.websocket.endpoint import WebSocketOptions, build_websocket_endpoint
from fastnet_ext.serve.errors import HandshakeRefused, InvalidMessage, WebSocketDisconnect
from fastnet_ext.serve.websocket import WebSocket

__all__ = [
    "HandshakeRefused",
    "InvalidMessage",
    "WebSocket",
    "WebSocketDisconnect",
    "WebSocketOptions",
    "build_websocket_endpoint",
]
