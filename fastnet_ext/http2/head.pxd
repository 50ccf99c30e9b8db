"""A header block of HPACK becomes a HeaderBlock, checked by the rules for HTTP messages (RFC 9113, section 8)."""

from libc.stdint cimport int64_t, uint32_t

from fastnet_ext.core.headers cimport HeaderBlock, Span
from fastnet_ext.http2.hpack cimport Hpack


cdef extern from "fastnet_ext/http2/fields.h" nogil:
    bint field_name_ok "fn_field_name_ok" (const char* name, size_t size) noexcept
    bint field_value_ok "fn_field_value_ok" (const char* value, size_t size) noexcept
    bint method_ok "fn_method_ok" (const char* name, size_t size) noexcept
    bint scheme_ok "fn_scheme_ok" (const char* scheme, size_t size) noexcept
    bint authority_ok "fn_authority_ok" (const char* authority, size_t size) noexcept
    bint path_ok "fn_path_ok" (const char* path, size_t size) noexcept
    bint equal_nocase "fn_equal_nocase" (const char* a, size_t a_size, const char* b, size_t b_size) noexcept
    int64_t parse_length "fn_parse_length" (const char* text, size_t size) noexcept
    uint32_t parse_status "fn_parse_status" (const char* text, size_t size) noexcept


cdef enum HeadKind:
    HEAD_OF_REQUEST
    HEAD_OF_RESPONSE
    HEAD_OF_TRAILERS
    HEAD_DISCARDED   # nobody wants it, but the dynamic table must follow


cdef enum Verdict:
    VERDICT_GOOD
    VERDICT_MALFORMED       # a stream error, PROTOCOL_ERROR
    VERDICT_TOO_LARGE       # well-formed as far as it was looked at
    VERDICT_UNDECODABLE     # a connection error, COMPRESSION_ERROR


cdef struct HeadRules:
    HeadKind kind
    bint extended_connect   # :protocol is allowed
    uint32_t list_limit
    uint32_t field_limit


# What else the fields said.
cdef struct HeadFacts:
    int64_t content_length  # -1 when there is none
    bint too_many           # VERDICT_TOO_LARGE is for the number of fields, not for their bytes
    Span protocol           # of an extended CONNECT (RFC 8441), in the HeaderBlock's arena; else {0, 0}


# Decode the whole block, whatever it holds, so that the table stays in step. `into` is an empty HeaderBlock
# (None when discarding). -1 only when memory is out.
cdef int decode_head(
    Hpack* table, const char* data, size_t size, const HeadRules* rules, HeaderBlock into, HeadFacts* facts
) except -1
