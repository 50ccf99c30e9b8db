# cython: freethreading_compatible=True
"""Runs ASGI applications; asgi.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

import asyncio
import logging
import os.path

from fastnet_ext.core.headers cimport HEADER_TE
from fastnet_ext.exchange.errors import ClientDisconnect, NotAcceptable
from fastnet_ext.exchange.exchange cimport BODY_LATE, Exchange, LoopLocal
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.exchange.request cimport Request
from fastnet_ext.serve.asgi_messages cimport body_of, head_of, pairs
from fastnet_ext.serve.asgi_scope cimport HTTP_EXTENSIONS, AsgiApplication, http_scope
from fastnet_ext.serve.asgi_websocket cimport start_websocket
from fastnet_ext.serve.compression cimport Compression
from fastnet_ext.serve.http cimport HttpEndpoint
from fastnet_ext.serve.runner cimport AsyncEndpoint, Runner, RunnerPool
from fastnet_ext.serve.websocket cimport WebSocketEndpoint
from fastnet_ext.serve.websocket_driver cimport as_exception, ready


cdef extern from "Python.h":
    void PyErr_SetObject(object kind, object value)
    bint PyCoro_CheckExact(object value) noexcept


cdef enum:
    # Bytes that an answer may send before the loop gets a turn.
    BURST = 64 * 1024
    # Bytes of a file that are read at once.
    FILE_PIECE = 256 * 1024
    # INTERNAL_ERROR of RFC 9113, 7: given to a carrier to abort an answer that failed midway.
    INTERNAL_ERROR = 2

cdef object log = logging.getLogger("fastnet.error")


cdef class AsgiEndpoint(AsyncEndpoint):
    """Answers the requests and WebSockets of a mount by running an ASGI application.

    ``refusals`` renders errors. ``wrapped`` answers requests in its place: the application behind middleware;
    None without. ``sockets`` says what hand-shakes and messages there may be.
    """

    def __init__(
        self, AsgiApplication of not None, *, HttpEndpoint refusals not None, WebSocketEndpoint sockets not None,
        HttpEndpoint wrapped=None,
    ):
        self.body_mode = BODY_LATE
        self.takes_refusals = True
        self.of = of
        self.refusals = refusals
        self.sockets = sockets
        self.wrapped = wrapped

    cdef int start(self, Exchange x) except -1:
        if x.wants_websocket and x.refusal is None:
            return start_websocket(self.of, self.sockets, x)
        if self.wrapped is not None:
            return self.wrapped.start(x)
        if x.refusal is not None:
            return self.settle(x, x.refusal)
        if x.pipelined:
            # Started at once, their answers leave in one write.
            return self.start_now(x)
        return (<RunnerPool>x.connection.local.runners).start_together(self, x)

    cdef int start_now(self, Exchange x) except -1:
        cdef AsgiHttp call
        cdef Runner runner
        cdef object coroutine
        try:
            call = AsgiHttp.__new__(AsgiHttp)
            call.x = x
            coroutine = coroutine_of(self.of.application(http_scope(self.of, x), call.receive, call.send))
        except Exception as error:
            return self.settle(x, error)
        runner = (<RunnerPool>x.connection.local.runners).run(self, x, coroutine)
        if not x.finished:
            x.task = runner.task
        return 0

    cdef int settle(self, Exchange x, object error) except -1:
        """Answer with an error in place of the application."""
        cdef object following = self.refusals.on_exception(x, error)
        if following is not None:
            (<RunnerPool>x.connection.local.runners).run(self.refusals, x, following)
        return 0

    cdef object on_result(self, Exchange x, object value):
        if value is not None:
            log.error("the ASGI application of %r returned %r: it returns None, and answers by send()", x.route, value)
        if not x.ended and not x.gone:
            if not x.status:
                return self.on_exception(x, RuntimeError("the ASGI application returned without an answer"))
            log.error("the ASGI application of %r returned before its answer was complete", x.route)
            x.abort(INTERNAL_ERROR)
        x.finish()
        return None

    cdef object on_exception(self, Exchange x, object error):
        cdef object following = self.refusals.on_exception(x, error)
        return None if following is None else rendered(self.refusals, x, following)

    def behind(self, HttpEndpoint wrapped not None):
        """The same with ``wrapped`` for requests: this application behind middleware."""
        return AsgiEndpoint(self.of, refusals=self.refusals, sockets=self.sockets, wrapped=wrapped)


async def rendered(HttpEndpoint refusals, Exchange x, rendering):
    """An error that takes a coroutine to be rendered: its value is the answer, and none of the application's."""
    cdef object following = refusals.on_result(x, await rendering)
    if following is not None:
        await following


