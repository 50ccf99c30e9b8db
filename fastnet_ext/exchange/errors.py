"""What can go wrong with an exchange, each with the status that answers it.

* ``ExchangeError``: base of all; ``status`` is 0 when there is nobody left to answer.

  * ``ClientDisconnect``: the peer left while its body was being read. No answer.
  * ``PayloadTooLarge``: the body is over the limit of its route. 413.
  * ``RequestTimeout``: the body did not arrive in time. 408.
  * ``UnsupportedCoding``: the body is compressed in a way that is not known here. 415.
  * ``NotAcceptable``: the client accepts no coding that the answer can have. 406.
  * ``InvalidBody``: the body is not what ``request.json()`` or ``request.text()`` was told. 400, 415 or 422.
  * ``Overloaded``: too many requests are being answered already. 503.
  * ``TooManyRequests``: a rate limit is used up. 429.
  * ``HandlerTimeout``: the handler did not answer in time. 503.
  * ``BodyConsumed``: the handler reads a body twice, or from two places at once. 500: a mistake of ours.
"""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

__all__ = [
    "BodyConsumed",
    "ClientDisconnect",
    "ExchangeError",
    "HandlerTimeout",
    "InvalidBody",
    "NotAcceptable",
    "Overloaded",
    "PayloadTooLarge",
    "RequestTimeout",
    "TooManyRequests",
    "UnsupportedCoding",
]


class ExchangeError(Exception):
    """An exchange that cannot go on as its handler wants; ``status`` is what the peer is told."""

    status: int = 500


class ClientDisconnect(ExchangeError):
    """The peer closed the connection, or reset the stream, before its request was complete."""

    status = 0

    def __init__(self, message: str = "the client disconnected before its request was complete") -> None:
        super().__init__(message)


class PayloadTooLarge(ExchangeError):
    """The request's body is longer than ``limit`` bytes (``max_body`` of the route or the app)."""

    status = 413

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        if limit is None:
            super().__init__("the request's body is too large")
        else:
            super().__init__(f"the request's body is larger than the {limit} bytes that are allowed here")


class RequestTimeout(ExchangeError):
    """The rest of the request's body did not arrive in time."""

    status = 408

    def __init__(self, message: str = "the request's body did not arrive in time") -> None:
        super().__init__(message)


class Overloaded(ExchangeError):
    """Too many requests are being answered; ``retry_after`` seconds later there may be room again."""

    status = 503
    retry_after = 1

    def __init__(self, message: str = "too many requests are being answered; try again later") -> None:
        super().__init__(message)


class TooManyRequests(ExchangeError):
    """A rate limit refused the request: ``limit`` is its name.

    ``retry_after`` seconds later the same request passes if no other comes; None when it never will, because it costs
    more than is ever admitted at once. ``headers`` tell that to the peer: Retry-After (RFC 9110, 10.2.3), RateLimit and
    RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10).
    """

    status = 429

    def __init__(
        self, limit: str, retry_after: float | None, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.limit = limit
        self.retry_after = retry_after
        self.headers = dict(headers)
        if retry_after is None:
            super().__init__("the request costs more than is ever admitted at once")
        else:
            super().__init__(f"too many requests; try again in {math.ceil(retry_after)} s")


class HandlerTimeout(ExchangeError, TimeoutError):
    """The handler did not begin its answer within ``timeout_handler``, or its route's ``timeout``."""

    status = 503
    retry_after = 1

    def __init__(self, message: str = "the server did not answer in time") -> None:
        super().__init__(message)


class InvalidBody(ExchangeError, ValueError):
    """The body does not decode; the message says why, for the peer to read."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


class UnsupportedCoding(ExchangeError):
    """The request's Content-Encoding is none of ``known``; ``headers`` name those (RFC 9110, 15.5.16)."""

    status = 415

    def __init__(self, coding: str, known: Iterable[str]) -> None:
        self.coding = coding
        self.headers = {"accept-encoding": ", ".join(known)}
        super().__init__(f"the body's Content-Encoding {coding!r} is not known here: see Accept-Encoding")


class NotAcceptable(ExchangeError):
    """The client accepts neither an answer as it is nor one of the codings that there are (RFC 9110, 12.5.3)."""

    status = 406

    def __init__(self, known: Iterable[str]) -> None:
        self.headers = {"vary": "accept-encoding"}
        super().__init__(f"Accept-Encoding refuses all that there is: identity, {', '.join(known)}")


class BodyConsumed(ExchangeError, RuntimeError):
    """The body was read before by ``stream()``, or is being read by somebody else."""
