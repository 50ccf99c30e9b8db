"""handshakes.c as the load generator of full TLS hand-shakes: a new connection, and no session, for each request."""

from benches.load import generator
from benches.load.certificate import certificate
from benches.load.machine import Place
from benches.load.scenarios import Scenario
from benches.load.wrk import Load

LIBRARIES = ("-lssl", "-lcrypto", "-pthread")


def run(port: int, scenario: Scenario, seconds: float, *, core: Place) -> Load:
    """Load with as many threads as the scenario has connections. Raises LoadFailed.

    The program compares every answer by itself; ``Load.bytes`` are those of the bodies.
    """
    body = (scenario.expected.body or b"").decode("utf-8")
    arguments = [str(port), f"{seconds:g}", str(scenario.connections), str(certificate().cert), body]
    numbers, cpu = generator.run("handshakes.c", LIBRARIES, arguments, seconds, core=core)
    errors = {kind: numbers[kind] for kind in ("connect", "handshake", "resumed", "answer")}
    return Load(numbers["requests"], numbers["seconds"], numbers["bytes"], errors, p99=0.0, cpu=cpu)
