"""h2load as the load generator of HTTP/2, and nghttp as the client that checks: both in cleartext and over TLS."""

import re
import resource
import subprocess

from benches.load import peers
from benches.load.client import WrongAnswer
from benches.load.machine import Place, on_core
from benches.load.scenarios import Scenario
from benches.load.wrk import GRACE, Load, LoadFailed

SECONDS = 10.0
"""What one checked answer may take."""

_STATUS = re.compile(r"recv \(stream_id=\d+\) :status: (\d+)")
_REQUESTS = re.compile(
    r"^requests: .* (\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", re.MULTILINE
)
_TYPE = re.compile(r"recv \(stream_id=\d+\) content-type: (.*)")


def _url(port: int, scenario: Scenario, scheme: str) -> str:
    return f"{scheme}://127.0.0.1:{port}{scenario.request.path}"


def check(port: int, scenario: Scenario, scheme: str, rounds: int) -> int:
    """Ask ``rounds`` times with nghttp and compare status, media type and body; returns the body's size in bytes.

    Raises WrongAnswer, or NotAvailable without nghttp.
    """
    peers.require_command("nghttp")
    url = _url(port, scenario, scheme)
    expected = scenario.expected
    body = _output(["nghttp", "--no-verify-peer", url])
    if body != expected.body:
        raise WrongAnswer(f"{url}: body {body[:120]!r} instead of {expected.body!r}")
    for _ in range(rounds):
        told = _output(["nghttp", "--verbose", "--null-out", "--no-verify-peer", "--color", url]).decode("latin-1")
        told = re.sub(r"\x1b\[[0-9;]*m", "", told)
        status, kind = _STATUS.search(told), _TYPE.search(told)
        if status is None or int(status[1]) not in expected.statuses:
            raise WrongAnswer(f"{url}: status {status and status[1]} by HTTP/2")
        if kind is None or kind[1].strip() != expected.content_type:
            raise WrongAnswer(f"{url}: content type {kind and kind[1]} by HTTP/2")
    return len(expected.body or b"")


def _output(argv: list[str]) -> bytes:
    try:
        return subprocess.run(argv, capture_output=True, timeout=SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise WrongAnswer(f"nghttp: {error}") from error


def run(port: int, scenario: Scenario, scheme: str, seconds: float, *, core: Place) -> Load:
    """Load with the scenario's connections, ``depth`` streams at once on each. Raises LoadFailed.

    h2load takes whole seconds, so ``seconds`` is rounded, one at least. ``Load.bytes`` are those of bodies.
    """
    whole = max(1, round(seconds))
    argv = ["h2load", "--threads", "1", "--clients", str(scenario.connections), "--duration", str(whole)]
    argv += ["--max-concurrent-streams", str(scenario.depth), _url(port, scenario, scheme)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        with on_core(core):
            finished = subprocess.run(argv, capture_output=True, text=True, timeout=whole + GRACE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LoadFailed(f"h2load: {error}") from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if finished.returncode != 0:
        raise LoadFailed(f"h2load ended with status {finished.returncode}: {finished.stderr[-300:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return parse(finished.stdout, float(whole), cpu)


def parse(output: str, seconds: float, cpu: float) -> Load:
    """What h2load says it counted. Raises LoadFailed when it says something else."""
    requests = _REQUESTS.search(output)
    statuses = re.search(r"^status codes: (\d+) 2xx", output, re.MULTILINE)
    traffic = re.search(r"^traffic: .*\((\d+)\) data", output, re.MULTILINE)
    if requests is None or statuses is None or traffic is None:
        raise LoadFailed(f"h2load said nothing of what it counted: {output[-300:]}")
    done, failed, errored, late = map(int, requests.groups())
    errors = {"failed": failed, "stream": errored, "timeout": late, "status": max(0, done - int(statuses[1]))}
    return Load(done, seconds, int(traffic[1]), errors, p99=0.0, cpu=cpu)
