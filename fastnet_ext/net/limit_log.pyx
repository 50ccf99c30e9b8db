# cython: freethreading_compatible=True
"""Counts whom a limit cut off, and says so in the log; limit_log.pxd is the map."""

cimport cython
from libc.string cimport memset

import logging

from fastnet_ext.exchange.limits cimport CUT_CALL, CUT_CLOSED, CUT_REFUSED, CUT_STREAM, LIMIT_COUNT, LIMIT_IDLE_TIME, LimitRow, limit_row

cdef object log = logging.getLogger("fastnet.limits")

# Of WebSocket (RFC 6455, 7.4.2); what is below is a status.
cdef int FIRST_CLOSE_CODE = 1000


@cython.final
cdef class LimitLog:
    """The counters ``limit_<name>`` of one event loop, and the lines of the logger ``fastnet.limits``."""

    def __cinit__(self):
        memset(self.tallies, 0, sizeof(self.tallies))

    cdef int add(
        self, Limit which, double value, int cutoff, str listener, object peer, bint silent, double now
    ) except -1:
        cdef Tally* tally = &self.tallies[<int>which]
        # The end of an idle connection is everyday life.
        cdef int level = logging.DEBUG if which == LIMIT_IDLE_TIME else logging.INFO
        tally.total += 1
        if silent or not log.isEnabledFor(level):
            return 0
        if now - tally.since >= 1:
            self._settle(which, now)
        if tally.lines >= LINES_PER_SECOND:
            tally.unsaid += 1
            self.pending = True
            return 0
        tally.lines += 1
        self._say(which, level, value, outcome(cutoff), listener, peer_text(peer))
        return 0

    cdef int _say(
        self, Limit which, int level, double value, str answer, str listener, str peer
    ) except -1:
        cdef const LimitRow* row = limit_row(which)
        cdef str name = row.name.decode("ascii")
        cdef str setting = row.setting.decode("ascii")
        cdef str what = row.what.decode("ascii")
        cdef str unit = row.unit.decode("ascii")
        cdef str how = f" (limit {value:.10g}{unit}; {setting} changes it)" if setting else ""
        log.log(
            level, "listener %s: %s: %s%s: %s", listener, peer, what, how, answer,
            extra={"listener": listener, "peer": peer, "limit": name, "value": value, "setting": setting, "answer": answer},
        )
        return 0

    cdef int _settle(self, Limit which, double now) except -1:
        cdef Tally* tally = &self.tallies[<int>which]
        cdef const LimitRow* row = limit_row(which)
        if tally.unsaid:
            log.info(
                "%d more in the last %.0f s: %s", tally.unsaid, max(now - tally.since, 1), row.what.decode("ascii"),
                extra={"limit": row.name.decode("ascii"), "more": tally.unsaid},
            )
        tally.unsaid = tally.lines = 0
        tally.since = now
        return 0

    cdef int settle(self, double now) except -1:
        cdef int which
        if not self.pending:
            return 0
        self.pending = False
        for which in range(LIMIT_COUNT):
            if self.tallies[which].unsaid:
                if now - self.tallies[which].since >= 1:
                    self._settle(<Limit>which, now)
                else:
                    self.pending = True
        return 0

    cdef int write(self, dict into) except -1:
        cdef int which
        for which in range(LIMIT_COUNT):
            into["limit_" + limit_row(<Limit>which).name.decode("ascii")] = self.tallies[which].total
        return 0


cdef str outcome(int cutoff):
    if cutoff >= FIRST_CLOSE_CODE:
        return f"closed with {cutoff}"
    if cutoff > 0:
        return f"answered {cutoff}"
    if cutoff == CUT_CLOSED:
        return "closed"
    if cutoff == CUT_REFUSED:
        return "stream refused"
    if cutoff == CUT_CALL:
        return "answered RESOURCE_EXHAUSTED"
    return "stream reset" if cutoff == CUT_STREAM else "connection reset"


cdef str peer_text(object peer):
    """Host and port of transport.get_extra_info("peername"); a Unix socket has none."""
    if not isinstance(peer, tuple) or len(peer) < 2:
        return "a local peer"
    return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
