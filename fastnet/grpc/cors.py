"""Which web pages of other origins may call: CORS (Fetch standard, 3.2) for gRPC-Web and Connect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import Response
from fastnet_ext.serve.grpc_dialects import SharedAnswers

__all__ = ["Cors"]

# What a page's client must be able to read of an answer, beside the metadata that `expose` names.
_EXPOSED: Final = ("grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding", "content-encoding")


class Cors:
    """The rule of an application; see ``GrpcServer.cors``."""

    def __init__(self, origins: Iterable[str], *, expose: Iterable[str], credentials: bool, max_age: int) -> None:
        self.origins = frozenset(origins)
        if not self.origins:
            raise ValueError('cors needs an origin: "https://app.example", or "*" for all of them')
        for origin in self.origins - {"*"}:
            _check_origin(origin)
        if credentials and "*" in self.origins:
            raise ValueError('credentials are for pages of origins that are named: "*" would be any page there is')
        if max_age < 0:
            raise ValueError(f"max_age is in seconds, at least 0, not {max_age}")
        self._expose = ", ".join((*_EXPOSED, *(name.lower() for name in expose)))
        self._credentials = credentials
        self._max_age = max_age

    def answers(self) -> SharedAnswers:
        """What writes the answers to pages of the origins."""
        fields: dict[str | None, list[tuple[bytes, bytes]]] = {origin: self._fields(origin) for origin in self.origins}
        fields[None] = [] if "*" in self.origins else [(b"vary", b"origin")]
        return SharedAnswers(fields)

    def _fields(self, origin: str) -> list[tuple[bytes, bytes]]:
        fields = [
            (b"access-control-allow-origin", origin.encode()),
            (b"access-control-expose-headers", self._expose.encode()),
        ]
        if self._credentials:
            fields.append((b"access-control-allow-credentials", b"true"))
        if origin != "*":
            fields.append((b"vary", b"origin"))
        return fields

    def preflight(self, request: Request[Any]) -> Response:
        """The answer to a browser that asks, by OPTIONS, what a page of its origin may send."""
        # Metadata are header fields that the method chooses, so any may be sent from an origin that may call.
        headers = {"allow": "GET, POST, OPTIONS", "vary": "origin, access-control-request-headers"}
        origin = request.headers.get("origin", "")
        allowed = origin if origin in self.origins else "*" if "*" in self.origins else None
        if allowed is not None and origin and "access-control-request-method" in request.headers:
            headers["access-control-allow-origin"] = allowed
            headers["access-control-allow-methods"] = "GET, POST"
            headers["access-control-max-age"] = str(self._max_age)
            wanted = request.headers.get("access-control-request-headers")
            if wanted:
                headers["access-control-allow-headers"] = wanted
            if self._credentials:
                headers["access-control-allow-credentials"] = "true"
        return Response(status_code=204, headers=headers)


def _check_origin(origin: str) -> None:
    parts = urlsplit(origin)
    if not parts.scheme or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}" or not origin.isascii():
        raise ValueError(f'{origin!r} is no origin: scheme, host and port, as in "https://app.example:8443"')
