"""Yardsticks beside every run: nanoseconds mean little on a shared machine, ratios to work measured with them do.

A bench tells how much one call of its function does through ``benchmark.extra_info``:

* ``items``: operations in one call (heads read, frames parsed); the table shows nanoseconds of one, and as how many
  ``dict.get`` calls it counts.
* ``bytes``: bytes processed in one call; the table shows GB/s, and the share of what ``memcpy`` reaches in this run.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

YARDSTICKS = Path(__file__).with_name("test_yardstick.py")
DICT_GET = "test_yardstick_dict_get"
MEMCPY = "test_yardstick_memcpy"


def pytest_configure(config: pytest.Config) -> None:
    """Add the yardsticks to whatever benches were asked for."""
    asked = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    if YARDSTICKS not in asked and any(path.parent == YARDSTICKS.parent for path in asked):
        config.args.append(str(YARDSTICKS))


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Keep the yardsticks when ``-k`` or ``-m`` chose other benches."""
    yardsticks = [item for item in items if item.path == YARDSTICKS]
    yield
    items.extend(item for item in yardsticks if item not in items)


def _best(benchmark: Any) -> float:
    """Nanoseconds of the fastest round of one call."""
    return float(benchmark.stats.min) * 1e9


def _row(benchmark: Any, dict_get: float | None, memcpy: float | None) -> list[str]:
    nanoseconds = _best(benchmark)
    items = float(benchmark.extra_info.get("items", 1))
    size = float(benchmark.extra_info.get("bytes", 0))
    row = [benchmark.fullname.removeprefix("benches/micro/"), f"{nanoseconds / items:,.1f}"]
    row.append(f"{nanoseconds / items / dict_get:.2f}" if dict_get else "–")
    row.append(f"{size / nanoseconds:.2f}" if size else "")
    row.append(f"{size / nanoseconds / memcpy:.1%}" if size and memcpy else "")
    return row


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The table of ratios, after pytest-benchmark's own."""
    session = getattr(config, "_benchmarksession", None)
    benchmarks = [one for one in session.benchmarks if not one.has_error] if session is not None else []
    if not benchmarks:
        return
    by_name = {one.name: one for one in benchmarks}
    dict_get = memcpy = None
    if (one := by_name.get(DICT_GET)) is not None:
        dict_get = _best(one) / one.extra_info["items"]
    if (one := by_name.get(MEMCPY)) is not None:
        memcpy = one.extra_info["bytes"] / _best(one)
    header = ["bench (fastest round)", "ns/item", "× dict.get", "GB/s", "of memcpy"]
    table = [header, *(_row(one, dict_get, memcpy) for one in sorted(benchmarks, key=lambda one: one.fullname))]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    terminalreporter.section("beside the yardsticks")
    for row in table:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        terminalreporter.line("  ".join(cells).rstrip())
