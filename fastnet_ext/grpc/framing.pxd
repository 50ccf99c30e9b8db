"""gRPC's message framing: a flag byte and four bytes of length (big-endian) before each message.

gRPC-Web and Connect frame alike and give other bits of the flag a meaning, so the bits that may be
set are an argument.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.core.endian cimport store32


cdef enum:
    PREFIX_SIZE = 5

    FLAG_COMPRESSED = 0x01
    FLAG_WEB_TRAILERS = 0x80   # gRPC-Web: the body is the trailers
    FLAG_CONNECT_END = 0x02    # Connect: the body is the end of the stream


# Write the five bytes before a message of `size` bytes.
cdef inline void write_message_prefix(char* to, uint8_t flag, uint32_t size) noexcept nogil:
    to[0] = <char>flag
    store32(to + 1, size)


cdef enum ReadEvent:
    RAISED = -1   # a Python exception is set (MemoryError)
    NEED_DATA = 0
    MESSAGE       # flag, message, message_size
    FAILED        # status, reason


cdef class MessageReader:
    """Cuts a stream of bytes into messages; where the pieces of input end does not matter."""

    # What is let through: messages of `limit` bytes at most, flags of these bits only.
    cdef readonly uint64_t limit
    cdef readonly uint8_t flags

    # Where we are: `prefix_have` bytes of the next prefix, or within a message of which `left` bytes are
    # to come and those before are in `collected`. `delivered`: `collected` was handed out.
    cdef char prefix[PREFIX_SIZE]
    cdef uint8_t prefix_have
    cdef bint in_message
    cdef bint delivered
    cdef bint failed
    cdef uint32_t left
    cdef Buffer collected

    # What the last event brought. The message is valid until the next call of `next` only: it points
    # into the caller's data when it came in one piece, else into `collected`.
    cdef readonly uint8_t flag
    cdef const char* message
    cdef uint32_t message_size
    # The gRPC status of a failure: RESOURCE_EXHAUSTED (8) for a message above the limit, known from its
    # prefix before anything is kept; INTERNAL (13) for a flag that may not be set. `reason` is a constant.
    cdef readonly uint8_t status
    cdef const char* reason

    # Read on. With NEED_DATA all of `data` is consumed; after FAILED input is dropped.
    cdef ReadEvent next(self, const char* data, size_t size, size_t* consumed) except RAISED

    # Whether the stream may end here. Inside a message its end is an error of the peer (INTERNAL).
    cdef inline bint at_boundary(self) noexcept:
        return not self.in_message and self.prefix_have == 0

    # Bytes of memory held for a message in pieces.
    cdef inline size_t held(self) noexcept:
        return self.collected.capacity

    cdef ReadEvent _begin(self, const char* prefix) noexcept
    cdef ReadEvent _fail(self, uint8_t status, const char* reason) noexcept


# `limit` in bytes of one message as it is on the wire; `flags` are the bits that may be set.
cdef MessageReader new_reader(uint64_t limit, uint8_t flags)
