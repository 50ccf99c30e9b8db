"""Autobahn's fuzzing client against our echo: the groups that are quick, and a share of those on compression.

``make autobahn`` runs all cases, which takes about a quarter of an hour.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import autobahn

pytestmark = pytest.mark.long

# Of the groups on compression: each set of parameters, with short messages and with long ones in fragments.
SHARE = [f"{group}.{case}" for group in ("12.1", "12.5", *(f"13.{i}" for i in range(1, 8))) for case in (1, 11)]
QUICK = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
# Cases that QUICK consists of: a run that was cut off holds fewer.
COUNT = 247


@pytest.fixture
def suite() -> None:
    if autobahn.python27() is None:
        # Not a skip, which STRICT=1 would refuse: there is nothing that could be installed.
        pytest.xfail("Autobahn's suite needs Python 2.7")
    if not autobahn.PROGRAM.exists():
        autobahn.install()


@pytest.mark.usefixtures("suite")
def test_every_case_passes(tmp_path: Path) -> None:
    verdicts = autobahn.run([*QUICK, *SHARE], tmp_path)
    assert [verdict for verdict in verdicts if not verdict.passed] == []
    assert len(verdicts) == COUNT + len(SHARE)
