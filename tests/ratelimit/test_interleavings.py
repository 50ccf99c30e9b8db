"""The table of keys under processes that take turns at each of its steps: no order of them may break it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("interleavings.c")
CROSS, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"
MODES = ("hold", "die", "evict")


def compiled(compiler: str, target: Path, *options: str) -> Path:
    command = [compiler, "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-function", f"-I{ROOT}"]
    subprocess.run([*command, *options, PROGRAM, "-o", target], check=True, timeout=120)
    return target


def said(*command: str | Path) -> str:
    # Its contexts are nothing that AddressSanitizer, loaded for the engine's sake, could follow.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize("mode", MODES)
def test_any_order_of_steps(mode: str, tmp_path: Path) -> None:
    assert said(compiled("cc", tmp_path / "interleavings"), mode, "1", "10000") == "right\n"


@pytest.mark.skipif(
    shutil.which(CROSS) is None or shutil.which(EMULATOR) is None,
    reason="apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static",
)
@pytest.mark.parametrize("mode", MODES)
def test_on_arm(mode: str, tmp_path: Path) -> None:
    """The swap of a slot is assembly there too."""
    program = compiled(CROSS, tmp_path / "interleavings", "-static")
    assert said(EMULATOR, program, mode, "1", "200") == "right\n"
