/* Echoes of WebSocket messages: websocket PORT SECONDS CONNECTIONS DEPTH OPCODE REQUEST MESSAGES
 *
 * Opens CONNECTIONS with the hand-shake of the file REQUEST, keeps DEPTH messages of the opcode (1 text, 2 binary) on
 * their way on each, and compares every answer with what was sent, to the byte. MESSAGES holds the messages that are
 * sent in turn, each as two 32-bit sizes (network order) and two texts: the message and its payload on the wire, which
 * is the same or, where permessage-deflate is offered, the message compressed (RFC 7692, section 7.2.1). Answers that
 * come compressed are decompressed, all of them. An answer must be one frame; RFC 6455 lets a server fragment it, but
 * none that is measured here does. Prints its counts as one line of JSON. Built with -lz.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { MAX_EVENTS = 512, MAX_MESSAGES = 1024, MAX_HEAD = 14, READ_SIZE = 262144 };
enum { PARTIAL = 0, WRONG = -1, CLOSED = -2 }; /* what `take` says of what is no whole frame */

typedef struct {
    const unsigned char *plain, *wire;
    size_t plain_size, wire_size;
} Message;

typedef struct {
    int fd, next_sent, next_heard;
    int compressed, keeps_context; /* what the server agreed to of its own messages */
    int writable_watched;
    unsigned char *in, *out;
    size_t in_filled, out_sent, out_filled;
    z_stream inflater;
} Connection;

static Message messages[MAX_MESSAGES];
static int message_count, depth, opcode, poller, offered, open_connections;
static size_t in_size, out_size, plain_most;
static unsigned char *plain; /* the answer that is decompressed now */
static uint32_t mask_state = 2463534242u;
static struct {
    long requests, bytes, wire, connect, handshake, refused, closed, answer;
} counts;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A mask that differs from frame to frame. Section 10.3 wants it unpredictable, for the sake of proxies on the way;
 * there are none here, and xorshift costs the load generator less. */
static uint32_t next_mask(void) {
    mask_state ^= mask_state << 13;
    mask_state ^= mask_state >> 17;
    mask_state ^= mask_state << 5;
    return mask_state;
}

static unsigned char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) < 0) die(path);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *data = malloc(*size + 1);
    if (data == NULL || fread(data, 1, *size, file) != *size) die(path);
    data[*size] = 0;
    fclose(file);
    return data;
}

static size_t number_at(const unsigned char *data) {
    return (size_t)data[0] << 24 | (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
}

static void load_messages(const char *path) {
    size_t size, wire_most = 0;
    const unsigned char *data = read_file(path, &size), *end = data + size;
    while (data < end && message_count < MAX_MESSAGES) {
        Message *m = &messages[message_count++];
        m->plain_size = number_at(data);
        m->wire_size = number_at(data + 4);
        m->plain = data + 8;
        m->wire = m->plain + m->plain_size;
        data = m->wire + m->wire_size;
        if (m->plain_size > plain_most) plain_most = m->plain_size;
        if (m->wire_size > wire_most) wire_most = m->wire_size;
    }
    if (message_count == 0 || data != end) die("MESSAGES");
    plain = malloc(plain_most + 1);
    /* A compressed answer may be a little larger than its message. */
    in_size = 2 * (plain_most + MAX_HEAD) + READ_SIZE;
    out_size = (size_t)depth * (wire_most + MAX_HEAD);
    if (plain == NULL) die("malloc");
}

static void leave(Connection *c, long *why) {
    (*why)++;
    close(c->fd);
    c->fd = -1;
    open_connections--;
}

static int open_socket(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = 5};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return -1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    close(fd);
    return -1;
}

