# cython: freethreading_compatible=True
"""Argument plans: how each parameter of a handler is fetched, decided once at registration."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_DecodeLatin1, PyUnicode_DecodeUTF8
from libc.string cimport memcmp, memcpy

from fastnet_ext.core.headers cimport (
    HEADER_CONTENT_TYPE, HEADER_COOKIE, HEADER_HOST, HEADER_OTHER, Field, HeaderBlock, find_header_id,
)
from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.exchange.request cimport request_of
from fastnet_ext.routing.percent cimport percent_decode

import msgspec

from fastnet_ext.serve.errors import ArgumentError, RequestValidationError, UnsupportedMediaType
from fastnet_ext.serve.validation import failures_of

__all__ = [
    "AppArgument", "Argument", "BodyArgument", "CallArgument", "CallPlan", "CookieArgument", "DependentPlan",
    "ExchangeArgument", "HeaderArgument", "MISSING", "PathArgument", "ProtocolArgument",
    "ProvidedArgument", "QueryArgument", "RequestArgument", "SlotArgument", "StateArgument", "TextArgument", "max_arguments",
]


cdef extern from "Python.h":
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    object PyObject_Vectorcall(object function, PyObject** args, size_t count, PyObject* names)
    PyObject* PyTuple_GET_ITEM(object values, Py_ssize_t index) noexcept
    double PyOS_string_to_double(const char* text, char** end, PyObject* overflow) except? -1.0


# The default of what has none.
MISSING = msgspec.NODEFAULT

max_arguments = MAX_ARGUMENTS

_KINDS = {"str": KIND_STR, "int": KIND_INT, "float": KIND_FLOAT, "bool": KIND_BOOL, "other": KIND_OTHER}


cdef class Argument:
    """One parameter of a handler: ``location`` and ``alias`` are the first parts of ``loc`` in a 422."""

    def __init__(self, str name not None, str location not None, str alias=None):
        self.name = name
        self.location = location
        self.alias = name if alias is None else alias
        self.slot = -1

    cdef object fetch(self, Exchange x):
        raise NotImplementedError(type(self).__name__)

    def value(self, Exchange x not None):
        """The value for one request; raises ArgumentError when it cannot be had."""
        return self.fetch(x)

    def __repr__(self):
        return f"<{type(self).__name__} {self.name} from {self.location} {self.alias!r}>"


# --- text in the head

cdef class TextArgument(Argument):
    """A value that stands in the request's head as text.

    ``kind`` is "str", "int", "float", "bool" or "other". For "other", ``convert`` makes the value from
    the text, and ``wanted`` says in a message what that looks like; for the rest ``convert`` checks
    the value. Both raise ValueError. ``many``: every occurrence counts, and ``gather`` makes the
    value of their list. Without ``default`` and ``factory`` the argument is required.
    """

    def __init__(
        self, name, location, alias=None, *, str kind="str", convert=None, str wanted=None, bint many=False,
        gather=None, default=MISSING, factory=None,
    ):
        Argument.__init__(self, name, location, alias)
        self.kind = _KINDS[kind]
        if self.kind == KIND_OTHER and convert is None:
            raise TypeError("an argument of another kind wants convert=")
        self.form = FORM_PLAIN
        self.convert = convert
        self.wanted = wanted
        self.many = many
        self.gather = gather
        self.factory = factory
        self.required = factory is None and default is MISSING
        self.default = default
        self.wire_name = self.alias.encode()

    cdef object absent(self):
        if self.factory is not None:
            return self.factory()
        if self.required:
            raise ArgumentError("Field required", "missing")
        return self.default

    cdef object value_of(self, const char* p, Py_ssize_t size):
        cdef bytes decoded
        cdef long long number
        cdef Py_ssize_t length
        # A number is rarely escaped: no look for escapes when it reads as it stands.
        if self.kind == KIND_INT and self.convert is None and parse_integer(p, size, &number) == 1:
            return number
        if self.form == FORM_PLAIN or not has_escape(p, size, self.form == FORM_QUERY):
            return self.decoded_value(p, size)
        decoded = PyBytes_FromStringAndSize(NULL, size)
        length = percent_decode(p, size, self.form == FORM_QUERY, PyBytes_AS_STRING(decoded), size)
        if length < 0:
            raise ArgumentError("Expected valid percent-encoding", "encoding")
        return self.decoded_value(PyBytes_AS_STRING(decoded), length)

    cdef object decoded_value(self, const char* p, Py_ssize_t size):
        cdef long long number
        cdef int outcome
        cdef object text
        if self.kind == KIND_INT:
            outcome = parse_integer(p, size, &number)
            if outcome == 1:
                return self.checked(number)
            if outcome == -1:
                return self.checked(long_integer(p, size))
            raise ArgumentError("Expected `int`", "int_parsing")
        if self.kind == KIND_BOOL:
            outcome = parse_bool(p, size)
            if outcome < 0:
                raise ArgumentError("Expected `bool`: true or false, 1 or 0, yes or no, on or off", "bool_parsing")
            return self.checked(outcome == 1)
        if self.kind == KIND_FLOAT:
            return self.checked(float_of(p, size))
        if self.form == FORM_PLAIN:
            text = PyUnicode_DecodeLatin1(p, size, NULL)
        else:
            try:
                text = PyUnicode_DecodeUTF8(p, size, NULL)
            except UnicodeDecodeError:
                raise ArgumentError("Expected UTF-8", "encoding") from None
        return text if self.kind == KIND_STR and self.convert is None else self.checked(text)

    cdef object checked(self, object value):
        if self.convert is None:
            return value
        try:
            return self.convert(value)
        except ValueError as error:
            raise ArgumentError.of(failures_of(error, self.wanted)) from error

    cdef object values_of(self, list found):
        cdef list values = [], failures = []
        cdef bytes raw
        cdef Py_ssize_t i
        for i, raw in enumerate(found):
            try:
                values.append(self.value_of(PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw)))
            except ArgumentError as error:
                failures += [((i, *at), msg, kind) for at, msg, kind in error.failures]
        if failures:
            raise ArgumentError.of(failures)
        if self.gather is None:
            return values
        try:
            return self.gather(values)
        except ValueError as error:
            raise ArgumentError.of(failures_of(error, self.wanted)) from error


cdef object long_integer(const char* p, Py_ssize_t size):
    """An integer of more than 18 digits. Python refuses to read some thousands of them: it takes long."""
    try:
        return int(p[:size])
    except ValueError:
        raise ArgumentError("Expected `int` of fewer digits", "int_parsing") from None


cdef object float_of(const char* p, Py_ssize_t size):
    cdef char copy[64]
    cdef char* end = NULL
    cdef bytes longer
    cdef const char* text = copy
    cdef double value
    # PyOS_string_to_double wants a final NUL.
    if size < <Py_ssize_t>sizeof(copy):
        memcpy(copy, p, size)
        copy[size] = 0
    else:
        longer = PyBytes_FromStringAndSize(p, size)
        text = PyBytes_AS_STRING(longer)
    try:
        value = PyOS_string_to_double(text, &end, NULL)
    except ValueError:
        raise ArgumentError("Expected `float`", "float_parsing") from None
    if end != text + size:
        raise ArgumentError("Expected `float`", "float_parsing")
    return value


@cython.final
cdef class PathArgument(TextArgument):
    """The path parameter at ``index`` (of the route's parameters, in order)."""

    def __init__(self, str name, int index, alias=None, **options):
        TextArgument.__init__(self, name, "path", alias, **options)
        self.form = FORM_PATH
        self.index = index

    cdef object fetch(self, Exchange x):
        if <unsigned int>self.index >= x.param_count:
            return self.absent()
        return self.value_of(x.head.at(x.params[self.index]), x.params[self.index].size)


@cython.final
cdef class QueryArgument(TextArgument):
    """Of several pairs with the name, the last one counts, or all with ``many``."""

    def __init__(self, str name, alias=None, **options):
        TextArgument.__init__(self, name, "query", alias, **options)
        self.form = FORM_QUERY

    cdef object fetch(self, Exchange x):
        cdef const char* p = x.head.at(x.query())
        cdef const char* end = p + x.query_size
        cdef const char* name = PyBytes_AS_STRING(self.wire_name)
        cdef Py_ssize_t name_size = PyBytes_GET_SIZE(self.wire_name)
        cdef const char* value = NULL
        cdef Py_ssize_t size = 0
        cdef list found = None
        cdef Pair pair
        while True:
            p = next_query_pair(p, end, &pair)
            if p is NULL:
                break
            if not names(pair.name, pair.name_size, name, name_size):
                continue
            value = pair.value
            size = pair.value_size
            if self.many:
                if found is None:
                    found = []
                found.append(PyBytes_FromStringAndSize(value, size))
        if value is NULL:
            return self.absent()
        return self.value_of(value, size) if found is None else self.values_of(found)


@cython.final
cdef class HeaderArgument(TextArgument):
    """A header field; ``alias`` in any case. Several of the name count as one, joined by ", " (RFC 9110, 5.3)."""

    def __init__(self, str name, str alias not None, **options):
        TextArgument.__init__(self, name, "header", alias, **options)
        self.wire_name = alias.lower().encode("latin-1")
        self.id = find_header_id(PyBytes_AS_STRING(self.wire_name), PyBytes_GET_SIZE(self.wire_name))

    cdef const Field* _next(self, Exchange x, const Field* after) noexcept:
        """The next field of the name, NULL when there is none; `after` NULL begins."""
        cdef HeaderBlock head = x.head
        cdef const Field* field = head.fields
        cdef const Field* end = field + head.count
        cdef const char* name = PyBytes_AS_STRING(self.wire_name)
        cdef size_t size = PyBytes_GET_SIZE(self.wire_name)
        if after is not NULL:
            field = after + 1
        while field < end:
            if field.id == <unsigned int>self.id and (
                field.id != HEADER_OTHER
                or (field.name.size == size and memcmp(head.at(field.name), name, size) == 0)
            ):
                return field
            field += 1
        return NULL

    cdef list _found(self, Exchange x):
        cdef list found = []
        cdef const Field* field = self._next(x, NULL)
        while field is not NULL:
            found.append(x.head.raw(field.value))
            field = self._next(x, field)
        return found

    cdef object fetch(self, Exchange x):
        cdef const Field* field = self._next(x, NULL)
        cdef bytes joined
        if field is NULL:
            if self.id == HEADER_HOST and x.head.authority.size:
                # HTTP/2 says it in :authority (RFC 9113, 8.3.1).
                return self.value_of(x.head.at(x.head.authority), x.head.authority.size)
            return self.absent()
        if self.many:
            return self.values_of(self._found(x))
        if self._next(x, field) is NULL:
            return self.value_of(x.head.at(field.value), field.value.size)
        joined = (b"; " if self.id == HEADER_COOKIE else b", ").join(self._found(x))
        return self.value_of(PyBytes_AS_STRING(joined), PyBytes_GET_SIZE(joined))


@cython.final
cdef class CookieArgument(TextArgument):
    """Of several cookies with the name, the first one counts: the one with the longer path (RFC 6265, 5.4)."""

    def __init__(self, str name, alias=None, **options):
        TextArgument.__init__(self, name, "cookie", alias, **options)

    cdef object fetch(self, Exchange x):
        cdef const Field* field = x.head.find(HEADER_COOKIE)
        cdef const char* name = PyBytes_AS_STRING(self.wire_name)
        cdef size_t size = PyBytes_GET_SIZE(self.wire_name)
        cdef const char* p
        cdef const char* end
        cdef list found = None
        cdef Pair pair
        # HTTP/2 may bring the cookies in several fields (RFC 9113, 8.2.3).
        while field is not NULL:
            p = x.head.at(field.value)
            end = p + field.value.size
            while True:
                p = next_cookie(p, end, &pair)
                if p is NULL:
                    break
                if pair.name_size != size or memcmp(pair.name, name, size) != 0:
                    continue
                if not self.many:
                    return self.value_of(pair.value, pair.value_size)
                if found is None:
                    found = []
                found.append(PyBytes_FromStringAndSize(pair.value, pair.value_size))
            field = x.head.find_next(HEADER_COOKIE, field)
        return self.absent() if found is None else self.values_of(found)


# --- the body

@cython.final
cdef class BodyArgument(Argument):
    """The whole body, decoded by ``decode``; None hands out the bytes.

    ``media_type`` is what a Content-Type must name, when there is one: "application/json" stands
    for every JSON type, None for any. ``explain(error, body)`` returns what to raise for a
    ValueError (or RecursionError) of ``decode``. An empty body counts as absent.
    """

    def __init__(
        self, str name, *, decode=None, explain=None, str media_type=None, default=MISSING, factory=None,
    ):
        Argument.__init__(self, name, "body")
        self.decode = decode
        self.explain = explain
        self.media_type = None if media_type is None else media_type.lower().encode()
        self.factory = factory
        # Raw bytes are never absent: an empty body is a body.
        if default is MISSING and decode is None:
            default = b""
        self.required = factory is None and default is MISSING
        self.default = default

    cdef int _check_type(self, Exchange x) except -1:
        cdef const Field* field = x.head.find(HEADER_CONTENT_TYPE)
        cdef const char* p
        cdef bint fits
        if field is NULL:
            return 0
        p = x.head.at(field.value)
        if self.media_type == b"application/json":
            fits = is_json(p, field.value.size)
        else:
            fits = is_media_type(
                p, field.value.size, PyBytes_AS_STRING(self.media_type), PyBytes_GET_SIZE(self.media_type)
            )
        if not fits:
            raise UnsupportedMediaType(self.media_type.decode(), x.head.text(field.value))
        return 0

    cdef object fetch(self, Exchange x):
        cdef bytes body
        if x.body_error is not None:
            raise x.body_error
        body = x.take_body()
        if not body:
            if self.factory is not None:
                return self.factory()
            if self.required:
                raise ArgumentError("Field required", "missing")
            return self.default
        if self.media_type is not None:
            self._check_type(x)
        if self.decode is None:
            return body
        try:
            return self.decode(body)
        except (ValueError, RecursionError) as error:
            raise self.explain(error, body) from error


# --- objects

@cython.final
cdef class RequestArgument(Argument):
    """The ``Request``."""

    def __init__(self, str name):
        Argument.__init__(self, name, "request")

    cdef object fetch(self, Exchange x):
        return request_of(x)


@cython.final
cdef class CallArgument(Argument):
    """The ``Call``: the protocol's own object (``x.call``), the ``Request`` where there is none."""

    def __init__(self, str name):
        Argument.__init__(self, name, "request")

    cdef object fetch(self, Exchange x):
        return request_of(x) if x.call is None else x.call


@cython.final
cdef class ProtocolArgument(Argument):
    """The protocol's own object: the ``WebSocket``, the context of a gRPC call."""

    def __init__(self, str name):
        Argument.__init__(self, name, "request")

    cdef object fetch(self, Exchange x):
        return x.call


@cython.final
cdef class StateArgument(Argument):
    """The ``State`` of the request."""

    def __init__(self, str name):
        Argument.__init__(self, name, "request")

    cdef object fetch(self, Exchange x):
        return request_of(x).state if x.call is None else x.call.state


@cython.final
cdef class AppArgument(Argument):
    """The application that answers."""

    def __init__(self, str name):
        Argument.__init__(self, name, "app")

    cdef object fetch(self, Exchange x):
        return x.route.app


@cython.final
cdef class ExchangeArgument(Argument):
    """The exchange itself, for the framework's own callables."""

    def __init__(self, str name):
        Argument.__init__(self, name, "request")

    cdef object fetch(self, Exchange x):
        return x


@cython.final
cdef class ProvidedArgument(Argument):
    """What ``provide(exchange)`` returns."""

    def __init__(self, str name, provide):
        Argument.__init__(self, name, "request")
        self.provide = provide

    cdef object fetch(self, Exchange x):
        return self.provide(x)


@cython.final
cdef class SlotArgument(Argument):
    """What stands at ``slot`` of the caller's list: the result of a dependency, or what a protocol supplies."""

    def __init__(self, str name, int slot):
        Argument.__init__(self, name, "slot")
        self.slot = slot


# --- the call

cdef class CallPlan:
    """Calls ``function`` with what ``arguments`` fetch: the first ``positional`` by position, the rest by name."""

    def __init__(self, function, arguments=(), positional=None):
        cdef Argument argument
        self.function = function
        self._arguments = tuple(arguments)
        self.arguments = list(self._arguments)
        if len(self._arguments) > MAX_ARGUMENTS:
            raise TypeError(f"a handler has at most {MAX_ARGUMENTS} parameters")
        self.positional = len(self._arguments) if positional is None else positional
        if not 0 <= self.positional <= len(self._arguments):
            raise ValueError("more arguments by position than arguments")
        self._keywords = tuple([argument.name for argument in self._arguments[self.positional:]]) or None
        self.needs_body = any([isinstance(argument, BodyArgument) for argument in self._arguments])
        self.takes_request = any([isinstance(argument, RequestArgument) for argument in self._arguments])

    cdef int _fill(self, Exchange x, list slots, PyObject** values, Py_ssize_t* filled) except -1:
        """Fetch each argument; `filled` says how many of `values` own a reference, also after a failure."""
        cdef Py_ssize_t i = 0, count = len(self._arguments)
        cdef Argument argument
        cdef object value
        try:
            while i < count:
                argument = <Argument>PyTuple_GET_ITEM(self._arguments, i)
                value = slots[argument.slot] if argument.slot >= 0 else argument.fetch(x)
                Py_INCREF(value)
                values[i] = <PyObject*>value
                i += 1
                filled[0] = i
        except ArgumentError as error:
            self._refuse(x, slots, i, error)
        return 0

    cdef int _refuse(self, Exchange x, list slots, Py_ssize_t failed, object error) except -1:
        """Argument `failed` cannot be had: try the rest too, and raise what is wrong with all of them."""
        cdef Argument argument = self._arguments[failed]
        cdef list errors = located(argument, error)
        for argument in self._arguments[failed + 1:]:
            if argument.slot >= 0:
                continue
            try:
                argument.fetch(x)
            except ArgumentError as another:
                errors += located(argument, another)
        raise RequestValidationError(errors) from error

    cdef object call(self, Exchange x):
        return self.call_with(x, None)

    cdef object call_with(self, Exchange x, list slots):
        # One place in front is the callee's to use: a bound method puts its instance there.
        cdef PyObject* values[MAX_ARGUMENTS + 1]
        cdef Py_ssize_t filled = 0, i
        cdef PyObject* keywords = NULL if self._keywords is None else <PyObject*>self._keywords
        try:
            self._fill(x, slots, values + 1, &filled)
            return PyObject_Vectorcall(
                self.function, values + 1, self.positional | PY_VECTORCALL_ARGUMENTS_OFFSET, keywords
            )
        finally:
            for i in range(1, filled + 1):
                Py_DECREF(<object>values[i])

    def invoke(self, Exchange x not None, list slots=None):
        """Fetch the arguments and call; ``slots`` holds what SlotArguments stand for.

        Raises RequestValidationError when arguments are missing or do not convert.
        """
        return self.call(x) if slots is None else self.call_with(x, slots)

    def invoke_repeatedly(self, Exchange x not None, Py_ssize_t times):
        """Call ``times`` times, as an endpoint does, and drop the results: what the benches time."""
        cdef Py_ssize_t i
        for i in range(times):
            self.call(x)

    def __repr__(self):
        return f"<{type(self).__name__} of {self.function!r}: {self.arguments!r}>"


cdef list located(Argument argument, object error):
    """The failures of one argument as a 422 tells them."""
    cdef list where = ["body"] if argument.location == "body" else [argument.location, argument.alias]
    return [{"loc": [*where, *at], "msg": msg, "type": kind} for at, msg, kind in error.failures]


@cython.final
cdef class DependentPlan(CallPlan):
    """A plan whose dependencies are resolved first, by the coroutine that ``run(exchange, slots)`` returns.

    ``slots`` is None, or a list of what the protocol supplies. The coroutine reads the body itself.
    """

    def __init__(self, function, arguments, positional, *, run, bint needs_body, bint takes_request):
        CallPlan.__init__(self, function, arguments, positional)
        self.run = run
        self.needs_body = needs_body
        self.takes_request = takes_request

    cdef object call(self, Exchange x):
        return self.run(x, None)

    cdef object call_with(self, Exchange x, list slots):
        return self.run(x, slots)
