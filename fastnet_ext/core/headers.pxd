"""Header fields as spans into an arena that the block owns; see headers.h for the ids."""

from libc.stdint cimport uint8_t, uint32_t


cdef extern from "fastnet_ext/core/headers.h" nogil:
    ctypedef struct Span "fn_span":
        uint32_t offset
        uint32_t size

    ctypedef struct Field "fn_field":
        Span name
        Span value
        uint32_t id

    ctypedef enum HeaderId "fn_header_id":
        HEADER_OTHER "FN_HEADER_OTHER"
        HEADER_ACCEPT "FN_HEADER_ACCEPT"
        HEADER_ACCEPT_ENCODING "FN_HEADER_ACCEPT_ENCODING"
        HEADER_ACCEPT_LANGUAGE "FN_HEADER_ACCEPT_LANGUAGE"
        HEADER_ACCESS_CONTROL_REQUEST_HEADERS "FN_HEADER_ACCESS_CONTROL_REQUEST_HEADERS"
        HEADER_ACCESS_CONTROL_REQUEST_METHOD "FN_HEADER_ACCESS_CONTROL_REQUEST_METHOD"
        HEADER_AUTHORIZATION "FN_HEADER_AUTHORIZATION"
        HEADER_CACHE_CONTROL "FN_HEADER_CACHE_CONTROL"
        HEADER_CONNECTION "FN_HEADER_CONNECTION"
        HEADER_CONTENT_ENCODING "FN_HEADER_CONTENT_ENCODING"
        HEADER_CONTENT_LENGTH "FN_HEADER_CONTENT_LENGTH"
        HEADER_CONTENT_TYPE "FN_HEADER_CONTENT_TYPE"
        HEADER_COOKIE "FN_HEADER_COOKIE"
        HEADER_DATE "FN_HEADER_DATE"
        HEADER_EXPECT "FN_HEADER_EXPECT"
        HEADER_FORWARDED "FN_HEADER_FORWARDED"
        HEADER_GRPC_ACCEPT_ENCODING "FN_HEADER_GRPC_ACCEPT_ENCODING"
        HEADER_GRPC_ENCODING "FN_HEADER_GRPC_ENCODING"
        HEADER_GRPC_MESSAGE "FN_HEADER_GRPC_MESSAGE"
        HEADER_GRPC_STATUS "FN_HEADER_GRPC_STATUS"
        HEADER_GRPC_TIMEOUT "FN_HEADER_GRPC_TIMEOUT"
        HEADER_HOST "FN_HEADER_HOST"
        HEADER_HTTP2_SETTINGS "FN_HEADER_HTTP2_SETTINGS"
        HEADER_IF_MODIFIED_SINCE "FN_HEADER_IF_MODIFIED_SINCE"
        HEADER_IF_NONE_MATCH "FN_HEADER_IF_NONE_MATCH"
        HEADER_IF_RANGE "FN_HEADER_IF_RANGE"
        HEADER_KEEP_ALIVE "FN_HEADER_KEEP_ALIVE"
        HEADER_LAST_EVENT_ID "FN_HEADER_LAST_EVENT_ID"
        HEADER_LOCATION "FN_HEADER_LOCATION"
        HEADER_ORIGIN "FN_HEADER_ORIGIN"
        HEADER_PRIORITY "FN_HEADER_PRIORITY"
        HEADER_PROXY_CONNECTION "FN_HEADER_PROXY_CONNECTION"
        HEADER_RANGE "FN_HEADER_RANGE"
        HEADER_REFERER "FN_HEADER_REFERER"
        HEADER_SEC_WEBSOCKET_ACCEPT "FN_HEADER_SEC_WEBSOCKET_ACCEPT"
        HEADER_SEC_WEBSOCKET_EXTENSIONS "FN_HEADER_SEC_WEBSOCKET_EXTENSIONS"
        HEADER_SEC_WEBSOCKET_KEY "FN_HEADER_SEC_WEBSOCKET_KEY"
        HEADER_SEC_WEBSOCKET_PROTOCOL "FN_HEADER_SEC_WEBSOCKET_PROTOCOL"
        HEADER_SEC_WEBSOCKET_VERSION "FN_HEADER_SEC_WEBSOCKET_VERSION"
        HEADER_SERVER "FN_HEADER_SERVER"
        HEADER_SET_COOKIE "FN_HEADER_SET_COOKIE"
        HEADER_TE "FN_HEADER_TE"
        HEADER_TRAILER "FN_HEADER_TRAILER"
        HEADER_TRANSFER_ENCODING "FN_HEADER_TRANSFER_ENCODING"
        HEADER_UPGRADE "FN_HEADER_UPGRADE"
        HEADER_USER_AGENT "FN_HEADER_USER_AGENT"
        HEADER_VARY "FN_HEADER_VARY"
        HEADER_X_FORWARDED_FOR "FN_HEADER_X_FORWARDED_FOR"
        HEADER_X_FORWARDED_HOST "FN_HEADER_X_FORWARDED_HOST"
        HEADER_X_FORWARDED_PROTO "FN_HEADER_X_FORWARDED_PROTO"
        HEADER_X_REQUEST_ID "FN_HEADER_X_REQUEST_ID"
        HEADER_COUNT "FN_HEADER_COUNT"

    ctypedef enum Method "fn_method":
        METHOD_OTHER "FN_METHOD_OTHER"
        METHOD_GET "FN_METHOD_GET"
        METHOD_HEAD "FN_METHOD_HEAD"
        METHOD_POST "FN_METHOD_POST"
        METHOD_PUT "FN_METHOD_PUT"
        METHOD_PATCH "FN_METHOD_PATCH"
        METHOD_DELETE "FN_METHOD_DELETE"
        METHOD_OPTIONS "FN_METHOD_OPTIONS"
        METHOD_CONNECT "FN_METHOD_CONNECT"
        METHOD_TRACE "FN_METHOD_TRACE"
        METHOD_COUNT "FN_METHOD_COUNT"

    const char* METHOD_NAMES "FN_METHOD_NAMES" [10]

    const char* header_name "fn_header_name" (uint32_t id) noexcept
    HeaderId find_header_id "fn_find_header_id" (const char* name, size_t size) noexcept
    Method find_method "fn_find_method" (const char* name, size_t size) noexcept
    void lower_ascii "fn_lower" (char* p, size_t size) noexcept


