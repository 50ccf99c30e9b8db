"""Reads event streams: ``python -m benches.load.event_reader PORT CLIENTS``, a process of its own beside the harness.

Prints ``ready`` when each client has had a right event. Then, for each line on standard input, one of JSON: how many
events came since the line before, and the fewest that one client had. Ends with the input.
"""

import json
import os
import selectors
import socket
import sys
import time

from fastnet_ext.sse.parser import EventParser

TIMEOUT = 60.0
REQUEST = b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
MARK = b"event: tick"


class Client:
    """One stream: its first event is looked at, the others are counted."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.sock.setblocking(False)
        self.sock.send(REQUEST)
        self.events = 0
        self._tail = b""

    def read(self) -> None:
        data = self._tail + self.sock.recv(1 << 16)
        if data == self._tail:
            raise ConnectionError("a stream ended")
        if not self.events and not self._look(data):
            self._tail = data
            return
        self.events += data.count(MARK)
        # Less than a mark, so that none is counted twice.
        self._tail = data[-len(MARK) + 1 :]

    @staticmethod
    def _look(data: bytes) -> bool:
        """Whether the first event is there; it must be right."""
        head, _, body = data.partition(b"\r\n\r\n")
        # A chunk's size is a field without a name that counts to the parser.
        events = EventParser().feed(body)
        if not events:
            return False
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert b"content-type: text/event-stream" in head.lower(), head
        event = events[0]
        assert (event.event, event.id, json.loads(event.data)) == ("tick", "0", {"n": 0, "text": "hello, world"}), event
        return True


def main(port: int, count: int) -> None:
    clients = []
    waiting = selectors.DefaultSelector()
    for _ in range(count):
        client = Client(port)
        waiting.register(client.sock, selectors.EVENT_READ, client)
        clients.append(client)
    deadline = time.monotonic() + TIMEOUT
    while not all(client.events for client in clients):
        assert time.monotonic() < deadline, "not every client has an event"
        for key, _ in waiting.select(1.0):
            key.data.read()
    print("ready", flush=True)
    waiting.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
    before = [client.events for client in clients]
    while True:
        for key, _ in waiting.select():
            if key.data is not None:
                key.data.read()
                continue
            if not os.read(sys.stdin.fileno(), 100):
                return
            now = [client.events for client in clients]
            came = [new - old for new, old in zip(now, before, strict=True)]
            before = now
            print(json.dumps({"events": sum(came), "fewest": min(came)}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
