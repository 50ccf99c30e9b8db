"""A load generator of ours in C: compiled, run on its core, its counts read as JSON."""

import json
import resource
import subprocess
from collections.abc import Sequence
from typing import Any

from benches.load import peers
from benches.load.machine import Place, on_core
from benches.load.wrk import GRACE, LoadFailed


def run(
    name: str, libraries: Sequence[str], arguments: Sequence[str], seconds: float, *, core: Place
) -> tuple[dict[str, Any], float]:
    """What ``name`` (a C file of this folder) counted in ``seconds``, and its own CPU seconds.

    Raises LoadFailed when it does not compile, takes GRACE seconds longer, or ends with another status than 0.
    """
    try:
        binary = peers.compiled(name, *libraries)
    except peers.NotAvailable as error:
        raise LoadFailed(str(error)) from error
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        with on_core(core):
            finished = subprocess.run(
                [str(binary), *arguments], capture_output=True, text=True, timeout=seconds + GRACE, check=False
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LoadFailed(f"{binary.name}: {error}") from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if finished.returncode != 0:
        raise LoadFailed(f"{binary.name} ended with status {finished.returncode}: {finished.stderr[-300:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(finished.stdout.removeprefix("COUNTED ")), cpu
