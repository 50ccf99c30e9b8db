"""What a server can be told, and where it was told: flags, ``FASTNET_*``, ``fastnet.toml``, ``App(settings=)``.

Every setting is a field of :class:`Config`: its name is the key in ``fastnet.toml`` and in ``App(settings=)``; the
flag is ``--that-name`` and the variable ``FASTNET_THAT_NAME``. Those of :class:`ListenerSettings` can be set for one
listener alone, in a table ``[listeners.NAME]`` of ``fastnet.toml``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from fastnet.observability.masking import SECRET_KEYS
from fastnet_ext.proxy.forwarded import clean_prefix

from .addresses import parse_address
from .sources import ConfigError, Origins, Sources, nearest
from .values import (
    DURATION,
    FILE,
    FLAG,
    INTEGER,
    LIST,
    MODE,
    NETWORKS,
    PART,
    RATE,
    SECRET,
    SIZE,
    TEXT,
    Kind,
    Network,
    Secret,
    choice,
    parse_duration,
    parse_size,
)

__all__ = [
    "GROUPS",
    "LISTENER_SETTINGS",
    "SETTINGS",
    "Config",
    "ConfigError",
    "Listener",
    "ListenerSettings",
    "Origins",
    "Setting",
    "parse_duration",
    "parse_size",
]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting: what it is called, how it is written, and the values that it may have."""

    name: str
    kind: Kind
    default: Any
    help: str
    group: str
    least: int
    most: int | None

    def read(self, value: Any, place: str) -> Any:
        """The value that `value` stands for, told at `place`. Raises :class:`ConfigError`."""
        try:
            found = self.kind.read(value)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from None
        if self.least and found < self.least:
            raise ConfigError(
                f"{place}: {self.kind.write(found)} is too little: at least {self.kind.write(self.least)}"
            )
        if self.most is not None and found > self.most:
            raise ConfigError(f"{place}: {self.kind.write(found)} is too much: at most {self.kind.write(self.most)}")
        return found


def _setting(default: Any, kind: Kind, help: str, group: str, *, least: int = 0, most: int | None = None) -> Any:
    return field(default=default, metadata={"kind": kind, "help": help, "group": group, "least": least, "most": most})


GROUPS: Final = {
    "app": "the app",
    "listening": "listening",
    "TLS": "TLS",
    "proxies": "proxies in front",
    "workers": "workers",
    "limits": "limits (sizes: 65536, 64KiB, 1MiB; 0: off)",
    "timeouts": "timeouts (30s, 5m, 250ms; 0: off)",
    "keepalive": "connections that live long (0: off)",
    "logs": "logs and debugging",
}
"""What the settings of a group are about, in the order of ``--help`` and the documentation."""


def _settings_of(table: type) -> dict[str, Setting]:
    found = [Setting(name=item.name, default=item.default, **item.metadata) for item in fields(table) if item.metadata]
    return {item.name: item for group in GROUPS for item in found if item.group == group}


# What the HTTP/1 reader can be told at most.
_MOST_BYTES: Final = 64 * 1024**2


