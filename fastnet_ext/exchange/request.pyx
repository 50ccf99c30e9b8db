# cython: freethreading_compatible=True
"""What handlers see of a request; request.pxd is the map."""

cimport cython
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeASCII
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

import os
from collections.abc import Mapping

import msgspec

from fastnet_ext.core.endian cimport store_hex16
from fastnet_ext.core.headers cimport (
    HEADER_CONTENT_TYPE, HEADER_COOKIE, HEADER_HOST, HEADER_OTHER, HEADER_X_REQUEST_ID, METHOD_NAMES, METHOD_OTHER,
    Field, Span, find_header_id, lower_ascii,
)
from fastnet_ext.exchange.exchange cimport BODY_IGNORE, GONE_NOT, LoopLocal, decode_percent
from fastnet_ext.exchange.query cimport QueryParams, query_params
from fastnet_ext.exchange.cookies import parse_cookies
from fastnet_ext.exchange.errors import BodyConsumed, ClientDisconnect, InvalidBody
from fastnet_ext.exchange.media_types import charset_of
from fastnet_ext.exchange.values import Address, State
from fastnet_ext.proxy.forwarded cimport Forwarded

cdef enum:
    # Longer names are no names of fields: no peer may send them either (see limits on the head).
    MAX_NAME = 256

# Method names as text, indexed by Method.
cdef tuple METHODS = tuple(METHOD_NAMES[i].decode("ascii") for i in range(10))


