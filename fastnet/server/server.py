"""One application on one event loop: listen, serve, drain."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fastnet.channels.relay import Relay
from fastnet.debugging.stalls import StallDetector
from fastnet.observability.access import AccessLogs
from fastnet_ext.net.kinds import connection_type
from fastnet_ext.net.loop_state import LoopState
from fastnet_ext.net.service import Service
from fastnet_ext.serve.dispatch import Dispatcher

from .config import Config, ConfigError, Listener
from .heartbeat import State, Vitals
from .limits import service_of, sweep_interval
from .listeners import Listening, Place, url_of
from .shared import SharedMemory
from .threads import HANDLERS
from .tls import TlsContexts, make_contexts

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["Contexts", "Server", "contexts_of"]

Contexts = Mapping[str, TlsContexts | None]

log = logging.getLogger("fastnet.server")

# Seconds that cancelled handlers get to clean up.
GRACE = 5.0
# Connections that the stock loop accepts in one turn. It takes its backlog for that number, and tries, logs and
# arms a timer as often when the process has no more files.
ACCEPTS_A_TURN = 16


class Server:
    """Serves an app on the running event loop: ``async with Server(app, config) as server``.

    ``url`` and ``port`` say where, once it has started. Leaving the block drains: no new
    connections, running requests get ``timeout_drain`` seconds, then the lifespan ends.

    A worker is given the sockets of its place, by the listeners' names; otherwise the server makes its own.
    ``contexts`` are the TLS contexts by the listeners' names, ``workers`` what the supervisor knows of all workers,
    ``number`` which one of them this is, for its logs, ``relay`` what carries what hubs say to the others, ``shared``
    the memory in which all of them count rate limits.
    """

    def __init__(
        self,
        app: App,
        config: Config | None = None,
        *,
        sockets: Place | None = None,
        contexts: Contexts | None = None,
        workers: Iterable[Vitals] = (),
        number: int | None = None,
        relay: Relay | None = None,
        shared: SharedMemory | None = None,
    ) -> None:
        self.app = app
        self.config = config if config is not None else Config()
        self.state: LoopState | None = None
        self.admin_app: App | None = None
        self.workers = workers
        self.number = number
        self.relay = relay
        self._shared = shared
        self._given = sockets
        self._contexts = contexts
        self._listening: Listening | None = None
        self._sockets: list[tuple[Listener, socket.socket]] = []
        self._servers: list[asyncio.AbstractServer] = []
        self._executor: ThreadPoolExecutor | None = None
        self._stalls: StallDetector | None = None
        self._access: AccessLogs | None = None
        # Whether the app and the loop were in debug mode before we put them into it; None when we did not.
        self._before_debug: tuple[bool, bool] | None = None
        self._dispatchers: dict[App, Dispatcher] = {}
        self._started = self._stopping = False

    async def start(self) -> None:
        """Bind, run the start-up of the lifespan, then listen.

        Raises :class:`ConfigError` when the address cannot be had, and whatever the lifespan raises.
        """
        config = self.config
        loop = asyncio.get_running_loop()
        if self._contexts is None:
            self._contexts = contexts_of(config)
        places = self._given
        if places is None:
            self._listening = Listening.open(config.listeners)
            places = self._listening.of(0)
        self._sockets = [(one, sock) for one in config.listeners for sock in places[one.name]]
        try:
            if config.debug:
                self._enter_debug_mode(loop)
            self._executor = ThreadPoolExecutor(self.app.pool_size, thread_name_prefix=HANDLERS)
            self.state = LoopState(
                loop, self._executor, sweep_interval=sweep_interval(config), memory_limit=config.limit_memory
            )
            self._access = _access_logs(config, loop, self.number)
            services = {one.name: self._service(one) for one in config.listeners}
            if self.relay is not None:
                self.app.hubs.connect(self.relay)
            await self.app.startup()
            try:
                for listener, sock in self._sockets:
                    self._servers.append(await self._listen(loop, listener, sock, services[listener.name]))
            except BaseException:
                await self._end_lifespan(config.timeout_drain)
                raise
        except BaseException:
            self._close_listeners()
            await self._release()
            raise
        self._started = True
        if config.stall_threshold:
            self._stalls = StallDetector(self.state, loop, config.stall_threshold)
            self._stalls.start()

    async def _listen(
        self, loop: asyncio.AbstractEventLoop, listener: Listener, sock: socket.socket, service: Service
    ) -> asyncio.AbstractServer:
        state = self.state
        assert state is not None
        stock = isinstance(loop, asyncio.BaseEventLoop)
        kind = connection_type(service, loop)
        options: dict[str, Any] = {"sock": sock, "backlog": ACCEPTS_A_TURN if stock else listener.backlog}
        create = loop.create_server
        if sock.family == socket.AF_UNIX:
            create = loop.create_unix_server  # type: ignore[assignment]
            if sys.version_info >= (3, 13):
                # The file belongs to who made it: a worker's successor listens there.
                options["cleanup_socket"] = False
        try:
            server = await create(lambda: kind(state, service), **options)
            if stock:
                sock.listen(listener.backlog)
            return server
        except OSError as error:
            # Two that bind the same port before either listens learn of it here.
            raise ConfigError(f"{url_of(sock, False)} cannot be listened on: {error.strerror}") from None

    def _enter_debug_mode(self, loop: asyncio.AbstractEventLoop) -> None:
        self._before_debug = (self.app.debug, loop.get_debug())
        self.app.debug = True
        loop.set_debug(True)

    def _service(self, listener: Listener) -> Service:
        app = self.app
        if listener.admin:
            if self.admin_app is None:
                self.admin_app = self.app.admin_app(self)
            app = self.admin_app
        assert self._contexts is not None
        assert self._access is not None
        if app not in self._dispatchers:
            self._dispatchers[app] = app.build()
            if self._shared is not None and app is self.app:
                for number, limit in enumerate(app.rate_limits):
                    limit.share(self._shared, number)
        tls = self._contexts[listener.name]
        observers = self._access.observers(listener)
        return service_of(self._dispatchers[app], listener, tls, observers, trace=self.config.debug)

    async def stop(self, timeout: float | None = None) -> None:
        """Drain within ``timeout`` seconds (``timeout_drain`` by default), then end the lifespan within as many."""
        timeout = self.config.timeout_drain if timeout is None else timeout
        self._stopping = True
        self.app.shutting_down = True
        try:
            await self._stop_accepting()
            if self.state is not None:
                await self._drain(self.state, timeout)
        finally:
            await self._end_lifespan(timeout)
            await self._release()

    def reload_certificates(self) -> bool:
        """Read certificates and keys again, for new connections; whether they could be used.

        Those that are open keep the old ones, and so does everybody on a listener whose new ones cannot be used.
        """
        contexts = [one for one in (self._contexts or {}).values() if one is not None]
        # Each of them, whatever became of the others.
        return [one.reload() for one in contexts].count(False) == 0

    async def _stop_accepting(self) -> None:
        """Close the listening sockets; what was accepted before is served."""
        loop = asyncio.get_running_loop()
        try:
            if self._servers and isinstance(loop, asyncio.BaseEventLoop):
                # The stock loop makes a connection a turn after it has accepted it, and drops it when the server is
                # closed.
                for _, sock in self._sockets:
                    loop.remove_reader(sock)
                await asyncio.sleep(0)
        finally:
            self._close_listeners()

    def _close_listeners(self) -> None:
        for server in self._servers:
            server.close()
        self._servers = []
        for _, sock in self._sockets:
            sock.close()
        if self._listening is not None:
            self._listening.close()

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

    async def _end_lifespan(self, timeout: float) -> None:
        """Run the shutdown of the lifespan. In this task: what it entered has to be left where it was entered."""
        limit = asyncio.timeout(max(timeout, GRACE))
        try:
            async with limit:
                await self.app.shutdown()
        except TimeoutError:
            if not limit.expired():
                raise
            log.error("the lifespan's shutdown was ended: it did not end within %g s", max(timeout, GRACE))

    async def _release(self) -> None:
        self.app.hubs.disconnect()
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
        if self._access is not None:
            self._access.close()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    # --- where it listens, and how it is

    @property
    def urls(self) -> list[tuple[str, str]]:
        """The name of the listener and the URL (``unix:/path`` for Unix sockets) of each listening socket."""
        return [(one.name, url_of(sock, _is_secure(one))) for one, sock in self._sockets]

    @property
    def url(self) -> str:
        """``http://host:port`` (https with TLS) of the first listening socket, without a slash at the end."""
        listener, sock = self._first()
        return url_of(sock, _is_secure(listener))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first listening socket. ``RuntimeError`` for a Unix socket."""
        _, sock = self._first()
        if sock.family == socket.AF_UNIX:
            raise RuntimeError(f"the server listens on {url_of(sock, False)}, which has no host and no port")
        name = sock.getsockname()
        return name[0], name[1]

    def _first(self) -> tuple[Listener, socket.socket]:
        if not self._servers:
            raise RuntimeError("the server is not listening: start it first")
        return self._sockets[0]

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self.address[0]

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self.address[1]

    @property
    def vital_state(self) -> State:
        """What it is at: ready when it has started, the app says that it is, and it does not stop."""
        if self._stopping:
            return State.DRAINING
        if not self._started:
            return State.STARTING
        return State.READY if self.app.ready else State.NOT_READY

    @property
    def counters(self) -> dict[str, int]:
        """Numbers since the start: connections, requests, bytes, errors by kind."""
        return {} if self.state is None else self.state.counters


def _is_secure(listener: Listener) -> bool:
    return listener.tls_cert is not None or listener.tls_dev


def contexts_of(config: Config) -> Contexts:
    """The TLS of each listener by its name; None where it has none. Raises :class:`ConfigError`."""
    return {listener.name: _contexts(listener) for listener in config.listeners}


def _contexts(listener: Listener) -> TlsContexts | None:
    try:
        return make_contexts(listener)
    except ConfigError as error:
        if listener.name == "main":
            raise
        raise ConfigError(f"listener {listener.name!r}: {error}") from None


def _access_logs(config: Config, loop: asyncio.AbstractEventLoop, worker: int | None) -> AccessLogs:
    try:
        return AccessLogs(config, loop, worker=worker)
    except OSError as error:
        raise ConfigError(f"access_log_file {config.access_log_file} cannot be written: {error.strerror}") from None
