# cython: freethreading_compatible=True
"""Which dialect a request speaks that is no gRPC; grpc_dialects.pxd is the map."""

cimport cython

from fastnet_ext.core.headers cimport HEADER_CONTENT_TYPE, HEADER_ORIGIN, METHOD_GET, METHOD_POST, Field
from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.grpc.connect cimport ConnectFormat, connect_format
from fastnet_ext.grpc.web cimport WebFormat, web_format
from fastnet_ext.serve.connect cimport ConnectEncoder, Transcoder, is_connect_get, start_connect
from fastnet_ext.serve.connect_stream cimport StreamEncoder, start_connect_stream
from fastnet_ext.serve.grpc cimport Dialects, GrpcEndpoint
from fastnet_ext.serve.grpc_web cimport WebEncoder, start_web
from fastnet_ext.serve.grpc_wire cimport COMPRESSION_NONE, AnswerEncoder

__all__ = ["SharedAnswers", "WebDialects"]


cdef OriginAnswers answers_with(list fields):
    cdef OriginAnswers answers = OriginAnswers.__new__(OriginAnswers)
    answers.fields = fields
    answers.binary = WebEncoder(False, fields)
    answers.text = WebEncoder(True, fields)
    return answers


@cython.final
cdef class OriginAnswers:
    """What writes the answers for one origin."""


@cython.final
cdef class SharedAnswers:
    """``SharedAnswers(origins)``: what writes the answers of an application's methods.

    ``origins`` maps an origin, or "*" for every one, to the header fields by which its browsers may read the
    answer: ``(name, value)`` bytes. The entry None is for requests without such an origin.
    """

    def __init__(self, origins=None):
        self.plain = answers_with([])
        self.any_origin = None
        self.origins = {}
        for origin, fields in (origins or {}).items():
            answers = answers_with(fields)
            if origin is None:
                self.plain = answers
            elif origin == "*":
                self.any_origin = answers
            else:
                self.origins[origin.encode()] = answers

    cdef OriginAnswers of(self, Exchange x):
        cdef OriginAnswers found = None
        cdef const Field* field = x.head.find(HEADER_ORIGIN)
        if field is NULL:
            return self.plain
        if self.origins:
            found = <OriginAnswers>self.origins.get(x.head.raw(field.value))
        if found is None:
            found = self.any_origin
        return self.plain if found is None else found


@cython.final
cdef class WebDialects(Dialects):
    """``WebDialects(answers, transcoder=None, unary=True)``: gRPC-Web and Connect for one method.

    ``answers``: the application's ``SharedAnswers``. ``transcoder``: the ``Transcoder`` of its messages; without
    one, calls in JSON are refused. ``unary``: it is no method with streams.
    """

    def __init__(self, SharedAnswers answers not None, *, Transcoder transcoder=None, bint unary=True):
        self.answers = answers
        self.transcoder = transcoder
        self.unary = unary

    cdef bint speaks(self, Exchange x) except -1:
        cdef ConnectFormat found
        if x.head.method == METHOD_GET:
            return self.unary and is_connect_get(x)
        if self.web(x) != WebFormat.WEB_NONE:
            return True
        found = self.connect(x)
        if found == ConnectFormat.CONNECT_PROTO or found == ConnectFormat.CONNECT_STREAM_PROTO:
            return self.unary == (found == ConnectFormat.CONNECT_PROTO)
        if found == ConnectFormat.CONNECT_JSON or found == ConnectFormat.CONNECT_STREAM_JSON:
            return self.unary == (found == ConnectFormat.CONNECT_JSON) and self.transcoder is not None
        return False

    cdef int start(self, GrpcEndpoint endpoint, Exchange x) except -1:
        cdef OriginAnswers answers = self.answers.of(x)
        cdef WebFormat web = self.web(x) if x.head.method == METHOD_POST else WebFormat.WEB_NONE
        if web != WebFormat.WEB_NONE:
            return start_web(endpoint, x, answers.text if web == WebFormat.WEB_TEXT else answers.binary)
        if not self.unary:
            return start_connect_stream(
                endpoint, x, self.transcoder if self.connect(x) == ConnectFormat.CONNECT_STREAM_JSON else None,
                answers.fields,
            )
        return start_connect(
            endpoint, x, ConnectFormat.CONNECT_NONE if x.head.method == METHOD_GET else self.connect(x),
            self.transcoder, answers.fields,
        )

    cdef int end(self, Exchange x, int code, str details) except -1:
        cdef OriginAnswers answers = self.answers.of(x)
        cdef WebFormat web = self.web(x)
        cdef AnswerEncoder encoder
        cdef ConnectEncoder connect
        cdef StreamEncoder stream
        if web != WebFormat.WEB_NONE:
            encoder = answers.text if web == WebFormat.WEB_TEXT else answers.binary
        elif not self.unary:
            stream = StreamEncoder.__new__(StreamEncoder)
            stream.fields = answers.fields
            stream.transcoder = self.transcoder if self.connect(x) == ConnectFormat.CONNECT_STREAM_JSON else None
            encoder = stream
        else:
            connect = ConnectEncoder.__new__(ConnectEncoder)
            connect.fields = answers.fields
            encoder = connect
        encoder.send_head(x, None, COMPRESSION_NONE)
        return encoder.send_end(x, code, details, None)

    cdef WebFormat web(self, Exchange x) noexcept:
        cdef const Field* field = x.head.find(HEADER_CONTENT_TYPE)
        return WebFormat.WEB_NONE if field is NULL else web_format(x.head.at(field.value), field.value.size)

    cdef ConnectFormat connect(self, Exchange x) noexcept:
        cdef const Field* field = x.head.find(HEADER_CONTENT_TYPE)
        return ConnectFormat.CONNECT_NONE if field is NULL else connect_format(x.head.at(field.value), field.value.size)
