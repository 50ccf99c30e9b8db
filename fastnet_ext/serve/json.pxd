"""The one JSON dialect, whichever library writes it."""

from fastnet_ext.exchange.response cimport Response


cdef class JsonEncoder:
    """Values to JSON bytes: orjson for plain values, msgspec for typed ones and what orjson declines."""

    cdef readonly object enc_hook
    # Both are made of `enc_hook` alone and hold no reference to the encoder: no cycle.
    cdef object typed       # msgspec's encode
    cdef object default     # what orjson calls for a value that is not plain: typed, as a fragment

    # Raises TypeError for a value of no known type, ValueError for one that is too deep, holds
    # itself, or holds text that is no Unicode.
    cpdef bytes encode(self, object value)


cdef class JSONResponse(Response):
    """A value as application/json."""
