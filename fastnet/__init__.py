"""fastnet: HTTP/1.1, HTTP/2, WebSocket, event streams and gRPC on one port, by typed handlers on a compiled engine."""

from fastnet._version import __version__
from fastnet.app import App
from fastnet.http.errors import ClientDisconnect, HTTPException, PayloadTooLarge, RequestValidationError, problem
from fastnet.middleware import CallNext, Middleware
from fastnet.params import Body, Cookie, Depends, Header, Path, Query
from fastnet.routing import Router
from fastnet.sse import EventStream, LastEventId, ServerSentEvent
from fastnet.state import State
from fastnet.websocket import WebSocket, WebSocketDisconnect
from fastnet_ext.exchange.query import QueryParams
from fastnet_ext.exchange.request import Call, Headers, Request
from fastnet_ext.exchange.response import (
    HTMLResponse,
    MutableHeaders,
    PlainTextResponse,
    RedirectResponse,
    Response,
    Stream,
)
from fastnet_ext.serve.json import JSONResponse
from fastnet_ext.serve.runner import current_request_id

# The name that Starlette has for it.
StreamingResponse = Stream

__all__ = [
    "App",
    "Body",
    "Call",
    "CallNext",
    "ClientDisconnect",
    "Cookie",
    "Depends",
    "EventStream",
    "HTMLResponse",
    "HTTPException",
    "Header",
    "Headers",
    "JSONResponse",
    "LastEventId",
    "Middleware",
    "MutableHeaders",
    "Path",
    "PayloadTooLarge",
    "PlainTextResponse",
    "Query",
    "QueryParams",
    "RedirectResponse",
    "Request",
    "RequestValidationError",
    "Response",
    "Router",
    "ServerSentEvent",
    "State",
    "Stream",
    "StreamingResponse",
    "WebSocket",
    "WebSocketDisconnect",
    "__version__",
    "current_request_id",
    "problem",
]
