"""Downloads /stream once: ``python -m benches.load.stream_reader PORT BYTES``, a process of its own beside the harness.

Prints ``streaming`` when the first bytes arrive and exits with 0 when at least BYTES came before the server closed.
"""

import os
import socket
import sys

TIMEOUT = 60.0


def main(port: int, size: int) -> int:
    # On a machine with two cores we share one with the client that measures latency: it goes first.
    os.nice(19)
    buffer = memoryview(bytearray(1 << 20))
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
        sock.sendall(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        total = sock.recv_into(buffer)
        if not bytes(buffer[:total]).startswith(b"HTTP/1.1 200 "):
            print(bytes(buffer[: min(total, 200)]), flush=True)
            return 1
        print("streaming", flush=True)
        while count := sock.recv_into(buffer):
            total += count
    print(total)
    return 0 if total >= size else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
