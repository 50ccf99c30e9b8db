"""Rooms of WebSockets: who is there, and what is sent to all of them, in this process and in the others."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from fastnet.channels.relay import Receiver, Relay
from fastnet_ext.serve.hub import Rooms
from fastnet_ext.serve.json import JsonEncoder
from fastnet_ext.serve.websocket import WebSocket
from fastnet_ext.serve.websocket_driver import SharedMessage

__all__ = ["Hub", "Hubs", "Member"]

log = logging.getLogger("fastnet.error")

Listener = Callable[[str, "Member"], object]
ListenerT = TypeVar("ListenerT", bound=Listener)


# --- what hubs tell each other


class _Notice(msgspec.Struct, array_like=True, tag=True):
    hub: str


class _Said(_Notice, tag="said"):
    room: str
    is_text: bool
    payload: bytes


class _Joined(_Notice, tag="joined"):
    room: str
    id: str
    info: Any


class _Left(_Notice, tag="left"):
    room: str
    id: str


class _State(_Notice, tag="state"):
    """All members of a process, (id, info) by room, for one that knows of none."""

    rooms: dict[str, list[tuple[str, Any]]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Said | _Joined | _Left | _State).decode


@dataclass(frozen=True, slots=True)
class Member:
    """A connection in a room, in whichever process it is.

    ``id`` is the connection's own, in all rooms of the hub and in all processes, ``info`` what ``join`` was given,
    ``here`` whether the connection is one of this process.
    """

    id: str
    info: Any = None
    here: bool = field(default=True, compare=False)


class Hub:
    """Rooms of WebSocket connections, made by ``app.hub()``.

    A connection that ends leaves its rooms; a room in which nobody is does not exist. All methods are to be called on
    the event loop, and none waits.

    With several workers, broadcasts reach the members in all of them, and ``members`` knows all. What a worker was told
    by another is as old as its way: two that look at the same moment may see different members.
    """

    def __init__(
        self,
        name: str,
        encoder: JsonEncoder,
        *,
        queue: int = 64,
        queue_bytes: int = 1024 * 1024,
        slow: str = "drop_oldest",
    ) -> None:
        self.name = name
        self._encoder = encoder
        self._rooms = Rooms(self._ended, queue=queue, queue_bytes=queue_bytes, slow=slow)
        self._on_join: list[Listener] = []
        self._on_leave: list[Listener] = []
        self._relay: Relay | None = None
        # The members elsewhere, by peer, room and id.
        self._remote: dict[str, dict[str, dict[str, Member]]] = {}

    # --- who is there

    def join(self, ws: WebSocket[Any, Any], room: str, info: Any = None) -> Member:
        """Let a connection have what is sent to a room; its member.

        ``info``: what others see of it (a name, a dict …), made of what MessagePack knows. A connection that is there
        already stays, with the info that it has. Answers the hand-shake where that was not done; raises
        ``WebSocketDisconnect`` when the connection is closed.
        """
        there = self._rooms.rooms_of(ws)
        if room in there:
            member: Member = there[room]
            return member
        # One connection has one id in all its rooms.
        known = next(iter(there.values()), None)
        member = Member(known.id if known is not None else os.urandom(8).hex(), info)
        # Encoded before anything is done, as it may raise.
        told = self._notice(_Joined(self.name, room, member.id, info))
        self._rooms.join(ws, room, member)
        self._publish(told)
        self._tell(self._on_join, room, member)
        return member

    def leave(self, ws: WebSocket[Any, Any], room: str) -> None:
        """Take a connection out of a room; nothing happens when it is not there."""
        member = self._rooms.leave(ws, room)
        if member is not None:
            self._ended(room, member)

    def members(self, room: str) -> list[Member]:
        """Who is in a room: those of this process first."""
        found: list[Member] = self._rooms.members(room)
        for rooms in self._remote.values():
            found += rooms.get(room, {}).values()
        return found

    @property
    def rooms(self) -> list[str]:
        """The names of the rooms in which somebody is, in this process or another."""
        names = dict.fromkeys(self._rooms.names)
        for rooms in self._remote.values():
            names.update(dict.fromkeys(rooms))
        return list(names)

    def rooms_of(self, ws: WebSocket[Any, Any]) -> list[str]:
        """The names of the rooms that a connection is in."""
        return list(self._rooms.rooms_of(ws))

    def on_join(self, listener: ListenerT) -> ListenerT:
        """A decorator: have ``listener(room, member)`` called when somebody joins, in each process.

        To tell the room, broadcast with ``here=True``: otherwise each process would tell all of them.
        """
        self._on_join.append(listener)
        return listener

    def on_leave(self, listener: ListenerT) -> ListenerT:
        """The same, when somebody leaves or has gone; with its process, too."""
        self._on_leave.append(listener)
        return listener

    # --- what is sent there

    def broadcast(
        self,
        room: str,
        message: str | bytes | bytearray | memoryview,
        *,
        exclude: WebSocket[Any, Any] | None = None,
        here: bool = False,
    ) -> int:
        """Send a message to everybody in a room; to how many connections of this process.

        ``str`` goes out as text, the rest as a binary message. ``exclude``: the connection that does not get it.
        ``here``: to those of this process only. It is encoded once, and written at the end of this turn of the loop.
        A peer that is slow has it later, or not at all: see ``slow`` of ``app.hub()``. Raises ``TypeError`` for other
        values, and ``UnicodeEncodeError`` for text with surrogates.
        """
        shared = SharedMessage(message)
        if not here:
            self._publish(self._notice(_Said(self.name, room, shared.is_text, shared.payload)))
        return self._rooms.broadcast(room, shared, exclude)

    def broadcast_json(
        self, room: str, value: Any, *, exclude: WebSocket[Any, Any] | None = None, here: bool = False
    ) -> int:
        """The same with a value as JSON, in the dialect of the application's answers."""
        return self.broadcast(room, self._encoder.encode(value).decode(), exclude=exclude, here=here)

    @property
    def counters(self) -> dict[str, int]:
        """Of this process, since its start: messages to single connections that were ``sent`` and ``dropped``, and
        connections that were ``closed`` for being slow."""
        return self._rooms.counters

    # --- how it works

    def _ended(self, room: str, member: Member) -> None:
        self._publish(self._notice(_Left(self.name, room, member.id)))
        self._tell(self._on_leave, room, member)

    def _tell(self, listeners: list[Listener], room: str, member: Member) -> None:
        for listener in listeners:
            try:
                listener(room, member)
            except Exception:
                log.exception("a listener of the hub %r failed", self.name)

    def _notice(self, notice: _Notice) -> bytes:
        return _encode(notice) if self._relay is not None else b""

    def _publish(self, data: bytes) -> None:
        if self._relay is not None:
            self._relay.publish(data)

    # --- the other processes, by way of `Hubs`

    def connect(self, relay: Relay | None) -> None:
        """Share the rooms by a relay; None ends that."""
        self._relay = relay
        if relay is None:
            self._remote.clear()

    def state(self) -> bytes:
        """All members of this process, for a peer that knows of none."""
        rooms = {room: [(member.id, member.info) for member in self._rooms.members(room)] for room in self._rooms.names}
        return _encode(_State(self.name, rooms))

    def receive(self, peer: str, notice: _Notice) -> None:
        """What the hub of another process says."""
        if isinstance(notice, _Said):
            payload = notice.payload
            self._rooms.broadcast(notice.room, SharedMessage(payload.decode() if notice.is_text else payload))
        elif isinstance(notice, _Joined):
            self._joined(peer, notice.room, Member(notice.id, notice.info, here=False))
        elif isinstance(notice, _Left):
            self._left(peer, notice.room, notice.id)
        elif isinstance(notice, _State):
            self._settle(peer, notice.rooms)

    def gone(self, peer: str) -> None:
        """A process has ended, and all its connections with it."""
        self._settle(peer, {})

    def _joined(self, peer: str, room: str, member: Member) -> None:
        members = self._remote.setdefault(peer, {}).setdefault(room, {})
        new = member.id not in members
        members[member.id] = member
        if new:
            self._tell(self._on_join, room, member)

    def _left(self, peer: str, room: str, key: str) -> None:
        rooms = self._remote.get(peer, {})
        members = rooms.get(room, {})
        member = members.pop(key, None)
        if member is None:
            return
        if not members:
            del rooms[room]
        if not rooms:
            del self._remote[peer]
        self._tell(self._on_leave, room, member)

    def _settle(self, peer: str, rooms: dict[str, list[tuple[str, Any]]]) -> None:
        """Make what is known of a peer what it says that it has."""
        there = {room: {key for key, _ in members} for room, members in rooms.items()}
        for room, members in list(self._remote.get(peer, {}).items()):
            for key in list(members):
                if key not in there.get(room, ()):
                    self._left(peer, room, key)
        for room, entries in rooms.items():
            for key, info in entries:
                self._joined(peer, room, Member(key, info, here=False))


