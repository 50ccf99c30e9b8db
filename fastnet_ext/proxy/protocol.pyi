from collections.abc import Iterable
from typing import NamedTuple, final

class ProxyTLS(NamedTuple):
    version: str | None
    cipher: str | None
    common_name: str | None
    verified: bool

@final
class ProxyHeader:
    version: int
    local: bool
    source: tuple[str, int] | str | None
    destination: tuple[str, int] | str | None
    tlvs: list[tuple[int, bytes]]
    alpn: str | None
    authority: str | None
    unique_id: bytes | None
    tls: ProxyTLS | None

@final
class ProxyReader: ...

def read_header(pieces: Iterable[bytes]) -> tuple[str, ProxyHeader | str | None, bytes]: ...
