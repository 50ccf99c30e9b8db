"""What handlers see of a request: `Call`, common to every protocol, and `Request`, plain HTTP.

Both are views over an Exchange, made when somebody asks and kept in `x.request`. Everything
here is decoded at first use. `Exchange.finish` drops `x.request`, which ends the one cycle there
is (x -> request -> x).
"""

from fastnet_ext.core.headers cimport HeaderBlock
from fastnet_ext.exchange.exchange cimport ConnectionInfo, Exchange, Route
from fastnet_ext.exchange.query cimport QueryParams


cdef class Headers:
    """The fields of one message: a read-only mapping that ignores case. Values are ISO 8859-1."""

    cdef HeaderBlock block

    # All values of that name joined by ", " (cookie: "; "), None when there are none.
    cdef str find(self, str name)
    cdef list find_all(self, str name)


cdef class Call:
    """One call, whatever protocol carries it: what a dependency may ask for anywhere."""

    # What the call is made of. `head`, `connection` and `route` are references of our own, so
    # that a request that outlives its exchange can still be read.
    cdef Exchange x
    cdef HeaderBlock head
    cdef ConnectionInfo connection
    cdef readonly Route route   # None when no route was found

    # Decoded at first use, None before.
    cdef Headers _headers
    cdef str _path
    cdef object _peer
    cdef dict _path_params

    # Loop time (loop.time()) at which the caller gives up; a negative value: never.
    cdef public double _deadline


cdef class Request(Call):
    """One HTTP request."""

    cdef QueryParams _query
    cdef dict _cookies
    cdef Headers _trailers

    # Who reads the body: `reading` while somebody waits for it, `streamed` once a stream has
    # begun, after which there is no whole body to be had.
    cdef bint reading
    cdef bint streamed

    # Raises what keeps the body from being read; before each wait and each take.
    cdef int check_body(self) except -1


# The Request of an exchange, made at the first call.
cdef Request request_of(Exchange x)

# The method in capitals, as Request.method has it.
cdef str method_of(Exchange x)

# The path below which proxies serve the app, as Call.root_path has it.
cdef str root_path_of(Exchange x)

# "https" or "http", as Call.scheme has it.
cdef str scheme_of(Exchange x)

# The authority that the client asked for, as Request.host has it.
cdef str host_of(Exchange x)

# The request's id: a valid incoming X-Request-ID, or 16 random hexadecimal digits; stays the same.
cdef str request_id(Exchange x)

cdef enum:
    # An id from outside is taken over when it is at most this long (bytes); it goes into logs.
    MAX_REQUEST_ID = 128

# The same as bytes at `out`, which has room for MAX_REQUEST_ID; returns their end. Makes no object.
cdef char* write_request_id(Exchange x, char* out) except NULL
