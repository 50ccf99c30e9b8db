"""Asks at a steady rate: ``python -m benches.load.steady PORT RATE SECONDS``, a process of its own beside the harness.

An open loop: each request is due at its time whatever became of the ones before, and its latency counts from then.
Every other one takes a kept connection, the rest a new one each. Prints one line of JSON, see :class:`Steady`.

A server may close a kept connection at the very moment a request leaves for it. Clients ask again then (RFC 9112,
9.3.1), and so do we, on a new connection: counted as ``raced``, with the whole of its latency. Everything else that
is no right answer is a failure.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field

import uvloop

PATIENCE = 10.0
KEPT = 16
BODY = b"Hello, World!"
MOST_FAILURES = 20
"""How many failures are told in words."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Closed(Exception):
    """The connection ended before the answer's first byte."""


@dataclass
class Steady:
    """What became of the requests."""

    latencies: list[tuple[float, float]] = field(default_factory=list)
    """When each was due, as CLOCK_MONOTONIC has it, and how long after that its answer was whole; in seconds."""
    failures: list[str] = field(default_factory=list)
    failed: int = 0
    raced: int = 0
    lag: float = 0.0
    """The most that we ourselves were late, in seconds."""

    def fail(self, reason: str) -> None:
        self.failed += 1
        if len(self.failures) < MOST_FAILURES:
            self.failures.append(reason)


class Client:
    def __init__(self, port: int) -> None:
        self._port = port
        self._kept: deque[Stream] = deque()
        self.seen = Steady()

    async def ask(self, due: float, *, keep: bool) -> None:
        """One request, from when it is due to its outcome."""
        started = min(due, time.monotonic())  # a timer may be early by its resolution
        try:
            async with asyncio.timeout(PATIENCE):
                await self._ask(keep=keep)
        except Closed:
            self.seen.fail(f"a new connection {'kept' if keep else 'for once'} was closed without an answer")
        except Exception as error:
            self.seen.fail(f"{type(error).__name__}: {error}")
        else:
            self.seen.latencies.append((due, time.monotonic() - started))

    async def _ask(self, *, keep: bool) -> None:
        stream = self._idle() if keep else None
        if stream is not None:
            try:
                await self._exchange(stream, keep=True)
                return
            except Closed:
                self.seen.raced += 1
        await self._exchange(await asyncio.open_connection("127.0.0.1", self._port), keep=keep)

    def _idle(self) -> Stream | None:
        """A kept connection that the server has not closed; None makes a new one."""
        while self._kept:
            reader, writer = self._kept.popleft()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return None

    async def _exchange(self, stream: Stream, *, keep: bool) -> None:
        """Raises Closed, or what is wrong with the answer."""
        reader, writer = stream
        kept = False
        try:
            fields = "" if keep else "Connection: close\r\n"
            writer.write(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n{fields}\r\n".encode())
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise ValueError(f"cut off after {error.partial!r}") from None
                raise Closed from None
            except ConnectionError:
                raise Closed from None
            if not head.startswith(b"http/1.1 200 ") or b"\r\ncontent-length: 13\r\n" not in head:
                raise ValueError(f"answered {head[:200]!r}")
            if (body := await reader.readexactly(len(BODY))) != BODY:
                raise ValueError(f"answered {body!r}")
            kept = keep and b"\r\nconnection: close\r\n" not in head and len(self._kept) < KEPT
        finally:
            if kept:
                self._kept.append(stream)
            else:
                writer.close()

    def close(self) -> None:
        for _, writer in self._kept:
            writer.close()


async def main(port: int, rate: float, seconds: float) -> Steady:
    client = Client(port)
    tasks: set[asyncio.Task[None]] = set()
    start = time.monotonic()
    for number in range(int(rate * seconds)):
        due = start + number / rate
        if (early := due - time.monotonic()) > 0:
            await asyncio.sleep(early)
        client.seen.lag = max(client.seen.lag, time.monotonic() - due)
        task = asyncio.create_task(client.ask(due, keep=number % 2 == 0))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    client.close()
    return client.seen


if __name__ == "__main__":
    # What is measured is the server: it shall not be we who wait for a core.
    with contextlib.suppress(PermissionError):
        os.nice(-10)
    print("up", flush=True)
    print(json.dumps(asdict(uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))))))
