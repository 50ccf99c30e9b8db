"""The context of a gRPC call: what its handler sees, and what is known of its answer."""

from libc.stdint cimport int64_t

from fastnet_ext.exchange.exchange cimport Exchange, Observer
from fastnet_ext.exchange.request cimport Call
from fastnet_ext.serve.grpc_requests cimport RequestStream
from fastnet_ext.serve.grpc_wire cimport AnswerEncoder, Compression


cdef class ServicerContext(Call):
    cdef AnswerEncoder encoder
    cdef object deserialize             # bytes -> message; None: bytes
    cdef object serialize               # message -> bytes; None: bytes

    # --- streams
    cdef RequestStream requests         # None: the handler is given the one message of the request
    cdef bint writes                    # the handler sends messages, and does not return one
    cdef bint congested                 # the peer does not take what we write: until on_writable
    cdef Py_ssize_t burst               # what was written since the writer last waited
    cdef list writers                   # futures of those who wait for the peer

    # --- what the handler said of the answer; the end of the call takes it from here
    cdef int status_code
    cdef str status_details             # None: nothing was said
    cdef tuple trailing                 # as it was given
    cdef list trailing_fields           # the same for the wire, None when there are none
    cdef bint aborted                   # by abort(): the call ends with its status, whatever follows
    cdef Compression compression        # of messages; the peer takes it
    cdef bint plain_next                # the next message is not compressed
    cdef bint begun                     # the handler has sent the initial metadata

    # --- the call's life
    cdef bint running                   # the handler was called
    cdef bint broken_off                # the handler is to end, as nobody waits for it: `task` is cancelled
    cdef object task                    # the asyncio Task that runs it, None when it ended at once
    cdef object timer                   # of the deadline; None when there is none, or it is over
    cdef bint was_cancelled

    # --- made on demand
    cdef tuple metadata
    cdef object peer_value
    cdef dict auth

    # The deadline is so many microseconds from now: `_expire` is called then.
    cdef int arm(self, int64_t microseconds) except -1
    cdef int disarm(self) except -1

    # Ends of a call. Each sends what is left to send and disarms; nothing happens when it is over.
    cdef int end_call(self, int code, str details) except -1
    # With what the handler said.
    cdef int end_as_said(self) except -1
    # With a message and what the handler said.
    cdef int answer(self, bytes message) except -1

    # Why the request side breaks the call off: its status, and the end of the handler.
    cdef int refuse_requests(self) except -1
    # The call was ended in front of its handler's end: who works for it is told so.
    cdef int break_off(self) except -1

    # The head, as the handler asked for it: at most once, also where the dialect still keeps it to itself.
    cdef int begin_answer(self, list metadata) except -1
    cdef int send_head(self, list metadata) except -1
    # The next message of a stream; None: look at requests.over. Raises when the call is over.
    cdef bytes next_request(self)
    # The message in it; of one that cannot be parsed the call ends, and CancelledError is raised.
    cdef object parse(self, bytes data)
    cdef bytes encode(self, object message)
    # Send one message of a stream. 1: go on; 0: `settle` first.
    cdef int push(self, bytes message) except -1
    cdef int writable(self) except -1
    cdef int _release_streams(self) except -1
    cdef object over_error(self)
    cdef int check_open(self) except -1
    cdef object begin_abort(self, object code, str details, object trailing_metadata)
    cdef bint over(self) noexcept


cdef class Requests:
    """The request messages of a call, as its handler iterates over them."""

    cdef ServicerContext context


cdef class Receive:
    """One wait for a message; done at once when one is there."""

    cdef ServicerContext context
    cdef bint iterating             # the end is StopAsyncIteration, else grpc.aio.EOF
    cdef bint waiting


cdef class DoneCallbacks(Observer):
    cdef ServicerContext context
    cdef object callback


cdef object grpcio()

cdef Requests new_requests(ServicerContext context)

cdef Receive new_receive(ServicerContext context, bint iterating)
