"""One application on one event loop: listen, serve, drain."""

from __future__ import annotations

import asyncio
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fastnet.debugging.stalls import StallDetector
from fastnet_ext.net.connection import AsyncioConnection, Connection
from fastnet_ext.net.loop_state import LoopState

from .config import Config, ConfigError
from .limits import service_of, sweep_interval
from .tls import TlsContexts, make_contexts

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["Server"]

log = logging.getLogger("fastnet.server")

# Seconds that cancelled handlers get to clean up.
GRACE = 5.0


class Server:
    """Serves an app on the running event loop: ``async with Server(app, config) as server``.

    ``url`` and ``port`` say where, once it has started. Leaving the block drains: no new
    connections, running requests get ``timeout_drain`` seconds, then the lifespan ends.
    """

    def __init__(self, app: App, config: Config | None = None) -> None:
        self.app = app
        self.config = config if config is not None else Config()
        self.state: LoopState | None = None
        self._servers: list[asyncio.Server] = []
        self._executor: ThreadPoolExecutor | None = None
        self._tls: TlsContexts | None = None
        self._stalls: StallDetector | None = None
        # Whether the app and the loop were in debug mode before we put them into it; None when we did not.
        self._before_debug: tuple[bool, bool] | None = None

    async def start(self) -> None:
        """Bind, run the start-up of the lifespan, then listen.

        Raises :class:`ConfigError` when the address cannot be had, and whatever the lifespan raises.
        """
        config = self.config
        loop = asyncio.get_running_loop()
        self._tls = make_contexts(config)
        sockets = _bind(config)
        try:
            if config.debug:
                self._enter_debug_mode(loop)
            self._executor = ThreadPoolExecutor(self.app.pool_size, thread_name_prefix="fastnet")
            self.state = LoopState(
                loop, self._executor, sweep_interval=sweep_interval(config), memory_limit=config.limit_memory
            )
            service = service_of(self.app.build(), config.listeners[0], self._tls, trace=config.debug)
            await self.app.startup()
        except BaseException:
            for sock in sockets:
                sock.close()
            await self._release()
            raise
        state = self.state
        # uvloop takes any protocol with get_buffer; the stock loop insists on its own base class.
        kind = AsyncioConnection if isinstance(loop, asyncio.BaseEventLoop) else Connection
        for sock in sockets:
            self._servers.append(
                await loop.create_server(lambda: kind(state, service), sock=sock, backlog=config.backlog)
            )

        if config.stall_threshold:
            self._stalls = StallDetector(state, loop, config.stall_threshold)
            self._stalls.start()

    def _enter_debug_mode(self, loop: asyncio.AbstractEventLoop) -> None:
        self._before_debug = (self.app.debug, loop.get_debug())
        self.app.debug = True
        loop.set_debug(True)

    def reload_certificates(self) -> bool:
        """Read certificates and keys again, for new connections; whether they could be used.

        Those that are open keep the old ones, and so does everybody when the new ones cannot be used.
        """
        return self._tls is None or self._tls.reload()

    async def stop(self, timeout: float | None = None) -> None:
        """Drain within ``timeout`` seconds (``timeout_drain`` by default), then end the lifespan."""
        for server in self._servers:
            server.close()
        self._servers = []
        try:
            if self.state is not None:
                await self._drain(self.state, self.config.timeout_drain if timeout is None else timeout)
        finally:
            await self.app.shutdown()
            await self._release()

    async def _drain(self, state: LoopState, timeout: float) -> None:
        state.drain()
        try:
            await asyncio.wait_for(state.wait_empty(), timeout)
        except TimeoutError:
            log.warning("%d connections were cut off: they did not end within %g s", state.open, timeout)
            state.cut()
            try:
                await asyncio.wait_for(state.wait_empty(), GRACE)
            except TimeoutError:
                log.error("handlers do not end: they swallow their cancellation, or clean up for ever")

    async def _release(self) -> None:
        if self.state is not None:
            self.state.close()
            # A turn of the loop for the parked tasks to end in.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if self._stalls is not None:
            self._stalls.stop()
            self._stalls = None
        if self._before_debug is not None:
            self.app.debug, loop_debug = self._before_debug
            asyncio.get_running_loop().set_debug(loop_debug)
            self._before_debug = None
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    # --- where it listens

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first listening socket."""
        if not self._servers:
            raise RuntimeError("the server is not listening: start it first")
        name = self._servers[0].sockets[0].getsockname()
        return name[0], name[1]

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self.address[0]

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self.address[1]

    @property
    def url(self) -> str:
        """``http://host:port`` (https with TLS), without a slash at the end."""
        host, port = self.address
        if host in ("0.0.0.0", "::"):
            host = "127.0.0.1" if host == "0.0.0.0" else "::1"
        name = f"[{host}]" if ":" in host else host
        return f"{'http' if self._tls is None else 'https'}://{name}:{port}"

    @property
    def counters(self) -> dict[str, int]:
        """Numbers since the start: connections, requests, bytes, errors by kind."""
        return {} if self.state is None else self.state.counters


def _bind(config: Config) -> list[socket.socket]:
    """A listening socket for each address that the host name stands for."""
    try:
        found = socket.getaddrinfo(config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ConfigError(f"host {config.host!r} cannot be resolved: {error.strerror}") from None
    sockets: list[socket.socket] = []
    port = config.port
    for family, kind, _, _, address in dict.fromkeys(found):
        # IPPROTO_TCP explicitly: asyncio sets TCP_NODELAY only where it sees it.
        sock = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            place: Any = (address[0], port, *address[2:])
            sock.bind(place)
        except OSError as error:
            sock.close()
            for other in sockets:
                other.close()
            raise ConfigError(_bind_failure(config, error)) from None
        port = sock.getsockname()[1]
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


def _bind_failure(config: Config, error: OSError) -> str:
    where = f"{config.host}:{config.port}"
    if isinstance(error, PermissionError):
        return f"{where} needs privileges: ports below 1024 do; choose one above with --port"
    if error.errno == 98:
        return f"{where} is taken by another process: stop that one, or choose another port with --port"
    return f"{where} cannot be listened on: {error.strerror}"
