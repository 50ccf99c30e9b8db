"""TLS between a connection and its socket: records in, bytes out and back; no socket and no clock."""

from fastnet_ext.tls.client_hello cimport HelloReader


cdef enum:
    # Ciphertext given to OpenSSL at once: what it copies that into stays as large as it ever was.
    TLS_FEED = 64 * 1024
    # Plaintext encrypted for one write to the socket: four records.
    TLS_PIECE = 64 * 1024
    # What decrypting one read of READ_BUFFER bytes may give: them, and a record that had begun before.
    TLS_RECORD = 32 * 1024
    # Ciphertext that a peer may send in a row without a byte of data in it: key updates cost us, not it.
    TLS_FRUITLESS = 64 * 1024


cdef enum TlsState:
    # HANDSHAKING -> OPEN -> ENDED, or HANDSHAKING -> ENDED. The peer's end is `peer_ended`, in OPEN.
    TLS_HANDSHAKING
    TLS_OPEN
    TLS_ENDED       # our close_notify or our alert is written: nothing is encrypted after it


cdef class TlsSource:
    """Where the connections of a listener take their SSLContext from."""

    # Replaced when certificates are read anew: connections that are open keep the one they began with.
    cdef public object context
    cdef readonly frozenset protocols       # bytes; empty: what clients offer is not looked at


cdef class Lent:
    """Bytes of somebody else's, handed to `_ssl` for one call. A memoryview for each would cost two objects."""

    cdef const char* data
    cdef size_t size


cdef class TlsLayer:
    cdef readonly object ssl_object     # ssl.SSLObject
    cdef TlsState state
    cdef bint peer_ended                # its close_notify came: what follows is ignored
    cdef bint linger                    # how the connection is to be closed once `queue` is sent
    cdef bint between_records           # nothing waits in `incoming`
    cdef bint spoke                     # OpenSSL may have written by itself in the last `decrypt`
    cdef size_t fruitless               # bytes fed since the last plaintext, see TLS_FRUITLESS
    cdef object _info                   # TLSInfo, None until asked for

    # --- what the client offers, until that is known
    cdef HelloReader hello
    cdef frozenset protocols

    # --- OpenSSL's side: what came and is not decrypted, what is encrypted and not sent
    cdef object incoming                # ssl.MemoryBIO
    cdef object outgoing
    cdef object _inner                  # ssl_object without its Python shell
    # Bound methods, looked up once.
    cdef object _feed
    cdef object _take
    cdef object _read
    cdef object _write
    cdef Lent _lent

    # --- plaintext behind what the transport has taken: (bytes, position); its sum is `queued`.
    # Not empty only while the transport is above its high-water mark.
    cdef object queue
    cdef size_t queued

    cdef int _give(self, const char* data, size_t size) except -1
    cdef int _read_hello(self, const char* data, size_t size) except -1
    # The hand-shake goes on with these bytes; True once it is done. Raises ssl.SSLError.
    cdef bint shake_hands(self, const char* data, size_t size) except -1
    # Decrypt into `view` (of `room` bytes, TLS_RECORD more than `size`); how much came of it. Raises ssl.SSLError.
    cdef Py_ssize_t decrypt(self, const char* data, size_t size, object view, size_t room) except -1
    cdef Py_ssize_t _decrypt_one(self, const char* data, size_t size, object view, size_t room) except -1
    cdef Py_ssize_t _decrypt_all(self, const char* data, size_t size, object view, size_t room) except -1
    # Records for these bytes, kept until `take`. Raises ssl.SSLError.
    cdef int encrypt(self, const char* data, size_t size) except -1
    # Bytes for the socket, b"" when there are none.
    cdef bytes take(self)
    # How many bytes `take` would give.
    cdef size_t unsent(self) except? 0
    # The rest of `owner`, or a copy of the bytes, waits its turn.
    cdef int keep(self, const char* data, size_t size, object owner) except -1
    # Encrypt the next piece of the queue.
    cdef int encrypt_queued(self) except -1
    # Write our close_notify; what was received and not decrypted is lost.
    cdef int end(self) except -1
    cdef int drop(self) except -1
    cdef object info(self)
