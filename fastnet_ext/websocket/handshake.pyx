# cython: freethreading_compatible=True
"""The opening hand-shake of RFC 6455, section 4, over parsed heads.

Runs once per connection, so what is not a scan is plain Python.
"""

from base64 import b64encode
from hashlib import sha1
from os import urandom
from re import compile as _compile

from libc.stdint cimport uint32_t
from libc.string cimport strlen

from fastnet_ext.core.headers cimport (
    HEADER_CONNECTION,
    HEADER_HOST,
    HEADER_ORIGIN,
    HEADER_SEC_WEBSOCKET_ACCEPT,
    HEADER_SEC_WEBSOCKET_EXTENSIONS,
    HEADER_SEC_WEBSOCKET_KEY,
    HEADER_SEC_WEBSOCKET_PROTOCOL,
    HEADER_SEC_WEBSOCKET_VERSION,
    HEADER_UPGRADE,
    METHOD_CONNECT,
    METHOD_GET,
    Field,
    HeaderBlock,
    find_method,
)
from fastnet_ext.websocket.extensions cimport PerMessageDeflate, accept_answer, parse_extensions

# RFC 6455, section 1.3: what makes an answer that of a WebSocket server.
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# RFC 9110, section 5.6.2.
_is_token = _compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch


cdef const Field* _only(HeaderBlock head, unsigned int id) noexcept:
    """The field of that id when there is exactly one, else NULL."""
    cdef const Field* field = head.find(id)
    if field is NULL or head.find_next(id, field) is not NULL:
        return NULL
    return field


cdef bint _lists(HeaderBlock head, unsigned int id, const char* token) noexcept:
    """Whether a field of that id lists the token."""
    cdef const Field* field = head.find(id)
    while field is not NULL:
        if has_token(head.at(field.value), field.value.size, token):
            return True
        field = head.find_next(id, field)
    return False


cdef int check_request(HeaderBlock head, bint upgrade, const char** why) except -1:
    cdef const Field* field
    if upgrade:
        if head.method != METHOD_GET:
            why[0] = b"a WebSocket is opened with GET"
            return 405
        if not _lists(head, HEADER_UPGRADE, b"websocket") or not _lists(head, HEADER_CONNECTION, b"upgrade"):
            why[0] = b"this resource speaks WebSocket only"
            return 426
    elif head.method != METHOD_CONNECT:
        why[0] = b"a WebSocket over HTTP/2 is opened with CONNECT"
        return 400
    field = head.find(HEADER_SEC_WEBSOCKET_VERSION)
    if field is not NULL and _only(head, HEADER_SEC_WEBSOCKET_VERSION) is NULL:
        why[0] = b"more than one Sec-WebSocket-Version"
        return 400
    if field is NULL or head.raw(field.value) != b"13":
        why[0] = b"this server speaks version 13 of WebSocket only"
        return 426
    if upgrade:
        field = _only(head, HEADER_SEC_WEBSOCKET_KEY)
        if field is NULL or not is_key(head.at(field.value), field.value.size):
            why[0] = b"Sec-WebSocket-Key is not the base64 of 16 bytes"
            return 400
    try:
        offered_subprotocols(head)
    except ValueError:
        why[0] = b"Sec-WebSocket-Protocol is not a list of different names"
        return 400
    try:
        offered_extensions(head)
    except ValueError:
        why[0] = b"Sec-WebSocket-Extensions is not a list of extensions"
        return 400
    return 0


cdef bytes accept_key(bytes key):
    return b64encode(sha1(key + GUID, usedforsecurity=False).digest())


cdef bytes request_key(HeaderBlock head):
    cdef const Field* field = head.find(HEADER_SEC_WEBSOCKET_KEY)
    return None if field is NULL else head.raw(field.value)


cdef list offered_subprotocols(HeaderBlock head):
    cdef str joined = head.joined(HEADER_SEC_WEBSOCKET_PROTOCOL)
    cdef list names
    if joined is None:
        return []
    names = [name.strip(" \t") for name in joined.split(",")]
    # Section 4.1: the names are tokens, and all of them differ.
    if len(set(names)) != len(names):
        raise ValueError("a subprotocol is offered twice")
    for name in names:
        if _is_token(name) is None:
            raise ValueError("a subprotocol is not a token")
    return names


