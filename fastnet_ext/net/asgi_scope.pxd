"""An ASGI scope becomes the head of a request, checked as strictly as one that we read from a socket."""

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.proxy.forwarded cimport Proxies


cdef enum:
    # Bytes of a head. Servers have limits of their own, and lower ones: this keeps spans within 32 bits.
    HEAD_LIMIT = 16 * 1024 * 1024


# Fill the request part of `x`. Raises MalformedRequest for what a peer may have sent, ScopeError for what only the
# server, or what stands between it and us, can have got wrong.
cdef int read_scope(Exchange x, object scope, bint websocket) except -1

# What the scope's root_path stands for; None when it is empty. Raises ScopeError.
cdef Proxies read_root(object scope)