cdef class HeaderBlock:
    """The head of one message: its start line and fields, as spans into one owned allocation.

    HTTP/1 fills it in one copy (`fill`), HTTP/2 field by field (`append`). After that it does
    not change, so pointers from `at` stay valid as long as the block lives.
    """

    # One allocation: `capacity` fields, then `arena_capacity` bytes.
    cdef Field* fields
    cdef char* arena
    cdef uint32_t count
    cdef uint32_t capacity
    cdef uint32_t size
    cdef uint32_t arena_capacity

    # The start line of HTTP/1, the pseudo-header fields of HTTP/2. Requests: method, target
    # (path and query, or another form of request target), scheme and authority ({0, 0} when
    # not given). Responses: status, and reason in `target`.
    cdef Span method_name
    cdef Span target
    cdef Span scheme
    cdef Span authority
    cdef Method method
    cdef uint32_t status

    cdef int _allocate(self, uint32_t fields, uint32_t arena) except -1
    # Invariant: what is used fits what was allocated, and every span lies in what is used of the arena.
    cdef void _check(self) noexcept
    # Take `size` bytes and `count` fields whose spans are offsets into them. Names are lowered.
    cdef int fill(self, const char* data, uint32_t size, const Field* fields, uint32_t count) except -1
    # Append one field whose name is in lower case already; `id` as find_header_id says.
    cdef int append(self, const char* name, uint32_t name_size, const char* value, uint32_t value_size, uint32_t id) except -1
    # Copy bytes into the arena and say where they are (pseudo-header fields).
    cdef int store(self, const char* data, uint32_t size, Span* span) except -1

    # The first field of that id, NULL when there is none. `after` continues a search.
    cdef const Field* find(self, uint32_t id) noexcept
    cdef const Field* find_next(self, uint32_t id, const Field* after) noexcept
    # The first field of that (lower-case) name, for names without an id.
    cdef const Field* find_name(self, const char* name, uint32_t size) noexcept

    cdef inline const char* at(self, Span span) noexcept:
        return self.arena + span.offset

    # Python objects, made when somebody reads them. Values are ISO 8859-1, as ASGI has it.
    cdef str text(self, Span span)
    cdef bytes raw(self, Span span)
    # All values of one id joined by ", " (cookie: "; "), None when there are none: RFC 9110, 5.3.
    cdef str joined(self, uint32_t id)
