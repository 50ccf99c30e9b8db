"""A carrier in memory: requests from Python values, answers kept for inspection."""

from fastnet_ext.exchange.exchange cimport ConnectionInfo, Exchange


cdef class MemoryConnection(ConnectionInfo):
    cdef readonly dict extras


cdef class MemoryExchange(Exchange):
    cdef readonly object answer_head        # ResponseHead, None until sent
    cdef readonly bytearray answer_body
    cdef readonly object answer_trailers
    cdef readonly long long announced_length
    cdef readonly int aborted_with          # -1 when not aborted
    cdef readonly bint tunnel
    cdef public bint slow                   # send_data says: wait
