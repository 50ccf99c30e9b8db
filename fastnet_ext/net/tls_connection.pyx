# cython: freethreading_compatible=True
"""An accepted connection with TLS in between; tls_connection.pxd is the map.

Records come in and are decrypted into a buffer of the loop's; output is encrypted when it leaves. What is behind a full
transport waits as it is, unencrypted and uncopied.
"""

import logging
import ssl

from fastnet_ext.exchange.limits cimport CUT_CLOSED, LIMIT_TLS_TIME
from fastnet_ext.net.connection cimport CLOCK_HEAD, CLOCK_LINGER, CLOCK_NONE, CLOCK_TLS, Connection
from fastnet_ext.net.loop_state cimport PLAIN_BUFFER, LoopState
from fastnet_ext.net.refusals cimport refusal
from fastnet_ext.net.tls cimport TLS_ENDED, TLS_FRUITLESS, TLS_HANDSHAKING, TLS_OPEN, TLS_PIECE, TlsLayer

cdef object log = logging.getLogger("fastnet.error")
cdef object SSLError = ssl.SSLError


cdef class TlsConnection(AcceptedConnection):
    """The protocol object of a connection with TLS."""

    def __cinit__(self):
        self.secure = True

    # --- input

    cdef int _expect_client(self) except -1:
        return self.start_clock(CLOCK_TLS, self.service.tls_timeout)

    cdef int _arrived(self, size_t size) except -1:
        """Records came: decrypt them, and handle what was in them as one batch."""
        cdef LoopState state = self.loop_state
        cdef TlsLayer tls = self.tls
        cdef Py_ssize_t count
        cdef size_t unsent
        try:
            if tls is None:
                # Records begin with numbers from 20 to 24, the methods of HTTP with a letter.
                if b"A" <= state.read.data[0] <= b"Z":
                    return self._refuse_clear_text()
                state.need_plain_buffer()
                tls = self.tls = TlsLayer(self.service.tls)
            if tls.state == TLS_HANDSHAKING:
                if not self._opened(size):
                    return 0
                size = 0
            if tls.peer_ended:
                return 0    # what follows close_notify is ignored: RFC 8446, 6.1
            count = tls.decrypt(state.read.data, size, state.plain_view, PLAIN_BUFFER)
            if count:
                self._received(state.plain_buffer, count)
            if tls.spoke and not self.gone:
                # Tickets, key updates. A peer that asks for them and takes none goes.
                unsent = tls.unsent()
                if unsent and not self.write_paused:
                    self._transmit_records()
                elif unsent > TLS_FRUITLESS:
                    self.abort()
        except SSLError as error:
            return self._failed(error)
        except Exception:
            return self._crashed()
        if tls.peer_ended and not self.eof and not self.closing:
            self.eof = True
            if self.carrier is None:
                return self.close(False)
            if not self.resume_scheduled:
                self._input_ended()
        return 0

    cdef bint _opened(self, size_t size) except -1:
        cdef TlsLayer tls = self.tls
        if not tls.shake_hands(self.loop_state.read.data, size):
            self._transmit_records()
            return False
        self.loop_state.counts.tls_handshakes += 1
        self.start_clock(CLOCK_HEAD, self.service.head_timeout)
        self.carrier = self.service.negotiator.by_alpn(self, tls.ssl_object.selected_alpn_protocol())
        if self.draining and self.carrier is not None:
            self.carrier.drain()
            self.flush()
        return True

    cdef int _refuse_clear_text(self) except -1:
        """HTTP in clear text, on this port: say so in clear text."""
        self.loop_state.counts.tls_failed += 1
        refusal(&self.out, self.loop_state.date(), 400, b"this port speaks TLS: use https")
        return self.close(True)

    cdef int _failed(self, object error) except -1:
        """The peer broke TLS, or does not want ours: its alert, if it gets one, says why."""
        cdef TlsLayer tls = self.tls
        self.loop_state.counts.tls_failed += 1
        log.debug("TLS with %s failed: %s", self.extra("peername"), error)
        self.out.size = 0
        if tls is None:
            return self.abort()
        tls.state = TLS_ENDED
        tls.drop()
        if self.gone or self.transport.inner is None:
            return 0
        self._transmit_records()
        if not self.gone and not self.closing:
            self.closing = True
            # A reset would overtake the alert.
            self._close_transport(True)
        return 0

    # --- output

    cdef int _transmit(self, const char* data, Py_ssize_t size, object owner) except -1:
        cdef TlsLayer tls = self.tls
        cdef Py_ssize_t piece
        if tls is None:
            return Connection._transmit(self, data, size, owner)
        if self.gone or self.transport.inner is None or tls.state != TLS_OPEN:
            self.out.size = 0
            return 0
        try:
            if self.out.size:
                if tls.queued:
                    tls.keep(self.out.data, self.out.size, None)
                else:
                    tls.encrypt(self.out.data, self.out.size)
                self.out.size = 0
            while size and not tls.queued and not self.gone:
                piece = min(size, <Py_ssize_t>TLS_PIECE)
                tls.encrypt(data, piece)
                data += piece
                size -= piece
                if size:
                    self._transmit_records()
                    if self.write_paused:
                        break
        except SSLError as error:
            return self._failed(error)
        if size and not self.gone:
            tls.keep(data, size, owner)
        return self._transmit_records()

    cdef int _transmit_records(self) except -1:
        cdef bytes records = self.tls.take()
        if records:
            Connection._transmit(self, records, len(records), records)
        elif not self.corked:
            self.loop_state.take_back(&self.out)
        return 0

    cdef int _go_on(self) except -1:
        cdef TlsLayer tls = self.tls
        if tls is None or not tls.queued:
            return 0
        try:
            while tls.queued and not self.write_paused and not self.gone:
                tls.encrypt_queued()
                self._transmit_records()
        except SSLError as error:
            return self._failed(error)
        return self._end(tls.linger) if self.closing and not self.gone else 0

    cdef size_t _unsent(self) noexcept:
        return 0 if self.tls is None else self.tls.queued

    # --- ends

    cdef int _end(self, bint linger) except -1:
        """Close behind what the peer has not taken yet and our close_notify."""
        cdef TlsLayer tls = self.tls
        if tls is None:
            return self._close_transport(linger)
        tls.linger = linger
        if tls.queued:
            return self.start_clock(CLOCK_LINGER, self.service.write_timeout)
        tls.end()
        self._transmit_records()
        if self.gone or self.transport.inner is None:
            return 0
        return self._close_transport(linger)

    cdef int _never_begun(self) except -1:
        if self.clock != CLOCK_TLS:
            return Connection._never_begun(self)
        self.loop_state.counts.tls_failed += 1
        self.over_limit(LIMIT_TLS_TIME, self.service.tls_timeout, CUT_CLOSED)
        self.clock = CLOCK_NONE
        return self.abort()

    cdef int _forget(self) except -1:
        return 0 if self.tls is None else self.tls.drop()

    cdef object extra(self, str name):
        if self.tls is not None:
            if name == "tls":
                return self.tls.info()
            if name == "ssl_object":
                return self.tls.ssl_object
            if name == "peercert":
                return self.tls.info().peer_certificate
        return self.transport.extra(name)
