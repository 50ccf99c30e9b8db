# cython: freethreading_compatible=True
"""Networks whose word counts."""

cimport cython
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeASCII
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

import ipaddress


@cython.final
cdef class Networks:
    """``Networks(["10.0.0.0/8", "::1", "unix"])``: ``address in networks`` tells.

    ``*`` holds every peer, ``unix`` those of Unix sockets. An IPv4 network holds its addresses in
    their IPv4-mapped form too, and so does an IPv6 network of such addresses; another IPv6 network holds
    no IPv4 address. ``ValueError`` for anything else.
    """

    def __init__(self, items=()):
        cdef NetworkRule* rule
        cdef bytes packed
        cdef list networks = []
        if self.rules is not NULL:
            raise TypeError("a Networks does not change")
        self.items = tuple([str(item) for item in items])
        for item in self.items:
            if item == "*":
                self.everything = True
            elif item == "unix":
                self.unix_peers = True
            else:
                networks.append(ipaddress.ip_network(item))
        if not networks:
            return
        self.rules = <NetworkRule*>malloc(len(networks) * sizeof(NetworkRule))
        if self.rules is NULL:
            raise MemoryError()
        for network in networks:
            rule = &self.rules[self.count]
            packed = network.network_address.packed
            if network.version == 4:
                ip_from_v4(<const char*>packed, &rule.address)
                rule.bits = 96 + network.prefixlen
            else:
                memcpy(rule.address.bytes, <const char*>packed, 16)
                rule.bits = network.prefixlen
            rule.v4 = rule.bits >= 96 and ip_is_v4(&rule.address)
            self.count += 1

    def __dealloc__(self):
        free(self.rules)

    cdef bint has(self, const IpAddress* ip) noexcept:
        cdef uint32_t i
        cdef bint v4 = ip_is_v4(ip)
        if self.everything:
            return True
        for i in range(self.count):
            if self.rules[i].v4 == v4 and ip_in(ip, &self.rules[i].address, self.rules[i].bits):
                return True
        return False

    cdef bint has_peer(self, object peername) except -1:
        if isinstance(peername, (tuple, list)):
            return len(peername) >= 2 and peername[0] in self
        # Unix sockets have a path, as text or bytes, and most have an empty one.
        return isinstance(peername, (str, bytes)) and (self.unix_peers or self.everything)

    def __contains__(self, address):
        cdef IpAddress ip
        cdef Py_ssize_t size = 0
        cdef const char* text
        if not isinstance(address, str):
            return False
        # Link-local peers come with their scope: fe80::1%eth0.
        host = (<str>address).partition("%")[0]
        text = PyUnicode_AsUTF8AndSize(host, &size)
        return parse_ip(text, size, &ip) and self.has(&ip)

    def trusts(self, peername):
        """Whether the peer of a socket belongs, by what ``get_extra_info("peername")`` says of it."""
        return self.has_peer(peername)

    def __len__(self):
        return len(self.items)

    def __repr__(self):
        return f"Networks({list(self.items)!r})"


cdef str ip_text(const IpAddress* ip):
    cdef char text[IP_TEXT]
    cdef size_t size = write_ip(ip, text)
    return PyUnicode_DecodeASCII(text, size, "strict")
