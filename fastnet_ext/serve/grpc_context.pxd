"""The context of a gRPC call: what its handler sees, and what is known of its answer."""

from libc.stdint cimport int64_t

from fastnet_ext.exchange.exchange cimport Exchange, Observer
from fastnet_ext.exchange.request cimport Call
from fastnet_ext.serve.grpc_wire cimport AnswerEncoder, Compression


cdef class ServicerContext(Call):
    cdef AnswerEncoder encoder

    # --- what the handler said of the answer; the end of the call takes it from here
    cdef int status_code
    cdef str status_details             # None: nothing was said
    cdef tuple trailing                 # as it was given
    cdef list trailing_fields           # the same for the wire, None when there are none
    cdef object abort_error             # what abort() raised; the call ends with its status, whatever follows
    cdef Compression compression        # of messages; the peer takes it
    cdef bint plain_next                # the next message is not compressed

    # --- the call's life
    cdef bint running                   # the handler was called and has not come to its end
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

    cdef int send_head(self, list metadata) except -1
    cdef int cancel_task(self) except -1
    cdef object begin_abort(self, object code, str details, object trailing_metadata)
    cdef bint over(self) noexcept


cdef class SyncServicerContext:
    """The context of a `def` handler, which runs in a thread."""

    cdef ServicerContext context

    cdef object _on_loop(self, object function)


cdef class DoneCallbacks(Observer):
    cdef ServicerContext context
    cdef object callback
