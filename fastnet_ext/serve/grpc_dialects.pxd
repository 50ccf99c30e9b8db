"""Which dialect a request speaks that is no gRPC, and what its answers say to browsers of other origins."""

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.grpc.connect cimport ConnectFormat
from fastnet_ext.grpc.web cimport WebFormat
from fastnet_ext.serve.connect cimport Transcoder
from fastnet_ext.serve.grpc cimport Dialects
from fastnet_ext.serve.grpc_web cimport WebEncoder


cdef class OriginAnswers:
    """What writes the answers for one origin."""

    cdef list fields                # of CORS (Fetch standard, 3.2), for every head
    cdef WebEncoder binary
    cdef WebEncoder text


cdef class SharedAnswers:
    """Who writes the answers of an application's methods, by origin."""

    cdef OriginAnswers plain        # of requests without an origin, or from one that may not read the answer
    cdef OriginAnswers any_origin   # None: only those of `origins` may
    cdef dict origins               # bytes of an Origin field -> OriginAnswers

    cdef OriginAnswers of(self, Exchange x)


cdef class WebDialects(Dialects):
    """gRPC-Web and Connect for one method."""

    cdef SharedAnswers answers
    cdef Transcoder transcoder      # None: the method's messages have no JSON form
    cdef bint unary                 # Connect: plain requests and answers are for unary methods, envelopes for others

    cdef WebFormat web(self, Exchange x) noexcept
    cdef ConnectFormat connect(self, Exchange x) noexcept
