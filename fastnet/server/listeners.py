"""Listening sockets: made from the settings, owned by whoever lives longest, served by one worker after another.

With ``sockets=reuseport`` every place (of a worker) has a socket of its own for each TCP address, and the kernel
spreads connections over them. The sockets belong to the place and not to the worker: what waits in the queue of one
whose worker died is served by its successor.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from .addresses import Address, parse_address
from .config import ConfigError, Listener
from .systemd import passed_descriptors

__all__ = ["Listening", "Place"]

Place = dict[str, list[socket.socket]]
"""What one worker listens on: the sockets of each listener by its name."""

PRIVILEGED: Final = 1024


@dataclass
class _Entry:
    """One address of a listener. ``sockets`` has one for all places, or one for each if they are ``separate``."""

    listener: str
    bind: str
    address: str
    sockets: list[socket.socket]
    separate: bool = False
    # Device and inode of the socket file that we made, and have to remove.
    file: tuple[int, int] | None = None


class Listening:
    """All listening sockets of a server. ``open`` raises :class:`ConfigError`, one line for each thing that fails."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._inherited: list[_Entry] = []

    @classmethod
    def open(
        cls,
        listeners: Iterable[Listener],
        *,
        places: int = 1,
        separate: bool = False,
        inherited: Sequence[dict[str, Any]] = (),
    ) -> Self:
        """Bind every address of every listener, ``separate``\\ ly for each place where the kernel can do that.

        ``inherited`` is what ``hand_over`` gave in the process image before this one: those sockets are used
        again, and closed where no listener wants them any more. Nothing listens yet: what serves does that.
        """
        self = cls()
        self._inherited = [_restored(item) for item in inherited]
        try:
            for listener in listeners:
                for bind in listener.bind:
                    self._open(listener, bind, places, separate)
        except BaseException:
            self.close()
            raise
        for entry in self._inherited:
            _close(entry)
        self._inherited = []
        return self

    def _open(self, listener: Listener, bind: str, places: int, separate: bool) -> None:
        where = "" if listener.name == "main" else f"listener {listener.name!r}: "
        try:
            address = parse_address(bind)
            if address.kind == "tcp":
                self._open_tcp(listener, bind, address, places, separate)
            elif address.kind == "unix":
                if not self._take(listener.name, bind, address.host):
                    self._entries.append(_open_unix(listener, bind, address.host))
            elif not self._take(listener.name, bind, bind):
                self._entries += [_Entry(listener.name, bind, bind, [sock]) for sock in _passed(address)]
        except ValueError as error:
            raise ConfigError(f"{where}{error}") from None

    def _open_tcp(self, listener: Listener, bind: str, address: Address, places: int, separate: bool) -> None:
        found = _resolve(address)
        port = address.port
        missing: OSError | None = None
        made = 0
        for family, place in found:
            if self._take(listener.name, bind, place[0]):
                entry = self._entries[-1]
            else:
                target = (place[0], port, *place[2:])
                try:
                    entry = _Entry(listener.name, bind, place[0], [_bind_tcp(family, target, separate)], separate)
                except OSError as error:
                    # Of the addresses of a name, or of both families, those count that the machine has.
                    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                        missing = error
                        continue
                    raise ValueError(_tcp_failure(place[0], port, error)) from None
                self._entries.append(entry)
            made += 1
            # Port 0: the same free port for every address and every place.
            port = entry.sockets[0].getsockname()[1]
            _grow(entry, places)
        if missing is not None and not made:
            raise ValueError(_tcp_failure(address.host, port, missing))

    def _take(self, listener: str, bind: str, address: str) -> bool:
        """Use what was inherited for this address, if anything was."""
        found = [one for one in self._inherited if (one.listener, one.bind, one.address) == (listener, bind, address)]
        self._inherited = [one for one in self._inherited if one not in found]
        self._entries += found
        return bool(found)

    def listen(self, listeners: Iterable[Listener]) -> None:
        """Let connections come before anybody serves them. Raises :class:`ConfigError`."""
        backlogs = {one.name: one.backlog for one in listeners}
        for entry in self._entries:
            for sock in entry.sockets:
                try:
                    sock.listen(backlogs[entry.listener])
                except OSError as error:
                    raise ConfigError(f"{entry.bind} cannot be listened on: {error.strerror}") from None

    # --- who serves what

    def grow(self, places: int) -> None:
        """Make sure that there are sockets for so many places. Raises :class:`ConfigError`."""
        for entry in self._entries:
            try:
                _grow(entry, places)
            except OSError as error:
                raise ConfigError(f"{entry.bind} cannot be bound once more: {error.strerror}") from None

    def of(self, place: int, places: int = 1) -> Place:
        """The sockets of one of so many places; the first one has those of places that are no more as well."""
        found: Place = {}
        for entry in self._entries:
            own = found.setdefault(entry.listener, [])
            if not entry.separate:
                own.append(entry.sockets[0])
                continue
            if place < len(entry.sockets):
                own.append(entry.sockets[place])
            if place == 0:
                own += entry.sockets[max(places, 1) :]
        return found

    def keep(self, place: Place) -> None:
        """In a worker: close its copies of all sockets but those of its own place."""
        kept = {sock for sockets in place.values() for sock in sockets}
        for entry in self._entries:
            for sock in entry.sockets:
                if sock not in kept:
                    sock.close()
        self._entries = []

    def urls(self, listeners: Iterable[Listener]) -> list[tuple[str, str]]:
        """Name and URL of every address that is listened on."""
        secure = {one.name: one.tls_cert is not None or one.tls_dev for one in listeners}
        return [(entry.listener, url_of(entry.sockets[0], secure[entry.listener])) for entry in self._entries]

    # --- ends

    def hand_over(self) -> list[dict[str, Any]]:
        """Let the sockets survive ``exec``; what ``open`` needs of them there."""
        for entry in self._entries:
            for sock in entry.sockets:
                sock.set_inheritable(True)
        return [
            {
                "listener": entry.listener,
                "bind": entry.bind,
                "address": entry.address,
                "fds": [sock.fileno() for sock in entry.sockets],
                "separate": entry.separate,
                "file": entry.file,
            }
            for entry in self._entries
        ]

    def close(self) -> None:
        """Close all sockets, and remove the files of those that we made."""
        for entry in self._entries + self._inherited:
            _close(entry)
        self._entries = self._inherited = []


