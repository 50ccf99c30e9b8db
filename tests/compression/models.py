"""Accept-Encoding once more, slow and after the letter of RFC 9110: what the compiled reader is held to."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["choose", "weights"]

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# 12.4.2: weight = OWS ";" OWS "q=" qvalue
ELEMENT = re.compile(rf"({TOKEN})(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{{0,3}})?|1(?:\.0{{0,3}})?))?")


def weights(field: str) -> dict[str, float] | None:
    """The weight of each coding that is named; None for a field that is malformed."""
    found: dict[str, float] = {}
    for element in field.split(","):
        element = element.strip(" \t")
        if not element:
            continue
        match = ELEMENT.fullmatch(element)
        if match is None:
            return None
        name = match[1].lower()
        found.setdefault("gzip" if name == "x-gzip" else name, 1.0 if match[2] is None else float(match[2]))
    return found


def choose(field: str | None, offered: Sequence[str]) -> str | None:
    """The coding, None for none at all, "" when the client accepts nothing that there is."""
    named = None if field is None else weights(field)
    if named is None:
        return None

    def weight(coding: str) -> float | None:
        return named.get(coding, named.get("*"))

    plain = weight("identity")
    acceptable = [coding for coding in offered if weight(coding)]
    if not acceptable:
        return "" if plain == 0 else None
    # The first of those that the client likes best: max() keeps the order.
    best = max(acceptable, key=lambda coding: weight(coding) or 0)
    return None if plain is not None and plain > (weight(best) or 0) else best
