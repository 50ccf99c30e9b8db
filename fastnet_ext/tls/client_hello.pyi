from collections.abc import Iterable
from typing import final

@final
class HelloReader: ...

def offered_protocols(pieces: Iterable[bytes]) -> list[bytes] | None: ...
