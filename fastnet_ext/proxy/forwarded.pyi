from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import final

from fastnet_ext.proxy.networks import Networks

@final
class Proxies:
    trusted: Networks
    root_path: str
    def __init__(
        self,
        trusted: Networks | Iterable[str | IPv4Network | IPv6Network] = (),
        *,
        headers: str = "auto",
        protocol: str = "off",
        root_path: str = "",
    ) -> None: ...

@final
class Forwarded:
    host: str | None
    port: int
    scheme: str | None
    authority: str | None
    server_port: int
    prefix: str | None
    hops: int

def read_elements(value: str, elements: list[dict[str, str] | None]) -> None: ...
def clean_prefix(path: str) -> str | None: ...
def forwarded_of(fields: Iterable[tuple[bytes, bytes]], proxies: Proxies) -> Forwarded: ...
