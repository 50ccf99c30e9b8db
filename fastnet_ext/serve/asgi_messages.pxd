"""What the messages of an ASGI application's answer contain, checked once for requests and WebSockets.

`what` is the message's type, for exceptions: ValueError and TypeError say what it may not contain.
"""

from fastnet_ext.exchange.head cimport ResponseHead


# Status and fields of a start message; fields that belong to the carrier are left out.
cdef ResponseHead head_of(dict message, str what)

# Its headers: (name, value) bytes, names in lower case.
cdef list pairs(dict message, str what)

# The body of a body message.
cdef bytes body_of(dict message, str what)
