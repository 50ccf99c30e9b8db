"""Many keep-alive connections in one thread, every answer compared with the one that was checked."""

import socket
from collections.abc import Sequence
from typing import Self

from benches.load.client import DATE_SIZE, TIMEOUT, Connection, WrongAnswer
from benches.load.scenarios import Request


class Template:
    """One right answer as bytes; others must equal it but for the value of Date."""

    def __init__(self, port: int, request: Request) -> None:
        with Connection(port) as connection:
            self._bytes = connection.ask_raw(request)
        head = self._bytes.partition(b"\r\n\r\n")[0].lower()
        self._date = head.index(b"\r\ndate: ") + len(b"\r\ndate: ")
        self.size = len(self._bytes)

    def require(self, answer: bytes) -> None:
        """Raises WrongAnswer when ``answer`` differs."""
        after = self._date + DATE_SIZE
        if answer[: self._date] != self._bytes[: self._date] or answer[after:] != self._bytes[after:]:
            raise WrongAnswer(f"{answer[:200]!r} instead of {self._bytes[:200]!r}")


class Swarm:
    """``count`` connections, each with one answered request behind it; a context manager."""

    def __init__(self, port: int, request: Request, count: int) -> None:
        self._wire = request.wire(port)
        self._template = Template(port, request)
        self._sockets: list[socket.socket] = []
        try:
            for _ in range(count):
                self._sockets.append(self._open(port))
                # One at a time, so that no queue of the kernel overflows into retries.
                self._round(self._sockets[-1:])
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _open(port: int) -> socket.socket:
        try:
            sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        except OSError as error:
            raise WrongAnswer(f"no connection: {error}") from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    def ask_all(self, rounds: int) -> None:
        """One request on every connection at the same time, all answers awaited; ``rounds`` times."""
        for _ in range(rounds):
            self._round(self._sockets)

    def _round(self, sockets: Sequence[socket.socket]) -> None:
        try:
            for sock in sockets:
                sock.sendall(self._wire)
            for sock in sockets:
                self._template.require(self._receive(sock))
        except OSError as error:
            raise WrongAnswer(f"{type(error).__name__}: {error}") from error

    def _receive(self, sock: socket.socket) -> bytes:
        answer = sock.recv(self._template.size)
        while len(answer) < self._template.size:
            more = sock.recv(self._template.size - len(answer))
            if not more:
                raise WrongAnswer(f"connection closed after {answer[:200]!r}")
            answer += more
        return answer

    def require_open(self) -> None:
        """Raises WrongAnswer when the server closed a connection or sent what nobody asked for."""
        for sock in self._sockets:
            sock.setblocking(False)
            try:
                data = sock.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                continue
            except OSError as error:
                raise WrongAnswer(f"an idle connection was lost: {error}") from error
            finally:
                sock.settimeout(TIMEOUT)
            raise WrongAnswer("an idle connection was closed" if not data else "bytes nobody asked for")
