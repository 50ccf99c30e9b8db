# cython: freethreading_compatible=True
"""XOR with a repeating key of four bytes, for Python."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy


def mask(const uint8_t[::1] data not None, const uint8_t[::1] key not None, size_t offset=0):
    """Return ``data`` XORed with the four bytes of ``key``, repeated.

    ``offset`` is where ``data`` begins in the masked payload. Masking twice gives the data
    back. Raises ValueError when the key has not four bytes.
    """
    cdef size_t size = <size_t>data.shape[0]
    cdef bytearray out
    cdef uint32_t word
    if key.shape[0] != 4:
        raise ValueError("a mask has four bytes")
    if size == 0:
        return b""
    memcpy(&word, &key[0], 4)
    out = bytearray(size)
    mask_copy(<char*>out, <const char*>&data[0], size, mask_rotate(word, offset))
    return bytes(out)


def mask_into(uint8_t[::1] data not None, const uint8_t[::1] key not None, size_t offset=0):
    """XOR the writable buffer ``data`` in place; otherwise as ``mask``."""
    cdef uint32_t word
    if key.shape[0] != 4:
        raise ValueError("a mask has four bytes")
    memcpy(&word, &key[0], 4)
    if data.shape[0]:
        mask_in_place(<char*>&data[0], <size_t>data.shape[0], mask_rotate(word, offset))
