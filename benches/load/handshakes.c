/* Full TLS 1.3 hand-shakes: handshakes PORT SECONDS THREADS CERT BODY
 *
 * Each thread connects, shakes hands, asks once with Connection: close, compares the answer's status and body, reads
 * to the end and starts again. No session is ever offered, and one that was resumed all the same is an error. Prints
 * its counts as one line of JSON. Built with -lssl -lcrypto -pthread.
 */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 256

static int port;
static double end;
static const char *body;
static SSL_CTX *context;

struct counts {
    long requests, bytes, connect, handshake, resumed, answer;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int open_socket(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = 5};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return -1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    close(fd);
    return -1;
}

/* Whether the whole answer is a 200 that ends with the body. */
static int right(const char *answer, size_t size) {
    size_t length = strlen(body);
    return size > length + 12 && memcmp(answer, "HTTP/1.1 200", 12) == 0 &&
           memcmp(answer + size - length, body, length) == 0;
}

static void ask(SSL *ssl, struct counts *counts) {
    char request[128], answer[65536];
    size_t total = 0, count;
    int length = snprintf(request, sizeof request,
                          "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n", port);
    if (SSL_write(ssl, request, length) != length) {
        counts->answer++;
        return;
    }
    while (total < sizeof answer && SSL_read_ex(ssl, answer + total, sizeof answer - total, &count)) total += count;
    /* The end must be the peer's close_notify: an answer that a truncated connection ends may be half of one. */
    if (SSL_get_error(ssl, 0) != SSL_ERROR_ZERO_RETURN || !right(answer, total)) {
        counts->answer++;
        return;
    }
    counts->requests++;
    counts->bytes += strlen(body);
}

static void *work(void *argument) {
    struct counts *counts = argument;
    while (now() < end) {
        int fd = open_socket();
        if (fd < 0) {
            counts->connect++;
            continue;
        }
        SSL *ssl = SSL_new(context);
        SSL_set_fd(ssl, fd);
        SSL_set_tlsext_host_name(ssl, "localhost");
        if (SSL_connect(ssl) != 1)
            counts->handshake++;
        else if (SSL_session_reused(ssl))
            counts->resumed++;
        else
            ask(ssl, counts);
        SSL_shutdown(ssl);
        SSL_free(ssl);
        close(fd);
    }
    return NULL;
}

int main(int argc, char **argv) {
    static struct counts counts[MAX_THREADS];
    pthread_t threads[MAX_THREADS];
    struct counts sum = {0};
    if (argc != 6) return 2;
    port = atoi(argv[1]);
    int number = atoi(argv[3]);
    if (number < 1 || number > MAX_THREADS) return 2;
    body = argv[5];
    signal(SIGPIPE, SIG_IGN);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(context, argv[4], NULL) != 1) return 3;
    double start = now();
    end = start + atof(argv[2]);
    for (int i = 0; i < number; i++) pthread_create(&threads[i], NULL, work, &counts[i]);
    for (int i = 0; i < number; i++) {
        pthread_join(threads[i], NULL);
        sum.requests += counts[i].requests;
        sum.bytes += counts[i].bytes;
        sum.connect += counts[i].connect;
        sum.handshake += counts[i].handshake;
        sum.resumed += counts[i].resumed;
        sum.answer += counts[i].answer;
    }
    printf("COUNTED {\"requests\":%ld,\"seconds\":%.6f,\"bytes\":%ld,\"connect\":%ld,\"handshake\":%ld,"
           "\"resumed\":%ld,\"answer\":%ld}\n",
           sum.requests, now() - start, sum.bytes, sum.connect, sum.handshake, sum.resumed, sum.answer);
    return 0;
}
