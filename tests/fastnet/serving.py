"""An app on a free port in a thread of its own, and a client from the standard library."""

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastnet import App
from tests.loops import run


@dataclass
class Answer:
    """What came back; header names in lower case, several fields of one name in ``all``."""

    status: int
    headers: dict[str, str]
    all: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection per request, so that tests do not depend on each other."""

    def __init__(self, port: int) -> None:
        self.port = port

    def request(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, target, body, dict(headers or {}))
            response = connection.getresponse()
            fields = [(name.lower(), value) for name, value in response.getheaders()]
            return Answer(response.status, dict(fields), fields, response.read())
        finally:
            connection.close()

    def get(self, target: str, **headers: str) -> Answer:
        return self.request("GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, target: str, body: bytes, content_type: str = "application/json") -> Answer:
        return self.request("POST", target, body, {"content-type": content_type})


@contextmanager
def serving(app: App) -> Iterator[Client]:
    """The app, served until the block ends; what its start-up raises comes out here."""
    ready = threading.Event()
    state: dict[str, Any] = {}

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        async with app.serve(port=0) as server:
            state["port"] = server.port
            state["stop"] = lambda: loop.call_soon_threadsafe(stop.set)
            ready.set()
            await stop.wait()

    def target() -> None:
        try:
            run(main())
        except BaseException as error:
            state["error"] = error
        finally:
            ready.set()

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    assert ready.wait(10)
    if "error" not in state:
        try:
            yield Client(state["port"])
        finally:
            state["stop"]()
            thread.join(15)
            assert not thread.is_alive()
    if "error" in state:
        raise state["error"]
