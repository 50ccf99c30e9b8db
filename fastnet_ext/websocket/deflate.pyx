# cython: freethreading_compatible=True
"""The messages of one connection through permessage-deflate (RFC 7692); deflate.pxd is the map.

zlib is Python's, which lets go of the GIL while it works. A stream without header is negative window bits.
"""

import zlib

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport SIZE_MAX, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastnet_ext.core.mask cimport mask_copy


cdef extern from "Python.h":
    enum:
        PyBUF_READ
        PY_SSIZE_T_MAX

# Section 7.2.1: how a flush ends, which is not sent.
cdef bytes TAIL = b"\x00\x00\xff\xff"
# The same, and an empty last block. A stream that does not end with it stood inside a block.
cdef bytes TAIL_AND_END = b"\x00\x00\xff\xff\x03\x00"
# Section 7.2.3.6: a block that holds nothing, for a final frame after which the compressor has nothing to say.
cdef bytes NOTHING = b"\x00"

cdef enum:
    LARGEST_WINDOW = 15
    SMALLEST_WINDOW = 9     # of zlib: a peer that says 8 may have used it
    WINDOW_SIZE = 1 << LARGEST_WINDOW

cdef object _compressobj = zlib.compressobj
cdef object _decompressobj = zlib.decompressobj
cdef object _Error = zlib.error
cdef object SYNC_FLUSH = zlib.Z_SYNC_FLUSH
cdef object FULL_FLUSH = zlib.Z_FULL_FLUSH


cdef object _new_compressor(tuple key):
    cdef int window_bits, level, memory_level
    window_bits, level, memory_level = key
    return _compressobj(level, zlib.DEFLATED, -window_bits, memory_level)


@cython.final
cdef class Compressors:
    """The compressors that the connections of one event loop share."""

    def __init__(self):
        self._made = {}

    cdef object of(self, tuple key):
        cdef object made = self._made.get(key)
        if made is None:
            made = self._made[key] = _new_compressor(key)
        return made

    cdef int drop(self, tuple key) except -1:
        self._made.pop(key, None)
        return 0

    def __len__(self):
        return len(self._made)


cdef Deflate new_deflate(bint server, DeflateAgreement agreement, Compressors shared):
    cdef Deflate self = Deflate.__new__(Deflate)
    cdef PerMessageDeflate settings = agreement.settings
    cdef bint forgets
    cdef uint8_t window_bits
    if server:
        window_bits, forgets = agreement.server_max_window_bits, agreement.server_no_context_takeover
        self.peer_window_bits, self.keeps = agreement.client_max_window_bits, not agreement.client_no_context_takeover
    else:
        window_bits, forgets = agreement.client_max_window_bits, agreement.client_no_context_takeover
        self.peer_window_bits, self.keeps = agreement.server_max_window_bits, not agreement.server_no_context_takeover
    self.agreement = agreement
    self.key = (<int>window_bits, <int>settings.level, <int>settings.memory_level)
    # A server may tell a client 8, with which zlib cannot compress. No message has to be compressed.
    self.min_size = settings.min_size if window_bits >= SMALLEST_WINDOW else SIZE_MAX
    # zconf.h tells what deflate needs: for the window and its hash chains, and for what is not written yet.
    self.compressor_size = (<size_t>1 << (window_bits + 2)) + (<size_t>1 << (settings.memory_level + 9))
    self.shared = shared if forgets else None
    if not self.keeps:
        # zlib allocates a window of the size that it is told, used or not; it is gone with the message.
        self.peer_window_bits = LARGEST_WINDOW
    elif self.peer_window_bits < SMALLEST_WINDOW:
        self.peer_window_bits = SMALLEST_WINDOW
    return self


