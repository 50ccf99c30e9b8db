"""The values of gRPC's header fields: grpc-timeout, grpc-message, "-bin" metadata; see fields.h."""

from libc.stdint cimport int64_t

from fastnet_ext.core.buffer cimport Buffer


cdef extern from "fastnet_ext/grpc/fields.h" nogil:
    enum:
        TIMEOUT_MAX "FN_GRPC_TIMEOUT_MAX"  # bytes of the longest grpc-timeout: 9

    # Microseconds, or -1 when the value is malformed.
    int64_t parse_timeout "fn_grpc_parse_timeout" (const char* p, size_t size) noexcept
    # Write at most TIMEOUT_MAX bytes and return how many. Rounds up, so that a deadline never comes early.
    int encode_timeout "fn_grpc_write_timeout" (char* to, int64_t microseconds) noexcept

    # Each appends to `out` and returns 0, or -1 when memory is out (no Python exception is set).
    int percent_encode "fn_grpc_percent_encode" (Buffer* out, const char* p, size_t size) noexcept
    # What is no valid coding stands for itself.
    int percent_decode "fn_grpc_percent_decode" (Buffer* out, const char* p, size_t size) noexcept
    int base64_encode "fn_grpc_base64_encode" (Buffer* out, const char* data, size_t size) noexcept
    # One value, padded or not; 1 when it is not base64. Split the field at commas first.
    int base64_decode "fn_grpc_base64_decode" (Buffer* out, const char* p, size_t size) noexcept
    # How many bytes at the front of a grpc-message need no coding: all of them, as a rule.
    size_t plain_prefix "fn_grpc_plain_prefix" (const char* p, size_t size) noexcept


# Python objects from a field's bytes. `message_text` never fails: bytes that are not UTF-8 become U+FFFD.
cdef str message_text(const char* p, size_t size)
# The values of a "-bin" field, which may be several joined by commas. ValueError when one is not base64.
cdef list binary_values(const char* p, size_t size)
