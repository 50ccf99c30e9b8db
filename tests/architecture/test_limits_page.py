"""Every row of docs/limits.md has a test, and every limit of the server and of the engine has a row."""

from __future__ import annotations

import re

import pytest

from fastnet.server.config import SETTINGS
from tests.architecture.limits_page import PAGE, Claim, Row, all_claims, claims_of, rows_of, unshown
from tests.architecture.sources import ROOT


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return rows_of(PAGE.read_text(encoding="utf-8"))


def test_every_row_has_a_test_that_bounds_memory(rows: list[Row]) -> None:
    assert len(rows) > 40
    assert unshown(rows, all_claims()) == []


PLANTED = """
## Lifts

| limit | default | what happens | setting |
|---|---|---|---|
| passengers | 4 | the doors stay open | `limit_passengers` |

| floor | what is there |
|---|---|
| 0 | no limit |
"""


def test_a_row_without_a_test_is_found() -> None:
    rows = rows_of(PLANTED)
    assert [(row.name, row.settings) for row in rows] == [("Lifts: passengers", {"limit_passengers"})]
    assert unshown(rows, []) == ["'Lifts: passengers' of docs/limits.md has no test"]
    assert unshown(rows, [Claim("Lifts: passengers", False, "x.py:1")]) == [
        "'Lifts: passengers' of docs/limits.md has no test that bounds memory"
    ]
    assert unshown(rows, [Claim("Lifts: passengers", True, "x.py:1")]) == []
    assert unshown(rows * 2, [Claim("Lifts: passengers", True, "x.py:1")]) == [
        "docs/limits.md has two rows 'Lifts: passengers'"
    ]


def test_a_marker_without_a_row_is_found() -> None:
    source = """
@pytest.mark.limit("Lifts: passengers", memory=True)
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.limit("Lifts: wheels", "Lifts: ropes"))])
def test_lift(x): ...
"""
    claims = claims_of(source, "test_lift.py")
    assert {(claim.row, claim.memory) for claim in claims} == {
        ("Lifts: passengers", True),
        ("Lifts: wheels", False),
        ("Lifts: ropes", False),
    }
    assert unshown(rows_of(PLANTED), claims) == [
        "test_lift.py:3: docs/limits.md has no row 'Lifts: wheels'",
        "test_lift.py:3: docs/limits.md has no row 'Lifts: ropes'",
    ]


# --- the columns


PREFIXES = ("limit_", "timeout_", "rate_", "keepalive_", "max_connection_age")


def test_the_page_names_every_setting_that_bounds_something(rows: list[Row]) -> None:
    named = set[str]().union(*(row.settings for row in rows))
    assert named == {name for name, setting in SETTINGS.items() if name.startswith(PREFIXES)}
    assert named == {name for name, setting in SETTINGS.items() if setting.group in ("limits", "timeouts", "keepalive")}


def test_the_page_names_every_counter(rows: list[Row]) -> None:
    """Those of limits.h that the engine counts, and no others."""
    listed = (ROOT / "fastnet_ext" / "exchange" / "limits.h").read_text(encoding="utf-8")
    counters = {name: f"limit_{text}" for name, text in re.findall(r'X\(([A-Z_]+), "(\w+)"', listed)}
    engine = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("fastnet_ext/*/*.pyx"))
    counted = {text for name, text in counters.items() if re.search(rf"\bLIMIT_{name}\b", engine)}
    assert len(counted) > 15
    assert counted <= set(re.findall(r"`(limit_\w+)`", PAGE.read_text(encoding="utf-8")))
    for row in rows:
        assert set(re.findall(r"`(\w+)`", row.cells.get("counter", ""))) <= set(counters.values()), row.name


def test_the_page_names_the_defaults(rows: list[Row]) -> None:
    """Where a setting has a row that begins with its value, it is the one in force."""
    for row in rows:
        for name in row.settings:
            setting = SETTINGS[name]
            default = setting.kind.write(setting.default)
            told = re.match(r"([\d,]+)(?: ?(KiB|MiB|s|bytes/s))?\b", row.cells["default"])
            if told and setting.default and row.cells["setting"].startswith(f"`{name}`"):
                number, unit = told[1].replace(",", ""), told[2] or ""
                seconds = setting.kind.read(f"{number}{unit}" if unit in ("KiB", "MiB", "s") else number)
                assert seconds == setting.default, (row.name, default)
