"""handshakes.c as the load generator of full TLS hand-shakes: a new connection, and no session, for each request."""

import json
import resource
import subprocess

from benches.load import peers
from benches.load.certificate import certificate
from benches.load.machine import Place, on_core
from benches.load.scenarios import Scenario
from benches.load.wrk import GRACE, Load, LoadFailed

LIBRARIES = ("-lssl", "-lcrypto", "-pthread")


def run(port: int, scenario: Scenario, seconds: float, *, core: Place) -> Load:
    """Load with as many threads as the scenario has connections. Raises LoadFailed.

    The program compares every answer by itself; ``Load.bytes`` are those of the bodies.
    """
    body = (scenario.expected.body or b"").decode("utf-8")
    try:
        binary = peers.compiled("handshakes.c", *LIBRARIES)
    except peers.NotAvailable as error:
        raise LoadFailed(str(error)) from error
    argv = [str(binary), str(port), f"{seconds:g}", str(scenario.connections), str(certificate().cert), body]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        with on_core(core):
            finished = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + GRACE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LoadFailed(f"handshakes: {error}") from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if finished.returncode != 0:
        raise LoadFailed(f"handshakes ended with status {finished.returncode}: {finished.stderr[-300:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    numbers = json.loads(finished.stdout.removeprefix("COUNTED "))
    errors = {kind: numbers[kind] for kind in ("connect", "handshake", "resumed", "answer")}
    return Load(numbers["requests"], numbers["seconds"], numbers["bytes"], errors, p99=0.0, cpu=cpu)
