"""Scanners over the bytes of HTTP; see scan.h. None reads at or behind `end`, none can fail."""

from libc.stdint cimport int64_t


cdef extern from "fastnet_ext/core/scan.h" nogil:
    # The classes of `char_is` and `skip_class`.
    const int CHAR_TOKEN "FN_CHAR_TOKEN"
    const int CHAR_VALUE "FN_CHAR_VALUE"
    const int CHAR_TARGET "FN_CHAR_TARGET"
    const int CHAR_HOST "FN_CHAR_HOST"
    const int CHAR_HEX "FN_CHAR_HEX"
    const int LOWER_NAME "FN_LOWER_NAME"

    bint char_is "fn_char_is" (char c, int classes) noexcept
    int hex_digit "fn_hex_digit" (char c) noexcept
    # -1: not 1*DIGIT, or above 2^63 - 1.
    int64_t parse_decimal "fn_parse_decimal" (const char* p, size_t size) noexcept
    # `lower`: lower-case letters, digits and '-' only; the bytes free of controls.
    bint equals_fold "fn_equals_fold" (const char* p, size_t size, const char* lower, size_t lower_size) noexcept

    # The first byte that does not belong, or `end`.
    const char* skip_class "fn_skip_class" (const char* p, const char* end, int classes) noexcept
    const char* skip_value "fn_skip_value" (const char* p, const char* end) noexcept
    const char* skip_value_plain "fn_skip_value_plain" (const char* p, const char* end) noexcept
    const char* skip_target "fn_skip_target" (const char* p, const char* end) noexcept
    const char* skip_target_plain "fn_skip_target_plain" (const char* p, const char* end) noexcept
    # The size of the token at p, and its first LOWER_NAME bytes folded to lower case.
    size_t scan_name "fn_scan_name" (const char* p, const char* end, char* lower) noexcept
    size_t scan_name_plain "fn_scan_name_plain" (const char* p, const char* end, char* lower) noexcept

    # What a caller must check before it writes bytes that are not its own.
    bint is_token "fn_is_token" (const char* p, size_t size) noexcept
    bint is_field_value "fn_is_field_value" (const char* p, size_t size) noexcept
    bint is_target "fn_is_target" (const char* p, size_t size) noexcept
    bint is_authority "fn_is_authority" (const char* p, size_t size, bint need_port) noexcept
