"""What costs the server more than who asks for it: records without data, and keys that are renewed without end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.bounds import KIB, beside
from tests.wire.live import Live, until
from tests.wire.tls import Files, Seen, sealed, served


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def server(files: Files, seen: Seen) -> Iterator[Live]:
    with served(files, seen) as running:
        yield running


def test_records_of_our_own_are_understood(server: Live, files: Files, tmp_path: Path) -> None:
    records, keys = sealed(server, files, tmp_path)
    with records as one:
        for _ in range(20):
            one.peer.send(keys.key_update() + keys.record(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n", 23))
            assert one.read().startswith(b"HTTP/1.1 200")


# Of what comes, no more is taken than the limit and what one read brings.
TAKEN = 64 * KIB + 256 * KIB


@contextlib.contextmanager
def attacked(server: Live, files: Files) -> Iterator[None]:
    """The block's connection is cut off, and neither that nor what it sent costs others anything."""
    before = server.counters
    with beside(server, keeps=16 * KIB, context=files.client()):
        yield
        until(lambda: server.counters["tls_failed"] == before["tls_failed"] + 1)
        # Requests beside it are small, but on a slow machine there are many. What the attacks send is above 850 KiB.
        assert server.counters["bytes_received"] - before["bytes_received"] < TAKEN + 256 * KIB
    assert server.counters["internal"] == 0


@pytest.mark.limit("TLS: what OpenSSL has to say that the peer does not take", memory=True)
@pytest.mark.limit("TLS: records without data, in a row", memory=True)
@pytest.mark.parametrize("reads", [True, False])
def test_key_updates_without_end(server: Live, files: Files, tmp_path: Path, reads: bool) -> None:
    records, keys = sealed(server, files, tmp_path)
    with attacked(server, files), records as one, contextlib.suppress(OSError, EOFError):
        for _ in range(400):
            one.peer.send(b"".join(keys.key_update() for _ in range(100)))
            if reads:
                one.peer.sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.peer.sock.recv(1 << 20)
                one.peer.sock.setblocking(True)
        one.peer.rest()


@pytest.mark.limit("TLS: records without data, in a row", memory=True)
def test_empty_records_without_end(server: Live, files: Files, tmp_path: Path) -> None:
    records, keys = sealed(server, files, tmp_path)
    with attacked(server, files), records as one, contextlib.suppress(OSError):
        for _ in range(400):
            one.peer.send(b"".join(keys.record(b"", 23) for _ in range(100)))
        one.peer.rest()
