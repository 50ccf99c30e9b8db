"""The seam: one request and its answer, whatever carries it.

Two interfaces meet here and nothing else does:

* downward, `Exchange`: what the code that answers may ask of the carrier. `net` implements it
  once for an HTTP/1 connection and once for an HTTP/2 stream.
* upward, `Endpoint` and `Responder`: what the carrier tells the code that answers. `serve`
  implements them for HTTP handlers, WebSocket, gRPC and so on.

The order of a request: the carrier fills the request part, the dispatcher finds the `Route`
(guards admit or refuse), the carrier feeds the body that is at hand (`feed`, `feed_end`) and
calls `ready`; the endpoint starts, answers through `respond` or `send_head`, `send_data`, `end`.
"""

from cpython.object cimport PyObject
from libc.stdint cimport UINT32_MAX, int8_t, int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastnet_ext.compression.codecs cimport Decompressor
from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.core.flag cimport flag
from fastnet_ext.core.headers cimport HeaderBlock, Method, Span
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.exchange.limits cimport Limit
from fastnet_ext.proxy.forwarded cimport Forwarded, Proxies
from fastnet_ext.proxy.protocol cimport ProxyHeader


cdef enum:
    # Path parameters of one route; more are refused at registration.
    MAX_PARAMS = 16
    # Those that an exchange has room for in itself.
    FEW_PARAMS = 2

    # Bits of an IPv6 address that stand for one client.
    CLIENT_PREFIX = 64

    # Bytes of a streamed body that wait for their reader before the carrier is paused.
    BODY_HIGH_WATER = 256 * 1024


cdef enum BodyMode:
    BODY_IGNORE     # discarded as it arrives; the endpoint starts at once
    BODY_WHOLE      # collected up to the limit; the endpoint starts when it is complete
    BODY_LATE       # buffered; the endpoint starts with what the batch brought and awaits the rest
    BODY_STREAM     # each piece goes to the responder as it arrives; the endpoint starts at once


cdef enum Gone:
    # Why nothing more can be sent; the argument of Responder.on_gone.
    GONE_NOT = 0
    GONE_PEER = 1       # the peer closed, or reset the stream
    GONE_DEADLINE = 2   # a time limit of ours ran out
    GONE_SHUTDOWN = 3   # the server is stopping
    GONE_PROTOCOL = 4   # the peer broke the protocol or a limit
    GONE_ABORTED = 5    # the answer failed midway, by us


cdef enum Admission:
    # What a guard says of a request.
    REFUSED = 0
    ADMITTED = 1
    WAITS = 2       # in the guard's queue


cdef enum Overdue:
    # How far a handler that did not answer in time has been taken.
    OVERDUE_NOT = 0
    OVERDUE_CANCELLED   # its Task was cancelled; the CancelledError has not come out yet
    OVERDUE_ANSWERED    # what came out is being answered


cdef extern from *:
    # What each exchange has one of, in a byte: see core/flag.pxd.
    ctypedef BodyMode BodyModeByte "uint8_t"
    ctypedef Gone GoneByte "uint8_t"
    ctypedef Overdue OverdueByte "uint8_t"


cdef class LoopLocal:
    """What the floors above the machines may use of one event loop."""

    cdef readonly object loop
    cdef object runners     # serve.RunnerPool, set by whoever builds the loop's state
    cdef object compressors # websocket.deflate.Compressors; None until a WebSocket agrees on compression
    cdef Buffer spare       # empty, with capacity: lent to one WebSocket after the other for its output
    cdef object executor    # runs `def` handlers: submit(call, *args)
    cdef uint64_t last_id   # where the ids of requests go on from
    # The exchange whose endpoint is being started just now, None otherwise: what a stalled loop is asked for.
    cdef Exchange starting
    # New requests may have to be refused: more is kept in buffers than may be, or `lag` is above 0, which is
    # how many seconds the loop has been late at each of its latest sweeps, so that one stall is none.
    cdef bint pressed
    cdef bint over_memory
    cdef double lag
    cdef list overdue_threads   # futures of `def` handlers that were answered for and may still run


