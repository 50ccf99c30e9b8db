"""WSGI applications (PEP 3333) as ASGI ones: ``app.mount("/legacy", WSGI(application))``.

A request has a thread while its application runs, and a coroutine on the loop that talks to the server for it. The
two share a :class:`_Call`, under one lock:

* the thread hands over at most ``WINDOW`` bytes that are not sent yet, and waits for a slow client beyond that;
* the loop fetches one message of the body when the thread reads and nothing is left of the last one;
* once an answer streams, the loop keeps one ``receive()`` in flight, which tells that the client has left. The thread
  learns of it at its next read or write.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from wsgiref.types import WSGIApplication
from wsgiref.util import FileWrapper

from fastnet.server.threads import WSGI_REQUESTS

from .types import Message, Receive, Scope, Send
from .wsgi_objects import BodyReader, ErrorLog, Head, check_bytes, environ_of

__all__ = ["WSGI"]

log = logging.getLogger("fastnet.wsgi")

# Threads of an application, as App(pool_size=) has them for handlers.
THREADS: Final = 40
# Bytes that a thread may have handed over and the client not taken.
WINDOW: Final = 64 * 1024


class WSGI:
    """An ASGI 3 application that runs a WSGI one, each request in a thread.

    ``threads`` is how many requests run at once (40); others wait. The threads are its own: calls that wait for slow
    clients would starve handlers in the server's pool, and asyncio's name look-ups in the loop's. They end with the
    lifespan, or with the process where nobody drives that.

    Exceptions of the application before its answer has begun go on to the server, which answers 500; later ones make it
    abort the connection. WebSockets are refused (403).
    """

    def __init__(self, application: WSGIApplication, *, threads: int | None = None) -> None:
        if not callable(application):
            raise TypeError(f"a WSGI application is called with environ and start_response, not {application!r}")
        if threads is not None and threads < 1:
            raise ValueError("threads is at least 1")
        self.application = application
        self.threads = THREADS if threads is None else threads
        # Made when it is needed: a process may be forked before.
        self._executor: ThreadPoolExecutor | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an ``http`` or ``lifespan`` scope; raises what the application raises."""
        kind = scope["type"]
        if kind == "http":
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self.threads, thread_name_prefix=WSGI_REQUESTS)
            await _Call(self.application, scope, receive, send).run(self._executor)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000, "reason": "WSGI has no WebSockets"})
        else:
            raise ValueError(f"WSGI serves http, not {kind!r}")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
                continue
            executor, self._executor = self._executor, None
            if executor is not None:
                # Requests have ended or were cancelled: a thread that still runs has nobody to answer.
                executor.shutdown(wait=False, cancel_futures=True)
            await send({"type": "lifespan.shutdown.complete"})
            return


class _ClientLeft(ConnectionResetError):
    """What the application gets from reads and writes when its client is gone."""

    def __init__(self) -> None:
        super().__init__("the client has left")


