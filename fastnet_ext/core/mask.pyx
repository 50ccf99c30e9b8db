# cython: freethreading_compatible=True
"""XOR with a repeating key of four bytes, for Python."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from fastnet_ext.core.simd cimport Simd, simd_for, simd_named


def mask(const uint8_t[::1] data not None, const uint8_t[::1] key not None, size_t offset=0, *, str vectors=None):
    """Return ``data`` XORed with the four bytes of ``key``, repeated.

    ``offset`` is where ``data`` begins in the masked payload. Masking twice gives the data
    back. ``vectors`` is one of ``simd.available()``, for tests; by default the best for the size.
    Raises ValueError when the key has not four bytes, and for other vectors.
    """
    cdef size_t size = <size_t>data.shape[0]
    cdef bytearray out
    cdef uint32_t word
    cdef Simd kind
    if key.shape[0] != 4:
        raise ValueError("a mask has four bytes")
    if size == 0:
        return b""
    memcpy(&word, &key[0], 4)
    out = bytearray(size)
    kind = simd_for(size) if vectors is None else simd_named(vectors)
    mask_copy_with(kind, <char*>out, <const char*>&data[0], size, mask_rotate(word, offset))
    return bytes(out)


def mask_into(uint8_t[::1] data not None, const uint8_t[::1] key not None, size_t offset=0, *, str vectors=None):
    """XOR the writable buffer ``data`` in place; otherwise as ``mask``."""
    cdef size_t size = <size_t>data.shape[0]
    cdef Simd kind
    cdef uint32_t word
    if key.shape[0] != 4:
        raise ValueError("a mask has four bytes")
    memcpy(&word, &key[0], 4)
    if size:
        kind = simd_for(size) if vectors is None else simd_named(vectors)
        mask_copy_with(kind, <char*>&data[0], <char*>&data[0], size, mask_rotate(word, offset))
