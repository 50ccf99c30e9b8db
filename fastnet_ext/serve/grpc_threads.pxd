"""gRPC handlers that are plain functions: they run in a thread, and what they do to their call is done on its loop.

A handler keeps one thread from its first message to its last. Messages pass in both directions in
batches, of BATCH at most: neither side runs away from the other. When the call is over, whichever of the
two waits for the other raises CancelledError in the thread.
"""

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.serve.grpc_context cimport ServicerContext


cdef enum:
    # Messages that wait for the other side.
    BATCH = 16


cdef class SyncServicerContext:
    """The context of a `def` handler, which runs in a thread."""

    cdef ServicerContext context

    cdef object _on_loop(self, object function)


cdef class BlockingRequests:
    """The request messages, for a thread: it waits for them."""

    cdef ServicerContext context
    cdef list batch                 # the next ones, the first of them last
    cdef bint over


cdef class BlockingIterator:
    """What an asynchronous iterator gives, for a thread."""

    cdef object loop
    cdef object source


cdef class Handoff:
    """Messages on their way from a thread to the loop."""

    cdef object loop
    cdef object changed             # threading.Condition over what follows
    cdef list messages
    cdef bint over                  # the thread sends no more
    cdef bint closed                # the loop takes no more
    cdef bint told                  # the loop knows that there is something to take
    cdef object waiter              # future of the loop's side, None when it does not wait


# The messages that a handler gives in a thread; `call()` returns its iterator. An asynchronous generator.
cdef object from_thread(Exchange x, object call)

cdef BlockingRequests new_blocking_requests(ServicerContext context)

cdef BlockingIterator new_blocking_iterator(Exchange x, object source)
