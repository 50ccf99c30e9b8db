# cython: freethreading_compatible=True
"""What trusted proxies say of a request; forwarded.pxd has the rules."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint32_t
from libc.string cimport memcmp

from re import compile as _compile
from urllib.parse import unquote_to_bytes

from fastnet_ext.core.headers cimport (
    HEADER_FORWARDED, HEADER_OTHER, HEADER_X_FORWARDED_FOR, HEADER_X_FORWARDED_HOST, HEADER_X_FORWARDED_PROTO,
    Field, HeaderBlock,
)
from fastnet_ext.core.scan cimport is_authority
from fastnet_ext.proxy.networks cimport IpAddress, Networks, ip_text, parse_node, parse_port

cdef dict SOURCES = {
    "auto": SOURCE_AUTO, "forwarded": SOURCE_FORWARDED, "x-forwarded": SOURCE_X_FORWARDED, "none": SOURCE_NONE,
}
cdef dict MODES = {"off": PROTOCOL_OFF, "optional": PROTOCOL_OPTIONAL, "required": PROTOCOL_REQUIRED}
cdef dict SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

# One forwarded-pair or none, and what ends it: RFC 7239, section 4. White space around ";" is not in its
# grammar, and common.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = r'"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*)"'
_read_pair = _compile(rf"[ \t]*(?:({_TOKEN})=(?:({_TOKEN})|{_QUOTED}))?[ \t]*([;,]|\Z)").match
_unescape = _compile(r"\\(.)").sub

# Segments of RFC 3986, none of them empty.
_is_prefix = _compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+;=:@-]|%[0-9A-Fa-f]{2})+)+").fullmatch


@cython.final
cdef class Proxies:
    """The proxies in front of a listener.

    ``headers``: which fields of theirs count, ``"forwarded"``, ``"x-forwarded"``, ``"none"``, or
    ``"auto"``: X-Forwarded-* where a request has any of them, else Forwarded. ``protocol``: whether their
    connections begin with the PROXY protocol's header, ``"off"``, ``"optional"`` or ``"required"``.
    ``root_path``: the path below which they serve the app. ``ValueError`` says what cannot be used.
    """

    def __init__(self, trusted=(), *, str headers="auto", str protocol="off", str root_path=""):
        cdef str path = clean_prefix(root_path)
        if headers not in SOURCES:
            raise ValueError(f"{headers!r} is not known: choose auto, forwarded, x-forwarded or none")
        if protocol not in MODES:
            raise ValueError(f"{protocol!r} is not known: choose off, optional or required")
        if path is None:
            raise ValueError(
                f"root_path {root_path!r} is no clean path: it begins with a slash, has no empty, . or .. segments, "
                "and is percent-encoded"
            )
        self.trusted = trusted if isinstance(trusted, Networks) else Networks(trusted)
        self.source = SOURCES[headers]
        self.protocol = MODES[protocol]
        self.root_path = path
        self.root = path.encode("ascii")


@cython.final
cdef class Forwarded:
    """What the trusted proxies in front of a connection say of one request."""

    cdef bint _take(self, const char* text, size_t size, IpAddress* ip) except -1:
        """Go one hop further, to the address that the text names; false when it names none."""
        cdef int port
        if not parse_node(text, size, ip, &port):
            return False
        self.port = port
        self.hops += 1
        return True

    # --- X-Forwarded-*

    cdef int _read_x_forwarded(self, HeaderBlock head, Networks trusted) except -1:
        cdef bytes addresses = joined(head, HEADER_X_FORWARDED_FOR, b"x-forwarded-for")
        cdef int count = 0
        cdef str text
        if addresses is not None:
            self._read_addresses(addresses, trusted)
            count = len(elements_of(addresses))
        text = chosen(joined(head, HEADER_X_FORWARDED_PROTO, b"x-forwarded-proto"), count, self.hops)
        self.scheme = None if text is None else SCHEMES.get(text.lower())
        text = chosen(joined(head, HEADER_X_FORWARDED_HOST, b"x-forwarded-host"), count, self.hops)
        self.authority = text if is_host(text) else None
        text = chosen(joined(head, HEADER_OTHER, b"x-forwarded-port"), count, self.hops)
        self.server_port = port_number(text)
        text = chosen(joined(head, HEADER_OTHER, b"x-forwarded-prefix"), count, self.hops)
        self.prefix = None if text is None else clean_prefix(text)
        return 0

    cdef int _read_addresses(self, bytes value, Networks trusted) except -1:
        cdef const char* data = PyBytes_AS_STRING(value)
        cdef Py_ssize_t end = PyBytes_GET_SIZE(value), start, first, last
        cdef IpAddress ip, client
        while end >= 0:
            start = end
            while start > 0 and data[start - 1] != b",":
                start -= 1
            first = start
            last = end
            end = start - 1
            while first < last and (data[first] == b" " or data[first] == b"\t"):
                first += 1
            while first < last and (data[last - 1] == b" " or data[last - 1] == b"\t"):
                last -= 1
            if first == last:
                continue    # RFC 9110, 5.6.1.2: empty elements do not count
            if not self._take(data + first, last - first, &ip):
                break
            client = ip
            if not trusted.has(&ip):
                break
        if self.hops:
            self.host = ip_text(&client)
        return 0

    # --- Forwarded

    cdef int _read_forwarded(self, list elements, Networks trusted) except -1:
        cdef IpAddress ip, client
        cdef Py_ssize_t size = 0
        cdef const char* text
        for element in reversed(elements):
            if element is None:
                break
            # Said by a trusted proxy: the outermost one that says it is nearest to the client.
            scheme = SCHEMES.get(element.get("proto", "").lower())
            if scheme is not None:
                self.scheme = scheme
            if is_host(element.get("host")):
                self.authority = element["host"]
            text = PyUnicode_AsUTF8AndSize(element.get("for", ""), &size)
            if not self._take(text, size, &ip):
                break
            client = ip
            if not trusted.has(&ip):
                break
        if self.hops:
            self.host = ip_text(&client)
        return 0

    def __repr__(self):
        return (
            f"Forwarded(host={self.host!r}, port={self.port}, scheme={self.scheme!r}, authority={self.authority!r}, "
            f"prefix={self.prefix!r})"
        )


cdef Forwarded read_forwarded(HeaderBlock head, Proxies proxies):
    cdef Forwarded found = Forwarded.__new__(Forwarded)
    cdef HeaderSource source = proxies.source
    if source == SOURCE_AUTO:
        source = SOURCE_X_FORWARDED if has_x_forwarded(head) else SOURCE_FORWARDED
    if source == SOURCE_X_FORWARDED:
        found._read_x_forwarded(head, proxies.trusted)
    elif source == SOURCE_FORWARDED:
        found._read_forwarded(forwarded_elements(head), proxies.trusted)
    return found


cdef bint has_x_forwarded(HeaderBlock head) noexcept:
    cdef uint32_t i
    cdef const Field* field
    for i in range(head.count):
        field = &head.fields[i]
        if field.id == HEADER_X_FORWARDED_FOR or field.id == HEADER_X_FORWARDED_HOST or field.id == HEADER_X_FORWARDED_PROTO:
            return True
        if field.id == HEADER_OTHER and (is_named(head, field, b"x-forwarded-port", 16) or is_named(head, field, b"x-forwarded-prefix", 18)):
            return True
    return False


cdef bint is_named(HeaderBlock head, const Field* field, const char* name, size_t size) noexcept:
    return field.name.size == size and memcmp(head.at(field.name), name, size) == 0


cdef bytes joined(HeaderBlock head, uint32_t id, bytes name):
    """The values of a field joined by commas, in the order they came (RFC 9110, 5.3); None without one."""
    cdef const Field* field
    cdef bytes found = None
    cdef uint32_t i
    for i in range(head.count):
        field = &head.fields[i]
        if field.id == id and (id != HEADER_OTHER or is_named(head, field, name, len(name))):
            found = head.raw(field.value) if found is None else found + b"," + head.raw(field.value)
    return found


cdef list elements_of(bytes value):
    """The elements of a comma-separated list, without the empty ones."""
    return [part for item in value.decode("latin-1").split(",") if (part := item.strip(" \t"))]


cdef str chosen(bytes value, int count, int hops):
    """The value that belongs to the client's connection; None without one.

    ``count`` is the number of addresses in X-Forwarded-For. With as many values each proxy added its
    own, and the client's stands where its address does; otherwise the nearest proxy's counts.
    """
    cdef list values
    if value is None:
        return None
    values = elements_of(value)
    if not values:
        return None
    return values[count - hops] if hops and len(values) == count else values[-1]


cdef bint is_host(object text) except -1:
    cdef bytes raw
    if text is None or not text.isascii():
        return False
    raw = text.encode("ascii")
    return is_authority(PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw), False)


cdef int port_number(str text) except -1:
    cdef Py_ssize_t size = 0
    cdef const char* data
    if text is None:
        return 0
    data = PyUnicode_AsUTF8AndSize(text, &size)
    return max(0, parse_port(data, size))


cdef list forwarded_elements(HeaderBlock head):
    """The elements of all Forwarded fields: a dict of lower-case names each, None for a malformed one.

    Each field is read for itself: an open quote in one that the client sent must not swallow the next.
    """
    cdef const Field* field = head.find(HEADER_FORWARDED)
    cdef list elements = []
    while field is not NULL:
        read_elements(head.text(field.value), elements)
        field = head.find_next(HEADER_FORWARDED, field)
    return elements


def read_elements(str value, list elements):
    """Append the elements of one Forwarded field."""
    cdef Py_ssize_t position = 0, start = 0
    cdef dict element = {}
    while True:
        match = _read_pair(value, position)
        if match is not None:
            name, token, quoted, end = match.groups()
        if match is None or (name is not None and name.lower() in element):
            # The rest is read from the next comma on: what a proxy appended to its client's nonsense counts.
            elements.append(None)
            position = start = value.find(",", start) + 1
            if position == 0:
                return
            element = {}
            continue
        if name is not None:
            element[name.lower()] = token if token is not None else _unescape(r"\1", quoted)
        position = match.end()
        if end != ";":
            if element:
                elements.append(element)
            if end != ",":
                return
            element = {}
            start = position


cpdef str clean_prefix(str path):
    path = path[:-1] if path.endswith("/") else path
    if not path:
        return ""
    if _is_prefix(path) is None:
        return None
    for segment in path[1:].split("/"):
        decoded = unquote_to_bytes(segment)
        if decoded in (b".", b"..") or b"/" in decoded or b"\\" in decoded or min(decoded) < 0x20 or 0x7F in decoded:
            return None
    return path


def forwarded_of(fields, Proxies proxies not None):
    """What trusted proxies say of a request with these fields, pairs of bytes; its peer is trusted."""
    return read_forwarded(HeaderBlock(fields), proxies)
