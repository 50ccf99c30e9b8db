"""What a server can be told, and where it was told: flags, ``FASTNET_*``, ``fastnet.toml``, ``App(settings=)``.

Every setting is a field of :class:`Config`: its name is the key in ``fastnet.toml`` and in ``App(settings=)``; the
flag is ``--that-name`` and the variable ``FASTNET_THAT_NAME``. Those of :class:`ListenerSettings` can be set for one
listener alone, in a table ``[listeners.NAME]`` of ``fastnet.toml``.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from .values import (
    Network,
    Secret,
    parse_choice,
    parse_duration,
    parse_flag,
    parse_integer,
    parse_list,
    parse_mode,
    parse_networks,
    parse_rate,
    parse_size,
)

__all__ = ["Config", "ConfigError", "Listener", "ListenerSettings", "Origins", "parse_duration", "parse_size"]

ENVIRONMENT_PREFIX: Final = "FASTNET_"
FILE: Final = "fastnet.toml"

Origins = dict[str, str]
"""Where each setting that is not a default came from, in words: ``flag --port``, ``fastnet.toml`` …"""


class ConfigError(Exception):
    """A setting that cannot be used; the message says which one, why, and what to write instead."""


def _setting(default: Any, parse: Callable[[str], Any], help: str, group: str = "") -> Any:
    return field(default=default, metadata={"parse": parse, "help": help, "group": group})


@dataclass(frozen=True, kw_only=True)
class ListenerSettings:
    """What each listener can be told for itself. Durations are in seconds, sizes in bytes; 0 turns a limit off."""

    # --- TLS
    tls_cert: str | None = _setting(None, str, "certificate chain in PEM; with --tls-key", "TLS")
    tls_key: str | None = _setting(None, str, "private key in PEM; with --tls-cert", "TLS")
    tls_key_password: Secret | None = _setting(  # noqa: RUF009
        None, Secret, "password of the key, as file:PATH or env:NAME", "TLS"
    )
    tls_extra_certs: tuple[str, ...] = _setting(
        (), parse_list, "further certificates for SNI, as CERT.pem:KEY.pem, comma-separated", "TLS"
    )
    tls_client_ca: str | None = _setting(None, str, "authorities that client certificates are checked by", "TLS")
    tls_client_verify: str = _setting(
        "none", parse_choice("none", "optional", "required"), "whether clients show a certificate", "TLS"
    )
    tls_min_version: str = _setting("1.2", parse_choice("1.2", "1.3"), "oldest TLS version", "TLS")
    tls_ciphers: str | None = _setting(None, str, "ciphers of TLS 1.2 in OpenSSL's syntax", "TLS")
    tls_dev: bool = _setting(False, parse_flag, "serve with a self-signed certificate for development", "TLS")

    # --- what is spoken
    protocols: tuple[str, ...] = _setting(
        ("h2", "http/1.1"), parse_list, "protocols offered: h2, http/1.1", "listening"
    )
    backlog: int = _setting(2048, parse_integer, "connections that may wait to be accepted", "listening")
    unix_mode: int | None = _setting(None, parse_mode, "permissions of Unix sockets, in octal", "listening")
    unix_owner: str | None = _setting(None, str, "owner of Unix sockets, as USER or USER:GROUP", "listening")

    # --- proxies in front
    trusted_proxies: tuple[Network | str, ...] = _setting(
        (), parse_networks, "networks whose Forwarded and X-Forwarded-* fields count; * for all, unix", "proxies"
    )
    proxy_headers: str = _setting(
        "auto",
        parse_choice("auto", "forwarded", "x-forwarded", "none"),
        "which fields of trusted proxies count; auto: Forwarded if it is there, else X-Forwarded-*",
        "proxies",
    )
    proxy_protocol: str = _setting(
        "off", parse_choice("off", "optional", "required"), "PROXY protocol v1 and v2 from trusted proxies", "proxies"
    )
    root_path: str = _setting("", str, "path below which a proxy serves the app, such as /api", "proxies")

    # --- sizes
    limit_request_line: int = _setting(8 * 1024, parse_size, "longest request line; above it 414", "limits")
    limit_head: int = _setting(64 * 1024, parse_size, "largest request head; above it 431", "limits")
    limit_fields: int = _setting(128, parse_integer, "most header fields of a request; above it 431", "limits")

    # --- counts; those of a worker are its own
    limit_connections: int = _setting(
        0,
        parse_integer,
        "open connections of a worker; above it they are refused; 0: as files allow",
        "limits",
    )
    limit_connections_per_address: int = _setting(
        0, parse_integer, "open connections of one address (IPv6: /64) with a worker", "limits"
    )
    limit_streams: int = _setting(100, parse_integer, "requests at once on an HTTP/2 connection", "limits")
    limit_in_flight: int = _setting(0, parse_integer, "requests at once in a worker; above it 503", "limits")
    limit_queue_time: float = _setting(
        0.0, parse_duration, "shed load (503) once the loop is this late for two intervals", "limits"
    )

    # --- time
    timeout_idle: float = _setting(75.0, parse_duration, "silence between two requests of a connection", "timeouts")
    timeout_head: float = _setting(10.0, parse_duration, "time a request head may take; then 408", "timeouts")
    timeout_tls: float = _setting(10.0, parse_duration, "time a TLS hand-shake may take", "timeouts")
    timeout_body: float = _setting(30.0, parse_duration, "silence in a request body; then 408", "timeouts")
    rate_body: int = _setting(
        240, parse_rate, "bytes a second a request body must bring, after 5 s of grace; then 408", "timeouts"
    )
    timeout_write: float = _setting(30.0, parse_duration, "time a peer may refuse to take output", "timeouts")
    rate_write: int = _setting(
        240, parse_rate, "bytes a second a peer must take of output that waits, after 5 s of grace", "timeouts"
    )
    timeout_handler: float = _setting(60.0, parse_duration, "time until an answer begins; then 503", "timeouts")

    # --- logs
    access_log: bool = _setting(False, parse_flag, "log each request", "logs")
    log_level: str = _setting(
        "info", parse_choice("debug", "info", "warning", "error"), "what is logged of connections and requests", "logs"
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

    # --- where
    host: str = _setting("127.0.0.1", str, "address to listen on; empty: every address", "listening")
    port: int = _setting(8000, parse_integer, "port to listen on; 0 takes a free one", "listening")
    bind: tuple[str, ...] = _setting(
        (),
        parse_list,
        "addresses in place of host and port: 0.0.0.0:8000, [::]:8000, unix:PATH, fd:3, systemd",
        "listening",
    )
    admin_bind: tuple[str, ...] = _setting(
        (),
        parse_list,
        "addresses of the private listener; a port alone is loopback",
        "listening",
    )
    sockets: str = _setting(
        "reuseport",
        parse_choice("reuseport", "shared"),
        "with several workers: a listening socket each, or one for all",
        "listening",
    )
    loop: str = _setting(
        "auto",
        parse_choice("auto", "uvloop", "asyncio"),
        "event loop; auto: uvloop where it is installed",
        "listening",
    )

    # --- workers
    workers: int = _setting(1, parse_integer, "worker processes", "workers")
    preload: bool = _setting(False, parse_flag, "import the app before the workers are forked", "workers")
    worker_heartbeat: float = _setting(
        60.0, parse_duration, "a worker whose loop stands still for so long is ended; 0: never", "workers"
    )
    worker_max_age: float = _setting(0.0, parse_duration, "a worker is replaced after this time", "workers")
    worker_max_requests: int = _setting(0, parse_integer, "a worker is replaced after so many requests", "workers")
    worker_max_memory: int = _setting(0, parse_size, "a worker is replaced above this resident memory", "workers")
    worker_jitter: float = _setting(
        0.1, float, "part by which the three limits above differ between workers", "workers"
    )
    pid_file: str | None = _setting(None, str, "file to write the process id to", "workers")
    reload: bool = _setting(False, parse_flag, "restart when a source file changes (development)", "workers")
    reload_paths: tuple[str, ...] = _setting((), parse_list, "folders to watch; the current one", "workers")

    # --- the whole process
    limit_memory: int = _setting(
        512 * 1024**2, parse_size, "bytes that a worker's connections may keep in buffers", "limits"
    )
    timeout_drain: float = _setting(30.0, parse_duration, "time running requests get when the server stops", "timeouts")

    # --- logs and debugging
    log_format: str = _setting(
        "auto", parse_choice("auto", "text", "json"), "auto: text on a terminal, JSON otherwise", "logs"
    )
    log_mask: tuple[str, ...] = _setting(
        ("access_token", "api_key", "apikey", "code", "key", "password", "secret", "sig", "signature", "token"),
        parse_list,
        "query keys whose values are masked in logs",
        "logs",
    )
    stall_threshold: float = _setting(
        1.0, parse_duration, "a handler that blocks the loop for longer is named in the log; 0: never", "logs"
    )
    debug: bool = _setting(False, parse_flag, "asyncio's debug mode, wire traces, and errors shown to clients", "logs")

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
        environment = os.environ if environment is None else environment
        known = {item.name: item for item in fields(cls) if "parse" in item.metadata}
        table, path = _read_file(environment.get(ENVIRONMENT_PREFIX + "CONFIG") if file is None else file)
        tables = table.pop("listeners", {})
        for names, place in ((settings, "settings"), (table, path), (app_settings or {}, "App(settings=)")):
            for name in names:
                if name not in known:
                    raise ConfigError(f"{place}: there is no setting {name!r}{_nearest(name, known)}")
        values: dict[str, Any] = {}
        origins: Origins = {}
        for name, item in known.items():
            variable = ENVIRONMENT_PREFIX + name.upper()
            for found, origin in (
                (settings.get(name), source(name)),
                (environment.get(variable) or None, variable),
                (table.get(name), path),
                ((app_settings or {}).get(name), "App(settings=)"),
            ):
                if found is not None:
                    values[name] = _parsed(item, found, f"{name} ({origin})")
                    origins[name] = origin
                    break
        _check_environment(environment, known)
        config = cls(**values, origins=origins)
        config._check()
        listeners = _listeners(config, tables, path)
        return cls(**values, origins=origins, listeners=listeners)

    def __post_init__(self) -> None:
        if not self.listeners:
            object.__setattr__(self, "listeners", _listeners(self, {}, ""))

    def _check(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port {self.port} does not exist: it must lie between 0 and 65535")
        if self.workers < 1:
            raise ConfigError(f"workers is {self.workers}: at least one has to do the work")
        if not 0 <= self.worker_jitter <= 1:
            raise ConfigError(f"worker_jitter is {self.worker_jitter}: it is a part, from 0 to 1")


def _check_listener(listener: Listener) -> None:
    where = "" if listener.name == "main" else f"listener {listener.name!r}: "
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


def _listeners(config: Config, tables: Mapping[str, Any], path: str) -> tuple[Listener, ...]:
    """The listeners: ``main``, ``admin`` if it is wanted, and those of the file's tables."""
    known = {item.name: item for item in fields(ListenerSettings)}
    defaults = {name: getattr(config, name) for name in known}
    made: list[Listener] = []
    where_told = {"host", "port", "bind"} & set(config.origins)
    if where_told or not tables or "main" in tables:
        host = f"[{config.host}]" if ":" in config.host else config.host
        made.append(Listener(name="main", bind=config.bind or (f"{host}:{config.port}",), **defaults))
    if config.admin_bind:
        bind = tuple(f"127.0.0.1:{place}" if place.isdecimal() else place for place in config.admin_bind)
        plain = {**defaults, "access_log": False, "tls_cert": None, "tls_key": None, "tls_dev": False}
        plain |= {"tls_client_ca": None, "tls_client_verify": "none", "tls_extra_certs": (), "proxy_protocol": "off"}
        made.append(Listener(name="admin", bind=bind, admin=True, **plain))
    for name, table in tables.items():
        place = f"{path}, [listeners.{name}]"
        if not isinstance(table, Mapping):
            raise ConfigError(f"{place} is a table of settings")
        told = dict(table)
        bind = told.pop("bind", None)
        for key in told:
            if key not in known:
                raise ConfigError(f"{place}: there is no setting {key!r} of a listener{_nearest(key, known)}")
        parsed = {key: _parsed(known[key], value, f"{place}: {key}") for key, value in told.items()}
        if name in ("main", "admin") and made and any(one.name == name for one in made):
            old = next(one for one in made if one.name == name)
            values = {item.name: getattr(old, item.name) for item in fields(Listener)}
            made[made.index(old)] = Listener(**{**values, **parsed, **({} if bind is None else {"bind": _binds(bind)})})
            continue
        if bind is None:
            raise ConfigError(f"{place}: bind says where to listen; it is missing")
        made.append(Listener(name=name, bind=_binds(bind), **{**defaults, **parsed}))
    for listener in made:
        _check_listener(listener)
    return tuple(made)