class _Call:
    """A request: first what the loop does, then what the thread does."""

    def __init__(self, application: WSGIApplication, scope: Scope, receive: Receive, send: Send) -> None:
        self.application = application
        self.scope = scope
        self._receive = receive
        self._send = send

        # The loop's own.
        self._loop = asyncio.get_running_loop()
        self._receiving: asyncio.Task[None] | None = None
        self._all_received = False
        self._streaming = False
        self._answered = False
        self._wake = asyncio.Event()

        # Guards what follows up to the blank line; notified when the loop has done something.
        self._changed = threading.Condition()
        self._woken = False
        self._start: Message | None = None
        self._chunks: list[bytes] = []
        self._unsent = 0
        self._complete = False
        self._finished = False
        self._gone = False
        self._message: Message | None = None
        self._receive_error: Exception | None = None

        # The thread's own, until it has finished.
        self._head: Head | None = None
        self._head_sent = False
        self._left: int | None = None
        self._close: Callable[[], object] | None = None
        self._body_ended = False
        self._error: BaseException | None = None

    # --- on the loop

    async def run(self, executor: ThreadPoolExecutor) -> None:
        """Run the application in a thread and send what it answers, until the thread is done with it."""
        # In a copy of the context: log records carry what the server or a middleware has put there.
        work = executor.submit(contextvars.copy_context().run, self._work)
        try:
            while not await self._step():
                pass
        finally:
            # Cancelled, or what was to be sent is refused: the thread is on its own.
            work.cancel()
            self._leave()
            if self._receiving is not None:
                self._receiving.cancel()
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback holds this frame

    async def _step(self) -> bool:
        """Send what was handed over since the last step; whether the thread has finished."""
        await self._wake.wait()
        self._wake.clear()
        with self._changed:
            self._woken = False
            start, self._start = self._start, None
            chunks, self._chunks = self._chunks, []
            complete, finished, gone = self._complete, self._finished, self._gone
        if not gone and (start or chunks or (complete and not self._answered)):
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            if not complete:
                self._streaming = True
                self._start_receiving()
            try:
                if start is not None:
                    await self._send(start)
                await self._send({"type": "http.response.body", "body": body, "more_body": not complete})
            except OSError:
                # What servers raise when the client has left, from version 2.4 of the specification on.
                self._leave()
            self._answered = complete
            with self._changed:
                self._unsent -= len(body)
                self._changed.notify()
        return finished

    def _start_receiving(self) -> None:
        """Fetch a message of the body unless one is here or on its way; behind its last one, the client's end."""
        if self._receiving is None and not self._gone and (self._message is None or self._all_received):
            self._receiving = self._loop.create_task(self._receive_messages())

    async def _receive_messages(self) -> None:
        try:
            while await self._receive_one():
                pass
        except Exception as error:
            with self._changed:
                self._receive_error = error
                self._changed.notify()
        finally:
            self._receiving = None

    async def _receive_one(self) -> bool:
        """Take a message; whether to wait for the next one, though nobody reads."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._leave()
            return False
        if self._all_received:
            return False
        with self._changed:
            self._message = message
            self._all_received = not message.get("more_body", False)
            self._changed.notify()
        return self._all_received and self._streaming

    def _leave(self) -> None:
        with self._changed:
            self._gone = True
            self._changed.notify()

    # --- in the thread

    def _work(self) -> None:
        errors = ErrorLog(log)
        try:
            environ = environ_of(self.scope) | {
                "wsgi.input": io.BufferedReader(BodyReader(self.read_piece), WINDOW),
                "wsgi.errors": errors,
                "wsgi.file_wrapper": FileWrapper,
            }
            result = self.application(environ, self.start_response)
            self._close = getattr(result, "close", None)
            try:
                self._answer(result)
            finally:
                if self._close is not None:
                    self._close()
        except _ClientLeft:
            log.debug("the client of %s %s has left", self.scope["method"], self.scope["path"])
        except SystemExit as error:
            # On the loop it would end the server.
            self._error = RuntimeError(f"the application called sys.exit({error.code!r})")
            self._error.__cause__ = error
        except BaseException as error:
            self._error = error
        finally:
            errors.flush()
            with self._changed:
                self._finished = True
                self._tell_loop()

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], object]:
        """PEP 3333's: keeps the head until there is something to send after it."""
        if exc_info is not None:
            try:
                if self._head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # it would be a cycle
        elif self._head is not None:
            raise AssertionError("start_response was called already: only an error may replace the answer, by exc_info")
        self._head = Head(self.scope["method"], status, headers)
        self._left = self._head.length
        return self._write

    def _write(self, data: bytes, /) -> None:
        """What ``start_response`` returns, for applications that cannot return an iterable."""
        check_bytes(data)
        if self._left is not None and len(data) > self._left and not self._need_head().bodiless:
            raise ValueError(f"write() got {len(data)} bytes where Content-Length leaves {self._left}")
        if data and not self._complete:
            self._emit(data, last=False)

    def _answer(self, result: Iterable[bytes]) -> None:
        if isinstance(result, (list, tuple)):
            # All of it is here: one piece, whose length is known.
            for data in result:
                check_bytes(data)
            result = [b"".join(result)]
        try:
            alone = len(result) == 1  # type: ignore[arg-type]
        except TypeError:
            alone = False
        for data in result:
            check_bytes(data)
            # PEP 3333: what has sent as much as its Content-Length says is not asked for more.
            if data and (self._complete or not self._emit(data, last=alone)):
                break
        if not self._complete:
            head = self._need_head()
            if not self._head_sent:
                head.set_length(0)
            self._hand_over(b"", more=False)

    def _emit(self, data: bytes, *, last: bool) -> bool:
        """Hand a piece of the body over; whether the answer wants more of them."""
        head = self._need_head()
        if last and not self._head_sent:
            head.set_length(len(data))
        if head.bodiless:
            last, data = True, b""
        elif self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
            last = last or not self._left
        self._hand_over(data, more=not last)
        return not last

    def _need_head(self) -> Head:
        if self._head is None:
            raise AssertionError("the application answers without having called start_response")
        return self._head

    def _hand_over(self, data: bytes, *, more: bool) -> None:
        with self._changed:
            while self._unsent >= WINDOW and not self._gone:
                self._changed.wait()
            if self._gone:
                raise _ClientLeft
            if not self._head_sent:
                self._head_sent = True
                self._start = self._need_head().message()
            if data:
                self._chunks.append(data)
                self._unsent += len(data)
            self._complete = not more
            # Where nothing is to be closed the thread has finished in a moment: once is enough.
            if more or self._close is not None:
                self._tell_loop()

    def _tell_loop(self) -> None:
        if not self._woken:
            self._woken = True
            self._call(self._wake.set)

    def _call(self, function: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            # The loop was closed: nobody is there any more.
            self._gone = True

    def read_piece(self) -> bytes:
        """The next bytes of the body, waiting for them; empty at its end. Raises when the client leaves before it."""
        while not self._body_ended:
            with self._changed:
                if self._message is None:
                    self._call(self._start_receiving)
                while self._message is None and self._receive_error is None and not self._gone:
                    self._changed.wait()
                message, self._message = self._message, None
                if message is None:
                    raise self._receive_error or _ClientLeft
            self._body_ended = not message.get("more_body", False)
            if message.get("body"):
                return bytes(message["body"])
        return b""
