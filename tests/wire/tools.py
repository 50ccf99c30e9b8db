"""Clients that are not ours, run as programs: curl, nghttp, h2load."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

import pytest

LIMIT = 20  # seconds


@dataclass
class Fetched:
    """What curl got: the last answer, with the version it came by."""

    status: int
    version: str
    fields: dict[str, str]
    body: bytes


def needs(program: str) -> pytest.MarkDecorator:
    """Skip where a program is missing."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def run(*arguments: str, body: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(arguments, input=body, capture_output=True, timeout=LIMIT, check=False)


def curl(url: str, *options: str, body: bytes | None = None) -> Fetched:
    """Fetch with curl; fails when curl does. ``body`` is sent as it is."""
    if body is not None:
        options = (*options, "--data-binary", "@-")
    done = run("curl", "-sS", "-i", "--max-time", str(LIMIT), *options, url, body=body)
    assert done.returncode == 0, done.stderr.decode()
    return parse(done.stdout)


def parse(output: bytes) -> Fetched:
    head, _, rest = output.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    version, status = line.split(" ")[:2]
    if status.startswith("1"):
        return parse(rest)
    fields = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
    return Fetched(int(status), version, fields, rest)