@dataclass(frozen=True, kw_only=True)
class ListenerSettings:
    """What each listener can be told for itself. Durations are in seconds, sizes in bytes; 0 turns a limit off."""

    # --- TLS
    tls_cert: str | None = _setting(None, FILE, "certificate chain in PEM; with --tls-key", "TLS")
    tls_key: str | None = _setting(None, FILE, "private key in PEM; with --tls-cert", "TLS")
    tls_key_password: Secret | None = _setting(  # noqa: RUF009 - a field, as all of these are
        None, SECRET, "password of the key, as file:PATH or env:NAME", "TLS"
    )
    tls_extra_certs: tuple[str, ...] = _setting(
        (), LIST, "further certificates for SNI, as CERT.pem:KEY.pem, comma-separated", "TLS"
    )
    tls_client_ca: str | None = _setting(None, FILE, "authorities that client certificates are checked by", "TLS")
    tls_client_verify: str = _setting(
        "none", choice("none", "optional", "required"), "whether clients show a certificate", "TLS"
    )
    tls_min_version: str = _setting("1.2", choice("1.2", "1.3"), "oldest TLS version", "TLS")
    tls_ciphers: str | None = _setting(None, TEXT, "ciphers of TLS 1.2 in OpenSSL's syntax", "TLS")
    tls_dev: bool = _setting(False, FLAG, "serve with a self-signed certificate for development", "TLS")

    # --- what is spoken
    protocols: tuple[str, ...] = _setting(("h2", "http/1.1"), LIST, "protocols offered: h2, http/1.1", "listening")
    backlog: int = _setting(
        2048, INTEGER, "connections that may wait to be accepted", "listening", least=1, most=2**31 - 1
    )
    unix_mode: int | None = _setting(None, MODE, "permissions of Unix sockets, in octal", "listening")
    unix_owner: str | None = _setting(None, TEXT, "owner of Unix sockets, as USER or USER:GROUP", "listening")

    # --- proxies in front
    trusted_proxies: tuple[Network | str, ...] = _setting(
        (), NETWORKS, "networks whose Forwarded and X-Forwarded-* fields count; * for all, unix", "proxies"
    )
    proxy_headers: str = _setting(
        "auto",
        choice("auto", "forwarded", "x-forwarded", "none"),
        "which fields of trusted proxies count; auto: X-Forwarded-* if there is any of them, else Forwarded",
        "proxies",
    )
    proxy_protocol: str = _setting(
        "off", choice("off", "optional", "required"), "PROXY protocol v1 and v2 from trusted proxies", "proxies"
    )
    root_path: str = _setting("", TEXT, "path below which a proxy serves the app, such as /api", "proxies")

    # --- sizes
    limit_request_line: int = _setting(
        8 * 1024, SIZE, "longest request line; above it 414", "limits", least=128, most=_MOST_BYTES
    )
    limit_head: int = _setting(
        64 * 1024, SIZE, "largest request head; above it 431", "limits", least=128, most=_MOST_BYTES
    )
    limit_fields: int = _setting(
        128, INTEGER, "most header fields of a request; above it 431", "limits", least=1, most=1024
    )

    # --- counts; those of a worker are its own
    limit_connections: int = _setting(
        0,
        INTEGER,
        "open connections of a worker; above it they are refused; 0: as files allow",
        "limits",
    )
    limit_connections_per_address: int = _setting(
        0, INTEGER, "open connections of one address (IPv6: /64) with a worker", "limits"
    )
    limit_streams: int = _setting(
        100, INTEGER, "requests at once on an HTTP/2 connection", "limits", least=1, most=2**20
    )
    limit_in_flight: int = _setting(0, INTEGER, "requests at once in a worker; above it 503", "limits")
    limit_queue_time: float = _setting(
        5.0,
        DURATION,
        "time a request may wait for its turn, and the loop may be behind; then 503; 0: no waiting",
        "limits",
    )

    # --- time
    timeout_idle: float = _setting(75.0, DURATION, "silence between two requests of a connection", "timeouts")
    timeout_head: float = _setting(10.0, DURATION, "time a request head may take; then 408", "timeouts")
    timeout_tls: float = _setting(10.0, DURATION, "time a TLS hand-shake may take", "timeouts")
    timeout_body: float = _setting(30.0, DURATION, "silence in a request body; then 408", "timeouts")
    rate_body: int = _setting(
        240, RATE, "bytes a second a request body must bring, after 5 s of grace; then 408", "timeouts"
    )
    timeout_write: float = _setting(30.0, DURATION, "time a peer may refuse to take output", "timeouts")
    rate_write: int = _setting(
        240, RATE, "bytes a second a peer must take of output that waits, after 5 s of grace", "timeouts"
    )
    timeout_handler: float = _setting(60.0, DURATION, "time until an answer begins; then 503", "timeouts")

    # --- connections of HTTP/2
    keepalive_time: float = _setting(
        60.0, DURATION, "silence of a peer with open streams until it is pinged", "keepalive"
    )
    keepalive_timeout: float = _setting(
        20.0, DURATION, "time that it then has to say anything before it is cut off", "keepalive"
    )
    keepalive_websocket: float = _setting(
        20.0,
        DURATION,
        "silence of a WebSocket's peer until it is pinged; after two unanswered pings it is cut off",
        "keepalive",
    )
    keepalive_min_interval: float = _setting(
        5.0, DURATION, "pings of a peer to which nothing is sent must be so far apart; 2 may be closer", "keepalive"
    )
    max_connection_age: float = _setting(
        0.0, DURATION, "age, a tenth more or less, at which a connection takes no new streams", "keepalive"
    )
    max_connection_age_grace: float = _setting(
        30.0, DURATION, "time that the streams of such a connection have left; 0: all they want", "keepalive"
    )

    # --- logs
    access_log: bool = _setting(False, FLAG, "log each request", "logs")
    log_level: str = _setting(
        "info", choice("debug", "info", "warning", "error"), "what is logged of connections and requests", "logs"
    )


