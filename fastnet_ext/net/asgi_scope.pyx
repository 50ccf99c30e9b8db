# cython: freethreading_compatible=True
"""An ASGI scope becomes the head of a request; asgi_scope.pxd is the map.

The specification: https://asgi.readthedocs.io/en/latest/specs/www.html.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t

from urllib.parse import quote, unquote_to_bytes

from fastnet_ext.core.headers cimport (
    HEADER_CONTENT_LENGTH, HEADER_EXPECT, HEADER_HOST, HEADER_SEC_WEBSOCKET_PROTOCOL, HEADER_TRANSFER_ENCODING,
    METHOD_GET, METHOD_HEAD, HeaderBlock, HeaderId, find_header_id, find_method,
)
from fastnet_ext.core.scan cimport equals_fold, is_authority, is_field_value, is_target, is_token, parse_decimal
from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.net.asgi_errors import MalformedRequest, ScopeError
from fastnet_ext.proxy.forwarded cimport Proxies

cdef dict VERSIONS = {"1.0": 10, "1.1": 11, "2": 20, "2.0": 20, "3": 30, "3.0": 30}

# What may stand in a path beside letters, digits and -._~ (RFC 3986, 3.3).
cdef str PATH_CHARACTERS = "/:@!$&'()*+,;="


cdef int read_scope(Exchange x, object scope, bint websocket) except -1:
    cdef HeaderBlock head = HeaderBlock.__new__(HeaderBlock)
    cdef str version = _text(scope, "http_version", "1.1")
    cdef bytes method = b"GET" if websocket else _ascii(_text(scope, "method", None), "the method")
    cdef bytes path = _path(scope)
    cdef bytes query = _query(scope)
    if version not in VERSIONS:
        raise ScopeError(f"http_version {version!r} is none that is known: {', '.join(VERSIONS)}")
    if not is_token(PyBytes_AS_STRING(method), PyBytes_GET_SIZE(method)):
        raise MalformedRequest("the method is no token")
    x.head = head
    x.version = VERSIONS[version]
    head.method = find_method(PyBytes_AS_STRING(method), PyBytes_GET_SIZE(method))
    head.store(PyBytes_AS_STRING(method), <uint32_t>PyBytes_GET_SIZE(method), &head.method_name)
    _read_target(x, head, path, query)
    x.is_head = head.method == METHOD_HEAD
    _read_fields(x, head, scope, websocket)
    return 0


cdef str _text(object scope, str name, object default):
    cdef object value = scope.get(name, default)
    if not isinstance(value, str):
        raise ScopeError(f"{name} is a str, not {type(value).__name__}")
    return value


cdef bytes _ascii(str text, str what):
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise MalformedRequest(f"{what} has characters that are no ASCII") from None


cdef bytes _path(object scope):
    """The path as it came. ``raw_path`` counts while it says what ``path`` says: middleware may have changed that."""
    cdef str path = _text(scope, "path", None)
    cdef object raw = scope.get("raw_path")
    cdef bytes plain
    if not path:
        return b"/"     # below a root_path that is all of it
    try:
        plain = path.encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedRequest("the path has characters that no UTF-8 has") from None
    if raw is not None:
        if not isinstance(raw, bytes):
            raise ScopeError(f"raw_path is bytes, not {type(raw).__name__}")
        # Its percent-encoded bytes may be no UTF-8, which servers decode to U+FFFD.
        if raw == plain and b"%" not in raw or unquote_to_bytes(raw).decode("utf-8", "replace") == path:
            return raw
    return quote(path, safe=PATH_CHARACTERS).encode("ascii")


cdef bytes _query(object scope):
    cdef object query = scope.get("query_string", b"")
    if query is None:
        return b""
    if not isinstance(query, bytes):
        raise ScopeError(f"query_string is bytes, not {type(query).__name__}")
    return query


cdef int _read_target(Exchange x, HeaderBlock head, bytes path, bytes query) except -1:
    cdef bytes target = path + b"?" + query if query else path
    if len(target) > HEAD_LIMIT:
        raise MalformedRequest("the request target is too long", 414)
    if not target.startswith(b"/") and target != b"*":
        raise MalformedRequest("the path does not begin with a slash")
    if not is_target(PyBytes_AS_STRING(target), PyBytes_GET_SIZE(target)) or b"?" in path:
        raise MalformedRequest("the request target has characters that may not stand in one")
    head.store(PyBytes_AS_STRING(target), <uint32_t>PyBytes_GET_SIZE(target), &head.target)
    x.path.offset = head.target.offset
    x.path.size = <uint32_t>PyBytes_GET_SIZE(path)
    x.query_size = <uint32_t>PyBytes_GET_SIZE(query)
    return 0


cdef int _read_fields(Exchange x, HeaderBlock head, object scope, bint websocket) except -1:
    cdef bytes name, value
    cdef HeaderId id
    cdef int64_t length = -1
    cdef bint has_host = False, has_coding = False
    cdef object subprotocols = scope.get("subprotocols") if websocket else None
    for pair in _fields_of(scope):
        name, value = _field_of(pair)
        id = find_header_id(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        if id == HEADER_CONTENT_LENGTH:
            if length >= 0:
                raise MalformedRequest("more than one Content-Length")
            length = parse_decimal(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
            if length < 0:
                raise MalformedRequest("Content-Length is no decimal number")
        elif id == HEADER_TRANSFER_ENCODING:
            has_coding = True
        elif id == HEADER_HOST:
            if has_host:
                raise MalformedRequest("more than one Host")
            has_host = True
            if value and not is_authority(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), False):
                raise MalformedRequest("Host is not host[:port]")
        elif id == HEADER_EXPECT:
            x.wants_continue = x.version == 11 and equals_fold(
                PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), b"100-continue", 12
            )
        elif id == HEADER_SEC_WEBSOCKET_PROTOCOL and subprotocols is not None:
            continue
        _append(head, name, value, id)
    if subprotocols:
        name, value = _field_of((b"sec-websocket-protocol", _ascii(", ".join(subprotocols), "a subprotocol")))
        _append(head, name, value, HEADER_SEC_WEBSOCKET_PROTOCOL)
    if websocket:
        length = 0
    elif has_coding:
        length = -1     # it overrides Content-Length: RFC 9112, 6.3
    elif length < 0 and x.version < 20 and (head.method == METHOD_GET or head.method == METHOD_HEAD):
        # RFC 9112, 6.3 says so of every method; of these a server that leaves fields out is believed.
        length = 0
    x.content_length = length
    return 0


cdef object _fields_of(object scope):
    cdef object fields = scope.get("headers", ())
    if fields is None or isinstance(fields, (str, bytes, dict)):
        raise ScopeError(f"headers are pairs of bytes, not {type(fields).__name__}")
    return fields


cdef tuple _field_of(object pair):
    """Name, in lower case, and value of one field."""
    try:
        name, value = pair
    except (TypeError, ValueError):
        raise ScopeError("headers are pairs of bytes: a name and a value") from None
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise ScopeError(f"headers are pairs of bytes, not of {type(name).__name__} and {type(value).__name__}")
    if not is_token(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)):
        raise MalformedRequest("a header's name is no token")
    if not is_field_value(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)):
        raise MalformedRequest("a header's value has a control character")
    return name.lower(), value.strip(b" \t")


cdef int _append(HeaderBlock head, bytes name, bytes value, HeaderId id) except -1:
    if len(name) + len(value) > HEAD_LIMIT - <Py_ssize_t>head.size:
        raise MalformedRequest("the request head is too large", 431)
    return head.append(
        PyBytes_AS_STRING(name), <uint32_t>PyBytes_GET_SIZE(name),
        PyBytes_AS_STRING(value), <uint32_t>PyBytes_GET_SIZE(value), id,
    )


cdef Proxies read_root(object scope):
    cdef str root = _text(scope, "root_path", "").rstrip("/")
    if not root:
        return None
    try:
        return Proxies(headers="none", root_path=quote(root, safe=PATH_CHARACTERS))
    except ValueError as error:
        raise ScopeError(str(error)) from None
