"""gRPC-Web (PROTOCOL-WEB.md): gRPC in bodies that any HTTP carries.

Messages are framed as in gRPC (framing.pxd); the trailers are one more frame of the body, with the bit
FLAG_WEB_TRAILERS. The text format is the same in base64.
"""

from libc.stdint cimport uint32_t, uint8_t

from fastnet_ext.core.buffer cimport Buffer


cdef extern from "fastnet_ext/grpc/web.h" nogil:
    # A group of four digits that is not complete; all zero: none is open.
    ctypedef struct WebGroup "fn_grpc_web_group":
        uint32_t bits
        uint8_t have
        uint8_t pads

    # Each appends to `out`. 0, or -1 when memory is out (no Python exception is set); 1 at what is not base64.
    int web_decode "fn_grpc_web_decode" (WebGroup* group, Buffer* out, const char* p, size_t size) noexcept
    int web_encode "fn_grpc_web_encode" (Buffer* out, const char* p, size_t size) noexcept


cdef enum WebFormat:
    WEB_NONE      # it is no gRPC-Web
    WEB_BINARY
    WEB_TEXT


# What a content-type says of the body. Messages other than protobuf's are none.
cdef WebFormat web_format(const char* p, size_t size) noexcept

# The frame of the trailers: lines "name: value" of (name, value) bytes. ValueError when one of them holds a line break.
cdef bytes trailers_frame(list fields)

# Bytes as padded base64, for one piece of a body in the text format.
cdef bytes text_of(const char* p, size_t size)


cdef class TextReader:
    """Decodes a body in the text format; where the pieces of input end does not matter."""

    cdef WebGroup group
    cdef bint failed
    # What the last call of `read` decoded, valid until the next one.
    cdef Buffer decoded

    # Decode a piece into `decoded`. 1: go on; 0: it is not base64, and all that follows is dropped.
    cdef int read(self, const char* p, size_t size) except -1

    # Whether the body may end here: not within a group of four digits.
    cdef inline bint at_boundary(self) noexcept:
        return self.group.have == 0
