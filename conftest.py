"""What tests and benches share: how hypothesis runs, and what is done about things that are not installed."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator

import pytest
from hypothesis import settings

STRICT = os.environ.get("STRICT") == "1"

# No example has a deadline: other work on the machine is no failure of ours.
settings.register_profile("fastnet", deadline=None, print_blob=True)
settings.load_profile("fastnet")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the processes that share the files, none is left with a long one when the others are done."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """Modules and tests stay: the collections of tests that count objects need not look at a million of them."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for whole modules, which are skipped while they are collected."""
    report = yield
    if STRICT and report.skipped:
        fail(report)
    return report


def fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    """With STRICT=1 a test that is skipped for something missing fails: CI installs what it can."""
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} was skipped, and STRICT=1 takes no skips: {report.longrepr}"
