"""How many connections each address has open, where a listener limits them."""


cdef class AddressTable:
    # Key to count; no entry is 0.
    cdef dict counts

    # Whether one more may be open of the address that `key` stands for; it is counted until `leave`.
    cdef bint enter(self, object key, Py_ssize_t limit) except -1
    cdef int leave(self, object key) except -1


# What a peer (of transport.get_extra_info("peername")) counts by: its IPv4 address, its IPv6 network of 64 bits; None
# for what has no address.
cdef object address_key(object peer)
