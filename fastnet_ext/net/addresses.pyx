# cython: freethreading_compatible=True
"""How many connections each address has open; addresses.pxd is the map."""

cimport cython

import socket

# What an IPv4 address begins with where it is written as an IPv6 one: RFC 4291, 2.5.5.2.
cdef bytes MAPPED = b"\0" * 10 + b"\xff\xff"


@cython.final
cdef class AddressTable:
    def __init__(self):
        self.counts = {}

    cdef bint enter(self, object key, Py_ssize_t limit) except -1:
        cdef Py_ssize_t count = self.counts.get(key, 0)
        if count >= limit:
            return False
        self.counts[key] = count + 1
        return True

    cdef int leave(self, object key) except -1:
        cdef Py_ssize_t count = self.counts.pop(key) - 1
        if count:
            self.counts[key] = count
        return 0


cdef object address_key(object peer):
    cdef bytes packed
    if not isinstance(peer, tuple) or not peer:
        return None
    if ":" not in peer[0]:
        return peer[0]
    packed = socket.inet_pton(socket.AF_INET6, peer[0].partition("%")[0])
    return packed[12:] if packed[:12] == MAPPED else packed[:8]
