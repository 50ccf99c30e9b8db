"""Reads the imports and cimports of every source file, without running any."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("fastnet", "fastnet_ext")

# `from a.b cimport c`, `from a.b import (`, `cimport a.b as c`, `import a.b, c.d`.
_FROM = re.compile(r"^(\s*)from\s+([\w.]+)\s+(?:c?import)\s+(.*)")
_PLAIN = re.compile(r"^(\s*)c?import\s+([\w.]+(?:\s+as\s+\w+)?(?:\s*,\s*[\w.]+(?:\s+as\s+\w+)?)*)\s*$")


@dataclass(frozen=True)
class Import:
    """One import: who imports what, where, and whether it stands inside a function."""

    importer: str
    imported: str
    line: int
    nested: bool


def module_name(path: Path, root: Path = ROOT) -> str:
    """``fastnet_ext/core/headers.pyx`` and ``.pxd`` are one module, ``fastnet_ext.core.headers``."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def source_files(root: Path = ROOT) -> list[Path]:
    """Every source of both packages."""
    found = []
    for package in PACKAGES:
        for suffix in ("py", "pyx", "pxd"):
            found += sorted((root / package).rglob(f"*.{suffix}"))
    return found


def imports_of(path: Path, root: Path = ROOT) -> list[Import]:
    """The imports of one file that concern our own packages."""
    name = module_name(path, root)
    read = _python_imports if path.suffix == ".py" else _cython_imports
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    return [found for found in read(path, name, package) if found.imported.partition(".")[0] in PACKAGES]


def _python_imports(path: Path, name: str, package: str) -> Iterator[Import]:
    tree = ast.parse(path.read_text())
    for node, nested in _walk(tree, nested=False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, node.lineno, nested)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], base]).rstrip(".")
            for alias in node.names:
                yield Import(name, _deepest(base, alias.name), node.lineno, nested)


def _walk(node: ast.AST, *, nested: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Nodes with whether they stand in a function; what only type checkers see is passed over."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _walk(other, nested=nested)
            continue
        inside = nested or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield child, nested
        yield from _walk(child, nested=inside)


def _cython_imports(path: Path, name: str, package: str) -> Iterator[Import]:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if match := _FROM.match(line):
            indent, base, names = match.groups()
            first = re.match(r"[\w]+", names.strip("( "))
            yield Import(name, _deepest(base, first[0] if first else ""), number, bool(indent))
        elif match := _PLAIN.match(line):
            for part in match[2].split(","):
                yield Import(name, part.split()[0], number, bool(match[1]))


def _deepest(base: str, imported: str) -> str:
    """``from a import b`` names the module a.b when there is one, else a."""
    candidate = ROOT.joinpath(*base.split("."), imported)
    if imported and (
        candidate.is_dir() or any(candidate.with_suffix(f".{kind}").exists() for kind in ("py", "pyx", "pxd"))
    ):
        return f"{base}.{imported}"
    return base
