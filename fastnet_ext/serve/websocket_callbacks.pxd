"""WebSocket routes of callbacks: run synchronously from the reader, without a Task or a future per message."""

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.serve.websocket cimport WebSocket, WebSocketEndpoint
from fastnet_ext.serve.websocket_driver cimport Sink, WebSocketDriver


cdef class CallbackEndpoint(WebSocketEndpoint):
    # `plan` calls on_open. With `dependent` it returns a coroutine, which resolves what it depends on, and a Task
    # waits for the connection's end, since that is when dependencies are closed.
    cdef bint dependent
    cdef object on_message      # (ws, message), None
    cdef object on_close        # (ws, code, reason), None

    # on_open has not refused: answer the hand-shake, and let messages come.
    cdef int listen(self, Exchange x) except -1


cdef class Callbacks(Sink):
    # The cycle ws -> driver -> sink -> ws is cut when the connection closes.
    cdef WebSocket ws


cdef class UntilClosed:
    """The wait for the end of a connection, and its own result."""

    cdef WebSocketDriver driver
