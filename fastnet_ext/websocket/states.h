/* What a WebSocket connection may do, by state: RFC 6455, sections 5.5.1 and 7.1.
 *
 * OPEN      Messages go both ways.
 * CLOSING   We have sent a Close frame and wait for the peer's. It may still send messages and
 *           pings; we still answer pings, and send nothing else.
 * CLOSED    Both Close frames have passed (a Close received while OPEN is echoed at once), or the
 *           input ended. Whatever comes is dropped.
 * FAILED    The peer broke a rule. Our Close frame tells the reason, unless one was sent before.
 *           Whatever comes is dropped.
 *
 * An input that the table refuses is the caller's error when it is about sending, and is dropped
 * when it is about receiving.
 */
#ifndef FASTNET_WEBSOCKET_STATES_H
#define FASTNET_WEBSOCKET_STATES_H

#include <stdint.h>

typedef enum { FN_WS_OPEN, FN_WS_CLOSING, FN_WS_CLOSED, FN_WS_FAILED, FN_WS_STATES } fn_ws_state;

typedef enum {
    FN_WS_SEND_DATA,
    FN_WS_SEND_CONTROL, /* a Ping, or a Pong that the caller asks for */
    FN_WS_SEND_CLOSE,
    FN_WS_RECEIVE_FRAME, /* any frame but Close; pings are answered */
    FN_WS_RECEIVE_CLOSE,
    FN_WS_BREAK_RULE,
    FN_WS_END_OF_INPUT,
    FN_WS_INPUTS
} fn_ws_input;

#define FN_WS_REFUSED 0xff

static const uint8_t FN_WS_TRANSITIONS[FN_WS_STATES][FN_WS_INPUTS] = {
    [FN_WS_OPEN] = {
        [FN_WS_SEND_DATA] = FN_WS_OPEN,
        [FN_WS_SEND_CONTROL] = FN_WS_OPEN,
        [FN_WS_SEND_CLOSE] = FN_WS_CLOSING,
        [FN_WS_RECEIVE_FRAME] = FN_WS_OPEN,
        [FN_WS_RECEIVE_CLOSE] = FN_WS_CLOSED,
        [FN_WS_BREAK_RULE] = FN_WS_FAILED,
        [FN_WS_END_OF_INPUT] = FN_WS_CLOSED,
    },
    [FN_WS_CLOSING] = {
        [FN_WS_SEND_DATA] = FN_WS_REFUSED,
        [FN_WS_SEND_CONTROL] = FN_WS_REFUSED,
        [FN_WS_SEND_CLOSE] = FN_WS_REFUSED,
        [FN_WS_RECEIVE_FRAME] = FN_WS_CLOSING,
        [FN_WS_RECEIVE_CLOSE] = FN_WS_CLOSED,
        [FN_WS_BREAK_RULE] = FN_WS_FAILED,
        [FN_WS_END_OF_INPUT] = FN_WS_CLOSED,
    },
    [FN_WS_CLOSED] = {
        [FN_WS_SEND_DATA] = FN_WS_REFUSED,
        [FN_WS_SEND_CONTROL] = FN_WS_REFUSED,
        [FN_WS_SEND_CLOSE] = FN_WS_REFUSED,
        [FN_WS_RECEIVE_FRAME] = FN_WS_REFUSED,
        [FN_WS_RECEIVE_CLOSE] = FN_WS_REFUSED,
        [FN_WS_BREAK_RULE] = FN_WS_REFUSED,
        [FN_WS_END_OF_INPUT] = FN_WS_CLOSED,
    },
    [FN_WS_FAILED] = {
        [FN_WS_SEND_DATA] = FN_WS_REFUSED,
        [FN_WS_SEND_CONTROL] = FN_WS_REFUSED,
        [FN_WS_SEND_CLOSE] = FN_WS_REFUSED,
        [FN_WS_RECEIVE_FRAME] = FN_WS_REFUSED,
        [FN_WS_RECEIVE_CLOSE] = FN_WS_REFUSED,
        [FN_WS_BREAK_RULE] = FN_WS_REFUSED,
        [FN_WS_END_OF_INPUT] = FN_WS_FAILED,
    },
};

#endif
