"""Reads the tables of docs/limits.md, and which tests say that they show one of their rows.

A row is named by its table and its first cell, ``HTTP/1: request line``. A test names what it shows with
``@pytest.mark.limit("HTTP/1: request line", memory=True)``: ``memory`` says that it bounds what the attack costs.
tests/wire/test_limits_process.py makes such markers with ``attack("HTTP/1: request line", ...)``.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.sources import ROOT

PAGE = ROOT / "docs" / "limits.md"


@dataclass(frozen=True)
class Row:
    """A row of a table: its heading, and its cells by the columns' names."""

    table: str
    cells: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.table}: {self.cells['limit']}"

    @property
    def settings(self) -> set[str]:
        """The settings of the server in its column: those with underscores that are no option of a call."""
        return set(
            re.findall(r"`((?:limit|timeout|rate|keepalive|max_connection)_\w+)`", self.cells.get("setting", ""))
        )


@dataclass(frozen=True)
class Claim:
    """A marker: the row it names, whether memory is bounded there, and where it stands."""

    row: str
    memory: bool
    place: str


def rows_of(page: str) -> list[Row]:
    """The rows of all tables that begin with a column called limit."""
    found: list[Row] = []
    table, columns = "", list[str]()
    for line in page.splitlines():
        if line.startswith("## "):
            table = line.removeprefix("## ")
        if not line.startswith("|"):
            columns = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not columns:
            columns = [cell.strip() for cell in line.strip("|").split("|")]
        elif columns[0] == "limit" and not set(line) <= set("|-"):
            found.append(Row(table, dict(zip(columns, cells, strict=True))))
    return found


def claims_of(source: str, place: str) -> list[Claim]:
    """The markers of a test file, wherever they stand: on functions, classes, and parameters."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (maker := ast.unparse(node.func)) in ("pytest.mark.limit", "attack"):
            rows = node.args[:1] if maker == "attack" else node.args
            memory = maker == "attack" or any(word.arg == "memory" for word in node.keywords)
            names = [str(row.value) for row in rows if isinstance(row, ast.Constant)]
            found += [Claim(name, memory, f"{place}:{node.lineno}") for name in names]
    return found


def all_claims(root: Path = ROOT) -> list[Claim]:
    """The markers of all tests."""
    found: list[Claim] = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        found += claims_of(path.read_text(encoding="utf-8"), str(path.relative_to(root)))
    return found


def unshown(rows: Iterable[Row], claims: Iterable[Claim]) -> list[str]:
    """Rows that no test names, or none that bounds memory; names that are given twice; markers without a row."""
    names = [row.name for row in rows]
    claimed: defaultdict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        claimed[claim.row].append(claim)
    problems = [f"docs/limits.md has two rows {name!r}" for name in sorted({n for n in names if names.count(n) > 1})]
    problems += [f"{name!r} of docs/limits.md has no test" for name in names if name not in claimed]
    problems += [
        f"{name!r} of docs/limits.md has no test that bounds memory"
        for name in names
        if name in claimed and not any(claim.memory for claim in claimed[name])
    ]
    problems += [
        f"{claim.place}: docs/limits.md has no row {claim.row!r}"
        for name, found in claimed.items()
        if name not in names
        for claim in found
    ]
    return problems
