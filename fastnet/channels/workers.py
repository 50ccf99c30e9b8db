"""Carries messages between the workers of one machine, over mailboxes that their supervisor has made.

Each worker has a mailbox, a pair of datagram sockets: it reads one end, and all others write to the other. What one
turn of the loop publishes goes out at its end as one datagram, the same for each peer; what is too long for one goes in
pieces. A peer whose mailbox is full is not waited for: what does not fit into a bounded queue is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

from fastnet.channels.relay import Receiver

__all__ = ["WorkerRelay"]

log = logging.getLogger("fastnet.server")

# A datagram: its kind, the sender's name, the number of a piece from 0, then records or a piece of one, of which the
# kind tells the last. A record: its length, and it.
WHOLE, PIECE, LAST = range(3)
NAME: Final = 12
NUMBER: Final = 4
HEAD: Final = 1 + NAME + NUMBER
LENGTH: Final = 4
# Bytes of a datagram. Systems take far more, but allocate each in one run.
DATAGRAM: Final = 32 * 1024
# Bytes of a record that comes in pieces: more is the fault of whoever sends it.
LONGEST: Final = 64 * 1024 * 1024
# Bytes that wait for one peer.
QUEUE: Final = 4 * 1024 * 1024
# Datagrams that are read in one turn of the loop.
READS: Final = 64


class WorkerRelay:
    """``WorkerRelay(name, mailbox, peers)``: names have 12 ASCII characters, and are never used again.

    ``mailbox`` is the end to read from; ``peers`` the ends to write to, by name. The relay closes them all.
    """

    def __init__(self, name: str, mailbox: socket.socket, peers: Mapping[str, socket.socket]) -> None:
        if len(name.encode()) != NAME:
            raise ValueError(f"a worker's name has {NAME} characters: {name!r}")
        self.name = name
        self.lost = 0
        self._mailbox = mailbox
        self._mailbox.setblocking(False)
        self._receiver: Receiver | None = None
        self._loop: asyncio.AbstractEventLoop
        self._peers = {peer: _Peer(sock) for peer, sock in peers.items()}
        self._ended: set[str] = set()
        # What has come of the record that a sender sends in pieces, and the number of the next one.
        self._pieces: dict[str, tuple[bytearray, int]] = {}
        # What this turn of the loop publishes.
        self._records: list[bytes] = []
        self._scheduled = False

    def start(self, receiver: Receiver) -> None:
        self._loop = asyncio.get_running_loop()
        self._receiver = receiver
        self._loop.add_reader(self._mailbox.fileno(), self._read)
        for peer in list(self._peers):
            receiver.joined(peer)

    def stop(self) -> None:
        if self._receiver is not None:
            self._flush()
            self._receiver = None
            self._loop.remove_reader(self._mailbox.fileno())
        self._mailbox.close()
        for peer in self._peers.values():
            self._close(peer)
        self._peers.clear()

    # --- who is there, as the supervisor says

    def add_peer(self, name: str, sock: socket.socket) -> None:
        """A worker was started."""
        if name in self._ended or name in self._peers:
            sock.close()
            return
        self._peers[name] = _Peer(sock)
        if self._receiver is not None:
            self._receiver.joined(name)

    def remove_peer(self, name: str) -> None:
        """A worker has ended. What it has said and we have not read yet counts no more."""
        self._ended.add(name)
        self._pieces.pop(name, None)
        peer = self._peers.pop(name, None)
        if peer is not None:
            self._close(peer)
        if self._receiver is not None:
            self._receiver.left(name)

    def _close(self, peer: _Peer) -> None:
        if peer.waiting:
            self._loop.remove_writer(peer.sock.fileno())
        peer.sock.close()

    # --- sending

    def publish(self, data: bytes) -> None:
        if not self._peers:
            return
        self._records.append(data)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def send(self, peer: str, data: bytes) -> None:
        # It must not overtake what was published before.
        self._flush()
        found = self._peers.get(peer)
        if found is not None:
            for datagram in self._datagrams([data]):
                self._post(peer, found, datagram)

    def _flush(self) -> None:
        self._scheduled = False
        records, self._records = self._records, []
        for datagram in self._datagrams(records):
            for name, peer in list(self._peers.items()):
                self._post(name, peer, datagram)

    def _datagrams(self, records: list[bytes]) -> Iterator[bytes]:
        whole = self._head(WHOLE, 0)
        batch: list[bytes] = []
        size = 0
        for record in records:
            if size + LENGTH + len(record) > DATAGRAM and batch:
                yield whole + b"".join(batch)
                batch, size = [], 0
            if LENGTH + len(record) > DATAGRAM:
                for number, start in enumerate(range(0, len(record), DATAGRAM)):
                    end = start + DATAGRAM
                    yield self._head(LAST if end >= len(record) else PIECE, number) + record[start:end]
                continue
            batch += (len(record).to_bytes(LENGTH, "big"), record)
            size += LENGTH + len(record)
        if batch:
            yield whole + b"".join(batch)

    def _head(self, kind: int, number: int) -> bytes:
        return bytes([kind]) + self.name.encode() + number.to_bytes(NUMBER, "big")

    def _post(self, name: str, peer: _Peer, datagram: bytes) -> None:
        if peer.waiting:
            if peer.held + len(datagram) > QUEUE:
                self.lost += 1
                if not peer.lossy:
                    log.warning("a worker is too busy to read what the others publish: some of it is lost to it")
                peer.lossy = True
                return
        elif peer.put(datagram):
            return
        else:
            self._loop.add_writer(peer.sock.fileno(), self._go_on, name, peer)
        peer.waiting.append(datagram)
        peer.held += len(datagram)

    def _go_on(self, name: str, peer: _Peer) -> None:
        while peer.waiting:
            if not peer.put(peer.waiting[0]):
                return
            peer.held -= len(peer.waiting.popleft())
        self._loop.remove_writer(peer.sock.fileno())
        if peer.lossy:
            peer.lossy = False
            if self._receiver is not None:
                self._receiver.joined(name)

    # --- receiving

    def _read(self) -> None:
        for _ in range(READS):
            if self._receiver is None:
                return
            try:
                datagram = self._mailbox.recv(HEAD + DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # All that could write are gone.
                self._loop.remove_reader(self._mailbox.fileno())
                return
            if len(datagram) >= HEAD:
                self._take(datagram)

    def _take(self, datagram: bytes) -> None:
        kind, sender = datagram[0], datagram[1 : 1 + NAME].decode("ascii", "replace")
        if sender in self._ended:
            return
        if kind != WHOLE:
            self._take_piece(sender, kind == LAST, datagram)
            return
        at = HEAD
        while at < len(datagram):
            end = at + LENGTH + int.from_bytes(datagram[at : at + LENGTH], "big")
            self._deliver(sender, datagram[at + LENGTH : end])
            at = end

    def _take_piece(self, sender: str, last: bool, datagram: bytes) -> None:
        """Without one of its pieces, or above the bound, a record is dropped as a whole."""
        number = int.from_bytes(datagram[1 + NAME : HEAD], "big")
        record, wanted = self._pieces.pop(sender, (bytearray(), 0)) if number else (bytearray(), 0)
        if number != wanted or len(record) > LONGEST:
            return
        record += memoryview(datagram)[HEAD:]
        if last:
            self._deliver(sender, bytes(record))
        else:
            self._pieces[sender] = (record, number + 1)

    def _deliver(self, sender: str, record: bytes) -> None:
        if self._receiver is not None:
            self._receiver.message(sender, record)


class _Peer:
    """The way to one worker."""

    __slots__ = ("held", "lossy", "sock", "waiting")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.waiting: deque[bytes] = deque()
        self.held = 0
        # Something was lost since it was in reach last.
        self.lossy = False

    def put(self, datagram: bytes) -> bool:
        """False when its mailbox is full. What is for a worker that has ended is sent to nobody."""
        with contextlib.suppress(OSError):
            try:
                self.sock.send(datagram)
            except (BlockingIOError, InterruptedError):
                return False
        return True
