# cython: freethreading_compatible=True
"""The socket of one connection; transport.pxd is the map.

asyncio's transport reads, and writes what the socket does not take at once. Everything else is sent to the socket
itself: one system call, and none of the objects that a write through asyncio costs.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t
from libc.string cimport memset

import socket

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.net.progress cimport (
    PACE_FINE, PEER_THERE, Pace, PeerState, peer_state, progress_look, unacknowledged, unread_bytes,
)


cdef extern from "sys/uio.h" nogil:
    cdef struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from "sys/socket.h" nogil:
    ssize_t c_send "send" (int fd, const void* data, size_t size, int flags)
    ssize_t c_recv "recv" (int fd, void* data, size_t size, int flags)
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    cdef struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    ssize_t c_sendmsg "sendmsg" (int fd, const msghdr* message, int flags)


# asyncio's transport and ours are cut from each other by `lost`, so the garbage collector need not look.
@cython.no_gc
@cython.final
cdef class Transport:
    def __cinit__(self):
        self.fd = -1

    cdef int open(self, object inner) except -1:
        cdef object raw = inner.get_extra_info("socket")
        self.inner = inner
        if raw is not None:
            if raw.family != socket.AF_UNIX:
                # Accepted sockets of a pre-bound listener may come without it, which costs 40 ms
                # per small answer (Nagle against delayed acknowledgements).
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.fd = raw.fileno()
        return 0

    cdef int lost(self) except -1:
        self.inner = None
        self.fd = -1
        return 0

    # --- output

    cdef Sent send(self, Buffer* out, const char* data, Py_ssize_t size, object owner) except SENT_RAISED:
        cdef iovec parts[2]
        cdef msghdr message
        cdef ssize_t sent = 0
        cdef ssize_t total = <ssize_t>out.size + size
        if self.inner is None:
            out.size = 0
            return SENT_NOTHING
        if self.fd >= 0 and self.idle():
            if size == 0:
                sent = c_send(self.fd, out.data, out.size, MSG_DONTWAIT | MSG_NOSIGNAL)
            elif out.size == 0:
                sent = c_send(self.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
            else:
                parts[0].iov_base = out.data
                parts[0].iov_len = out.size
                parts[1].iov_base = <void*>data
                parts[1].iov_len = size
                memset(&message, 0, sizeof(msghdr))
                message.msg_iov = parts
                message.msg_iovlen = 2
                sent = c_sendmsg(self.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent < 0:
                if errno != EAGAIN and errno != EINTR:
                    out.size = 0
                    return SENT_FAILED
                sent = 0
        if sent == total:
            out.size = 0
            return SENT_ALL
        self.sending = True
        self.handed += total - sent
        if self.fd >= 0:
            self.busy = True
        if sent < <ssize_t>out.size:
            self.inner.write(PyBytes_FromStringAndSize(out.data + sent, out.size - sent))
            sent = 0
        else:
            sent -= out.size
        if size:
            if isinstance(owner, bytes):
                self.inner.write(
                    owner if size == len(owner) and sent == 0 else memoryview(owner)[len(owner) - size + sent:]
                )
            else:
                self.inner.write(PyBytes_FromStringAndSize(data + sent, size - sent))
        self.sending = False
        out.size = 0
        return SENT_PART

    cdef int send_now(self, const char* data, size_t size) noexcept:
        c_send(self.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
        return 0

    cdef int drop_input(self, char* scratch, size_t size) noexcept:
        c_recv(self.fd, scratch, size, MSG_DONTWAIT)
        return 0

    cdef bint idle(self) except -1:
        if self.busy and self.inner.get_write_buffer_size() == 0:
            self.busy = False
        return not self.busy

    cdef int64_t waiting(self) except -1:
        return 0 if self.inner is None else self.inner.get_write_buffer_size()

    cdef Pace look(self, double elapsed, double timeout, double rate, bint full) except *:
        cdef int64_t left = self.waiting()
        if self.inner is None:
            return PACE_FINE
        if left == 0 and not full:
            self.busy = self.writing.waiting = False
            return PACE_FINE
        left += unacknowledged(self.fd)
        return progress_look(&self.writing, self.handed - left, elapsed, timeout, rate, timeout)

    # --- input

    cdef PeerState peer_state(self, int64_t* unread) noexcept:
        cdef PeerState state = PEER_THERE if self.fd < 0 else peer_state(self.fd)
        unread[0] = 0 if state == PEER_THERE else unread_bytes(self.fd)
        return state

    cdef int pause_reading(self) except -1:
        if not self.read_paused and self.inner is not None:
            self.read_paused = True
            self.inner.pause_reading()
        return 0

    cdef int resume_reading(self) except -1:
        if self.read_paused and self.inner is not None:
            self.read_paused = False
            if not self.inner.is_closing():
                self.inner.resume_reading()
        return 0

    # --- ends

    cdef bint half_close(self) except -1:
        if self.inner.can_write_eof():
            try:
                self.inner.write_eof()
            except OSError:
                # The peer has reset the connection while reading was paused: asyncio's transport raises then.
                return False
        return True

    cdef int close(self) except -1:
        self.inner.close()
        return 0

    cdef int abort(self) except -1:
        if self.inner is not None:
            self.inner.abort()
        return 0

    cdef object extra(self, str name):
        return None if self.inner is None else self.inner.get_extra_info(name)
