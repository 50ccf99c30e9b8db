# cython: freethreading_compatible=True
"""gzip, deflate, br and zstd behind one face; codecs.pxd is the map.

``deflate`` is the format of zlib (RFC 9110, 8.4.1.2), ``gzip`` that of RFC 1952, ``br`` of RFC 7932 and ``zstd`` of RFC
8878 with a window of at most 8 MiB (RFC 9659).
"""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE

from fastnet_ext.compression import libraries
from fastnet_ext.compression.errors import DecompressedTooLarge, DecompressionError, UnknownCoding


cdef enum:
    # zlib's `wbits`: the largest window, plus 16 for the wrapping of gzip.
    WBITS_ZLIB = 15
    WBITS_GZIP = 31
    # What the first byte of zlib's wrapping says of the method: deflate. Nothing else begins so.
    ZLIB_METHOD = 8
    # RFC 9659: what no zstd of HTTP may exceed; levels above 19 would.
    ZSTD_WINDOW = 23
    # Of streams that live long and say little: what their contexts keep is mostly these tables.
    SMALL_BROTLI_WINDOW = 16
    SMALL_ZSTD_WINDOW = 15
    SMALL_ZSTD_TABLE = 14
    # Idle contexts of one codec that are kept, about 1 MiB each, 100 KiB of the small ones.
    IDLE = 4
    # Bytes that are handed to a library at a time while members follow each other, each of which copies what is left;
    # and how many there may be before each must bring MEMBER_BYTES: making the means to read one takes its time.
    MEMBER_PIECE = 4096
    FREE_MEMBERS = 64
    MEMBER_BYTES = 1024
    # Bytes that brotli is asked for at a time.
    BROTLI_PIECE = 64 * 1024


cdef tuple NAMES = ("gzip", "deflate", "br", "zstd")
cdef tuple LEVELS = ((0, 9), (0, 9), (0, 11), (-7, 22))
cdef tuple DEFAULT_LEVELS = (6, 6, 4, 3)

CODINGS = NAMES


cdef Coding coding_of(str name) except *:
    cdef int i
    for i in range(<int>CODING_COUNT):
        if NAMES[i] == name:
            return <Coding>i
    raise UnknownCoding(name)


cdef int level_of(Coding kind, object level) except? -100:
    cdef int number
    if level is None:
        return DEFAULT_LEVELS[kind]
    number = level
    least, most = LEVELS[kind]
    if not least <= number <= most:
        raise ValueError(f"level {number} is none of {NAMES[kind]}: it has {least} to {most}")
    return number


cdef object library_of(Coding kind, int level):
    """The library that compresses; raises MissingLibrary."""
    if kind == BR:
        return libraries.needed(libraries.BROTLI, "br", "brotli")
    if kind == ZSTD:
        return libraries.needed(libraries.ZSTD, "zstd", "backports.zstd")
    return libraries.deflating(level)


cdef object zstd_context(object library, int level, bint small):
    cdef object parameter = library.CompressionParameter
    if small:
        return library.ZstdCompressor(options={
            parameter.compression_level: level, parameter.window_log: SMALL_ZSTD_WINDOW,
            parameter.hash_log: SMALL_ZSTD_TABLE, parameter.chain_log: SMALL_ZSTD_TABLE,
        })
    if level > 19:
        return library.ZstdCompressor(
            options={parameter.compression_level: level, parameter.window_log: ZSTD_WINDOW}
        )
    return library.ZstdCompressor(level)


# --- compressing

@cython.final
cdef class Codec:
    """A coding at a level: ``Codec("zstd", 3)``.

    ``level`` is 0 to 9 of gzip and deflate (6), 0 to 11 of br (4), -7 to 22 of zstd (3). Any number of threads may
    use one. Raises ``UnknownCoding``, ``MissingLibrary``, and ``ValueError`` for a level that there is not.
    """

    def __init__(self, str coding not None, level=None):
        self.kind = coding_of(coding)
        self.coding = NAMES[self.kind]
        self.level = level_of(self.kind, level)
        self.library = library_of(self.kind, self.level)
        self.idle = []
        self.idle_small = []

    cdef object _context(self, bint small):
        """One of zstd: between two frames it is as new, and its tables are there already."""
        try:
            return (self.idle_small if small else self.idle).pop()
        except IndexError:
            return zstd_context(self.library, self.level, small)

    cdef bytes whole(self, object data):
        cdef object context = None
        if self.kind == ZSTD:
            context = self._context(False)
            coded = context.compress(data, context.FLUSH_FRAME)
            if len(self.idle) < IDLE:
                self.idle.append(context)
            return <bytes>coded
        if self.kind == BR:
            return <bytes>self.library.compress(data, quality=self.level)
        return <bytes>self.library.compress(data, self.level, WBITS_GZIP if self.kind == GZIP else WBITS_ZLIB)

    cdef Compressor stream(self, bint small):
        cdef Compressor made = Compressor.__new__(Compressor)
        made.kind = self.kind
        made.coding = self.coding
        if self.kind == ZSTD:
            made.machine = self._context(small)
            made.idle = self.idle_small if small else self.idle
        elif self.kind == BR:
            made.machine = (
                self.library.Compressor(quality=self.level, lgwin=SMALL_BROTLI_WINDOW) if small
                else self.library.Compressor(quality=self.level)
            )
        else:
            made.machine = self.library.compressobj(
                self.level, self.library.DEFLATED, WBITS_GZIP if self.kind == GZIP else WBITS_ZLIB
            )
        made._open()
        return made

    def compress(self, data):
        """All of ``data``, bytes or a buffer of them, as one body. The GIL is free meanwhile."""
        return self.whole(data)

    def compressor(self, *, bint small=False):
        """A ``Compressor`` of one body; those of one codec use the contexts of zstd one after the other."""
        return self.stream(small)

    def __repr__(self):
        return f"Codec({self.coding!r}, {self.level})"


