"""HPACK (RFC 7541): decoder with its dynamic table, stateless encoder; see hpack.h."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastnet_ext.core.buffer cimport Buffer


cdef extern from "fastnet_ext/http2/hpack.h" nogil:
    # Ids of pseudo-header fields, above every HeaderId.
    enum:
        PSEUDO_FIRST "FN_PSEUDO_FIRST"
        PSEUDO_METHOD "FN_PSEUDO_METHOD"
        PSEUDO_SCHEME "FN_PSEUDO_SCHEME"
        PSEUDO_AUTHORITY "FN_PSEUDO_AUTHORITY"
        PSEUDO_PATH "FN_PSEUDO_PATH"
        PSEUDO_PROTOCOL "FN_PSEUDO_PROTOCOL"
        PSEUDO_STATUS "FN_PSEUDO_STATUS"
        FIELD_BAD_NAME "FN_FIELD_BAD_NAME"
        FIELD_BAD_VALUE "FN_FIELD_BAD_VALUE"
        HPACK_DEFAULT_TABLE "FN_HPACK_DEFAULT_TABLE"
        HPACK_OVERHEAD "FN_HPACK_OVERHEAD"

    # One decoded field: pointers that hold until the next call of hpack_next.
    ctypedef struct HpackField "fn_hpack_field":
        const char* name
        const char* value
        uint32_t name_size
        uint32_t value_size
        uint16_t id
        uint8_t faults

    # A decoder: the dynamic table of one direction of one connection. `limit` and `used` as in section 4.
    ctypedef struct Hpack "fn_hpack":
        uint32_t count
        uint32_t used
        uint32_t limit
        uint32_t ceiling

    # A block being decoded. The bytes must stay where they are.
    ctypedef struct HpackBlock "fn_hpack_block":
        pass

    enum:
        HPACK_END "FN_HPACK_END"
        HPACK_FIELD "FN_HPACK_FIELD"
        HPACK_ERROR "FN_HPACK_ERROR"
        HPACK_NO_MEMORY "FN_HPACK_NO_MEMORY"

    void hpack_init "fn_hpack_init" (Hpack* h, uint32_t table_size) noexcept
    void hpack_free "fn_hpack_free" (Hpack* h) noexcept
    # Our SETTINGS_HEADER_TABLE_SIZE is in force (acknowledged). 0, -1 when memory is out.
    int hpack_set_ceiling "fn_hpack_set_ceiling" (Hpack* h, uint32_t ceiling) noexcept
    void hpack_begin "fn_hpack_begin" (HpackBlock* b, const char* data, size_t size) noexcept
    int hpack_next "fn_hpack_next" (Hpack* h, HpackBlock* b, HpackField* field) noexcept

    # The encoder. Names are in lower case. 0, or -1 when memory is out (no Python exception is set).
    int hpack_encode_field "fn_hpack_encode_field" (
        Buffer* out, const char* name, size_t name_size, const char* value, size_t value_size, int huffman
    ) noexcept
    int encode_status "fn_hpack_encode_status" (Buffer* out, int status) noexcept
    int encode_table_size "fn_hpack_encode_table_size" (Buffer* out, uint32_t size) noexcept


cdef inline int encode_field(
    Buffer* out, const char* name, size_t name_size, const char* value, size_t value_size
) noexcept nogil:
    """Append one field for a head that is sent once: strings as they are.

    Indexed when the static table has it, never indexed when it is a secret (authorization, cookie,
    set-cookie, proxy-authorization), else a literal without indexing. 0, or -1 when memory is out.
    """
    return hpack_encode_field(out, name, name_size, value, value_size, 0)


cdef inline int encode_field_compact(
    Buffer* out, const char* name, size_t name_size, const char* value, size_t value_size
) noexcept nogil:
    """The same for a head that is encoded once and sent often: Huffman coding where it saves bytes."""
    return hpack_encode_field(out, name, name_size, value, value_size, 1)
