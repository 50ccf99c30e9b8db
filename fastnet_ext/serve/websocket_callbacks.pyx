# cython: freethreading_compatible=True
"""Runs the callbacks of WebSocket routes; websocket_callbacks.pxd is the map."""

cimport cython

import logging

from fastnet_ext.exchange.exchange cimport Exchange, LoopLocal
from fastnet_ext.serve.runner cimport Runner, RunnerPool
from fastnet_ext.serve.websocket cimport WebSocket, WebSocketEndpoint, new_websocket, websocket_of
from fastnet_ext.serve.websocket_driver cimport Sink, WebSocketDriver, as_exception

__all__ = ["CallbackEndpoint"]

cdef object log = logging.getLogger("fastnet.error")


@cython.final
cdef class CallbackEndpoint(WebSocketEndpoint):
    """Answers the WebSocket hand-shakes of a route of callbacks.

    The plan calls ``on_open``; it returns a coroutine where that is ``dependent``, otherwise nothing. Then the
    hand-shake is answered, and ``on_message(ws, message)`` is called for each message, ``on_close(ws, code, reason)``
    once at the end. The rest is as for ``WebSocketEndpoint``.
    """

    def __init__(self, plan, refusals, *, bint dependent=False, on_message=None, on_close=None, **options):
        WebSocketEndpoint.__init__(self, plan, refusals, **options)
        self.dependent = dependent
        self.on_message = on_message
        self.on_close = on_close

    cdef int start(self, Exchange x) except -1:
        cdef WebSocket ws = None
        cdef Runner runner
        cdef object coroutine = None
        try:
            self.check(x)
            ws = new_websocket(self, x)
            coroutine = self.plan.call(x)
            if not self.dependent:
                return self.listen(x)
        except Exception as error:
            coroutine = self.on_exception(x, error)
        if coroutine is None:
            return 0
        runner = (<RunnerPool>x.connection.local.runners).run(self, x, coroutine)
        if ws is not None and x.refusal is None and not ws.driver.handler_done:
            ws.driver.task = runner.task
        return 0

    cdef object on_result(self, Exchange x, object value):
        cdef WebSocket ws = websocket_of(x)
        cdef UntilClosed wait
        if x.refusal is not None or ws is None or isinstance(value, UntilClosed):
            return WebSocketEndpoint.on_result(self, x, value)
        try:
            self.listen(x)
        except Exception as error:
            return self.on_exception(x, error)
        wait = UntilClosed.__new__(UntilClosed)
        wait.driver = ws.driver
        return wait

    cdef int listen(self, Exchange x) except -1:
        cdef WebSocket ws = websocket_of(x)
        cdef Callbacks sink
        ws._open()
        sink = Callbacks.__new__(Callbacks)
        sink.ws = ws
        ws.driver.sink = sink
        # on_open may have closed it.
        return ws.driver._sink_closed(x) if ws.driver.close_code else 0


@cython.final
cdef class Callbacks(Sink):
    cdef int on_message(self, Exchange x, object message) except -1:
        cdef CallbackEndpoint endpoint = <CallbackEndpoint>self.ws.endpoint
        cdef LoopLocal local = x.connection.local
        cdef Exchange before = local.starting
        if endpoint.on_message is None:
            return 0
        # A stalled loop is asked for it.
        local.starting = x
        try:
            if endpoint.message_rate is not None and not endpoint.admits(self.ws):
                return 0
            if endpoint.decode is not None:
                message = endpoint.decode(message)
            endpoint.on_message(self.ws, message)
        except Exception as error:
            endpoint.on_exception(x, error)
        finally:
            local.starting = before
        return 0

    cdef int on_closed(self, Exchange x) except -1:
        cdef CallbackEndpoint endpoint = <CallbackEndpoint>self.ws.endpoint
        cdef WebSocketDriver driver = self.ws.driver
        if endpoint.on_close is not None:
            try:
                endpoint.on_close(self.ws, driver.close_code, driver.close_reason)
            except Exception:
                log.exception("on_close of %s failed", x.path_text())
        if driver.task is None:
            return driver.handler_ended(x)
        return driver.waiter.wake(False)


@cython.final
cdef class UntilClosed:
    """Awaited by the Task of a route of callbacks that has dependencies."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.driver.close_code:
            raise StopIteration(self)
        return self.driver.waiter.wait()

    def send(self, value):
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        self.driver.waiter.abandon()
        raise as_exception(kind, value)

    def close(self):
        self.driver.waiter.abandon()