cdef str offered_extensions(HeaderBlock head):
    cdef str joined = head.joined(HEADER_SEC_WEBSOCKET_EXTENSIONS)
    if joined is not None:
        parse_extensions(joined)
    return joined


cdef str choose_subprotocol(HeaderBlock head, supported):
    cdef list offered = offered_subprotocols(head)
    for name in supported:
        if name in offered:
            return name
    return None


cdef bint same_origin(HeaderBlock head) noexcept:
    cdef const Field* origin = head.find(HEADER_ORIGIN)
    cdef const Field* host
    if origin is NULL:
        return True
    if head.find_next(HEADER_ORIGIN, origin) is not NULL:
        return False
    if head.authority.size:
        return origin_is_of_host(
            head.at(origin.value), origin.value.size, head.at(head.authority), head.authority.size
        )
    host = _only(head, HEADER_HOST)
    if host is NULL:
        return False
    return origin_is_of_host(head.at(origin.value), origin.value.size, head.at(host.value), host.value.size)


cdef bytes make_key():
    return b64encode(urandom(16))


cdef const char* check_response(HeaderBlock head, bytes key, offered, PerMessageDeflate settings) except? NULL:
    cdef const Field* field
    if head.status != 101:
        return b"the server did not switch protocols"
    if not _lists(head, HEADER_UPGRADE, b"websocket"):
        return b"the answer has no Upgrade: websocket"
    if not _lists(head, HEADER_CONNECTION, b"upgrade"):
        return b"the answer has no Connection: upgrade"
    field = _only(head, HEADER_SEC_WEBSOCKET_ACCEPT)
    if field is NULL or head.raw(field.value) != accept_key(key):
        return b"Sec-WebSocket-Accept does not answer the key"
    if head.find(HEADER_SEC_WEBSOCKET_EXTENSIONS) is not NULL:
        if settings is None:
            return b"the server accepted an extension that was not offered"
        try:
            accept_answer(head.joined(HEADER_SEC_WEBSOCKET_EXTENSIONS), settings)
        except ValueError:
            return b"the server's Sec-WebSocket-Extensions do not answer the offer"
    field = head.find(HEADER_SEC_WEBSOCKET_PROTOCOL)
    if field is not NULL and (
        _only(head, HEADER_SEC_WEBSOCKET_PROTOCOL) is NULL or head.text(field.value) not in offered
    ):
        return b"the server chose a subprotocol that was not offered"
    return NULL


# The same for Python, over fields as pairs of bytes.

def request_problem(fields, *, bytes method not None=b"GET", bint upgrade=True):
    """``(status, sentence)`` when the request cannot become a WebSocket, else None."""
    cdef HeaderBlock head = HeaderBlock(fields)
    cdef const char* why = NULL
    cdef const char* name = method
    cdef int status
    head.method = find_method(name, <size_t>len(method))
    status = check_request(head, upgrade, &why)
    return (status, why[:strlen(why)].decode("ascii")) if status else None


def response_problem(
    fields, bytes key not None, offered=(), *, uint32_t status=101, PerMessageDeflate compression=None
):
    """A sentence when the server's answer does not open the WebSocket asked for, else None."""
    cdef HeaderBlock head = HeaderBlock(fields)
    cdef const char* why
    head.status = status
    why = check_response(head, key, offered, compression)
    return None if why is NULL else why[:strlen(why)].decode("ascii")


def accept(bytes key not None):
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    return accept_key(key)


def new_key():
    """A fresh Sec-WebSocket-Key."""
    return make_key()


def offers(fields):
    """The offered subprotocols, in order; ValueError when the field is malformed."""
    return offered_subprotocols(HeaderBlock(fields))


def choose(fields, supported):
    """The first name of ``supported`` that is offered, else None."""
    return choose_subprotocol(HeaderBlock(fields), supported)


def is_same_origin(fields, *, bytes authority not None=b""):
    """Whether the request comes from a page of its own host, or from no page.

    ``authority`` is the :authority of HTTP/2, which stands in for Host.
    """
    cdef HeaderBlock head = HeaderBlock(fields)
    cdef const char* name = authority
    if authority:
        head.store(name, <uint32_t>len(authority), &head.authority)
    return same_origin(head)
