# cython: freethreading_compatible=True
"""The access log: a line for each request, formatted in C at its end; access_log.pxd is the map.

A line is written straight into the block of its event loop. A full block, or one that is BLOCK_SECONDS old, is handed
over as bytes to what writes it, which never waits. Whatever a peer chose goes through `escape`: it can end neither
its line nor the quotes around it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy, strlen
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, clockid_t, timespec

import logging
import time

import orjson

from fastnet_ext.core.buffer cimport buffer_free, buffer_init, buffer_reserve
from fastnet_ext.core.endian cimport store_decimal
from fastnet_ext.core.escape cimport ESCAPED_MAX, escape
from fastnet_ext.core.headers cimport HEADER_REFERER, HEADER_USER_AGENT, METHOD_OTHER, Field, Span, lower_ascii
from fastnet_ext.exchange.exchange cimport GONE_ABORTED, GONE_DEADLINE, GONE_NOT, GONE_PEER, GONE_PROTOCOL, GONE_SHUTDOWN, Gone
from fastnet_ext.exchange.request cimport write_request_id
from fastnet_ext.proxy.forwarded cimport Forwarded
from fastnet_ext.routing.percent cimport percent_decode

cdef object log = logging.getLogger("fastnet.error")

# How long a line may wait for others (seconds).
cdef double BLOCK_SECONDS = 0.25

# Logged in place of the status of an answer that never began because its peer had left; nginx's number.
cdef int CLIENT_CLOSED_REQUEST = 499


cdef inline double seconds_of(clockid_t clock) noexcept:
    cdef timespec now
    clock_gettime(clock, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


# Inlined, so that the length of a literal is known where it is copied.
cdef inline char* put(char* out, const char* text) noexcept:
    cdef size_t size = strlen(text)
    memcpy(out, text, size)
    return out + size


cdef inline char* put_bytes(char* out, bytes text) noexcept:
    memcpy(out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return out + PyBytes_GET_SIZE(text)


cdef char* put_milliseconds(char* out, double seconds) noexcept:
    """With three digits behind the point."""
    cdef uint64_t micros = <uint64_t>(seconds * 1e6) if seconds > 0 else 0
    cdef uint32_t rest = micros % 1000
    out += store_decimal(out, micros // 1000)
    out[0] = b"."
    out[1] = 48 + rest // 100
    out[2] = 48 + rest // 10 % 10
    out[3] = 48 + rest % 10
    return out + 4


cdef size_t at_most(size_t size, size_t limit) noexcept:
    return size if size < limit else limit


cdef char* put_method(char* out, HeaderBlock head, size_t size, bint json) noexcept:
    # Those that are known have nothing to escape.
    if head.method == METHOD_OTHER:
        return escape(out, head.at(head.method_name), size, json)
    memcpy(out, head.at(head.method_name), size)
    return out + size


cdef const char* protocol_of(Exchange x) noexcept:
    return b"HTTP/2" if x.version == 20 else b"HTTP/1.0" if x.version == 10 else b"HTTP/1.1"


cdef const char* end_of(Gone gone) noexcept:
    """Why an answer is not complete."""
    if gone == GONE_PEER:
        return b"peer left"
    if gone == GONE_DEADLINE:
        return b"timeout"
    if gone == GONE_SHUTDOWN:
        return b"shutdown"
    if gone == GONE_PROTOCOL:
        return b"bad request"
    return b"failed"


cdef bytes client_of(Exchange x):
    """The client's address as text: what trusted proxies say, else the connection's peer."""
    cdef Forwarded forwarded = None if x.connection.proxies is None else x.forwarded()
    if forwarded is not None and forwarded.host is not None:
        return forwarded.host.encode("ascii", "replace")
    return x.connection.peer_text()


cdef Span path_of(Exchange x) noexcept:
    """The path as it came: with root_path, which the route does not see."""
    cdef Span path = x.path
    cdef const char* start = x.head.at(x.head.target)
    cdef const char* mark
    if x.head.target.size and start[0] == b"/":
        path = x.head.target
        mark = <const char*>memchr(start, b"?", path.size)
        if mark != NULL:
            path.size = <uint32_t>(mark - start)
    return path


cdef int status_of(Exchange x) noexcept:
    if x.status or x.gone == GONE_NOT:
        return x.status
    return CLIENT_CLOSED_REQUEST if x.gone == GONE_PEER else 0


@cython.final
cdef class QueryMask:
    """Hides the values of these query keys, whatever their case and however they are percent-encoded."""

    def __init__(self, keys):
        self.keys = tuple([key.lower().encode() for key in keys])

    cdef bint _is_secret(self, const char* name, size_t size) noexcept:
        cdef char decoded[MAX_KEY]
        cdef Py_ssize_t length = percent_decode(name, size, 1, decoded, MAX_KEY)
        cdef bytes key
        if length < 0:
            # Not an encoding that anybody reads as one; what is too long is no key of ours.
            if size > MAX_KEY:
                return False
            length = size
            memcpy(decoded, name, size)
        lower_ascii(decoded, length)
        for key in self.keys:
            if PyBytes_GET_SIZE(key) == length and memcmp(PyBytes_AS_STRING(key), decoded, length) == 0:
                return True
        return False

    cdef char* write(self, char* out, const char* query, size_t size, bint json) noexcept:
        cdef const char* p = query
        cdef const char* end = query + size
        cdef const char* next_pair
        cdef const char* equals
        while p < end:
            next_pair = <const char*>memchr(p, b"&", end - p)
            if next_pair == NULL:
                next_pair = end
            equals = <const char*>memchr(p, b"=", next_pair - p)
            if equals != NULL and self._is_secret(p, equals - p):
                out = put(escape(out, p, equals - p, json), b"=***")
            else:
                out = escape(out, p, next_pair - p, json)
            if next_pair < end:
                out[0] = b"&"
                out += 1
                next_pair += 1
            p = next_pair
        return out

    def mask(self, str query not None):
        """The query with ``***`` in place of each secret, and escapes for what is not printable ASCII."""
        cdef Py_ssize_t size = 0
        cdef const char* text = PyUnicode_AsUTF8AndSize(query, &size)
        # No pair grows by more than escapes may: a secret one has a name.
        cdef char* out = <char*>malloc(size * ESCAPED_MAX + 1)
        if out == NULL:
            raise MemoryError()
        try:
            return out[:self.write(out, text, size, False) - out].decode("ascii")
        finally:
            free(out)


@cython.final
cdef class AccessSink:
    """Collects lines on one event loop; ``take`` gets blocks of whole lines, in bytes, and must not wait."""

    def __cinit__(self):
        buffer_init(&self.block)
        self.second = -1

    def __init__(self, loop, take):
        self.loop = loop
        self.take = take

    def __dealloc__(self):
        buffer_free(&self.block)

    cdef char* reserve(self, size_t size) except NULL:
        if self.block.size == 0:
            self.ahead = seconds_of(CLOCK_REALTIME) - seconds_of(CLOCK_MONOTONIC)
        if buffer_reserve(&self.block, size) < 0:
            raise MemoryError()
        return self.block.data + self.block.size

    cdef int commit(self, char* end) except -1:
        self.block.size = end - self.block.data
        if self.block.size >= BLOCK_SIZE:
            return self._hand_over()
        if self.timer is None:
            self.timer = self.loop.call_later(BLOCK_SECONDS, self.flush)
        return 0

    cdef int _hand_over(self) except -1:
        cdef bytes block = PyBytes_FromStringAndSize(self.block.data, self.block.size)
        self.block.size = 0
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()
        self.take(block)
        return 0

    def flush(self):
        """Hand over the lines that wait."""
        if self.block.size:
            self._hand_over()

    cdef char* write_time(self, char* out, double now) except NULL:
        cdef double wall = now + self.ahead
        cdef int64_t second = <int64_t>wall
        cdef uint32_t millis = <uint32_t>((wall - second) * 1000)
        cdef bytes text
        if second != self.second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode()
            memcpy(self.second_text, PyBytes_AS_STRING(text), SECOND_SIZE)
            self.second = second
        memcpy(out, self.second_text, SECOND_SIZE)
        out[SECOND_SIZE] = 48 + millis // 100
        out[SECOND_SIZE + 1] = 48 + millis // 10 % 10
        out[SECOND_SIZE + 2] = 48 + millis % 10
        out[SECOND_SIZE + 3] = b"Z"
        return out + SECOND_SIZE + 4


@cython.final
cdef class AccessLog(Observer):
    """Writes a line for each request of the listener of that name, as text or as JSON, into the sink."""

    def __init__(self, AccessSink sink not None, QueryMask mask not None, *, str listener, bint json, worker=None):
        cdef bytes name = orjson.dumps(listener)[1:-1]
        self.sink = sink
        self.mask = mask
        self.json = json
        self.prefix = (
            b'","level":"INFO","logger":"fastnet.access.%b","listener":"%b","client":"' % (name, name)
        )
        self.suffix = b"}\n" if worker is None else b',"worker":%d}\n' % worker

    cdef int on_begin(self, Exchange x) except -1:
        x.observed_at = seconds_of(CLOCK_MONOTONIC)
        # While the peer's address can still be asked for.
        x.connection.peer_text()
        if x.connection.proxies is not None:
            x.connection.trusts_peer()
        return 0

    cdef int on_done(self, Exchange x) except -1:
        try:
            if self.json:
                return self._json(x, seconds_of(CLOCK_MONOTONIC))
            return self._text(x, seconds_of(CLOCK_MONOTONIC))
        except Exception:
            # A lost line must not cost an answer.
            log.exception("a line of the access log could not be written")
        return 0

    cdef int on_refused(self, ConnectionInfo connection, int status) except -1:
        cdef bytes client = connection.peer_text()
        cdef AccessSink sink = self.sink
        cdef char* out = sink.reserve(LINE_ROOM + len(client) + len(self.prefix) + len(self.suffix))
        cdef double now = seconds_of(CLOCK_MONOTONIC)
        if self.json:
            out = sink.write_time(put(out, b'{"time":"'), now)
            out = put_bytes(put_bytes(out, self.prefix), client)
            out = put(out, b'","status":')
            out += store_decimal(out, status)
            out = put_bytes(put(out, b',"end":"refused"'), self.suffix)
        else:
            out = put(sink.write_time(out, now), b" ")
            out = put(put_bytes(out, client), b' "-" ')
            out += store_decimal(out, status)
            out = put(out, b" 0 - - (refused)\n")
        return sink.commit(out)

    cdef int _text(self, Exchange x, double now) except -1:
        cdef HeaderBlock head = x.head
        cdef AccessSink sink = self.sink
        cdef bytes client = client_of(x)
        cdef Span target = path_of(x)
        cdef size_t method = at_most(head.method_name.size, MAX_FIELD)
        cdef size_t path = at_most(target.size, MAX_TARGET)
        cdef size_t query = at_most(x.query_size, MAX_TARGET)
        cdef int status = status_of(x)
        cdef char* out = sink.reserve(LINE_ROOM + len(client) + (method + path + query) * ESCAPED_MAX)
        out = put(sink.write_time(out, now), b" ")
        out = put(put_bytes(out, client), b' "')
        out = put(put_method(out, head, method, False), b" ")
        out = escape(out, head.at(target), path, False)
        if query:
            out = self.mask.write(put(out, b"?"), head.at(x.query()), query, False)
        out = put(put(put(out, b" "), protocol_of(x)), b'" ')
        if status:
            out += store_decimal(out, status)
        else:
            out = put(out, b"-")
        out = put(out, b" ")
        out += store_decimal(out, x.bytes_sent)
        out = put(put_milliseconds(put(out, b" "), now - x.observed_at), b"ms ")
        out = write_request_id(x, out)
        if x.outcome >= 0:
            out = put(out, b" close=" if x.wants_websocket else b" grpc=")
            out += store_decimal(out, x.outcome)
        if x.gone != GONE_NOT and not x.ended:
            out = put(put(put(out, b" ("), end_of(x.gone)), b")")
        return sink.commit(put(out, b"\n"))

    cdef int _json(self, Exchange x, double now) except -1:
        cdef HeaderBlock head = x.head
        cdef AccessSink sink = self.sink
        cdef bytes client = client_of(x)
        cdef Span target = path_of(x)
        cdef const Field* agent = head.find(HEADER_USER_AGENT)
        cdef const Field* referer = head.find(HEADER_REFERER)
        cdef size_t method = at_most(head.method_name.size, MAX_FIELD)
        cdef size_t path = at_most(target.size, MAX_TARGET)
        cdef size_t query = at_most(x.query_size, MAX_TARGET)
        cdef size_t agent_size = at_most(agent.value.size, MAX_FIELD) if agent != NULL else 0
        cdef size_t referer_size = at_most(referer.value.size, MAX_TARGET) if referer != NULL else 0
        cdef const char* route = NULL
        cdef Py_ssize_t route_size = 0
        cdef int status = status_of(x)
        cdef char* out
        if x.route is not None and x.route.path:
            route = PyUnicode_AsUTF8AndSize(x.route.path, &route_size)
        out = sink.reserve(
            LINE_ROOM + len(client) + len(self.prefix) + len(self.suffix)
            + (method + path + query + agent_size + referer_size + route_size) * ESCAPED_MAX
        )
        out = sink.write_time(put(out, b'{"time":"'), now)
        out = put_bytes(put_bytes(out, self.prefix), client)
        out = put_method(put(out, b'","method":"'), head, method, True)
        out = escape(put(out, b'","path":"'), head.at(target), path, True)
        if query:
            out = self.mask.write(put(out, b'","query":"'), head.at(x.query()), query, True)
        if route != NULL:
            out = escape(put(out, b'","route":"'), route, route_size, True)
        out = put(put(put(out, b'","protocol":"'), protocol_of(x)), b'","status":')
        if status:
            out += store_decimal(out, status)
        else:
            out = put(out, b"null")
        out = put(out, b',"bytes_in":')
        out += store_decimal(out, x.body_received)
        out = put(out, b',"bytes_out":')
        out += store_decimal(out, x.bytes_sent)
        out = put_milliseconds(put(out, b',"duration_ms":'), now - x.observed_at)
        out = put(write_request_id(x, put(out, b',"request_id":"')), b'"')
        if agent_size:
            out = put(escape(put(out, b',"user_agent":"'), head.at(agent.value), agent_size, True), b'"')
        if referer_size:
            # A referrer is a URL that somebody visited: its query may hold what ours must not show.
            out = put(self._url(put(out, b',"referer":"'), head.at(referer.value), referer_size), b'"')
        if x.outcome >= 0:
            out = put(out, b',"close_code":' if x.wants_websocket else b',"grpc_status":')
            out += store_decimal(out, x.outcome)
        if x.gone != GONE_NOT and not x.ended:
            out = put(put(put(out, b',"end":"'), end_of(x.gone)), b'"')
        return sink.commit(put_bytes(out, self.suffix))

    cdef char* _url(self, char* out, const char* url, size_t size) noexcept:
        cdef const char* mark = <const char*>memchr(url, b"?", size)
        if mark == NULL:
            return escape(out, url, size, True)
        out = put(escape(out, url, mark - url, True), b"?")
        return self.mask.write(out, mark + 1, url + size - mark - 1, True)
