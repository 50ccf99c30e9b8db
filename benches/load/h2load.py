"""h2load as the load generator of HTTP/2, and nghttp as the client that checks: both in cleartext and over TLS."""

import re
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from benches.load import peers
from benches.load.client import WrongAnswer
from benches.load.machine import Place, on_core
from benches.load.scenarios import Expected, Request, Scenario
from benches.load.wrk import GRACE, Load, LoadFailed

SECONDS = 10.0
"""What one checked answer may take."""

_REQUESTS = re.compile(
    r"^requests: .* (\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", re.MULTILINE
)
_FRAME = re.compile(r"recv (DATA) frame|recv \(stream_id=\d+\) (:?[^:\n]+): ([^\n]*)")
GRPC_SUBTYPE = "+proto"
"""``application/grpc`` and ``application/grpc+proto`` say the same, and servers differ in which they send."""


@contextmanager
def _options(request: Request) -> Iterator[list[str]]:
    """What nghttp and h2load are told of a request's fields and body; with a body, both ask by POST."""
    options = [f"--header={name.lower()}: {value}" for name, value in request.headers]
    if not request.body:
        yield options
        return
    with tempfile.NamedTemporaryFile() as body:
        body.write(request.body)
        body.flush()
        yield [*options, f"--data={body.name}"]


def check(port: int, scenario: Scenario, scheme: str, rounds: int, *, live: bool = True) -> int:
    """Ask the scenario's request ``rounds`` times and, if ``live``, its probes once; compare status, media type, body
    and trailers. Returns the body's size in bytes.

    Raises WrongAnswer, or NotAvailable without nghttp.
    """
    peers.require_command("nghttp")
    _require_body(port, scenario.request, scenario.expected, scheme)
    for _ in range(rounds):
        _require_fields(port, scenario.request, scenario.expected, scheme)
    for probe in scenario.probes if live else ():
        _require_body(port, probe.request, probe.expected, scheme)
        _require_fields(port, probe.request, probe.expected, scheme)
    return len(scenario.expected.body or b"")


def _require_body(port: int, request: Request, expected: Expected, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{port}{request.path}"
    with _options(request) as options:
        body = _output(["nghttp", "--no-verify-peer", *options, url])
    if body != expected.body:
        # A call that fails has no body, and says why in its trailers.
        _require_fields(port, request, expected, scheme)
        raise WrongAnswer(f"{url}: body {body[:120]!r} instead of {(expected.body or b'')[:120]!r}")


def _require_fields(port: int, request: Request, expected: Expected, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{port}{request.path}"
    with _options(request) as options:
        told = _output(["nghttp", "--verbose", "--null-out", "--no-verify-peer", "--color", *options, url])
    head, trailers = fields(told.decode("latin-1"))
    if not head.get(":status", "").isdigit() or int(head[":status"]) not in expected.statuses:
        raise WrongAnswer(f"{url}: status {head.get(':status')} by HTTP/2")
    kind = head.get("content-type", "").removesuffix(GRPC_SUBTYPE)
    if kind != expected.content_type:
        raise WrongAnswer(f"{url}: content type {head.get('content-type')} by HTTP/2")
    for name, value in expected.trailers:
        if trailers.get(name) != value:
            # Without a body, what would be trailers stands in the head.
            found = trailers or {field: text for field, text in head.items() if field.startswith("grpc-")}
            raise WrongAnswer(f"{url}: trailers {found} instead of {name} {value}")


def fields(told: str) -> tuple[dict[str, str], dict[str, str]]:
    """The fields before and after the answer's DATA frames in what nghttp tells in detail."""
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    current = before
    for frame, name, value in _FRAME.findall(re.sub(r"\x1b\[[0-9;]*m", "", told)):
        if frame:
            current = after
        else:
            current[name] = value.strip()
    return before, after


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
    argv += ["--max-concurrent-streams", str(scenario.depth)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        with _options(scenario.request) as options, on_core(core):
            argv += [*options, f"{scheme}://127.0.0.1:{port}{scenario.request.path}"]
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
