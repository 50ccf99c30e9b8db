"""The page that a browser gets for a handler's exception in debug mode: one file, no script, nothing fetched."""

from __future__ import annotations

import html
import platform
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any, Final

from fastnet._version import __version__
from fastnet_ext.exchange.exchange import Route
from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import Response

from .frames import Failure, Frame, Line, failure_of, short_path
from .secrets import HIDDEN, is_secret, mask_query, mask_text

__all__ = ["error_page", "traceback_lines", "wants_page"]

_TEMPLATE: Final = Template((Path(__file__).parent / "page.html").read_text("utf-8"))

# The page brings its style and nothing else; what slipped through the escaping could not run.
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
# Characters that a page must not hold, and those that turn the direction of text: shown by their numbers.
_INVISIBLE: Final = {number: f"\\x{number:02x}" for number in (*range(9), 11, 12, *range(14, 32), *range(127, 160))} | {
    number: f"\\u{number:04x}" for number in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)
}

MAX_TRACEBACK: Final = 500


def wants_page(accept: str) -> bool:
    """Whether an Accept field asks for HTML rather than JSON: browsers name it, others do not."""
    wanted = {"html": 0.0, "json": 0.0}
    for item in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if kind in ("text/html", "application/xhtml+xml"):
            wanted["html"] = max(wanted["html"], quality)
        elif kind == "application/json" or kind.endswith("+json"):
            wanted["json"] = max(wanted["json"], quality)
    return wanted["html"] > 0 and wanted["html"] >= wanted["json"]


def traceback_lines(error: BaseException) -> list[str]:
    """The traceback as Python prints it, line by line, secrets hidden; bounded."""
    text = "".join(traceback.format_exception(error, limit=-60))
    lines = [mask_text(line) for line in text.splitlines()]
    return lines if len(lines) <= MAX_TRACEBACK else [*lines[:MAX_TRACEBACK], "…"]


def error_page(request: Request[Any], error: BaseException) -> Response:
    """The answer 500 with all that is known of an exception and its request."""
    failure = failure_of(error)
    route = request.route
    page = _TEMPLATE.substitute(
        title=_text(f"{failure.kind}: {failure.message}"[:120]),
        request=_text(f"{request.method} {_target(request)}"),
        kind=_text(failure.kind),
        message=_text(failure.message),
        notes=_notes(failure),
        facts=_facts(request, route),
        failures=_frames(failure, heading="Traceback") + "".join(_cause(cause) for cause in failure.causes),
        request_table=_table(_request_rows(request)),
        headers=_table(
            (name, HIDDEN if is_secret(name) else mask_text(value)) for name, value in request.headers.multi_items()
        ),
        server=_table(_server_rows()),
        text=_text("\n".join(traceback_lines(error))),
    )
    return Response(page, 500, media_type="text/html", headers=_HEADERS)


# --- pieces


def _text(text: str) -> str:
    """Text that no browser takes for anything else."""
    plain = text.translate(_INVISIBLE).encode("utf-8", "backslashreplace").decode("utf-8")
    return html.escape(plain, quote=True)


def _target(request: Request[Any]) -> str:
    path = request.raw_path.decode("latin-1")
    query = request.query_string.decode("latin-1")
    return f"{path}?{mask_query(query)}" if query else path


def _facts(request: Request[Any], route: Route | None) -> str:
    facts = [("Request", request.id)]
    if route is not None and route.path:
        facts.append(("Route", f"{' '.join(route.methods)} {route.path}"))
    if route is not None and route.handler is not None:
        facts.append(("Handler", _place(route.handler)))
    return "".join(f"<span>{_text(name)} <b>{_text(value)}</b></span>" for name, value in facts)


def _place(handler: Any) -> str:
    name = getattr(handler, "__qualname__", repr(handler))
    code = getattr(handler, "__code__", None)
    return name if code is None else f"{name} ({short_path(code.co_filename)}:{code.co_firstlineno})"


def _notes(failure: Failure) -> str:
    return "".join(f'<p class="note">{_text(note)}</p>' for note in failure.notes)


def _cause(failure: Failure) -> str:
    return (
        f'<section class="cause"><p class="relation">{_text(failure.relation)}</p><h3>{_text(failure.kind)}</h3>'
        f'<p class="message">{_text(failure.message)}</p>{_notes(failure)}{_frames(failure)}'
        f"{''.join(_cause(cause) for cause in failure.causes)}</section>"
    )


def _frames(failure: Failure, heading: str = "") -> str:
    if not failure.frames:
        return ""
    only_libraries = all(frame.library for frame in failure.frames)
    frames = [
        _frame(frame, is_open=not frame.library or (only_libraries and frame is failure.frames[-1]))
        for frame in failure.frames
    ]
    if failure.left_out:
        frames.insert(
            len(frames) // 2, f'<div class="left-out">{failure.left_out} calls in between are left out.</div>'
        )
    title = f"<h2>{_text(heading)} <small>(the last call is the one that failed)</small></h2>" if heading else ""
    return f'{title}<div class="frames">{"".join(frames)}</div>'


def _frame(frame: Frame, *, is_open: bool) -> str:
    folder, slash, name = short_path(frame.path).rpartition("/")
    current = frame.current
    preview = f'<span class="preview">{_text(current.text.strip())}</span>' if current is not None else ""
    source = (
        f'<div class="source">{"".join(_line(line, frame.line) for line in frame.lines)}</div>' if frame.lines else ""
    )
    rows = _table(((local.name, local.value) for local in frame.locals), "locals")
    return (
        f'<details class="{"library" if frame.library else "own"}"{" open" if is_open else ""}><summary>'
        f'<span class="where">{_text(folder + slash)}<b>{_text(name)}:{frame.line}</b></span> '
        f'<span class="in">in</span> <span class="where"><b>{_text(frame.function)}</b></span>{preview}</summary>'
        f"{source}{rows}</details>"
    )


def _line(line: Line, current: int) -> str:
    text = line.text
    if line.marked is None:
        shown = _text(text)
    else:
        start, end = line.marked
        shown = f"{_text(text[:start])}<mark>{_text(text[start:end])}</mark>{_text(text[end:])}"
    return f"<div{' class=now' if line.number == current else ''}><i>{line.number}</i><span>{shown or ' '}</span></div>"


def _table(rows: Iterable[tuple[str, str]], kind: str = "") -> str:
    cells = "".join(f"<tr><th scope=row>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows)
    return f'<table class="{kind}">{cells}</table>' if cells else ""


def _request_rows(request: Request[Any]) -> list[tuple[str, str]]:
    rows = [
        ("method", request.method),
        ("path", request.path),
        ("protocol", f"HTTP/{request.http_version} ({request.scheme})"),
    ]
    if request.client is not None:
        rows.append(("client", f"{request.client.host} port {request.client.port}"))
    rows += [(f"path: {name}", HIDDEN if is_secret(name) else value) for name, value in request.path_params.items()]
    query = mask_query(request.query_string.decode("latin-1"))
    return rows + [("query", part) for part in query.split("&") if part][:100]


def _server_rows() -> list[tuple[str, str]]:
    return [
        ("fastnet", __version__),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("system", platform.platform(terse=True)),
        ("command", mask_text(" ".join(sys.orig_argv))[:400]),
        ("folder", str(Path.cwd())),
    ]
