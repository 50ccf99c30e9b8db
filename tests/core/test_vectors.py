"""Vectors that this machine may lack: AVX-512 in plain C by SIMDe, NEON under an emulator of another processor."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADERS = ROOT / "fastnet_ext" / "core"
PROGRAM = Path(__file__).with_name("vectors.c")
SIMDE = Path("/usr/include/simde/x86/avx512.h")


def compiled(compiler: str, include: Path, target: Path, kinds: str, *options: str) -> Path:
    command = [compiler, "-O2", "-std=gnu11", "-Wall", "-Wno-unused-function", f"-DKINDS={kinds}", f"-I{include}"]
    subprocess.run([*command, *options, PROGRAM, "-o", target], check=True, timeout=120)
    return target


def said(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.skipif(not SIMDE.exists(), reason="SIMDe is missing: apt-get install libsimde-dev")
def test_x86(tmp_path: Path) -> None:
    """Intrinsics are SIMDe's functions of the same name; nothing of them runs on vectors of this processor."""
    headers = tmp_path / "fastnet_ext" / "core"
    headers.mkdir(parents=True)
    for name in ("simd.h", "mask.h", "utf8.h"):
        text = (HEADERS / name).read_text()
        text = text.replace("<immintrin.h>", "<simde/x86/avx512.h>")
        text = re.sub(r"#if defined\(__x86_64__\)\n#define FN_SIMD_X86", "#if 1\n#define FN_SIMD_X86", text)
        (headers / name).write_text(re.sub(r'__attribute__\(\(target\("[\w,]+"\)\)\) ', "", text))
    kinds = "FN_SIMD_PLAIN,FN_SIMD_SSE2,FN_SIMD_AVX2,FN_SIMD_AVX512"
    options = ("-DSIMDE_ENABLE_NATIVE_ALIASES", "-DSIMDE_NO_NATIVE", "-Wno-psabi")
    assert said(compiled("cc", tmp_path, tmp_path / "x86", kinds, *options)) == "equal\n"


CROSS, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"


@pytest.mark.skipif(
    shutil.which(CROSS) is None or shutil.which(EMULATOR) is None,
    reason="apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static",
)
def test_arm(tmp_path: Path) -> None:
    program = compiled(CROSS, ROOT, tmp_path / "arm", "FN_SIMD_PLAIN,FN_SIMD_NEON", "-static")
    assert said(EMULATOR, program) == "equal\n"
