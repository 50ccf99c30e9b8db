"""Answers name their request, and whatever a handler starts knows it."""

from __future__ import annotations

from typing import Any

from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import Response
from fastnet_ext.serve.runner import bind_request, unbind_request

from . import CallNext

__all__ = ["request_id"]


async def request_id(request: Request[Any], call_next: CallNext) -> Response:
    """A middleware: the answer's ``X-Request-ID`` is ``request.id``: a valid one that came along, or a new one.

    Tasks that the handler starts, and threads that get a copy of its context, log under that id too.
    """
    token = bind_request(request)
    try:
        response = await call_next(request)
    finally:
        unbind_request(token)
    response.headers["x-request-id"] = request.id
    return response
