"""A hub over several workers: real processes, of which some are killed, replaced and added."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.service import WAIT, Service, running, until
from tests.wire.frames import UPGRADE, masked

pytestmark = pytest.mark.long

CODE = """
import os

from fastnet import App, WebSocket

app = App()
hub = app.hub()

@app.get("/members")
async def members() -> dict[str, object]:
    return {"pid": os.getpid(), "members": sorted(member.info for member in hub.members("tea"))}

@app.websocket("/tea")
async def tea(ws: WebSocket, name: str) -> None:
    await ws.send(str(os.getpid()))
    hub.join(ws, "tea", name)
    async for message in ws:
        hub.broadcast("tea", message)
"""


class Guest:
    """A WebSocket in the room, and the worker that has it."""

    def __init__(self, service: Service, name: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", service.port), WAIT)
        self.sock.settimeout(WAIT)
        self._data = b""
        self.sock.sendall("\r\n".join((f"GET /tea?name={name} HTTP/1.1", "host: t", *UPGRADE, "", "")).encode())
        while b"\r\n\r\n" not in self._data:
            self._more()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        assert b" 101 " in head.splitlines()[0], head
        self.name = name
        self.pid = int(self.message())

    def _more(self) -> None:
        data = self.sock.recv(1 << 20)
        if not data:
            raise EOFError("the server closed")
        self._data += data

    def say(self, text: str) -> None:
        self.sock.sendall(masked(1, text.encode()))

    def message(self) -> str:
        """The next message; frames of any size."""
        while len(self._data) < 10 and len(self._data) < 2 + (self._data[1] & 127 if len(self._data) > 1 else 0):
            self._more()
        size, start = self._data[1] & 127, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            while len(self._data) < start:
                self._more()
            size = int.from_bytes(self._data[2:start], "big")
        while len(self._data) < start + size:
            self._more()
        found, self._data = self._data[start : start + size], self._data[start + size :]
        return found.decode()

    def close(self) -> None:
        self.sock.close()


class Guests:
    """All that a test invites; they leave with it."""

    def __init__(self) -> None:
        self.invited: list[Guest] = []

    def invite(self, service: Service, name: str) -> Guest:
        guest = Guest(service, name)
        self.invited.append(guest)
        return guest

    def of_workers(self, service: Service, workers: int) -> list[Guest]:
        """Guests of so many different workers; more than that come and go."""
        found: dict[int, Guest] = {}

        def enough() -> bool:
            guest = self.invite(service, f"guest{len(found)}")
            if guest.pid in found:
                guest.close()
            else:
                found[guest.pid] = guest
            return len(found) == workers

        until(enough, f"connections to {workers} workers")
        return list(found.values())


@pytest.fixture
def house() -> Iterator[Guests]:
    guests = Guests()
    yield guests
    for guest in guests.invited:
        guest.close()


def present(service: Service, names: list[str], workers: int) -> None:
    """Wait until so many workers agree on who is there."""
    said: dict[int, list[str]] = {}

    def agreed() -> bool:
        answer = json.loads(service.get("/members"))
        said[answer["pid"]] = answer["members"]
        return list(said.values()).count(sorted(names)) >= workers

    until(agreed, f"{names} in {workers} workers")


@pytest.mark.parametrize("flags", [(), ("--preload",)], ids=["imported", "preloaded"])
def test_what_is_said_in_one_worker_is_heard_in_all(tmp_path: Path, house: Guests, flags: tuple[str, ...]) -> None:
    with running(tmp_path, CODE, "--workers", "3", *flags) as service:
        service.ready(3)
        guests = house.of_workers(service, 3)
        names = [guest.name for guest in guests]
        present(service, names, 3)
        for text in ("short", "x" * 200_000, "last"):
            guests[0].say(text)
            for guest in guests:
                assert guest.message() == text
        guests.pop().close()
        present(service, names[:2], 3)
        assert service.end() == 0


def test_a_worker_that_is_killed_takes_its_guests_with_it_and_its_successor_joins_in(
    tmp_path: Path, house: Guests
) -> None:
    with running(tmp_path, CODE, "--workers", "2") as service:
        service.ready(2)
        ada, bob = house.of_workers(service, 2)
        present(service, [ada.name, bob.name], 2)
        os.kill(bob.pid, signal.SIGKILL)
        service.ready(3)
        present(service, [ada.name], 2)
        # Some connection reaches the new one; it knows who was there before it.
        eve = ada
        while eve.pid == ada.pid:
            if eve is not ada:
                eve.close()
            eve = house.invite(service, "eve")
        present(service, [ada.name, "eve"], 2)
        ada.say("still here?")
        assert eve.message() == "still here?"
        eve.say("yes")
        assert [ada.message(), ada.message()] == ["still here?", "yes"]
        assert service.end() == 0


def test_rooms_outlive_a_reload(tmp_path: Path, house: Guests) -> None:
    """Also in the program that takes the supervisor's place: old workers and new ones share rooms until they end."""
    with running(tmp_path, CODE, "--workers", "2", "--timeout-drain", "20s") as service:
        service.ready(2)
        first = set(service.workers)
        service.tell(signal.SIGHUP)
        service.wait_for("all workers are new")
        guests = house.of_workers(service, 2)
        assert not first & {guest.pid for guest in guests}
        present(service, [guest.name for guest in guests], 2)
        guests[0].say("after")
        assert [guest.message() for guest in guests] == ["after", "after"]
        # A further one, which the others are told of.
        service.tell(signal.SIGTTIN)
        service.ready(5)
        present(service, [guest.name for guest in guests], 3)
        assert service.end() == 0
