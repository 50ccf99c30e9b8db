"""Which Pythons are tried, and that a failing one shows."""

import sys
from pathlib import Path

import pytest

from tests import every_python
from tests.every_python import Interpreter, Outcome, Version, describe, newest, table


def interpreter(path: str, *version: int) -> Interpreter:
    major, minor, patch = version
    return Interpreter(path, (major, minor, patch))


def test_this_python_is_described() -> None:
    found = describe(sys.executable)
    assert found == Interpreter(sys.executable, sys.version_info[:3])
    assert found.name == f"3.{sys.version_info.minor}"


@pytest.mark.parametrize("output", ["3 10 9 False", "3 13 0 True", "nonsense", ""])
def test_what_is_too_old_or_another_build_is_not_taken(tmp_path: Path, output: str) -> None:
    path = tmp_path / "python3"
    path.write_text(f"#!/bin/sh\necho {output}\n")
    path.chmod(0o755)
    assert describe(str(path)) is None
    path.write_text("#!/bin/sh\necho 3 12 1 False\n")
    assert describe(str(path)) == interpreter(str(path), 3, 12, 1)
    path.write_text("#!/bin/sh\necho 3 12 1 False; exit 1\n")
    assert describe(str(path)) is None


def test_the_newest_of_each_minor_version_in_order() -> None:
    found = newest(
        [interpreter("a", 3, 13, 0), interpreter("b", 3, 12, 1), interpreter("c", 3, 13, 2), interpreter("d", 3, 12, 1)]
    )
    assert {name: one.path for name, one in found.items()} == {"3.12": "b", "3.13": "c"}
    assert list(found) == ["3.12", "3.13"]


def test_a_failure_shows_and_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails_on_thirteen(one: Interpreter) -> Outcome:
        return Outcome(one, "tests" if one.name == "3.13" else None, 1.0, "3 passed")

    def describe_by_name(path: str) -> Interpreter:
        version: dict[str, Version] = {"a": (3, 12, 4), "b": (3, 13, 0)}
        return Interpreter(path, version[path])

    monkeypatch.setattr(every_python, "candidates", lambda: ["a", "b"])
    monkeypatch.setattr(every_python, "describe", describe_by_name)
    monkeypatch.setattr(every_python, "examine", fails_on_thirteen)
    assert every_python.main([]) == 1
    assert every_python.main(["3.12"]) == 0
    assert every_python.main(["3.12", "3.99"]) == 1
    assert "there is no Python 3.99" in capsys.readouterr().err


def test_the_table() -> None:
    rows = table([Outcome(interpreter("a", 3, 12, 4), "build", 61.6, "")]).splitlines()
    assert rows[1].split() == ["3.12.4", "failed:", "build", "62"]
