"""The strict build fails on what compilers complain of, in parallel builds too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SOUND = """# cython: freethreading_compatible=True
cdef int double_of(int number) noexcept:
    return 2 * number

def call(int number):
    return double_of(number)
"""
# Each file, and what must be said of it.
PLANTED = {
    "hinted.pyx": (
        SOUND.replace("cdef int double_of(int number) noexcept", "cdef void nothing() nogil")
        .replace("return 2 * number", "pass")
        .replace("return double_of(number)", "with nogil:\n        nothing()"),
        "performance hint: fastnet_ext/planted/hinted.pyx:",
    ),
    "warned.pyx": (
        SOUND + "\ndef unset(int number):\n    cdef int other\n    return number + other\n",
        "warning: fastnet_ext/planted/warned.pyx:",
    ),
    "compared.h": (
        "static inline int planted_less(unsigned a, int b) { return a < b; }\n",
        "fastnet_ext/planted/compared.h:1:",
    ),
    "including.pyx": (
        "# cython: freethreading_compatible=True\n"
        'cdef extern from "fastnet_ext/planted/compared.h":\n'
        "    int planted_less(unsigned a, int b) noexcept\n\n"
        "def less(unsigned a, int b):\n    return planted_less(a, b)\n",
        "compared.h",
    ),
}


def build(folder: Path, files: dict[str, str], switches: str) -> subprocess.CompletedProcess[str]:
    """Build a project of nothing but these files with our setup.py."""
    planted = folder / "fastnet_ext" / "planted"
    planted.mkdir(parents=True)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "fastnet").mkdir()
    shutil.copy(ROOT / "fastnet" / "_version.py", folder / "fastnet")
    for package in (folder / "fastnet", folder / "fastnet_ext", planted):
        (package / "__init__.py").touch()
    for name, text in files.items():
        (planted / name).write_text(text)
    environment = {**os.environ, "FASTNET_BUILD": switches, "FASTNET_ONLY": "", "FASTNET_JOBS": "2"}
    command = [sys.executable, "setup.py", "build_ext"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_what_is_sound_builds(tmp_path: Path) -> None:
    done = build(tmp_path, {"sound.pyx": SOUND, "other.pyx": SOUND}, "strict")
    assert done.returncode == 0, done.stderr


def test_complaints_fail_the_strict_build(tmp_path: Path) -> None:
    done = build(tmp_path, {"sound.pyx": SOUND} | {name: text for name, (text, _) in PLANTED.items()}, "strict")
    assert done.returncode != 0
    verdict = done.stderr.partition("strict takes no complaints")[2]
    assert [said for _, said in PLANTED.values() if said not in verdict] == []
    assert "sound.pyx" not in verdict


def test_complaints_do_not_fail_the_plain_build(tmp_path: Path) -> None:
    done = build(tmp_path, {"hinted.pyx": PLANTED["hinted.pyx"][0]}, "")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("build/lib*/fastnet_ext/planted/hinted*.so"))


def test_an_unknown_switch_is_refused(tmp_path: Path) -> None:
    done = build(tmp_path, {}, "strcit")
    assert done.returncode != 0
    assert "strcit" in done.stderr


def test_versions_are_said_once() -> None:
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    namespace: dict[str, str] = {}
    exec((ROOT / "fastnet" / "_version.py").read_text(), namespace)
    assert done.stdout.split()[-1] == namespace["__version__"]
