"""A start that cannot be: one line that says what to do, exit code 2 or 3, no traceback, however many workers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.server.service import APP, PLAIN, ROOT, WAIT
from tests.wire.tls import issue

# What asks for one process, for a supervisor, and for one that imports the app itself.
MODES = [("--workers", "1"), ("--workers", "2"), ("--workers", "2", "--preload"), ("--supervise", "always")]

# The command as somebody who may not do everything; what it takes is imported while everything may still be read.
AS_NOBODY = """
import os, sys, encodings.idna, orjson, msgspec
from fastnet.cli import main
sys.path.insert(0, os.getcwd())
import service
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


def refusal(folder: Path, *flags: str, settings: str = "", nobody: bool = False) -> tuple[int, str]:
    """Exit code and message of ``fastnet run``, which has to be one line."""
    (folder / "service.py").write_text(APP)
    (folder / "fastnet.toml").write_text(settings)
    command = [sys.executable, *(("-c", AS_NOBODY) if nobody else ("-m", "fastnet")), "run", "service:app", *flags]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **PLAIN},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("fastnet: ")
    return done.returncode, done.stderr.removeprefix("fastnet: ").rstrip()


modes = pytest.mark.parametrize("mode", MODES, ids=" ".join)


def no_certificate(folder: Path, cert: str, key: str) -> str:
    Path(cert).write_text("this is no certificate\n")
    return f"tls_cert: {cert} holds no certificate in PEM; "


def damaged_certificate(folder: Path, cert: str, key: str) -> str:
    Path(cert).write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    return f"tls_cert: {cert}"


def no_file(folder: Path, cert: str, key: str) -> str:
    os.unlink(cert)
    return f"tls_cert: there is no file {cert}: give the path of the certificate in PEM"


def key_of_another(folder: Path, cert: str, key: str) -> str:
    other = issue(folder, trustme.CA(), "other", "localhost")
    os.replace(other.key, key)
    return f"tls_key: the key in {key} does not belong to the certificate in {cert}: give its own"


@modes
@pytest.mark.parametrize("spoil", [no_certificate, damaged_certificate, no_file, key_of_another])
def test_a_bad_certificate(tmp_path: Path, spoil: Callable[[Path, str, str], str], mode: tuple[str, ...]) -> None:
    files = issue(tmp_path, trustme.CA(), "served", "localhost")
    message = spoil(tmp_path, files.cert, files.key)
    code, text = refusal(tmp_path, "--port", "0", "--tls-cert", files.cert, "--tls-key", files.key, *mode)
    assert code == 3
    assert text.startswith(message)


@modes
def test_a_key_that_may_not_be_read(mode: tuple[str, ...]) -> None:
    # The folder that pytest keeps those of tests in is its user's own, and made so again by every run that begins.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        files = issue(folder, trustme.CA(), "served", "localhost")
        os.chmod(files.key, 0)
        flags = ("--port", "0", "--tls-cert", files.cert, "--tls-key", files.key, *mode)
        code, text = refusal(folder, *flags, nobody=True)
    assert code == 3
    assert text.startswith(f"tls_key: {files.key} cannot be read by this user (uid ")
    assert text.endswith("change its owner or its permissions")


@modes
def test_a_taken_port(tmp_path: Path, mode: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = refusal(tmp_path, "--port", str(port), *mode)
    assert code == 3
    assert text == (f"127.0.0.1:{port} is taken by another process: stop that one, or choose another port with --port")


@modes
def test_wrong_settings(tmp_path: Path, mode: tuple[str, ...]) -> None:
    code, text = refusal(tmp_path, *mode, settings="timeout_idel = 3\n")
    assert (code, text) == (2, "fastnet.toml: there is no setting 'timeout_idel'; did you mean 'timeout_idle'?")
    code, text = refusal(tmp_path, *mode, "--timeout-idle", "soon")
    assert code == 2
    assert text.startswith("timeout_idle (flag --timeout-idle): 'soon' is no duration")
    # TOML itself.
    code, text = refusal(tmp_path, *mode, settings="port = \n")
    assert code == 2
    assert text.startswith("fastnet.toml")
