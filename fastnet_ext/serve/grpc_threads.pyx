# cython: freethreading_compatible=True
"""Runs gRPC handlers that are plain functions in threads; grpc_threads.pxd is the map."""

cimport cython

import asyncio
import concurrent.futures
import logging
import threading

from fastnet_ext.exchange.exchange cimport Exchange, LoopLocal
from fastnet_ext.serve.grpc_context cimport ServicerContext, grpcio, new_receive, new_requests
from fastnet_ext.serve.grpc_wire cimport encode_metadata
from fastnet_ext.serve.runner cimport context_for

__all__ = ["SyncServicerContext"]

cdef object log = logging.getLogger("fastnet.error")


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
        self.context.begin_answer(fields)

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


# --- requests

@cython.final
cdef class BlockingRequests:
    """``for message in requests``, in a thread. Handlers that turn out to be asynchronous use ``async for``."""

    def __iter__(self):
        return self

    def __aiter__(self):
        return new_requests(self.context)

    def __next__(self):
        cdef object reading
        if not self.batch and not self.over:
            reading = _read_batch(self.context)
            try:
                self.batch = asyncio.run_coroutine_threadsafe(reading, self.context.connection.local.loop).result()
            except concurrent.futures.CancelledError:
                raise asyncio.CancelledError("the call is over") from None
            finally:
                # Of a loop that is closed by now, nobody has taken it.
                reading.close()
            self.over = not self.batch
        if self.over:
            raise StopIteration
        return self.batch.pop()


cdef BlockingRequests new_blocking_requests(ServicerContext context):
    cdef BlockingRequests requests = BlockingRequests.__new__(BlockingRequests)
    requests.context = context
    return requests


async def _read_batch(ServicerContext context):
    """The next message, once it is there, and those behind it that are there too; the first of them last."""
    cdef list batch = []
    cdef bytes data
    cdef object end = grpcio().EOF
    message = await new_receive(context, False)
    while message is not end:
        batch.append(message)
        if len(batch) == BATCH:
            break
        data = context.next_request()
        if data is None:
            break
        message = context.parse(data)
    batch.reverse()
    return batch


@cython.final
cdef class BlockingIterator:
    """``for message in messages``, in a thread, where the messages come from something asynchronous."""

    def __iter__(self):
        return self

    def __aiter__(self):
        return self.source

    def __next__(self):
        reading = _next_of(self.source)
        try:
            found = asyncio.run_coroutine_threadsafe(reading, self.loop).result()
        except concurrent.futures.CancelledError:
            raise asyncio.CancelledError("the call is over") from None
        finally:
            # Of a loop that is closed by now, nobody has taken it.
            reading.close()
        if found is None:
            raise StopIteration
        return found[0]


cdef BlockingIterator new_blocking_iterator(Exchange x, object source):
    cdef BlockingIterator iterator = BlockingIterator.__new__(BlockingIterator)
    iterator.loop = x.connection.local.loop
    iterator.source = source.__aiter__()
    return iterator


async def _next_of(source):
    """The next item in a tuple; None behind the last one."""
    try:
        return (await source.__anext__(),)
    except StopAsyncIteration:
        return None


# --- answers

@cython.final
cdef class Handoff:
    """Made by ``from_thread``, for one call."""

    def __init__(self, loop):
        self.loop = loop
        self.changed = threading.Condition()
        self.messages = []

    def produce(self, call):
        """In the thread: call, and put each message; returns what cannot be iterated over here."""
        cdef object source = None
        try:
            source = call()
            if source is None or hasattr(type(source), "__await__") or hasattr(type(source), "__aiter__"):
                return source
            for message in source:
                self.put(message)
        finally:
            close = getattr(source, "close", None)
            try:
                if close is not None and not hasattr(type(source), "__await__"):
                    close()
            finally:
                with self.changed:
                    self.over = True
                self.tell()
        return None

    def put(self, message):
        cdef bint tell = False
        with self.changed:
            while len(self.messages) >= BATCH and not self.closed:
                self.changed.wait()
            if self.closed:
                raise asyncio.CancelledError("the call is over")
            self.messages.append(message)
            tell = not self.told
            self.told = True
        if tell:
            self.tell()

    def tell(self):
        """Wake the loop's side."""
        try:
            self.loop.call_soon_threadsafe(self.wake)
        except RuntimeError:
            # The loop is closed: nobody waits.
            with self.changed:
                self.closed = True

    def wake(self):
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def take(self):
        """On the loop: the messages that wait, at least one; an empty list when there will be none."""
        cdef list taken
        while True:
            with self.changed:
                taken, self.messages = self.messages, []
                self.told = False
                over = self.over
                self.changed.notify()
            if taken or over:
                return taken
            self.waiter = self.loop.create_future()
            await self.waiter

    def close(self):
        """On the loop: nobody takes any more. The thread hears of it at its next message."""
        with self.changed:
            self.closed = True
            self.messages = []
            self.changed.notify()


async def _messages_from(Exchange x, call):
    cdef LoopLocal local = x.connection.local
    cdef Handoff handoff = Handoff(local.loop)
    cdef list batch
    run = context_for(x).run
    if local.executor is None:
        future = local.loop.run_in_executor(None, run, handoff.produce, call)
    else:
        future = asyncio.wrap_future(local.executor.submit(run, handoff.produce, call), loop=local.loop)
    try:
        while True:
            batch = await handoff.take()
            if not batch:
                break
            for message in batch:
                yield message
        left = await future
    finally:
        handoff.close()
        if not future.done():
            future.add_done_callback(_note_end)
    # Compiled or decorated functions do not always look like what they are.
    if hasattr(type(left), "__await__"):
        left = await left
    if left is not None:
        async for message in left:
            yield message


def _note_end(future):
    """A thread has come to its end after nobody waited for it any more: only a failure is worth a word."""
    error = None if future.cancelled() else future.exception()
    if error is not None and not isinstance(error, asyncio.CancelledError):
        log.error("a gRPC handler failed in its thread, after its call was over", exc_info=error)


cdef object from_thread(Exchange x, object call):
    return _messages_from(x, call)
