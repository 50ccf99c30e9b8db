# cython: freethreading_compatible=True
"""The frozen routing table: a tree of path segments in C arrays, searched without Python objects."""

from collections import namedtuple

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, UINT32_MAX
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from fastnet_ext.core.headers cimport METHOD_COUNT, METHOD_GET, METHOD_HEAD, METHOD_OTHER, Method, Span, find_method
from fastnet_ext.routing.percent cimport percent_decode, percent_length, percent_skip, percent_spells

from fastnet_ext.routing.tree import ANY_METHOD, build_tree, number

__all__ = ["Match", "RoutingTable"]

Match = namedtuple("Match", "kind value params", module=__name__)

# In the order of Allow.
_COMMON = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


# A node to come back to, and with what. `stage` says where to go on there: 0 literal text, 1 + n
# its n-th affix and, after the last of them, its parameter; STAGE_TAIL the rest of the path.
ctypedef struct Choice:
    uint32_t node
    uint32_t position
    uint32_t stage
    uint32_t count


cdef void* _array(Py_ssize_t count, size_t size) except NULL:
    cdef void* memory = calloc(count if count else 1, size)
    if memory == NULL:
        raise MemoryError()
    return memory


@cython.final
cdef class RoutingTable:
    """Routes, frozen: ``RoutingTable([(methods, path, value), ...])``; methods None mean every method.

    Raises RouteSyntaxError for a malformed path, RouteConflict for two routes that answer the same
    requests, ValueError for something that is no method.
    """

    def __cinit__(self):
        self.nodes = NULL
        self.edges = NULL
        self.affixes = NULL
        self.leaves = NULL
        self.others = NULL
        self.edge_mask = 0
        self.text = b""
        self.letters = NULL
        self.values = []
        self.methods = ()

    def __init__(self, routes):
        if self.nodes != NULL:
            raise TypeError("a RoutingTable is frozen")
        nodes, leaves = number(build_tree(routes))
        self._freeze(nodes, leaves)

    def __dealloc__(self):
        free(self.nodes)
        free(self.edges)
        free(self.affixes)
        free(self.leaves)
        free(self.others)

    cdef int _freeze(self, list nodes, list leaves) except -1:
        cdef bytearray text = bytearray()
        cdef list edges = []
        cdef uint32_t affix = 0, other = 0, slots = 4
        cdef RouteNode* at
        cdef RouteAffix* around
        cdef Py_ssize_t i
        self.methods = tuple(dict.fromkeys(name for leaf in leaves for name in leaf.values if name != ANY_METHOD))
        self.nodes = <RouteNode*>_array(len(nodes), sizeof(RouteNode))
        self.leaves = <RouteLeaf*>_array(len(leaves), sizeof(RouteLeaf))
        self.affixes = <RouteAffix*>_array(sum(len(node.affixed) for node in nodes), sizeof(RouteAffix))
        self.others = <RouteMethod*>_array(sum(len(leaf.values) for leaf in leaves), sizeof(RouteMethod))
        for leaf in leaves:
            self._fill_leaf(leaf, text, &other)
        for i, node in enumerate(nodes):
            at = &self.nodes[i]
            at.leaf = NOWHERE if node.leaf is None else <uint32_t>node.leaf.index
            at.tail = NOWHERE if node.tail is None else <uint32_t>node.tail.index
            at.param = NOWHERE if node.param is None else <uint32_t>node.param.index
            at.has_static = bool(node.static)
            at.has_others = bool(node.affixed) or at.param != NOWHERE or at.tail != NOWHERE
            at.affix_first = affix
            at.affix_count = <uint32_t>len(node.affixed)
            for before, after, child in node.affixes():
                around = &self.affixes[affix]
                around.child = <uint32_t>child.index
                around.before = <uint32_t>len(text)
                around.before_size = <uint32_t>len(before)
                around.after = around.before + around.before_size
                around.after_size = <uint32_t>len(after)
                text += before + after
                affix += 1
            for label, child in node.static.items():
                edges.append((i, child.index, len(text), len(label)))
                text += label
        while slots < 2 * <size_t>len(edges):
            slots *= 2
        self.edge_mask = slots - 1
        self.edges = <RouteEdge*>_array(slots, sizeof(RouteEdge))
        for i in range(slots):
            self.edges[i].node = NOWHERE
        self.text = bytes(text)
        self.letters = self.text
        for parent, target, offset, size in edges:
            self._add_edge(parent, target, offset, size)
        return 0

    cdef int _fill_leaf(self, object leaf, bytearray text, uint32_t* other) except -1:
        cdef RouteLeaf* at = &self.leaves[<uint32_t>leaf.index]
        cdef Method method
        cdef bytes encoded
        cdef int i
        at.other_first = other[0]
        for name, (value, _) in leaf.values.items():
            self.values.append(value)
            encoded = name.encode()
            method = find_method(encoded, len(encoded))
            if name == ANY_METHOD:
                at.every = <PyObject*>value
            elif method != METHOD_OTHER:
                at.values[<int>method] = <PyObject*>value
            else:
                self.others[other[0]].name = <uint32_t>len(text)
                self.others[other[0]].name_size = <uint32_t>len(encoded)
                self.others[other[0]].value = <PyObject*>value
                text += encoded
                at.other_count += 1
                other[0] += 1
        if at.values[<int>METHOD_HEAD] == NULL:
            # RFC 9110, 9.3.2: HEAD is GET without the content.
            at.values[<int>METHOD_HEAD] = at.values[<int>METHOD_GET]
        for i in range(<int>METHOD_COUNT):
            if at.values[i] == NULL:
                at.values[i] = at.every
        return 0

    cdef int _add_edge(self, uint32_t node, uint32_t child, uint32_t offset, uint32_t size) noexcept:
        cdef uint32_t slot = <uint32_t>segment_hash(node, self.letters + offset, size) & self.edge_mask
        while self.edges[slot].node != NOWHERE:
            slot = (slot + 1) & self.edge_mask
        self.edges[slot] = RouteEdge(node, child, offset, size)
        return 0

    cdef uint32_t _literal(self, uint32_t node, const char* segment, uint32_t size) noexcept:
        """The node behind a decoded literal segment, NOWHERE when there is none."""
        cdef uint32_t slot = <uint32_t>segment_hash(node, segment, size) & self.edge_mask
        cdef const char* text = self.letters
        cdef RouteEdge* edge
        while True:
            edge = &self.edges[slot]
            if edge.node == NOWHERE:
                return NOWHERE
            if edge.node == node and edge.size == size and memcmp(text + edge.text, segment, size) == 0:
                return edge.child
            slot = (slot + 1) & self.edge_mask

    cdef uint32_t _encoded_literal(self, uint32_t node, const char* segment, uint32_t size) noexcept:
        """The same for a segment with escapes; one longer than any literal need not be decoded."""
        cdef char decoded[ROUTE_MAX_TEXT]
        cdef Py_ssize_t length = percent_decode(segment, size, 0, decoded, ROUTE_MAX_TEXT)
        return NOWHERE if length < 0 else self._literal(node, decoded, <uint32_t>length)

    cdef bint _affixed(self, RouteAffix* affix, const char* segment, uint32_t size, bint escaped, Span* inner) noexcept:
        """Whether a segment has the affix's text around something; `inner` is then set to where that is in it."""
        cdef const char* text = self.letters
        cdef Py_ssize_t length = percent_length(segment, size) if escaped else size
        cdef size_t start = affix.before_size, end = size - affix.after_size
        if length <= <Py_ssize_t>(affix.before_size + affix.after_size):
            return False
        if not escaped:
            if memcmp(segment, text + affix.before, affix.before_size) != 0:
                return False
            if memcmp(segment + end, text + affix.after, affix.after_size) != 0:
                return False
        else:
            start = percent_skip(segment, affix.before_size)
            end = percent_skip(segment, length - affix.after_size)
            if not percent_spells(segment, text + affix.before, affix.before_size):
                return False
            if not percent_spells(segment + end, text + affix.after, affix.after_size):
                return False
        inner.offset = <uint32_t>start
        inner.size = <uint32_t>(end - start)
        return True

    cdef PyObject* _answer(self, uint32_t leaf, Method method, const char* name, size_t name_size) noexcept:
        """What answers the method at a leaf, NULL when nothing does."""
        cdef RouteLeaf* at = &self.leaves[leaf]
        cdef const char* text = self.letters
        cdef RouteMethod* other
        cdef uint32_t i
        if method != METHOD_OTHER:
            return at.values[<int>method]
        for i in range(at.other_first, at.other_first + at.other_count):
            other = &self.others[i]
            if other.name_size == name_size and memcmp(text + other.name, name, name_size) == 0:
                return other.value
        return at.every

    cdef MatchKind _search(
        self, const char* path, uint32_t size, Method method, const char* name, size_t name_size,
        PyObject** value, Span* params, uint32_t* count,
    ) noexcept:
        """FOUND, NOT_FOUND or METHOD_NOT_ALLOWED.

        `position` is the slash before the segment that is looked at, or the path's end. `choices`
        holds the nodes on the way here that have another way on: at most one per segment.
        """
        cdef Choice choices[ROUTE_MAX_SEGMENTS]
        cdef uint32_t depth = 0, node = 0, position = 0, stage = 0, found = 0, start, end, child
        cdef RouteNode* at
        cdef RouteAffix* affix
        cdef MatchKind kind = NOT_FOUND
        cdef int escaped = 0
        value[0] = NULL
        count[0] = 0
        if size == 0 or path[0] != c"/":
            return NOT_FOUND
        while True:
            at = &self.nodes[node]
            if position == size:
                if at.leaf != NOWHERE:
                    value[0] = self._answer(at.leaf, method, name, name_size)
                    if value[0] != NULL:
                        count[0] = found
                        return FOUND
                    kind = METHOD_NOT_ALLOWED
            else:
                start = position + 1
                end = <uint32_t>(segment_end(path + start, path + size, &escaped) - path)
                if stage == 0:
                    stage = 1
                    if at.has_static:
                        if escaped:
                            child = self._encoded_literal(node, path + start, end - start)
                        else:
                            child = self._literal(node, path + start, end - start)
                        if child != NOWHERE:
                            if at.has_others:
                                choices[depth] = Choice(node, position, 1, found)
                                depth += 1
                            node = child
                            position = end
                            stage = 0
                            continue
                child = NOWHERE
                while stage <= at.affix_count:
                    affix = &self.affixes[at.affix_first + stage - 1]
                    stage += 1
                    if self._affixed(affix, path + start, end - start, escaped, &params[found]):
                        params[found].offset += start
                        child = affix.child
                        break
                if child == NOWHERE and stage != STAGE_TAIL:
                    # Every affix has been tried. A parameter is never empty.
                    stage = STAGE_TAIL
                    if at.param != NOWHERE and end > start:
                        params[found] = Span(start, end - start)
                        child = at.param
                if child != NOWHERE:
                    if stage != STAGE_TAIL or at.tail != NOWHERE:
                        choices[depth] = Choice(node, position, stage, found)
                        depth += 1
                    found += 1
                    node = child
                    position = end
                    stage = 0
                    continue
                if at.tail != NOWHERE:
                    value[0] = self._answer(at.tail, method, name, name_size)
                    if value[0] != NULL:
                        params[found] = Span(start, size - start)
                        count[0] = found + 1
                        return FOUND
                    kind = METHOD_NOT_ALLOWED
            if depth == 0:
                return kind
            depth -= 1
            node = choices[depth].node
            position = choices[depth].position
            stage = choices[depth].stage
            found = choices[depth].count

    cdef MatchKind match(
        self, const char* path, size_t size, Method method, const char* method_name, size_t method_size,
        PyObject** value, Span* params, uint32_t* count,
    ) noexcept:
        cdef MatchKind kind, other
        cdef PyObject* redirected = NULL
        cdef uint32_t ignored = 0
        cdef char* longer
        if size >= UINT32_MAX:
            value[0] = NULL
            count[0] = 0
            return NOT_FOUND
        kind = self._search(path, <uint32_t>size, method, method_name, method_size, value, params, count)
        if kind != NOT_FOUND or size < 2:
            return kind
        if path[size - 1] == c"/":
            other = self._search(
                path, <uint32_t>(size - 1), method, method_name, method_size, &redirected, params, &ignored
            )
        else:
            longer = <char*>malloc(size + 1)
            if longer == NULL:
                return NOT_FOUND
            memcpy(longer, path, size)
            longer[size] = c"/"
            other = self._search(
                longer, <uint32_t>(size + 1), method, method_name, method_size, &redirected, params, &ignored
            )
            free(longer)
        return SLASH_REDIRECT if other == FOUND else NOT_FOUND

    cpdef tuple allowed(self, bytes path):
        """The methods that a path (percent-encoded, without query) answers to; () when it has no route.

        HEAD comes with GET, OPTIONS always.
        """
        names = [
            name for name in dict.fromkeys(_COMMON + self.methods) if self.match_path(name, path).kind == "found"
        ]
        if names and "OPTIONS" not in names:
            names.append("OPTIONS")
        return tuple(names)

    def match_path(self, method, path):
        """Search for a path (str or bytes, as in a request line); for tests and tools.

        Returns ``Match(kind, value, params)``: kind is "found", "not_found", "method_not_allowed" or
        "slash_redirect"; params are the raw bytes of the parameters.
        """
        cdef bytes raw = path if isinstance(path, bytes) else path.encode()
        cdef bytes name = method.encode()
        cdef Span params[ROUTE_MAX_PARAMS]
        cdef PyObject* value = NULL
        cdef uint32_t count = 0, i
        cdef size_t size = <size_t>len(raw), name_size = <size_t>len(name)
        cdef const char* letters = raw
        cdef const char* name_letters = name
        cdef Method known = find_method(name_letters, name_size)
        cdef MatchKind kind = self.match(letters, size, known, name_letters, name_size, &value, params, &count)
        found = tuple([raw[params[i].offset:params[i].offset + params[i].size] for i in range(count)])
        result = None if value == NULL else <object>value
        return Match(("found", "not_found", "method_not_allowed", "slash_redirect")[<int>kind], result, found)

    def search_repeatedly(self, str method not None, bytes path not None, Py_ssize_t times):
        """Search ``times`` times without making a Python object: what the benches time."""
        cdef bytes name = method.encode()
        cdef const char* letters = path
        cdef const char* name_letters = name
        cdef size_t size = <size_t>len(path), name_size = <size_t>len(name)
        cdef Method known = find_method(name_letters, name_size)
        cdef Span params[ROUTE_MAX_PARAMS]
        cdef PyObject* value = NULL
        cdef uint32_t count = 0
        cdef Py_ssize_t i
        for i in range(times):
            self.match(letters, size, known, name_letters, name_size, &value, params, &count)
