"""Rate limits: algorithms and their table of keys. No loop, no socket, no clock: times come in as nanoseconds."""
