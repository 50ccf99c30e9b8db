# cython: freethreading_compatible=True
"""What one HTTP/2 connection lets its peer do."""

cimport cython
from libc.stdint cimport int64_t, uint32_t


cdef int64_t _checked(str name, object value, int64_t least, int64_t most) except -1:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least} to {most}, not {value}")
    return <int64_t>value


@cython.final
cdef class Limits:
    """Bounds of one HTTP/2 connection. Sizes are bytes, rates per second; every argument is optional.

    Raises ValueError for a value outside its range, TypeError for one that is no int.
    """

    def __init__(
        self, *, max_concurrent_streams=100, header_list=65536, header_table=4096, initial_window=65536,
        reading_window=1024 * 1024, max_frame=16384, enable_connect=True, connection_window=8 * 1024 * 1024, fields=128, continuations=8,
        resets=1000, resets_per_second=33, glitches=10000, glitches_per_second=330, empty_frames=100,
        settings_entries=32, control_queue=1000, ping_interval=0.0, ping_strikes=2, output=256 * 1024,
    ):
        self.max_concurrent_streams = <uint32_t>_checked("max_concurrent_streams", max_concurrent_streams, 1, 1 << 20)
        self.header_list = <uint32_t>_checked("header_list", header_list, 256, 1 << 24)
        self.header_table = <uint32_t>_checked("header_table", header_table, 0, 1 << 20)
        self.initial_window = <uint32_t>_checked("initial_window", initial_window, 0, 0x7FFFFFFF)
        self.reading_window = <uint32_t>_checked("reading_window", reading_window, 0, 0x7FFFFFFF)
        self.max_frame = <uint32_t>_checked("max_frame", max_frame, 16384, 16777215)
        self.enable_connect = bool(enable_connect)
        self.connection_window = <uint32_t>_checked("connection_window", connection_window, 65535, 0x7FFFFFFF)
        self.fields = <uint32_t>_checked("fields", fields, 1, 65536)
        self.continuations = <uint32_t>_checked("continuations", continuations, 0, 65536)
        self.resets = <uint32_t>_checked("resets", resets, 1, 1 << 30)
        self.resets_per_second = <uint32_t>_checked("resets_per_second", resets_per_second, 0, 1 << 30)
        self.glitches = <uint32_t>_checked("glitches", glitches, 1, 1 << 30)
        self.glitches_per_second = <uint32_t>_checked("glitches_per_second", glitches_per_second, 0, 1 << 30)
        self.empty_frames = <uint32_t>_checked("empty_frames", empty_frames, 0, 1 << 30)
        self.settings_entries = <uint32_t>_checked("settings_entries", settings_entries, 8, 65536)
        self.control_queue = <uint32_t>_checked("control_queue", control_queue, 1, 1 << 30)
        if not 0 <= ping_interval:
            raise ValueError(f"ping_interval must be 0 or more seconds, not {ping_interval}")
        self.ping_interval = ping_interval
        self.ping_strikes = <uint32_t>_checked("ping_strikes", ping_strikes, 1, 1 << 30)
        self.output = <uint32_t>_checked("output", output, 16384, 1 << 30)
