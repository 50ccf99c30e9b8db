"""Logs of the standard library: text for people, JSON for programs, with request ids and without secrets."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

import orjson

from fastnet.observability.masking import Mask
from fastnet_ext.serve.runner import current_request_id

if TYPE_CHECKING:
    from fastnet.server.config import Config

__all__ = ["FAMILIES", "JsonFormatter", "RequestFilter", "TextFormatter", "configure_logging", "number_logs"]

FAMILIES: Final = ("access", "connections", "error", "limits")
"""Loggers that have a child for each listener: ``fastnet.limits.main``. A listener's ``log_level`` is theirs."""

# What every record has; the rest was given with `extra=`.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "request_id",
    "worker",
    "taskName",
}

_COLOURS: Final = {logging.DEBUG: "2", logging.INFO: "32", logging.WARNING: "33", logging.ERROR: "31"}

# Controls, which could end a line or repaint a terminal.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class RequestFilter(logging.Filter):
    """Gives each record ``request_id`` (of the request that is being answered, or None) and ``worker``.

    It refuses nothing. Put it on handlers of your own to have request ids in your own formats.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self.worker = worker

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete the record; always True."""
        if getattr(record, "request_id", None) is None:
            record.request_id = current_request_id()
        if not hasattr(record, "worker"):
            record.worker = self.worker
        return True


def _message(record: logging.LogRecord) -> str:
    """The record's message; a mistake in its arguments must not cost the message."""
    try:
        return record.getMessage()
    except Exception as error:
        return f"{record.msg!r} with {record.args!r} ({type(error).__name__}: {error})"


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and not name.startswith("_")}


class TextFormatter(logging.Formatter):
    """One line a record: time, level, logger, message, what ``extra=`` gave, and the request's id; then the traceback.

    On a terminal the time is local and without its date.
    """

    def __init__(self, *, mask: Mask | None = None, terminal: bool = False, colours: bool = False) -> None:
        super().__init__()
        self.mask = mask or Mask()
        self.terminal = terminal
        self.colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record, without a line end."""
        mask = self.mask
        level = f"{record.levelname:<7}"
        if self.colours:
            level = f"\x1b[{_COLOURS.get(record.levelno, '1;31')}m{level}\x1b[0m"
        worker = getattr(record, "worker", None)
        name = record.name if worker is None else f"{record.name}[{worker}]"
        text = mask.text(_message(record))
        for key, value in _extra(record).items():
            text += f" {key}={mask.value(key, value)!r}"
        identity = getattr(record, "request_id", None)
        if identity is not None and identity not in text:
            text += f" [request {identity}]"
        lines = f"{self._time(record)} {level} {name}: {_harmless(text)}"
        for more in (_traceback(self, record), record.stack_info):
            if more:
                lines += "\n" + _harmless(mask.text(more), indent="")
        return lines

    def _time(self, record: logging.LogRecord) -> str:
        if self.terminal:
            return time.strftime("%H:%M:%S", time.localtime(record.created)) + f".{int(record.msecs):03}"
        return _rfc3339(record)


def _harmless(text: str, indent: str = "    ") -> str:
    """Text that repaints no terminal, and whose further lines cannot be taken for records."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text).replace("\n", f"\n{indent}")


def _rfc3339(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    if record.exc_info and record.exc_info[0] is not None:
        return formatter.formatException(record.exc_info)
    return record.exc_text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, ``request_id``, ``worker``,
    ``pid``, ``exception``, ``stack``, and what ``extra=`` gave."""

    def __init__(self, *, mask: Mask | None = None) -> None:
        super().__init__()
        self.mask = mask or Mask()

    def format(self, record: logging.LogRecord) -> str:
        """The object of a record, without a line end."""
        mask = self.mask
        members: dict[str, Any] = {
            "time": _rfc3339(record),
            "level": record.levelname,
            "logger": record.name,
            "message": mask.text(_message(record)),
            "request_id": getattr(record, "request_id", None),
            "worker": getattr(record, "worker", None),
            "pid": record.process,
            "exception": _traceback(self, record),
            "stack": record.stack_info,
        }
        members = {name: value for name, value in members.items() if value is not None}
        for name in ("exception", "stack"):
            if name in members:
                members[name] = mask.text(members[name])
        for name, value in _extra(record).items():
            members.setdefault(name, mask.value(name, value))
        return _dumps(members)


_OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z


def _dumps(members: dict[str, Any]) -> str:
    try:
        return orjson.dumps(members, default=_shown, option=_OPTIONS).decode()
    except (TypeError, ValueError):
        # Numbers above 64 bits, texts that are no Unicode, rings: as they show themselves.
        plain = {name: _shown(value).encode("utf-8", "backslashreplace").decode() for name, value in members.items()}
        return orjson.dumps(plain).decode()


def _shown(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that it is known when logging is configured again; ``source`` says where its records come from."""

    def __init__(self, place: TextIO) -> None:
        super().__init__(place)
        self.source = RequestFilter()
        self.addFilter(self.source)


def configure_logging(config: Config, *, stream: TextIO | None = None) -> None:
    """Log as the settings say: to standard error, as text on a terminal and as JSON elsewhere.

    Where the program has set up logging itself, its handlers stay and get our records; only levels are set, of the
    logger ``fastnet`` and of those of listeners. Otherwise the root gets our handler, so that the program's own records
    look the same. Called again, it replaces what it did.
    """
    root, ours = logging.getLogger(), logging.getLogger("fastnet")
    for logger in (root, ours):
        for known in [one for one in logger.handlers if isinstance(one, _Handler)]:
            logger.removeHandler(known)
    ours.setLevel(config.log_level.upper())
    for listener in config.listeners:
        for family in FAMILIES:
            # Unless it differs the parent's counts, so that a program may set that one.
            level = logging.NOTSET if listener.log_level == config.log_level else listener.log_level.upper()
            logging.getLogger(f"fastnet.{family}.{listener.name}").setLevel(level)
    if root.handlers or (ours.handlers and not ours.propagate):
        return
    place = sys.stderr if stream is None else stream
    handler = _Handler(place)
    handler.setFormatter(_formatter(config, place))
    if ours.handlers:
        # The program has handlers for our records: they would be shown twice.
        handler.addFilter(lambda record: not record.name.startswith("fastnet"))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if config.debug else logging.INFO)


def number_logs(worker: int) -> None:
    """From now on, the records of our handler say which worker's they are: its number among several.

    A forked process goes on with the handler of its supervisor: to make another, and to compile the expressions of its
    mask again, costs it 0.6 MiB of what it would share.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Handler):
            handler.source.worker = worker


def _formatter(config: Config, place: TextIO) -> logging.Formatter:
    terminal = is_terminal(place)
    mask = Mask(config.log_mask)
    if writes_json(config, place):
        return JsonFormatter(mask=mask)
    colours = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return TextFormatter(mask=mask, terminal=terminal, colours=colours)


def writes_json(config: Config, place: Any) -> bool:
    """Whether what is logged at that place is JSON."""
    return config.log_format == "json" or (config.log_format == "auto" and not is_terminal(place))


def is_terminal(place: Any) -> bool:
    """Whether a person reads what is written there."""
    with contextlib.suppress(Exception):
        return bool(place.isatty())
    return False
