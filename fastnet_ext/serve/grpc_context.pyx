# cython: freethreading_compatible=True
"""The context of a gRPC call, with the surface of grpcio's; grpc_context.pxd is the map.

grpcio's own classes (StatusCode, AbortError) are imported when a handler first needs them: the
engine runs without it.
"""

cimport cython
from libc.stdint cimport int64_t

import asyncio
import concurrent.futures
import importlib
import logging

from fastnet_ext.core.headers cimport HEADER_GRPC_ACCEPT_ENCODING
from fastnet_ext.exchange.exchange cimport GONE_NOT, Exchange, Observer
from fastnet_ext.exchange.request cimport Call
from fastnet_ext.serve.grpc_values import EXTRA, auth_context, identity_key, peer_of
from fastnet_ext.serve.grpc_wire cimport (
    CODE_CANCELLED, CODE_DEADLINE_EXCEEDED, CODE_OK, COMPRESSION_NONE, MAX_CODE, Compression, decode_metadata,
    encode_metadata,
)

__all__ = ["ServicerContext", "SyncServicerContext"]

cdef object log = logging.getLogger("fastnet.error")

# The codings of grpc-accept-encoding in the numbers of grpc.Compression.
cdef tuple CODINGS = ("identity", "deflate", "gzip")


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
        if self.abort_error is not None:
            raise aio.UsageError("abort was called before")
        if number == CODE_OK:
            raise ValueError("abort takes a status other than OK")
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)
        if details:
            self.status_details = details
        self.status_code = number
        self.abort_error = aio.AbortError("the handler aborted the call")
        return self.abort_error

    # --- the answer

    async def send_initial_metadata(self, initial_metadata):
        """Send the answer's head now, with this metadata: an iterable of ``(key, value)``.

        ``grpc.aio.UsageError`` when it was sent before; ``TypeError`` or ``ValueError`` says what
        cannot be sent.
        """
        if self.x.status:
            raise grpcio().UsageError("the initial metadata was sent before")
        self.send_head(encode_metadata(initial_metadata))

    def set_compression(self, compression):
        """Compress the answer with a ``grpc.Compression``; nothing happens when the caller does not take it.

        ``grpc.aio.UsageError`` once the initial metadata was sent, ``ValueError`` when it is none.
        """
        value = getattr(compression, "value", compression)
        if value not in (0, 1, 2):
            raise ValueError(f"{compression!r} is no grpc.Compression")
        if self.x.status:
            raise grpcio().UsageError("the compression is chosen before the initial metadata is sent")
        accepted = self.head.joined(HEADER_GRPC_ACCEPT_ENCODING) or ""
        if CODINGS[value] in [name.strip() for name in accepted.split(",")]:
            self.compression = <Compression><int>value
        else:
            self.compression = COMPRESSION_NONE

    def disable_next_message_compression(self):
        """Send the next message as it is."""
        self.plain_next = True

    async def read(self):
        """Calls that stream take their messages so; a unary call has its one as the argument."""
        raise grpcio().UsageError("a unary call has no messages to read but its argument")

    async def write(self, message):
        """Calls that stream send their messages so; a unary handler returns its one."""
        raise grpcio().UsageError("a unary call answers by what its handler returns")

    # --- the call's life

    def cancel(self):
        """End the call with CANCELLED, and cancel its handler."""
        if not self.over():
            self.was_cancelled = True
            self.end_call(CODE_CANCELLED, "the server cancelled the call")
            self.cancel_task()

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
            self.cancel_task()

    cdef int cancel_task(self) except -1:
        # A cancelled Task keeps its exception, which keeps the handler's frame and so this context.
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
        return 0

    # --- sending

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
        return self.encoder.send_end(x, code, details, trailing)

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
        return self.encoder.send_end(x, self.status_code, details, trailing)


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


@cython.final
cdef class SyncServicerContext:
    """The context of a ``def`` handler: what ``ServicerContext`` has, without ``await``.

    Its methods may be called from the handler's thread.
    """

    def __init__(self, ServicerContext context not None):
        self.context = context

    def __getattr__(self, name):
        return getattr(self.context, name)

    def send_initial_metadata(self, initial_metadata):
        """Send the answer's head now, with this metadata; see ``ServicerContext``."""
        fields = encode_metadata(initial_metadata)
        self._on_loop(lambda: self._send_head(fields))

    def _send_head(self, list fields):
        if self.context.x.status:
            raise grpcio().UsageError("the initial metadata was sent before")
        self.context.send_head(fields)

    def abort(self, code, str details="", trailing_metadata=()):
        """End the call with a status other than OK; raises ``grpc.aio.AbortError``, always.

        The status is sent when the handler's thread is done.
        """
        raise self.context.begin_abort(code, details, trailing_metadata)

    def abort_with_status(self, status):
        """``abort`` with code, details and trailing metadata of a ``grpc.Status``."""
        self.abort(status.code, status.details, status.trailing_metadata)

    def is_active(self):
        """Whether the call is not over."""
        return not self.context.over()

    def cancel(self):
        """End the call with CANCELLED. The thread goes on; what it returns is dropped."""
        self._on_loop(self.context.cancel)

    def add_callback(self, callback):
        """Call ``callback()`` when the call is over, on the event loop; False when it is already."""
        if self.context.over():
            return False
        self.add_done_callback(lambda _: callback())
        return True

    def add_done_callback(self, callback):
        """Call ``callback(context)`` when the call is over, on the event loop."""
        self._on_loop(lambda: self.context.add_done_callback(callback))

    cdef object _on_loop(self, object function):
        """Run a function on the event loop and wait for it; on the loop itself, at once."""
        cdef object loop = self.context.connection.local.loop
        if asyncio._get_running_loop() is loop:
            return function()
        outcome = concurrent.futures.Future()
        loop.call_soon_threadsafe(_run_for, outcome, function)
        return outcome.result()


def _run_for(outcome, function):
    """Run a function and put what comes of it into a ``concurrent.futures.Future``."""
    try:
        outcome.set_result(function())
    except Exception as error:
        outcome.set_exception(error)
