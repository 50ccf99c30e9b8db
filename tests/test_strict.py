"""STRICT=1 turns every kind of skip into a failure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

SKIPPED = {
    "marked": "@pytest.mark.skip\ndef test_it() -> None: ...\n",
    "called": "def test_it() -> None:\n    pytest.skip('no tool')\n",
    "fixture": "@pytest.fixture\ndef tool() -> None:\n    pytest.skip('no tool')\n\ndef test_it(tool) -> None: ...\n",
    "module": "pytest.importorskip('no_such_module')\n\ndef test_it() -> None: ...\n",
}


def outcome(folder: Path, text: str, strict: str) -> int:
    shutil.copy(ROOT / "conftest.py", folder)
    (folder / "test_it.py").write_text(f"import pytest\n\n{text}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    environment = {**os.environ, "STRICT": strict}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode


@pytest.mark.parametrize("kind", SKIPPED)
def test_a_skip_fails(tmp_path: Path, kind: str) -> None:
    assert outcome(tmp_path, SKIPPED[kind], "1") in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)


def test_without_it_a_skip_is_none(tmp_path: Path) -> None:
    assert outcome(tmp_path, SKIPPED["marked"], "") == pytest.ExitCode.OK


def test_what_passes_or_is_expected_to_fail_passes(tmp_path: Path) -> None:
    text = "def test_it() -> None: ...\n\n@pytest.mark.xfail\ndef test_other() -> None:\n    assert False\n"
    assert outcome(tmp_path, text, "1") == pytest.ExitCode.OK
