# cython: freethreading_compatible=True
"""What tests, tools and registration code see of HPACK; the engine uses hpack.pxd."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t

from fastnet_ext.core.buffer cimport Buffer, buffer_free, buffer_init
from fastnet_ext.core.huffman cimport (
    huffman_decode,
    huffman_decoded_bound,
    huffman_encode,
    huffman_encoded_size,
)


@cython.final
cdef class HpackDecoder:
    """One direction's decoder. ``table_size`` is the dynamic table's bound in bytes (RFC 7541, section 4)."""

    cdef Hpack table

    def __cinit__(self, uint32_t table_size=HPACK_DEFAULT_TABLE):
        hpack_init(&self.table, table_size)

    def __dealloc__(self):
        hpack_free(&self.table)

    def decode(self, bytes block not None):
        """The fields of one header block, as a list of ``(name, value)`` byte pairs.

        Raises ValueError for a block that is a COMPRESSION_ERROR; the decoder is of no further use then.
        """
        cdef HpackBlock state
        cdef HpackField field
        cdef int result = HPACK_FIELD
        cdef list fields = []
        hpack_begin(&state, block, <size_t>len(block))
        while True:
            result = hpack_next(&self.table, &state, &field)
            if result != HPACK_FIELD:
                break
            fields.append((
                PyBytes_FromStringAndSize(field.name, field.name_size),
                PyBytes_FromStringAndSize(field.value, field.value_size),
            ))
        _check(result)
        return fields

    def count(self, bytes block not None, int repeat=1):
        """Decode the block ``repeat`` times without making objects; how many fields it has."""
        cdef HpackBlock state
        cdef HpackField field
        cdef int result = HPACK_FIELD
        cdef Py_ssize_t fields = 0
        for _ in range(repeat):
            fields = 0
            hpack_begin(&state, block, <size_t>len(block))
            while True:
                result = hpack_next(&self.table, &state, &field)
                if result != HPACK_FIELD:
                    break
                fields += 1
            _check(result)
        return fields

    def set_ceiling(self, uint32_t size):
        """Our SETTINGS_HEADER_TABLE_SIZE, acknowledged: what the peer's updates may ask for from now on."""
        if hpack_set_ceiling(&self.table, size) < 0:
            raise MemoryError()

    @property
    def table_used(self):
        """Size of the dynamic table as section 4.1 counts it."""
        return self.table.used

    @property
    def table_limit(self):
        """What the peer's encoder has bounded it to."""
        return self.table.limit


cdef int _check(int result) except -1:
    if result == HPACK_NO_MEMORY:
        raise MemoryError()
    if result == HPACK_ERROR:
        raise ValueError("invalid header block")
    return 0


def encode(fields, *, huffman=False, table_size=None):
    """A header block of ``(name, value)`` byte pairs, names in lower case; it depends on no connection.

    ``table_size`` puts a dynamic table size update in front. Nothing is checked.
    """
    cdef Buffer out
    cdef bytes name, value
    cdef int code = 1 if huffman else 0
    buffer_init(&out)
    try:
        if table_size is not None and encode_table_size(&out, <uint32_t>table_size) < 0:
            raise MemoryError()
        for name, value in fields:
            if hpack_encode_field(&out, name, <size_t>len(name), value, <size_t>len(value), code) < 0:
                raise MemoryError()
        return PyBytes_FromStringAndSize(out.data, <Py_ssize_t>out.size)
    finally:
        buffer_free(&out)


def encode_huffman(bytes text not None):
    """The Huffman coding of a string."""
    cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>huffman_encoded_size(text, <size_t>len(text)))
    huffman_encode(text, <size_t>len(text), <char*>out)
    return out


def decode_huffman(bytes coded not None):
    """The string of a Huffman coding; ValueError when it is none."""
    cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>huffman_decoded_bound(<size_t>len(coded)))
    cdef Py_ssize_t size = huffman_decode(coded, <size_t>len(coded), <char*>out)
    if size < 0:
        raise ValueError("invalid Huffman coding")
    return out[:size]
