"""What a listener's settings say of the proxies in front of it."""

from __future__ import annotations

from fastnet_ext.proxy.forwarded import Proxies

from .config import ListenerSettings

__all__ = ["proxies_of"]


def proxies_of(settings: ListenerSettings) -> Proxies | None:
    """The proxies in front of a listener, for its ``Service``; None when the settings name none."""
    if not settings.trusted_proxies and not settings.root_path:
        return None
    return Proxies(
        settings.trusted_proxies,
        headers=settings.proxy_headers,
        protocol=settings.proxy_protocol,
        root_path=settings.root_path,
    )
