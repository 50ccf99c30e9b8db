class Limits:
    max_concurrent_streams: int
    header_list: int
    header_table: int
    initial_window: int
    reading_window: int
    max_frame: int
    enable_connect: bool
    connection_window: int
    fields: int
    continuations: int
    resets: int
    resets_per_second: int
    glitches: int
    glitches_per_second: int
    empty_frames: int
    settings_entries: int
    control_queue: int
    ping_interval: float
    ping_strikes: int
    output: int
    def __init__(
        self,
        *,
        max_concurrent_streams: int = ...,
        header_list: int = ...,
        header_table: int = ...,
        initial_window: int = ...,
        reading_window: int = ...,
        max_frame: int = ...,
        enable_connect: bool = ...,
        connection_window: int = ...,
        fields: int = ...,
        continuations: int = ...,
        resets: int = ...,
        resets_per_second: int = ...,
        glitches: int = ...,
        glitches_per_second: int = ...,
        empty_frames: int = ...,
        settings_entries: int = ...,
        control_queue: int = ...,
        ping_interval: float = ...,
        ping_strikes: int = ...,
        output: int = ...,
    ) -> None: ...
