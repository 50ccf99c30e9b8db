"""Requests that schemathesis makes of an application's OpenAPI document, sent to us and to uvicorn: equal results.

What is generated depends on the document alone: no clock, no lot, no database of former examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.failures import FailureGroup

from tests.asgi.both import OF_SERVERS, Pair, pair
from tests.asgi.fastapi_app import make

EXAMPLES = 12  # for one operation and kind of data

SCHEMA = schemathesis.openapi.from_dict(make().openapi())
FOUND: list[Any] = [result.ok() for result in SCHEMA.get_all_operations()]  # type: ignore[union-attr]
OPERATIONS = {operation.label: operation for operation in FOUND}
MODES = {mode.value: mode for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)}
# They take nothing that could be wrong.
WITHOUT_NEGATIVE = {"GET /greeting", "GET /thread"}
CASES = [(label, mode) for label in OPERATIONS for mode in MODES if mode == "positive" or label not in WITHOUT_NEGATIVE]


@pytest.fixture(scope="module")
def both() -> Iterator[Pair]:
    with pair(make) as found:
        yield found


def result_of(case: Any, base_url: str) -> tuple[Any, ...]:
    """The answer, and what schemathesis has against it."""
    answer = case.call(base_url=base_url, headers={"host": "service.example"})
    try:
        case.validate_response(answer)
        failures = []
    except FailureGroup as group:
        failures = sorted(type(failure).__name__ for failure in group.exceptions)
    fields = sorted((name.lower(), value) for name, value in answer.headers.items())
    kept = [field for field in fields if field[0] not in OF_SERVERS]
    return answer.status_code, kept, answer.content, failures


def test_every_operation_is_here() -> None:
    assert len(OPERATIONS) == 8


@pytest.mark.parametrize(("label", "mode"), CASES)
def test_equal_results(both: Pair, label: str, mode: str) -> None:
    ours: list[Any] = []
    theirs: list[Any] = []
    strategy = OPERATIONS[label].as_strategy(generation_mode=MODES[mode])

    @settings(
        derandomize=True,
        database=None,
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def ask(case: Any) -> None:
        ours.append(result_of(case, f"http://127.0.0.1:{both.live.port}"))
        theirs.append(result_of(case, f"http://127.0.0.1:{both.their_port}"))

    ask()
    assert ours
    assert ours == theirs