class Hubs:
    """The hubs of an application, and the relay that they share."""

    def __init__(self) -> None:
        self._hubs: dict[str, Hub] = {}
        self._relay: Relay | None = None

    def __iter__(self) -> Iterator[Hub]:
        return iter(self._hubs.values())

    def add(self, hub: Hub) -> None:
        """Raises ``ValueError`` when there is one of that name."""
        if hub.name in self._hubs:
            raise ValueError(f"there is a hub {hub.name!r} already")
        self._hubs[hub.name] = hub
        hub.connect(self._relay)

    def connect(self, relay: Relay) -> None:
        """Share the rooms of all hubs by a relay, on the running loop, until ``disconnect`` or by another one."""
        self.disconnect()
        self._relay = relay
        for hub in self:
            hub.connect(relay)
        relay.start(Receiver(self._received, self._peer_joined, self._peer_left))

    def disconnect(self) -> None:
        """Idempotent."""
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.stop()
            for hub in self:
                hub.connect(None)

    def _received(self, peer: str, data: bytes) -> None:
        try:
            notice = _decode(data)
        except msgspec.DecodeError:
            # Processes of two versions of the code, while one replaces the other.
            log.warning("what another process says of a hub cannot be understood", exc_info=True)
            return
        hub = self._hubs.get(notice.hub)
        if hub is not None:
            hub.receive(peer, notice)

    def _peer_joined(self, peer: str) -> None:
        assert self._relay is not None
        for hub in self:
            self._relay.send(peer, hub.state())

    def _peer_left(self, peer: str) -> None:
        for hub in self:
            hub.gone(peer)
