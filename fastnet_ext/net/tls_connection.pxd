"""An accepted connection with TLS between its carrier and its socket."""

from fastnet_ext.net.accepted cimport AcceptedConnection
from fastnet_ext.net.tls cimport TlsLayer


cdef class TlsConnection(AcceptedConnection):
    # Made when the first bytes are there, unless they are no TLS: then what is written is clear text.
    cdef TlsLayer tls

    # Go on with the hand-shake; whether data may follow it in what has come.
    cdef bint _opened(self, size_t size) except -1
    cdef int _refuse_clear_text(self) except -1
    cdef int _failed(self, object error) except -1
    # Write what is encrypted.
    cdef int _transmit_records(self) except -1