cdef class ConnectionInfo:
    """The connection under an exchange, as far as handlers may see it."""

    cdef readonly LoopLocal local
    cdef readonly object state      # a dict that lives as long as the connection; None until asked for
    cdef tuple asgi_ends            # (client, server) of ASGI's scopes; None until asked for
    cdef int64_t kept               # bytes that its exchanges keep in buffers
    cdef tuple observers            # told of every exchange on it; None when there are none

    # The peer's address as text, for logs; "-" when it has none. Made at the first call and kept.
    cdef bytes _peer_text
    cdef bytes peer_text(self)

    # What the peer's address counts as where clients are counted: see `address_key`. Made at the first call and kept.
    cdef bytes _peer_key
    cdef bytes peer_key(self)

    # What the PROXY protocol said of the connection; None where it is not spoken.
    cdef ProxyHeader proxy_header
    # The proxies in front of the listener, None when it knows of none, and whether the peer is one of
    # those that are trusted: 0 or 1, -1 until somebody asks.
    cdef Proxies proxies
    cdef int8_t peer_trusted

    cdef readonly flag secure
    cdef uint32_t _queue_time       # microseconds: see below

    # Seconds, of which an hour is the most, that a request may wait for its turn; 0: it does not wait.
    cdef inline double queue_time(self) noexcept:
        return self._queue_time / 1e6

    cdef inline int set_queue_time(self, double seconds) noexcept:
        self._queue_time = <uint32_t>(min(seconds, 3600.0) * 1e6 + 0.5)
        return 0

    # transport.get_extra_info: "peername", "sockname" …; with TLS, "tls" (TLSInfo), "ssl_object", "peercert".
    cdef object extra(self, str name)
    # Where the connection comes from, by the PROXY protocol or else the socket, in the form of
    # "peername": (host, port, …), a path, or None.
    cdef object peer_name(self)
    # Whether what the peer says of its own peers counts.
    cdef bint trusts_peer(self) except -1
    # A limit turns its peer away, or cuts it off: count it and log it. `value` is the limit's own, `cutoff` the
    # status of the answer, the close code of a WebSocket or one of Cutoff.
    cdef int over_limit(self, Limit which, double value, int cutoff) except -1


cdef class Responder:
    """What a carrier tells the code that answers one exchange. Default: nothing is done."""

    # BODY_STREAM and tunnels: a view that lives until the call returns. Writable memory: a
    # WebSocket session unmasks in place.
    cdef int on_data(self, Exchange x, char* data, Py_ssize_t size) except -1
    # The request is complete; trailers, if any, are in x.trailers.
    cdef int on_end(self, Exchange x) except -1
    # Nothing can be sent any more: Gone says why. Called once, never after the answer's end.
    cdef int on_gone(self, Exchange x, int why) except -1
    # What was queued has left: send_data may go on.
    cdef int on_writable(self, Exchange x) except -1
    # Where the carrier frames messages itself (x.carries_messages), in place of on_data in a tunnel: one message,
    # str or bytes; and its end, by the peer's close code, 1006 when it left without one. Nothing can be sent after it.
    cdef int on_message(self, Exchange x, object message) except -1
    cdef int on_close(self, Exchange x, int code, str reason) except -1
    # The server stops: end in good time what would go on for long. May be said more than once.
    cdef int on_drain(self, Exchange x) except -1
    # A sweep, `elapsed` seconds after the last one: all that time the carrier read what came, and nothing of ours
    # waited for the peer. `keepalive`: the silence, in seconds, after which the listener has WebSockets pinged.
    cdef int on_sweep(self, Exchange x, double elapsed, double keepalive) except -1


cdef class Guard:
    """Admits or refuses a request before its handler, in compiled code."""

    # ADMITTED: `release` is owed. REFUSED: x.refusal says with what. WAITS: x.waits_for is this guard, which
    # calls x.admitter.go_on once it has decided: admitted, or refused with x.refusal.
    cdef Admission admit(self, Exchange x) except *
    cdef int release(self, Exchange x) except -1
    # The exchange waits no longer: it is gone, or has waited for too long.
    cdef int leave(self, Exchange x) except -1


cdef class Admitter:
    """Who brought an exchange to a guard that made it wait."""

    # The guard has admitted it, or set x.refusal: go on where it was left. x.waits_for is None again.
    cdef int go_on(self, Exchange x) except -1


cdef class Observer:
    """Told of each exchange: metrics, access log."""

    # Its head is there; its route is not known yet.
    cdef int on_begin(self, Exchange x) except -1
    cdef int on_done(self, Exchange x) except -1
    # A request that never became an exchange was answered with `status`, and its connection ends.
    cdef int on_refused(self, ConnectionInfo connection, int status) except -1


cdef class Endpoint:
    """What answers the requests of a route: an HTTP handler, a WebSocket, a gRPC method."""

    cdef BodyMode body_mode
    # `start` answers x.refusal itself; otherwise the dispatcher does.
    cdef bint takes_refusals
    cdef int start(self, Exchange x) except -1


