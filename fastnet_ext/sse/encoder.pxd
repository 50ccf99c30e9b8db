"""The encoder of text/event-stream."""


# One event as bytes, the blank line at its end included; a comment alone needs none, and gets one all the same.
# Each part may be None (`retry`: below 0) and is then left out. `data`: str, or UTF-8 as bytes.
# ValueError for what the format cannot carry: see below.
cdef bytes encode(object data, str event, str id, long long retry, str comment)

# ValueError when an event's name or id has a line end in it, which would begin another field, or an id a NUL, with
# which clients ignore it.
cdef int check_event(str value) except -1
cdef int check_id(str value) except -1
