# cython: freethreading_compatible=True
"""An exchange in words; describe.pxd is the map."""

from fastnet_ext.exchange.exchange cimport Exchange, Route
from fastnet_ext.exchange.request cimport request_id


cdef dict describe(Exchange x, double now):
    cdef Route route = x.route
    return {
        "method": x.head.text(x.head.method_name),
        "path": x.path_text(),
        "query": x.head.at(x.query())[:x.query_size].decode("latin-1"),
        "route": "" if route is None else route.path,
        "handler": None if route is None else route.handler,
        "request_id": request_id(x),
        "peer": x.connection.extra("peername"),
        "seconds": max(now - x.began, 0.0),
        "status": x.status,
        "bytes_received": x.body_received,
        "bytes_sent": x.bytes_sent,
    }
