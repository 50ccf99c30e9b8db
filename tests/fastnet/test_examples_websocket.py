"""The examples with WebSockets: over the wire, and in two tabs of a browser."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.browser import browsing
from tests.server.service import Service, running, until


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The chat, with two workers: who talks with whom is not decided by where they are."""
    folder = tmp_path_factory.mktemp("chat")
    with running(folder, "", "--workers", "2", app="examples.chat.service:app") as service:
        yield service.ready(2)


def test_who_is_in_a_room_hears_what_is_said(chat: Service) -> None:
    url = f"ws://127.0.0.1:{chat.port}/rooms/tea"
    with connect(f"{url}?name=ada") as ada, connect(f"{url}?name=bob") as bob:
        for one in (ada, bob):
            while json.loads(one.recv(20)) != {"kind": "present", "names": ["ada", "bob"]}:
                pass
        bob.send('{"text": "hello"}')
        for one in (ada, bob):
            assert json.loads(one.recv(20)) == {"kind": "said", "name": "bob", "text": "hello"}
        bob.close()
        assert json.loads(ada.recv(20)) == {"kind": "present", "names": ["ada"]}
    until(lambda: json.loads(chat.get("/rooms")) == {}, "an empty house")


@pytest.mark.parametrize("bad", ["not json", '{"text": ""}', '{"text": 1}', json.dumps({"text": "x" * 1001})])
def test_what_cannot_be_said_closes(chat: Service, bad: str) -> None:
    with connect(f"ws://127.0.0.1:{chat.port}/rooms/quiet?name=eve") as eve:
        assert json.loads(eve.recv(20)) == {"kind": "present", "names": ["eve"]}
        eve.send(bad)
        with pytest.raises(ConnectionClosed) as caught:
            eve.recv(20)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1007


def test_who_has_no_name_does_not_come_in(chat: Service) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(f"ws://127.0.0.1:{chat.port}/rooms/tea")
    assert caught.value.response.status_code == 422


def test_two_tabs_talk(chat: Service, tmp_path: Path) -> None:
    with browsing(tmp_path) as browser:
        base = f"http://127.0.0.1:{chat.port}/?room=tabs&name="
        ada, bob = browser.open(f"{base}Ada"), browser.open(f"{base}Bob")
        present = "document.querySelector('#present').textContent"
        for tab in (ada, bob):
            tab.until(f"{present} === 'here: Ada, Bob'")
        # Markup stays text.
        for tab, text in ((ada, "Hello <b>Bob</b>"), (bob, "Grüße \U0001f44b")):
            script = "document.querySelector('#text').value = %s; document.querySelector('form').requestSubmit()"
            tab.evaluate(script % json.dumps(text))
            for other in (ada, bob):
                lines = "[...document.querySelectorAll('#said li')].map(line => line.textContent)"
                other.until(f"{lines}.some(line => line.endsWith({json.dumps(text)}))")
        assert ada.evaluate("document.querySelectorAll('#said li').length") == 2
        assert ada.evaluate("document.querySelectorAll('#said li b').length") == 2
        bob.close()
        ada.until(f"{present} === 'here: Ada'")


# --- the dashboard


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("dashboard"), "", app="examples.dashboard.service:app") as service:
        yield service


def test_figures_are_pushed_as_binary_messages(dashboard: Service) -> None:
    with connect(f"ws://127.0.0.1:{dashboard.port}/figures") as client:
        times = []
        for _ in range(3):
            message = client.recv(20)
            assert isinstance(message, bytes)
            at, load, share, lag = struct.unpack("<4d", message)
            assert load >= 0
            assert share >= 0
            assert lag >= 0
            times.append(at)
        assert times == sorted(times)


def test_a_browser_shows_them(dashboard: Service, tmp_path: Path) -> None:
    with browsing(tmp_path) as browser:
        tab = browser.open(f"http://127.0.0.1:{dashboard.port}/")
        tab.until("received > 3")
        assert float(tab.evaluate("document.querySelector('#load').textContent")) >= 0
        assert "messages" in tab.evaluate("document.querySelector('#state').textContent")
