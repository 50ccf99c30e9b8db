# cython: freethreading_compatible=True
"""Reads the messages by which ASGI applications answer; asgi_messages.pxd is the map."""

from fastnet_ext.exchange.head cimport ResponseHead, lowered


cdef list pairs(dict message, str what):
    """The message's headers: (name, value) bytes, names in lower case."""
    cdef list fields = []
    for pair in message.get("headers", ()):
        name, value = pair
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise not_bytes(pair, what)
        fields.append((lowered(name), value))
    return fields


cdef object not_bytes(object pair, str what):
    name, value = pair
    return TypeError(
        f"{what}: headers are pairs of bytes, not ({type(name).__name__}, {type(value).__name__}): {pair!r}"
    )


cdef ResponseHead head_of(dict message, str what):
    cdef object status = message.get("status")
    cdef ResponseHead head
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"{what}: status is a number from 200 to 599, not {status!r}")
    head = ResponseHead(status)
    for pair in message.get("headers", ()):
        name, value = pair
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise not_bytes(pair, what)
        # What frames a message or manages a connection is the carrier's, whatever the application says of it.
        head.add(<bytes>name, <bytes>value, True)
    return head


cdef bytes body_of(dict message, str what):
    cdef object body = message.get("body")
    if type(body) is bytes:
        return <bytes>body
    if body is None:
        return b""
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise TypeError(f"{what}: body is bytes, not {type(body).__name__}")


# --- for answers that go elsewhere

def checked_head(dict message not None):
    """Status and headers, a list of (name, value) bytes, of an ``http.response.start``; raises as ``send`` does."""
    cdef ResponseHead head = head_of(message, "http.response.start")
    cdef list fields = list(head.fields)
    if head.content_length >= 0:
        fields.append((b"content-length", b"%d" % head.content_length))
    return head.status, fields


def checked_body(dict message not None):
    """The bytes of an ``http.response.body``; raises as ``send`` does."""
    return body_of(message, "http.response.body")
