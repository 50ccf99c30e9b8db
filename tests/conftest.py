"""What all tests share: what is done about things that are not installed."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

STRICT = os.environ.get("STRICT") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With STRICT=1 a test that is skipped for something missing fails: CI installs what it can."""
    report = yield
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and STRICT=1 takes no skips: {report.longrepr}"
    return report
