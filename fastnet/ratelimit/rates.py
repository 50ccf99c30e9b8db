"""Rates as text: "100/second", "5 per 10 minutes"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["Rate"]

# Seconds of each unit, by all names that it goes by.
_UNITS: Final = MappingProxyType(
    {
        name: seconds
        for seconds, names in {
            1: ("s", "sec", "second", "seconds"),
            60: ("m", "min", "minute", "minutes"),
            3600: ("h", "hour", "hours"),
            86400: ("d", "day", "days"),
        }.items()
        for name in names
    }
)
_RATE: Final = re.compile(r"\s*([0-9][0-9_]*)\s*(?:/|per\s)\s*([0-9]+(?:\.[0-9]+)?)?\s*([a-z]+)\s*", re.ASCII)


@dataclass(frozen=True)
class Rate:
    """``count`` requests in ``period`` seconds."""

    count: int
    period: float

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Of ``"100/second"``, ``"1000/h"``, ``"5 per 10 minutes"``. Raises ``ValueError`` for anything else."""
        found = _RATE.fullmatch(text)
        if found is None:
            raise ValueError(f'{text!r} is no rate: write it as "100/second", "1000/hour" or "5 per 10 minutes"')
        count, number, unit = found.groups()
        if unit not in _UNITS:
            raise ValueError(f"{text!r} is no rate: {unit!r} is none of second, minute, hour and day")
        rate = cls(int(count), float(number or 1) * _UNITS[unit])
        if rate.count < 1 or rate.period <= 0:
            raise ValueError(f"{text!r} is no rate: it admits at least 1 request in some time")
        return rate
