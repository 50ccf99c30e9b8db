"""Tries whether a command would start anew, in a process of its own, before a supervisor becomes that command."""

from __future__ import annotations

import os
import subprocess
import tempfile

from .children import described
from .handover import command_line, environment

__all__ = ["Trial", "is_trial"]

VARIABLE = "FASTNET_INTERNAL_TRIAL"


def is_trial() -> bool:
    """Whether this process is to load settings, certificates and app, and to end then."""
    return VARIABLE in os.environ


class Trial:
    """The process on trial, from when it is made; whoever reaps it says how it ended."""

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - read once the process has ended
        self._process = subprocess.Popen(
            command_line(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            env={**environment(), VARIABLE: "1"},
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def kill(self) -> None:
        """End it; it is still to be reaped."""
        self._process.kill()

    def discard(self) -> None:
        """End it and reap it: what it tries is older than what is wanted now."""
        self._process.kill()
        self._process.wait()
        self._said.close()

    def verdict(self, status: int) -> str:
        """What keeps the command from starting, now that the process has ended so; empty when nothing does."""
        self._process.returncode = os.waitstatus_to_exitcode(status)
        with self._said as file:
            file.seek(0)
            text = file.read().decode(errors="replace").strip()
        return f"the new code {described(status)}\n{text}" if status else ""