@cython.final
cdef class Deflate:
    # --- our messages

    cdef bytes compress(self, const char* data, size_t size, bint final):
        cdef object compressor
        cdef bytes packed, rest
        cdef Py_ssize_t kept
        try:
            if self.shared is not None:
                compressor = self.shared.of(self.key)
            else:
                if self.compressor is None:
                    self.compressor = _new_compressor(self.key)
                compressor = self.compressor
            packed = compressor.compress(PyMemoryView_FromMemory(<char*>data, <Py_ssize_t>size, PyBUF_READ))
            rest = compressor.flush(SYNC_FLUSH if self.shared is None else FULL_FLUSH)
        except BaseException:
            self.restart()
            raise
        if PyBytes_GET_SIZE(packed):
            rest = packed + rest
        if not final:
            return rest
        # Each flush that was due ended the message's blocks with TAIL; without data since the last, zlib is silent.
        kept = PyBytes_GET_SIZE(rest) - PyBytes_GET_SIZE(TAIL)
        return NOTHING if kept < 0 else rest[:kept]

    cdef int restart(self) except -1:
        self.compressor = None
        if self.shared is not None:
            self.shared.drop(self.key)
        return 0

    # --- the peer's messages

    cdef int begin(self) except -1:
        self.final_blocks = 0
        if self.decompressor is None:
            self.decompressor = _decompressobj(-<int>self.peer_window_bits)
        return 0

    cdef int end_empty(self) except -1:
        self.plain = b""
        if not self.keeps:
            self.decompressor = None
        return 0

    cdef Inflated inflate(
        self, const char* data, size_t size, uint32_t key, bint last, uint64_t most, const char* before, size_t before_size
    ) except INFLATE_RAISED:
        # One byte more than may be: enough to know, and all that a bomb gets.
        cdef size_t room = <size_t>min(most, <uint64_t>PY_SSIZE_T_MAX - 1)
        cdef bytes tail = b"" if not last else TAIL if self.keeps else TAIL_AND_END
        cdef Py_ssize_t behind = PyBytes_GET_SIZE(tail)
        cdef bytes packed = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size + behind)
        cdef Inflated outcome
        mask_copy(PyBytes_AS_STRING(packed), data, size, key)
        memcpy(PyBytes_AS_STRING(packed) + size, PyBytes_AS_STRING(tail), behind)
        try:
            self.plain = self.decompressor.decompress(packed, room + 1)
            if <size_t>PyBytes_GET_SIZE(self.plain) > room:
                return INFLATE_TOO_BIG
            if self.decompressor.eof:
                outcome = self._go_on(last, room, before[:before_size] if before_size else b"")
                if outcome != INFLATE_DONE:
                    return outcome
            elif last and not self.keeps:
                return INFLATE_BAD_DATA
        except _Error:
            return INFLATE_BAD_DATA
        if last and not self.keeps:
            self.decompressor = None
        return INFLATE_DONE

    cdef Inflated _go_on(self, bint last, size_t room, bytes before) except INFLATE_RAISED:
        """Behind a block with BFINAL (section 7.2.3.4), which ends zlib's stream but not the message.

        What follows may refer to what the message held before. That it refers to messages before that is
        not provided for: an end that ends its stream has forgotten them.
        """
        cdef bytes rest, more
        while self.decompressor.eof:
            rest = self.decompressor.unused_data
            if last and not self.keeps and PyBytes_GET_SIZE(rest) == 0:
                # The end that we have put there.
                return INFLATE_DONE
            self.final_blocks += 1
            if self.final_blocks > FINAL_BLOCKS:
                return INFLATE_BAD_DATA
            self.decompressor = _decompressobj(
                -<int>self.peer_window_bits, (before[-WINDOW_SIZE:] + self.plain)[-WINDOW_SIZE:]
            )
            if last and PyBytes_GET_SIZE(rest) <= (4 if self.keeps else 6):
                # The payload ended with that block, and has no block for our tail to complete.
                return INFLATE_DONE
            if PyBytes_GET_SIZE(rest) == 0:
                return INFLATE_DONE
            more = self.decompressor.decompress(rest, room + 1 - PyBytes_GET_SIZE(self.plain))
            self.plain += more
            if <size_t>PyBytes_GET_SIZE(self.plain) > room:
                return INFLATE_TOO_BIG
        return INFLATE_BAD_DATA if last and not self.keeps else INFLATE_DONE
