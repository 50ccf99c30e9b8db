# cython: freethreading_compatible=True
"""What a handler answers with; response.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from urllib.parse import quote

from fastnet_ext.core.scan cimport is_field_value, is_token
from fastnet_ext.exchange.cookies import format_set_cookie
from fastnet_ext.exchange import media_types

cdef str TEXT = "text/plain; charset=utf-8"
cdef str HTML = "text/html; charset=utf-8"
cdef str JSON = "application/json"
cdef str PROBLEM = "application/problem+json"
cdef str BINARY = "application/octet-stream"

cdef object EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Media types whose Content-Type need not be worked out.
cdef dict KNOWN_TYPES = {"text/plain": TEXT, "text/html": HTML, JSON: JSON, PROBLEM: PROBLEM, BINARY: BINARY}

# Fields that frame a message or manage the connection (RFC 9110, 7.6.1). `upgrade` is left to
# the head, which knows the status: 426 must name the protocol.
cdef frozenset CARRIER_FIELDS = frozenset((b"transfer-encoding", b"keep-alive", b"proxy-connection", b"te"))

# Statuses whose plain heads are worth keeping.
cdef tuple KEPT_STATUSES = (
    200, 201, 202, 204, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 409, 410, 412, 413, 415, 422, 429,
    500, 502, 503, 504,
)

# What may stand in a Location as it is: reserved characters and the percent sign (RFC 3986, 2.2).
cdef str URL_SAFE = ":/?#[]@!$&'()*+,;=%"


cdef str content_type_of(str media_type):
    cdef object known = KNOWN_TYPES.get(media_type)
    return <str>known if known is not None else <str>media_types.content_type_of(media_type)


cdef ResponseHead new_head(int status, str content_type):
    if content_type is None:
        return ResponseHead(status)
    return ResponseHead(status, [(b"content-type", content_type.encode("latin-1"))])


# Content type -> status -> head. Filled here and never changed: threads may share it.
cdef dict PLAIN_HEADS = {
    content_type: {status: new_head(status, content_type) for status in KEPT_STATUSES}
    for content_type in (None, TEXT, HTML, JSON, PROBLEM, BINARY)
}


cdef ResponseHead plain_head(int status, str content_type):
    cdef object heads = PLAIN_HEADS.get(content_type)
    cdef object head = None
    if heads is not None:
        head = (<dict>heads).get(status)
    if head is None:
        head = new_head(status, content_type)
    return <ResponseHead>head


cdef bytes check_name(object name):
    cdef bytes lowered
    if isinstance(name, str):
        # What is not ASCII becomes "?", which is a token character: caught by the comparison.
        lowered = (<str>name).encode("ascii", "replace")
        if len(lowered) != len(name) or not (<str>name).isascii():
            raise ValueError(f"{name!r} is no header name: only letters, digits and !#$%&'*+-.^_`|~ may stand in one")
    elif isinstance(name, bytes):
        lowered = <bytes>name
    else:
        raise TypeError(f"a header name is a str, not {type(name).__name__}")
    lowered = lowered.lower()
    if not is_token(PyBytes_AS_STRING(lowered), PyBytes_GET_SIZE(lowered)):
        raise ValueError(f"{name!r} is no header name: only letters, digits and !#$%&'*+-.^_`|~ may stand in one")
    if lowered in CARRIER_FIELDS:
        raise ValueError(f"header {name!r} belongs to the server: it depends on the protocol that carries the answer")
    return lowered


cdef bytes check_value(bytes name, object value):
    """`name` as check_name returns it."""
    cdef bytes raw
    if isinstance(value, str):
        try:
            raw = (<str>value).encode("latin-1")
        except UnicodeEncodeError:
            raise ValueError(
                f"the value of header {name.decode()!r} has characters outside ISO 8859-1: {value!r}"
            ) from None
    elif isinstance(value, bytes):
        raw = <bytes>value
    else:
        raise TypeError(f"the value of header {name.decode()!r} is a str, not {type(value).__name__}")
    if not is_field_value(PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw)):
        raise ValueError(f"the value of header {name.decode()!r} has a control character (CR, LF, NUL …): {value!r}")
    # Blanks around a value are not part of it (RFC 9110, 5.5), and HTTP/2 forbids them.
    raw = raw.strip(b" \t")
    if name == b"content-length" and not (raw.isdigit() and len(raw) <= 18):
        raise ValueError(f"header 'content-length' must be a decimal number, not {value!r}")
    if name == b"connection" and raw.lower() != b"close":
        raise ValueError(f"header 'connection' belongs to the server; a handler may only say 'close', not {value!r}")
    return raw


@cython.final
cdef class MutableHeaders:
    """Response fields: a mapping that ignores case, from name to value.

    Values are ``str`` in ISO 8859-1. Setting an item replaces every field of that name;
    ``append`` adds one more. Names, values and fields that only the server may set are checked
    on the spot: ``ValueError``.
    """

    def __init__(self, headers=None):
        self.fields = []
        if headers is not None:
            self.extend(headers)

    cdef bytes first(self, bytes name):
        for key, value in self.fields:
            if key == name:
                return <bytes>value
        return None

    cdef int remove(self, bytes name) except -1:
        cdef Py_ssize_t before = len(self.fields)
        self.fields = [field for field in self.fields if field[0] != name]
        return <int>(before - len(self.fields))

    cdef int put(self, bytes name, bytes value) except -1:
        """One field of that name, where the first one stood or at the end."""
        cdef Py_ssize_t i
        for i in range(len(self.fields)):
            if self.fields[i][0] == name:
                self.fields[i + 1:] = [field for field in self.fields[i + 1:] if field[0] != name]
                self.fields[i] = (name, value)
                return 0
        self.fields.append((name, value))
        return 0

    def append(self, name, value):
        """Add a field, whether or not there is one of that name."""
        cdef bytes key = check_name(name)
        self.fields.append((key, check_value(key, value)))

    def add(self, name, value):
        """The same as ``append``."""
        self.append(name, value)

    def extend(self, headers):
        """Append every field of a mapping or of an iterable of pairs."""
        if isinstance(headers, MutableHeaders):
            self.fields.extend((<MutableHeaders>headers).fields)
            return
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            self.append(name, value)

    def __getitem__(self, name):
        values = self.getlist(name)
        if not values:
            raise KeyError(name)
        # Set-Cookie cannot be joined: commas stand in its dates (RFC 9110, 5.3).
        return values[0] if name.lower() == "set-cookie" else ", ".join(values)

    def __setitem__(self, name, value):
        cdef bytes key = check_name(name)
        self.put(key, check_value(key, value))

    def __delitem__(self, name):
        if not self.remove(lookup_name(name)):
            raise KeyError(name)

    def __contains__(self, name):
        return isinstance(name, str) and self.first(lookup_name(name)) is not None

    def get(self, name, default=None):
        """The value of that name, several joined by ", " (of Set-Cookie: the first)."""
        return self[name] if name in self else default

    def getlist(self, str name not None):
        """All values of that name, in the order of sending."""
        cdef bytes key = lookup_name(name)
        return [(<bytes>value).decode("latin-1") for field, value in self.fields if field == key]

    def setdefault(self, name, value):
        """Set the field unless there is one of that name; the value that is there afterwards."""
        if name not in self:
            self[name] = value
        return self[name]

    def update(self, headers):
        """Set every item of a mapping or of an iterable of pairs."""
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            self[name] = value

    def pop(self, name, *default):
        """Take a field's value out; ``default``, or ``KeyError``, when there is none."""
        if name not in self and default:
            return default[0]
        value = self[name]
        del self[name]
        return value

    def clear(self):
        """Remove every field."""
        self.fields = []

    def keys(self):
        """The names, each once, in lower case."""
        return list(dict.fromkeys([(<bytes>name).decode("latin-1") for name, _ in self.fields]))

    def values(self):
        """One value for each name."""
        return [self[name] for name in self.keys()]

    def items(self):
        """``(name, value)`` for each name, as ``headers[name]`` gives it."""
        return [(name, self[name]) for name in self.keys()]

    def multi_items(self):
        """Every field as ``(name, value)``, in the order of sending."""
        return [((<bytes>name).decode("latin-1"), (<bytes>value).decode("latin-1")) for name, value in self.fields]

    @property
    def raw(self):
        """Every field as ``(name, value)`` of bytes, in the order of sending."""
        return list(self.fields)

    def add_vary(self, str name not None):
        """Name one more request field that the answer depends on (RFC 9110, 12.5.5)."""
        present = [part.strip().lower() for part in self.get("vary", "").split(",")]
        if name.lower() not in present and "*" not in present:
            self["vary"] = f"{self['vary']}, {name}" if "vary" in self else name

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self.keys())

    def __eq__(self, other):
        if isinstance(other, MutableHeaders):
            return sorted(self.fields) == sorted((<MutableHeaders>other).fields)
        if isinstance(other, Mapping):
            return dict(self.items()) == dict(other)
        return NotImplemented

    def __repr__(self):
        return f"MutableHeaders({self.multi_items()!r})"


