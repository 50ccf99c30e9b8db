"""Rooms: who is in them, what they are sent, what becomes of those who are slow, and what hubs tell each other."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import websockets

from fastnet import App, WebSocket
from fastnet.channels.relay import Receiver
from fastnet.websocket import Hub, Member, WebSocketDisconnect
from tests.fastnet.test_websocket import dial
from tests.fastnet.test_websocket_callbacks import settled
from tests.loops import run
from tests.wire.bounds import KIB, MIB, beside, told
from tests.wire.frames import UPGRADE, masked
from tests.wire.live import Live, Peer, live, until


def chat(hub: Hub, app: App) -> None:
    @app.websocket("/{room}")
    async def talk(ws: WebSocket, room: str, name: str = "") -> None:
        hub.join(ws, room, name)
        await ws.send("joined")
        async for message in ws:
            hub.broadcast(room, message, exclude=ws)


def infos(hub: Hub, room: str) -> list[Any]:
    return [member.info for member in hub.members(room)]


# --- who is there


def test_a_room_hears_what_is_said_in_it() -> None:
    async def test() -> None:
        app = App()
        hub = app.hub()
        chat(hub, app)
        async with app.serve(port=0) as server:
            async with dial(server, "/tea") as ada, dial(server, "/tea") as bob, dial(server, "/else") as eve:
                for one in (ada, bob, eve):
                    assert await one.recv() == "joined"
                await ada.send("text")
                await ada.send(b"binary")
                assert [await bob.recv(), await bob.recv()] == ["text", b"binary"]
                await eve.send("for nobody")
                await bob.send("answer")
                assert await ada.recv() == "answer"  # and not what ada said herself
                assert hub.broadcast_json("tea", {"n": 1}) == 2
                assert msgspec.json.decode(await bob.recv()) == {"n": 1}
                assert hub.broadcast("nowhere", "x") == 0
            await settled(lambda: hub.rooms == [])
            assert hub.counters == {"sent": 5, "dropped": 0, "closed": 0}

    run(test())


def test_presence() -> None:
    async def test() -> None:
        app = App()
        hub = app.hub()
        chat(hub, app)
        events: list[Any] = []

        @hub.on_join
        def joined(room: str, member: Member) -> None:
            events.append(("join", room, member.info, member.here))

        @hub.on_leave
        def left(room: str, member: Member) -> None:
            events.append(("leave", room, member.info, infos(hub, room)))

        async with app.serve(port=0) as server:
            async with dial(server, "/tea?name=ada") as ada:
                await ada.recv()
                bob = await dial(server, "/tea?name=bob")
                await bob.recv()
                assert infos(hub, "tea") == ["ada", "bob"]
                assert len({member.id for member in hub.members("tea")}) == 2
                assert hub.rooms == ["tea"]
                bob.transport.abort()  # without a word
                await settled(lambda: infos(hub, "tea") == ["ada"])
            await settled(lambda: len(events) == 4)
            assert events == [
                ("join", "tea", "ada", True),
                ("join", "tea", "bob", True),
                ("leave", "tea", "bob", ["ada"]),
                ("leave", "tea", "ada", []),
            ]

    run(test())


def test_joining_and_leaving() -> None:
    async def test() -> None:
        app = App()
        hub, other = app.hub(), app.hub("other")
        done: list[Any] = []

        @app.websocket("/")
        async def handler(ws: WebSocket) -> None:
            first = hub.join(ws, "a", 1)
            assert hub.join(ws, "a", 2) == first  # already there
            assert hub.join(ws, "b").id == first.id
            other.join(ws, "a")
            assert hub.rooms_of(ws) == ["a", "b"]
            hub.leave(ws, "nowhere")
            hub.leave(ws, "a")
            hub.leave(ws, "a")
            assert (hub.rooms_of(ws), hub.rooms, other.rooms) == (["b"], ["b"], ["a"])
            assert other.broadcast("a", "once") == 1
            await ws.close()
            assert (hub.rooms, other.rooms) == ([], [])
            with pytest.raises(WebSocketDisconnect):
                hub.join(ws, "a")
            done.append(True)

        async with app.serve(port=0) as server, dial(server, "/") as client:
            assert await client.recv() == "once"
            await settled(lambda: done)

    run(test())


def test_callbacks_join_too() -> None:
    async def test() -> None:
        app = App()
        hub = app.hub()

        def on_open(ws: WebSocket, room: str) -> None:
            hub.join(ws, room)

        def on_message(ws: WebSocket, message: str) -> None:
            hub.broadcast("tea", message)

        app.websocket("/{room}", on_open=on_open, on_message=on_message)
        async with app.serve(port=0) as server:
            async with dial(server, "/tea") as client, dial(server, "/tea") as other:
                await client.send("x")
                assert [await client.recv(), await other.recv()] == ["x", "x"]
            await settled(lambda: hub.rooms == [])

    run(test())


def test_a_listener_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        app = App()
        hub = app.hub()
        chat(hub, app)
        heard: list[str] = []

        @hub.on_join
        def fails(room: str, member: Member) -> None:
            raise LookupError("secret")

        hub.on_join(lambda room, member: heard.append(room))
        async with app.serve(port=0) as server, dial(server, "/tea") as client:
            assert await client.recv() == "joined"
            assert heard == ["tea"]

    with caplog.at_level(logging.ERROR, "fastnet.error"):
        run(test())
    assert "LookupError: secret" in caplog.text


def test_nothing_is_left_of_those_who_have_gone() -> None:
    app = App()
    hub = app.hub()
    gone: list[weakref.ref[Any]] = []

    class Info:
        pass

    @app.websocket("/{room}")
    async def handler(ws: WebSocket, room: str) -> None:
        info = Info()
        gone.append(weakref.ref(info))
        hub.join(ws, room, info)
        hub.join(ws, room + "2", info)
        del info
        await ws.receive()

    with live(app) as server:
        for number in range(30):
            peer = opened(server, f"/{number}")
            if number % 3 == 0:
                peer.reset()
            elif number % 3 == 1:
                peer.send(masked(8)).rest()
            peer.sock.close()
        until(lambda: hub.rooms == [])
        server.settle()
        gc.collect()
        until(lambda: all(ref() is None for ref in gone))
    assert len(gone) == 30


def test_names_and_settings() -> None:
    app = App()
    assert [app.hub().name, app.hub("chat").name, app.hub().name] == ["0", "chat", "2"]
    with pytest.raises(ValueError, match="'chat' already"):
        app.hub("chat")
    with pytest.raises(ValueError, match="drop_oldest, drop_new, close"):
        app.hub("x", slow="wait")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one"):
        app.hub("y", queue=0)
    with pytest.raises(TypeError, match="str or bytes, not int"):
        app.hub("z").broadcast("room", 1)  # type: ignore[arg-type]


# --- who is slow

TARGET = "/tea"


def opened(server: Live, target: str = TARGET, **options: int) -> Peer:
    peer = server.peer(**options).get(target, *UPGRADE)
    assert peer.answer().status == 101
    return peer


def payload(peer: Peer) -> bytes:
    """The next message, of 126 to 65,535 bytes."""
    head = peer.exactly(4)
    assert head[:2] == b"\x82\x7e", head
    return peer.exactly(int.from_bytes(head[2:], "big"))


def storm(server: Live, hub: Hub, count: int, size: int = 60 * KIB) -> None:
    for number in range(count):
        server.call(hub.broadcast, "tea", number.to_bytes(4, "big") + bytes(size))


def slow_app(**options: Any) -> tuple[App, Hub]:
    app = App()
    hub = app.hub(**options)

    @app.get("/")
    async def index() -> str:
        return "fine"

    def on_open(ws: WebSocket, room: str) -> None:
        hub.join(ws, room)

    app.websocket("/{room}", on_open=on_open)
    return app, hub


@pytest.mark.limit("WebSocket: messages of a hub that wait for a connection", memory=True)
@pytest.mark.parametrize("policy", ["drop_oldest", "drop_new"])
def test_a_slow_connection_loses_messages_and_holds_up_nobody(policy: str) -> None:
    app, hub = slow_app(queue=8, slow=policy)
    with live(app) as server, opened(server, receive_buffer=4096) as slow, opened(server) as quick:
        with beside(server, keeps=8 * MIB):
            for number in range(300):
                server.call(hub.broadcast, "tea", number.to_bytes(4, "big") + bytes(60 * KIB))
                assert payload(quick)[:4] == number.to_bytes(4, "big")
        dropped = hub.counters["dropped"]
        assert dropped > 100
        numbers = [int.from_bytes(payload(slow)[:4], "big") for _ in range(300 - dropped)]
        assert numbers == sorted(numbers)
        assert numbers[0] == 0
        # The eight that waited were the last ones, or the first for which there was no room.
        last = numbers[-8:]
        assert last == (list(range(292, 300)) if policy == "drop_oldest" else list(range(last[0], last[0] + 8)))
        assert (last[-1] == 299) is (policy == "drop_oldest")
        # From now on it has everything again.
        server.call(hub.broadcast, "tea", b"again" + bytes(200))
        assert payload(slow).startswith(b"again")
        assert hub.counters["closed"] == 0
        assert len(hub.members("tea")) == 2


def test_a_slow_connection_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    app, hub = slow_app(queue=8, slow="close")
    with live(app) as server, opened(server, receive_buffer=4096) as slow:
        storm(server, hub, 200)
        assert server.call(hub.members, "tea") == []
        assert hub.counters["closed"] == 1
        assert server.counters["limit_slow"] == 1
        while slow.exactly(2) == b"\x82\x7e":
            slow.exactly(int.from_bytes(slow.exactly(2), "big"))
        assert slow.exactly(2) == (1013).to_bytes(2, "big")
    told(caplog, "slow", "8 messages", "slow= and queue= of the hub", "closed with 1013")


def test_few_large_messages_are_bounded_by_their_bytes() -> None:
    app, hub = slow_app(queue=1000, queue_bytes=256 * KIB)
    with live(app) as server, opened(server, receive_buffer=4096) as slow:
        storm(server, hub, 400)
        assert hub.counters["dropped"] > 200
        # What waits is the connection's, for the limit of a worker's memory.
        until(lambda: server.counters["bytes_buffered"] > 128 * KIB)
        assert server.counters["bytes_buffered"] < 2 * MIB
        # One that is larger than all that may wait is for nobody who is slow.
        assert server.call(hub.broadcast, "tea", bytes(300 * KIB)) == 0
        slow.reset()
        until(lambda: hub.rooms == [])
        server.settle()
        assert server.counters["bytes_buffered"] == 0


# --- other processes


class Wire:
    """Relays of processes that are all in this one; what is sent arrives when `deliver` is called."""

    def __init__(self) -> None:
        self.receivers: dict[str, Receiver] = {}
        self.waiting: list[tuple[str, str, bytes]] = []

    def relay(self, name: str) -> LocalRelay:
        return LocalRelay(self, name)

    def deliver(self) -> None:
        while self.waiting:
            sender, to, data = self.waiting.pop(0)
            if to in self.receivers:
                self.receivers[to].message(sender, data)

    def crash(self, name: str) -> None:
        del self.receivers[name]
        for receiver in self.receivers.values():
            receiver.left(name)


class LocalRelay:
    def __init__(self, wire: Wire, name: str) -> None:
        self.wire = wire
        self.name = name

    def start(self, receiver: Receiver) -> None:
        others = dict(self.wire.receivers)
        self.wire.receivers[self.name] = receiver
        for name, other in others.items():
            receiver.joined(name)
            other.joined(self.name)

    def publish(self, data: bytes) -> None:
        for name in self.wire.receivers:
            if name != self.name:
                self.send(name, data)

    def send(self, peer: str, data: bytes) -> None:
        self.wire.waiting.append((self.name, peer, data))

    def stop(self) -> None:
        if self.name in self.wire.receivers:
            self.wire.crash(self.name)


class Process:
    """An app with its hub, and what its listeners heard."""

    def __init__(self, wire: Wire, name: str) -> None:
        self.app = App()
        self.hub = self.app.hub("chat")
        chat(self.hub, self.app)
        self.events: list[tuple[str, str, Any, bool]] = []
        self.hub.on_join(self._note("join"))
        self.hub.on_leave(self._note("leave"))
        self.relay = wire.relay(name)

    def _note(self, kind: str) -> Callable[[str, Member], None]:
        return lambda room, member: self.events.append((kind, room, member.info, member.here))


def test_members_and_messages_of_other_processes() -> None:
    async def test() -> None:
        wire = Wire()
        one, two = Process(wire, "one"), Process(wire, "two")
        one.app.hubs.connect(one.relay)
        async with one.app.serve(port=0) as here, two.app.serve(port=0) as there:
            async with dial(here, "/tea?name=ada") as ada:
                await ada.recv()
                # A process that comes later learns who is there already.
                two.app.hubs.connect(two.relay)
                wire.deliver()
                assert infos(two.hub, "tea") == ["ada"]
                assert two.hub.rooms == ["tea"]
                async with dial(there, "/tea?name=bob") as bob:
                    await bob.recv()
                    wire.deliver()
                    assert sorted(infos(one.hub, "tea")) == ["ada", "bob"]
                    assert [member.here for member in one.hub.members("tea")] == [True, False]
                    assert one.hub.members("tea")[0] == two.hub.members("tea")[1]
                    await ada.send("text")
                    await ada.send(b"binary")
                    await settled(lambda: len(wire.waiting) == 2)
                    wire.deliver()
                    assert [await bob.recv(), await bob.recv()] == ["text", b"binary"]
                    assert two.hub.broadcast("tea", "near", here=True) == 1
                    assert await bob.recv() == "near"
                    assert wire.waiting == []
                await settled(lambda: len(wire.waiting) == 1)
                wire.deliver()
                assert infos(one.hub, "tea") == ["ada"]
            await settled(lambda: wire.waiting)
            wire.deliver()
            assert (one.hub.rooms, two.hub.rooms) == ([], [])
        ada_and_bob = [("join", "ada"), ("join", "bob"), ("leave", "bob"), ("leave", "ada")]
        for process, own in ((one, "ada"), (two, "bob")):
            assert [(kind, info) for kind, _, info, _ in process.events] == ada_and_bob
            assert all(here is (info == own) for _, _, info, here in process.events)

    run(test())


def test_one_relay_takes_the_place_of_another() -> None:
    async def test() -> None:
        workers, broker = Wire(), Wire()
        one, two = Process(workers, "one"), Process(broker, "two")
        one.app.hubs.connect(one.relay)
        one.app.hubs.connect(broker.relay("one"))
        assert workers.receivers == {}
        two.app.hubs.connect(two.relay)
        one.hub.broadcast("tea", "x")
        assert {(sender, to) for sender, to, _ in broker.waiting} == {("one", "two"), ("two", "one")}
        one.app.hubs.disconnect()
        one.app.hubs.disconnect()
        assert list(broker.receivers) == ["two"]

    run(test())


def test_a_process_that_crashes_takes_its_members_with_it() -> None:
    async def test() -> None:
        wire = Wire()
        one, two = Process(wire, "one"), Process(wire, "two")
        for process in (one, two):
            process.app.hubs.connect(process.relay)
        async with two.app.serve(port=0) as there, dial(there, "/tea?name=bob") as bob:
            await bob.recv()
            wire.deliver()
            assert infos(one.hub, "tea") == ["bob"]
            wire.crash("two")
            assert one.hub.rooms == []
            assert one.events[-1] == ("leave", "tea", "bob", False)

    run(test())


def test_a_state_that_comes_again_is_compared() -> None:
    """After a loss: who is known stays without a word, who is not there any more leaves."""
    wire = Wire()
    one = Process(wire, "one")

    async def test() -> None:
        one.app.hubs.connect(one.relay)
        heard = wire.receivers["one"].message
        heard("two", msgspec.msgpack.encode(("state", "chat", {"tea": [("1", "ada"), ("2", "bob")]})))
        heard("two", msgspec.msgpack.encode(("state", "chat", {"tea": [("2", "bob"), ("3", "eve")], "x": [("2", 1)]})))
        heard("two", msgspec.msgpack.encode(("left", "chat", "tea", "9")))
        heard("two", msgspec.msgpack.encode(("joined", "chat", "tea", "2", "bob")))
        one.app.hubs.disconnect()

    run(test())
    counts: defaultdict[str, list[Any]] = defaultdict(list)
    for kind, _, info, _ in one.events:
        counts[kind].append(info)
    assert counts == {"join": ["ada", "bob", "eve", 1], "leave": ["ada"]}


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x91", msgspec.msgpack.encode(["state", "chat", 3]), msgspec.msgpack.encode(("left", "chat"))],
)
def test_what_cannot_be_understood_is_dropped(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire()
    one = Process(wire, "one")

    async def test() -> None:
        one.app.hubs.connect(one.relay)
        wire.receivers["one"].message("two", data)
        wire.receivers["one"].message("two", msgspec.msgpack.encode(("state", "unknown", {})))

    run(test())
    assert one.hub.rooms == []
    assert caplog.text.count("cannot be understood") == 1


def test_info_is_what_others_can_be_told() -> None:
    async def test() -> None:
        wire = Wire()
        one = Process(wire, "one")
        one.app.hubs.connect(one.relay)

        @one.app.websocket("/")
        async def handler(ws: WebSocket) -> None:
            with pytest.raises(TypeError):
                one.hub.join(ws, "tea", object())
            assert one.hub.rooms == []
            await ws.send("still here")

        async with one.app.serve(port=0) as server, dial(server, "/") as client:
            assert await client.recv() == "still here"
            with pytest.raises(websockets.ConnectionClosedOK):
                await client.recv()
            assert asyncio.get_running_loop().is_running()

    run(test())
