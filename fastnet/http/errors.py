"""Errors as answers: ``HTTPException``, and problem details (RFC 9457) for whatever a handler raises."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson

from fastnet.debugging.page import error_page, traceback_lines, wants_page
from fastnet_ext.exchange.errors import (
    ClientDisconnect,
    ExchangeError,
    HandlerTimeout,
    NotAcceptable,
    Overloaded,
    PayloadTooLarge,
    TooManyRequests,
    UnsupportedCoding,
)
from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import Response
from fastnet_ext.serve.errors import RequestValidationError, UnsupportedMediaType
from fastnet_ext.serve.json import JsonEncoder

__all__ = [
    "ClientDisconnect",
    "HTTPException",
    "PayloadTooLarge",
    "RequestValidationError",
    "problem",
    "problem_members",
    "render_error",
    "status_phrase",
]

log = logging.getLogger("fastnet.error")

PROBLEM_JSON = "application/problem+json"

# Phrases that RFC 9110 changed and `http.HTTPStatus` has only in newer Pythons.
_PHRASES = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
# Members that HTTPException sets by arguments of their own.
_RESERVED = frozenset(("type", "title", "status", "detail"))


class HTTPException(Exception):
    """An answer with an error status, as problem details: ``raise HTTPException(404, "no such user")``.

    ``detail`` says what happened this time, ``title`` what kind of problem it is (the status' phrase
    by default) and ``type`` is a URI that names that kind. Further keyword arguments become members
    of the problem. ``headers`` are added to the answer. Raises ``ValueError`` for a status outside
    300 to 599 and for headers that cannot be sent.
    """

    def __init__(
        self,
        status_code: int,
        detail: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        type: str = "about:blank",
        title: str | None = None,
        **extensions: Any,
    ) -> None:
        if not 300 <= status_code <= 599:
            raise ValueError(f"{status_code} is no status for an HTTPException: it must lie between 300 and 599")
        if "status" in extensions:
            raise ValueError("the problem's status is status_code")
        self.status_code = int(status_code)
        self.detail = detail
        self.type = type
        self.title = status_phrase(status_code) if title is None else title
        self.extensions = extensions
        # Through a response, so that a header that cannot be sent raises here.
        self.headers = None if headers is None else Response(headers=headers).headers
        super().__init__(status_code, detail)

    def __str__(self) -> str:
        return f"{self.status_code} {self.title}" + ("" if self.detail is None else f": {self.detail}")


def status_phrase(status: int) -> str:
    """The phrase of a status: "Not Found"; for one without a phrase, that of its class."""
    if status in _PHRASES:
        return _PHRASES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Server Error" if status >= 500 else "Client Error" if status >= 400 else "Redirect"


def problem(
    status: int,
    detail: Any = None,
    *,
    type: str = "about:blank",
    title: str | None = None,
    headers: Mapping[str, str] | None = None,
    encoder: JsonEncoder | None = None,
    **extensions: Any,
) -> Response:
    """A ``Response`` with problem details (RFC 9457). Members that are None are left out."""
    members = problem_members(status, detail, type=type, title=title, **extensions)
    body = orjson.dumps(members) if encoder is None else encoder.encode(members)
    response = Response(body, status, media_type=PROBLEM_JSON)
    if headers is not None:
        response.headers.extend(headers)
    return response


def problem_members(
    status: int, detail: Any = None, *, type: str = "about:blank", title: str | None = None, **extensions: Any
) -> dict[str, Any]:
    """Problem details (RFC 9457) as a dict. Members that are None are left out."""
    title = status_phrase(status) if title is None else title
    members: dict[str, Any] = {"type": type, "title": title, "status": status}
    if detail is not None:
        members["detail"] = detail
    members.update((name, value) for name, value in extensions.items() if value is not None and name not in _RESERVED)
    return members


def render_error(request: Request[Any], error: Exception) -> Response:
    """The answer to an exception that nothing else answers.

    What the peer did wrong is told; anything else is a 500 with the request's id, and the
    traceback goes to the log ``fastnet.error``. With ``App(debug=True)`` the 500 shows the
    exception: a page for browsers, members of the problem for everybody else.
    """
    app = request.app
    if isinstance(error, HTTPException):
        return _render_http_exception(error, getattr(app, "json", None))
    if isinstance(error, RequestValidationError):
        count = len(error.errors)
        detail = "1 value is not valid" if count == 1 else f"{count} values are not valid"
        return problem(error.status, detail, errors=error.errors)
    if isinstance(error, UnsupportedMediaType):
        return problem(error.status, str(error), headers={"accept": error.wanted})
    if isinstance(error, Overloaded | HandlerTimeout):
        return problem(error.status, str(error), headers={"retry-after": str(error.retry_after)})
    if isinstance(error, TooManyRequests):
        return problem(error.status, str(error), headers=error.headers, limit=error.limit)
    if isinstance(error, UnsupportedCoding | NotAcceptable):
        return problem(error.status, str(error), headers=error.headers)
    if isinstance(error, ExchangeError) and 400 <= error.status < 500:
        return problem(error.status, str(error))
    if isinstance(error, ClientDisconnect):
        # Nobody reads it, unless a handler raised it by itself.
        return problem(400, str(error))
    return _render_unexpected(request, error, bool(getattr(app, "debug", False)))


def _render_http_exception(error: HTTPException, encoder: JsonEncoder | None) -> Response:
    if error.status_code == 304:
        response = Response(status_code=304)
    else:
        response = problem(
            error.status_code, error.detail, type=error.type, title=error.title, encoder=encoder, **error.extensions
        )
    if error.headers is not None:
        for name in error.headers:
            if name in response.headers:
                del response.headers[name]
        response.headers.extend(error.headers)
    return response


def _render_unexpected(request: Request[Any], error: Exception, debug: bool) -> Response:
    identity = request.id
    extra = {"request_id": identity}
    log.error("%s %s failed [request %s]", request.method, request.path, identity, exc_info=error, extra=extra)
    members: dict[str, Any] = {"request_id": identity}
    if debug:
        # Exceptions may be of classes that nobody tested: their texts fail too.
        try:
            if wants_page(request.headers.get("accept", "")):
                return error_page(request, error)
            members["traceback"] = traceback_lines(error)
            members["exception"] = f"{type(error).__qualname__}: {error}"
        except Exception:
            log.exception("the error of request %s could not be shown", identity, extra=extra)
    return problem(500, "the server failed to answer; its log has the reason under the request id", **members)