MutableMapping.register(MutableHeaders)


cdef bytes lookup_name(str name):
    """A name to compare with; one that cannot be sent matches nothing."""
    return name.lower().encode("utf-8", "surrogatepass")


cdef int check_status(int status) except -1:
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is no status of an answer: it must lie between 200 and 599")
    return status


cdef class Response:
    """An answer: a body, a status and header fields.

    ``content`` is text (sent as UTF-8 unless ``media_type`` names another charset), bytes or
    None. Without ``media_type`` text is text/plain and bytes are application/octet-stream; a
    Content-Type in ``headers`` counts more than both. Raises ``ValueError`` for a status, name,
    value or media type that cannot be sent, ``TypeError`` for another type of content.
    """

    def __init__(self, content=None, int status_code=200, headers=None, media_type=None):
        self.status = check_status(status_code)
        self.set_content(content, media_type)
        if headers is not None:
            self.add_headers(headers)

    def set_content(self, content, media_type):
        """For subclasses: the body and its media type, as the constructor takes them."""
        if media_type is not None:
            self.content_type = content_type_of(media_type)
        if isinstance(content, str):
            if self.content_type is None:
                self.content_type = TEXT
            if media_type is None or "charset=" not in media_type.lower():
                self.content = (<str>content).encode("utf-8")
            else:
                self.content = (<str>content).encode(media_types.charset_of(media_type))
        elif content is None:
            self.content = b""
        elif isinstance(content, (bytes, bytearray, memoryview)):
            self.content = bytes(content)
            if self.content_type is None:
                self.content_type = BINARY
        else:
            raise TypeError(
                f"a Response takes str, bytes or None, not {type(content).__name__}: "
                "JSONResponse sends values, Stream sends what comes piece by piece"
            )

    def add_headers(self, headers):
        """For subclasses: the fields that the constructor was given; a Content-Type among them replaces ours."""
        cdef MutableHeaders given = MutableHeaders(headers)
        if given.first(b"content-type") is None and self.content_type is not None:
            given.fields.insert(0, (b"content-type", self.content_type.encode("latin-1")))
        self._headers = given

    cdef ResponseHead head(self):
        if self._headers is not None:
            return ResponseHead(self.status, self._headers.fields)
        if self._head is None:
            self._head = plain_head(self.status, self.content_type)
        return self._head

    @property
    def status_code(self):
        """The status, 200 to 599."""
        return self.status

    @status_code.setter
    def status_code(self, int status):
        self.status = check_status(status)
        self._head = None

    @property
    def headers(self):
        """The header fields, ``MutableHeaders``."""
        if self._headers is None:
            self._headers = MutableHeaders()
            if self.content_type is not None:
                self._headers.fields.append((b"content-type", self.content_type.encode("latin-1")))
        return self._headers

    @property
    def media_type(self):
        """The Content-Type as it will be sent; None when there is none."""
        cdef bytes value
        if self._headers is None:
            return self.content_type
        value = self._headers.first(b"content-type")
        return None if value is None else value.decode("latin-1")

    @property
    def body(self):
        """The body as bytes; None when it is streamed. Setting it drops a Content-Length that was set."""
        return self.content

    @body.setter
    def body(self, bytes content not None):
        self.content = content
        self.chunks = None
        self.drop_length()

    @property
    def iterator(self):
        """What gives the pieces of a streamed body; None when the body is bytes. May be set."""
        return self.chunks

    @iterator.setter
    def iterator(self, chunks):
        if chunks is None:
            raise TypeError("iterator is what gives the pieces of the body; set `body` for one that is not streamed")
        self.chunks = check_chunks(chunks)
        self.content = None
        self.drop_length()

    def drop_length(self):
        """For subclasses: forget a Content-Length that belonged to another body."""
        if self._headers is not None:
            self._headers.remove(b"content-length")

    def set_cookie(
        self, str key not None, str value not None="", *, max_age=None, expires=None, path="/", domain=None,
        bint secure=False, bint httponly=False, samesite="lax", bint partitioned=False,
    ):
        """Set a cookie (RFC 6265bis).

        ``max_age`` in seconds or a ``timedelta``; ``expires`` a ``datetime`` or seconds from now.
        Raises ``ValueError`` for what browsers refuse: see ``fastnet.http.cookies.format_set_cookie``.
        """
        self.headers.append("set-cookie", format_set_cookie(
            key, value, max_age=max_age, expires=expires, path=path, domain=domain, secure=secure, httponly=httponly,
            samesite=samesite, partitioned=partitioned,
        ))

    def delete_cookie(
        self, str key not None, *, path="/", domain=None, bint secure=False, bint httponly=False, samesite="lax",
        bint partitioned=False,
    ):
        """Tell the browser to drop a cookie; path, domain and prefix must be those it was set with."""
        self.set_cookie(
            key, "", max_age=0, expires=EPOCH, path=path, domain=domain, secure=secure, httponly=httponly,
            samesite=samesite, partitioned=partitioned,
        )

    def __repr__(self):
        return f"<{type(self).__name__} {self.status} {self.media_type or 'without a type'}>"

