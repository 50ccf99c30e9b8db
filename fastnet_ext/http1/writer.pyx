# cython: freethreading_compatible=True
"""HTTP/1 heads, fields and chunks; compiled code uses the functions of writer.pxd."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t

from fastnet_ext.core.buffer cimport buffer_free, buffer_init
from fastnet_ext.core.scan cimport is_field_value, is_target, is_token


def imf_fixdate(int64_t seconds):
    """The Date of a Unix time in seconds, as 29 bytes; clamped to the years 0 to 9999."""
    cdef char out[29]
    format_date(out, seconds)
    return PyBytes_FromStringAndSize(out, DATE_SIZE)


@cython.final
cdef class Writer:
    """Collects the bytes of messages; ``take`` gives them. ValueError for what may not be written."""

    def __cinit__(self):
        buffer_init(&self.buffer)

    def __dealloc__(self):
        buffer_free(&self.buffer)

    cdef int _wrote(self, int result) except -1:
        if result < 0:
            raise MemoryError()
        return 0

    def status_line(self, int status, *, int minor=1):
        """The first line of a response; ``status`` from 100 to 999, ``minor`` 0 or 1."""
        if not 100 <= status <= 999 or minor not in (0, 1):
            raise ValueError("a status has three digits, and the version is HTTP/1.0 or HTTP/1.1")
        self._wrote(write_status_line(&self.buffer, minor, status))

    def request_line(self, bytes method not None, bytes target not None):
        """The first line of a request, HTTP/1.1."""
        if not is_token(method, len(method)) or not is_target(target, len(target)):
            raise ValueError("the method must be a token, the target free of white space, controls and '#'")
        self._wrote(write_request_line(&self.buffer, method, len(method), target, len(target)))

    def field(self, bytes name not None, bytes value not None):
        """One field line, of a head or a trailer section."""
        if not is_token(name, len(name)) or not is_field_value(value, len(value)):
            raise ValueError("a field's name must be a token, its value free of CR, LF, NUL and other controls")
        self._wrote(write_field(&self.buffer, name, len(name), value, len(value)))

    def content_length(self, uint64_t length):
        """The Content-Length field."""
        self._wrote(write_content_length(&self.buffer, length))

    def date(self, bytes date not None):
        """The Date field from 29 bytes, as ``imf_fixdate`` gives them."""
        if len(date) != DATE_SIZE or not is_field_value(date, DATE_SIZE):
            raise ValueError("an IMF-fixdate has 29 characters")
        self._wrote(write_date(&self.buffer, date))

    def end(self):
        """The empty line that ends a head or a trailer section."""
        self._wrote(write_end(&self.buffer))

    def chunk(self, bytes data not None):
        """One chunk; nothing for no data, which would end the body."""
        self._wrote(write_chunk(&self.buffer, data, len(data)))

    def last_chunk(self):
        """The end of a chunked body without trailers."""
        self._wrote(write_last_chunk(&self.buffer))

    def trailers_begin(self):
        """The last chunk; ``field`` for each trailer and ``end`` come next."""
        self._wrote(write_trailers_begin(&self.buffer))

    def take(self):
        """The bytes written so far; the writer is empty again."""
        cdef bytes written = PyBytes_FromStringAndSize(self.buffer.data, self.buffer.size)
        self.buffer.size = 0
        return written
