# cython: freethreading_compatible=True
"""The scanners of scan.h from Python: checks for what a caller may write, and the tests' way in."""


def token(bytes data not None):
    """Whether ``data`` can be a field name or a method: RFC 9110, 5.6.2."""
    return is_token(data, len(data))


def field_value(bytes data not None):
    """Whether ``data`` is free of CR, LF, NUL and other controls but HTAB."""
    return is_field_value(data, len(data))


def target(bytes data not None):
    """Whether ``data`` is a request target of visible ASCII without ``#``; not empty."""
    return is_target(data, len(data))


def authority(bytes data not None, *, bint need_port=False):
    """Whether ``data`` is ``uri-host[:port]`` with a host; ``need_port``: and with a port above 0."""
    return is_authority(data, len(data), need_port)


def decimal(bytes data not None):
    """The value of 1*DIGIT below 2^63, None for anything else."""
    cdef int64_t value = parse_decimal(data, len(data))
    return None if value < 0 else value


def value_prefix(bytes data not None, Py_ssize_t start=0, *, bint plain=False):
    """How many bytes from ``start`` on may stand in a field value; ``plain``: found without SIMD."""
    cdef const char* p = data
    cdef const char* end = p + len(data)
    p += min(max(start, 0), len(data))
    return (skip_value_plain(p, end) if plain else skip_value(p, end)) - p


def target_prefix(bytes data not None, Py_ssize_t start=0, *, bint plain=False):
    """How many bytes from ``start`` on may stand in a request target; ``plain``: found without SIMD."""
    cdef const char* p = data
    cdef const char* end = p + len(data)
    p += min(max(start, 0), len(data))
    return (skip_target_plain(p, end) if plain else skip_target(p, end)) - p


def name_prefix(bytes data not None, Py_ssize_t start=0, *, bint plain=False):
    """The size of the token from ``start`` on, and its first 32 bytes folded to lower case."""
    cdef char lower[32]
    cdef const char* p = data
    cdef const char* end = p + len(data)
    cdef size_t size
    p += min(max(start, 0), len(data))
    size = scan_name_plain(p, end, lower) if plain else scan_name(p, end, lower)
    return size, lower[:min(size, <size_t>LOWER_NAME)]
