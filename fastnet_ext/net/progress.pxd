"""How a transfer gets on: when it is silent for too long, when it is too slow, when its peer is gone; see progress.h."""

from libc.stdint cimport int64_t


cdef extern from "fastnet_ext/net/progress.h" nogil:
    ctypedef struct Progress "fn_progress":
        bint waiting

    ctypedef enum Pace "fn_pace":
        PACE_FINE "FN_PROGRESS_FINE"
        PACE_SILENT "FN_PROGRESS_SILENT"
        PACE_SLOW "FN_PROGRESS_SLOW"

    # Bytes so far, seconds since the last look, then the limits: seconds of silence, bytes a second, and the
    # seconds that a quick start may earn.
    Pace progress_look "fn_progress_look" (
        Progress* p, int64_t total, double elapsed, double timeout, double rate, double credit
    ) noexcept

    # Bytes that a socket was given and its peer has not acknowledged; 0 where the system does not say.
    int64_t unacknowledged "fn_unacknowledged" (int fd) noexcept

    ctypedef enum PeerState "fn_peer_state":
        PEER_THERE "FN_PEER_THERE"
        PEER_ENDED "FN_PEER_ENDED"      # it sends no more; what is unread comes before its end
        PEER_GONE "FN_PEER_GONE"

    # Of a peer whose socket we do not read; where the system does not say, it is there.
    PeerState peer_state "fn_peer_state_of" (int fd) noexcept
    # Bytes that have arrived and were not read.
    int64_t unread_bytes "fn_unread_bytes" (int fd) noexcept
