"""wrk as the load generator: one thread on its own core, one run at a time, its counts read as JSON."""

import json
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benches.load.machine import Place, on_core
from benches.load.scenarios import Scenario

SCRIPT = Path(__file__).with_name("requests.lua")
GRACE = 15.0
"""Seconds beyond its duration after which a run of wrk is given up."""


class LoadFailed(Exception):
    """wrk did not run, or its run does not count."""


@dataclass(frozen=True)
class Load:
    requests: int
    seconds: float
    bytes: int
    errors: dict[str, int]
    p99: float
    """99th percentile of the latency wrk saw under full load, in seconds."""
    cpu: float
    """CPU seconds wrk itself spent."""
    wire: int = 0
    """Bytes of the answers as they came, where a generator tells compressed ones from what is in them."""

    def require_clean(self, answer_size: int, in_flight: int) -> None:
        """Raise LoadFailed unless every answer was a success and of the length that was checked.

        wrk does not look at bodies; that the bytes received are ``answer_size`` for each request, give or take those
        ``in_flight`` when the run ended, is what shows that the answers checked before and after stand for all.
        """
        bad = [f"{count} {kind} errors" for kind, count in self.errors.items() if count]
        if bad:
            raise LoadFailed(f"the load generator counted {', '.join(bad)}")
        if self.requests <= in_flight:
            raise LoadFailed(f"only {self.requests} answers in {self.seconds:.1f} s")
        if abs(self.bytes - self.requests * answer_size) > in_flight * answer_size:
            mean = self.bytes / self.requests
            raise LoadFailed(f"answers of {mean:.1f} bytes on average under load, {answer_size} when checked")


def run(port: int, scenario: Scenario, seconds: float, *, core: Place, scheme: str = "http") -> Load:
    """Load ``127.0.0.1:port`` with the scenario's request. Raises LoadFailed when wrk itself fails.

    wrk takes whole seconds, so ``seconds`` is rounded, one at least.
    """
    request = scenario.request
    whole = max(1, round(seconds))
    argv = ["wrk", "--threads", "1", "--connections", str(scenario.connections), "--duration", f"{whole}s"]
    argv += ["--timeout", "5s", "--script", str(SCRIPT)]
    for name, value in request.headers:
        argv += ["--header", f"{name}: {value}"]
    argv += [f"{scheme}://127.0.0.1:{port}{request.path}", "--", str(scenario.depth), request.method]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        # One argument of a program may be 128 KiB on Linux; a body may be more.
        with tempfile.NamedTemporaryFile() as body, on_core(core):
            body.write(request.body)
            body.flush()
            argv.append(body.name)
            finished = subprocess.run(argv, capture_output=True, text=True, timeout=whole + GRACE, check=False)
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"wrk did not end {GRACE:.0f} s after its time") from error
    except OSError as error:
        raise LoadFailed(f"wrk did not start: {error}") from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    counted = [line for line in finished.stdout.splitlines() if line.startswith("COUNTED ")]
    if finished.returncode != 0 or len(counted) != 1:
        raise LoadFailed(f"wrk ended with status {finished.returncode}: {(finished.stderr or finished.stdout)[-300:]}")
    numbers = json.loads(counted[0].removeprefix("COUNTED "))
    return Load(
        requests=numbers["requests"],
        seconds=numbers["microseconds"] / 1e6,
        bytes=numbers["bytes"],
        errors={kind: numbers[kind] for kind in ("connect", "read", "write", "status", "timeout")},
        p99=numbers["p99"] / 1e6,
        cpu=cpu,
    )
