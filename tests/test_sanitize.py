"""The run under the sanitizers fails when they find nothing planted, and when they left a report."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import sanitize
from tests.sanitize import DEFECTS, Failure


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sanitize, "REPORTS", tmp_path)
    return tmp_path


def test_a_report_fails_the_run(folder: Path) -> None:
    sanitize.check_reports()
    (folder / "address.1").write_text("heap-buffer-overflow")
    with pytest.raises(Failure, match=r"address\.1"):
        sanitize.check_reports()


def test_a_defect_that_nobody_stops_fails_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitize, "call", lambda expression: None)
    with pytest.raises(Failure, match="nobody stopped"):
        sanitize.find_planted_defects()


def test_a_crash_without_a_report_is_not_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(expression: str) -> None:
        raise Failure("exit code 139")

    monkeypatch.setattr(sanitize, "call", crash)
    with pytest.raises(Failure, match="no report"):
        sanitize.find_planted_defects()


def test_a_report_about_what_is_sound_fails_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {call: said for call, said, _ in DEFECTS}

    def report(expression: str) -> None:
        (folder / "address.1").write_text(said.get(expression, "false alarm"))
        if expression in said:
            raise Failure("exit code 1")

    monkeypatch.setattr(sanitize, "call", report)
    with pytest.raises(Failure, match="reports of the sanitizers"):
        sanitize.find_planted_defects()


def test_the_copy_follows_the_tree(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for name in ("a.py", "inner/b.pyx", "c.so", "__pycache__/d.pyc"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    sanitize.mirror(source, target)
    assert sorted(path.name for path in target.rglob("*.*")) == ["a.py", "b.pyx"]
    (target / "built.so").touch()
    (source / "a.py").unlink()
    (source / "inner" / "b.pyx").write_text("changed")
    sanitize.mirror(source, target)
    assert sorted(path.name for path in target.rglob("*.*")) == ["b.pyx", "built.so"]
    assert (target / "inner" / "b.pyx").read_text() == "changed"
