"""Errors of other protocols as gRPC statuses, so that a dependency refuses the same way everywhere."""

from typing import Final

from fastnet.http.errors import HTTPException, RequestValidationError
from fastnet_ext.exchange.errors import ExchangeError

__all__ = ["status_of"]

# HTTP statuses as gRPC codes, by what they mean to a caller (the numbers of google.rpc.Code).
_CODES: Final = {
    400: 3,  # INVALID_ARGUMENT
    401: 16,  # UNAUTHENTICATED
    403: 7,  # PERMISSION_DENIED
    404: 5,  # NOT_FOUND
    408: 4,  # DEADLINE_EXCEEDED
    409: 10,  # ABORTED
    412: 9,  # FAILED_PRECONDITION
    413: 8,  # RESOURCE_EXHAUSTED
    416: 11,  # OUT_OF_RANGE
    422: 3,
    429: 8,
    499: 1,  # CANCELLED
    500: 13,  # INTERNAL
    501: 12,  # UNIMPLEMENTED
    503: 14,  # UNAVAILABLE
    504: 4,
}
_UNKNOWN: Final = 2


def status_of(error: BaseException) -> tuple[int, str] | None:
    """Code and details of an exception whose text is meant for the caller; None for others."""
    if isinstance(error, HTTPException):
        return _CODES.get(error.status_code, _UNKNOWN), str(error.title if error.detail is None else error.detail)
    if isinstance(error, RequestValidationError) or (isinstance(error, ExchangeError) and 400 <= error.status < 500):
        return _CODES.get(error.status, _UNKNOWN), str(error)
    return None