cdef object coroutine_of(object returned):
    """What an application's call returned, as a coroutine."""
    if PyCoro_CheckExact(returned) or hasattr(type(returned), "send"):
        return returned
    if hasattr(type(returned), "__await__"):
        return awaited(returned)
    raise TypeError(
        f"an ASGI application is called with (scope, receive, send) and returns an awaitable, "
        f"not {type(returned).__name__}"
    )


async def awaited(awaitable):
    return await awaitable


# --- one request

@cython.final
cdef class AsgiHttp(Responder):
    """The ``receive`` and ``send`` of one request."""

    @cython.binding(False)
    def receive(self):
        """``await receive()``: the next message of the request. It is taken when it is awaited, not before."""
        cdef Receiving wait = Receiving.__new__(Receiving)
        wait.call = self
        return wait

    @cython.binding(False)
    def send(self, message):
        """Take a message of the answer; awaiting what is returned waits for a slow peer.

        Raises ``RuntimeError`` for a message that is unknown, or not what the answer's stage allows,
        ``TypeError`` and ``ValueError`` for what it may not contain. When the peer is gone, or has been refused in the
        application's place, nothing is done.
        """
        cdef dict fields = message if type(message) is dict else dict(message)
        cdef object kind = fields.get("type")
        cdef Exchange x = self.x
        if x.gone or self.refused:
            # Whoever sends for ever without looking must not stop the loop.
            return self.turn()
        if kind == "http.response.body":
            return self.body(fields)
        if kind == "http.response.start":
            self.start(fields)
        elif kind == "http.response.early_hint":
            self.early_hint(fields)
        elif kind == "http.response.pathsend":
            return self.path(fields)
        elif kind == "http.response.trailers":
            return self.add_trailers(fields)
        else:
            raise RuntimeError(f"{kind!r} is no message that an HTTP application sends")
        return ready()

    # --- what the carrier tells

    cdef int on_gone(self, Exchange x, int why) except -1:
        self.congested = False
        self.wake_receivers()
        return self.wake_senders()

    cdef int on_writable(self, Exchange x) except -1:
        self.congested = False
        if self.coder is not None:
            self.coder.congested = False
        return self.wake_senders()

    # --- receiving

    cdef dict next_message(self):
        cdef Exchange x = self.x
        cdef bytes chunk
        cdef bint complete
        if self.stage == STAGE_OVER or x.gone or x.ended:
            return {"type": "http.disconnect"}
        if self.request_over:
            return {"type": "http.disconnect"} if x.half_closed else None
        if x.body_error is not None:
            return self.refuse(x.body_error)
        # Asked before the take: what comes later is told to the waiter.
        complete = x.body_complete
        chunk = x.take_chunk()
        if not chunk and not complete:
            return None
        self.request_over = complete
        return {"type": "http.request", "body": chunk, "more_body": not complete}

    cdef dict refuse(self, object error):
        """Answer in place of the application, which sees its client leave."""
        cdef Exchange x = self.x
        cdef HttpEndpoint refusals = (<AsgiEndpoint>x.route.endpoint).refusals
        if not isinstance(error, ClientDisconnect):
            self.stage = STAGE_OVER
            self.refused = True
            following = refusals.on_exception(x, error)
            if following is not None:
                (<RunnerPool>x.connection.local.runners).run(refusals, x, following)
        return {"type": "http.disconnect"}

    cdef object wait_to_receive(self):
        cdef Exchange x = self.x
        cdef object future = x.connection.local.loop.create_future()
        if self.receivers is None:
            self.receivers = []
        self.receivers.append(future)
        if self.request_over:
            # Behind middleware a streamed answer has a responder of its own, whose end tells us: `answered`.
            if x.responder is None:
                x.responder = self
        else:
            x.want_body()
            x.body_waiter = self
        return future

    cdef int leave_receive(self, object future) except -1:
        if self.receivers is not None and future in self.receivers:
            self.receivers.remove(future)
            if not self.receivers:
                self.receivers = None
                if self.x.body_waiter is self:
                    self.x.body_waiter = None
                if self.x.responder is self and not self.streams:
                    self.x.responder = None
        return 0

    cdef int wake_receivers(self) except -1:
        receivers, self.receivers = self.receivers, None
        return wake(receivers)

    # As `Exchange.body_waiter`, which asks and tells as if we were a future: all receivers look again.

    def done(self):
        return False

    def set_result(self, result):
        self.wake_receivers()

    def answered(self):
        """The answer goes elsewhere and is complete, or nobody takes the rest: ``receive`` says so from now on."""
        self.complete()

    # --- sending

    cdef int start(self, dict message) except -1:
        if self.stage != STAGE_WAITS:
            raise misplaced("http.response.start", self.stage)
        self.head = head_of(message, "http.response.start")
        self.trailers = bool(message.get("trailers"))
        self.stage = STAGE_HELD
        return 0

    cdef object body(self, dict message):
        cdef bytes data
        if self.stage != STAGE_HELD and self.stage != STAGE_BODY:
            raise misplaced("http.response.body", self.stage)
        data = body_of(message, "http.response.body")
        return self.piece(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), data, bool(message.get("more_body")))

    cdef object piece(self, const char* data, Py_ssize_t size, bytes owner, bint more):
        """A piece of the body, the last one unless there is more."""
        cdef Exchange x = self.x
        cdef ResponseHead head = self.head
        cdef object following = None
        if self.stage == STAGE_HELD:
            try:
                # Of what HEAD does not get, an empty body says nothing: only GET's would have a length.
                if not more and not self.trailers and not (x.is_head and size == 0 and head.content_length < 0):
                    following = self.respond(head, data, size, owner)
                    if following is not None:
                        self.stage = STAGE_LAST
                        return respond_later(self, following)
                    self.complete()
                    return ready()
                self.send_head(head)
            except NotAcceptable as error:
                self.refuse(error)
                self.complete()
                return ready()
            self.head = None
            self.stage = STAGE_BODY
            self.streams = True
            x.responder = self
        if size and not x.is_head:
            self.burst += size
            if self.coder is None:
                self.congested = x.send_data(data, size, owner) == 0
            elif self.coder.busy:
                raise RuntimeError("unexpected ASGI message 'http.response.body': the one before is still awaited")
            elif self.coder.is_large(size):
                return write_large(self, owner, more)
            else:
                self.congested = self.coder.write(owner) == 0
        return self.written(more)

    cdef object respond(self, ResponseHead head, const char* data, Py_ssize_t size, bytes owner):
        cdef Compression compression = (<AsgiEndpoint>self.x.route.endpoint).compression
        if compression is not None:
            return compression.respond(self.x, head, data, size, owner)
        self.x.respond(head, data, size, owner)
        return None

    cdef int send_head(self, ResponseHead head) except -1:
        cdef Compression compression = (<AsgiEndpoint>self.x.route.endpoint).compression
        if compression is None:
            return self.x.send_head(head, head.content_length)
        self.coder = compression.send_head(self.x, head)
        return 0

    cdef object written(self, bint more):
        """What ``send`` returns once a piece is with the carrier."""
        cdef Exchange x = self.x
        if not more:
            if self.coder is not None:
                self.coder.finish()
            if self.trailers:
                self.stage = STAGE_TRAILERS
            else:
                x.end(None)
                self.complete()
                return ready()
        if self.congested:
            return self.wait_to_send()
        return self.turn() if self.burst > BURST else ready()

    cdef int complete(self) except -1:
        self.stage = STAGE_OVER
        self.head = None
        if self.coder is not None:
            self.coder.close()
            self.coder = None
        return self.wake_receivers()

    cdef int early_hint(self, dict message) except -1:
        cdef list fields = []
        if self.stage > STAGE_BODY:
            raise misplaced("http.response.early_hint", self.stage)
        for link in message.get("links", ()):
            if not isinstance(link, bytes):
                raise TypeError(f"http.response.early_hint: links are bytes, not {type(link).__name__}")
            fields.append((b"link", link))
        if fields and self.stage != STAGE_BODY:
            self.x.send_info(ResponseHead(103, fields))
        return 0

    cdef object add_trailers(self, dict message):
        cdef Exchange x = self.x
        cdef list fields
        if self.stage != STAGE_TRAILERS:
            raise misplaced("http.response.trailers", self.stage)
        # A head, since it says what a field may be.
        fields = ResponseHead(200, pairs(message, "http.response.trailers")).fields
        self.trailer_fields = fields if self.trailer_fields is None else self.trailer_fields + fields
        if message.get("more_trailers"):
            return ready()
        # RFC 9110, 6.5.1: who does not say that it takes them gets none.
        accepts = "trailers" in (x.head.joined(HEADER_TE) or "").lower()
        x.end(self.trailer_fields if accepts else None)
        self.complete()
        return ready()

    cdef object path(self, dict message):
        """A file as the body: checked now, sent when it is awaited."""
        if self.stage != STAGE_HELD or self.trailers:
            raise misplaced("http.response.pathsend", self.stage)
        path = message.get("path")
        if not isinstance(path, str) or not os.path.isabs(path):
            raise ValueError(f"http.response.pathsend: path is an absolute path, not {path!r}")
        return send_file(self, path)

    cdef object wait_to_send(self):
        cdef Sending wait = Sending.__new__(Sending)
        wait.call = self
        return wait

    cdef object turn(self):
        cdef Sending wait = Sending.__new__(Sending)
        wait.call = self
        wait.yields = True
        return wait

    cdef int wake_senders(self) except -1:
        senders, self.senders = self.senders, None
        return wake(senders)


