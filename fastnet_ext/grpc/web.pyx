# cython: freethreading_compatible=True
"""gRPC-Web: the trailers frame and the text format; web.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t

from fastnet_ext.core.buffer cimport Buffer, buffer_free, buffer_init
from fastnet_ext.grpc.framing cimport FLAG_WEB_TRAILERS, PREFIX_SIZE, write_message_prefix


cdef extern from "fastnet_ext/grpc/media.h" nogil:
    size_t essence "fn_grpc_essence" (const char* p, size_t size) noexcept
    bint same "fn_grpc_same" (const char* p, size_t size, const char* name, size_t known) noexcept


cdef WebFormat web_format(const char* p, size_t size) noexcept:
    size = essence(p, size)
    if same(p, size, b"application/grpc-web", 20) or same(p, size, b"application/grpc-web+proto", 26):
        return WebFormat.WEB_BINARY
    if same(p, size, b"application/grpc-web-text", 25) or same(p, size, b"application/grpc-web-text+proto", 31):
        return WebFormat.WEB_TEXT
    return WebFormat.WEB_NONE


cdef bytes trailers_frame(list fields):
    cdef bytes name, value, block
    cdef list lines = []
    cdef char prefix[PREFIX_SIZE]
    for name, value in fields:
        if b"\n" in name or b"\r" in name or b"\n" in value or b"\r" in value:
            raise ValueError(f"a trailer holds a line break: {name!r}")
        lines.append(b"%b: %b\r\n" % (name, value))
    block = b"".join(lines)
    write_message_prefix(prefix, FLAG_WEB_TRAILERS, <uint32_t>len(block))
    return PyBytes_FromStringAndSize(prefix, PREFIX_SIZE) + block


cdef bytes text_of(const char* p, size_t size):
    cdef Buffer out
    buffer_init(&out)
    try:
        if web_encode(&out, p, size) < 0:
            raise MemoryError()
        return PyBytes_FromStringAndSize(out.data, <Py_ssize_t>out.size)
    finally:
        buffer_free(&out)


@cython.final
cdef class TextReader:
    """Decodes a body of ``application/grpc-web-text``, piece by piece."""

    def __cinit__(self):
        buffer_init(&self.decoded)

    def __dealloc__(self):
        buffer_free(&self.decoded)

    cdef int read(self, const char* p, size_t size) except -1:
        cdef int result
        self.decoded.size = 0
        if self.failed:
            return 0
        result = web_decode(&self.group, &self.decoded, p, size)
        if result < 0:
            raise MemoryError()
        self.failed = result != 0
        return not self.failed

    # The same for Python.

    def feed(self, data):
        """Take a piece of the text and return the bytes that it completes.

        ``ValueError`` when it is not base64, and again for whatever follows.
        """
        cdef bytes held = bytes(data)
        if not self.read(held, <size_t>len(held)):
            raise ValueError("the body is not base64")
        return PyBytes_FromStringAndSize(self.decoded.data, <Py_ssize_t>self.decoded.size)

    @property
    def complete(self):
        """Whether the body may end here: not within a group of four digits."""
        return self.at_boundary()


def format_named(bytes content_type not None):
    """The format of a body by its content-type: "binary", "text", or None when it is no gRPC-Web."""
    cdef WebFormat found = web_format(content_type, <size_t>len(content_type))
    return None if found == WebFormat.WEB_NONE else "text" if found == WebFormat.WEB_TEXT else "binary"


def encode_trailers(list fields not None):
    """The last frame of an answer, of ``(name, value)`` bytes; ``ValueError`` when one holds a line break."""
    return trailers_frame(fields)


def encode_text(bytes data not None):
    """A piece of a body in the text format: base64 with padding, which more may follow."""
    return text_of(data, <size_t>len(data))
