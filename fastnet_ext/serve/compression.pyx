# cython: freethreading_compatible=True
"""Answers with a content coding; compression.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

import asyncio

from fastnet_ext.compression.codecs import CODINGS
from fastnet_ext.compression.codecs cimport BR, ZSTD
from fastnet_ext.compression.negotiation cimport AS_IT_IS, NOT_ACCEPTABLE
from fastnet_ext.core.headers cimport HEADER_ACCEPT_ENCODING, METHOD_GET, METHOD_HEAD, Field
from fastnet_ext.exchange.errors import NotAcceptable
from fastnet_ext.exchange.exchange cimport LoopLocal, Responder
from fastnet_ext.exchange.head cimport status_has_body

cdef enum:
    PARTIAL_CONTENT = 206
    # From these levels on a coding takes about ten times as long as at its usual ones.
    SLOW_BROTLI = 7
    SLOW_ZSTD = 13
    SLOWNESS = 16

# What tells of the body as it is sent, and would not be true of a coded one: RFC 9530, and what came before it.
cdef frozenset FIXING = frozenset((
    b"content-encoding", b"content-range", b"content-digest", b"repr-digest", b"digest", b"content-md5",
))


@cython.final
cdef class HeadForms:
    """Not made by users."""


@cython.final
cdef class Compression:
    """Compresses the answers of routes.

    ``codecs`` are what may be used, the preferred one first; ``negotiator`` chooses among the same. Bodies of
    ``thread_size`` bytes and more are compressed in the pool of threads, those that take long at their level much
    earlier.
    """

    def __init__(self, Negotiator negotiator not None, codecs, *, Py_ssize_t thread_size):
        cdef Codec codec
        self.negotiator = negotiator
        self.codecs = [None] * CODING_COUNT
        for codec in codecs:
            self.codecs[codec.kind] = codec
        self.thread_size = thread_size

    cdef HeadForms forms_of(self, ResponseHead head):
        cdef HeadForms forms
        cdef bytes name, value, content_type = None
        if head.forms is not None and (<HeadForms>head.forms).compression is self:
            return <HeadForms>head.forms
        forms = HeadForms.__new__(HeadForms)
        forms.compression = self
        forms.coded = [None] * CODING_COUNT
        forms.fixed = not status_has_body(head.status) or head.status == PARTIAL_CONTENT
        for name, value in head.fields:
            if name == b"content-type":
                content_type = value
            elif name in FIXING or (name == b"cache-control" and b"no-transform" in value.lower()):
                forms.fixed = True
        forms.lasting = content_type is not None and content_type.startswith(b"text/event-stream")
        forms.worth = not forms.fixed and self.negotiator.is_worth(content_type)
        head.forms = forms
        return forms

    cdef int negotiate(self, Exchange x, Py_ssize_t size, bint worth) except -3:
        cdef const Field* field = x.head.find(HEADER_ACCEPT_ENCODING)
        cdef bytes joined
        if field is NULL:
            return AS_IT_IS
        if x.head.find_next(HEADER_ACCEPT_ENCODING, field) is NULL:
            return self.negotiator.choice(x.head.at(field.value), field.value.size, size, worth)
        joined = x.head.joined(HEADER_ACCEPT_ENCODING).encode("latin-1")
        return self.negotiator.choice(PyBytes_AS_STRING(joined), PyBytes_GET_SIZE(joined), size, worth)

    cdef int choice(self, Exchange x, int status, Py_ssize_t size, bint worth) except -3:
        cdef int choice = self.negotiate(x, size, worth)
        if choice != NOT_ACCEPTABLE:
            return choice
        # Of what was done, and of errors, the client should hear in any case.
        if 200 <= status < 300 and (x.head.method == METHOD_GET or x.head.method == METHOD_HEAD):
            raise NotAcceptable(self.negotiator.codings)
        return AS_IT_IS

    cdef ResponseHead plain_head(self, ResponseHead head, HeadForms forms, Py_ssize_t size):
        if not forms.worth or 0 <= size < self.negotiator.minimum_size:
            # Whatever they accept, other clients get the same.
            return head
        if forms.plain is None:
            forms.plain = with_vary(head, None)
            forms.plain.content_length = head.content_length
        return forms.plain

    cdef ResponseHead coded_head(self, ResponseHead head, HeadForms forms, int coding):
        cdef object made = forms.coded[coding]
        if made is None:
            made = forms.coded[coding] = with_vary(head, (<str>CODINGS[coding]).encode())
        return <ResponseHead>made

    cdef bint in_thread(self, int coding, Py_ssize_t size) noexcept:
        cdef int level = (<Codec>self.codecs[coding]).level
        cdef Py_ssize_t least = self.thread_size
        if (coding == BR and level >= SLOW_BROTLI) or (coding == ZSTD and level >= SLOW_ZSTD):
            least //= SLOWNESS
        return size >= least

    cdef object respond(self, Exchange x, ResponseHead head, const char* data, Py_ssize_t size, object owner):
        cdef HeadForms forms = self.forms_of(head)
        cdef Py_ssize_t length = size
        cdef bytes body
        cdef int choice
        if x.is_head and head.content_length >= 0:
            length = <Py_ssize_t>head.content_length
        if forms.fixed or length == 0 or (head.content_length >= 0 and head.content_length != length):
            x.respond(head, data, size, owner)
            return None
        choice = self.choice(x, head.status, length, forms.worth)
        if choice == AS_IT_IS:
            x.respond(self.plain_head(head, forms, length), data, size, owner)
            return None
        if x.is_head:
            # Its length would take the work.
            x.send_head(self.coded_head(head, forms, choice), -1)
            x.end(None)
            return None
        body = <bytes>owner if type(owner) is bytes else PyBytes_FromStringAndSize(data, size)
        if self.in_thread(choice, size) and x.connection.local is not None and x.connection.local.executor is not None:
            return respond_from_thread(self, x, head, forms, choice, body)
        self.send(x, head, forms, choice, body, (<Codec>self.codecs[choice]).whole(body))
        return None

    cdef int send(
        self, Exchange x, ResponseHead head, HeadForms forms, int coding, bytes body, bytes coded
    ) except -1:
        if PyBytes_GET_SIZE(coded) >= PyBytes_GET_SIZE(body) and self.negotiate(x, 0, False) == AS_IT_IS:
            head = self.plain_head(head, forms, PyBytes_GET_SIZE(body))
            return x.respond(head, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), body)
        head = self.coded_head(head, forms, coding)
        return x.respond(head, PyBytes_AS_STRING(coded), PyBytes_GET_SIZE(coded), coded)

    cdef int check(self, Exchange x, ResponseHead head) except -1:
        cdef HeadForms forms = self.forms_of(head)
        if not forms.fixed:
            self.choice(x, head.status, -1, forms.worth)
        return 0

    cdef BodyCoder send_head(self, Exchange x, ResponseHead head):
        cdef HeadForms forms = self.forms_of(head)
        cdef BodyCoder coder
        cdef int choice
        if forms.fixed or head.content_length == 0:
            x.send_head(head, head.content_length)
            return None
        choice = self.choice(x, head.status, <Py_ssize_t>head.content_length, forms.worth)
        if choice == AS_IT_IS:
            x.send_head(self.plain_head(head, forms, <Py_ssize_t>head.content_length), head.content_length)
            return None
        x.send_head(self.coded_head(head, forms, choice), -1)
        if x.is_head:
            return None
        coder = BodyCoder.__new__(BodyCoder)
        coder.x = x
        coder.compression = self
        coder.coding = choice
        coder.machine = (<Codec>self.codecs[choice]).stream(forms.lasting)
        return coder


cdef ResponseHead with_vary(ResponseHead head, bytes coding):
    """The head of what depends on Accept-Encoding, and is coded unless ``coding`` is None."""
    cdef list fields = []
    cdef bytes name, value, vary = b""
    cdef ResponseHead made
    for name, value in head.fields:
        if name == b"vary":
            vary = vary + b", " + value if vary else value
            continue
        if coding is not None:
            if name == b"etag" and not value.startswith(b"W/"):
                # The same bytes no longer, but the same meaning: RFC 9110, 8.8.1.
                value = b"W/" + value
            elif name == b"accept-ranges":
                # Ranges are of what is sent, and a coded body is not made twice.
                continue
        fields.append((name, value))
    known = [one.strip() for one in vary.lower().split(b",")]
    if b"*" not in known and b"accept-encoding" not in known:
        vary = vary + b", accept-encoding" if vary else b"accept-encoding"
    fields.append((b"vary", vary))
    if coding is not None:
        fields.append((b"content-encoding", coding))
    made = ResponseHead(head.status, fields)
    made.close = head.close
    return made


async def respond_from_thread(
    Compression compression, Exchange x, ResponseHead head, HeadForms forms, int coding, bytes body,
):
    cdef LoopLocal local = x.connection.local
    # Nobody is told meanwhile that the peer has gone: a thread cannot be stopped, and a peer that has only half closed
    # still gets its answer.
    coded = await asyncio.wrap_future(
        local.executor.submit((<Codec>compression.codecs[coding]).compress, body), loop=local.loop
    )
    if not x.gone and not x.ended:
        compression.send(x, head, forms, coding, body, coded)


# --- streams

@cython.final
cdef class BodyCoder(Responder):
    """Not made by users."""

    cdef int write(self, bytes data) except -1:
        cdef bytes coded = self.machine.piece(data)
        self._expect_flush()
        if coded:
            self._pass(coded)
        return 0 if self.congested else 1

    cdef int _expect_flush(self) except -1:
        self.waiting = True
        if not self.scheduled:
            self.scheduled = True
            self.x.connection.local.loop.call_soon(self)
        return 0

    def __call__(self):
        """The loop's turn: whoever makes the body waits for something."""
        cdef Exchange x = self.x
        cdef bytes coded
        self.scheduled = False
        if x is None or self.busy or not self.waiting or x.gone or x.ended:
            return
        self.waiting = False
        coded = self.machine.flushed()
        if coded:
            self._pass(coded)
            x.flush()

    cdef bint is_large(self, Py_ssize_t size) noexcept:
        return self.compression.in_thread(self.coding, size) and self.x.connection.local.executor is not None

    cdef object write_in_thread(self, bytes data):
        return write_from_thread(self, data)

    cdef int _pass(self, bytes coded) except -1:
        if self.x.send_data(PyBytes_AS_STRING(coded), PyBytes_GET_SIZE(coded), coded) == 0:
            self.congested = True
        return 0

    cdef int finish(self) except -1:
        cdef bytes coded
        if not self.x.gone and not self.x.ended:
            coded = self.machine.last()
            if coded:
                self._pass(coded)
        return 0

    cdef int close(self) except -1:
        self.x = None
        self.machine = None
        self.task = None
        return 0

    # --- where the body is a plain stream: what CancelTask does, and who waits for the peer

    cdef int on_gone(self, Exchange x, int why) except -1:
        if self.task is not None:
            self.task.cancel()
        return 0

    cdef int on_writable(self, Exchange x) except -1:
        self.congested = False
        return 0


async def write_from_thread(BodyCoder coder, bytes data):
    cdef LoopLocal local = coder.x.connection.local
    # Cancelled, it stays so: the thread may be at it still.
    coder.busy = True
    coded = await asyncio.wrap_future(local.executor.submit(coder.machine.compress, data), loop=local.loop)
    coder.busy = False
    if coder.x is None or coder.x.gone:
        return 1
    coder._expect_flush()
    if coded:
        coder._pass(coded)
    return 0 if coder.congested else 1
