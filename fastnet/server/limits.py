"""From the settings of a listener to what the engine enforces on its connections."""

from __future__ import annotations

import resource
from collections.abc import Sequence

from fastnet_ext.exchange.exchange import Observer
from fastnet_ext.exchange.guards import InFlightLimit
from fastnet_ext.http1.reader import Limits as Http1Limits
from fastnet_ext.http2.limits import Limits as Http2Limits
from fastnet_ext.net.protocols import OnePort
from fastnet_ext.net.service import Service
from fastnet_ext.net.tls import TlsSource
from fastnet_ext.serve.dispatch import Dispatcher

from .config import Config, ConfigError, Listener
from .proxies import proxies_of

__all__ = ["connections_allowed", "service_of", "sweep_interval"]

# Descriptors that connections leave to the rest: listening sockets, logs, databases, files.
RESERVE = 64
# Where so few are allowed that the reserve would take them all.
LEAST_CONNECTIONS = 16


def service_of(
    dispatcher: Dispatcher,
    listener: Listener,
    tls: TlsSource | None = None,
    observers: Sequence[Observer] = (),
    *,
    trace: bool = False,
) -> Service:
    """What serves the connections of a listener, encrypted when ``tls`` is given; ``observers`` see its requests.

    Raises ``ConfigError`` for limits that cannot be.
    """
    gate = InFlightLimit(listener.limit_in_flight) if listener.limit_in_flight else None
    try:
        http1 = Http1Limits(
            request_line=listener.limit_request_line, head=listener.limit_head, fields=listener.limit_fields
        )
        http2 = Http2Limits(
            max_concurrent_streams=listener.limit_streams,
            header_list=listener.limit_head,
            fields=listener.limit_fields,
            ping_interval=listener.keepalive_min_interval,
        )
    except ValueError as error:
        raise ConfigError(f"listener {listener.name!r}: a limit cannot be used: {error}") from None
    return Service(
        # What is asked of the private listener says how the server is: it is answered however full the server is.
        dispatcher.of_listener(gate, sheds=not listener.admin),
        OnePort(listener.protocols),
        http1,
        http2,
        name=listener.name,
        silent=listener.log_level in ("warning", "error"),
        idle_timeout=listener.timeout_idle,
        head_timeout=listener.timeout_head,
        body_timeout=listener.timeout_body,
        write_timeout=listener.timeout_write,
        handler_timeout=listener.timeout_handler,
        keepalive_time=listener.keepalive_time,
        keepalive_timeout=listener.keepalive_timeout,
        websocket_keepalive=listener.keepalive_websocket,
        connection_age=listener.max_connection_age,
        connection_age_grace=listener.max_connection_age_grace,
        queue_time=listener.limit_queue_time,
        body_rate=listener.rate_body,
        write_rate=listener.rate_write,
        connections=0 if listener.admin else listener.limit_connections or connections_allowed(),
        connections_per_address=listener.limit_connections_per_address,
        proxies=proxies_of(listener),
        tls=tls,
        tls_timeout=listener.timeout_tls,
        trace=trace,
        observers=observers,
    )


def connections_allowed() -> int:
    """How many connections the files that the process may open allow; 0 when nothing limits them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if soft == resource.RLIM_INFINITY else max(soft - RESERVE, LEAST_CONNECTIONS)


def sweep_interval(config: Config) -> float:
    """Seconds between two looks at the deadlines: short limits want finer ones."""
    limits = [
        seconds
        for listener in config.listeners
        for seconds in (
            listener.timeout_idle,
            listener.timeout_head,
            listener.timeout_tls,
            listener.timeout_body,
            listener.timeout_write,
            listener.timeout_handler,
            listener.limit_queue_time,
            listener.keepalive_time,
            listener.keepalive_timeout,
            listener.keepalive_websocket,
            listener.max_connection_age,
            listener.max_connection_age_grace,
        )
        if seconds
    ]
    return min(max(min(limits, default=1.0) / 4, 0.05), 1.0)
