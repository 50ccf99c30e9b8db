from collections.abc import Sequence
from typing import final

from fastnet_ext.exchange.exchange import Observer
from fastnet_ext.http1.reader import Limits as Http1Limits
from fastnet_ext.http2.limits import Limits as Http2Limits
from fastnet_ext.net.tls import TlsSource
from fastnet_ext.proxy.forwarded import Proxies
from fastnet_ext.serve.dispatch import Dispatcher

class Negotiator: ...

@final
class Service:
    dispatcher: Dispatcher
    negotiator: Negotiator
    name: str
    silent: bool
    http1: Http1Limits
    http2: Http2Limits
    proxies: Proxies | None
    trace: bool
    idle_timeout: float
    head_timeout: float
    body_timeout: float
    write_timeout: float
    handler_timeout: float
    linger_timeout: float
    keepalive_time: float
    keepalive_timeout: float
    websocket_keepalive: float
    connection_age: float
    connection_age_grace: float
    tls: TlsSource | None
    tls_timeout: float
    queue_time: float
    body_rate: float
    write_rate: float
    connections: int
    connections_per_address: int
    observers: tuple[Observer, ...] | None
    def __init__(
        self,
        dispatcher: Dispatcher,
        negotiator: Negotiator,
        http1: Http1Limits | None = None,
        http2: Http2Limits | None = None,
        *,
        proxies: Proxies | None = None,
        name: str = "main",
        silent: bool = False,
        idle_timeout: float = 75,
        head_timeout: float = 10,
        body_timeout: float = 30,
        write_timeout: float = 30,
        handler_timeout: float = 60,
        linger_timeout: float = 2,
        tls: TlsSource | None = None,
        tls_timeout: float = 10,
        queue_time: float = 5,
        body_rate: float = 240,
        write_rate: float = 240,
        connections: int = 0,
        connections_per_address: int = 0,
        keepalive_time: float = 0,
        keepalive_timeout: float = 20,
        websocket_keepalive: float = 20,
        connection_age: float = 0,
        connection_age_grace: float = 0,
        trace: bool = False,
        observers: Sequence[Observer] = (),
    ) -> None: ...
