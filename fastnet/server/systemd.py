"""What systemd passes to a service, and what it is told: sd_listen_fds(3) and sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from typing import Final

__all__ = ["notify", "passed_descriptors", "watchdog_interval"]

# SD_LISTEN_FDS_START
FIRST_DESCRIPTOR: Final = 3


def passed_descriptors(environment: MutableMapping[str, str] = os.environ) -> list[tuple[int, str]]:
    """The sockets that systemd passed on, each with its name; empty when they are not for this process.

    The variables are left in place: they name this process, so none of its children takes them for its own.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    try:
        count = int(environment.get("LISTEN_FDS", "0"))
    except ValueError:
        return []
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    names += ["unknown"] * (count - len(names))
    return [(FIRST_DESCRIPTOR + index, names[index]) for index in range(count)]


def notify(*states: str) -> None:
    """Send ``READY=1``, ``STOPPING=1`` … to the manager; nothing happens where none listens."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place.startswith(("/", "@")):
        return
    lines = list(states)
    if "RELOADING=1" in lines:
        # Without the time systemd cannot tell which READY=1 ends the reload.
        lines.append(f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect("\0" + place[1:] if place.startswith("@") else place)
            sock.send("\n".join(lines).encode())
        except OSError:
            # A manager that went away must not take the service with it.
            return


def watchdog_interval() -> float:
    """Seconds between two ``WATCHDOG=1`` that systemd waits for, halved; 0 when it does not."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
    except ValueError:
        return 0.0
