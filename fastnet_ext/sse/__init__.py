"""Server-sent events, sans-I/O: the parser and the encoder of text/event-stream (HTML, section 9.2)."""
