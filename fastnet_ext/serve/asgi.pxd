"""ASGI applications (specification 3.0) on whatever carries an exchange: requests here, WebSockets next door.

    AsgiEndpoint    of a mount: starts the application, settles what it returned or raised
    AsgiHttp        one request: its receive and send
    Receiving       one wait for a message; done at once when one is there
    Sending         one wait for a slow peer
    AsgiSocket      of one WebSocket, see asgi_websocket.pxd

A message of the application moves its answer on:

    stage       http.response.start     http.response.body              http.response.trailers
    WAITS       -> HELD                 -                               -
    HELD        -                       more: BODY, last: OVER          -
    BODY        -                       more: BODY, last: OVER          -
    TRAILERS    -                       -                               more: TRAILERS, last: OVER
    LAST        -                       -                               -
    OVER        -                       -                               -

"-" raises in the application; last is TRAILERS instead of OVER when the start has announced them. The head
leaves with the first piece of the body, as ASGI demands: an exception before that is a 500. pathsend is a
last piece. Early hints may come before the head. A whole body that a thread compresses is LAST before it is OVER.
"""

from fastnet_ext.exchange.exchange cimport Exchange, Responder
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.serve.asgi_scope cimport AsgiApplication
from fastnet_ext.serve.compression cimport BodyCoder, Compression
from fastnet_ext.serve.http cimport HttpEndpoint
from fastnet_ext.serve.runner cimport AsyncEndpoint
from fastnet_ext.serve.websocket cimport WebSocketEndpoint


cdef enum Stage:
    STAGE_WAITS
    STAGE_HELD
    STAGE_BODY
    STAGE_TRAILERS
    STAGE_LAST
    STAGE_OVER


cdef class AsgiEndpoint(AsyncEndpoint):
    cdef readonly AsgiApplication of
    cdef HttpEndpoint refusals          # renders errors, through the app's on_error
    cdef HttpEndpoint wrapped           # answers requests through middleware; None when there is none
    cdef WebSocketEndpoint sockets      # checks hand-shakes
    cdef public Compression compression # of answers that go through no middleware; None: they are not compressed

    cdef int settle(self, Exchange x, object error) except -1


cdef class AsgiHttp(Responder):
    # --- the exchange; `self` is its responder while the peer's leaving matters: from the first piece of a
    # streamed answer on, and while somebody waits for http.disconnect. Otherwise a peer that has only
    # half closed still gets its answer.
    cdef Exchange x

    # --- the request's side
    cdef bint request_over              # the last http.request was handed out
    cdef list receivers                 # futures of those who wait in receive; None when there are none

    # --- the answer's side
    cdef Stage stage
    cdef bint streams                   # its head has left, with more to come
    cdef bint refused                   # answered in place of the application, whose messages go nowhere
    cdef bint trailers                  # the start has announced them
    cdef ResponseHead head              # what is held
    cdef list trailer_fields
    cdef BodyCoder coder                # what a streamed body goes through, None: nothing
    cdef bint congested                 # the peer does not take what we write: until on_writable
    cdef Py_ssize_t burst               # bytes sent since the loop had its last turn
    cdef list senders                   # futures of those who wait in send; None when there are none

    # The next message; None when it is not there yet.
    cdef dict next_message(self)
    cdef dict refuse(self, object error)
    cdef object wait_to_receive(self)
    cdef int leave_receive(self, object future) except -1
    cdef object wait_to_send(self)
    cdef object turn(self)
    cdef int wake_receivers(self) except -1
    cdef int wake_senders(self) except -1

    cdef int start(self, dict message) except -1
    cdef object body(self, dict message)
    cdef object piece(self, const char* data, Py_ssize_t size, bytes owner, bint more)
    # As the functions of Exchange, and of Compression where there is one.
    cdef object respond(self, ResponseHead head, const char* data, Py_ssize_t size, bytes owner)
    cdef int send_head(self, ResponseHead head) except -1
    cdef object written(self, bint more)
    cdef int early_hint(self, dict message) except -1
    cdef object path(self, dict message)
    cdef object add_trailers(self, dict message)
    cdef int complete(self) except -1


cdef class Receiving:
    cdef AsgiHttp call
    cdef object future


cdef class Sending:
    cdef AsgiHttp call
    cdef object future
    cdef bint yields                    # gives the loop one turn, whatever the peer does
