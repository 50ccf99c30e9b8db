# cython: freethreading_compatible=True
"""The query of a request as a mapping."""

cimport cython
from libc.string cimport memchr

from collections.abc import Mapping

from fastnet_ext.exchange.exchange cimport decode_percent


cdef list parse_query(const char* data, Py_ssize_t size):
    """The pairs of a query (URL standard, application/x-www-form-urlencoded); never fails."""
    cdef list pairs = []
    cdef Py_ssize_t start = 0, end, equals
    cdef const char* mark
    while start < size:
        mark = <const char*>memchr(data + start, b"&", size - start)
        end = size if mark is NULL else mark - data
        if end > start:
            mark = <const char*>memchr(data + start, b"=", end - start)
            equals = end if mark is NULL else mark - data
            pairs.append((
                decode_query(data + start, equals - start),
                decode_query(data + equals + 1, end - equals - 1) if equals < end else "",
            ))
        start = end + 1
    return pairs


cdef str decode_query(const char* data, Py_ssize_t size):
    cdef bytes spaced
    if size == 0:
        return ""
    if memchr(data, b"+", size) is NULL:
        return decode_percent(data, size)
    spaced = data[:size].replace(b"+", b" ")
    return decode_percent(spaced, len(spaced))


cdef QueryParams query_params(const char* data, Py_ssize_t size):
    cdef QueryParams query = QueryParams.__new__(QueryParams)
    query.pairs = parse_query(data, size)
    query.last = dict(query.pairs)
    return query


@cython.final
cdef class QueryParams:
    """The decoded query: a mapping from name to its last value; ``getlist`` gives all of them.

    ``QueryParams("a=1&b=2")`` or, as ``request.query_params``, made from the request. What is no
    UTF-8 becomes U+FFFD.
    """

    def __init__(self, query=b""):
        cdef bytes raw = query.encode("utf-8") if isinstance(query, str) else bytes(query)
        self.pairs = parse_query(raw, len(raw))
        self.last = dict(self.pairs)

    def __getitem__(self, name):
        return self.last[name]

    def get(self, name, default=None):
        """The last value of that name; ``default`` when there is none."""
        return self.last.get(name, default)

    def getlist(self, str name not None):
        """All values of that name, in the order they came; empty when there are none."""
        return [value for key, value in self.pairs if key == name]

    def multi_items(self):
        """Every ``(name, value)``, in the order they came."""
        return list(self.pairs)

    def keys(self):
        """The names, each once."""
        return self.last.keys()

    def values(self):
        """The last value of each name."""
        return self.last.values()

    def items(self):
        """``(name, last value)`` for each name."""
        return self.last.items()

    def __contains__(self, name):
        return name in self.last

    def __iter__(self):
        return iter(self.last)

    def __len__(self):
        return len(self.last)

    def __eq__(self, other):
        if isinstance(other, QueryParams):
            return self.pairs == (<QueryParams>other).pairs
        if isinstance(other, Mapping):
            return self.last == dict(other)
        return NotImplemented

    def __repr__(self):
        return f"QueryParams({self.pairs!r})"


Mapping.register(QueryParams)