@cython.final
cdef class Compressor:
    """Compresses one body piece by piece: ``Compressor("br", level=5)``.

    ``small``: for streams that live long, with a window of some ten KiB: less is kept in memory, and found in what was
    said before. Levels and exceptions are those of ``compress``.
    """

    def __init__(self, str coding not None, level=None, *, bint small=False):
        cdef Compressor made = Codec(coding, level).stream(small)
        self.coding = made.coding
        self.kind = made.kind
        self.machine = made.machine
        self.idle = made.idle
        self._open()

    cdef int _open(self) except -1:
        if self.kind == BR:
            self.compress_by = self.machine.process
            self.flush_by = self.machine.flush
        else:
            self.compress_by = self.machine.compress
            self.flush_by = self.machine.flush
            if self.kind == ZSTD:
                self.flush_mode = self.machine.FLUSH_BLOCK
                self.finish_mode = self.machine.FLUSH_FRAME
            else:
                # Z_SYNC_FLUSH and Z_FINISH, which all of its libraries call so.
                self.flush_mode = 2
                self.finish_mode = 4
        return 0

    cdef int _check(self) except -1:
        if self.machine is None:
            raise ValueError("this body is finished: a compressor makes one")
        return 0

    cdef bytes piece(self, object data):
        self._check()
        return <bytes>self.compress_by(data)

    cdef bytes flushed(self):
        self._check()
        return <bytes>(self.flush_by() if self.flush_mode is None else self.flush_by(self.flush_mode))

    cdef bytes last(self):
        cdef object machine = self.machine, flush_by = self.flush_by
        cdef bytes rest
        self._check()
        self.machine = self.compress_by = self.flush_by = None
        if self.kind == BR:
            return <bytes>machine.finish()
        rest = <bytes>flush_by(self.finish_mode)
        # One that is left in the middle of its body is no more use to anybody.
        if self.idle is not None and len(self.idle) < IDLE:
            self.idle.append(machine)
        return rest

    def compress(self, data):
        """Take ``data``; what may be sent of the result by now, often nothing."""
        return self.piece(data)

    def flush(self):
        """The rest of what was taken so far, so that it can be decompressed; costs a few bytes each time."""
        return self.flushed()

    def finish(self):
        """The rest and the end. Nothing can be taken after it: ``ValueError``."""
        return self.last()


def compress(data, str coding not None, *, level=None):
    """All of ``data``, bytes or a buffer of them, compressed by ``"gzip"``, ``"deflate"``, ``"br"`` or ``"zstd"``.

    ``level`` is 0 to 9 of gzip and deflate (6 by default), 0 to 11 of br (4), -7 to 22 of zstd (3). Raises
    ``UnknownCoding``, ``MissingLibrary``, and ``ValueError`` for a level that there is not.
    """
    return (<Codec>Codec(coding, level)).whole(data)


# --- decompressing

