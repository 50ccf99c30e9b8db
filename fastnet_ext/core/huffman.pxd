"""Huffman coding of HPACK strings; see huffman.h."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef extern from "fastnet_ext/core/huffman.h" nogil:
    # What `decode` may write at most, and what `encode` will write.
    size_t huffman_decoded_bound "fn_huffman_decoded_bound" (size_t size) noexcept
    size_t huffman_encoded_size "fn_huffman_encoded_size" (const char* data, size_t size) noexcept
    # Bytes written; -1 when the coding is invalid (a COMPRESSION_ERROR, no Python exception is set).
    Py_ssize_t huffman_decode "fn_huffman_decode" (const char* data, size_t size, char* out) noexcept
    size_t huffman_encode "fn_huffman_encode" (const char* data, size_t size, char* out) noexcept