@cython.final
cdef class Headers:
    """The fields of a message: a mapping that ignores case, from name to value.

    Fields of one name are joined by ``", "`` (``Cookie`` by ``"; "``), as RFC 9110, 5.3 lets a
    recipient; ``getlist`` keeps them apart. Names are in lower case. Values are ISO 8859-1.
    """

    def __init__(self, HeaderBlock block):
        self.block = block

    cdef str find(self, str name):
        cdef list values = self.find_all(name)
        if len(values) == 1:
            return <str>values[0]
        return ("; " if name.lower() == "cookie" else ", ").join(values) if values else None

    cdef list find_all(self, str name):
        cdef char lowered[MAX_NAME]
        cdef Py_ssize_t size = 0
        cdef const char* text = PyUnicode_AsUTF8AndSize(name, &size)
        cdef const Field* field
        cdef uint32_t i, id
        cdef list values = []
        if size > MAX_NAME:
            return values
        memcpy(lowered, text, size)
        lower_ascii(lowered, size)
        id = find_header_id(lowered, size)
        for i in range(self.block.count):
            field = &self.block.fields[i]
            if field.id == id and (
                id != HEADER_OTHER
                or (field.name.size == size and memcmp(self.block.at(field.name), lowered, size) == 0)
            ):
                values.append(self.block.text(field.value))
        return values

    def __getitem__(self, name):
        value = self.find(name) if isinstance(name, str) else None
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name, default=None):
        """The value of that name, its fields joined; ``default`` when there is none."""
        value = self.find(name)
        return default if value is None else value

    def getlist(self, str name not None):
        """All values of that name, in the order they came; empty when there are none."""
        return self.find_all(name)

    def __contains__(self, name):
        return isinstance(name, str) and bool(self.find_all(name))

    def keys(self):
        """The names, each once, in lower case, in the order they came."""
        return list(dict.fromkeys([name for name, _ in self.multi_items()]))

    def values(self):
        """One value for each name, in the order of ``keys()``."""
        return [self.find(name) for name in self.keys()]

    def items(self):
        """``(name, value)`` for each name, in the order of ``keys()``."""
        return [(name, self.find(name)) for name in self.keys()]

    def multi_items(self):
        """Every field as ``(name, value)``, in the order they came."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.block.items()]

    @property
    def raw(self):
        """Every field as ``(name, value)`` of bytes, in the order they came; names in lower case."""
        return self.block.items()

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self.keys())

    def __eq__(self, other):
        if isinstance(other, Headers):
            return sorted(self.raw) == sorted(other.raw)
        if isinstance(other, Mapping):
            return dict(self.items()) == dict(other)
        return NotImplemented

    def __repr__(self):
        return f"Headers({self.multi_items()!r})"


Mapping.register(Headers)


cdef class Call:
    """One call, whatever protocol carries it: HTTP, SSE, WebSocket or gRPC.

    Dependencies that ask for a ``Call`` work under all of them.
    """

    def __init__(self, Exchange exchange not None):
        self.x = exchange
        self.head = exchange.head
        self.connection = exchange.connection
        self.route = exchange.route
        self._deadline = -1.0

    @property
    def headers(self):
        """The request's header fields; the metadata of a gRPC call."""
        if self._headers is None:
            self._headers = Headers(self.head)
        return self._headers

    @property
    def path(self):
        """The path below ``root_path``, percent-decoded: an encoded slash looks like any other.

        ``raw_path`` keeps them apart.
        """
        if self._path is None:
            self._path = decode_percent(self.head.at(self.x.path), self.x.path.size)
        return self._path

    @property
    def raw_path(self):
        """The path below ``root_path`` as bytes, as it came, percent-encoded, without the query."""
        return self.head.raw(self.x.path)

    @property
    def root_path(self):
        """The path below which proxies serve the app, ``/api``, percent-encoded; empty when there is none.

        X-Forwarded-Prefix of a trusted proxy, or else the listener's setting.
        """
        return root_path_of(self.x)

    @property
    def path_params(self):
        """The path's parameters, percent-decoded text by name. Arguments of handlers get them typed."""
        cdef uint32_t i
        if self._path_params is None:
            self._path_params = {}
            if self.route is not None:
                for i in range(self.x.param_count):
                    self._path_params[self.route.param_names[i]] = decode_percent(
                        self.head.at(self.x.params[i]), self.x.params[i].size
                    )
        return self._path_params

    @property
    def client(self):
        """The client's ``Address(host, port)``; None when it is not known (Unix sockets).

        Behind trusted proxies it is what they say, with port 0 where they say none; otherwise it is
        the connection's peer.
        """
        cdef Forwarded forwarded
        if self._peer is None:
            forwarded = self.x.forwarded()
            if forwarded is not None and forwarded.host is not None:
                self._peer = Address(forwarded.host, forwarded.port)
            else:
                self._peer = address_of(self.connection.peer_name())
        return self._peer

    @property
    def peer(self):
        """The same as ``client``."""
        return self.client

    @property
    def socket_peer(self):
        """The ``Address`` at the other end of the socket, whatever proxies say; None on Unix sockets."""
        return address_of(self.connection.extra("peername"))

    @property
    def proxy_header(self):
        """What the PROXY protocol said of the connection, a ``ProxyHeader``; None where it is not spoken."""
        return self.connection.proxy_header

    @property
    def tls(self):
        """What is known of the connection's TLS, a ``TLSInfo``; None on a plain connection."""
        return self.connection.extra("tls")

    @property
    def scheme(self):
        """"https" or "http": what trusted proxies say, else by the connection."""
        return scheme_of(self.x)

    @property
    def http_version(self):
        """"1.0", "1.1", "2" or "3"."""
        if self.x.version >= 20:
            return "2" if self.x.version == 20 else "3"
        return "1.0" if self.x.version == 10 else "1.1"

    @property
    def id(self):
        """The request's id: a well-formed X-Request-ID that came with it, or 16 random hexadecimal digits."""
        return request_id(self.x)

    @property
    def state(self):
        """A bag of attributes that lives as long as this call."""
        if self.x.state is None:
            self.x.state = State()
        return self.x.state

    @property
    def app(self):
        """The application that answers."""
        return None if self.route is None else self.route.app

    @property
    def deadline(self):
        """When the caller gives up, in the loop's time (seconds); None when it did not say."""
        return None if self._deadline < 0 else self._deadline

    def time_remaining(self):
        """Seconds until the caller gives up, never negative; None when it did not say."""
        if self._deadline < 0:
            return None
        return max(0.0, self._deadline - self.connection.local.loop.time())

    @property
    def disconnected(self):
        """Whether the peer is gone: nothing that is sent would arrive."""
        return self.x.gone != GONE_NOT

    def __repr__(self):
        return f"<{type(self).__name__} {self.head.text(self.head.method_name)} {self.path}>"