static int open_connection(Connection *c, int port, const unsigned char *request, size_t size) {
    char head[8192];
    size_t filled = 0;
    c->fd = open_socket(port);
    if (c->fd < 0) {
        counts.connect++;
        return 0;
    }
    open_connections++;
    if (send(c->fd, request, size, MSG_NOSIGNAL) != (ssize_t)size) return leave(c, &counts.handshake), 0;
    do {
        ssize_t count = recv(c->fd, head + filled, sizeof head - 1 - filled, 0);
        if (count <= 0) return leave(c, &counts.handshake), 0;
        filled += (size_t)count;
        head[filled] = 0;
    } while (strstr(head, "\r\n\r\n") == NULL);
    if (strncmp(head, "HTTP/1.1 101 ", 13) != 0) return leave(c, &counts.handshake), 0;
    c->compressed = strcasestr(head, "permessage-deflate") != NULL;
    c->keeps_context = strcasestr(head, "server_no_context_takeover") == NULL;
    if (c->compressed != offered) return leave(c, &counts.refused), 0;
    c->in = malloc(in_size);
    c->out = malloc(out_size);
    if (c->in == NULL || c->out == NULL || (c->compressed && inflateInit2(&c->inflater, -15) != Z_OK)) die("malloc");
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    return 1;
}

/* Append the next message, masked, to what is to be sent. */
static void put(Connection *c) {
    const Message *m = &messages[c->next_sent];
    unsigned char *out = c->out + c->out_filled, mask[4];
    uint32_t bits = next_mask();
    size_t size = m->wire_size, at = 2;
    c->next_sent = (c->next_sent + 1) % message_count;
    memcpy(mask, &bits, 4);
    out[0] = (unsigned char)(0x80 | (c->compressed ? 0x40 : 0) | opcode);
    if (size < 126) {
        out[1] = (unsigned char)(0x80 | size);
    } else {
        int octets = size < 65536 ? 2 : 8;
        out[1] = octets == 2 ? 0x80 | 126 : 0x80 | 127;
        for (int i = 0; i < octets; i++) out[at++] = (unsigned char)((uint64_t)size >> 8 * (octets - 1 - i));
    }
    memcpy(out + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < size; i++) out[at + i] = m->wire[i] ^ mask[i & 3];
    c->out_filled += at + size;
}

static void watch(Connection *c, int writable) {
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = c};
    c->writable_watched = writable;
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

static void flush(Connection *c) {
    while (c->out_sent < c->out_filled) {
        ssize_t count = send(c->fd, c->out + c->out_sent, c->out_filled - c->out_sent, MSG_NOSIGNAL);
        if (count < 0 && errno == EAGAIN) break;
        if (count < 0) return leave(c, &counts.closed);
        c->out_sent += (size_t)count;
    }
    /* At most DEPTH messages are on their way, so moving the rest down always makes room for the next. */
    c->out_filled -= c->out_sent;
    memmove(c->out, c->out + c->out_sent, c->out_filled);
    c->out_sent = 0;
    if ((c->out_filled != 0) != c->writable_watched) watch(c, c->out_filled != 0);
}

/* Whether the payload, decompressed if `compressed`, is the message that comes next. */
static int right(Connection *c, const unsigned char *payload, size_t size, int compressed) {
    static unsigned char tail[4] = {0x00, 0x00, 0xff, 0xff};
    const Message *m = &messages[c->next_heard];
    c->next_heard = (c->next_heard + 1) % message_count;
    if (!compressed) return size == m->plain_size && memcmp(payload, m->plain, size) == 0;
    z_stream *z = &c->inflater;
    if (!c->keeps_context) inflateReset(z);
    z->next_out = plain;
    z->avail_out = (uInt)plain_most + 1;
    z->next_in = (unsigned char *)payload;
    z->avail_in = (uInt)size;
    int status = inflate(z, Z_SYNC_FLUSH);
    if (status != Z_OK && status != Z_BUF_ERROR) return 0;
    z->next_in = tail;
    z->avail_in = sizeof tail;
    status = inflate(z, Z_SYNC_FLUSH);
    if (status != Z_OK || z->avail_in != 0) return 0;
    size_t found = plain_most + 1 - z->avail_out;
    return found == m->plain_size && memcmp(plain, m->plain, found) == 0;
}

