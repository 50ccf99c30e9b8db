"""gzip, deflate, br and zstd behind one face; what compresses are the libraries of libraries.py."""

from libc.stdint cimport int64_t


cdef enum Coding:
    # The order is that of CODING_NAMES.
    GZIP = 0
    DEFLATE = 1
    BR = 2
    ZSTD = 3
    CODING_COUNT = 4


# The coding of a name as Accept-Encoding and Content-Encoding have it, in lower case; raises UnknownCoding.
cdef Coding coding_of(str name) except *


cdef class Codec:
    """A coding at a level, for many bodies and many threads at a time."""

    cdef readonly str coding
    cdef readonly int level
    cdef Coding kind
    cdef object library
    # Contexts that are used again, of libraries that can: taken while one compresses, so each has one user.
    cdef list idle
    cdef list idle_small

    cdef object _context(self, bint small)
    cdef bytes whole(self, object data)
    cdef Compressor stream(self, bint small)


cdef class Compressor:
    """One body, compressed piece by piece."""

    cdef readonly str coding
    cdef Coding kind
    cdef object machine         # the library's object; None once it is finished
    cdef list idle              # where that goes then, to be used again; None
    cdef object compress_by     # its methods, bound once
    cdef object flush_by
    cdef object flush_mode      # what makes `flush_by` give all that came so far, and what makes it end; None: no argument
    cdef object finish_mode

    cdef int _open(self) except -1
    cdef int _check(self) except -1
    cdef bytes piece(self, object data)
    cdef bytes flushed(self)
    cdef bytes last(self)


cdef class Decompressor:
    """One body, decompressed piece by piece and never beyond a bound."""

    cdef readonly str coding
    cdef readonly object max_size   # bytes; None: no bound
    cdef Coding kind
    cdef object library
    cdef object machine             # the library's object; None between two members
    cdef int64_t most               # max_size; -1: no bound
    cdef readonly int64_t size      # bytes that came out
    cdef int64_t members            # that have ended; -1 until something came in
    cdef bint begun                 # something came in since the last member ended, or nothing ever did
    cdef bint failed

    cdef int _next(self) except -1
    cdef int64_t _room(self) noexcept
    cdef int _grow(self, list out, bytes piece) except -1
    cdef object _member(self, list out, object data)
    cdef int _brotli(self, list out, object data) except -1
    cdef bytes piece(self, object data)
    cdef int close(self) except -1