@cython.final
cdef class Request(Call):
    """One HTTP request.

    The body is read by one of ``body()``, ``json()``, ``text()`` and ``stream()``. The first
    three keep it, so that they may be called again; a stream passes by once.
    """

    @classmethod
    def __class_getitem__(cls, state):
        """``Request[MyState]`` tells type checkers what ``request.state`` is."""
        return cls

    @property
    def method(self):
        """The method in capitals: "GET"."""
        return method_of(self.x)

    @property
    def host(self):
        """The authority that the client asked for: ``example.com:8000``; empty when there is none.

        What trusted proxies say, else as it came.
        """
        return host_of(self.x)

    @property
    def url(self):
        """The whole URL as the client sees it, ``root_path`` included: ``https://example.com/a%20b?c=d``."""
        target = self.head.raw(self.x.path).decode("latin-1")
        if target.startswith("/"):
            target = self.root_path + target
        if self.x.query_size:
            target += "?" + self.head.raw(self.x.query()).decode("latin-1")
        return f"{self.scheme}://{self.host}{target}"

    @property
    def query_string(self):
        """The query as bytes, as it came, without the question mark."""
        return self.head.raw(self.x.query())

    @property
    def query_params(self):
        """The decoded query, ``QueryParams``."""
        if self._query is None:
            self._query = query_params(self.head.at(self.x.query()), self.x.query_size)
        return self._query

    @property
    def cookies(self):
        """The cookies by name. What does not read as a cookie is left out."""
        if self._cookies is None:
            header = self.head.joined(HEADER_COOKIE)
            self._cookies = {} if header is None else parse_cookies(header)
        return self._cookies

    @property
    def content_type(self):
        """The media type of the body in lower case and without parameters; None when it has none."""
        cdef const Field* field = self.head.find(HEADER_CONTENT_TYPE)
        if field is NULL:
            return None
        return self.head.text(field.value).partition(";")[0].strip().lower()

    @property
    def content_length(self):
        """The announced length of the body in bytes; None when the request does not say."""
        return None if self.x.content_length < 0 else self.x.content_length

    @property
    def trailers(self):
        """The fields after the body, ``Headers``; empty before the body is complete."""
        if self._trailers is None:
            if self.x.trailers is None:
                return Headers(HeaderBlock())
            self._trailers = Headers(self.x.trailers)
        return self._trailers

    async def is_disconnected(self):
        """Whether the peer is gone; the same as ``disconnected``."""
        return self.x.gone != GONE_NOT

    # --- the body

    cdef int check_body(self) except -1:
        cdef Exchange x = self.x
        if x.body_error is not None:
            raise x.body_error
        if x.body_complete:
            return 0
        if x.gone != GONE_NOT:
            raise ClientDisconnect()
        if x.body_mode == BODY_IGNORE:
            raise BodyConsumed("this route does not read bodies: its handler takes neither a body nor the request")
        if x.ended:
            raise BodyConsumed("the answer is complete: what was left of the request's body is discarded")
        if self.reading or x.body_waiter is not None:
            raise BodyConsumed("the request's body is being read by somebody else")
        return 0

    async def body(self):
        """The whole body.

        Raises ``ClientDisconnect`` when the peer leaves before it is complete, ``PayloadTooLarge``
        when it is over the limit of the route, ``RequestTimeout`` when it does not come in time,
        and ``BodyConsumed`` when ``stream()`` has taken some of it or somebody else is reading.
        """
        cdef Exchange x = self.x
        if x.body is not None:
            return x.body
        if self.streamed:
            raise BodyConsumed("the request's body was read by stream(): there is no whole body any more")
        self.check_body()
        if not x.body_complete:
            x.collecting = True
            x.want_body()
            self.reading = True
            try:
                while not (x.body_complete or x.body_error is not None or x.gone or x.finished):
                    waiter = x.connection.local.loop.create_future()
                    x.body_waiter = waiter
                    await waiter
            finally:
                self.reading = False
                x.body_waiter = None
            self.check_body()
        return x.take_body()

    async def json(self, type=None):
        """The body as JSON; with ``type``, converted to it and validated.

        Raises ``InvalidBody``, which answers with 400 when it is no JSON and 422 when it is not
        what ``type`` wants, and what ``body()`` raises.
        """
        return decode_json(await self.body(), type, None if self.route is None else self.route.app)

    async def text(self):
        """The body as text in the charset of its Content-Type, UTF-8 by default.

        Raises ``InvalidBody`` when it is not in that charset, and what ``body()`` raises.
        """
        cdef bytes body = await self.body()
        charset = charset_of(self.headers.get("content-type", ""))
        try:
            return body.decode(charset)
        except LookupError:
            raise InvalidBody(f"nobody here knows the charset {charset!r}", status=415) from None
        except UnicodeDecodeError as error:
            raise InvalidBody(f"the body is not {charset}: byte {error.start}") from None

    def stream(self):
        """The body as an asynchronous iterator of its pieces, each as it arrives, none of them empty.

        Raises while it is read what ``body()`` raises. A second stream, or ``body()`` after it,
        raises ``BodyConsumed``; after ``body()``, a stream gives the whole body as one piece.
        """
        cdef BodyStream stream = BodyStream.__new__(BodyStream)
        stream.request = self
        return stream


