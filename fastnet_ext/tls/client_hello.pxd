"""What the ClientHello of a TLS connection offers by ALPN, read beside the library that shakes hands.

    record    type (1), version (2), length (2), a piece of a handshake message
    message   type (1), length (3), the ClientHello

The reader is told the first bytes of a connection, however they are cut, until it says anything but HELLO_NEED_DATA.
It judges nothing but what it is asked: whatever it does not understand is HELLO_UNREADABLE, and the library's to refuse.
"""

from fastnet_ext.core.buffer cimport Buffer


cdef enum:
    # Bytes of a ClientHello; longer ones are not read. OpenSSL's own limit is 131,396.
    HELLO_MAX = 128 * 1024


cdef enum HelloEvent:
    HELLO_RAISED = -1       # a Python exception is set (MemoryError)
    HELLO_NEED_DATA = 0
    HELLO_SILENT            # no ALPN
    HELLO_OFFER             # `offered`
    HELLO_UNREADABLE


cdef class HelloReader:
    cdef Buffer held            # of the message, when it does not come in one piece; without the records around it
    cdef char record[5]         # the header of a record in pieces
    cdef int record_have
    cdef size_t left            # of the record's payload
    cdef readonly list offered  # names of protocols, bytes, in the client's order

    cdef HelloEvent next(self, const char* data, size_t size) except HELLO_RAISED
    cdef HelloEvent _message(self, const char* message, size_t size) except HELLO_RAISED
