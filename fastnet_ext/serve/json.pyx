# cython: freethreading_compatible=True
"""The one JSON dialect: what is written does not depend on which library writes it.

msgspec's is the dialect: moments in UTC end in ``Z``, Decimal and UUID are strings, bytes are
base64, NaN and infinities are null, mappings may have any scalar as keys. orjson writes what it
writes the same way and hands everything else over. One difference is left, in the text and not
in the value: from 1e16 on orjson writes ``1e+16`` where msgspec writes ``1e16``.
"""

cimport cython
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE

import msgspec
import orjson

cdef object orjson_dumps = orjson.dumps
cdef object Fragment = orjson.Fragment
cdef object Raw = msgspec.Raw

# What orjson would write in another way than msgspec goes to `default` instead. Enums, UUIDs and
# strings need no passing: both write them alike.
cdef object OPTIONS = (
    orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
)


@cython.final
cdef class _ForeignHook:
    """What msgspec calls for a type that it does not know: returns something that it does."""

    cdef object enc_hook

    def __init__(self, enc_hook):
        self.enc_hook = enc_hook

    def __call__(self, value):
        cdef object kind = type(value)
        # A pydantic model, known by what it offers: pydantic need not be installed. By alias, as
        # its users have it from FastAPI.
        if hasattr(kind, "__pydantic_serializer__") and hasattr(kind, "model_dump_json"):
            return Raw(value.model_dump_json(by_alias=True).encode("utf-8"))
        if isinstance(value, str):
            return str.__str__(value)
        # True comes here only as a key, where it is no number.
        if isinstance(value, int) and kind is not bool:
            return int.__int__(value)
        if isinstance(value, float):
            return float.__float__(value)
        if self.enc_hook is not None:
            return self.enc_hook(value)
        raise TypeError(
            f"{kind.__module__}.{kind.__qualname__} has no form in JSON: return something that has one, "
            "or say what it becomes with App(enc_hook=...)"
        )


@cython.final
cdef class _NestedDefault:
    """What orjson calls for a value that is not plain: msgspec writes it."""

    cdef object typed

    def __init__(self, typed):
        self.typed = typed

    def __call__(self, value):
        return Fragment(self.typed(value))


cdef inline bint is_plain(object kind) noexcept:
    return (
        kind is dict or kind is str or kind is list or kind is int or kind is float or kind is tuple or kind is bool
        or kind is type(None)
    )


cdef inline bint suits_orjson(object value) noexcept:
    """Whether orjson is the faster choice: for plain values, and lists that begin with one."""
    cdef object kind = type(value)
    if kind is list and PyList_GET_SIZE(value):
        return is_plain(type(<object>PyList_GET_ITEM(value, 0)))
    if kind is tuple and PyTuple_GET_SIZE(value):
        return is_plain(type(<object>PyTuple_GET_ITEM(value, 0)))
    return is_plain(kind)


@cython.final
cdef class JsonEncoder:
    """Writes values as JSON. ``enc_hook(value)`` turns one of a foreign type into one of a known type."""

    def __init__(self, enc_hook=None):
        self.enc_hook = enc_hook
        self.typed = msgspec.json.Encoder(enc_hook=_ForeignHook(enc_hook)).encode
        self.default = _NestedDefault(self.typed)

    cpdef bytes encode(self, object value):
        """The value as JSON, UTF-8 without blanks.

        Raises ``TypeError`` for a type that has no form in JSON, and ``ValueError`` for a value
        that nests too deep or contains itself, or for text that is no Unicode.
        """
        if suits_orjson(value):
            try:
                return <bytes>orjson_dumps(value, self.default, OPTIONS)
            except TypeError:
                # Integers beyond 64 bits, keys that are no str, deep nesting: msgspec takes these.
                # What it does not take either it names better.
                pass
        try:
            return <bytes>self.typed(value)
        except RecursionError:
            raise ValueError("a value that is to be JSON nests too deep, or contains itself") from None

    def __call__(self, value):
        """The same as ``encode``."""
        return self.encode(value)


cdef JsonEncoder DEFAULT = JsonEncoder()


cdef class JSONResponse(Response):
    """A value as JSON, encoded at once, so that what cannot be JSON raises in the handler.

    ``encoder`` is the application's (``app.json``) when the value needs its ``enc_hook``.
    """

    def __init__(
        self, value, int status_code=200, headers=None, media_type="application/json", *, JsonEncoder encoder=None
    ):
        Response.__init__(
            self, (encoder if encoder is not None else DEFAULT).encode(value), status_code, headers, media_type
        )
