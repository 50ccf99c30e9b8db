"""Answers with a content coding (RFC 9110, 8.4): what compresses them on their way to the carrier.

    Compression     of a route: codings, levels, what is worth it
    HeadForms       what becomes of one head: with Vary, and with each coding
    BodyCoder       of one streamed body

An answer is left as it is when its handler coded it or said no-transform, when it is a part (206, Content-Range), has
no body (204, 304), or carries a digest of what would be sent otherwise.
"""

from fastnet_ext.compression.codecs cimport CODING_COUNT, Codec, Compressor
from fastnet_ext.compression.negotiation cimport Negotiator
from fastnet_ext.exchange.exchange cimport Exchange, Responder
from fastnet_ext.exchange.head cimport ResponseHead


cdef class HeadForms:
    """Kept by the head that they are of (ResponseHead.forms), for one Compression."""

    cdef Compression compression
    cdef bint fixed                     # the answer is left as it is
    cdef bint worth                     # its type becomes smaller
    cdef bint lasting                   # a stream of events: there may be many, for long
    cdef ResponseHead plain             # with Vary; None until asked for
    cdef list coded                     # by Coding; None in places until asked for


cdef class Compression:
    cdef readonly Negotiator negotiator
    cdef list codecs                    # by Coding; None where it is not offered
    cdef readonly Py_ssize_t thread_size

    # A coding, AS_IT_IS or NOT_ACCEPTABLE; `size` below 0 is unknown.
    cdef int negotiate(self, Exchange x, Py_ssize_t size, bint worth) except -3
    # The same where NOT_ACCEPTABLE has its consequence: raises NotAcceptable, or is AS_IT_IS.
    cdef int choice(self, Exchange x, int status, Py_ssize_t size, bint worth) except -3
    cdef HeadForms forms_of(self, ResponseHead head)
    cdef ResponseHead plain_head(self, ResponseHead head, HeadForms forms, Py_ssize_t size)
    cdef ResponseHead coded_head(self, ResponseHead head, HeadForms forms, int coding)
    cdef bint in_thread(self, int coding, Py_ssize_t size) noexcept
    # Exchange.respond with what was chosen; the coroutine that does it, when the body is large, otherwise None.
    cdef object respond(self, Exchange x, ResponseHead head, const char* data, Py_ssize_t size, object owner)
    # `coded`, unless it is not smaller than `body` and the client takes that.
    cdef int send(
        self, Exchange x, ResponseHead head, HeadForms forms, int coding, bytes body, bytes coded
    ) except -1
    # Raises NotAcceptable if `send_head` would: where nobody could catch it then.
    cdef int check(self, Exchange x, ResponseHead head) except -1
    # Exchange.send_head with what was chosen; what the body goes through, None when it stays as it is.
    cdef BodyCoder send_head(self, Exchange x, ResponseHead head)


cdef class BodyCoder(Responder):
    """Compresses a streamed body, and flushes it when whoever makes the body waits for something.

    The flush is a callback of the loop: what is given without a pause goes into one block, and what was given before a
    pause leaves in the tick that it came in.
    """

    cdef Exchange x
    cdef object task        # cancelled when the peer has gone; None where somebody else sees to it
    cdef Compression compression
    cdef Compressor machine
    cdef int coding
    cdef bint waiting       # something was taken that was not flushed
    cdef bint scheduled     # the callback will come
    cdef bint busy          # a thread compresses
    cdef bint congested     # send_data said so to the callback; until `on_writable`

    # As Exchange.send_data.
    cdef int write(self, bytes data) except -1
    cdef bint is_large(self, Py_ssize_t size) noexcept
    # The coroutine of a write that compresses in a thread; its value is what `write` returns.
    cdef object write_in_thread(self, bytes data)
    cdef int _expect_flush(self) except -1
    cdef int _pass(self, bytes coded) except -1
    cdef int finish(self) except -1
    # Nothing more comes; idempotent.
    cdef int close(self) except -1
