# cython: freethreading_compatible=True
"""The PROXY protocol; protocol.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy, strlen

from typing import NamedTuple

from fastnet_ext.core.buffer cimport buffer_append, buffer_free, buffer_init
from fastnet_ext.core.endian cimport load16, load32
from fastnet_ext.proxy.networks cimport IpAddress, ip_from_v4, ip_text, parse_ip, parse_port


cdef extern from "fastnet_ext/proxy/crc32c.h" nogil:
    uint32_t crc32c "fn_crc32c" (uint32_t crc, const char* p, size_t size) noexcept


cdef const char* V1 = b"PROXY "
cdef const char* V2 = b"\r\n\r\n\0\r\nQUIT\n"

cdef enum:
    V1_SIZE = 6
    V2_SIZE = 12
    V2_HEAD = 16

    # The high half of the byte of family and transport, and what the addresses take.
    FAMILY_UNSPEC = 0
    FAMILY_INET = 1
    FAMILY_INET6 = 2
    FAMILY_UNIX = 3
    INET_SIZE = 12
    INET6_SIZE = 36
    UNIX_SIZE = 216
    STREAM = 1

    TLV_ALPN = 0x01
    TLV_AUTHORITY = 0x02
    TLV_CRC32C = 0x03
    TLV_UNIQUE_ID = 0x05
    TLV_SSL = 0x20
    TLV_SSL_VERSION = 0x21
    TLV_SSL_CN = 0x22
    TLV_SSL_CIPHER = 0x23
    CLIENT_SSL = 1
    CLIENT_CERTIFICATE = 2 | 4      # on this connection, or in its TLS session


class ProxyTLS(NamedTuple):
    """The TLS between the client and the proxy: ``version`` as "TLSv1.3".

    ``verified``: the client showed a certificate and the proxy found it valid; ``common_name`` is its subject's.
    """

    version: str | None
    cipher: str | None
    common_name: str | None
    verified: bool


@cython.final
cdef class ProxyHeader:
    """What the PROXY protocol said of a connection."""

    def __repr__(self):
        return f"ProxyHeader(version={self.version}, local={self.local}, source={self.source!r}, destination={self.destination!r})"


@cython.final
cdef class ProxyReader:
    """Reads the header at the beginning of a connection, if there is one."""

    def __cinit__(self):
        buffer_init(&self.held)

    def __dealloc__(self):
        buffer_free(&self.held)

    cdef ProxyEvent next(self, const char* data, size_t size, size_t* used) except *:
        cdef size_t before = self.held.size
        cdef size_t at = 0, count
        cdef ProxyEvent event = PROXY_NEED_DATA
        used[0] = 0
        while event == PROXY_NEED_DATA and at < size:
            if self.state == STATE_BLOCK:
                count = min(size - at, self.total - self.held.size)
                self._append(data + at, count)
                at += count
                if self.held.size == self.total:
                    event = self._read_block()
                continue
            # Byte by byte: what follows the header is not ours.
            self._append(data + at, 1)
            at += 1
            if self.state == STATE_SIGNATURE:
                if memcmp(self.held.data, V1, min(self.held.size, V1_SIZE)) == 0:
                    if self.held.size == V1_SIZE:
                        self.state = STATE_LINE
                elif memcmp(self.held.data, V2, self.held.size) == 0:
                    if self.held.size == V2_SIZE:
                        self.state = STATE_HEAD
                else:
                    self.held.size = before
                    return PROXY_ABSENT
            elif self.state == STATE_LINE:
                if self.held.data[self.held.size - 1] == b"\n":
                    event = self._read_line()
                elif self.held.size == PROXY_LINE:
                    event = self._fail(b"a header of version 1 is longer than 107 bytes")
            elif self.held.size == V2_HEAD:
                event = self._read_head()
        used[0] = at
        return event

    cdef ProxyEvent _fail(self, const char* why) noexcept:
        self.error = why
        return PROXY_FAILED

    cdef bint _append(self, const char* data, size_t size) except -1:
        if buffer_append(&self.held, data, size) < 0:
            raise MemoryError()
        return True

    cdef ProxyEvent _read_line(self) except *:
        """The line of version 1: everything is one space apart, and nothing more than it has to be."""
        cdef bytes line = PyBytes_FromStringAndSize(self.held.data, self.held.size)
        cdef ProxyHeader header = ProxyHeader.__new__(ProxyHeader)
        cdef list words
        header.version = 1
        header.tlvs = []
        if not line.endswith(b"\r\n"):
            return self._fail(b"a header of version 1 does not end with CR LF")
        words = line[:-2].split(b" ")
        # "UNKNOWN" says nothing, whatever follows it.
        if words[1] != b"UNKNOWN":
            if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
                return self._fail(b"a header of version 1 does not read PROXY TCP4|TCP6|UNKNOWN address address port port")
            header.source = endpoint(words[2], words[4], words[1] == b"TCP4")
            header.destination = endpoint(words[3], words[5], words[1] == b"TCP4")
            if header.source is None or header.destination is None:
                return self._fail(b"a header of version 1 has a malformed address or port")
        self.header = header
        return PROXY_HEADER

    cdef ProxyEvent _read_head(self) except *:
        cdef uint8_t version_command = <uint8_t>self.held.data[12]
        cdef uint8_t family = <uint8_t>self.held.data[13]
        if version_command >> 4 != 2:
            return self._fail(b"a header has an unknown version")
        if version_command & 15 > 1:
            return self._fail(b"a header of version 2 has an unknown command")
        # LOCAL: the family is ignored, whatever it is.
        if version_command & 15 and (family >> 4 > 3 or family & 15 > 2):
            return self._fail(b"a header of version 2 has an unknown family or transport")
        self.total = V2_HEAD + <size_t>load16(self.held.data + 14)
        self.state = STATE_BLOCK
        return self._read_block() if self.total == V2_HEAD else PROXY_NEED_DATA

    cdef ProxyEvent _read_block(self) except *:
        cdef const char* block = self.held.data + V2_HEAD
        cdef size_t size = self.total - V2_HEAD
        cdef size_t taken = 0
        cdef uint8_t family = <uint8_t>self.held.data[13] >> 4
        cdef bint stream = <uint8_t>self.held.data[13] & 15 == STREAM
        cdef ProxyHeader header = ProxyHeader.__new__(ProxyHeader)
        header.version = 2
        header.tlvs = []
        self.header = header
        if <uint8_t>self.held.data[12] & 15 == 0:
            # The whole block is to be ignored, what is in it too.
            header.local = True
            return PROXY_HEADER
        if family == FAMILY_INET:
            taken = INET_SIZE
        elif family == FAMILY_INET6:
            taken = INET6_SIZE
        elif family == FAMILY_UNIX:
            taken = UNIX_SIZE
        if size < taken:
            return self._fail(b"a header of version 2 is too short for its addresses")
        # Other transports than streams say nothing of a stream.
        if stream and family == FAMILY_INET:
            header.source = packed_endpoint(block, block + 8, True)
            header.destination = packed_endpoint(block + 4, block + 10, True)
        elif stream and family == FAMILY_INET6:
            header.source = packed_endpoint(block, block + 32, False)
            header.destination = packed_endpoint(block + 16, block + 34, False)
        elif stream and family == FAMILY_UNIX:
            header.source = unix_path(block)
            header.destination = unix_path(block + 108)
        return self._read_tlvs(V2_HEAD + taken)

    cdef ProxyEvent _read_tlvs(self, size_t at) except *:
        cdef ProxyHeader header = self.header
        cdef const char* data = self.held.data
        cdef size_t size
        cdef uint8_t kind
        while at < self.total:
            if self.total - at < 3 or self.total - at - 3 < load16(data + at + 1):
                return self._fail(b"a header of version 2 has a TLV that is longer than what is left")
            kind = <uint8_t>data[at]
            size = load16(data + at + 1)
            at += 3
            header.tlvs.append((kind, PyBytes_FromStringAndSize(data + at, size)))
            if kind == TLV_CRC32C:
                if size != 4 or load32(data + at) != checksum(data, self.total, at):
                    return self._fail(b"a header of version 2 has a wrong checksum")
            elif kind == TLV_ALPN:
                header.alpn = data[at:at + size].decode("latin-1")
            elif kind == TLV_AUTHORITY:
                header.authority = data[at:at + size].decode("utf-8", "replace")
            elif kind == TLV_UNIQUE_ID:
                header.unique_id = PyBytes_FromStringAndSize(data + at, size)
            elif kind == TLV_SSL:
                if size < 5:
                    return self._fail(b"a header of version 2 has a TLV of TLS that is too short")
                if <uint8_t>data[at] & CLIENT_SSL:
                    header.tls = tls_of(data + at, size)
                    if header.tls is None:
                        return self._fail(b"a header of version 2 has a TLV of TLS that is longer than what is left")
            at += size
        return PROXY_HEADER


cdef uint32_t checksum(const char* data, size_t size, size_t at) noexcept:
    """The CRC-32C of the header with zeros in the place of its own four bytes."""
    cdef uint32_t crc = crc32c(0, data, at)
    crc = crc32c(crc, b"\0\0\0\0", 4)
    return crc32c(crc, data + at + 4, size - at - 4)


cdef object tls_of(const char* data, size_t size):
    """A TLV of TLS: flags, verification, TLVs of its own; None when they do not fit."""
    cdef size_t at = 5, length
    cdef dict found = {}
    cdef bint shown = <uint8_t>data[0] & CLIENT_CERTIFICATE
    while at < size:
        if size - at < 3 or size - at - 3 < load16(data + at + 1):
            return None
        length = load16(data + at + 1)
        found[<uint8_t>data[at]] = data[at + 3:at + 3 + length].decode("utf-8", "replace")
        at += 3 + length
    return ProxyTLS(
        found.get(TLV_SSL_VERSION), found.get(TLV_SSL_CIPHER), found.get(TLV_SSL_CN), shown and load32(data + 1) == 0
    )


cdef object endpoint(bytes address, bytes port, bint v4):
    """(host, port) of text; None when it is malformed."""
    cdef const char* text = address
    cdef const char* digits = port
    cdef IpAddress ip
    if not parse_ip(text, len(address), &ip) or (memchr(text, b":", len(address)) is NULL) != v4:
        return None
    # No leading zeros, no signs.
    if parse_port(digits, len(port)) < 0 or (len(port) > 1 and digits[0] == b"0"):
        return None
    return ip_text(&ip), int(port)


cdef object packed_endpoint(const char* address, const char* port, bint v4):
    cdef IpAddress ip
    if v4:
        ip_from_v4(address, &ip)
    else:
        memcpy(ip.bytes, address, 16)
    return ip_text(&ip), load16(port)


cdef str unix_path(const char* field):
    """108 bytes, up to the first zero; the name of an abstract socket begins with one."""
    cdef const char* end = <const char*>memchr(field + 1, 0, 107)
    cdef size_t size = 108 if end is NULL else <size_t>(end - field)
    return "" if field[0] == 0 and size == 1 else field[:size].decode("utf-8", "surrogateescape")


def read_header(pieces):
    """Feed pieces of bytes: ``("header", ProxyHeader, rest)``, ``("absent", None, everything)``,
    ``("failed", sentence, b"")`` or ``("need_data", None, b"")``."""
    cdef ProxyReader reader = ProxyReader()
    cdef ProxyEvent event
    cdef size_t used = 0
    cdef bytes data
    pieces = list(pieces)
    for i, data in enumerate(pieces):
        event = reader.next(data, len(data), &used)
        if event == PROXY_HEADER:
            return "header", reader.header, data[used:] + b"".join(pieces[i + 1:])
        if event == PROXY_ABSENT:
            return "absent", None, reader.held.data[:reader.held.size] + data + b"".join(pieces[i + 1:])
        if event == PROXY_FAILED:
            return "failed", reader.error[:strlen(reader.error)].decode("ascii"), b""
    return "need_data", None, b""
