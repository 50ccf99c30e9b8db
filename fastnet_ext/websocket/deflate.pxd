"""The messages of one connection through permessage-deflate: RFC 7692, section 7.2.

    Compressors     of one event loop: what connections compress with that keep no context
    Deflate         of one connection

Without context takeover a connection holds no zlib object between two messages. Its messages go through the
loop's compressor, whose history Z_FULL_FLUSH forgets after each of them, so that nothing of one connection can
turn up in what another gets; those of the peer through a decompressor of the message's own, since a window that
was used before would let a peer ask for what others have sent.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastnet_ext.websocket.extensions cimport DeflateAgreement, PerMessageDeflate


cdef enum:
    # Blocks with BFINAL that one message may have: each ends zlib's stream, and what follows is copied.
    FINAL_BLOCKS = 16
    # Of zlib's state of a decompressor, without its window.
    DECOMPRESSOR_SIZE = 8 * 1024


cdef enum Inflated:
    INFLATE_RAISED = -1     # a Python exception is set
    INFLATE_DONE = 0        # `plain` is what came out
    INFLATE_TOO_BIG         # there is more than there may be
    INFLATE_BAD_DATA        # this is no DEFLATE, or ends inside a block


cdef class Compressors:
    cdef dict _made         # (window bits, level, memory level) -> zlib's object

    cdef object of(self, tuple key)
    cdef int drop(self, tuple key) except -1


cdef class Deflate:
    cdef readonly DeflateAgreement agreement

    # --- our messages. `key` says with what they are compressed; with `shared` the loop's compressor does it,
    # otherwise `compressor`, made for the first message, whose history the peer has too.
    cdef readonly tuple key
    cdef size_t min_size
    cdef Compressors shared
    cdef object compressor
    cdef size_t compressor_size

    # --- the peer's messages: the decompressor of the message being read, or of all of them (`keeps`)
    cdef bint keeps
    cdef uint8_t peer_window_bits
    cdef uint8_t final_blocks       # of the message being read
    cdef object decompressor
    cdef bytes plain                # what the last piece came to, until the next

    # Whether a message that begins with `size` bytes is compressed.
    cdef inline bint wants(self, size_t size) noexcept:
        return size >= self.min_size

    # Bytes that zlib keeps for this connection, as far as its documentation tells.
    cdef inline size_t held(self) noexcept:
        cdef size_t size = 0
        if self.compressor is not None:
            size += self.compressor_size
        if self.decompressor is not None:
            size += DECOMPRESSOR_SIZE + (<size_t>1 << self.peer_window_bits)
        return size

    # The payload of a frame; `final` ends the message. The caller sends it, or calls `restart`.
    cdef bytes compress(self, const char* data, size_t size, bint final)
    # What was compressed was not sent: go on with a compressor that does not refer to it.
    cdef int restart(self) except -1

    # A message begins; and one ends that had no payload at all, which is none of DEFLATE, but what some ends send
    # for an empty message.
    cdef int begin(self) except -1
    cdef int end_empty(self) except -1
    # A piece of the message's payload, masked with `key` (0: not masked): what it decompresses to is put into
    # `plain`, if it is no more than `most` bytes. `before`: what came of the message before that.
    cdef Inflated inflate(
        self, const char* data, size_t size, uint32_t key, bint last, uint64_t most, const char* before, size_t before_size
    ) except INFLATE_RAISED
    cdef Inflated _go_on(self, bint last, size_t room, bytes before) except INFLATE_RAISED


cdef Deflate new_deflate(bint server, DeflateAgreement agreement, Compressors shared)
