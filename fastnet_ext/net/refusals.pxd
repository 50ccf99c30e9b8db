"""Answers to requests that never become an exchange: malformed, too large, too late."""

from fastnet_ext.core.buffer cimport Buffer


# Append a whole HTTP/1 answer in application/problem+json (RFC 9457) that closes the connection.
# 429 and 503 say that it may be tried again in a second. `date` is LoopState.date(); `detail` is one of our own sentences, plain ASCII without quotes.
cdef int refusal(Buffer* out, const char* date, int status, const char* detail) except -1
