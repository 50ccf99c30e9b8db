"""The routes as a tree of segments: built at registration, then frozen into a RoutingTable.

Routes share a node as far as their segments have the same shape; what a parameter is called is not
part of the shape. A node is reached by one sequence of shapes only, so a search that tries every
alternative still visits a node at most once.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from fastnet_ext.routing.paths import RouteConflict, Segment, parse_path

ANY_METHOD: Final = "*"

# RFC 9110, 5.6.2: a method is a token.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Leaf:
    """What answers a path: a value and the registered path for each method."""

    __slots__ = ("index", "values")

    def __init__(self) -> None:
        self.values: dict[str, tuple[object, str]] = {}
        self.index = -1

    def add(self, method: str, path: str, value: object) -> None:
        """Raises RouteConflict when the method is taken."""
        if method in self.values:
            raise RouteConflict(path, self.values[method][1], method)
        self.values[method] = (value, path)


class Node:
    """A place in the tree, and the ways on from it, best first: literal, affixed, any segment, the rest."""

    __slots__ = ("affixed", "index", "leaf", "param", "static", "tail")

    def __init__(self) -> None:
        self.static: dict[bytes, Node] = {}
        self.affixed: dict[tuple[bytes, bytes], Node] = {}
        self.param: Node | None = None
        self.tail: Leaf | None = None
        self.leaf: Leaf | None = None
        self.index = -1

    def child(self, segment: Segment) -> "Node":
        """The node behind a segment that is not a tail, made when it is missing."""
        if segment.kind == "static":
            return self.static.setdefault(segment.text, Node())
        if segment.text or segment.suffix:
            return self.affixed.setdefault((segment.text, segment.suffix), Node())
        if self.param is None:
            self.param = Node()
        return self.param

    def affixes(self) -> list[tuple[bytes, bytes, "Node"]]:
        """The affixed ways, the longest literal text first."""
        ways = [(before, after, node) for (before, after), node in self.affixed.items()]
        return sorted(ways, key=lambda way: (-len(way[0]) - len(way[1]), way[0], way[1]))

    def children(self) -> Iterator["Node"]:
        """Every node one step further."""
        yield from self.static.values()
        yield from self.affixed.values()
        if self.param is not None:
            yield self.param


def build_tree(routes: Iterable[tuple[Iterable[str] | None, str, object]]) -> Node:
    """The tree of ``(methods, path, value)`` routes; methods None stand for every method.

    Raises RouteSyntaxError, RouteConflict, and ValueError for something that is no method.
    """
    root = Node()
    for methods, path, value in routes:
        node = root
        leaf: Leaf | None = None
        for segment in parse_path(path):
            if segment.kind == "tail":
                leaf = node.tail = node.tail or Leaf()
            else:
                node = node.child(segment)
        if leaf is None:
            leaf = node.leaf = node.leaf or Leaf()
        names = [ANY_METHOD] if methods is None else list(dict.fromkeys(methods))
        if not names:
            raise ValueError(f"route {path!r} has no methods")
        for method in names:
            if _TOKEN.fullmatch(method) is None:
                raise ValueError(f"route {path!r}: {method!r} is not a method")
            leaf.add(method, path, value)
    return root


def number(root: Node) -> tuple[list[Node], list[Leaf]]:
    """All nodes and leaves, each at the place that its `index` says; the root is node 0."""
    nodes = [root]
    leaves: list[Leaf] = []
    for node in nodes:  # grows while it is walked: breadth first
        nodes.extend(node.children())
    for index, node in enumerate(nodes):
        node.index = index
        for leaf in (node.leaf, node.tail):
            if leaf is not None:
                leaf.index = len(leaves)
                leaves.append(leaf)
    return nodes, leaves
