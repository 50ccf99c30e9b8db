"""What a supervisor passes to the program that it becomes by ``exec``: sockets, workers, the page they write."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from .config import Config

__all__ = [
    "NOBODY",
    "SUPERVISE",
    "Handover",
    "command_line",
    "environment",
    "handed_over",
    "reexecute",
    "remember_exported",
]

VARIABLE: Final = "FASTNET_INTERNAL_HANDOVER"

# Set for a command that found out late that it is a supervisor.
SUPERVISE: Final = "FASTNET_INTERNAL_SUPERVISE"

# The names of variables that come from a .env file.
EXPORTED: Final = "FASTNET_INTERNAL_EXPORTED"

# The post of a worker that has none any more.
NOBODY: Final = -1


@dataclass(frozen=True)
class Handover:
    """The state of a supervisor; descriptors are open in this process."""

    page: int
    sockets: Sequence[dict[str, Any]]
    # With the number of its post.
    children: Sequence[tuple[int, dict[str, Any]]]
    # As configured, and as SIGTTIN and SIGTTOU have left it.
    configured: int
    posts: int

    def workers(self, config: Config) -> int:
        """How many workers there are to be: the new setting, or as many as there were if that has not changed."""
        return self.posts if self.configured == config.workers else config.workers

    @classmethod
    def taken(cls) -> Handover | None:
        """What was passed to this very process, if anything was; the variable is gone afterwards."""
        text = os.environ.pop(VARIABLE, None)
        if text is None:
            return None
        found = json.loads(text)
        if found.pop("pid") != os.getpid():
            return None
        found["children"] = [(number, item) for number, item in found["children"]]
        os.set_inheritable(found["page"], False)
        return cls(**found)


def handed_over() -> bool:
    """Whether this process has taken the place of a supervisor, and has to be one."""
    return VARIABLE in os.environ


def reexecute(handover: Handover) -> NoReturn:
    """Become the command that was called, anew. Raises ``OSError`` when that is not possible."""
    os.set_inheritable(handover.page, True)
    variables = {**environment(), VARIABLE: json.dumps({"pid": os.getpid(), **vars(handover)})}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, command_line(), variables)


def command_line() -> list[str]:
    """The command line of this process."""
    return [sys.executable, *sys.orig_argv[1:]]


def environment() -> dict[str, str]:
    """The environment that this process was started with: what came from a ``.env`` file is read again."""
    exported = os.environ.get(EXPORTED, "").split(",")
    return {name: value for name, value in os.environ.items() if name not in exported and name != EXPORTED}


def remember_exported(names: Iterable[str]) -> None:
    """Note which variables come from a ``.env`` file and not from whoever started this process."""
    os.environ[EXPORTED] = ",".join(names)
