"""How each protocol that a scenario may name is checked and loaded."""

from collections.abc import Callable
from dataclasses import dataclass

from benches.load import client, h2load, handshakes, websocket, wrk
from benches.load.certificate import certificate
from benches.load.machine import Place
from benches.load.scenarios import Scenario

Check = Callable[[int, Scenario, bool, int], int]
"""Asks a port ``rounds`` times whether its answers are right; ``live`` as in ``client.check``. Returns the bytes that
the generator counts for one right answer. Raises WrongAnswer."""


@dataclass(frozen=True)
class Protocol:
    check: Check
    load: Callable[[int, Scenario, float, Place], wrk.Load]
    tls: bool = False


def _http1(port: int, scenario: Scenario, live: bool, rounds: int) -> int:
    return client.check(port, scenario, live=live, rounds=rounds)


def _https1(port: int, scenario: Scenario, live: bool, rounds: int) -> int:
    return client.check(port, scenario, live=live, rounds=rounds, context=certificate().client_context())


def _handshakes(port: int, scenario: Scenario, live: bool, rounds: int) -> int:
    _https1(port, scenario, live, rounds)
    return len(scenario.expected.body or b"")


_CLEARTEXT = Protocol(
    lambda port, scenario, live, rounds: h2load.check(port, scenario, "http", rounds, live=live),
    lambda port, scenario, seconds, core: h2load.run(port, scenario, "http", seconds, core=core),
)
"""HTTP/2 by prior knowledge."""

BY_NAME = {
    "http1": Protocol(_http1, lambda port, scenario, seconds, core: wrk.run(port, scenario, seconds, core=core)),
    "https1": Protocol(
        _https1,
        lambda port, scenario, seconds, core: wrk.run(port, scenario, seconds, core=core, scheme="https"),
        tls=True,
    ),
    "handshakes": Protocol(
        _handshakes,
        lambda port, scenario, seconds, core: handshakes.run(port, scenario, seconds, core=core),
        tls=True,
    ),
    "h2": Protocol(
        lambda port, scenario, live, rounds: h2load.check(port, scenario, "https", rounds, live=live),
        lambda port, scenario, seconds, core: h2load.run(port, scenario, "https", seconds, core=core),
        tls=True,
    ),
    "websocket": Protocol(
        websocket.check,
        lambda port, scenario, seconds, core: websocket.run(port, scenario, seconds, core=core),
    ),
    "h2c": _CLEARTEXT,
    "grpc": _CLEARTEXT,
}
