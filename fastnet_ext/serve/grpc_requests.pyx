# cython: freethreading_compatible=True
"""Keeps the request messages of a streaming call until they are read; grpc_requests.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t
from libc.string cimport strlen

from fastnet_ext.core.buffer cimport buffer_append, buffer_consume, buffer_free, buffer_init
from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.grpc.framing cimport FLAG_COMPRESSED, MessageReader, ReadEvent
from fastnet_ext.serve.grpc_wire cimport (
    CODE_INTERNAL, CODE_RESOURCE_EXHAUSTED, COMPRESSION_NONE, Compression, decompress,
)
from fastnet_ext.serve.runner cimport RunnerPool
from fastnet_ext.serve.waiter cimport Waiter

cdef enum:
    # Bytes that wait for their reader before the carrier is paused; it goes on when half of that is read.
    HIGH_WATER = 64 * 1024

    # Of memory that an empty carry may keep.
    KEPT_CARRY = 16 * 1024


cdef str TOO_LARGE = "message larger than the limit"


@cython.final
cdef class RequestStream:
    """Made by the engine for a call; handlers see an iterator."""

    def __cinit__(self):
        buffer_init(&self.carry)

    def __dealloc__(self):
        buffer_free(&self.carry)

    cdef int feed(self, Exchange x, const char* data, Py_ssize_t size) except -1:
        cdef size_t used = 0
        if self.receiving and self.message is None and not self.code:
            # Somebody waits, so nothing is in the carry: the message need not go through it.
            used = self._cut(data, <size_t>size)
        if self.code:
            return 0
        if used < <size_t>size:
            if self.read and 2 * self.read >= self.carry.size:
                buffer_consume(&self.carry, self.read)
                self.read = 0
            if buffer_append(&self.carry, data + used, <size_t>size - used) < 0:
                raise MemoryError()
            if not self.paused and self.carry.size - self.read > HIGH_WATER:
                self.paused = x.body_paused = True
                x.pause_body()
        return self._note_held(x)

    cdef int feed_end(self) except -1:
        self.over = True
        return 0

    cdef bytes take(self, Exchange x):
        cdef bytes message
        while self.message is None and self.read < self.carry.size and not self.code:
            self.read += self._cut(self.carry.data + self.read, self.carry.size - self.read)
        if self.read and self.read == self.carry.size:
            self.read = self.carry.size = 0
            if self.carry.capacity > KEPT_CARRY:
                buffer_free(&self.carry)
        if self.paused and 2 * (self.carry.size - self.read) <= HIGH_WATER:
            self.paused = x.body_paused = False
            x.resume_body()
        self._note_held(x)
        if self.message is None:
            if self.over and not self.code and not self.reader.at_boundary():
                self.code = CODE_INTERNAL
                self.details = "the request ended within a message"
            return None
        message = self.message
        self.message = None
        self.burst += 1
        return message

    cdef size_t _cut(self, const char* data, size_t size) except? 0:
        """Read on to the end of a message, or of what is there; returns how much was used."""
        cdef size_t consumed = 0
        cdef ReadEvent event = self.reader.next(data, size, &consumed)
        cdef object found
        if event == ReadEvent.MESSAGE:
            found = unpacked(self.reader, self.compression)
            if type(found) is bytes:
                self.message = <bytes>found
            else:
                self.code, self.details = found
        elif event == ReadEvent.FAILED:
            self.code = self.reader.status
            self.details = self.reader.reason[:strlen(self.reader.reason)].decode("ascii")
        return consumed

    cdef Waiter wait(self, Exchange x):
        if self.waiter is None:
            self.waiter = Waiter(<RunnerPool>x.connection.local.runners)
        self.burst = 0
        return self.waiter.wait()

    cdef int wake(self, bint direct) except -1:
        return self.waiter.wake(direct) if self.receiving else 0

    cdef int close(self) except -1:
        buffer_free(&self.carry)
        self.read = 0
        self.message = None
        return self.wake(False)

    cdef int _note_held(self, Exchange x) except -1:
        return x.hold(<int64_t>(self.carry.capacity + self.reader.held()))


cdef RequestStream new_request_stream(MessageReader reader):
    cdef RequestStream stream = RequestStream.__new__(RequestStream)
    stream.reader = reader
    return stream


cdef object unpacked(MessageReader reader, Compression compression):
    cdef bytes message = PyBytes_FromStringAndSize(reader.message, reader.message_size)
    if not reader.flag & FLAG_COMPRESSED:
        return message
    if compression == COMPRESSION_NONE:
        return CODE_INTERNAL, "a compressed message in a call without grpc-encoding"
    try:
        return decompress(message, compression, reader.limit)
    except OverflowError:
        return CODE_RESOURCE_EXHAUSTED, TOO_LARGE
    except ValueError:
        return CODE_INTERNAL, "a message cannot be decompressed"
