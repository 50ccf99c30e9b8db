"""Many keep-alive connections in one thread, every answer compared with the one that was checked."""

import socket
from collections.abc import Sequence
from typing import Self

from benches.load import websocket
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

    # What a server may say to an idle connection, again and again.
    _HEARTBEAT = b""

    def __init__(self, port: int, request: Request, count: int) -> None:
        self._prepare(port, request)
        self._sockets: list[socket.socket] = []
        try:
            for _ in range(count):
                self._sockets.append(self._open(port))
                # One at a time, so that no queue of the kernel overflows into retries.
                self._round(self._sockets[-1:])
        except BaseException:
            self.close()
            raise

    def _prepare(self, port: int, request: Request) -> None:
        self._wire = request.wire(port)
        self._template = Template(port, request)

    def _open(self, port: int) -> socket.socket:
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
                data = sock.recv(256, socket.MSG_PEEK)
            except BlockingIOError:
                continue
            except OSError as error:
                raise WrongAnswer(f"an idle connection was lost: {error}") from error
            finally:
                sock.settimeout(TIMEOUT)
            if data.replace(self._HEARTBEAT, b""):
                raise WrongAnswer(f"bytes nobody asked for: {data!r}")
            if not data:
                raise WrongAnswer("an idle connection was closed")


class Http2Swarm(Swarm):
    """The same by HTTP/2 in cleartext: a GET without fields of its own, the answer's body compared."""

    _DATA, _HEADERS, _SETTINGS = 0, 1, 4
    _END_STREAM, _ACK, _END_HEADERS = 1, 1, 4

    def _prepare(self, port: int, request: Request) -> None:
        authority = f"127.0.0.1:{port}".encode()
        # RFC 7541, appendix A and 6.2.2: GET and http by index, path and authority as literals that nobody keeps.
        path = request.path.encode()
        self._block = b"\x82\x86\x04%c%b\x01%c%b" % (len(path), path, len(authority), authority)
        self._stream = 1
        self._body = b""
        sock = self._open(port)
        try:
            self._body = self._ask(sock, 1)
        finally:
            sock.close()

    def _open(self, port: int) -> socket.socket:
        sock = super()._open(port)
        try:
            sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self._frame(self._SETTINGS, 0, 0))
            # Ours acknowledged and theirs read: nothing is on its way when a connection is idle.
            waiting = {0, self._ACK}
            while waiting:
                kind, flags, _, _ = self._next(sock)
                if kind == self._SETTINGS:
                    waiting.discard(flags & self._ACK)
            sock.sendall(self._frame(self._SETTINGS, self._ACK, 0))
        except OSError as error:
            sock.close()
            raise WrongAnswer(f"{type(error).__name__}: {error}") from error
        return sock

    @staticmethod
    def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
        return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload

    @staticmethod
    def _exactly(sock: socket.socket, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = sock.recv(size - len(found))
            if not more:
                raise WrongAnswer(f"connection closed after {found[:200]!r}")
            found += more
        return found

    def _next(self, sock: socket.socket) -> tuple[int, int, int, bytes]:
        """Kind, flags, stream and payload of the next frame."""
        head = self._exactly(sock, 9)
        payload = self._exactly(sock, int.from_bytes(head[:3], "big"))
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    def _ask(self, sock: socket.socket, stream: int) -> bytes:
        """The body of the answer to one request."""
        flags = self._END_STREAM | self._END_HEADERS
        sock.sendall(self._frame(self._HEADERS, flags, stream, self._block))
        body = b""
        while True:
            kind, flags, of, payload = self._next(sock)
            if of == stream and kind == self._DATA:
                body += payload
            if of == stream and kind in (self._DATA, self._HEADERS) and flags & self._END_STREAM:
                return body

    def _round(self, sockets: Sequence[socket.socket]) -> None:
        # Every round takes a new stream on each of its connections: odd, and higher than any before.
        stream, self._stream = self._stream, self._stream + 2
        try:
            for sock in sockets:
                if (body := self._ask(sock, stream)) != self._body:
                    raise WrongAnswer(f"{body[:200]!r} instead of {self._body[:200]!r}")
        except OSError as error:
            raise WrongAnswer(f"{type(error).__name__}: {error}") from error


class WebSocketSwarm(Swarm):
    """The same by WebSocket: the request is the hand-shake, and what is asked is the echo of 128 bytes."""

    _MESSAGE = bytes(range(128))
    _HEARTBEAT = b"\x89\x00"  # a Ping

    def _prepare(self, port: int, request: Request) -> None:
        self._request = request
        self._clients: dict[socket.socket, websocket.Client] = {}

    def _open(self, port: int) -> socket.socket:
        client = websocket.Client(port, self._request)
        self._clients[client.socket] = client
        return client.socket

    def _round(self, sockets: Sequence[socket.socket]) -> None:
        for sock in sockets:
            self._clients[sock].require_echo(self._MESSAGE)

    def close(self) -> None:
        super().close()
        for client in self._clients.values():
            client.close()
