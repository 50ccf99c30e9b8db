/* The limits by which a peer is turned away or cut off: one list, from which names, settings and texts come. */
#ifndef FASTNET_EXCHANGE_LIMITS_H
#define FASTNET_EXCHANGE_LIMITS_H

/* X(identifier, "name", "setting that changes it", "unit of its value", "what happened"): the name is that of
 * the counter, limit_<name>. A setting may be empty: then there is none. */
#define FN_LIMITS(X) \
    X(REQUEST_LINE, "request_line", "limit_request_line", " bytes", "the request line is too long") \
    X(HEAD, "head", "limit_head", " bytes", "the request head is too large") \
    X(FIELDS, "fields", "limit_fields", " fields", "the request has too many header fields") \
    X(BODY, "body", "max_body", " bytes", "the request body is too large") \
    X(MESSAGE, "message", "max_message", " bytes", "a message is too large") \
    X(FRAGMENTS, "fragments", "", " fragments", "a message comes in too many fragments") \
    X(STREAMS, "streams", "limit_streams", " streams", "too many requests of one connection are being answered") \
    X(UNREAD, "unread", "", " bytes", "handlers left too much of a connection's request bodies unread") \
    X(KEEPALIVE, "keepalive", "keepalive_timeout", " s", "the peer did not answer a ping in time") \
    X(HEARTBEAT, "heartbeat", "keepalive_websocket or ping_interval", " s", \
        "the peer of a WebSocket left two pings unanswered") \
    X(SLOW, "slow", "slow= and queue= of the hub", " messages", "a WebSocket is too slow for what its hub sends it") \
    X(FLOOD, "flood", "", "", "the peer sent too many frames that do nothing for a request") \
    X(TLS_TIME, "tls_time", "timeout_tls", " s", "the TLS hand-shake did not end in time") \
    X(HEAD_TIME, "head_time", "timeout_head", " s", "the request head did not arrive in time") \
    X(IDLE_TIME, "idle_time", "timeout_idle", " s", "the connection was idle") \
    X(BODY_TIME, "body_time", "timeout_body", " s", "the request body stopped") \
    X(BODY_RATE, "body_rate", "rate_body", " bytes/s", "the request body came too slowly") \
    X(WRITE_TIME, "write_time", "timeout_write", " s", "the peer took nothing of what was sent") \
    X(WRITE_RATE, "write_rate", "rate_write", " bytes/s", "the peer took too little of what was sent") \
    X(HANDLER_TIME, "handler_time", "timeout_handler", " s", "the handler did not answer in time") \
    X(CONNECTIONS, "connections", "limit_connections", " connections", "too many connections are open") \
    X(ADDRESS, "connections_per_address", "limit_connections_per_address", " connections", \
        "too many connections of one address are open") \
    X(IN_FLIGHT, "in_flight", "limit_in_flight or max_in_flight", " requests", "too many requests are being answered") \
    X(RATE, "rate", "", " requests", "a rate limit is used up") \
    X(QUEUE_TIME, "queue_time", "limit_queue_time", " s", "the request waited too long for its turn") \
    X(LAG, "lag", "limit_queue_time", " s", "the event loop is behind") \
    X(MEMORY, "memory", "limit_memory", " bytes", "too much is kept in buffers")

#define FN_LIMIT_ID(identifier, name, setting, unit, what) FN_LIMIT_##identifier,
typedef enum { FN_LIMITS(FN_LIMIT_ID) FN_LIMIT_COUNT } fn_limit;

typedef struct {
    const char *name;
    const char *setting;
    const char *unit;
    const char *what;
} fn_limit_row;

#define FN_LIMIT_ROW(identifier, name, setting, unit, what) {name, setting, unit, what},

static inline const fn_limit_row *fn_limit_of(fn_limit which) {
    static const fn_limit_row rows[] = {FN_LIMITS(FN_LIMIT_ROW)};
    return &rows[which];
}

#endif
