"""The query of a request as a mapping."""


cdef class QueryParams:
    """The decoded query: a read-only mapping to the last value of each name, with all of them at hand."""

    cdef list pairs         # of (name, value), in order
    cdef dict last          # name -> last value


# The mapping of a raw query; the bytes are not kept.
cdef QueryParams query_params(const char* data, Py_ssize_t size)
