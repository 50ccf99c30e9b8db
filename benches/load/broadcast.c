/* The floor of a broadcast: what the system asks for one send to each of many connections.
 *
 *     broadcast PORT SIZE
 *
 * Listens on 127.0.0.1, answers whatever a connection says first (a hand-shake) with a fixed answer, and whatever it
 * says later with one frame of SIZE bytes to every connection, in a plain loop of sends. It looks at nothing it reads.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 65536, MAX_EVENTS = 512, MAX_SIZE = 65535 };

static const char ANSWER[] =
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static int open_connections[MAX_CONNECTIONS];
static int connections;
static char greeted[MAX_CONNECTIONS];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void send_all(int fd, const char *data, size_t size) {
    if (send(fd, data, size, MSG_NOSIGNAL) != (ssize_t)size) die("send");
}

static void forget(int fd) {
    for (int i = 0; i < connections; i++)
        if (open_connections[i] == fd) {
            open_connections[i] = open_connections[--connections];
            break;
        }
    greeted[fd] = 0;
    close(fd);
}

int main(int argc, char **argv) {
    static char frame[MAX_SIZE + 4], input[4096];
    struct epoll_event events[MAX_EVENTS], event = {.events = EPOLLIN};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int one = 1, listener, poller;
    size_t size, head;
    if (argc != 3) return 2;
    size = strtoul(argv[2], NULL, 10);
    if (size > MAX_SIZE) return 2;
    /* A binary message, RFC 6455, section 5.2. */
    frame[0] = (char)0x82;
    head = size < 126 ? 2 : 4;
    frame[1] = (char)(size < 126 ? size : 126);
    if (head == 4) {
        frame[2] = (char)(size >> 8);
        frame[3] = (char)size;
    }
    address.sin_port = htons((unsigned short)atoi(argv[1]));
    listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) die("listen");
    poller = epoll_create1(0);
    event.data.fd = listener;
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poller, events, MAX_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0 || fd >= MAX_CONNECTIONS) die("accept");
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                event.data.fd = fd;
                epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            if (recv(fd, input, sizeof input, 0) <= 0) {
                forget(fd);
            } else if (!greeted[fd]) {
                greeted[fd] = 1;
                open_connections[connections++] = fd;
                send_all(fd, ANSWER, sizeof ANSWER - 1);
            } else {
                for (int j = 0; j < connections; j++) send_all(open_connections[j], frame, head + size);
            }
        }
    }
}
