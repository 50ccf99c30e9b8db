"""The PROXY protocol, versions 1 and 2: what a proxy says of a connection before its first byte.

    v1   PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n      at most 107 bytes
    v2   signature (12), version and command (1), family and transport (1), length (2), addresses, TLVs

The reader is told bytes until it says one of the other three events. It holds what it has seen of the
header; the states, and what ends them:

    SIGNATURE   the bytes are a beginning of either signature -> LINE, HEAD; anything else: PROXY_ABSENT
    LINE        v1, up to its line end -> PROXY_HEADER; too long, malformed: PROXY_FAILED
    HEAD        the 16 bytes that v2 begins with -> BLOCK; unknown version, command, family: PROXY_FAILED
    BLOCK       the `length` bytes that follow -> PROXY_HEADER; what does not fit it: PROXY_FAILED
"""

from fastnet_ext.core.buffer cimport Buffer


cdef enum:
    # Bytes that may have to be given back: a signature without its last byte.
    PROXY_HELD = 11
    # The longest header of version 1, its line end included.
    PROXY_LINE = 107


cdef enum ProxyEvent:
    PROXY_NEED_DATA
    PROXY_HEADER        # `header` has it
    PROXY_ABSENT        # the bytes are something else: `held`, then all of the data
    PROXY_FAILED        # `error` says what is wrong


cdef enum ProxyState:
    STATE_SIGNATURE
    STATE_LINE
    STATE_HEAD
    STATE_BLOCK


cdef class ProxyHeader:
    cdef readonly int version
    # Sent by the proxy for itself (health checks): the connection's own addresses count.
    cdef readonly bint local
    # (host, port), the path of a Unix socket, or None when the proxy does not say.
    cdef readonly object source
    cdef readonly object destination
    cdef readonly list tlvs         # (type, value) in their order; those of TLS are in `tls`

    # --- what the TLVs say; None without them
    cdef readonly str alpn
    cdef readonly str authority     # the name that the client asked for (SNI)
    cdef readonly bytes unique_id
    cdef readonly object tls        # ProxyTLS: the client speaks TLS to the proxy


cdef class ProxyReader:
    cdef ProxyHeader header
    cdef const char* error
    cdef Buffer held
    cdef ProxyState state
    cdef size_t total           # of version 2, known in BLOCK

    # `used` bytes of the data belong to the header; 0 for PROXY_ABSENT.
    cdef ProxyEvent next(self, const char* data, size_t size, size_t* used) except *
    cdef ProxyEvent _fail(self, const char* why) noexcept
    cdef bint _append(self, const char* data, size_t size) except -1
    cdef ProxyEvent _read_line(self) except *
    cdef ProxyEvent _read_head(self) except *
    cdef ProxyEvent _read_block(self) except *
    cdef ProxyEvent _read_tlvs(self, size_t at) except *
