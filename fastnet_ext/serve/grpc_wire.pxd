"""What a gRPC answer consists of on the wire, and who writes it: one encoder per dialect.

The call core knows codes, messages and metadata; an encoder turns them into heads, bodies and
trailers of the exchange. Metadata is here a list of (name, value) bytes, checked and coded.
"""

from libc.stdint cimport uint64_t

from fastnet_ext.core.headers cimport HeaderBlock
from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.exchange.head cimport ResponseHead


cdef enum:
    # gRPC's status codes, those that the server itself answers with; up to MAX_CODE there are others.
    CODE_OK = 0
    CODE_CANCELLED = 1
    CODE_UNKNOWN = 2
    CODE_DEADLINE_EXCEEDED = 4
    CODE_RESOURCE_EXHAUSTED = 8
    CODE_UNIMPLEMENTED = 12
    CODE_INTERNAL = 13
    MAX_CODE = 16

    # Messages up to here are framed on the stack and copied once into the carrier's output.
    SMALL_MESSAGE = 4096


cdef enum Compression:
    # Of messages; the numbers are those of grpc.Compression.
    COMPRESSION_UNKNOWN = -1
    COMPRESSION_NONE = 0
    COMPRESSION_DEFLATE = 1
    COMPRESSION_GZIP = 2


# The value of grpc-accept-encoding, and of accept-encoding in Connect: the compressions that we know.
cdef bytes ACCEPTED


cdef class AnswerEncoder:
    """Writes the answers of one dialect. Where the dialect allows it, one serves all calls."""

    # The head, once per call, before anything else. `compression`: of the messages to come.
    cdef int send_head(self, Exchange x, list metadata, Compression compression) except -1
    # One message, compressed when told to. 1: go on; 0: the peer is slow.
    cdef int send_message(self, Exchange x, bytes message, Compression compression) except -1
    # The end: status, its text (None or "": none) and trailing metadata (None: none).
    cdef int send_end(self, Exchange x, int code, str details, list metadata) except -1
    # In place of send_head: a head that also names the compressions that we know.
    cdef int send_accepted(self, Exchange x) except -1
    # The compressions that the caller takes, as the field says in which the dialect has them; None: it does not say.
    cdef str accepted(self, HeaderBlock head)


cdef class GrpcEncoder(AnswerEncoder):
    """gRPC over HTTP/2: the status stands in the trailers."""

    cdef tuple heads                    # by Compression
    # With grpc-accept-encoding: for peers that compress in a way we do not know.
    cdef ResponseHead accepting_head
    # Trailers of a call without details and metadata. Shared: nobody changes it.
    cdef list ok_trailers


# The heads of answers without metadata, by Compression: these fields, and grpc-encoding.
cdef tuple heads_of(list fields)

# A message, compressed. Not for COMPRESSION_NONE.
cdef bytes compress(bytes message, Compression compression)

# The name of a compression, as heads have it.
cdef str coding_name(Compression compression)

# Whether a list of codings, with or without weights (RFC 9110, 12.5.3), names that compression, and does not refuse it.
cdef bint names_coding(str accepted, Compression compression) except -1

# A message with its prefix, compressed when told to. ValueError from 4 GiB on.
cdef bytes framed_message(bytes message, Compression compression)

# A status as the trailers have it.
cdef list status_fields(int code, str details, list metadata)

# Whether a request is gRPC with protobuf messages: application/grpc or application/grpc+proto.
cdef bint is_grpc(HeaderBlock head) noexcept

# The compression that a grpc-encoding names.
cdef Compression compression_named(const char* name, size_t size) noexcept

# The message, unpacked. ValueError when it is damaged, OverflowError above `limit` bytes.
cdef bytes decompress(bytes message, Compression compression, uint64_t limit)

# Whether every "-bin" field holds base64.
cdef bint binary_fields_valid(HeaderBlock head) except -1

# The metadata of a request, a tuple of Metadatum: without the fields that are the protocol's own.
cdef tuple decode_metadata(HeaderBlock head)

# Checks and codes what a handler gave: an iterable of (key, value), or None. TypeError or ValueError
# says what cannot be sent.
cdef list encode_metadata(object metadata)
