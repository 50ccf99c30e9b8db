"""Granian's own interface, RSGI, at its simplest."""

from typing import Any

HELLO_HEADERS = [("content-type", "text/plain; charset=utf-8")]


async def app(scope: Any, protocol: Any) -> None:
    if scope.path == "/":
        protocol.response_str(200, HELLO_HEADERS, "Hello, World!")
    else:
        protocol.response_empty(404, [])
