"""A transport without a socket, for connections whose input is at hand."""

from typing import Any


class Sink:
    """A transport that takes everything, keeps the latest and counts the bytes."""

    def __init__(self) -> None:
        self.latest = b""
        self.taken = 0

    def write(self, data: bytes) -> None:
        self.latest = data
        self.taken += len(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    abort = pause_reading = resume_reading = close

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
