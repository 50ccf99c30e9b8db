# cython: freethreading_compatible=True
"""The context of a gRPC call, with the surface of grpcio's; grpc_context.pxd is the map.

grpcio's own classes (StatusCode, AbortError) are imported when a handler first needs them: the
engine runs without it.
"""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

import asyncio
import importlib
import logging

from fastnet_ext.exchange.exchange cimport GONE_NOT, Exchange, Observer
from fastnet_ext.exchange.limits cimport CUT_CALL, LIMIT_MESSAGE
from fastnet_ext.exchange.request cimport Call
from fastnet_ext.serve.grpc_requests cimport RequestStream
from fastnet_ext.serve.grpc_values import EXTRA, auth_context, identity_key, peer_of
from fastnet_ext.serve.grpc_wire cimport (
    CODE_CANCELLED, CODE_DEADLINE_EXCEEDED, CODE_INTERNAL, CODE_OK, CODE_RESOURCE_EXHAUSTED, COMPRESSION_NONE, MAX_CODE,
    Compression, decode_metadata, encode_metadata, names_coding,
)
from fastnet_ext.serve.websocket_driver cimport as_exception


cdef extern from "Python.h":
    void PyErr_SetObject(object kind, object value)


__all__ = ["ServicerContext"]

cdef enum:
    # What a handler may read and write without waiting once, before others get a turn: messages, and bytes, of which
    # each message counts for MESSAGE_COST more.
    READ_BURST = 256
    WRITE_BURST = 64 * 1024
    MESSAGE_COST = 256

cdef object log = logging.getLogger("fastnet.error")


cdef object grpcio():
    """grpcio's package for asyncio; ImportError names the extra."""
    try:
        return importlib.import_module("grpc.aio")
    except ImportError as error:
        raise ImportError(EXTRA) from error


cdef int code_number(object code) except -1:
    """The number of a status: of grpc.StatusCode, or the number itself."""
    cdef object value = code if isinstance(code, int) else getattr(code, "value", None)
    if isinstance(value, tuple) and value:
        value = value[0]
    if not isinstance(value, int) or not 0 <= value <= MAX_CODE:
        raise ValueError(f"{code!r} is no status: it must be a grpc.StatusCode")
    return value


