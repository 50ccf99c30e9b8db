"""ASGI applications on a WebSocket: messages of the specification over the driver of one connection.

    state                       receive                     send
    accept and close to come    websocket.connect, once     accept, close (403), http.response.start
    accepted                    receive, disconnect         send, close
    refused                     disconnect                  http.response.body, while there is more
    closed by the application   disconnect                  -

"-" raises RuntimeError in the application; a send after the client has left raises WebSocketDisconnect, an OSError.
"""

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.serve.asgi_scope cimport AsgiApplication
from fastnet_ext.serve.runner cimport AsyncEndpoint
from fastnet_ext.serve.websocket cimport WebSocket, WebSocketEndpoint


cdef class AsgiSocket(AsyncEndpoint):
    cdef WebSocketEndpoint sockets      # sees to what the application raises, and to hand-shakes that are refused
    cdef Exchange x
    cdef WebSocket ws
    cdef bint connect_given             # websocket.connect was received
    cdef bint closed                    # by the application: it may send nothing more
    cdef bint refused                   # it has begun to answer with plain HTTP
    cdef ResponseHead denial            # of that answer, until its first piece comes

    # The next message; None when it is not there yet.
    cdef dict next_message(self)
    cdef int accept(self, dict message) except -1
    cdef object send_message(self, dict message)
    cdef object close_socket(self, dict message)
    cdef int deny(self, dict message) except -1
    cdef object deny_body(self, dict message)


cdef class SocketReceiving:
    cdef AsgiSocket socket
    cdef bint waiting


# Check the hand-shake and run the application.
cdef int start_websocket(AsgiApplication of, WebSocketEndpoint sockets, Exchange x) except -1
