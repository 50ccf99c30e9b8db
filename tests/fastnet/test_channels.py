"""The mailboxes of workers: order, long messages, losses, and peers that come and go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from fastnet.channels.relay import Receiver
from fastnet.channels.workers import DATAGRAM, QUEUE, WorkerRelay
from tests.loops import run

MIB = 1024 * 1024


class Box:
    """One worker's mailbox, and what its relay was told."""

    def __init__(self, name: str) -> None:
        self.name = name.ljust(12, "-")
        self.reader, self.writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.messages: list[tuple[str, bytes]] = []
        self.there: list[str] = []
        self.relay: WorkerRelay

    def open(self, *others: Box) -> WorkerRelay:
        self.relay = WorkerRelay(self.name, self.reader, {other.name: other.writer.dup() for other in others})
        return self.relay

    def start(self) -> None:
        self.relay.start(
            Receiver(lambda peer, data: self.messages.append((peer, data)), self.there.append, self.there.remove)
        )

    @property
    def data(self) -> list[bytes]:
        return [data for _, data in self.messages]


async def settled(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what another socket brings tells nobody
            await asyncio.sleep(0.002)


def pair() -> tuple[Box, Box]:
    one, two = Box("one"), Box("two")
    one.open(two)
    two.open(one)
    return one, two


def close(*boxes: Box) -> None:
    for box in boxes:
        box.relay.stop()
        box.writer.close()


def test_order_and_sizes() -> None:
    async def test() -> None:
        one, two = pair()
        one.start()
        two.start()
        assert (one.there, two.there) == ([two.name], [one.name])
        sizes = [0, 1, DATAGRAM - 5, DATAGRAM - 4, DATAGRAM - 3, DATAGRAM, DATAGRAM + 1, 2 * DATAGRAM, 3 * MIB, 5]
        sent = [bytes([number]) * size for number, size in enumerate(sizes)]
        for data in sent:
            one.relay.publish(data)
        one.relay.send(two.name, b"behind them")
        one.relay.publish(b"last")
        await settled(lambda: len(two.messages) == len(sent) + 2)
        assert two.messages == [(one.name, data) for data in [*sent, b"behind them", b"last"]]
        two.relay.publish(b"back")
        await settled(lambda: one.messages == [(two.name, b"back")])
        close(one, two)

    run(test())


def test_peers_come_and_go() -> None:
    async def test() -> None:
        one, two, three = Box("one"), Box("two"), Box("three")
        one.open()
        two.open(one)
        three.open(one, two)
        one.start()
        one.relay.publish(b"to nobody")
        two.start()
        for box in (one, two):
            box.relay.add_peer(three.name, three.writer.dup())
        one.relay.add_peer(two.name, two.writer.dup())
        assert one.there == [three.name, two.name]
        one.relay.publish(b"before it has started")
        await asyncio.sleep(0)
        three.start()
        await settled(lambda: three.data == [b"before it has started"])
        three.relay.publish(b"too late")
        await asyncio.sleep(0)
        # It has ended before that was read.
        one.relay.remove_peer(three.name)
        assert one.there == [two.name]
        await settled(lambda: two.data == [b"before it has started", b"too late"])
        assert one.data == []
        # Its name is not taken again.
        one.relay.add_peer(three.name, three.writer.dup())
        assert one.there == [two.name]
        close(one, two, three)

    run(test())


def test_a_peer_that_has_ended_is_written_to_in_vain() -> None:
    async def test() -> None:
        one, two = pair()
        one.start()
        two.reader.close()
        one.relay.publish(b"x" * MIB)
        await asyncio.sleep(0.01)
        assert one.relay.lost == 0
        close(one, two)

    run(test())


def test_a_peer_that_does_not_read_loses_what_is_too_much_and_is_told_afterwards() -> None:
    async def test() -> None:
        one, two = pair()
        one.start()
        count = 3 * QUEUE // (MIB // 4)
        for number in range(count):
            one.relay.publish(bytes([number]) * (MIB // 4))
            await asyncio.sleep(0)
        assert one.relay.lost > 0
        assert one.there == [two.name]
        two.start()
        await settled(lambda: one.there == [two.name, two.name])
        one.relay.publish(b"again")
        await settled(lambda: b"again" in two.data)
        # What arrived is whole and in order.
        numbers = [data[0] for data in two.data[:-1]]
        assert numbers == sorted(numbers)
        assert all(data == bytes([data[0]]) * (MIB // 4) for data in two.data[:-1])
        assert 0 < len(numbers) < count
        close(one, two)

    run(test())


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\x00", b"\x01" + b"other-------" + b"\x00\x00\x00\x07piece", b"\x09" + b"other-------" + bytes(4) + b"x"],
    ids=["empty", "short", "a piece without its beginning", "unknown"],
)
def test_what_makes_no_sense_is_dropped(datagram: bytes) -> None:
    async def test() -> None:
        one, two = pair()
        two.start()
        one.start()
        two.writer.send(datagram)
        one.relay.publish(b"sense")
        await settled(lambda: two.data == [b"sense"])
        close(one, two)

    run(test())


def test_a_name_has_twelve_characters() -> None:
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with reader, writer, pytest.raises(ValueError, match="12 characters"):
        WorkerRelay("short", reader, {})