@dataclass(frozen=True, kw_only=True)
class Listener(ListenerSettings):
    """A place to listen at, and its settings.

    ``bind`` holds addresses: ``127.0.0.1:8000``, ``[::1]:8000``, ``localhost:8000``, ``unix:/run/app.sock``,
    ``unix:@abstract``, ``fd:3``, ``systemd`` (all sockets passed on) or ``systemd:NAME``.
    """

    name: str
    bind: tuple[str, ...]
    admin: bool = False


@dataclass(frozen=True, kw_only=True)
class Config(ListenerSettings):
    """All settings of a server; those of a listener are the defaults of each."""

    # --- what
    app: str | None = _setting(
        None, TEXT, "the app to serve when none is named, as module:app or module:create_app()", "app"
    )
    app_dir: str | None = _setting(None, FILE, "folder that the app is looked for in before all others", "app")
    factory: bool = _setting(False, FLAG, "module:app is a function without arguments that makes the app", "app")
    interface: str = _setting(
        "auto",
        choice("auto", "fastnet", "asgi", "wsgi"),
        "what the app is: ours, an ASGI 3 or a WSGI application; auto finds out",
        "app",
    )
    lifespan: str = _setting(
        "auto",
        choice("auto", "on", "off"),
        "lifespan of an ASGI application; on: it has to have one; off: it is not told",
        "app",
    )
    wsgi_threads: int = _setting(40, INTEGER, "requests at once in a worker's WSGI application", "app", least=1)
    env_file: str | None = _setting(
        None, FILE, "file of variables, NAME=value; .env in the current folder with --debug or --reload", "app"
    )

    # --- where
    host: str = _setting("127.0.0.1", TEXT, "address to listen on; empty: every address", "listening")
    port: int = _setting(8000, INTEGER, "port to listen on; 0 takes a free one", "listening", most=65535)
    bind: tuple[str, ...] = _setting(
        (),
        LIST,
        "addresses in place of host and port: 0.0.0.0:8000, [::]:8000, unix:PATH, fd:3, systemd",
        "listening",
    )
    admin_bind: tuple[str, ...] = _setting(
        (),
        LIST,
        "addresses of the private listener; a port alone is loopback",
        "listening",
    )
    sockets: str = _setting(
        "reuseport",
        choice("reuseport", "shared"),
        "with several workers: a listening socket each, or one for all",
        "listening",
    )
    loop: str = _setting(
        "auto",
        choice("auto", "uvloop", "asyncio"),
        "event loop; auto: uvloop where it is installed",
        "listening",
    )

    # --- workers
    workers: int = _setting(1, INTEGER, "worker processes", "workers", least=1, most=1024)
    supervise: str = _setting(
        "auto",
        choice("auto", "always"),
        "workers under a supervisor; auto: with several, with a limit of their lives, and to reload",
        "workers",
    )
    preload: bool = _setting(False, FLAG, "import the app before the workers are forked", "workers")
    worker_heartbeat: float = _setting(
        60.0, DURATION, "a worker whose loop stands still for so long is ended; 0: never", "workers"
    )
    worker_max_age: float = _setting(0.0, DURATION, "a worker is replaced after this time", "workers")
    worker_max_requests: int = _setting(0, INTEGER, "a worker is replaced after so many requests", "workers")
    worker_max_memory: int = _setting(0, SIZE, "a worker is replaced above this resident memory", "workers")
    worker_jitter: float = _setting(0.1, PART, "part by which the three limits above differ between workers", "workers")
    pid_file: str | None = _setting(None, FILE, "file to write the process id to", "workers")
    reload: bool = _setting(False, FLAG, "restart when a source file changes (development)", "workers")
    reload_paths: tuple[str, ...] = _setting((), LIST, "folders to watch; the current one and app_dir", "workers")

    # --- the whole process
    limit_memory: int = _setting(512 * 1024**2, SIZE, "bytes that a worker's connections may keep in buffers", "limits")
    timeout_drain: float = _setting(30.0, DURATION, "time running requests get when the server stops", "timeouts")

    # --- logs and debugging
    log_format: str = _setting(
        "auto", choice("auto", "text", "json"), "auto: text on a terminal, JSON otherwise", "logs"
    )
    access_log_file: str | None = _setting(
        None, FILE, "file that the access log is appended to; none: standard output", "logs"
    )
    log_mask: tuple[str, ...] = _setting(
        SECRET_KEYS,
        LIST,
        "query keys whose values are masked in logs",
        "logs",
    )
    stall_threshold: float = _setting(
        1.0, DURATION, "a handler that blocks the loop for longer is named in the log; 0: never", "logs"
    )
    debug: bool = _setting(False, FLAG, "asyncio's debug mode, wire traces, and errors shown to clients", "logs")

    listeners: tuple[Listener, ...] = ()
    """Where to listen: one entry called ``main`` for host, port and bind, ``admin`` for admin_bind, then those of
    ``[listeners.NAME]``."""
    origins: Origins = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def load(
        cls,
        settings: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        *,
        file: str | os.PathLike[str] | None = None,
        app_settings: Mapping[str, Any] | None = None,
        source: Callable[[str], str] = "given as {}".format,
    ) -> Config:
        """Settings given in code or as flags, then ``FASTNET_*``, the file, those of the app, then the defaults.

        ``file`` is read when it is given; ``None`` reads ``fastnet.toml`` in the current folder if there is one, and
        an empty string no file. Text is parsed as on the command line. ``source`` puts into words where ``settings``
        come from. Raises :class:`ConfigError`.
        """
        sources = Sources(
            settings, os.environ if environment is None else environment, SETTINGS, file=file, source=source
        )
        return cls.from_sources(sources, app_settings)

    @classmethod
    def from_sources(cls, sources: Sources, app_settings: Mapping[str, Any] | None = None) -> Config:
        """What the sources tell, and below them the settings of the app. Raises :class:`ConfigError`."""
        sources = sources.with_app(app_settings or {})
        values: dict[str, Any] = {}
        origins: Origins = {}
        ranks: dict[str, int] = {}
        for name, setting in SETTINGS.items():
            told = sources.find(name)
            if told is not None:
                values[name] = setting.read(told.value, f"{name} ({told.origin})")
                origins[name] = told.origin
                ranks[name] = told.rank
        # host and port are one way to say where, bind the other: what was told with more weight counts.
        place_rank = min(ranks.get("host", _UNTOLD), ranks.get("port", _UNTOLD))
        if "bind" in ranks and place_rank < _UNTOLD:
            if ranks["bind"] == place_rank:
                raise ConfigError(
                    f"bind ({origins['bind']}) stands in place of host and port: leave out one or the other"
                )
            if place_rank < ranks["bind"]:
                del values["bind"], origins["bind"], ranks["bind"]
        place_rank = min(place_rank, ranks.get("bind", _UNTOLD))
        settings = {name: values.get(name, setting.default) for name, setting in SETTINGS.items()}
        listeners, more_origins = _listeners(settings, sources, place_rank)
        return cls(**values, origins=origins | more_origins, listeners=listeners)

    def __post_init__(self) -> None:
        if not self.listeners:
            settings = {name: getattr(self, name) for name in SETTINGS}
            object.__setattr__(self, "listeners", (_main(settings), *_admin(settings)))
        for listener in self.listeners:
            _check_listener(listener)


