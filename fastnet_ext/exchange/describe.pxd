"""An exchange in words, for whoever looks for what a server is busy with."""

from fastnet_ext.exchange.exchange cimport Exchange


# No values of header fields; the query as it came, for the caller to mask. `now` by the loop's clock.
cdef dict describe(Exchange x, double now)
