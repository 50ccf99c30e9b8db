"""permessage-deflate in the hand-shake (RFC 7692): what is offered, what is accepted, what both ends keep to.

Servers: `accept_offer` over Sec-WebSocket-Extensions; `DeflateAgreement.field` goes into the answer.
Clients: `make_offer`, then `accept_answer`. Either way the agreement goes to `new_deflate` (deflate.pxd).
"""

from libc.stdint cimport uint8_t


cdef class PerMessageDeflate:
    """What one end wants; never changed in use, shared by the connections of a route."""

    cdef readonly bint server_no_context_takeover
    cdef readonly bint client_no_context_takeover
    cdef readonly uint8_t server_max_window_bits
    cdef readonly uint8_t client_max_window_bits
    cdef readonly uint8_t level
    cdef readonly uint8_t memory_level
    cdef readonly size_t min_size


cdef class DeflateAgreement:
    """The four parameters that hold for one connection."""

    cdef readonly PerMessageDeflate settings    # ours, which say the rest
    cdef readonly bint server_no_context_takeover
    cdef readonly bint client_no_context_takeover
    cdef readonly uint8_t server_max_window_bits
    cdef readonly uint8_t client_max_window_bits    # from 8 on, where a client says so
    cdef bint _names_server_window  # the offer did, which the answer must then too


# The extensions that a field lists, in order: (name, [(parameter, value or None), ...]). ValueError where
# the field is not what RFC 6455, section 9.1, describes.
cdef list parse_extensions(str field)

# The first offer of permessage-deflate that can be accepted, None without one. ValueError as above.
cdef DeflateAgreement accept_offer(str field, PerMessageDeflate settings)

# What a client sends.
cdef str make_offer(PerMessageDeflate settings)

# What the server's answer to that offer agrees on; None when `field` is None: no compression. ValueError,
# with a sentence, when the connection must be failed.
cdef DeflateAgreement accept_answer(str field, PerMessageDeflate settings)
