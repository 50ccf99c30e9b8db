"""The scanners behind the reader; see head.h and chunk.h."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastnet_ext.core.headers cimport Field, Span


cdef extern from "fastnet_ext/http1/head.h" nogil:
    # DONE, MORE, NOT_HTTP, or an index of ANSWERS.
    ctypedef enum Result "fn_h1_result":
        RESULT_DONE "FN_H1_DONE"
        RESULT_MORE "FN_H1_MORE"
        RESULT_NOT_HTTP "FN_H1_NOT_HTTP"
        RESULT_CHUNK_END "FN_H1_CHUNK_END"
        RESULT_TOO_MANY_FIELDS "FN_H1_TOO_MANY_FIELDS"
        RESULT_TOO_MANY_INTERIM "FN_H1_TOO_MANY_INTERIM"
        RESULT_TRUNCATED "FN_H1_TRUNCATED"

    ctypedef enum Part "fn_h1_part":
        PART_REQUEST "FN_H1_PART_REQUEST"
        PART_RESPONSE "FN_H1_PART_RESPONSE"
        PART_TRAILERS "FN_H1_PART_TRAILERS"

    ctypedef struct Answer "fn_h1_answer":
        uint16_t status
        const char* sentence

    const Answer* ANSWERS "FN_H1_ANSWERS"

    const uint32_t FLAG_UPGRADE "FN_H1_UPGRADE"
    const uint32_t FLAG_HAS_UPGRADE "FN_H1_HAS_UPGRADE"
    const uint32_t FLAG_HAS_HOST "FN_H1_HAS_HOST"
    const uint32_t FLAG_HAS_CODING "FN_H1_HAS_CODING"
    const uint32_t FLAG_EXPECT "FN_H1_EXPECT"

    ctypedef struct Section "fn_h1_head":
        uint32_t line
        uint32_t searched
        uint32_t end
        uint8_t first
        uint32_t count
        Field* fields
        Span method_name
        Span target
        Span authority
        uint32_t method
        uint32_t status
        uint32_t minor
        uint32_t flags
        int64_t content_length

    void begin_section "fn_h1_begin" (
        Section* s, Part part, uint32_t max_line, uint32_t max_size, uint32_t max_fields
    ) noexcept
    Result read_section "fn_h1_read_section" (Section* s, const char* data, size_t size) noexcept
    Result check_request "fn_h1_check_request" (const Section* s) noexcept
    Result check_codings "fn_h1_check_codings" (const Section* s) noexcept
    bint keeps_alive "fn_h1_keeps_alive" (const Section* s) noexcept


cdef extern from "fastnet_ext/http1/chunk.h" nogil:
    ctypedef struct Chunk "fn_h1_chunk":
        uint64_t size
        uint32_t line

    void begin_chunks "fn_h1_begin_chunks" (Chunk* c, uint32_t budget) noexcept
    Result read_chunk_line "fn_h1_read_chunk_line" (Chunk* c, const char* data, size_t size) noexcept
