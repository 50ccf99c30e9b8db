"""The scope of ASGI: what an application is told of a request before it runs.

`path` and `raw_path` are whole; `root_path` is what of them lies above the application: what proxies
cut off, then what its mount matched.
"""

from fastnet_ext.exchange.exchange cimport Exchange


cdef class AsgiApplication:
    cdef readonly object application    # application(scope, receive, send) -> coroutine
    # What its lifespan left for its requests, each of which gets a shallow copy.
    cdef public dict state


# Ways to answer beside head and body; a constant.
cdef dict HTTP_EXTENSIONS

# The scopes of a request whose route ends in the rest of the path: "/old/{path:path}".
cdef dict http_scope(AsgiApplication of, Exchange x)
cdef dict websocket_scope(AsgiApplication of, Exchange x)
