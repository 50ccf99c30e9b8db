"""Registered paths: ``/users/{id}/files/{rest:path}`` taken apart, and what may be wrong with them."""

import re
from dataclasses import dataclass
from typing import Final, Literal

MAX_PARAMS: Final = 16
MAX_SEGMENTS: Final = 64
MAX_TEXT: Final = 255  # bytes of a segment's literal text

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_PARAMETER = re.compile(r"\{([^{}]*)\}")


class RouteSyntaxError(ValueError):
    """A path that cannot be registered; `path` is the one."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"route {path!r}: {reason}")
        self.path = path
        self.reason = reason


class RouteConflict(ValueError):
    """Two routes that would answer the same requests: `path` came after `other`."""

    def __init__(self, path: str, other: str, method: str) -> None:
        what = "every method" if method == "*" else method
        super().__init__(f"route {path!r} conflicts with {other!r}: both answer {what} on the same paths")
        self.path = path
        self.other = other
        self.method = method


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a path between slashes.

    `text` is the literal of a static segment, or what stands before the parameter in the segment;
    `suffix` is what stands after it. Both are percent-decoded.
    """

    kind: Literal["static", "param", "tail"]
    text: bytes = b""
    suffix: bytes = b""
    name: str = ""


def _decoded(text: str) -> bytes:
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), text.encode())


def _segment(path: str, text: str, last: bool) -> Segment:
    found = _PARAMETER.search(text)
    if found is None:
        if "{" in text or "}" in text:
            raise RouteSyntaxError(path, f"unbalanced braces in {text!r}")
        return Segment("static", _decoded(text))
    name, colon, kind = found[1].partition(":")
    before, after = text[: found.start()], text[found.end() :]
    if _PARAMETER.search(after):
        raise RouteSyntaxError(path, f"two parameters in one segment {text!r}; put a slash between them")
    if set("{}") & set(before + after):
        raise RouteSyntaxError(path, f"unbalanced braces in {text!r}")
    if not name.isidentifier():
        raise RouteSyntaxError(path, f"{name!r} is not a parameter name: it must be a Python identifier")
    if not colon:
        return Segment("param", _decoded(before), _decoded(after), name)
    if kind != "path":
        raise RouteSyntaxError(path, f"unknown kind {kind!r} of {{{name}}}; the handler's annotation says its type")
    if before or after or not last:
        raise RouteSyntaxError(path, f"{{{name}:path}} takes the rest of the path: it must be a whole last segment")
    return Segment("tail", name=name)


def parse_path(path: str) -> tuple[Segment, ...]:
    """The segments of a registered path. A trailing slash is a last, empty segment.

    Raises RouteSyntaxError.
    """
    if not path.startswith("/"):
        raise RouteSyntaxError(path, "it must start with a slash")
    if "?" in path or "#" in path:
        raise RouteSyntaxError(path, "it must not hold a query or a fragment")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
        raise RouteSyntaxError(path, "it must not hold control characters")
    parts = path[1:].split("/")
    if "" in parts[:-1]:
        raise RouteSyntaxError(path, "two slashes in a row")
    if len(parts) > MAX_SEGMENTS:
        raise RouteSyntaxError(path, f"more than {MAX_SEGMENTS} segments")
    segments = tuple(_segment(path, part, index == len(parts) - 1) for index, part in enumerate(parts))
    if any(len(segment.text) + len(segment.suffix) > MAX_TEXT for segment in segments):
        raise RouteSyntaxError(path, f"a segment of more than {MAX_TEXT} bytes")
    names = [segment.name for segment in segments if segment.name]
    if len(names) > MAX_PARAMS:
        raise RouteSyntaxError(path, f"more than {MAX_PARAMS} parameters")
    for name in names:
        if names.count(name) > 1:
            raise RouteSyntaxError(path, f"the parameter {name!r} stands twice")
    return segments


def param_names(path: str) -> tuple[str, ...]:
    """The names of a path's parameters, in order: the order of a match's spans."""
    return tuple(segment.name for segment in parse_path(path) if segment.name)