@cython.final
cdef class ServicerContext(Call):
    """The context of one gRPC call: its metadata, deadline and peer, and the status it will end with.

    It has the methods of ``grpc.aio.ServicerContext`` and, as every ``Call``, ``headers``, ``client``,
    ``tls``, ``deadline``, ``state``, ``id`` and ``app``. ``peer`` is an address, and called, gRPC's
    text for it.
    """

    # --- what came

    def invocation_metadata(self):
        """The caller's metadata: a tuple of ``(key, value)`` with these names; bytes for "-bin" keys."""
        if self.metadata is None:
            self.metadata = decode_metadata(self.head)
        return self.metadata

    @property
    def peer(self):
        """The caller's address, a ``Peer``; ``peer()`` is a text such as "ipv4:192.0.2.1:5000"."""
        if self.peer_value is None:
            self.peer_value = peer_of(self.client or self.connection.peer_name(), self.connection.extra("sockname"))
        return self.peer_value

    def auth_context(self):
        """What TLS says of the caller, as grpcio has it; empty on a plain connection."""
        if self.auth is None:
            secure = self.connection.secure
            self.auth = auth_context(secure, self.connection.extra("peercert") if secure else None)
        return self.auth

    def peer_identity_key(self):
        """The entry of ``auth_context()`` that names the caller; None when none does."""
        return identity_key(self.auth_context())

    def peer_identities(self):
        """The caller's names by its certificate, as bytes; None when it showed none."""
        key = self.peer_identity_key()
        return None if key is None else self.auth_context()[key]

    # --- the status

    def set_code(self, code):
        """End with this status, a ``grpc.StatusCode`` or its number, once the handler is done.

        With any but OK the handler's message is not sent. ``ValueError`` when it is no status.
        """
        self.status_code = code_number(code)

    def code(self):
        """The status that the call will end with, as far as the handler said; a ``grpc.StatusCode``."""
        grpcio()
        for member in importlib.import_module("grpc").StatusCode:
            if member.value[0] == self.status_code:
                return member

    def set_details(self, str details not None):
        """End with this text beside the status."""
        self.status_details = details

    def details(self):
        """The text beside the status, as far as the handler said; empty otherwise."""
        return self.status_details or ""

    def set_trailing_metadata(self, trailing_metadata):
        """End with this metadata, which replaces what was set before: an iterable of ``(key, value)``.

        ``TypeError`` or ``ValueError`` says what cannot be sent.
        """
        pairs = trailing_metadata.items() if isinstance(trailing_metadata, dict) else trailing_metadata
        given = tuple(pairs or ())
        self.trailing_fields = encode_metadata(given) or None
        self.trailing = given

    def trailing_metadata(self):
        """The metadata that was set by ``set_trailing_metadata``."""
        return self.trailing or ()

    async def abort(self, code, str details="", trailing_metadata=()):
        """End the call at once with a status other than OK; raises ``grpc.aio.AbortError``, always.

        Details and metadata set before count when none are given here. A second call raises
        ``grpc.aio.UsageError``.
        """
        error = self.begin_abort(code, details, trailing_metadata)
        self.end_as_said()
        raise error

    async def abort_with_status(self, status):
        """``abort`` with code, details and trailing metadata of a ``grpc.Status``."""
        await self.abort(status.code, status.details, status.trailing_metadata)

    cdef object begin_abort(self, object code, str details, object trailing_metadata):
        """Take note of an abort; returns what is to be raised."""
        cdef int number = code_number(code)
        aio = grpcio()
        if self.aborted:
            raise aio.UsageError("abort was called before")
        if number == CODE_OK:
            raise ValueError("abort takes a status other than OK")
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)
        if details:
            self.status_details = details
        self.status_code = number
        self.aborted = True
        return self.over_error()

    # --- the answer

    async def send_initial_metadata(self, initial_metadata):
        """Send the answer's head now, with this metadata: an iterable of ``(key, value)``.

        ``grpc.aio.UsageError`` when it was sent before; ``TypeError`` or ``ValueError`` says what
        cannot be sent.
        """
        self.begin_answer(encode_metadata(initial_metadata))

    def set_compression(self, compression):
        """Compress the answer with a ``grpc.Compression``; nothing happens when the caller does not take it.

        ``grpc.aio.UsageError`` once the initial metadata was sent, ``ValueError`` when it is none.
        """
        cdef Compression chosen
        value = getattr(compression, "value", compression)
        if value not in (0, 1, 2):
            raise ValueError(f"{compression!r} is no grpc.Compression")
        if self.begun or self.x.status:
            raise grpcio().UsageError("the compression is chosen before the initial metadata is sent")
        chosen = <Compression><int>value
        self.compression = chosen if names_coding(self.encoder.accepted(self.head) or "", chosen) else COMPRESSION_NONE

    def disable_next_message_compression(self):
        """Send the next message as it is."""
        self.plain_next = True

    # --- streams

    async def read(self):
        """The next message of the request, ``grpc.aio.EOF`` behind the last one.

        ``grpc.aio.UsageError`` in calls whose request is one message: the handler has it.
        """
        if self.requests is None:
            raise grpcio().UsageError("the request is one message, which the handler was called with")
        return await new_receive(self, False)

    async def write(self, message):
        """Send a message of the answer; waits while the peer is slow.

        ``grpc.aio.UsageError`` in calls that are answered by the one message which the handler returns.
        ``asyncio.CancelledError`` when the call is over.
        """
        if not self.writes:
            raise grpcio().UsageError("the answer is one message, which the handler returns")
        self.check_open()
        if not self.push(self.encode(message)):
            await self.settle()

    async def settle(self):
        """Wait until the peer takes more, or let others have their turn."""
        self.burst = 0
        if not self.congested:
            await asyncio.sleep(0)
        while self.congested and not self.over():
            if self.writers is None:
                self.writers = []
            future = self.connection.local.loop.create_future()
            self.writers.append(future)
            await future

    cdef bytes next_request(self):
        cdef RequestStream requests = self.requests
        cdef bytes message
        self.check_open()
        message = requests.take(self.x)
        if requests.code:
            self.refuse_requests()
            raise self.over_error()
        return message

    cdef object parse(self, bytes data):
        if self.deserialize is None:
            return data
        try:
            return self.deserialize(data)
        except Exception:
            # The caller's mistake: no traceback of ours for it.
            self.end_call(CODE_INTERNAL, "a request message cannot be parsed")
            self.break_off()
        raise self.over_error()

    cdef bytes encode(self, object message):
        cdef object data = message if self.serialize is None else self.serialize(message)
        if type(data) is not bytes:
            raise TypeError(f"a serialised message is bytes, not {type(data).__name__}")
        return <bytes>data

    cdef int push(self, bytes message) except -1:
        cdef Exchange x = self.x
        cdef Compression compression = COMPRESSION_NONE if self.plain_next else self.compression
        self.plain_next = False
        if not x.status:
            self.send_head(None)
        self.burst += PyBytes_GET_SIZE(message) + MESSAGE_COST
        if self.encoder.send_message(x, message, compression) == 0:
            self.congested = True
        return 0 if self.congested or self.burst > WRITE_BURST else 1

    cdef int writable(self) except -1:
        self.congested = False
        writers, self.writers = self.writers, None
        if writers is not None:
            for future in writers:
                if not future.done():
                    future.set_result(None)
        return 0

    cdef int _release_streams(self) except -1:
        """The call is over: whoever reads or writes looks again."""
        if self.requests is not None:
            self.requests.close()
        return self.writable()

    cdef object over_error(self):
        """What a handler gets that goes on when its call is over."""
        if self.aborted:
            # A new one each time: kept here, its traceback would lead back to this context.
            return grpcio().AbortError("the handler aborted the call")
        return asyncio.CancelledError("the call is over")

    cdef int check_open(self) except -1:
        if self.over():
            raise self.over_error()
        return 0

    # --- the call's life

    def cancel(self):
        """End the call with CANCELLED, and cancel its handler."""
        if not self.over():
            self.was_cancelled = True
            self.end_call(CODE_CANCELLED, "the server cancelled the call")
            self.break_off()

    def cancelled(self):
        """Whether the call was cancelled: the caller left, or ``cancel`` was called."""
        return self.was_cancelled or self.x.gone != GONE_NOT

    def done(self):
        """Whether the call is over: answered, cancelled or aborted."""
        return self.over()

    def add_done_callback(self, callback):
        """Call ``callback(context)`` when the call is over; at once when it is already."""
        if self.x.finished:
            callback(self)
        else:
            self.x.observers = (self.x.observers or ()) + (DoneCallbacks(self, callback),)

    cdef bint over(self) noexcept:
        return self.x.ended or self.x.gone != GONE_NOT

    cdef int arm(self, int64_t microseconds) except -1:
        cdef object loop = self.connection.local.loop
        cdef double delay = <double>microseconds / 1e6
        self._deadline = loop.time() + delay
        self.timer = loop.call_later(delay, self._expire)
        return 0

    cdef int disarm(self) except -1:
        if self.timer is not None:
            timer, self.timer = self.timer, None
            timer.cancel()
        return 0

    def _expire(self):
        """The deadline is there."""
        self.timer = None
        if not self.over():
            self.end_call(CODE_DEADLINE_EXCEEDED, "the deadline of the call has passed")
            self.break_off()

    cdef int refuse_requests(self) except -1:
        cdef RequestStream requests = self.requests
        if requests.code == CODE_RESOURCE_EXHAUSTED:
            self.connection.over_limit(LIMIT_MESSAGE, <double>requests.reader.limit, CUT_CALL)
        self.end_call(requests.code, requests.details)
        return self.break_off()

    cdef int break_off(self) except -1:
        self.broken_off = True
        self._release_streams()
        # A cancelled Task keeps its exception, which keeps the handler's frame and so this context.
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
        return 0

    # --- sending

    cdef int begin_answer(self, list metadata) except -1:
        if self.begun or self.x.status:
            raise grpcio().UsageError("the initial metadata was sent before")
        self.begun = True
        return self.send_head(metadata)

    cdef int send_head(self, list metadata) except -1:
        return self.encoder.send_head(self.x, metadata, self.compression)

    cdef int end_call(self, int code, str details) except -1:
        cdef Exchange x = self.x
        cdef list trailing = self.trailing_fields
        self.disarm()
        if self.over():
            return 0
        if not x.status:
            self.encoder.send_head(x, None, COMPRESSION_NONE)
        self.encoder.send_end(x, code, details, trailing)
        return self._release_streams()

    cdef int end_as_said(self) except -1:
        cdef str details = self.status_details
        return self.end_call(self.status_code, details)

    cdef int answer(self, bytes message) except -1:
        cdef Exchange x = self.x
        cdef Compression compression = COMPRESSION_NONE if self.plain_next else self.compression
        cdef str details = self.status_details
        cdef list trailing = self.trailing_fields
        self.disarm()
        if self.over():
            return 0
        if not x.status:
            self.encoder.send_head(x, None, self.compression)
        self.encoder.send_message(x, message, compression)
        self.encoder.send_end(x, self.status_code, details, trailing)
        return 0 if self.requests is None else self._release_streams()


