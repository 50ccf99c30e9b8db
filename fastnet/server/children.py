"""The processes that a supervisor has started, as it sees them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from .channel import Channel
from .heartbeat import Page, Slot, State
from .mailbox import Mailbox
from .signals import SignalPipe
from .worker import EXIT_START, Worker, end_process

__all__ = ["Child", "Post", "described", "fork_worker"]

# Seconds between the restarts of a worker that crashes again and again, and after which a life counts as a good one.
FIRST_DELAY: Final = 1.0
LONGEST_DELAY: Final = 30.0
GOOD_LIFE: Final = 60.0


@dataclass(eq=False)
class Child:
    """A worker process. Times are those of ``time.monotonic``."""

    pid: int
    channel: Channel
    slot: Slot
    started: float
    mailbox: Mailbox
    ready: bool = False
    # Told to stop, by us or by itself.
    leaving: bool = False
    # When it is killed, however it stands; None: never.
    kill_at: float | None = None
    # It has been told that its loop stands still.
    aborted: bool = False
    failure: str = ""
    traceback: str = ""
    failure_code: int = 0

    def signal(self, number: int) -> None:
        """Send a signal. The child is not reaped before `waitpid` says so, hence the id is its own."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def stop(self, longest: float) -> None:
        """Ask it to drain and end; it is killed after ``longest`` seconds."""
        self._leave(longest)
        self.signal(signal.SIGTERM)

    def retire(self, longest: float) -> None:
        """The same, in its channel: its successor serves already."""
        self._leave(longest)
        self.channel.send(retire=True)

    def _leave(self, longest: float) -> None:
        self.leaving = True
        deadline = time.monotonic() + longest
        self.kill_at = deadline if self.kill_at is None else min(self.kill_at, deadline)

    def silent_for(self, now: float) -> float:
        """Seconds since the last beat of its loop; 0 while it starts and while it drains."""
        vitals = self.slot.vitals
        if vitals.state in (State.STARTING, State.DRAINING) or self.leaving:
            return 0.0
        return now - vitals.beat

    # --- across exec

    def hand_over(self) -> dict[str, Any]:
        """What ``restored`` needs in the next process image."""
        os.set_inheritable(self.channel.fileno(), True)
        return {
            "pid": self.pid,
            "channel": self.channel.fileno(),
            "slot": self.slot.index,
            "started": self.started,
            "mailbox": self.mailbox.hand_over(),
            "ready": self.ready,
            "kill_in": None if self.kill_at is None else self.kill_at - time.monotonic(),
        }

    @classmethod
    def restored(cls, item: dict[str, Any], page: Page) -> Child:
        """The child that the process image before this one started."""
        sock = socket.socket(fileno=item["channel"])
        sock.set_inheritable(False)
        kill_at = None if item["kill_in"] is None else time.monotonic() + item["kill_in"]
        return cls(
            item["pid"],
            Channel(sock),
            page[item["slot"]],
            item["started"],
            Mailbox.restored(item["mailbox"]),
            ready=item["ready"],
            leaving=kill_at is not None,
            kill_at=kill_at,
        )


def fork_worker(page: Page, signals: SignalPipe, work: Callable[[Worker, Mailbox], int]) -> Child:
    """Fork a process that does ``work`` and ends with its exit code; a line of the page and a mailbox are its own.

    Raises ``OSError`` when the system has no process, descriptor or memory to give.
    """
    mailbox = Mailbox.make()
    ours, theirs = Channel.pair()
    slot = page.unused()
    supervisor = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal for the child must not be written into our pipe, which it shares at first.
    with signals.blocked():
        slot.take()
        try:
            pid = os.fork()
        except OSError:
            slot.free()
            mailbox.close()
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            code = EXIT_START
            try:
                ours.close()
                code = work(Worker(theirs, slot, supervisor), mailbox)
            except BaseException:
                traceback.print_exc()
                code = 1
            finally:
                end_process(code)
    theirs.close()
    mailbox.given()
    slot.name(pid)
    return Child(pid, ours, slot, time.monotonic(), mailbox)


@dataclass(eq=False)
class Post:
    """A place that is to be manned: by ``current``, and soon by ``successor`` if there is one."""

    current: Child | None = None
    successor: Child | None = None
    # When a worker is started; None: not before something happens.
    start_at: float | None = None
    crashes: int = 0

    @property
    def is_ready(self) -> bool:
        """Whether its worker serves."""
        return self.current is not None and self.current.ready

    def crashed(self, lived: float, now: float) -> float:
        """Note the end of a worker; seconds until the next one is started: none at first, then more and more."""
        if lived >= GOOD_LIFE:
            self.crashes = 0
        delay = 0.0 if not self.crashes else min(FIRST_DELAY * 2 ** (self.crashes - 1), LONGEST_DELAY)
        self.crashes += 1
        self.start_at = now + delay
        return delay


def described(status: int) -> str:
    """How a process ended, in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in signal.valid_signals() else str(number)
        return f"ended by {name}" + (" (memory ran out, or somebody killed it)" if number == signal.SIGKILL else "")
    return f"ended with exit code {os.waitstatus_to_exitcode(status)}"
