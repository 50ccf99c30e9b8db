"""Argument plans: how each parameter of a handler is fetched, decided once at registration."""

from cpython.object cimport PyObject

from fastnet_ext.core.headers cimport Field
from fastnet_ext.exchange.exchange cimport Exchange


cdef extern from "fastnet_ext/serve/convert.h" nogil:
    ctypedef struct Pair "fn_pair":
        const char* name
        size_t name_size
        const char* value
        size_t value_size

    int parse_integer "fn_parse_integer" (const char* p, size_t size, long long* value) noexcept
    int parse_bool "fn_parse_bool" (const char* p, size_t size) noexcept
    int has_escape "fn_has_escape" (const char* p, size_t size, int plus) noexcept
    const char* next_query_pair "fn_next_query_pair" (const char* p, const char* end, Pair* pair) noexcept
    int names "fn_names" (const char* p, size_t size, const char* name, size_t name_size) noexcept
    const char* next_cookie "fn_next_cookie" (const char* p, const char* end, Pair* pair) noexcept
    int is_json "fn_is_json" (const char* p, size_t size) noexcept
    int is_media_type "fn_is_media_type" (const char* p, size_t size, const char* type, size_t type_size) noexcept


cdef enum:
    # Parameters of one handler; more are refused at registration.
    MAX_ARGUMENTS = 64


cdef enum Kind:
    # How a text becomes a value. The first four are done here, the rest by TextArgument.convert.
    KIND_STR
    KIND_INT
    KIND_FLOAT
    KIND_BOOL
    KIND_OTHER


cdef enum Form:
    # How a text stands on the wire.
    FORM_PLAIN      # as it is, ISO 8859-1: header fields and cookies
    FORM_PATH       # percent-encoded UTF-8
    FORM_QUERY      # form-encoded UTF-8: '+' is a space


cdef class Argument:
    """One parameter of a handler and where its value comes from."""

    cdef readonly str name          # the handler's parameter
    cdef readonly str location      # "path", "query", "header", "cookie", "body", "request" …: first part of `loc` in a 422
    cdef readonly str alias         # the name on the wire
    cdef readonly int slot          # >= 0: not from the exchange but from the caller's list of values

    # The value; raises ArgumentError (one field) or lets other exceptions through.
    cdef object fetch(self, Exchange x)


cdef class TextArgument(Argument):
    """A value that stands in the head as text, once or several times."""

    cdef Kind kind
    cdef Form form
    cdef object convert             # KIND_OTHER: text -> value; other kinds: a check, value -> value, or None
    cdef readonly str wanted        # what a value of KIND_OTHER looks like, for messages; None: `convert` says it
    cdef bytes wire_name            # alias as it is looked for

    # `many`: every occurrence counts; `gather` makes the value of their list, None: the list is it.
    cdef readonly bint many
    cdef object gather

    # When there is none: `factory` makes the value, or `default` is it, or it is required.
    cdef readonly bint required
    cdef readonly object default
    cdef object factory

    cdef object absent(self)
    # `size` bytes as they stand on the wire, in this argument's form.
    cdef object value_of(self, const char* p, Py_ssize_t size)
    cdef object decoded_value(self, const char* p, Py_ssize_t size)
    cdef object checked(self, object value)
    # The value of every occurrence; `found` holds their bytes.
    cdef object values_of(self, list found)


cdef class PathArgument(TextArgument):
    cdef readonly int index         # which parameter of the path


cdef class QueryArgument(TextArgument):
    pass


cdef class HeaderArgument(TextArgument):
    cdef int id                     # HeaderId of the name

    cdef const Field* _next(self, Exchange x, const Field* after) noexcept
    cdef list _found(self, Exchange x)


cdef class CookieArgument(TextArgument):
    pass


cdef class RequestArgument(Argument):
    pass


cdef class CallArgument(Argument):
    pass


cdef class ProtocolArgument(Argument):
    pass


cdef class StateArgument(Argument):
    pass


cdef class AppArgument(Argument):
    pass


cdef class ExchangeArgument(Argument):
    pass


cdef class ProvidedArgument(Argument):
    cdef object provide             # (exchange) -> value


cdef class SlotArgument(Argument):
    pass


cdef class BodyArgument(Argument):
    """The whole body, decoded."""

    cdef object decode              # bytes -> value, None: the bytes themselves
    cdef object explain             # (error, bytes) -> what to raise in its place
    cdef bytes media_type           # in lower case; b"application/json" stands for every JSON type, None: any
    cdef readonly bint required
    cdef readonly object default
    cdef object factory

    cdef int _check_type(self, Exchange x) except -1


cdef class CallPlan:
    """A callable and its arguments."""

    cdef readonly object function
    cdef readonly list arguments    # of Argument, in the order of the call
    cdef readonly int positional    # how many are passed by position; the rest by name
    cdef readonly bint needs_body   # some argument reads the body
    cdef readonly bint takes_request    # some argument hands out the Request, which may read the body
    cdef tuple _keywords            # names of those passed by name; None: there are none
    cdef tuple _arguments

    cdef int _fill(self, Exchange x, list slots, PyObject** values, Py_ssize_t* filled) except -1
    cdef int _refuse(self, Exchange x, list slots, Py_ssize_t failed, object error) except -1

    # Fetches every argument and calls. Failures of all arguments are collected into one
    # RequestValidationError, so that a client sees them at once.
    cdef object call(self, Exchange x)

    # The same for callables with parameters that the caller supplies (`slot` says which): the
    # message of a gRPC method, the results of dependencies.
    cdef object call_with(self, Exchange x, list slots)


cdef class DependentPlan(CallPlan):
    """A plan whose dependencies are resolved first: its call returns a coroutine.

    The coroutine reads the body itself, when it is needed, after the dependencies that do not need it.
    """

    cdef object run                 # (exchange, list of slots) -> coroutine
