"""The rules of the house, as functions from sources to violations.

Each returns sentences that name the file and what to do; no sentence is no violation. The tests run
them over the project, and over planted violations, which they must find.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tests.architecture.sources import ROOT, Import, imports_of, module_name, source_files

# What a folder of fastnet_ext may import beside itself: dependencies point down only.
FLOOR_0 = {"core"}
FLOOR_1 = {
    "http1",
    "http2",
    "websocket",
    "grpc",
    "sse",
    "framing",
    "ratelimit",
    "compression",
    "routing",
    "proxy",
    "tls",
}
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    **dict.fromkeys(FLOOR_1, FLOOR_0),
    "exchange": FLOOR_0 | FLOOR_1,
    "serve": FLOOR_0 | FLOOR_1 | {"exchange"},
    "net": FLOOR_0 | FLOOR_1 | {"exchange", "serve"},
}

# Floor 1 is sans-I/O: none of these may appear there, nor in core.
IO_MODULES = {"asyncio", "socket", "ssl", "selectors", "time", "threading", "uvloop"}


def all_imports(root: Path = ROOT) -> list[Import]:
    """Every import between our own modules."""
    return [found for path in source_files(root) for found in imports_of(path, root)]


def wrong_edges(imports: Iterable[Import]) -> list[str]:
    """Imports that point up, sideways on floor 1, or from the engine into the framework."""
    found = []
    for item in imports:
        importer, imported = item.importer.split("."), item.imported.split(".")
        if importer[0] != "fastnet_ext":
            continue
        where = f"{item.importer}:{item.line}"
        if imported[0] == "fastnet":
            found.append(f"{where} imports {item.imported}: the engine never imports the framework")
            continue
        if len(importer) < 2 or len(imported) < 2 or importer[1] == imported[1]:
            continue
        if importer[1] not in MAY_IMPORT:
            found.append(f"{where}: folder {importer[1]!r} has no floor yet: give it one in MAY_IMPORT and the docs")
        elif imported[1] not in MAY_IMPORT[importer[1]]:
            found.append(f"{where} imports {item.imported}: {importer[1]} may import {sorted(MAY_IMPORT[importer[1]])}")
    return found


def hidden_imports(imports: Iterable[Import]) -> list[str]:
    """Imports of our own modules inside functions: they dodge the rules above."""
    return [
        f"{item.importer}:{item.line} imports {item.imported} inside a function: move it to the top, or mend the cycle"
        for item in imports
        if item.nested
    ]


def cycles(imports: Iterable[Import]) -> list[str]:
    """Modules that import each other, directly or in a ring."""
    graph: dict[str, set[str]] = {}
    for item in imports:
        if item.importer != item.imported:
            graph.setdefault(item.importer, set()).add(item.imported)
    found: list[str] = []
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            ring = [*path[path.index(module) :], module]
            found.append("these modules import each other: " + " -> ".join(ring))
            return
        if module in done:
            return
        for following in sorted(graph.get(module, ())):
            visit(following, [*path, module])
        done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


def io_in_machines(files: Iterable[tuple[str, str]]) -> list[str]:
    """Files of floors 0 and 1, as (module name, text), that reach for a loop, a socket or a clock."""
    found = []
    for name, text in files:
        parts = name.split(".")
        if len(parts) < 2 or parts[1] not in FLOOR_0 | FLOOR_1:
            continue
        for match in re.finditer(r"^\s*(?:from\s+(\w+)[\w.]*\s+c?import|c?import\s+(\w+))", text, re.MULTILINE):
            module = match[1] or match[2]
            if module in IO_MODULES:
                found.append(f"{name} imports {module}: floors 0 and 1 take bytes and time as arguments")
        if "libc.time" in text:
            found.append(f"{name} reads a clock: time is an argument on floors 0 and 1")
    return found


# `cdef int name(` … up to its closing parenthesis and what follows on that line.
_CDEF_FUNCTION = re.compile(r"^[ ]*cdef\s+(?:inline\s+)?([\w.* ]+?[\s*])(\w+)\s*\(", re.MULTILINE)


def silent_failures(files: Iterable[tuple[str, str]]) -> list[str]:
    """`cdef` functions with a C return type that do not say how they fail."""
    found = []
    classes = {found[1] for _, text in read("pxd") for found in re.finditer(r"^cdef class (\w+)", text, re.MULTILINE)}
    for name, text in files:
        for match in _CDEF_FUNCTION.finditer(_without_externs(text)):
            kind = match[1].strip()
            if kind == "class" or kind in PYTHON_TYPES or kind in classes:
                continue  # a NULL says that it failed
            rest = _after_arguments(_without_externs(text), match.end())
            if not re.search(r"\bnoexcept\b|\bexcept\b", rest):
                found.append(f"{name}: cdef {kind} {match[2]}() does not say how it fails: noexcept, or except -1")
    return found


PYTHON_TYPES = {"object", "str", "bytes", "list", "dict", "tuple", "set", "frozenset", "bytearray", "type"}


def _without_externs(text: str) -> str:
    """The text without its `cdef extern` blocks, whose functions are C's."""
    lines, skipping = [], False
    for line in text.splitlines():
        if line.startswith("cdef extern"):
            skipping = True
        elif skipping and line.strip() and not line.startswith((" ", "\t")):
            skipping = False
        lines.append("" if skipping else line)
    return "\n".join(lines)


def _after_arguments(text: str, position: int) -> str:
    depth = 1
    while depth and position < len(text):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        position += 1
    end = text.find("\n", position)
    return text[position:] if end < 0 else text[position:end]


def missing_free_threading(files: Iterable[tuple[str, str]]) -> list[str]:
    """Compiled modules that do not declare that they keep no module-level mutable state."""
    wanted = "# cython: freethreading_compatible=True"
    return [f"{name} does not begin with {wanted!r}" for name, text in files if not text.startswith(wanted)]


def read(suffix: str) -> list[tuple[str, str]]:
    """(module name, text) of every file of fastnet_ext with that suffix."""
    return [(module_name(path), path.read_text()) for path in sorted(ROOT.glob(f"fastnet_ext/**/*.{suffix}"))]
