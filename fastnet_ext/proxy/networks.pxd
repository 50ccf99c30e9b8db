"""Networks whose word counts, compiled for a test that costs nanoseconds; see address.h."""

from libc.stdint cimport uint8_t, uint32_t


cdef extern from "fastnet_ext/proxy/address.h" nogil:
    ctypedef struct IpAddress "fn_ip":
        # IPv4 as IPv4-mapped IPv6.
        uint8_t bytes[16]

    enum:
        IP_TEXT "INET6_ADDRSTRLEN"      # room for any address as text

    void ip_from_v4 "fn_ip_from_v4" (const void* four, IpAddress* ip) noexcept
    bint ip_is_v4 "fn_ip_is_v4" (const IpAddress* ip) noexcept
    bint parse_ip "fn_parse_ip" (const char* p, size_t size, IpAddress* ip) noexcept
    bint parse_node "fn_parse_node" (const char* p, size_t size, IpAddress* ip, int* port) noexcept
    int parse_port "fn_parse_port" (const char* p, size_t size) noexcept
    size_t write_ip "fn_ip_text" (const IpAddress* ip, char* out) noexcept
    bint ip_in "fn_ip_in" (const IpAddress* ip, const IpAddress* network, unsigned bits) noexcept


cdef struct NetworkRule:
    IpAddress address
    unsigned bits               # of the 128
    bint v4                     # an IPv6 network holds no IPv4 address, not even ::/0


cdef class Networks:
    # Constant after __init__; `rules` is owned.
    cdef NetworkRule* rules
    cdef uint32_t count
    cdef readonly bint everything       # "*"
    cdef readonly bint unix_peers       # "unix"
    cdef readonly tuple items           # as given, as text

    cdef bint has(self, const IpAddress* ip) noexcept
    # The peer of a socket as `get_extra_info("peername")` says: (host, port, …), a path, or None.
    cdef bint has_peer(self, object peername) except -1


# The usual text of an address.
cdef str ip_text(const IpAddress* ip)