SETTINGS: Final = _settings_of(Config)
"""Every setting by its name, in the order of the documentation."""
LISTENER_SETTINGS: Final = _settings_of(ListenerSettings)
"""Those that a listener can be told for itself."""

_BIND: Final = SETTINGS["bind"]
_UNTOLD: Final = 99


def _check_listener(listener: Listener) -> None:
    where = "" if listener.name == "main" else f"listener {listener.name!r}: "
    if not listener.bind:
        raise ConfigError(f"{where}bind says where to listen; it is empty")
    for bind in listener.bind:
        try:
            parse_address(bind)
        except ValueError as error:
            raise ConfigError(f"{where}{error}") from None
    if (listener.tls_cert is None) != (listener.tls_key is None):
        raise ConfigError(f"{where}tls_cert and tls_key belong together: give both or none")
    if listener.tls_dev and listener.tls_cert is not None:
        raise ConfigError(f"{where}tls_dev makes a certificate of its own: leave out tls_cert, or tls_dev")
    if listener.tls_client_verify != "none" and listener.tls_client_ca is None:
        raise ConfigError(f"{where}tls_client_verify needs tls_client_ca: whose certificates are clients to show?")
    unknown = [name for name in listener.protocols if name not in ("h2", "http/1.1")]
    if unknown or not listener.protocols:
        raise ConfigError(f"{where}protocols are h2 and http/1.1, not {', '.join(unknown) or 'none at all'}")
    if listener.root_path and not listener.root_path.startswith("/"):
        raise ConfigError(f"{where}root_path {listener.root_path!r} has to start with a slash")
    if listener.limit_head < listener.limit_request_line:
        raise ConfigError(f"{where}limit_head must not be below limit_request_line, which is part of it")
    if listener.proxy_protocol != "off" and not listener.trusted_proxies:
        raise ConfigError(
            f"{where}proxy_protocol {listener.proxy_protocol} needs trusted_proxies: whose word counts? * is all"
        )
    if clean_prefix(listener.root_path) is None:
        raise ConfigError(
            f"{where}root_path {listener.root_path!r} is no clean path: leave out empty, . and .. segments, and "
            "percent-encode what is no ASCII"
        )


