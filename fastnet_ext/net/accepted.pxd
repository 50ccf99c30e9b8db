"""A connection that a listener accepted, as asyncio sees it."""

from fastnet_ext.exchange.limits cimport Limit
from fastnet_ext.net.connection cimport Connection
from fastnet_ext.proxy.protocol cimport ProxyReader


cdef class AcceptedConnection(Connection):
    # The PROXY protocol, in front of everything else, TLS included. None once its header is read, or turned out not
    # to be there; and where none is expected.
    cdef ProxyReader proxy_reader
    cdef object address             # its key in loop_state.addresses; None: it is not counted

    # Bytes of the client itself are awaited from now on, and `_arrived` in the loop's read buffer.
    cdef int _expect_client(self) except -1
    cdef int _arrived(self, size_t size) except -1
    cdef bint _admit(self) except -1
    cdef int _turn_away(self, Limit which, double value, int status) except -1
    cdef bint _count_address(self) except -1
    cdef int _expect_proxy(self) except -1
    cdef Py_ssize_t _read_proxy_header(self, Py_ssize_t count) except -1
    cdef int _turn_away_client(self) except -1
    cdef int _refuse_proxy(self, str why) except -1