cdef object check_chunks(object chunks):
    if isinstance(chunks, (str, bytes, bytearray, memoryview)) or not (
        hasattr(chunks, "__aiter__") or hasattr(chunks, "__iter__")
    ):
        raise TypeError(f"a streamed body is an iterable or async iterable of its pieces, not {type(chunks).__name__}")
    return chunks


# RFC 9110, 6.5.1.
cdef frozenset NO_TRAILERS = frozenset((
    b"content-encoding", b"content-length", b"content-range", b"content-type", b"host", b"trailer",
))


cdef class Stream(Response):
    """An answer whose body comes piece by piece.

    ``content`` is an iterable, generator, async iterable or async generator. Pieces are bytes, or
    str sent as UTF-8. It is closed when the peer leaves.
    """

    def __init__(self, content, int status_code=200, headers=None, media_type=None):
        self.status = check_status(status_code)
        self.chunks = check_chunks(content)
        if media_type is not None:
            self.content_type = content_type_of(media_type)
        if headers is not None:
            self.add_headers(headers)

    @property
    def trailers(self):
        """Fields to send after the body, ``MutableHeaders``: set them before the last chunk is taken.

        They need a length that is not known beforehand, and HTTP/1.1 or newer; elsewhere they are dropped.
        What frames or describes the body (``content-length``, ``content-type`` …) breaks the answer off.
        """
        if self._trailers is None:
            self._trailers = MutableHeaders()
        return self._trailers

    cdef list trailer_fields(self):
        cdef bytes name
        if self._trailers is None or not self._trailers.fields:
            return None
        for name, _ in self._trailers.fields:
            if name in NO_TRAILERS:
                raise ValueError(f"header {name.decode()!r} cannot come after the body that it frames or describes")
        return self._trailers.fields