cdef class Route:
    """One entry of the routing table, built at registration and handed down."""

    cdef readonly Endpoint endpoint
    cdef readonly tuple guards
    cdef readonly str path              # as registered: "/users/{id}"
    cdef readonly tuple methods
    cdef readonly tuple param_names
    cdef readonly int64_t max_body      # bytes
    # What a body with a Content-Encoding may become, in bytes; below 0, it is left as it is.
    cdef readonly int64_t max_decompressed
    # Seconds until the answer begins, seconds of silence in a body, its bytes a second: 0 is no limit, and
    # below 0 what the listener says.
    cdef readonly double timeout
    cdef readonly double timeout_body
    cdef readonly double rate_body
    cdef readonly bint cancel_on_disconnect
    cdef readonly object handler        # the user's callable, for messages and documentation
    cdef readonly object on_error       # (exchange, exception) -> Response
    cdef readonly object app            # handed to Request.app


cdef class Exchange:
    # --- the request; set by the carrier before dispatch, constant afterwards
    cdef ConnectionInfo connection
    cdef HeaderBlock head
    cdef Span path                      # the target's path, still percent-encoded
    cdef int64_t content_length         # -1 unknown
    cdef Route route
    # Raw values, offsets into head.arena; in `few_params` unless there are more: see `keep_params`.
    cdef Span* params
    cdef Span few_params[FEW_PARAMS]
    cdef uint32_t query_size            # see `query`
    cdef uint8_t param_count
    cdef uint8_t version                # 10, 11, 20 or 30
    cdef flag is_head                   # the answer's body is not sent
    cdef flag wants_websocket           # Upgrade: websocket, or extended CONNECT
    cdef flag wants_continue            # Expect: 100-continue, not yet answered
    # A WebSocket's hand-shake and frames are the carrier's: what its tunnel takes and brings are messages.
    cdef flag carries_messages

    # --- the request's body (modes BODY_WHOLE and BODY_LATE keep it here)
    cdef flag body_complete
    cdef flag started                   # the endpoint has been started
    cdef flag pipelined                 # more requests, which are answered one after the other, came with it
    cdef flag collecting                # whole body wanted: no pause at BODY_HIGH_WATER
    cdef flag body_paused
    cdef BodyModeByte body_mode

    # --- what is small of the answer, which is described below: an idle WebSocket has an exchange
    cdef GoneByte gone
    cdef OverdueByte overdue
    cdef flag ended                     # the answer is complete; implies the head is sent
    cdef flag half_closed               # the peer ended its side behind the request: it may have left, or wait
    cdef flag finished                  # `finish` was called
    cdef flag call_stays                # who set `call` cuts it: its handler may outlast the answer
    cdef uint16_t guards_held           # the first guards of route.guards that are owed a release
    cdef uint16_t status                # 0 until the head is sent
    cdef int16_t outcome                # how the protocol above ended: gRPC status, WebSocket close code; -1 none
    cdef uint32_t held                  # bytes that the responder keeps: see `hold`

    # --- and the large rest of the body
    cdef double began                   # by the loop's clock, as old as its latest sweep
    cdef object body_error              # exception for whoever reads the body, None
    cdef object body_waiter             # future of whoever waits for more of it, None
    cdef bytes body                     # the whole body once taken, None before
    # What waits for its reader: the first `body_size` bytes of a bytes object of our own that may have room
    # behind them. NULL when nothing waits. Whoever takes it gets the object, uncopied.
    cdef PyObject* body_waiting
    cdef Py_ssize_t body_size
    cdef int64_t body_received
    cdef Decompressor decoder           # of its Content-Encoding; None: it is kept as it comes
    cdef HeaderBlock trailers

    # --- the answer
    cdef Responder responder            # None until somebody wants to be told
    cdef list more_fields               # of its head, beside those of any ResponseHead: valid (name, value), None
    cdef object drain_waiter            # future of whoever waits until send_data may go on, None
    cdef uint64_t bytes_sent            # body bytes handed to the carrier
    cdef Guard gate                     # the listener's guard, while it is owed a release; None
    cdef Guard waits_for                # the guard in whose queue this is; None
    cdef Admitter admitter              # set with it
    cdef double deadline                # of the handler, or of the wait; 0 until a sweep has seen it
    cdef object task                    # what runs the handler, once it has really waited; None
    cdef object refusal                 # what a guard answers with: an exception
    cdef tuple observers
    cdef double observed_at             # seconds, by the clock of the observer that set it

    # What dependencies left open: a callable that takes the error that ended the handler (or None)
    # and returns the coroutine that closes it. The runner runs it, in the handler's own Task.
    cdef public object cleanups

    # --- what Python sees of it, made on demand
    cdef Forwarded _forwarded
    cdef object request                 # Request, None until a handler asks for it
    cdef object call                    # the protocol's own object: WebSocket, gRPC context; None
    cdef object state
    # Its id: as text once somebody asked for that, else the number of one that was made (0: none was yet).
    cdef str _id
    cdef uint64_t id_number

    # The route's parameters: at most MAX_PARAMS, once.
    cdef int keep_params(self, const Span* params, uint32_t count) except -1
    # Sets `observers` and tells them; once, before anything can end the exchange.
    cdef int observe(self, tuple observers) except -1
    # Carrier -> floors above. `feed` returns 0; a body over the limit ends in body_error.
    cdef int _fail_body(self, object error) except -1
    cdef int _wake_reader(self) except -1
    cdef int _wake_writer(self) except -1
    cdef int _keep_body(self, const char* data, Py_ssize_t size) except -1
    cdef int _decode(self, const char* data, Py_ssize_t size) except -1
    cdef bytes _take_waiting(self)
    cdef int feed(self, char* data, Py_ssize_t size) except -1
    cdef int feed_end(self) except -1
    # The batch of input is used up (or the body complete): start what has not been started.
    cdef int ready(self) except -1
    # The peer is gone, or must be: fails the body, tells the responder. Idempotent.
    cdef int fail(self, Gone why) except -1
    # The peer takes data again: wakes the drain_waiter and tells the responder.
    cdef int writable(self) except -1
    # The answer is complete or given up: releases guards, tells observers, drops references.
    cdef int finish(self) except -1
    # The responder keeps `size` bytes of input, of which no more than 4 GiB are counted.
    cdef inline int hold(self, int64_t size) noexcept:
        if not self.finished:
            size = min(size, <int64_t>UINT32_MAX)
            self.connection.kept += size - self.held
            self.held = <uint32_t>size
        return 0

    # The end of the target, without the question mark.
    cdef inline Span query(self) noexcept:
        cdef Span span = self.head.target
        span.offset += span.size - self.query_size
        span.size = self.query_size
        return span

    # Before any of it is fed: decompress a body that has a Content-Encoding, or fail it when that is none of ours.
    cdef int decode_body(self) except -1
    # Body, for the floors above.
    cdef bytes take_body(self)          # the complete body
    cdef bytes take_chunk(self)         # what has arrived, b"" when nothing has
    cdef int want_body(self) except -1  # somebody is about to read: 100-continue, resume

    # --- implemented by the carrier. Data is copied unless `owner` keeps it alive (bytes).
    # Whole answer in one call. Body is {data, size}; head.content_length is checked against it.
    cdef int respond(self, ResponseHead head, const char* data, Py_ssize_t size, object owner) except -1
    # Head of a streamed answer; length -1 when unknown.
    cdef int send_head(self, ResponseHead head, int64_t content_length) except -1
    # An informational head (103).
    cdef int send_info(self, ResponseHead head) except -1
    # 1: go on; 0: the peer is slow, wait for on_writable.
    cdef int send_data(self, const char* data, Py_ssize_t size, object owner) except -1
    # The end of a streamed answer; trailers: list of (name, value) bytes, or None.
    cdef int end(self, list trailers) except -1
    # Answer with `head` and hand the byte stream over: 101 on HTTP/1, 200 on extended CONNECT.
    # Afterwards input goes to responder.on_data and send_data writes as it is.
    cdef int open_tunnel(self, ResponseHead head) except -1
    # In a tunnel that carries messages: one of them (1 and 0 as send_data has it), and the Close that ends the answer.
    cdef int send_message(self, bint text, const char* data, Py_ssize_t size, object owner) except -1
    cdef int send_close(self, int code, str reason) except -1
    # Give up: RST_STREAM, or the connection is closed.
    cdef int abort(self, int code) except -1
    cdef int pause_body(self) except -1
    cdef int resume_body(self) except -1
    # What was sent outside a batch of input leaves at the end of the tick; `flush` is now.
    cdef int flush(self) except -1

    # What trusted proxies say of the request; None when the peer is none.
    cdef Forwarded forwarded(self)
    # Cut root_path off the path; what does not begin with it stays as it is.
    cdef int enter_root(self) except -1

    # Python views.
    cdef str param(self, uint32_t index)    # percent-decoded
    cdef str path_text(self)                # percent-decoded


cdef str decode_percent(const char* data, Py_ssize_t size)

# What a client counts as: its IPv4 address, or the first `prefix` bits of its IPv6 address, since a client has all addresses
# of such a network; 16 bytes, IPv4 as IPv4-mapped IPv6. Empty for what is no address.
cdef bytes address_key(str host, unsigned prefix)
