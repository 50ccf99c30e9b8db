# cython: freethreading_compatible=True
"""Builds ASGI scopes (specification 3.0, HTTP and WebSocket) from exchanges; asgi_scope.pxd is the map."""

cimport cython
from cpython.dict cimport PyDict_Copy
from libc.stdint cimport uint32_t

from fastnet_ext.core.headers cimport HEADER_COUNT, HEADER_HOST, HEADER_OTHER, Field, HeaderBlock, header_name
from fastnet_ext.exchange.exchange cimport ConnectionInfo, Exchange, decode_percent
from fastnet_ext.exchange.request cimport method_of, root_path_of, scheme_of
from fastnet_ext.proxy.forwarded cimport Forwarded
from fastnet_ext.serve.asgi_tls import tls_extension
from fastnet_ext.websocket.handshake cimport offered_subprotocols

# Constants: every scope is a copy. With all keys in place a copy is one allocation, and filling it none.
cdef dict HTTP_SCOPE = dict.fromkeys((
    "type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path", "headers",
    "client", "server", "state", "extensions",
))
HTTP_SCOPE["type"] = "http"
cdef dict WEBSOCKET_SCOPE = {key: value for key, value in HTTP_SCOPE.items() if key != "method"}
WEBSOCKET_SCOPE["type"] = "websocket"
WEBSOCKET_SCOPE["subprotocols"] = None

# From 2.4 on an HTTP application learns from `send` that its client is gone; frameworks then stop to listen for
# http.disconnect, and a stream that is silent would go on without anybody. So 2.3, as uvicorn has it.
cdef dict HTTP_VERSIONS = {"version": "3.0", "spec_version": "2.3"}
cdef dict WEBSOCKET_VERSIONS = {"version": "3.0", "spec_version": "2.4"}

cdef dict HTTP_EXTENSIONS = {
    "http.response.early_hint": {},
    "http.response.pathsend": {},
    "http.response.trailers": {},
}
cdef dict WEBSOCKET_EXTENSIONS = {"websocket.http.response": {}}

# Names of fields by their ids: most names of a request need no object of their own.
cdef tuple NAMES = tuple([<bytes>header_name(i) for i in range(<uint32_t>HEADER_COUNT)])


@cython.final
cdef class AsgiApplication:
    """An ASGI application and the state that its lifespan left."""

    def __init__(self, application):
        self.application = application
        self.state = {}


cdef dict http_scope(AsgiApplication of, Exchange x):
    cdef dict scope = PyDict_Copy(HTTP_SCOPE)
    scope["asgi"] = PyDict_Copy(HTTP_VERSIONS)
    scope["method"] = method_of(x)
    scope["scheme"] = scheme_of(x)
    fill(scope, of, x, HTTP_EXTENSIONS)
    return scope


cdef dict websocket_scope(AsgiApplication of, Exchange x):
    cdef dict scope = PyDict_Copy(WEBSOCKET_SCOPE)
    scope["asgi"] = PyDict_Copy(WEBSOCKET_VERSIONS)
    scope["scheme"] = "wss" if scheme_of(x) == "https" else "ws"
    scope["subprotocols"] = offered_subprotocols(x.head)
    fill(scope, of, x, WEBSOCKET_EXTENSIONS)
    return scope


cdef int fill(dict scope, AsgiApplication of, Exchange x, dict extensions) except -1:
    """What both kinds of scope have."""
    cdef HeaderBlock head = x.head
    cdef ConnectionInfo connection = x.connection
    cdef Forwarded forwarded = x.forwarded()
    cdef str root = root_path_of(x)
    cdef str path = x.path_text()
    cdef bytes raw_path = head.raw(x.path)
    cdef object tls
    # What the mount matched: up to the slash before the rest of the path.
    cdef Py_ssize_t above = x.params[x.param_count - 1].offset - 1 - x.path.offset if x.param_count else 0
    if root:
        raw_path = root.encode("latin-1") + raw_path
        root = decode_percent(root.encode("latin-1"), len(root))
        path = root + path
    if above > 0:
        root += decode_percent(head.at(x.path), above)
    if x.param_count > 1:
        scope["path_params"] = {
            x.route.param_names[i]: decode_percent(head.at(x.params[i]), x.params[i].size)
            for i in range(x.param_count - 1)
        }
    scope["http_version"] = "1.1" if x.version == 11 else "2" if x.version == 20 else "1.0"
    scope["path"] = path
    scope["raw_path"] = raw_path
    scope["query_string"] = head.raw(x.query())
    scope["root_path"] = root
    scope["headers"] = header_list(head, x.version)
    scope["state"] = PyDict_Copy(of.state)
    scope["extensions"] = extensions = PyDict_Copy(extensions)
    if connection.asgi_ends is None:
        connection.asgi_ends = (end_of(connection.peer_name()), end_of(connection.extra("sockname")))
    scope["client"], scope["server"] = connection.asgi_ends
    if forwarded is not None and forwarded.host is not None:
        scope["client"] = (forwarded.host, forwarded.port)
    if connection.secure:
        tls = connection.extra("tls")
        if tls is not None:
            extensions["tls"] = tls_extension(tls)
    return 0


cdef list header_list(HeaderBlock head, int version):
    """The fields as ASGI has them: (name, value) bytes, names in lower case; :authority is `host`."""
    cdef list fields = []
    cdef const Field* field
    cdef bytes name
    cdef uint32_t i
    if version == 20 and head.authority.size and head.find(HEADER_HOST) is NULL:
        fields.append((b"host", head.raw(head.authority)))
    for i in range(head.count):
        field = &head.fields[i]
        name = <bytes>NAMES[field.id] if field.id != HEADER_OTHER else head.raw(field.name)
        fields.append((name, head.raw(field.value)))
    return fields


cdef object end_of(object name):
    """One end of a connection as ASGI has it: (host, port), (path, None) of a Unix socket, or None."""
    if isinstance(name, (tuple, list)):
        return (name[0], name[1]) if len(name) >= 2 else None
    if isinstance(name, bytes):
        # Linux's abstract sockets have no path.
        name = name.decode("utf-8", "surrogateescape")
    return (name, None) if name else None
