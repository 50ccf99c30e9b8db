"""The growable run of bytes that every writer appends to; see buffer.h."""

from libc.stdint cimport uint64_t


cdef extern from "fastnet_ext/core/buffer.h" nogil:
    ctypedef struct Buffer "fn_buffer":
        char* data
        size_t size
        size_t capacity

    void buffer_init "fn_buffer_init" (Buffer* b) noexcept
    void buffer_free "fn_buffer_free" (Buffer* b) noexcept
    # 0, or -1 when memory is out (no Python exception is set).
    int buffer_reserve "fn_buffer_reserve" (Buffer* b, size_t extra) noexcept
    int buffer_append "fn_buffer_append" (Buffer* b, const char* data, size_t size) noexcept
    void buffer_consume "fn_buffer_consume" (Buffer* b, size_t count) noexcept
