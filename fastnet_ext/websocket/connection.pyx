# cython: freethreading_compatible=True
"""The WebSocket session for Python: bytes in, a list of events and bytes out.

Tests, fuzzers and benches hold the session to the RFC and to other libraries through this face; it
copies what the compiled drivers only view.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint16_t

from fastnet_ext.core.buffer cimport Buffer, buffer_free, buffer_init
from fastnet_ext.websocket.deflate cimport Compressors, new_deflate
from fastnet_ext.websocket.extensions cimport DeflateAgreement
from fastnet_ext.websocket.session cimport Event, Limits, Role, Session, new_session

from fastnet_ext.websocket.session import StateError

STATES = ("open", "closing", "closed", "failed")


@cython.final
cdef class Connection:
    """One end of a WebSocket connection after its hand-shake.

    ``role`` is ``"server"`` or ``"client"``. ``deflate`` is what the hand-shake agreed on, and ``compressors``
    what several connections of one thread compress with that keep no context. Sending raises ``StateError`` when the state of the
    connection forbids it and ValueError when RFC 6455 forbids the content.
    """

    cdef Session _session
    cdef Buffer _out

    def __cinit__(
        self, str role not None, Limits limits=None, *, DeflateAgreement deflate=None, Compressors compressors=None
    ):
        if role not in ("server", "client"):
            raise ValueError("role is 'server' or 'client'")
        buffer_init(&self._out)
        self._session = new_session(Role.SERVER if role == "server" else Role.CLIENT, limits or Limits())
        if deflate is not None:
            if compressors is None:
                compressors = Compressors()
            self._session.use_deflate(new_deflate(role == "server", deflate, compressors))

    def __dealloc__(self):
        buffer_free(&self._out)

    def receive_data(self, data):
        """Take what the peer sent and return the events, in order.

        They are ``("text", str)``, ``("binary", bytes)``, ``("ping", bytes)``, ``("pong", bytes)``,
        ``("close", code, reason)`` and ``("failed", code, reason)``. Nothing follows the last two.
        """
        cdef bytearray copy = bytearray(data)
        cdef char* p = copy
        cdef size_t size = <size_t>len(copy), used = 0, consumed = 0
        cdef Event event
        cdef list events = []
        while True:
            event = self._session.next(&self._out, p + used, size - used, &consumed)
            used += consumed
            if event == Event.NEED_DATA:
                if used != size:
                    raise AssertionError("input left over")
                return events
            events.append(self._describe(event))

    def count_events(self, uint8_t[::1] data not None):
        """Take ``data``, unmasking it in place, and return how many events it brought (for benches)."""
        cdef char* p = <char*>&data[0] if data.shape[0] else NULL
        cdef size_t size = <size_t>data.shape[0], used = 0, consumed = 0
        cdef Py_ssize_t events = 0
        cdef Event event
        while True:
            event = self._session.next(&self._out, p + used, size - used, &consumed)
            if event == Event.NEED_DATA:
                return events
            if event == Event.MESSAGE:
                self._session.unmask()
            used += consumed
            events += 1

    cdef tuple _describe(self, Event event):
        cdef Session session = self._session
        if event == Event.MESSAGE:
            return "text" if session.is_text else "binary", session.message()
        if event == Event.CLOSE or event == Event.FAILED:
            reason = PyUnicode_DecodeUTF8(session.payload, <Py_ssize_t>session.payload_size, NULL)
            return "close" if event == Event.CLOSE else "failed", session.close_code, reason
        payload = PyBytes_FromStringAndSize(session.payload, <Py_ssize_t>session.payload_size)
        return "ping" if event == Event.PING else "pong", payload

    def receive_end(self):
        """The peer's input has ended; without a Close before, ``close_code`` becomes 1006."""
        self._session.receive_end()

    def send_text(self, str text not None):
        cdef bytes data = text.encode()
        cdef const char* p = data
        self._session.send_message(&self._out, True, p, <size_t>len(data))

    def send_bytes(self, const uint8_t[::1] data not None):
        cdef const char* p = <const char*>&data[0] if data.shape[0] else NULL
        self._session.send_message(&self._out, False, p, <size_t>data.shape[0])

    def send_fragment(self, const uint8_t[::1] data not None, *, bint text=False, bint final=False):
        """Send a part of a message; ``text`` counts at its first part, ``final`` ends it."""
        cdef const char* p = <const char*>&data[0] if data.shape[0] else NULL
        self._session.send_fragment(&self._out, text, p, <size_t>data.shape[0], final)

    def ping(self, bytes payload not None=b""):
        cdef const char* p = payload
        self._session.send_ping(&self._out, p, <size_t>len(payload))

    def pong(self, bytes payload not None=b""):
        cdef const char* p = payload
        self._session.send_pong(&self._out, p, <size_t>len(payload))

    def close(self, uint16_t code=1000, str reason not None=""):
        """Begin the closing hand-shake; code 1005 sends a Close without code and reason."""
        cdef bytes encoded = reason.encode()
        cdef const char* p = encoded
        self._session.send_close(&self._out, code, p, <size_t>len(encoded))

    def message_header(self, size_t size, *, bint text=False):
        """The header of a server's whole message of ``size`` bytes, for a caller that writes the payload itself."""
        cdef char header[16]
        return PyBytes_FromStringAndSize(header, self._session.message_header(text, size, header))

    def data_to_send(self):
        """Return the bytes that wait for the peer, and forget them."""
        data = PyBytes_FromStringAndSize(self._out.data, <Py_ssize_t>self._out.size)
        self._out.size = 0
        return data

    @property
    def state(self):
        """``"open"``, ``"closing"``, ``"closed"`` or ``"failed"``."""
        return STATES[self._session.state]

    @property
    def close_code(self):
        """How the connection ended: 0 until then, 1005 without a code, 1006 without a Close frame."""
        return self._session.close_code

    @property
    def held(self):
        """Bytes of memory held for a message in pieces, and for what zlib remembers."""
        return self._session.held()

    @property
    def automatic_pong(self):
        """Whether pings are answered at once (the default)."""
        return self._session.automatic_pong

    @automatic_pong.setter
    def automatic_pong(self, bint value):
        self._session.automatic_pong = value