cdef int wake(list futures) except -1:
    if futures is not None:
        for future in futures:
            if not future.done():
                future.set_result(None)
    return 0


cdef object misplaced(str kind, Stage stage):
    """The exception for a message that the answer's stage does not allow."""
    cdef str why
    if stage == STAGE_WAITS:
        why = "http.response.start comes first"
    elif stage == STAGE_OVER or stage == STAGE_LAST:
        why = "the answer is complete"
    elif stage == STAGE_TRAILERS:
        why = "the body is complete, and http.response.trailers were announced"
    elif kind == "http.response.trailers":
        why = "they follow the body, and are announced by trailers=True in http.response.start"
    elif kind == "http.response.pathsend":
        why = "it is the whole body, and follows http.response.start"
    else:
        why = "the answer has begun already"
    return RuntimeError(f"unexpected ASGI message {kind!r}: {why}")


async def respond_later(AsgiHttp call, following):
    """The body is compressed in a thread."""
    await following
    call.complete()


async def write_large(AsgiHttp call, bytes piece, bint more):
    """The same of a piece."""
    call.congested = await call.coder.write_in_thread(piece) == 0
    if not call.x.gone:
        await call.written(more)


async def send_file(AsgiHttp call, str path):
    """The body is the content of a file, read in the pool of threads."""
    cdef Exchange x = call.x
    cdef LoopLocal local = x.connection.local
    cdef bytes piece
    file = await asyncio.wrap_future(local.executor.submit(open, path, "rb", 0), loop=local.loop)
    try:
        following = await asyncio.wrap_future(local.executor.submit(file.read, FILE_PIECE), loop=local.loop)
        while not x.gone:
            piece = following
            following = b""
            if len(piece) == FILE_PIECE and not x.is_head:
                following = await asyncio.wrap_future(local.executor.submit(file.read, FILE_PIECE), loop=local.loop)
            if x.gone:
                break
            await call.piece(PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece), piece, bool(following))
            if not following:
                break
    finally:
        file.close()


