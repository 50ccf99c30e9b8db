"""Streams: states, table, lists, and what waits to be sent; see stream.h and sending.h for the rules."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastnet_ext.core.buffer cimport Buffer


cdef extern from "fastnet_ext/http2/priority.h" nogil:
    ctypedef struct Priority "fn_priority":
        uint8_t urgency
        uint8_t incremental

    # False for what is malformed, which says nothing.
    bint priority_parse "fn_priority_parse" (const char* text, size_t size, Priority* into) noexcept


cdef extern from "fastnet_ext/http2/stream.h" nogil:
    enum:
        STREAM_IDLE "FN_STREAM_IDLE"
        STREAM_OPEN "FN_STREAM_OPEN"
        STREAM_HALF_CLOSED_LOCAL "FN_STREAM_HALF_CLOSED_LOCAL"
        STREAM_HALF_CLOSED_REMOTE "FN_STREAM_HALF_CLOSED_REMOTE"
        STREAM_CLOSED "FN_STREAM_CLOSED"
        STREAM_STATES "FN_STREAM_STATES"
        STREAM_REFUSED "FN_STREAM_REFUSED"

        SEND_HEAD "FN_STREAM_SEND_HEAD"
        SEND_DATA "FN_STREAM_SEND_DATA"
        SEND_END "FN_STREAM_SEND_END"
        SEND_RESET "FN_STREAM_SEND_RESET"
        RECV_HEAD "FN_STREAM_RECV_HEAD"
        RECV_DATA "FN_STREAM_RECV_DATA"
        RECV_END "FN_STREAM_RECV_END"
        RECV_RESET "FN_STREAM_RECV_RESET"
        STREAM_INPUTS "FN_STREAM_INPUTS"

        STREAM_HEAD_RECEIVED "FN_STREAM_HEAD_RECEIVED"
        STREAM_HEAD_SENT "FN_STREAM_HEAD_SENT"
        STREAM_BODY_SENT "FN_STREAM_BODY_SENT"
        STREAM_END_GIVEN "FN_STREAM_END_GIVEN"
        STREAM_NO_BODY "FN_STREAM_NO_BODY"
        STREAM_WAITING "FN_STREAM_WAITING"
        STREAM_RESET_SEEN "FN_STREAM_RESET_SEEN"
        STREAM_COUNTED "FN_STREAM_COUNTED"
        STREAM_TUNNEL "FN_STREAM_TUNNEL"
        STREAM_GROWN "FN_STREAM_GROWN"

        LIST_READY "FN_LIST_READY"
        LIST_NOTICE "FN_LIST_NOTICE"
        LIST_LEAVING "FN_LIST_LEAVING"

        GONE_UNKNOWN "FN_GONE_UNKNOWN"
        GONE_ENDED "FN_GONE_ENDED"
        GONE_RESET_SENT "FN_GONE_RESET_SENT"
        GONE_RESET_RECEIVED "FN_GONE_RESET_RECEIVED"
        GONE_NEVER "FN_GONE_NEVER"

    # STREAM_NEXT[state][input]: the state that follows, or STREAM_REFUSED.
    const uint8_t STREAM_NEXT "FN_STREAM_NEXT" [5][8]

    ctypedef struct Chunk "fn_chunk":
        pass

    # One live stream. Pointers stay valid until the stream is over and its last event was fetched.
    ctypedef struct Stream "fn_stream":
        uint32_t id
        uint8_t state
        uint8_t listed
        uint16_t flags
        uint32_t error_code
        int64_t send_window
        int64_t recv_window
        int64_t recv_credit
        int64_t content_length      # of the message received, -1 when not announced
        int64_t received
        Chunk* first
        size_t queued               # bytes of DATA that wait for windows
        void* context               # owned PyObject*: what the driver hung here, or NULL
        Stream* next[3]

    ctypedef struct StreamList "fn_stream_list":
        Stream* head

    ctypedef struct StreamTable "fn_stream_table":
        Stream** slots
        uint32_t mask
        uint32_t count

    ctypedef struct Graveyard "fn_graveyard":
        pass

    void list_append "fn_list_append" (StreamList* streams, int which, Stream* s) noexcept
    void list_remove "fn_list_remove" (StreamList* streams, int which, Stream* s) noexcept
    Stream* table_find "fn_table_find" (const StreamTable* t, uint32_t id) noexcept
    Stream* table_add "fn_table_add" (StreamTable* t, uint32_t id) noexcept
    void table_remove "fn_table_remove" (StreamTable* t, Stream* s) noexcept
    Stream* table_any "fn_table_any" (const StreamTable* t) noexcept
    void table_free "fn_table_free" (StreamTable* t) noexcept
    void graveyard_add "fn_graveyard_add" (Graveyard* g, uint32_t id, int how) noexcept
    void graveyard_mark "fn_graveyard_mark" (Graveyard* g, uint32_t id, int how) noexcept
    int graveyard_find "fn_graveyard_find" (const Graveyard* g, uint32_t id) noexcept


cdef extern from "fastnet_ext/http2/sending.h":
    enum:
        CHUNK_BY_REFERENCE "FN_CHUNK_BY_REFERENCE"
        CHUNK_DATA "FN_CHUNK_DATA"
        CHUNK_TRAILERS "FN_CHUNK_TRAILERS"
        SENT_NONE "FN_SENT_NONE"
        SENT_QUEUE "FN_SENT_QUEUE"
        SENT_END "FN_SENT_END"
        SENT_NO_MEMORY "FN_SENT_NO_MEMORY"

    ctypedef struct Sending "fn_sending":
        Buffer* out
        size_t room
        int64_t window
        uint32_t max_frame
        uint64_t heads              # HEADERS sent so far
        bint update_due
        uint64_t data_frames
        size_t queued               # bytes of DATA that wait on all streams together

    # Whether any stream has something to send, and a window of its own for it.
    bint sending_any "fn_sending_any" (const Sending* o) noexcept
    void sending_prioritize "fn_sending_prioritize" (Sending* o, Stream* s, const Priority* priority) noexcept
    # -1 when memory is out (no Python exception is set).
    void sending_review "fn_sending_review" (Sending* o, Stream* s) noexcept
    int sending_head "fn_sending_head" (
        Sending* o, uint32_t stream_id, const char* block, size_t size, bint end_stream
    ) noexcept
    size_t sending_allowance "fn_sending_allowance" (const Sending* o, const Stream* s, size_t size) noexcept
    int sending_data "fn_sending_data" (
        Sending* o, Stream* s, const char* data, size_t size, bint end_stream
    ) noexcept
    int sending_queue "fn_sending_queue" (
        Sending* o, Stream* s, int kind, const char* data, size_t size, bint end_stream, PyObject* owner
    ) noexcept
    void sending_drop "fn_sending_drop" (Sending* o, Stream* s) noexcept
    int sending_run "fn_sending_run" (Sending* o, Stream** done) noexcept
    # The invariants of table, queues and turns, in debug builds.
    void check_streams "fn_check_streams" (const StreamTable* t) noexcept


cdef extern from "fastnet_ext/http2/budget.h" nogil:
    ctypedef struct Budget "fn_budget":
        double tokens

    void budget_init "fn_budget_init" (Budget* b, double burst, double per_second) noexcept
    bint budget_take "fn_budget_take" (Budget* b, double now) noexcept
