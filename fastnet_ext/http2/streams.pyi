from fastnet_ext.http2.limits import Limits

class Http2Streams:
    client: bool
    limits: Limits
    def __init__(self, client: bool = ..., limits: Limits | None = ...) -> None: ...