def _binds(value: Any) -> tuple[str, ...]:
    return parse_list(value) if isinstance(value, str) else tuple(str(item) for item in value)


def _read_file(file: str | os.PathLike[str] | None) -> tuple[dict[str, Any], str]:
    """The table of the configuration file, and its name for messages."""
    if file == "":
        return {}, FILE
    path = Path(FILE if file is None else file)
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream), str(path)
    except FileNotFoundError:
        if file is not None:
            raise ConfigError(f"there is no configuration file {path}") from None
        return {}, FILE
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


# Variables that are no settings: of the build, of the tests, and the place of the file.
_OTHER_VARIABLES: Final = frozenset(("BUILD", "ONLY", "JOBS", "CONFIG", "APP"))


def _check_environment(environment: Mapping[str, str], known: Mapping[str, Any]) -> None:
    for variable in environment:
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        if name == variable or name in _OTHER_VARIABLES or name.startswith(("TEST_", "INTERNAL_")):
            continue
        if name.lower() not in known:
            near = get_close_matches(name.lower(), known, n=1)
            hint = f"; did you mean {ENVIRONMENT_PREFIX}{near[0].upper()}?" if near else ""
            raise ConfigError(f"the environment has {variable}, and there is no such setting{hint}")


def _parsed(item: Any, value: Any, source: str) -> Any:
    """A value of whatever source: text as on the command line, or of the right type already."""
    parse = item.metadata["parse"]
    if isinstance(value, (list, tuple)) and parse in (parse_list, parse_networks):
        value = ",".join(str(one) for one in value)
    if isinstance(value, str):
        try:
            return parse(value)
        except ValueError as error:
            raise ConfigError(f"{source}: {error}") from None
    if isinstance(value, bool) and parse is not parse_flag:
        raise ConfigError(f"{source}: {value} is neither text nor a number")
    return value


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else "; `fastnet config` lists them all"
