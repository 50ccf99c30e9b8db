"""A supervisor's signals as bytes in a pipe, so that it waits for them beside everything else."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final

__all__ = ["SignalPipe"]

SIGNALS: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGCHLD,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
)


class SignalPipe:
    """Takes the signals of this process from when it is made until ``close``, or ``leave`` in a forked process."""

    def __init__(self) -> None:
        self._ends = os.pipe()
        for descriptor in self._ends:
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._ends[1], warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, _noted)
        # The program before this one, which became it by `exec`, has left them blocked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def fileno(self) -> int:
        """The descriptor, for whoever waits for signals."""
        return self._ends[0]

    def received(self) -> bytes:
        """The numbers of the signals that have come."""
        return os.read(self._ends[0], 4096)

    @contextlib.contextmanager
    def blocked(self) -> Iterator[None]:
        """Let signals wait until the block is left; they wait across ``fork`` and ``exec`` as well."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def close(self) -> None:
        """Give the signals back: they do what they do to any process."""
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        self._close()

    def leave(self) -> None:
        """In a worker that was forked while they were blocked: what ends a process may end it while it starts.

        What a terminal sends to all its processes, and what is asked of workers that serve, it does not heed yet.
        """
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            ignored = number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
            signal.signal(number, _noted if ignored else signal.SIG_DFL)
        self._close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _close(self) -> None:
        for descriptor in self._ends:
            os.close(descriptor)


def _noted(number: int, frame: FrameType | None) -> None:
    """A handler, so that the signal neither ends the process nor stays without its byte in the pipe."""
