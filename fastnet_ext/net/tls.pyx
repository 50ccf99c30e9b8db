# cython: freethreading_compatible=True
"""TLS over memory: tls.pxd is the map.

The connection reads and writes its socket as it does without TLS, and hands the bytes through a `TlsLayer`. What is
called per request are the methods of Python's own `_ssl` objects, without the Python shell around them.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_FromStringAndSize

import ssl
from collections import deque

from fastnet_ext.core.debug cimport DEBUG, invariant
from fastnet_ext.exchange.values import TLSInfo
from fastnet_ext.tls.client_hello cimport HELLO_NEED_DATA, HELLO_OFFER, HelloEvent, HelloReader

cdef object WantRead = ssl.SSLWantReadError
cdef object ZeroReturn = ssl.SSLZeroReturnError
cdef object SSLError = ssl.SSLError
cdef object MemoryBIO = ssl.MemoryBIO

# A record with a fatal alert: RFC 8446, 5.1 and 6.2; RFC 7301, 3.2.
cdef bytes NO_APPLICATION_PROTOCOL = bytes((21, 3, 3, 0, 2, 2, 120))


cdef class TlsSource:
    """``TlsSource(context, protocols)``: the ``ssl.SSLContext`` of new connections, which may be replaced at any time.

    ``protocols`` are ALPN's names of what is spoken. A client that offers only others is refused with the alert
    no_application_protocol (RFC 7301, 3.2), which the ``ssl`` module cannot do by itself; without ``protocols`` nobody is.
    """

    def __init__(self, context, protocols=()):
        self.context = context
        self.protocols = frozenset([name.encode("ascii") for name in protocols])


@cython.final
cdef class Lent:
    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, <char*>self.data, <Py_ssize_t>self.size, True, flags)


cdef inline bint _is_one_record(const char* data, size_t size) noexcept:
    # RFC 8446, 5.1: type, two bytes of version, two of the length that follows.
    return size > 5 and size == 5 + (<size_t><unsigned char>data[3] << 8 | <unsigned char>data[4])


@cython.final
cdef class TlsLayer:
    """The server's side of one TLS connection."""

    def __init__(self, TlsSource source not None):
        self.incoming = MemoryBIO()
        self.outgoing = MemoryBIO()
        self.ssl_object = source.context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self._inner = self.ssl_object._sslobj
        self._feed = self.incoming.write
        self._take = self.outgoing.read
        self._read = self._inner.read
        self._write = self._inner.write
        self._lent = Lent()
        self.queue = deque()
        if source.protocols:
            self.protocols = source.protocols
            self.hello = HelloReader()

    cdef int _give(self, const char* data, size_t size) except -1:
        self._lent.data = data
        self._lent.size = size
        self._feed(self._lent)
        return 0

    cdef int _read_hello(self, const char* data, size_t size) except -1:
        cdef HelloEvent event = self.hello.next(data, size)
        cdef list offered = self.hello.offered
        if event == HELLO_NEED_DATA:
            return 0
        self.hello = None
        if event == HELLO_OFFER and self.protocols.isdisjoint(offered):
            # OpenSSL has written nothing yet: it has not seen the end of the hello.
            self.outgoing.write(NO_APPLICATION_PROTOCOL)
            raise SSLError(f"the client speaks {b', '.join(offered).decode('ascii', 'backslashreplace')}, and nothing of ours")
        return 0

    cdef bint shake_hands(self, const char* data, size_t size) except -1:
        if self.hello is not None:
            self._read_hello(data, size)
        self._give(data, size)
        try:
            self._inner.do_handshake()
        except WantRead:
            return False
        self.state = TLS_OPEN
        return True

    cdef Py_ssize_t decrypt(self, const char* data, size_t size, object view, size_t room) except -1:
        cdef Py_ssize_t filled
        if DEBUG:
            invariant(size + TLS_RECORD <= room)
        try:
            if self.between_records and _is_one_record(data, size):
                filled = self._decrypt_one(data, size, view, room)
            else:
                filled = self._decrypt_all(data, size, view, room)
        except ZeroReturn:
            self.peer_ended = self.spoke = True
            filled = 0
        if filled:
            self.fruitless = 0
        else:
            self.fruitless += size
            if self.fruitless > TLS_FRUITLESS:
                raise SSLError("records without data, one after the other")
        return filled

    cdef Py_ssize_t _decrypt_one(self, const char* data, size_t size, object view, size_t room) except -1:
        """One record whole, as most requests are: after it nothing is left to ask OpenSSL for."""
        cdef Py_ssize_t got = 0
        self._give(data, size)
        try:
            got = self._read(room, view)
            # What held data had nothing else in it, and called for no answer of OpenSSL's.
            self.spoke = self.peer_ended = got == 0
        except WantRead:
            self.spoke = True
        return got

    cdef Py_ssize_t _decrypt_all(self, const char* data, size_t size, object view, size_t room) except -1:
        cdef size_t filled = 0
        cdef size_t used = 0
        cdef size_t piece
        cdef Py_ssize_t got
        self.spoke = True
        self.between_records = False
        try:
            while not self.peer_ended:
                if used < size:
                    piece = min(size - used, <size_t>TLS_FEED)
                    self._give(data + used, piece)
                    used += piece
                elif not self.incoming.pending:
                    self.between_records = True
                    break
                # Asking with nothing there would cost an exception. One read takes a record whole, as there
                # is room for one: nothing of it waits inside OpenSSL.
                try:
                    while self.incoming.pending:
                        got = self._read(room - filled, view if filled == 0 else view[filled:])
                        if got == 0:
                            self.peer_ended = True
                            break
                        filled += got
                except WantRead:
                    if used == size:
                        break
        except ZeroReturn:
            self.peer_ended = True
        return filled

    cdef int encrypt(self, const char* data, size_t size) except -1:
        cdef size_t done = 0
        while done < size:
            self._lent.data = data + done
            self._lent.size = size - done
            done += <Py_ssize_t>self._write(self._lent)
        return 0

    cdef bytes take(self):
        return self._take()

    cdef size_t unsent(self) except? 0:
        return self.outgoing.pending

    cdef int keep(self, const char* data, size_t size, object owner) except -1:
        if isinstance(owner, bytes):
            self.queue.append((owner, len(owner) - size))
        else:
            self.queue.append((PyBytes_FromStringAndSize(data, size), 0))
        self.queued += size
        return 0

    cdef int encrypt_queued(self) except -1:
        cdef bytes data
        cdef Py_ssize_t position
        cdef size_t piece
        data, position = self.queue.popleft()
        piece = min(<size_t>(len(data) - position), <size_t>TLS_PIECE)
        if <Py_ssize_t>(position + piece) < len(data):
            self.queue.appendleft((data, position + piece))
        self.queued -= piece
        return self.encrypt(<const char*>data + position, piece)

    cdef int end(self) except -1:
        if self.state == TLS_OPEN:
            self.state = TLS_ENDED
            try:
                self._inner.shutdown()
            except (SSLError, OSError):
                # It writes our close_notify, then says that the peer's is not there, or that data is.
                pass
        return 0

    cdef int drop(self) except -1:
        self.queue.clear()
        self.queued = 0
        return 0

    cdef object info(self):
        if self._info is None:
            self._info = TLSInfo(self.ssl_object)
        return self._info
