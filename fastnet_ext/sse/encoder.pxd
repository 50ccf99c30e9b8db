"""The encoder of text/event-stream."""


# One event as bytes, the blank line at its end included; a comment alone needs none, and gets one all the same.
# Each part may be None (`retry`: below 0) and is then left out. `data`: str, or UTF-8 as bytes.
# ValueError for what the format cannot carry: see `check_line`.
cdef bytes encode(object data, str event, str id, long long retry, str comment)

# ValueError when the value of a field that is one line has a line end in it, or an id a NUL: the first would begin
# another field, the second makes a client ignore the id.
cdef int check_line(str name, str value) except -1
