/* How a transfer gets on: when it is silent for too long, when it is too slow on the whole, when its peer is gone. */
#ifndef FASTNET_NET_PROGRESS_H
#define FASTNET_NET_PROGRESS_H

/* poll's POLLRDHUP is an extension. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <poll.h>
#include <stdint.h>
#include <sys/ioctl.h>
#if defined(__linux__)
#include <linux/sockios.h>
#endif

/* Seconds by which a transfer may be behind its minimum rate. */
#define FN_PROGRESS_GRACE 5.0

/* A total that seems to have grown by this much or more since the last look has become smaller by the rest of 2^32. */
#define FN_PROGRESS_BACK 0xf0000000u

/* Every connection and request has one, which is why it is small. Zeroed: not begun. `lag` is how many seconds the
 * transfer is behind the minimum rate, and negative when it is ahead, by `credit` at most: what was sent quickly earns
 * some time, but not for ever. It outlives the pauses in which we do not wait. */
typedef struct {
    uint32_t mark; /* bytes at the last look, their low half: see FN_PROGRESS_BACK */
    float silence; /* seconds without a byte */
    float lag;
    uint8_t waiting; /* at the last look we waited as well */
} fn_progress;

typedef enum { FN_PROGRESS_FINE, FN_PROGRESS_SILENT, FN_PROGRESS_SLOW } fn_pace;

/* Look at a transfer that we wait for, `elapsed` seconds after the last look; `total` counts its bytes. The
 * first look only begins: no wait is counted that was shorter. A rate of 0 is none. */
static inline fn_pace fn_progress_look(
    fn_progress *p, int64_t total, double elapsed, double timeout, double rate, double credit
) {
    uint32_t moved = (uint32_t)total - p->mark;
    if (moved >= FN_PROGRESS_BACK) moved = 0;
    if (!p->waiting) {
        p->waiting = 1;
        p->mark = (uint32_t)total;
        p->silence = 0;
        return FN_PROGRESS_FINE;
    }
    p->mark += moved;
    p->silence = moved ? 0 : p->silence + (float)elapsed;
    if (p->silence >= timeout) return FN_PROGRESS_SILENT;
    if (rate > 0) {
        p->lag += (float)(elapsed - (double)moved / rate);
        if (p->lag < -credit) p->lag = (float)-credit;
        if (p->lag > FN_PROGRESS_GRACE) return FN_PROGRESS_SLOW;
    }
    return FN_PROGRESS_FINE;
}

/* Bytes that a socket was given and its peer has not acknowledged; 0 where the system does not say. Without
 * it progress would be seen in steps of the system's buffer only, which are megabytes. */
static inline int64_t fn_unacknowledged(int fd) {
#ifdef SIOCOUTQ
    int count = 0;
    if (fd >= 0 && ioctl(fd, SIOCOUTQ, &count) == 0) return count;
#else
    (void)fd;
#endif
    return 0;
}

typedef enum { FN_PEER_THERE, FN_PEER_ENDED, FN_PEER_GONE } fn_peer_state;

/* What the system knows of a peer whose socket we do not read: whether it has ended its half (FIN), behind whatever is
 * unread, or is gone (RST). Where the system does not say, it is there. */
static inline fn_peer_state fn_peer_state_of(int fd) {
#ifdef POLLRDHUP
    struct pollfd asked = {fd, POLLRDHUP, 0};
    if (poll(&asked, 1, 0) == 1) {
        if (asked.revents & (POLLERR | POLLHUP)) return FN_PEER_GONE;
        if (asked.revents & POLLRDHUP) return FN_PEER_ENDED;
    }
#else
    (void)fd;
#endif
    return FN_PEER_THERE;
}

/* Bytes that have arrived and were not read. */
static inline int64_t fn_unread_bytes(int fd) {
    int count = 0;
    return ioctl(fd, FIONREAD, &count) == 0 ? count : 0;
}

#endif
