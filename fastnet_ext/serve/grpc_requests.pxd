"""The messages of a call that has a stream of them, until somebody reads them.

What comes is kept as the bytes that it is, and cut into messages as they are asked for: no object per
frame, nor per message before it is read. The peer's window is what bounds it: it is given back as the bytes are read.
"""

from libc.stdint cimport uint64_t

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.grpc.framing cimport MessageReader
from fastnet_ext.serve.grpc_wire cimport Compression
from fastnet_ext.serve.waiter cimport Waiter


cdef class RequestStream:
    cdef MessageReader reader
    cdef Compression compression

    # --- what came and was not read: `carry` from `read` on, behind `message` if there is one; of a message that is
    # not complete the reader has the rest
    cdef Buffer carry
    cdef size_t read
    cdef bytes message              # cut out for the receiver that waited
    cdef bint over                  # nothing else will come
    cdef bint paused                # the carrier was asked to bring no more

    # --- who reads: one Task at a time, which waits on `waiter` while `receiving`
    cdef Waiter waiter              # None until somebody has waited
    cdef bint receiving
    cdef int burst                  # messages taken since the reader last waited

    # --- the peer's mistake, for which the call ends; 0: none was found
    cdef int code
    cdef str details

    cdef int feed(self, Exchange x, const char* data, Py_ssize_t size) except -1
    cdef int feed_end(self) except -1
    # The next message; None when there is none: `code` and `over` say whether one may come.
    cdef bytes take(self, Exchange x)
    # What an awaitable returns from __next__ to wait for the next message, or its end.
    cdef Waiter wait(self, Exchange x)
    cdef int wake(self, bint direct) except -1
    # Nobody reads any more.
    cdef int close(self) except -1

    cdef size_t _cut(self, const char* data, size_t size) except? 0
    cdef int _note_held(self, Exchange x) except -1


cdef RequestStream new_request_stream(MessageReader reader)

# The message that `reader` holds, unpacked. When it breaks the rules: a tuple (code, details).
cdef object unpacked(MessageReader reader, Compression compression)
