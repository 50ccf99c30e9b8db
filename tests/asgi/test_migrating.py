"""docs/migrating.md: it names only flags that there are, and has a row for each flag of the other servers."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastnet.cli.flags import flag_of
from fastnet.server.config import SETTINGS
from fastnet.server.values import FLAG
from tests.architecture.sources import ROOT

PAGE = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")

OURS = {flag_of(name) for name in SETTINGS if name != "app"} | {"--config"}
OURS |= {
    f"--no-{flag[2:]}" for flag in OURS if flag != "--config" and SETTINGS[flag[2:].replace("-", "_")].kind is FLAG
}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of the rows of a section's first table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def named(title: str) -> list[str]:
    """All flags and settings in the first column."""
    return [name for row in rows(title) for name in re.findall(r"`([^`]+)`", row[0])]


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9_-]*", text))


TABLES = ("From uvicorn", "From gunicorn", "From Hypercorn")


@pytest.mark.parametrize("title", TABLES)
def test_the_second_column_names_flags_of_ours(title: str) -> None:
    for theirs, ours, *_ in rows(title):
        assert ours == "–" or flags_in(ours) or "fastnet.toml" in ours, f"{theirs}: {ours}"
        assert flags_in(ours) <= OURS, f"{theirs}: {ours}"


def test_flags_of_ours_elsewhere_exist() -> None:
    told = section("What to look at before anything else") + section("Deployment") + section("Signals")
    theirs = {flag for title in TABLES for flag in named(title)}
    assert flags_in(told) <= OURS | theirs
    commands = PAGE.split("```")[1]
    ours = {flag for line in commands.splitlines() if line.startswith("fastnet run") for flag in flags_in(line)}
    assert len(ours) >= 5
    assert ours <= OURS


@pytest.mark.parametrize("title", TABLES)
def test_each_flag_has_one_row(title: str) -> None:
    found = named(title)
    assert len(found) == len(set(found)), [name for name in found if found.count(name) > 1]
    assert all(len(row) == 3 for row in rows(title)), [row for row in rows(title) if len(row) != 3]


def test_every_flag_of_uvicorn() -> None:
    uvicorn_main = pytest.importorskip("uvicorn.main")
    theirs = {option for param in uvicorn_main.main.params for option in param.opts if option.startswith("--")}
    assert len(theirs) > 40
    assert theirs - set(named("From uvicorn")) == set()


def test_every_setting_of_gunicorn() -> None:
    config = pytest.importorskip("gunicorn.config")
    assert len(config.KNOWN_SETTINGS) > 80
    known = set(named("From gunicorn"))
    missing = [setting.name for setting in config.KNOWN_SETTINGS if not ({setting.name, *(setting.cli or ())} & known)]
    assert missing == []


def test_every_flag_and_setting_of_hypercorn() -> None:
    config = pytest.importorskip("hypercorn.config").Config
    done = subprocess.run([sys.executable, "-m", "hypercorn", "--help"], capture_output=True, text=True, check=True)
    theirs = flags_in(done.stdout.split("options:")[1]) - {"--help"}
    assert len(theirs) > 30
    known = set(named("From Hypercorn"))
    assert theirs <= known, theirs - known
    as_flags = {flag[2:].replace("-", "_") for flag in known if flag.startswith("--")}
    settings = {
        name
        for name, value in vars(config).items()
        if not name.startswith("_") and not inspect.isroutine(value) and not isinstance(value, (property, classmethod))
    }
    assert len(settings) > 40
    assert settings - known - as_flags == set()


def test_the_page_is_linked() -> None:
    assert "migrating.md" in Path(ROOT / "docs" / "running.md").read_text(encoding="utf-8")