def url_of(sock: socket.socket, secure: bool) -> str:
    """``http://host:port`` (https with TLS) or ``unix:/path`` of a listening socket, without a slash at the end."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        if isinstance(name, bytes):
            name = name.decode(errors="replace")
        return f"unix:{name.replace(chr(0), '@', 1)}"
    host, port = str(name[0]), name[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{host}:{port}"


def _restored(item: dict[str, Any]) -> _Entry:
    sockets = [socket.socket(fileno=descriptor) for descriptor in item["fds"]]
    for sock in sockets:
        sock.set_inheritable(False)
    file = item["file"]
    identity = None if file is None else (file[0], file[1])
    return _Entry(item["listener"], item["bind"], item["address"], sockets, item["separate"], identity)


def _close(entry: _Entry) -> None:
    for sock in entry.sockets:
        sock.close()
    if entry.file is not None:
        with contextlib.suppress(OSError):
            found = os.stat(entry.address)
            # Somebody may have put a socket of their own in its place meanwhile.
            if (found.st_dev, found.st_ino) == entry.file:
                os.unlink(entry.address)


# --- TCP


def _resolve(address: Address) -> list[tuple[int, Any]]:
    """Family and socket address of everything that a host name stands for; all addresses for an empty one."""
    try:
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"host {address.host!r} cannot be resolved: {reason}") from None
    return list(dict.fromkeys((int(family), place) for family, _, _, _, place in found))


def _bind_tcp(family: int, target: Any, separate: bool) -> socket.socket:
    if separate and target[1]:
        # SO_REUSEPORT would let a second server of the same user share the port without a word.
        _bound(family, target, False).close()
    return _bound(family, target, separate)


def _bound(family: int, target: Any, separate: bool) -> socket.socket:
    # IPPROTO_TCP explicitly: asyncio sets TCP_NODELAY only where it sees it.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if separate:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(target)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _grow(entry: _Entry, places: int) -> None:
    if entry.separate:
        sock = entry.sockets[0]
        while len(entry.sockets) < places:
            entry.sockets.append(_bound(sock.family, sock.getsockname(), True))


def _tcp_failure(host: str, port: int, error: OSError) -> str:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(error, PermissionError) and port < PRIVILEGED:
        return (
            f"{where} needs privileges: ports below {PRIVILEGED} do; choose one above with --port, "
            "or give the program CAP_NET_BIND_SERVICE"
        )
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken by another process: stop that one, or choose another port with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where} is no address of this machine: choose one that it has, or 0.0.0.0 for all, with --host"
    return f"{where} cannot be listened on: {error.strerror}"


# --- Unix sockets, and sockets passed on


def _open_unix(listener: Listener, bind: str, path: str) -> _Entry:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    entry = _Entry(listener.name, bind, path, [sock])
    try:
        sock.setblocking(False)
        if path.startswith("@"):
            sock.bind("\0" + path[1:])
            return entry
        _remove_stale(path)
        sock.bind(path)
        found = os.stat(path)
        entry.file = (found.st_dev, found.st_ino)
        # Nobody can connect before we listen, so nobody gets in by the permissions of a moment.
        if listener.unix_owner is not None:
            os.chown(path, *_owner(listener.unix_owner))
        if listener.unix_mode is not None:
            os.chmod(path, listener.unix_mode)
        return entry
    except OSError as error:
        _close(entry)
        if entry.file is not None:
            raise ValueError(f"{path}: its owner or mode cannot be set: {error.strerror}") from None
        raise ValueError(_unix_failure(path, error)) from None
    except ValueError:
        _close(entry)
        raise


def _remove_stale(path: str) -> None:
    """Remove the file of a server that is no more; nothing else."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ValueError(f"{path} exists and is no socket: remove it, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # its queue is full: somebody listens
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _unix_failure(path: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"unix:{path} is taken by another process: stop that one, or choose another path"
    if isinstance(error, FileNotFoundError):
        return f"unix:{path} cannot be made: there is no folder {os.path.dirname(path)}"
    if isinstance(error, PermissionError):
        return f"unix:{path} cannot be made: this user may not write to {os.path.dirname(path) or '.'}"
    return f"unix:{path} cannot be listened on: {error.strerror}"


def _owner(text: str) -> tuple[int, int]:
    """User and group id of ``USER``, ``USER:GROUP`` or ``:GROUP``; -1 leaves one as it is."""
    user, _, group = text.partition(":")
    try:
        uid = -1 if not user else int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ValueError(f"unix_owner {text!r}: there is no user {user!r}") from None
    try:
        gid = -1 if not group else int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise ValueError(f"unix_owner {text!r}: there is no group {group!r}") from None
    return uid, gid


def _passed(address: Address) -> list[socket.socket]:
    """The sockets behind ``fd:N`` and ``systemd:NAME``."""
    if address.kind == "fd":
        return [_adopt(address.port, f"fd:{address.port}")]
    found = passed_descriptors()
    if not found:
        raise ValueError("systemd passed no sockets: start the service by its .socket unit, or choose an address")
    wanted = [number for number, name in found if address.host in ("", name)]
    if not wanted:
        names = ", ".join(sorted({name for _, name in found}))
        raise ValueError(f"systemd passed no socket called {address.host!r}; there are {names}")
    return [_adopt(number, f"systemd's descriptor {number}") for number in wanted]


def _adopt(number: int, what: str) -> socket.socket:
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            raise ValueError(f"{what} is no socket")
        # A copy: the same descriptor may be wanted by two listeners, and closed by each.
        sock = socket.socket(fileno=os.dup(number))
    except OSError as error:
        raise ValueError(f"{what} is not open: {error.strerror}") from None
    if sock.type != socket.SOCK_STREAM or sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        sock.close()
        raise ValueError(f"{what} is no stream socket: TCP and Unix sockets are served")
    sock.setblocking(False)
    return sock