/* Take one whole frame from `data`. Returns its size with head, or why there is none. */
static ssize_t take(Connection *c, const unsigned char *data, size_t filled) {
    if (filled < 2) return PARTIAL;
    uint64_t size = data[1];
    size_t at = 2;
    if (size > 127) return WRONG; /* masked */
    if (size > 125) {
        size_t octets = size == 126 ? 2 : 8;
        if (filled < 2 + octets) return PARTIAL;
        for (size = 0; at < 2 + octets; at++) size = size << 8 | data[at];
    }
    if (size > in_size - MAX_HEAD) return WRONG;
    if (filled < at + size) return PARTIAL;
    int kind = data[0] & 0x0f, compressed = data[0] & 0x40;
    if (data[0] == 0x89 || data[0] == 0x8a) return (ssize_t)(at + size); /* no answer: a turn ends before it is missed */
    if (data[0] == 0x88) return CLOSED;
    if (!(data[0] & 0x80) || data[0] & 0x30 || kind != opcode || (compressed && !c->compressed)) return WRONG;
    size_t expected = messages[c->next_heard].plain_size;
    if (!right(c, data + at, size, compressed)) return WRONG;
    counts.requests++;
    counts.bytes += (long)expected;
    counts.wire += (long)size;
    put(c);
    return (ssize_t)(at + size);
}

static void hear(Connection *c) {
    ssize_t count = recv(c->fd, c->in + c->in_filled, in_size - c->in_filled, 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) return leave(c, &counts.closed);
    c->in_filled += (size_t)count;
    size_t done = 0;
    while (done < c->in_filled) {
        ssize_t taken = take(c, c->in + done, c->in_filled - done);
        if (taken < 0) return leave(c, taken == CLOSED ? &counts.closed : &counts.answer);
        if (taken == PARTIAL) break;
        done += (size_t)taken;
    }
    c->in_filled -= done;
    memmove(c->in, c->in + done, c->in_filled);
    flush(c);
}

int main(int argc, char **argv) {
    struct epoll_event events[MAX_EVENTS];
    size_t request_size;
    if (argc != 8) return 2;
    int number = atoi(argv[3]);
    depth = atoi(argv[4]);
    opcode = atoi(argv[5]);
    if (number < 1 || depth < 1 || (opcode != 1 && opcode != 2)) return 2;
    const unsigned char *request = read_file(argv[6], &request_size);
    offered = strcasestr((const char *)request, "permessage-deflate") != NULL;
    load_messages(argv[7]);
    Connection *connections = calloc((size_t)number, sizeof *connections);
    if (connections == NULL || (poller = epoll_create1(0)) < 0) die("epoll_create1");
    double start = now(), end = start + atof(argv[2]);
    for (int i = 0; i < number; i++) {
        Connection *c = &connections[i];
        if (!open_connection(c, atoi(argv[1]), request, request_size)) continue;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
        /* Not all with the same message at the same time. */
        c->next_sent = c->next_heard = i % message_count;
        for (int j = 0; j < depth; j++) put(c);
        flush(c);
    }
    while (open_connections > 0 && now() < end) {
        int count = epoll_wait(poller, events, MAX_EVENTS, 100);
        for (int i = 0; i < count; i++) {
            Connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) flush(c);
            if (c->fd >= 0 && events[i].events & ~(uint32_t)EPOLLOUT) hear(c);
        }
    }
    printf("COUNTED {\"requests\":%ld,\"seconds\":%.6f,\"bytes\":%ld,\"wire\":%ld,\"connect\":%ld,\"handshake\":%ld,"
           "\"refused\":%ld,\"closed\":%ld,\"answer\":%ld}\n",
           counts.requests, now() - start, counts.bytes, counts.wire, counts.connect, counts.handshake, counts.refused,
           counts.closed, counts.answer);
    return 0;
}
