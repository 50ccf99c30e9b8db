/* The floor: what one thread must spend to answer a request over TCP, whatever the language.
 *
 *     floor PORT FILE
 *
 * A level-triggered epoll loop on 127.0.0.1 that writes what FILE holds, head and body, once per request. It finds
 * the end of a head (CRLFCRLF), skips the Content-Length bytes of a POST, and answers all requests of one read in one
 * write; it looks at nothing else. It is no HTTP server: it exists to be divided by.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 16384, MAX_EVENTS = 512, MAX_CONNECTIONS = 65536, MAX_COPIES = 256, MAX_BATCH = 4 << 20 };

typedef struct {
    size_t filled;     /* bytes of `data` in use: always less than one whole request between two reads */
    uint64_t to_skip;  /* body bytes still to come */
    uint64_t owed;     /* response bytes not yet written; `owed % response_size` says where in a response we are */
    char data[READ_SIZE];
} Connection;

static Connection *connections[MAX_CONNECTIONS];
static char *responses; /* `copies` responses in a row, so that a batch leaves in one write */
static size_t response_size;
static size_t copies; /* MAX_COPIES, or as many as MAX_BATCH bytes hold; one at least */
static int poller;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void drop(int fd) {
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

/* The value of Content-Length in a head, 0 without one. `head_size` includes the final CRLFCRLF. */
static uint64_t content_length(const char *head, size_t head_size) {
    static const char name[] = "\r\ncontent-length:";
    const char *line = head;
    const char *end = head + head_size - 2;
    while ((line = memchr(line, '\r', (size_t)(end - line))) != NULL) {
        if ((size_t)(end - line) > sizeof name && strncasecmp(line, name, sizeof name - 1) == 0)
            return strtoull(line + sizeof name - 1, NULL, 10);
        line++;
    }
    return 0;
}

/* Count and remove the whole requests in the connection's buffer. */
static uint64_t take_requests(Connection *c) {
    uint64_t count = 0;
    size_t at = 0;
    for (;;) {
        size_t left = c->filled - at;
        if (c->to_skip > 0) {
            size_t skipped = left < c->to_skip ? left : (size_t)c->to_skip;
            c->to_skip -= skipped;
            at += skipped;
            if (c->to_skip > 0)
                break;
            count++;
            continue;
        }
        const char *head = c->data + at;
        const char *head_end = memmem(head, left, "\r\n\r\n", 4);
        if (head_end == NULL)
            break;
        size_t head_size = (size_t)(head_end - head) + 4;
        at += head_size;
        if (head[0] == 'P')
            c->to_skip = content_length(head, head_size);
        if (c->to_skip == 0)
            count++;
    }
    memmove(c->data, c->data + at, c->filled - at);
    c->filled -= at;
    return count;
}

static void watch(int fd, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poller, operation, fd, &event) < 0)
        die("epoll_ctl");
}

/* Write what is owed; 0 when all is written, 1 when the socket is full, -1 when the connection is gone. */
static int write_owed(int fd, Connection *c) {
    while (c->owed > 0) {
        size_t part = (size_t)(c->owed % response_size);
        size_t start = part == 0 ? 0 : response_size - part;
        size_t size = copies * response_size - start;
        if (size > c->owed)
            size = (size_t)c->owed;
        ssize_t written = write(fd, responses + start, size);
        if (written < 0)
            return errno == EAGAIN ? 1 : -1;
        c->owed -= (uint64_t)written;
    }
    return 0;
}

static void accept_all(int listener) {
    int one = 1;
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_CONNECTIONS || (connections[fd] = calloc(1, sizeof(Connection))) == NULL) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(fd, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void serve(int fd, uint32_t events) {
    Connection *c = connections[fd];
    int blocked_before = c->owed > 0;
    if (!blocked_before) {
        if (!(events & EPOLLIN)) { /* EPOLLERR or EPOLLHUP alone */
            drop(fd);
            return;
        }
        ssize_t got = read(fd, c->data + c->filled, READ_SIZE - c->filled);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            drop(fd);
            return;
        }
        c->filled += (size_t)got;
        c->owed = take_requests(c) * response_size;
        if (c->filled == READ_SIZE) { /* a head larger than the buffer: not what this program is for */
            drop(fd);
            return;
        }
    }
    int blocked = write_owed(fd, c);
    if (blocked < 0)
        drop(fd);
    else if (blocked != blocked_before)
        watch(fd, EPOLL_CTL_MOD, blocked ? EPOLLOUT : EPOLLIN);
}

/* Fill `responses` from a file that is not empty. */
static void load(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        die(path);
    long size = ftell(file);
    if (size <= 0)
        die("an answer of no bytes");
    rewind(file);
    response_size = (size_t)size;
    copies = MAX_BATCH / response_size;
    copies = copies < 1 ? 1 : copies > MAX_COPIES ? MAX_COPIES : copies;
    responses = malloc(copies * response_size);
    if (responses == NULL)
        die("malloc");
    if (fread(responses, 1, response_size, file) != response_size)
        die(path);
    fclose(file);
    for (size_t i = 1; i < copies; i++)
        memcpy(responses + i * response_size, responses, response_size);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: floor PORT FILE\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    load(argv[2]);

    int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (listener < 0)
        die("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(listener, 4096) < 0)
        die("listen");
    if ((poller = epoll_create1(0)) < 0)
        die("epoll_create1");
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);

    struct epoll_event events[MAX_EVENTS];
    for (;;) {
        int count = epoll_wait(poller, events, MAX_EVENTS, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(listener);
            else
                serve(events[i].data.fd, events[i].events);
        }
    }
}
