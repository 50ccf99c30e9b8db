"""The head of a response: status and fields, with the wire forms that carriers cache in it."""

from fastnet_ext.core.buffer cimport Buffer


cdef class ResponseHead:
    """Status and fields, validated once; immutable, so one may serve every request of a route.

    Names are lower-case bytes. `transfer-encoding`, `connection` and, on HTTP/2, what replaces
    them belong to the carrier; `content-length` is kept apart from the fields.
    """

    cdef readonly int status
    cdef readonly list fields       # of (name, value), bytes
    cdef readonly long long content_length  # what the fields said, -1 when they said nothing
    cdef bint close                 # the fields held `connection: close`
    cdef bint has_date
    cdef bint has_type

    # Wire forms, made at first use: status line and fields without date, length and blank
    # line; an HPACK block of `:status` and fields that needs no dynamic table.
    cdef bytes _h1
    cdef bytes _h2
    # What compression makes of this head (serve/compression.pxd), for who asked last; None until somebody did.
    cdef object forms

    # While it is being built: one field more. What belongs to the carrier is refused, or left out when `lenient`.
    cdef int add(self, bytes name, bytes value, bint lenient) except -1
    cdef int _set_content_length(self, bytes value) except -1
    cdef bytes h1(self)
    cdef bytes h2(self)


# The name in lower case; itself when it is.
cdef bytes lowered(bytes name)

# Whether a response of that status has a body by definition (RFC 9110, 6.4.1).
cdef inline bint status_has_body(int status) noexcept:
    return status >= 200 and status != 204 and status != 304
