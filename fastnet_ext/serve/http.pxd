"""Plain HTTP handlers: the call, and how each kind of return value becomes an answer."""

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.exchange.response cimport Response
from fastnet_ext.serve.compression cimport BodyCoder, Compression
from fastnet_ext.serve.json cimport JsonEncoder
from fastnet_ext.serve.plan cimport CallPlan
from fastnet_ext.serve.runner cimport AsyncEndpoint


cdef enum Mode:
    MODE_ASYNC      # the call returns a coroutine: a runner steps it
    MODE_INLINE     # the call returns the result, or a generator of it, at once
    MODE_THREAD     # the call runs in the pool of threads


# The exception that an exchange's handler is taken to have raised: HandlerTimeout for the CancelledError by which
# it was told that its time was over.
cdef object as_raised(Exchange x, object error)


cdef class HttpEndpoint(AsyncEndpoint):
    # --- the call
    cdef readonly CallPlan plan
    cdef Mode mode
    cdef bint chained                   # it calls middleware, whose innermost link raises x.refusal

    # --- the answer
    cdef readonly int status_code
    cdef bint none_is_empty             # None is an empty answer, otherwise JSON's null
    cdef JsonEncoder encoder
    cdef ResponseHead text_head
    cdef ResponseHead bytes_head
    cdef ResponseHead json_head
    cdef ResponseHead empty_head
    cdef readonly str stream_type       # media type of a generator's items, None: by the first
    cdef public Compression compression # of what `answer` sends; None: nothing is compressed

    # Send a value. None, or the coroutine that streams the rest.
    cdef object answer(self, Exchange x, object value)
    cdef object answer_response(self, Exchange x, Response response)
    cdef object answer_text(self, Exchange x, str text)
    cdef object answer_json(self, Exchange x, object value)
    cdef object answer_bytes(self, Exchange x, ResponseHead head, bytes data)
    cdef object stream(self, Exchange x, object iterable, ResponseHead head)
    cdef object after(self, Exchange x)
    cdef BodyCoder send_head(self, Exchange x, ResponseHead head)
    # The head that fits the first item; `head` is what is known of it already, None when nothing is.
    cdef ResponseHead stream_head(self, object first, ResponseHead head)
