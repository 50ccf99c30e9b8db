# cython: freethreading_compatible=True
"""Which coding an answer gets (RFC 9110, 12.5.3); negotiation.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject

from fastnet_ext.compression.codecs import CODINGS
from fastnet_ext.compression.codecs cimport Coding, coding_of

cdef extern from "fastnet_ext/compression/accept.h" nogil:
    enum:
        IDENTITY "FN_CODING_IDENTITY"
        WEIGHT_NONE "FN_WEIGHT_NONE"
    ctypedef struct Accept "fn_accept":
        int16_t weight[5]
        int16_t any
    void accept_init "fn_accept_init" (Accept* accept) noexcept
    int accept_read "fn_accept_read" (const char* p, size_t size, Accept* accept) noexcept
    int accept_weight "fn_accept_weight" (const Accept* accept, int coding) noexcept

cdef enum:
    # Content types of which it is known whether they are worth it: handlers may make up any number.
    KNOWN_TYPES = 256


@cython.final
cdef class Negotiator:
    """Chooses codings: ``Negotiator(["zstd", "gzip"], minimum_size=1024, media_types=["text/*", "+json"])``.

    ``codings`` are those that there are, the preferred one first. ``media_types`` are types, ``"text/*"``, or suffixes
    as ``"+json"``. Raises ``UnknownCoding``, and ``ValueError`` for what is none of these.
    """

    def __init__(self, codings, *, int64_t minimum_size=0, media_types=("*/*",)):
        cdef Coding coding
        if not codings or len(set(codings)) != len(codings):
            raise ValueError(f"codings are at least one of {', '.join(CODINGS)}, each once, not {list(codings)}")
        for self.count, name in enumerate(codings, 1):
            coding = coding_of(name)
            self.order[self.count - 1] = coding
        if minimum_size < 0:
            raise ValueError(f"minimum_size is at least 0 bytes, not {minimum_size}")
        for one in media_types:
            if not isinstance(one, str) or not (one.count("/") == 1 or one.startswith("+")) or " " in one or ";" in one:
                raise ValueError(f'a media type is "text/html", "text/*" or, for a suffix, "+json", not {one!r}')
        self.minimum_size = minimum_size
        self.media_types = tuple([one.lower() for one in media_types])
        self.known_types = {}

    cdef int by_client(self, const char* accept, Py_ssize_t size) noexcept:
        cdef Accept wanted
        cdef int i, weight, best = AS_IT_IS, most = 0, plain
        if accept is NULL:
            # No preference: what everybody can read.
            return AS_IT_IS
        if accept_read(accept, <size_t>size, &wanted) < 0:
            return AS_IT_IS
        for i in range(self.count):
            weight = accept_weight(&wanted, self.order[i])
            if weight > most:
                most = weight
                best = self.order[i]
        plain = accept_weight(&wanted, IDENTITY)
        if best == AS_IT_IS:
            # Without a word about it, none at all is always acceptable.
            return NOT_ACCEPTABLE if plain == 0 else AS_IT_IS
        return AS_IT_IS if plain > most else best

    cdef int choice(self, const char* accept, Py_ssize_t accept_size, int64_t size, bint worth) noexcept:
        cdef Accept wanted
        if worth and (size < 0 or size >= self.minimum_size):
            return self.by_client(accept, accept_size)
        # Only for who refuses it as it is.
        if accept is NULL or accept_read(accept, <size_t>accept_size, &wanted) < 0:
            return AS_IT_IS
        return AS_IT_IS if accept_weight(&wanted, IDENTITY) != 0 else self.by_client(accept, accept_size)

    cdef bint is_worth(self, bytes content_type) except -1:
        cdef PyObject* known
        cdef bint worth
        if content_type is None:
            return False
        known = PyDict_GetItemWithError(self.known_types, content_type)
        if known is not NULL:
            return <object>known is True
        worth = matches(content_type.decode("latin-1"), self.media_types)
        if len(self.known_types) < KNOWN_TYPES:
            self.known_types[content_type] = worth
        return worth

    def choose(self, bytes accept, int64_t size, bytes content_type):
        """The coding of an answer: its name, None for none at all, "" when the client accepts nothing that there is.

        ``accept`` is the value of Accept-Encoding, None without one; ``size`` is in bytes, below 0 when it is not
        known. A client that does not accept an answer as it is gets one that is small, or not worth it, coded too.
        """
        cdef const char* value = NULL
        cdef Py_ssize_t length = 0
        cdef int choice
        if accept is not None:
            value = PyBytes_AS_STRING(accept)
            length = PyBytes_GET_SIZE(accept)
        choice = self.choice(value, length, size, self.is_worth(content_type))
        if choice >= 0:
            return CODINGS[choice]
        return None if choice == AS_IT_IS else ""

    @property
    def codings(self):
        """Their names, the preferred one first."""
        return tuple([CODINGS[self.order[i]] for i in range(self.count)])


cdef bint matches(str content_type, tuple media_types) except -1:
    cdef str essence = content_type.partition(";")[0].strip().lower()
    cdef str suffix = "+" + essence.rpartition("+")[2] if "+" in essence else ""
    return (
        essence in media_types or f"{essence.partition('/')[0]}/*" in media_types
        or (suffix and suffix in media_types) or "*/*" in media_types
    )