@cython.final
cdef class Decompressor:
    """Decompresses one body piece by piece: ``Decompressor("zstd", max_size=1_000_000)``.

    ``deflate`` is read with and without the wrapping of zlib, since some leave it out.
    ``max_size``: how many bytes may come out in all; None, and only that, is no bound. Raises ``UnknownCoding`` and
    ``MissingLibrary``.
    """

    def __init__(self, str coding not None, *, max_size=64 * 1024 * 1024):
        self.kind = coding_of(coding)
        self.coding = NAMES[self.kind]
        if max_size is not None and max_size < 0:
            raise ValueError(f"max_size is at least 0 bytes, not {max_size}; None is no bound")
        self.max_size = max_size
        self.most = -1 if max_size is None else max_size
        self.library = libraries.inflating() if self.kind <= DEFLATE else library_of(self.kind, 0)
        self.begun = True
        self.members = -1
        self._next()

    cdef int _next(self) except -1:
        """The means to read one more member, as gzip calls it; a frame in zstd."""
        if self.kind == BR:
            self.machine = self.library.Decompressor()
        elif self.kind == ZSTD:
            self.machine = self.library.ZstdDecompressor(
                options={self.library.DecompressionParameter.window_log_max: ZSTD_WINDOW}
            )
        else:
            self.machine = self.library.decompressobj(WBITS_GZIP if self.kind == GZIP else WBITS_ZLIB)
        return 0

    cdef int64_t _room(self) noexcept:
        """What a library may make at once: one byte more than may come shows that it is too much."""
        return self.most - self.size + 1

    cdef int _grow(self, list out, bytes piece) except -1:
        self.size += PyBytes_GET_SIZE(piece)
        if self.most >= 0 and self.size > self.most:
            raise DecompressedTooLarge(self.max_size)
        if piece:
            out.append(piece)
        return 0

    cdef object _member(self, list out, object data):
        """Read from one member; what follows its end, empty before that."""
        if self.machine is None:
            if self.kind == DEFLATE:
                raise DecompressionError("something follows the end of the data")
            if self.members >= FREE_MEMBERS + self.size // MEMBER_BYTES:
                raise DecompressionError(f"{self.members} {self.coding} streams in a row, with next to nothing in them")
            self._next()
        self.begun = True
        if self.kind == ZSTD:
            self._grow(out, <bytes>self.machine.decompress(data, -1 if self.most < 0 else self._room()))
        else:
            # Of zlib, 0 is no bound.
            self._grow(out, <bytes>self.machine.decompress(data, 0 if self.most < 0 else self._room()))
        if not self.machine.eof:
            return b""
        rest = self.machine.unused_data
        self.machine = None
        self.members += 1
        self.begun = False
        return rest

    cdef int _brotli(self, list out, object data) except -1:
        cdef int64_t room = BROTLI_PIECE
        if self.machine is None:
            raise DecompressionError("something follows the end of the data")
        while True:
            if self.most >= 0:
                room = min(<int64_t>BROTLI_PIECE, self._room())
            piece = <bytes>self.machine.process(data, output_buffer_limit=room)
            self._grow(out, piece)
            if self.machine.is_finished():
                self.machine = None
                self.begun = False
                return 0
            if not piece and self.machine.can_accept_more_data():
                return 0
            data = b""

    cdef bytes piece(self, object data):
        cdef list out = []
        cdef Py_ssize_t at, size
        if self.failed:
            raise DecompressionError("the data before this could not be decompressed")
        view = memoryview(data).cast("B")
        size = len(view)
        if size == 0:
            return b""
        if self.members < 0:
            self.members = 0
            if self.kind == DEFLATE and view[0] & 15 != ZLIB_METHOD:
                # Some send it without the wrapping of zlib: RFC 9110, 8.4.1.2.
                self.machine = self.library.decompressobj(-WBITS_ZLIB)
        try:
            if self.kind == BR:
                self._brotli(out, view)
            else:
                at = 0
                while at < size:
                    # The first member is read in one go: most bodies have no other.
                    until = size if self.members == 0 else min(size, at + MEMBER_PIECE)
                    rest = self._member(out, view[at:until])
                    at = until - len(rest)
        except DecompressionError:
            self.failed = True
            raise
        except Exception as error:
            self.failed = True
            raise DecompressionError(f"the data is not {self.coding}: {error}") from error
        return <bytes>out[0] if len(out) == 1 else b"".join(out)

    cdef int close(self) except -1:
        if self.begun:
            raise DecompressionError(f"the {self.coding} data ends before it is complete")
        return 0

    def decompress(self, data):
        """What comes out of ``data``, a piece of the body.

        Raises ``DecompressedTooLarge`` as soon as there is more than ``max_size`` in all, and ``DecompressionError``
        for data that is damaged; nothing can be read after either.
        """
        return self.piece(data)

    def finish(self):
        """Nothing follows: raises ``DecompressionError`` when the body is not complete."""
        self.close()


def decompress(data, str coding not None, *, max_size=64 * 1024 * 1024):
    """All of ``data``, bytes or a buffer of them, decompressed; at most ``max_size`` bytes, None for no bound.

    Raises ``DecompressedTooLarge``, which names the bound, before more than that is made; ``DecompressionError`` for
    data that is damaged, cut off or followed by something else; ``UnknownCoding`` and ``MissingLibrary``.
    """
    cdef Decompressor machine = Decompressor(coding, max_size=max_size)
    cdef bytes out = machine.piece(data)
    machine.close()
    return out
