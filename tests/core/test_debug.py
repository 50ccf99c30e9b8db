"""Builds for developers count what lives; plain builds do not."""

from __future__ import annotations

import pytest

from fastnet_ext.core import debug
from fastnet_ext.core.headers import HeaderBlock


def test_a_plain_build_counts_nothing() -> None:
    assert debug.enabled() == bool(debug.live())


@pytest.mark.parametrize("made", [1, 100])
def test_what_is_made_is_counted_until_it_is_freed(made: int) -> None:
    # In a plain build both sides are 0; `python -m tests.debug` runs this on one that counts.
    before = debug.live().get("HeaderBlock", 0)
    blocks = [HeaderBlock([(b"a", b"b")]) for _ in range(made)]
    assert debug.live().get("HeaderBlock", 0) - before == (made if debug.enabled() else 0)
    blocks.clear()
    assert debug.live().get("HeaderBlock", 0) == before