# What the private listener does not take over from the settings for all: it is not what the public talks to.
_ADMIN_PLAIN: Final = {
    "access_log": False,
    "tls_cert": None,
    "tls_key": None,
    "tls_dev": False,
    "tls_client_ca": None,
    "tls_client_verify": "none",
    "tls_extra_certs": (),
    "proxy_protocol": "off",
}


def _defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in LISTENER_SETTINGS}


def _main(settings: Mapping[str, Any]) -> Listener:
    host = f"[{settings['host']}]" if ":" in settings["host"] else settings["host"]
    return Listener(name="main", bind=settings["bind"] or (f"{host}:{settings['port']}",), **_defaults(settings))


def _admin(settings: Mapping[str, Any]) -> tuple[Listener, ...]:
    """The private listener, if it is wanted: a port alone is loopback."""
    bind = tuple(f"127.0.0.1:{place}" if place.isdecimal() else place for place in settings["admin_bind"])
    return (Listener(name="admin", bind=bind, admin=True, **_defaults(settings) | _ADMIN_PLAIN),) if bind else ()


def _listeners(settings: Mapping[str, Any], sources: Sources, place_rank: int) -> tuple[tuple[Listener, ...], Origins]:
    """The listeners: ``main``, ``admin`` if it is wanted, and those of the tables; and where theirs was told.

    ``place_rank`` is how much weight the place of ``main`` has that the settings for all gave it.
    """
    tables = sources.tables()
    base: dict[str, Listener] = {}
    if place_rank < _UNTOLD or not tables or "main" in tables:
        base["main"] = _main(settings)
    for listener in _admin(settings):
        base["admin"] = listener
    origins: Origins = {}
    made: dict[str, Listener] = dict(base)
    for name, told in tables.items():
        values: dict[str, Any] = {}
        for key, one in told.items():
            if key == "bind":
                # A flag or variable says more than a table: `--port 9000` is where main listens.
                if name == "main" and place_rank < one.rank:
                    continue
                setting = _BIND
            elif key in LISTENER_SETTINGS:
                setting = LISTENER_SETTINGS[key]
            elif key in SETTINGS:
                raise ConfigError(
                    f"{one.origin}: {key!r} is a setting of the whole server: write it at the top of the file"
                )
            else:
                hint = nearest(key, ("bind", *LISTENER_SETTINGS))
                raise ConfigError(f"{one.origin}: there is no setting {key!r} of a listener{hint}")
            values[key] = setting.read(one.value, f"{key} ({one.origin})")
            origins[f"listeners.{name}.{key}"] = one.origin
        if name not in base and "bind" not in values:
            raise ConfigError(f"listener {name!r}: bind says where to listen; it is missing")
        if name in base:
            known = {item.name: getattr(base[name], item.name) for item in fields(Listener)}
        elif name == "admin":
            known = {"name": name, "admin": True, **_defaults(settings), **_ADMIN_PLAIN}
        else:
            known = {"name": name, **_defaults(settings)}
        made[name] = Listener(**{**known, **values})
    return tuple(made.values()), origins
