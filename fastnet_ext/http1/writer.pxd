"""HTTP/1 heads, fields and chunks into a buffer; see writer.h."""

from libc.stdint cimport int64_t, uint64_t

from fastnet_ext.core.buffer cimport Buffer


cdef extern from "fastnet_ext/http1/writer.h" nogil:
    const int DATE_SIZE "FN_H1_DATE_SIZE"  # 29

    # All: 0, or -1 when memory is out (no Python exception is set). Nothing is checked: names,
    # values and targets from elsewhere go through core/scan.pxd first.
    int write_status_line "fn_h1_write_status_line" (Buffer* b, int minor, int status) noexcept
    int write_request_line "fn_h1_write_request_line" (
        Buffer* b, const char* method, size_t method_size, const char* target, size_t target_size
    ) noexcept
    int write_field "fn_h1_write_field" (
        Buffer* b, const char* name, size_t name_size, const char* value, size_t value_size
    ) noexcept
    int write_content_length "fn_h1_write_content_length" (Buffer* b, uint64_t length) noexcept
    int write_date "fn_h1_write_date" (Buffer* b, const char* date) noexcept  # DATE_SIZE bytes
    int write_end "fn_h1_write_end" (Buffer* b) noexcept  # the empty line behind the fields

    # Chunked bodies: begin (size above 0), the data, end; or `write_chunk` for all three.
    int write_chunk_begin "fn_h1_write_chunk_begin" (Buffer* b, uint64_t size) noexcept
    int write_chunk_end "fn_h1_write_chunk_end" (Buffer* b) noexcept
    int write_chunk "fn_h1_write_chunk" (Buffer* b, const char* data, size_t size) noexcept
    # The end: `write_last_chunk`, or `write_trailers_begin`, `write_field` for each, `write_end`.
    int write_last_chunk "fn_h1_write_last_chunk" (Buffer* b) noexcept
    int write_trailers_begin "fn_h1_write_trailers_begin" (Buffer* b) noexcept

    # The IMF-fixdate of a Unix time in seconds: DATE_SIZE bytes at `out`, no NUL.
    void format_date "fn_h1_format_date" (char* out, int64_t seconds) noexcept


cdef class Writer:
    """The same from Python, checked; for tests and tools."""

    cdef Buffer buffer

    cdef int _wrote(self, int result) except -1
