"""What a WSGI application (PEP 3333) is given, and what it answers with: environ, streams, the checked head."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes
from wsgiref.util import is_hop_by_hop

from fastnet._version import __version__

from .types import Message, Scope

__all__ = ["BodyReader", "ErrorLog", "Head", "check_bytes", "environ_of"]

SOFTWARE: Final = f"fastnet/{__version__}"

_STATUS: Final = re.compile(r"[2-9][0-9]{2}(?: [ \t\x21-\x7e\x80-\xff]*)?")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[ \t\x21-\x7e\x80-\xff]*")


def environ_of(scope: Scope) -> dict[str, Any]:
    """The environ of an ``http`` scope, without the streams that the caller adds.

    Text is what PEP 3333 wants: each character stands for a byte. Paths are made of ``raw_path`` where the scope has
    it, so that bytes that are no UTF-8 come through.
    """
    raw_path = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    # Some clients' transports leave the query in.
    raw_path = raw_path.partition(b"?")[0]
    query = scope.get("query_string", b"").decode("latin-1")
    script_name, path_info = _paths(scope["path"], raw_path, scope.get("root_path", ""))
    scheme = scope.get("scheme", "http")
    version = scope.get("http_version", "1.1")
    target = raw_path.decode("latin-1") + (f"?{query}" if query else "")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": f"HTTP/{version if '.' in version else version + '.0'}",
        "SERVER_SOFTWARE": SOFTWARE,
        "REQUEST_URI": target,
        "RAW_URI": target,
        "REMOTE_ADDR": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.multithread": True,
        # A server may have any number of workers; nothing in the scope tells.
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        # Bodies end where they end, with a Content-Length and without.
        "wsgi.input_terminated": True,
    }
    if scheme == "https":
        environ["HTTPS"] = "on"
    client = scope.get("client")
    if client is not None:
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
    _add_headers(environ, scope["headers"])
    environ["SERVER_NAME"], environ["SERVER_PORT"] = _server(scope, environ.get("HTTP_HOST", ""), scheme)
    return environ


def _paths(path: str, raw_path: bytes, root_path: str) -> tuple[str, str]:
    """SCRIPT_NAME and PATH_INFO. ``root_path`` is the begin of the path, or a proxy has cut it off already."""
    root_path = root_path.rstrip("/")
    if not root_path and b"%" not in raw_path:
        return "", raw_path.decode("latin-1")
    root = root_path.encode("utf-8", "surrogateescape")
    whole = unquote_to_bytes(raw_path)
    # Where bytes were no UTF-8 the two may differ; then the decoded path has the last word on what is below the root.
    for candidate, start in ((whole, root), (path.encode("utf-8", "surrogateescape"), root)):
        rest = candidate[len(start) :]
        if candidate.startswith(start) and (not rest or rest.startswith(b"/")):
            return start.decode("latin-1"), rest.decode("latin-1")
    return root.decode("latin-1"), whole.decode("latin-1")


@lru_cache(256)
def _key_of(raw_name: bytes) -> str | None:
    """The key of a field. `X_User` would arrive as what a proxy's `X-User` is: None, as with gunicorn and nginx."""
    if b"_" in raw_name:
        return None
    name = raw_name.decode("latin-1").upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"


def _add_headers(environ: dict[str, Any], headers: Any) -> None:
    for raw_name, raw_value in headers:
        key = _key_of(raw_name)
        if key is None:
            continue
        value = raw_value.decode("latin-1")
        if key in environ:
            # HTTP/2 may cut a Cookie into several fields (RFC 9113, 8.2.3); others are lists (RFC 9110, 5.3).
            value = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + value
        environ[key] = value


def _server(scope: Scope, host: str, scheme: str) -> tuple[str, str]:
    """SERVER_NAME and SERVER_PORT, which are never empty: behind a Unix socket the Host field has to do."""
    server = scope.get("server")
    if server is not None and server[1] is not None:
        return server[0], str(server[1])
    name, port = host, ""
    if not host.endswith("]"):
        before, colon, after = host.rpartition(":")
        if colon and after.isdecimal():
            name, port = before, after
    return name or "localhost", port or ("443" if scheme == "https" else "80")


class Head:
    """Status and fields of an answer, checked. Raises ``TypeError`` and ``ValueError``."""

    def __init__(self, method: str, status: str, headers: Iterable[tuple[str, str]]) -> None:
        if not isinstance(status, str) or not _STATUS.fullmatch(status):
            raise ValueError(f"{status!r} is no status: write it as '200 OK', from 200 on and without line breaks")
        self.status = int(status[:3])
        self.bodiless = method == "HEAD" or self.status in (204, 304)
        self.length: int | None = None
        self.fields: list[tuple[bytes, bytes]] = []
        for name, value in headers:
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"header fields are pairs of str, not {name!r} with a {type(value).__name__}")
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a header field")
            if not _VALUE.fullmatch(value):
                # The value may be a secret.
                raise ValueError(f"the value of {name} has line breaks, control characters or no Latin-1")
            # The connection is the server's (RFC 9110, 7.6.1).
            if not is_hop_by_hop(name):
                self._add(name.lower(), value.strip(" \t"))

    def _add(self, name: str, value: str) -> None:
        if name == "content-length":
            if self.length is not None or not (value.isascii() and value.isdecimal()):
                raise ValueError(f"Content-Length is one number of bytes, not {value!r}")
            if self.status == 204:
                return
            self.length = int(value)
        self.fields.append((name.encode("latin-1"), value.encode("latin-1")))

    def set_length(self, length: int) -> None:
        """Say how long the body is, where the application has not and it may be said (RFC 9110, 8.6)."""
        if self.length is None and self.status not in (204, 304):
            self._add("content-length", str(length))

    def message(self) -> Message:
        """What begins the answer."""
        return {"type": "http.response.start", "status": self.status, "headers": self.fields}


def check_bytes(data: object) -> None:
    """Raise ``TypeError`` for what is no piece of an answer."""
    if not isinstance(data, bytes):
        raise TypeError(f"a WSGI application answers with bytes, not {type(data).__name__}")


class BodyReader(io.RawIOBase):
    """``wsgi.input`` below its buffer; ``read_piece`` waits for bytes, and gives none at the end."""

    def __init__(self, read_piece: Callable[[], bytes]) -> None:
        self._read_piece = read_piece
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:
        if not self._rest:
            self._rest = memoryview(self._read_piece())
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class ErrorLog(io.TextIOBase):
    """``wsgi.errors``: each line becomes a record of the log."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        lines, newline, self._text = (self._text + text).rpartition("\n")
        if newline:
            self._log.error("%s", lines)
        return len(text)

    def flush(self) -> None:
        if self._text:
            self._log.error("%s", self._text)
            self._text = ""
