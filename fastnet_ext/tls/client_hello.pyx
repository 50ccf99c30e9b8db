# cython: freethreading_compatible=True
"""What a ClientHello offers by ALPN; client_hello.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t

from fastnet_ext.core.buffer cimport buffer_append, buffer_free, buffer_init
from fastnet_ext.core.endian cimport load16, load24


cdef extern from "fastnet_ext/tls/client_hello.h" nogil:
    ctypedef enum Alpn "fn_alpn":
        ALPN_ABSENT "FN_ALPN_ABSENT"
        ALPN_OFFERED "FN_ALPN_OFFERED"
        ALPN_MALFORMED "FN_ALPN_MALFORMED"

    ctypedef struct Part "fn_tls_part":
        const char* at
        const char* end

    Alpn alpn_of "fn_alpn_of" (const char* message, size_t size, Part* list) noexcept

cdef enum:
    RECORD_HEADER = 5
    RECORD_HANDSHAKE = 22
    RECORD_MAX = 16384
    MESSAGE_HEADER = 4
    CLIENT_HELLO = 1


@cython.final
cdef class HelloReader:
    """Reads the beginning of one connection."""

    def __cinit__(self):
        buffer_init(&self.held)

    def __dealloc__(self):
        buffer_free(&self.held)

    cdef HelloEvent next(self, const char* data, size_t size) except HELLO_RAISED:
        cdef const char* end = data + size
        cdef size_t take
        while data < end:
            if self.left == 0:
                take = min(<size_t>(RECORD_HEADER - self.record_have), <size_t>(end - data))
                for i in range(<int>take):
                    self.record[self.record_have + i] = data[i]
                self.record_have += <int>take
                data += take
                # A connection that is no TLS shows it by its first bytes.
                if self.record[0] != RECORD_HANDSHAKE or (self.record_have > 1 and self.record[1] != 3):
                    return HELLO_UNREADABLE
                if self.record_have < RECORD_HEADER:
                    return HELLO_NEED_DATA
                self.record_have = 0
                self.left = load16(self.record + 3)
                if self.left == 0 or self.left > RECORD_MAX:
                    return HELLO_UNREADABLE
                continue
            take = min(self.left, <size_t>(end - data))
            if self.held.size == 0 and take >= MESSAGE_HEADER and load24(data + 1) + MESSAGE_HEADER <= take:
                # In one piece: it stays where it is.
                return self._message(data, load24(data + 1) + MESSAGE_HEADER)
            if buffer_append(&self.held, data, take) < 0:
                raise MemoryError()
            data += take
            self.left -= take
            if self.held.data[0] != CLIENT_HELLO:
                return HELLO_UNREADABLE
            if self.held.size >= MESSAGE_HEADER:
                take = load24(self.held.data + 1) + MESSAGE_HEADER
                if take > HELLO_MAX:
                    return HELLO_UNREADABLE
                if self.held.size >= take:
                    return self._message(self.held.data, take)
        return HELLO_NEED_DATA

    cdef HelloEvent _message(self, const char* message, size_t size) except HELLO_RAISED:
        cdef Part names
        cdef Alpn found = alpn_of(message, size, &names)
        cdef Py_ssize_t length
        if found == ALPN_OFFERED:
            self.offered = []
            while names.at < names.end:
                length = <unsigned char>names.at[0]
                self.offered.append(PyBytes_FromStringAndSize(names.at + 1, length))
                names.at += 1 + length
        buffer_free(&self.held)
        if found == ALPN_OFFERED:
            return HELLO_OFFER
        return HELLO_SILENT if found == ALPN_ABSENT else HELLO_UNREADABLE


def offered_protocols(pieces):
    """What a connection that begins with these pieces (bytes) offers by ALPN.

    A list of names, ``[]`` without ALPN; None when more bytes are needed; ValueError for what is no ClientHello.
    """
    cdef HelloReader reader = HelloReader()
    cdef HelloEvent event
    cdef bytes piece
    for piece in pieces:
        event = reader.next(piece, len(piece))
        if event == HELLO_UNREADABLE:
            raise ValueError("not a ClientHello as RFC 8446 has it")
        if event != HELLO_NEED_DATA:
            return reader.offered or []
    return None
