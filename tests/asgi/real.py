"""Real applications, served by ``fastnet run``, and a client that keeps cookies."""

from __future__ import annotations

import http.client
import http.cookies
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.architecture.sources import ROOT
from tests.server.service import Service, running

PROJECTS = ROOT / "tests" / "asgi" / "projects"


@dataclass
class Answer:
    """What came back, names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Browser:
    """Sends requests on connections of their own, and cookies back."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """An answer; an iterable body goes out in chunks."""
        sent = dict(headers or {})
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            found = Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
            for value in response.msg.get_all("set-cookie", []):
                for name, morsel in http.cookies.SimpleCookie(value).items():
                    self.cookies[name] = morsel.value
            return found
        finally:
            connection.close()

    def get(self, target: str, **headers: str) -> Answer:
        return self.ask("GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, target: str, **values: str) -> Answer:
        """A form."""
        return self.ask(
            "POST", target, urlencode(values).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
        )

    def upload(self, target: str, name: str, data: bytes, *, chunked: bool = False, **values: str) -> Answer:
        """A form with a file, with its length or in chunks."""
        parts = [
            f'--frontier\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in values.items()
        ]
        head = f'--frontier\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        body = b"".join([*parts, head, data, b"\r\n--frontier--\r\n"])
        pieces = (body[at : at + 50_000] for at in range(0, len(body), 50_000))
        return self.ask(
            "POST", target, pieces if chunked else body, {"Content-Type": "multipart/form-data; boundary=frontier"}
        )


@contextmanager
def project(folder: Path, place: str, *flags: str, workers: int = 1) -> Iterator[tuple[Service, Browser]]:
    """A project of ``projects/`` as a process, ready; its Django database is new."""
    environment = {"SHOP_DATABASE": str(folder / "shop.sqlite3"), "DJANGO_SETTINGS_MODULE": "django_shop.settings"}
    if "flask" not in place and "quart" not in place:
        subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--verbosity", "0"],
            env={**os.environ, **environment, "PYTHONPATH": str(PROJECTS), "PYTHONDONTWRITEBYTECODE": "1"},
            check=True,
            timeout=60,
        )
    more = ("--workers", str(workers)) if workers > 1 else ()
    with running(folder, "", "--app-dir", str(PROJECTS), *more, *flags, app=place, environment=environment) as service:
        if workers > 1:
            service.ready(workers)
        yield service, Browser(service.port)
