# cython: freethreading_compatible=True
"""gRPC's message framing: a flag byte and four bytes of length before each message."""

cimport cython
from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, strlen

from fastnet_ext.core.buffer cimport buffer_append, buffer_free, buffer_init, buffer_reserve
from fastnet_ext.core.endian cimport load32

cdef enum:
    STATUS_RESOURCE_EXHAUSTED = 8
    STATUS_INTERNAL = 13

    # A message no longer than this gets its room at its first piece, a longer one as it arrives: a
    # prefix alone never makes us hold what it announces. Also what an idle reader may keep.
    KEPT_CAPACITY = 64 * 1024


@cython.final
cdef class MessageReader:
    """``MessageReader(limit=4194304, flags=1)``: cuts a stream of bytes into messages.

    ``limit`` is in bytes of one message as it is on the wire, ``flags`` the bits that may be set.
    """

    def __cinit__(self, uint64_t limit=4 * 1024 * 1024, uint8_t flags=FLAG_COMPRESSED):
        self.limit = limit
        self.flags = flags
        self.message = self.reason = b""
        buffer_init(&self.collected)

    def __dealloc__(self):
        buffer_free(&self.collected)

    cdef ReadEvent next(self, const char* data, size_t size, size_t* consumed) except RAISED:
        cdef size_t take
        cdef const char* p = data
        cdef const char* end = data + size
        consumed[0] = size
        if self.delivered:
            self.delivered = False
            if self.collected.capacity > KEPT_CAPACITY:
                buffer_free(&self.collected)
            self.collected.size = 0
        if self.failed:
            return ReadEvent.NEED_DATA
        if not self.in_message:
            if self.prefix_have == 0 and end - p >= PREFIX_SIZE:
                self._begin(p)
                p += PREFIX_SIZE
            else:
                while self.prefix_have < PREFIX_SIZE:
                    if p == end:
                        return ReadEvent.NEED_DATA
                    self.prefix[self.prefix_have] = p[0]
                    self.prefix_have += 1
                    p += 1
                self._begin(self.prefix)
            if self.failed:
                return ReadEvent.FAILED
        take = <size_t>(end - p)
        if take > self.left:
            take = self.left
        if take == self.message_size:
            # In one piece: it stays where it is.
            self.message = p
        elif take:
            if buffer_reserve(&self.collected, self.left if self.message_size <= KEPT_CAPACITY else take) < 0:
                raise MemoryError()
            buffer_append(&self.collected, p, take)
            self.message = self.collected.data
        self.left -= <uint32_t>take
        if self.left:
            return ReadEvent.NEED_DATA
        consumed[0] = <size_t>(p - data) + take
        self.in_message = False
        self.delivered = True
        return ReadEvent.MESSAGE

    cdef ReadEvent _begin(self, const char* prefix) noexcept:
        """Take a prefix that is there in full; NEED_DATA when its message may be read."""
        self.prefix_have = 0
        self.flag = <uint8_t>prefix[0]
        self.message_size = load32(prefix + 1)
        self.left = self.message_size
        self.in_message = True
        if self.flag & ~self.flags:
            return self._fail(STATUS_INTERNAL, b"message with a flag that is not known")
        if self.message_size > self.limit:
            return self._fail(STATUS_RESOURCE_EXHAUSTED, b"message larger than the limit")
        return ReadEvent.NEED_DATA

    cdef ReadEvent _fail(self, uint8_t status, const char* reason) noexcept:
        self.failed = True
        self.status = status
        self.reason = reason
        buffer_free(&self.collected)
        return ReadEvent.FAILED

    # The same for Python.

    def feed(self, data):
        """Take a piece of the stream and return its events, in order.

        They are ``("message", flag, bytes)`` and ``("failed", status, sentence)``; nothing follows the latter.
        """
        cdef bytes held = bytes(data)
        cdef const char* p = held
        cdef size_t size = <size_t>len(held), used = 0, consumed = 0
        cdef ReadEvent event
        cdef list events = []
        while True:
            event = self.next(p + used, size - used, &consumed)
            used += consumed
            if event == ReadEvent.NEED_DATA:
                return events
            if event == ReadEvent.FAILED:
                events.append(("failed", self.status, self.reason[:strlen(self.reason)].decode("ascii")))
            else:
                content = PyBytes_FromStringAndSize(self.message, <Py_ssize_t>self.message_size)
                events.append(("message", self.flag, content))

    def count_messages(self, const uint8_t[::1] data not None):
        """Take a piece of the stream and return how many messages it ended (for benches)."""
        cdef const char* p = <const char*>&data[0] if data.shape[0] else NULL
        cdef size_t size = <size_t>data.shape[0], used = 0, consumed = 0
        cdef Py_ssize_t messages = 0
        while self.next(p + used, size - used, &consumed) == ReadEvent.MESSAGE:
            used += consumed
            messages += 1
        return messages

    @property
    def complete(self):
        """Whether the stream may end here: not inside a message."""
        return self.at_boundary()

    @property
    def memory(self):
        """Bytes of memory held for a message in pieces."""
        return self.held()


cdef MessageReader new_reader(uint64_t limit, uint8_t flags):
    return MessageReader.__new__(MessageReader, limit, flags)


def frame(bytes message not None, uint8_t flag=0):
    """``message`` with its five bytes of prefix. OverflowError from 4 GiB on."""
    cdef size_t size = <size_t>len(message)
    if size > 0xFFFFFFFF:
        raise OverflowError("a gRPC message has less than 4 GiB")
    cdef bytes framed = PyBytes_FromStringAndSize(NULL, PREFIX_SIZE + <Py_ssize_t>size)
    cdef const char* content = message
    cdef char* to = PyBytes_AsString(framed)
    write_message_prefix(to, flag, size)
    memcpy(to + PREFIX_SIZE, content, size)
    return framed
