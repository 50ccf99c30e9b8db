"""What a handler answers with. Everything a handler says is validated when it says it."""

from fastnet_ext.exchange.head cimport ResponseHead


cdef class MutableHeaders:
    """Response fields: a mapping that ignores case and keeps several values of one name apart."""

    # (name, value) pairs of bytes, names in lower case, in the order of sending. Always valid:
    # nothing enters but through `check_field`.
    cdef list fields

    cdef bytes first(self, bytes name)                  # None when there is none
    cdef int remove(self, bytes name) except -1         # how many there were
    cdef int put(self, bytes name, bytes value) except -1


cdef class Response:
    """Status, fields and a body, which is either bytes or an iterator of chunks."""

    cdef int status

    # The body: `content`, or `chunks` when it is streamed; the other one is None. From Python
    # they are `body` and `iterator`.
    cdef bytes content
    cdef object chunks              # iterable or async iterable

    # Content-Type; `_headers` takes it over when somebody asks for the headers.
    cdef str content_type           # None: none
    cdef MutableHeaders _headers    # None until asked for
    cdef ResponseHead _head         # valid while `_headers` is None

    # The head to send; shared between responses that set no fields of their own.
    cdef ResponseHead head(self)


cdef class Stream(Response):
    """A streamed body: an iterable or async iterable of chunks."""

    cdef MutableHeaders _trailers   # None until asked for
    cdef public bint untyped        # without a Content-Type it is sent without one: its first chunk says nothing

    # What is sent after the body: (name, value) pairs, None when there are none. Raises ValueError.
    cdef list trailer_fields(self)


# "text/html" -> "text/html; charset=utf-8"; raises ValueError for what is no media type.
cdef str content_type_of(str media_type)

# A shared head with no other field than this content type (None: none at all).
cdef ResponseHead plain_head(int status, str content_type)

# A name and a value as they may be sent: lower-case token, ISO 8859-1 without controls, nothing
# that the carrier decides. Raises ValueError.
cdef bytes check_name(object name)
cdef bytes check_value(bytes name, object value)