@cython.final
cdef class DoneCallbacks(Observer):
    """Tells who asked that a call is over."""

    def __init__(self, ServicerContext context, callback):
        self.context = context
        self.callback = callback

    cdef int on_done(self, Exchange x) except -1:
        # The exchange keeps its observers: without this the context would keep the exchange, and it the context.
        context, self.context = self.context, None
        if context is not None:
            try:
                self.callback(context)
            except Exception:
                log.exception("a done callback failed: %r", self.callback)
        return 0


# --- reading

@cython.final
cdef class Requests:
    """``async for message in requests``; may be mixed with ``context.read()``."""

    def __aiter__(self):
        return self

    def __anext__(self):
        return new_receive(self.context, True)


cdef Requests new_requests(ServicerContext context):
    cdef Requests requests = Requests.__new__(Requests)
    requests.context = context
    return requests


cdef Receive new_receive(ServicerContext context, bint iterating):
    cdef Receive receive = Receive.__new__(Receive)
    receive.context = context
    receive.iterating = iterating
    return receive


@cython.final
@cython.freelist(16)
cdef class Receive:
    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef ServicerContext context = self.context
        cdef RequestStream requests = context.requests
        cdef bytes data
        cdef object message
        if self.waiting:
            self.waiting = requests.receiving = False
        elif requests.receiving:
            raise grpcio().UsageError("another task is reading from this call: one at a time")
        elif requests.burst >= READ_BURST:
            # Others get a turn.
            requests.burst = 0
            return None
        data = context.next_request()
        if data is not None:
            message = context.parse(data)
            if isinstance(message, (tuple, BaseException)):
                raise StopIteration(message)
            # A bare raise in __next__ only returns NULL: with what is set here, no instance and no
            # traceback are made. Right for a value that is neither a tuple nor an exception.
            PyErr_SetObject(StopIteration, message)
            raise StopIteration
        if requests.over:
            if self.iterating:
                raise StopAsyncIteration
            raise StopIteration(grpcio().EOF)
        self.waiting = requests.receiving = True
        return requests.wait(context.x)

    def send(self, value):
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        self.close()
        raise as_exception(kind, value)

    def close(self):
        if self.waiting:
            self.waiting = self.context.requests.receiving = False
            self.context.requests.waiter.abandon()
