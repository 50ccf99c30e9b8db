"""The opening hand-shake of RFC 6455, section 4, over parsed heads: what to check and what to answer.

Servers: `check_request`, then `same_origin` unless the route lists origins of its own, then
`choose_subprotocol`, `accept_offer` (extensions.pxd) over `offered_extensions` and, over HTTP/1.1,
`accept_key` for Sec-WebSocket-Accept. Over HTTP/2 (RFC 8441) there is no key and no Upgrade:
`check_request` with upgrade=False, and the answer is a 200.
Clients: `make_key`, then `check_response`.
"""

from fastnet_ext.core.headers cimport HeaderBlock
from fastnet_ext.websocket.extensions cimport PerMessageDeflate


cdef extern from "fastnet_ext/websocket/handshake.h" nogil:
    bint has_token "fn_ws_has_token" (const char* value, size_t size, const char* token) noexcept
    bint is_key "fn_ws_is_key" (const char* value, size_t size) noexcept
    bint origin_is_of_host "fn_ws_same_origin" (
        const char* origin, size_t origin_size, const char* host, size_t host_size
    ) noexcept


# 0 when the request may become a WebSocket; otherwise the status to answer, with `why` at a constant
# sentence. 400: malformed. 405: the method is not GET. 426: no upgrade to WebSocket asked for, or to
# another version; that answer carries "Upgrade: websocket", "Connection: upgrade" (HTTP/1.1 only) and
# "Sec-WebSocket-Version: 13". The caller has made sure of HTTP/1.1 (`upgrade`), or of :method CONNECT
# with :protocol websocket (not `upgrade`).
cdef int check_request(HeaderBlock head, bint upgrade, const char** why) except -1

# The 28 bytes of Sec-WebSocket-Accept for a key that check_request has accepted.
cdef bytes accept_key(bytes key)

# The value of Sec-WebSocket-Key, stripped; None without one.
cdef bytes request_key(HeaderBlock head)

# The subprotocols that the client offers, in its order. ValueError when the field is malformed, which
# check_request has answered with 400 before.
cdef list offered_subprotocols(HeaderBlock head)

# Sec-WebSocket-Extensions, None without it. ValueError when it is malformed, as above.
cdef str offered_extensions(HeaderBlock head)

# The first of `supported` (ours, in order of preference) that the client offers, or None.
cdef str choose_subprotocol(HeaderBlock head, supported)

# Whether the request comes from a page of its own host, or not from a browser's page (no Origin).
cdef bint same_origin(HeaderBlock head) noexcept

# A fresh Sec-WebSocket-Key of 24 bytes.
cdef bytes make_key()

# NULL when the server has agreed; otherwise a constant sentence. `offered`: the subprotocols asked for;
# `settings`: of the permessage-deflate asked for, None where no extension is.
cdef const char* check_response(HeaderBlock head, bytes key, offered, PerMessageDeflate settings) except? NULL
