"""Which class of connection a listener and an event loop want."""

import asyncio

from fastnet_ext.net.accepted import AcceptedConnection
from fastnet_ext.net.service import Service
from fastnet_ext.net.tls_connection import TlsConnection

__all__ = ["connection_type"]


class AsyncioConnection(AcceptedConnection, asyncio.BufferedProtocol):
    """For the stock asyncio loop, which asks for a real BufferedProtocol."""

    __slots__ = ()


class AsyncioTlsConnection(TlsConnection, asyncio.BufferedProtocol):
    """The same with TLS."""

    __slots__ = ()


def connection_type(service: Service, loop: asyncio.AbstractEventLoop) -> type[AcceptedConnection]:
    """The protocol of what a listener of ``service`` accepts: ``loop.create_server(lambda: kind(state, service), …)``.

    uvloop takes any protocol with ``get_buffer``, and one without the extra base class costs it less.
    """
    stock = isinstance(loop, asyncio.BaseEventLoop)
    if service.tls is not None:
        return AsyncioTlsConnection if stock else TlsConnection
    return AsyncioConnection if stock else AcceptedConnection
