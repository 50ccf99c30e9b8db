"""The frozen routing table: a tree of path segments in C arrays, searched without Python objects.

A search prefers, at each segment, the literal text, then a parameter with literal text around it
(longest text first), then a parameter, then the rest of the path; when a choice leads nowhere, or to
a path without the method, it goes back to the next one. Each node is visited at most once, so a
search costs at most the size of the tree; without overlapping routes it is one step per segment.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastnet_ext.core.headers cimport METHOD_COUNT, Method, Span


cdef extern from "fastnet_ext/routing/segments.h" nogil:
    uint32_t NOWHERE "FN_NOWHERE"           # no node, no leaf
    uint32_t STAGE_TAIL "FN_STAGE_TAIL"     # see Choice in table.pyx
    const char* segment_end "fn_segment_end" (const char* p, const char* end, int* escaped) noexcept
    unsigned long long segment_hash "fn_segment_hash" (uint32_t node, const char* p, size_t size) noexcept


cdef enum:
    ROUTE_MAX_PARAMS = 16       # parameters of one route: the size of `params` below
    ROUTE_MAX_SEGMENTS = 64     # segments of one route: the depth of the tree
    ROUTE_MAX_TEXT = 255        # bytes of literal text in one segment


cdef enum MatchKind:
    FOUND
    NOT_FOUND
    METHOD_NOT_ALLOWED
    SLASH_REDIRECT              # with one trailing slash more or less it would be FOUND


ctypedef struct RouteNode:
    # Indices; NOWHERE when there is none.
    uint32_t leaf               # what answers when the path ends here
    uint32_t tail               # leaf that takes the rest of the path
    uint32_t param              # node behind a segment that is a parameter
    uint32_t affix_first        # nodes behind a parameter with text around it
    uint32_t affix_count
    bint has_static
    bint has_others             # some way on that is not literal: worth coming back for


ctypedef struct RouteEdge:
    # A literal segment. Slots of an open-addressed table, at most half full; node NOWHERE is free.
    uint32_t node
    uint32_t child
    uint32_t text
    uint32_t size


ctypedef struct RouteAffix:
    uint32_t child
    uint32_t before
    uint32_t before_size
    uint32_t after
    uint32_t after_size


ctypedef struct RouteLeaf:
    # By method, the fall-backs (HEAD to GET, each to "every method") filled in; NULL: not allowed.
    PyObject* values[METHOD_COUNT]
    PyObject* every
    uint32_t other_first        # methods without an id
    uint32_t other_count


ctypedef struct RouteMethod:
    uint32_t name
    uint32_t name_size
    PyObject* value


cdef class RoutingTable:
    # Frozen by __init__; the arrays are owned, offsets of text point into `letters`, which are text's.
    cdef RouteNode* nodes
    cdef RouteEdge* edges
    cdef uint32_t edge_mask
    cdef RouteAffix* affixes
    cdef RouteLeaf* leaves
    cdef RouteMethod* others
    cdef bytes text
    cdef const char* letters
    cdef list values            # keeps what the leaves point to alive
    cdef readonly tuple methods # every method that some route names

    cdef int _freeze(self, list nodes, list leaves) except -1
    cdef int _fill_leaf(self, object leaf, bytearray text, uint32_t* other) except -1
    cdef int _add_edge(self, uint32_t node, uint32_t child, uint32_t offset, uint32_t size) noexcept
    cdef uint32_t _literal(self, uint32_t node, const char* segment, uint32_t size) noexcept
    cdef uint32_t _encoded_literal(self, uint32_t node, const char* segment, uint32_t size) noexcept
    cdef bint _affixed(self, RouteAffix* affix, const char* segment, uint32_t size, bint escaped, Span* inner) noexcept
    cdef PyObject* _answer(self, uint32_t leaf, Method method, const char* name, size_t name_size) noexcept
    cdef MatchKind _search(
        self, const char* path, uint32_t size, Method method, const char* name, size_t name_size,
        PyObject** value, Span* params, uint32_t* count,
    ) noexcept

    # The route of a path as it stands in the request: percent-encoded, without query. `method_name`
    # is read for METHOD_OTHER only. On FOUND, value[0] is borrowed (the table keeps it alive),
    # count[0] says how many of `params` (room for ROUTE_MAX_PARAMS) are set, in the path's order:
    # still percent-encoded, offsets relative to `path`. Else value[0] is NULL and count[0] is 0.
    cdef MatchKind match(
        self, const char* path, size_t size, Method method, const char* method_name, size_t method_size,
        PyObject** value, Span* params, uint32_t* count,
    ) noexcept

    # Methods that a path answers to, for `Allow` (RFC 9110, 10.2.1); () when it has no route at
    # all. HEAD comes with GET, OPTIONS always.
    cpdef tuple allowed(self, bytes path)