@cython.final
cdef class HTMLResponse(Response):
    """Text as text/html."""

    def __init__(self, content=None, int status_code=200, headers=None, media_type="text/html"):
        self.status = check_status(status_code)
        self.set_content(content, media_type)
        if headers is not None:
            self.add_headers(headers)


@cython.final
cdef class PlainTextResponse(Response):
    """Text as text/plain."""

    def __init__(self, content=None, int status_code=200, headers=None, media_type="text/plain"):
        self.status = check_status(status_code)
        self.set_content(content, media_type)
        if headers is not None:
            self.add_headers(headers)


@cython.final
cdef class RedirectResponse(Response):
    """Sends the client to ``url``.

    307 and 308 keep the method, 302 and 303 make it a GET; 301 and 308 are for good. Blanks and
    characters outside ASCII are percent-encoded; a control character raises ``ValueError``.
    """

    def __init__(self, url, int status_code=307, headers=None):
        cdef str target = str(url)
        if not 300 <= status_code <= 399:
            raise ValueError(f"{status_code} is no redirect: it must lie between 300 and 399")
        # Told before the encoding below would hide it.
        check_value(b"location", target.encode("utf-8"))
        self.status = status_code
        self.content = b""
        self.add_headers(headers if headers is not None else ())
        self._headers.put(b"location", quote(target, safe=URL_SAFE).encode("ascii"))
