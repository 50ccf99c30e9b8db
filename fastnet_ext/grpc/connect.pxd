"""The Connect protocol: what its bodies, its envelopes and its fields hold (connectrpc.com/docs/protocol).

Streams frame their messages as gRPC does (framing.pxd), with FLAG_CONNECT_END on the last envelope,
which is JSON; unary calls have the bare message as their body, or an error in JSON. Codes are gRPC's
numbers; a status' details are a serialised google.rpc.Status, None when there are none.
"""

from libc.stdint cimport int64_t


cdef enum ConnectFormat:
    CONNECT_NONE        # it is no Connect
    CONNECT_PROTO
    CONNECT_JSON
    CONNECT_STREAM_PROTO
    CONNECT_STREAM_JSON


# What a content-type says of the body.
cdef ConnectFormat connect_format(const char* p, size_t size) noexcept

# Microseconds of a connect-timeout-ms, or -1 when it is malformed.
cdef int64_t parse_timeout_ms(const char* p, size_t size) noexcept

# The HTTP status of a unary call that ends with a code.
cdef int status_of_code(int code) noexcept

# The body of a unary call that failed.
cdef bytes error_body(int code, str message, bytes details)

# The last envelope of a stream, with its prefix. `metadata`: (name, value) bytes, or None.
cdef bytes end_envelope(int code, str message, bytes details, list metadata)

# Trailing metadata as the fields of a unary answer's head.
cdef list trailer_fields(list metadata)


cdef class GetRequest:
    """A unary call that came as GET: its message is in the query."""

    cdef readonly bytes message         # compressed as `compression` says
    cdef readonly str encoding          # of the message: "proto" or "json", or what nobody knows
    cdef readonly str compression       # "identity" when nothing was said


# ValueError says what is wrong with the query.
cdef GetRequest read_get(const char* query, size_t size)