# --- what an application waits on

@cython.final
@cython.freelist(16)
cdef class Receiving:
    """The wait for the next message."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef AsgiHttp call = self.call
        cdef dict message = call.next_message()
        if message is not None:
            # A bare raise in __next__ only returns NULL: with what is set here, no instance and no
            # traceback are made. Right for a value that is neither a tuple nor an exception.
            PyErr_SetObject(StopIteration, message)
            raise StopIteration
        self.future = call.wait_to_receive()
        self.future._asyncio_future_blocking = True
        return self.future

    def send(self, value):
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        self.call.leave_receive(self.future)
        raise as_exception(kind, value)

    def close(self):
        self.call.leave_receive(self.future)


@cython.final
cdef class Sending:
    """The wait until the peer takes data again, or for one turn of the loop."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef AsgiHttp call = self.call
        if self.yields:
            self.yields = False
            call.burst = 0
            return None
        if not call.congested or call.x.gone:
            call.burst = 0
            raise StopIteration
        if call.senders is None:
            call.senders = []
        self.future = call.x.connection.local.loop.create_future()
        call.senders.append(self.future)
        self.future._asyncio_future_blocking = True
        return self.future

    def send(self, value):
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        raise as_exception(kind, value)

    def close(self):
        pass


# --- behind middleware

def request_side(AsgiApplication of not None, Request request not None, close):
    """The scope of a request whose answer goes elsewhere, through middleware, and who receives for it.

    ``close(error)`` returns the coroutine that runs once the request is answered, whatever became of the
    application's answer. The extensions by which an application answers in other ways than by head and body are
    not offered.
    """
    cdef AsgiHttp call = AsgiHttp.__new__(AsgiHttp)
    cdef dict scope = http_scope(of, request.x)
    call.x = request.x
    request.x.cleanups = close
    scope["extensions"] = {name: value for name, value in scope["extensions"].items() if name not in HTTP_EXTENSIONS}
    return scope, call