@cython.final
cdef class BodyStream:
    """The pieces of a request's body, as they arrive."""

    cdef Request request
    cdef bint begun
    cdef bint finished

    def __aiter__(self):
        return self

    cdef bytes at_hand(self):
        """What has arrived, None when that is nothing; sets `finished`."""
        cdef Exchange x = self.request.x
        cdef bytes chunk
        if not self.begun:
            if self.request.streamed:
                raise BodyConsumed("the request's body is being read, or was read, by another stream()")
            self.begun = True
            if x.body is not None:
                self.finished = True
                return x.body or None
            self.request.streamed = True
        self.request.check_body()
        # Asked before the take: what comes later is told to the waiter.
        self.finished = x.body_complete
        chunk = x.take_chunk()
        return chunk if chunk else None

    async def __anext__(self):
        cdef Exchange x = self.request.x
        cdef bytes chunk
        while not self.finished:
            chunk = self.at_hand()
            if chunk is not None:
                return chunk
            if self.finished:
                break
            x.want_body()
            waiter = x.connection.local.loop.create_future()
            self.request.reading = True
            x.body_waiter = waiter
            try:
                await waiter
            finally:
                self.request.reading = False
                x.body_waiter = None
        raise StopAsyncIteration


cdef object decode_json(bytes body, object type, object app):
    try:
        if type is None:
            return msgspec.json.decode(body)
        if hasattr(type, "model_validate_json"):
            return type.model_validate_json(body)
        return msgspec.json.decode(body, type=type, dec_hook=getattr(app, "dec_hook", None))
    except msgspec.ValidationError as error:
        raise InvalidBody(str(error), status=422) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidBody(f"the body is not JSON: {error}") from error
    except ValueError as error:
        # A pydantic.ValidationError: known by what it offers, since pydantic need not be installed.
        if not hasattr(error, "errors"):
            raise
        raise InvalidBody(str(error), status=422) from error


cdef str method_of(Exchange x):
    if x.head.method != METHOD_OTHER:
        return <str>METHODS[<int>x.head.method]
    return x.head.text(x.head.method_name)


cdef str root_path_of(Exchange x):
    cdef Forwarded forwarded = x.forwarded()
    if forwarded is not None and forwarded.prefix is not None:
        return forwarded.prefix
    return "" if x.connection.proxies is None else x.connection.proxies.root_path


