"""What one HTTP/2 connection lets its peer do. One object serves many connections and never changes."""

from libc.stdint cimport uint32_t


cdef class Limits:
    # Announced in our SETTINGS, enforced from then on.
    cdef readonly uint32_t max_concurrent_streams
    cdef readonly uint32_t header_list        # bytes of names and values + 32 per field (RFC 9113, 10.5.1)
    cdef readonly uint32_t header_table       # bytes of the decoder's dynamic table
    cdef readonly uint32_t initial_window     # bytes a stream may send before the application consumes any
    cdef readonly uint32_t reading_window     # not announced: the same of one whose reader keeps up
    cdef readonly uint32_t max_frame          # bytes of payload
    cdef readonly bint enable_connect         # extended CONNECT (RFC 8441)

    # Given by WINDOW_UPDATE at the start and kept up once per batch, whatever the application does.
    cdef readonly uint32_t connection_window

    # Not announced. Header blocks: fields (cookie crumbs and trailers' too), CONTINUATION frames.
    cdef readonly uint32_t fields
    cdef readonly uint32_t continuations

    # Budgets of a connection; beyond them it ends with ENHANCE_YOUR_CALM. Resets: RST_STREAM received, and
    # sent because of what the peer did. Glitches: frames that do nothing for a request.
    cdef readonly uint32_t resets
    cdef readonly uint32_t resets_per_second
    cdef readonly uint32_t glitches
    cdef readonly uint32_t glitches_per_second
    cdef readonly uint32_t empty_frames       # in a row, without END_STREAM
    cdef readonly uint32_t settings_entries   # in one frame
    cdef readonly uint32_t control_queue      # answers we owe (acknowledgements, resets) and have not handed out

    # PING frames of a client within `ping_interval` seconds of the one before, while nothing was sent to it: more than
    # `ping_strikes` of them end the connection. 0: they may come as they like.
    cdef readonly double ping_interval
    cdef readonly uint32_t ping_strikes

    # Queued bodies are framed only while less than this many bytes of output wait to be taken.
    cdef readonly uint32_t output
