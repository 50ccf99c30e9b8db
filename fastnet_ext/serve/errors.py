"""What is wrong with a request's arguments, each error with the status that answers it.

* ``ArgumentError``: one argument; raised by an Argument, never seen by users.
* ``RequestValidationError``: all of them at once. 422.
* ``MalformedBody``: the body is not JSON at all. 400.
* ``UnsupportedMediaType``: the body is of a type that the handler does not take. 415.

And what goes wrong with a WebSocket:

* ``HandshakeRefused``: the request cannot become one; carries status and headers of the answer.
* ``WebSocketDisconnect``: it is closed. Nobody is left to answer; ``code`` says why (RFC 6455, 7.4).
* ``InvalidMessage``: the peer's message is not what the handler asked for; ``code`` closes the connection.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fastnet_ext.exchange.errors import ExchangeError, InvalidBody

__all__ = [
    "ArgumentError",
    "HandshakeRefused",
    "InvalidMessage",
    "MalformedBody",
    "RequestValidationError",
    "UnsupportedMediaType",
    "WebSocketDisconnect",
]

# (where within the argument, what it wanted, the kind of failure)
Failure = tuple[tuple[str | int, ...], str, str]


class ArgumentError(Exception):
    """One argument cannot be had from the request; ``failures`` says why, at least once."""

    def __init__(self, msg: str, type: str, at: tuple[str | int, ...] = ()) -> None:
        super().__init__(msg)
        self.failures: list[Failure] = [(at, msg, type)]

    @classmethod
    def of(cls, failures: Sequence[Failure]) -> "ArgumentError":
        """An error of several failures within one argument."""
        error = cls(failures[0][1], failures[0][2])
        error.failures = list(failures)
        return error


class RequestValidationError(ExchangeError):
    """Arguments that are missing or do not convert.

    ``errors`` is a list of ``{"loc": [...], "msg": ..., "type": ...}``: ``loc`` begins with where the
    argument comes from and its name there (``["query", "limit"]``; ``["body", "items", 0, "price"]``),
    ``msg`` says what was wanted, ``type`` is a word for programs.
    """

    status = 422

    def __init__(self, errors: Sequence[dict[str, Any]]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in self.errors))


class MalformedBody(InvalidBody):
    """The body is not JSON; ``position`` is the byte where reading failed, None when unknown."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message, status=400)
        self.position = position


class UnsupportedMediaType(ExchangeError):
    """The body's Content-Type, ``got``, is none that the handler takes; ``wanted`` names one."""

    status = 415

    def __init__(self, wanted: str, got: str) -> None:
        super().__init__(f"the body must be {wanted}, not {got!r}")
        self.wanted = wanted
        self.got = got


class HandshakeRefused(ExchangeError):
    """The request does not become a WebSocket: ``status`` and ``headers`` of the answer, ``detail`` for its body."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers)


class WebSocketDisconnect(ExchangeError, ConnectionError):
    """The WebSocket is closed. A ``ConnectionError``, and so the ``OSError`` that ASGI promises of a send.

    ``code`` and ``reason`` are those of the Close frame that came first, ours or the peer's; 1005 when
    it had no code, 1006 when the connection ended without one.
    """

    status = 0

    def __init__(self, code: int = 1000, reason: str = "") -> None:
        super().__init__(f"the WebSocket is closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class InvalidMessage(ExchangeError, ValueError):
    """A message is not what the handler asked for; unless it is caught, ``code`` closes the connection."""

    def __init__(self, message: str, *, code: int = 1007) -> None:
        super().__init__(message)
        self.code = code