cdef str scheme_of(Exchange x):
    cdef Forwarded forwarded = x.forwarded()
    if forwarded is not None and forwarded.scheme is not None:
        return forwarded.scheme
    if x.connection.proxy_header is not None and x.connection.proxy_header.tls is not None:
        return "https"
    return "https" if x.connection.secure else "http"


cdef str host_of(Exchange x):
    cdef Forwarded forwarded = x.forwarded()
    cdef const Field* field
    cdef str host = None if forwarded is None else forwarded.authority
    if host is None:
        if x.head.authority.size:
            host = x.head.text(x.head.authority)
        else:
            field = x.head.find(HEADER_HOST)
            host = "" if field is NULL else x.head.text(field.value)
    # Proxies that speak to each other in cleartext report port 80 of an https site: the defaults say nothing.
    if forwarded is not None and forwarded.server_port not in (0, 80, 443) and host and not has_port(host):
        host += f":{forwarded.server_port}"
    return host


cdef bint has_port(str host) except -1:
    return ":" in host[host.rfind("]") + 1:]


cdef object address_of(object peername):
    """An ``Address`` of what ``get_extra_info("peername")`` says; None for Unix sockets."""
    if isinstance(peername, (tuple, list)) and len(peername) >= 2:
        return Address(peername[0], peername[1])
    return None


cdef Request request_of(Exchange x):
    if x.request is None:
        x.request = Request(x)
    return <Request>x.request


cdef str request_id(Exchange x):
    cdef const Field* field
    cdef char digits[16]
    if x._id is None:
        field = id_field(x)
        if field is not NULL:
            x._id = x.head.text(field.value)
        else:
            store_hex16(digits, made_id(x))
            x._id = PyUnicode_DecodeASCII(digits, 16, NULL)
    return x._id


cdef char* write_request_id(Exchange x, char* out) except NULL:
    cdef const Field* field
    cdef const char* text
    cdef Py_ssize_t size = 0
    if x._id is not None:
        text = PyUnicode_AsUTF8AndSize(x._id, &size)
        memcpy(out, text, size)
        return out + size
    field = id_field(x)
    if field is not NULL:
        memcpy(out, x.head.at(field.value), field.value.size)
        return out + field.value.size
    store_hex16(out, made_id(x))
    return out + 16


cdef const Field* id_field(Exchange x) noexcept:
    """The peer's id of the request; NULL when there is none, or none that is valid."""
    cdef const Field* field = NULL
    if x.head is not None:
        field = x.head.find(HEADER_X_REQUEST_ID)
        if field is not NULL and not is_request_id(x.head.at(field.value), field.value.size):
            return NULL
    return field


cdef uint64_t made_id(Exchange x) except? 0:
    """A number that no other request of this loop gets (splitmix64 from a random start); stays the same."""
    cdef LoopLocal local = x.connection.local
    cdef uint64_t mixed
    while x.id_number == 0:
        if local is None:
            x.id_number = int.from_bytes(os.urandom(8), "little")
            continue
        if local.last_id == 0:
            local.last_id = int.from_bytes(os.urandom(8), "little")
        local.last_id += 0x9E3779B97F4A7C15ULL
        mixed = local.last_id
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ULL
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL
        x.id_number = mixed ^ (mixed >> 31)
    return x.id_number


cdef bint is_request_id(const char* text, Py_ssize_t size) noexcept:
    """Letters, digits and ._-: what may stand in a log, a header and a URL without care."""
    cdef Py_ssize_t i
    cdef char c
    if size == 0 or size > MAX_REQUEST_ID:
        return False
    for i in range(size):
        c = text[i]
        if not (
            (c >= c'a' and c <= c'z') or (c >= c'A' and c <= c'Z') or (c >= c'0' and c <= c'9')
            or c == c'.' or c == c'_' or c == c'-'
        ):
            return False
    return True


def request_for(Exchange exchange not None):
    """The ``Request`` of an exchange, made at the first call."""
    return request_of(exchange)
