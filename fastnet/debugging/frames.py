"""An exception taken apart for whoever shows it: what it says, where it was, what caused it. Bounded everywhere."""

from __future__ import annotations

import itertools
import linecache
import os
import reprlib
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, Final

from fastnet_ext.exchange.request import Headers

from .secrets import HIDDEN, is_secret, mask_text

__all__ = ["Failure", "Frame", "Line", "Local", "failure_of", "is_library", "short_path"]

# Lines of source above and below the one that runs.
CONTEXT: Final = 5
MAX_LINE: Final = 400
MAX_FRAMES: Final = 60
MAX_LOCALS: Final = 40
MAX_VALUE: Final = 200
MAX_MESSAGE: Final = 4000
# Exceptions in all: causes, and members of groups.
MAX_FAILURES: Final = 30

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_LIBRARIES: Final = tuple(
    dict.fromkeys(
        os.path.join(folder, "")
        for folder in (
            *(sysconfig.get_paths().get(name, "") for name in ("stdlib", "platstdlib", "purelib", "platlib")),
            *site.getsitepackages(),
            site.getusersitepackages(),
            str(_PACKAGE),
        )
        if folder
    )
)


@dataclass(frozen=True)
class Line:
    """A line of source; ``marked`` is the part that was running, as (start, end) in characters."""

    number: int
    text: str
    marked: tuple[int, int] | None = None


@dataclass(frozen=True)
class Local:
    """A variable and how it prints."""

    name: str
    value: str


@dataclass(frozen=True)
class Frame:
    """One call of a traceback."""

    path: str
    line: int
    function: str
    library: bool
    lines: tuple[Line, ...]
    locals: tuple[Local, ...]

    @property
    def current(self) -> Line | None:
        """The line that was running, when its source is at hand."""
        return next((line for line in self.lines if line.number == self.line), None)


@dataclass(frozen=True)
class Failure:
    """An exception; ``relation`` says what it has to do with the one before it."""

    kind: str
    message: str
    notes: tuple[str, ...]
    frames: tuple[Frame, ...]
    left_out: int
    relation: str = ""
    causes: tuple[Failure, ...] = field(default=())


def failure_of(error: BaseException) -> Failure:
    """An exception with its causes and, of a group, its members. Never raises."""
    return _failure(error, "", set())


def _failure(error: BaseException, relation: str, seen: set[int]) -> Failure:
    seen.add(id(error))
    causes = [
        _failure(other, how, seen)
        for other, how in _related(error)
        if id(other) not in seen and len(seen) < MAX_FAILURES
    ]
    calls = list(_calls(error.__traceback__))
    # The beginning of a deep recursion and its end say more than its middle.
    shown = calls if len(calls) <= MAX_FRAMES else calls[: MAX_FRAMES // 2] + calls[-MAX_FRAMES // 2 :]
    module = type(error).__module__
    name = type(error).__qualname__
    return Failure(
        kind=name if module in ("builtins", "__main__") else f"{module}.{name}",
        message=mask_text(_text(error, MAX_MESSAGE)),
        notes=tuple(mask_text(_text(note, MAX_MESSAGE)) for note in _notes(error)[:20]),
        frames=tuple(_frame(frame, line, instruction) for frame, line, instruction in shown),
        left_out=len(calls) - len(shown),
        relation=relation,
        causes=tuple(causes),
    )


def _related(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    if isinstance(error, BaseExceptionGroup):
        for number, member in enumerate(error.exceptions, 1):
            yield member, f"Exception {number} of {len(error.exceptions)} in the group"
    if error.__cause__ is not None:
        yield error.__cause__, "It was caused by"
    elif error.__context__ is not None and not error.__suppress_context__:
        yield error.__context__, "It happened while this was handled"


def _notes(error: BaseException) -> list[Any]:
    notes = getattr(error, "__notes__", None)
    return list(notes) if isinstance(notes, (list, tuple)) else []


def _calls(traceback: TracebackType | None) -> Iterator[tuple[FrameType, int, int]]:
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno, traceback.tb_lasti
        traceback = traceback.tb_next


def _frame(frame: FrameType, line: int, instruction: int) -> Frame:
    code = frame.f_code
    return Frame(
        path=code.co_filename,
        line=line,
        function=code.co_qualname,
        library=is_library(code.co_filename),
        lines=_lines(frame, line, instruction),
        locals=_locals(frame.f_locals),
    )


def is_library(path: str) -> bool:
    """Whether a file is Python's, an installed package's or ours, rather than the application's."""
    return path.startswith(("<frozen", "fastnet_ext/", *_LIBRARIES)) or f"{os.sep}site-packages{os.sep}" in path


def short_path(path: str) -> str:
    """A path as seen from the current folder or from where it is installed, whichever says it shortest."""
    if not os.path.isabs(path):
        return path
    found = [path]
    for folder in (*sys.path, str(Path.cwd())):
        start = os.path.join(os.path.abspath(folder), "")
        if path.startswith(start) and start != os.sep:
            found.append(path[len(start) :])
    return min(found, key=len)


def _lines(frame: FrameType, line: int, instruction: int) -> tuple[Line, ...]:
    source = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
    first = max(line - CONTEXT, 1)
    return tuple(
        Line(
            number,
            text := source[number - 1].rstrip("\r\n")[:MAX_LINE],
            _marked(frame.f_code, instruction, number, text),
        )
        for number in range(first, min(line + CONTEXT, len(source)) + 1)
    )


def _marked(code: CodeType, instruction: int, number: int, text: str) -> tuple[int, int] | None:
    """Which characters of a line an instruction comes from; columns of code objects count bytes of UTF-8."""
    position = next(itertools.islice(code.co_positions(), instruction // 2, None), None) if instruction >= 0 else None
    start_line, end_line, start, end = position or (None, None, None, None)
    if start_line is None or end_line is None or start is None or end is None:
        return None
    if not start_line <= number <= end_line:
        return None
    raw = text.encode("utf-8", "replace")
    left = len(raw[:start].decode("utf-8", "ignore")) if number == start_line else len(text) - len(text.lstrip())
    right = len(raw[:end].decode("utf-8", "ignore")) if number == end_line else len(text)
    return (left, right) if left < right else None


def _locals(values: Mapping[str, Any]) -> tuple[Local, ...]:
    shown = [name for name in values if not name.startswith("__")][:MAX_LOCALS]
    return tuple(Local(name, HIDDEN if is_secret(name) else _value(values[name])) for name in shown)


class _Repr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = 8
        self.maxstring = self.maxother = self.maxlong = MAX_VALUE

    def repr_Headers(self, value: Headers, level: int) -> str:
        return self.repr1({name: HIDDEN if is_secret(name) else value[name] for name in value}, level)


def _value(value: Any) -> str:
    try:
        text = _Repr().repr(value)
    except Exception as error:
        # Of keys that cannot be compared, say; reprlib itself sees to a __repr__ that fails.
        return f"<{type(value).__name__}: its repr failed with {type(error).__name__}>"
    return mask_text(text)[:MAX_VALUE]


def _text(value: object, limit: int) -> str:
    try:
        text = str(value)
    except Exception as second:
        return f"<its text failed with {type(second).__name__}>"
    return text if len(text) <= limit else text[:limit] + "…"
