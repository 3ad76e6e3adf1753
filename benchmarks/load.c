/* Many WebSocket clients in one process: join, say READY, count the frames that arrive, print one JSON line.
 *
 * It stands on the other side of every server that is measured, on the same machine, so it has to be cheap: one thread,
 * one epoll, one large shared read buffer, a few nanoseconds per frame. It is no library and no strict client; it does
 * what RFC 6455 asks of one as far as a server can notice: handshake, masked frames, pong for ping, close for close.
 *
 * On standard output, in this order:
 *   READY          every client has joined (with --joined: has received that text)
 *   <number>       every client has received that many marked frames (with --progress), each multiple once
 *   {"clients":... the result; the exit code is 0 whatever was counted, 1 when it could not be counted at all
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 256 * 1024,       /* per recv: fits a cache, and is many frames */
    MARKER_WITHIN = 200,           /* a marker stands at the start of a frame or not at all */
    FRAME_LIMIT = 64 * 1024 * 1024,
    THROTTLED_RCVBUF = 64 * 1024,  /* else the kernel would swallow megabytes for a client that does not read */
    SLICE_MS = 20,                 /* a throttled client gets its bytes in slices of this length */
    HANDSHAKE_S = 10,
};

/* The nonce of RFC 6455 section 1.3, and the answer the RFC gives for it: no SHA-1 needed to check a server. */
static const char NONCE[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char ACCEPT[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

struct client {
    int fd;
    bool joined, paused;
    bool numbered;          /* `number` is that of the frame before */
    uint64_t frames;        /* marked ones */
    uint64_t number;
    int64_t budget;         /* bytes that may be read in this slice */
    unsigned char *kept;    /* the beginning of a frame whose end has not arrived */
    size_t kept_bytes, kept_room;
};

static struct {
    const char *path, *join, *joined, *marker, *sequence;
    long port, clients, rate;
    uint64_t frames, progress;
    double deadline_s, linger_s;
} option = {.path = "/", .clients = 1, .frames = 1, .deadline_s = 60, .linger_s = 0.1};

static struct client *clients;
static unsigned char *buffer;
static size_t buffer_room;
static int poll_fd;

static long joined_clients, complete_clients, closed_clients;
static uint64_t marked_frames, marked_bytes, total_frames, total_bytes, out_of_order;
static int64_t first_ns, last_ns;
static uint64_t *reached; /* by multiple of `progress`: how many clients have that many frames */
static uint64_t reported, multiples;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void *allocate(void *old, size_t bytes) {
    void *memory = realloc(old, bytes);
    if (!memory) fail("no memory for %zu bytes", bytes);
    return memory;
}

/* ---- writing ---- */

/* The socket blocks for writing: what a client says is short. A failure is noticed by the next read. */
static void write_all(int fd, const void *bytes, size_t count) {
    while (count > 0) {
        ssize_t written = send(fd, bytes, count, MSG_NOSIGNAL);
        if (written < 0) return;
        bytes = (const char *)bytes + written;
        count -= (size_t)written;
    }
}

/* One final frame, RFC 6455 section 5.2: FIN and opcode; MASK and length (7 bits, or 126 and 16 bits); key; payload. */
static void send_frame(int fd, int opcode, const void *payload, size_t count) {
    static const unsigned char key[4] = {0x3d, 0x5a, 0x91, 0xc7}; /* nothing between us and the server to be fooled */
    if (count > 65535) fail("a frame of %zu bytes to send; 65535 are possible", count);
    unsigned char *frame = allocate(NULL, count + 8), *at = frame;
    *at++ = (unsigned char)(0x80 | opcode);
    if (count < 126) {
        *at++ = (unsigned char)(0x80 | count);
    } else {
        *at++ = 0x80 | 126;
        *at++ = (unsigned char)(count >> 8);
        *at++ = (unsigned char)count;
    }
    memcpy(at, key, 4);
    at += 4;
    for (size_t i = 0; i < count; i++) *at++ = ((const unsigned char *)payload)[i] ^ key[i % 4];
    write_all(fd, frame, (size_t)(at - frame));
    free(frame);
}

/* ---- joining ---- */

static void connect_and_join(struct client *client) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)option.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval patience = {.tv_sec = HANDSHAKE_S};
    int yes = 1, small = THROTTLED_RCVBUF;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (option.rate) setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect to 127.0.0.1:%ld: %s", option.port, strerror(errno));

    char text[4096];
    int count = snprintf(text, sizeof text,
                         "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%ld\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
                         option.path, option.port, NONCE);
    if (count >= (int)sizeof text) fail("the path is too long");
    write_all(client->fd, text, (size_t)count);

    size_t got = 0;
    for (char *end = NULL; !end;) { /* peek, then take no more than the head: frames may follow it at once */
        ssize_t seen = recv(client->fd, text + got, sizeof text - 1 - got, MSG_PEEK);
        if (seen <= 0) fail("no handshake within %d s: %s", HANDSHAKE_S, seen ? strerror(errno) : "closed");
        text[got + (size_t)seen] = 0;
        end = strstr(text, "\r\n\r\n");
        size_t wanted = end ? (size_t)(end + 4 - text) - got : (size_t)seen;
        if (recv(client->fd, text + got, wanted, 0) != (ssize_t)wanted) fail("read: %s", strerror(errno));
        got += wanted;
        text[got] = 0;
        if (!end && got == sizeof text - 1) fail("the head of the handshake is longer than %zu bytes", sizeof text);
    }
    if (strncmp(text, "HTTP/1.1 101", 12)) fail("handshake refused: %.*s", (int)strcspn(text, "\r"), text);
    if (!strstr(text, ACCEPT)) fail("the handshake lacks Sec-WebSocket-Accept: %s", ACCEPT);

    if (option.join) send_frame(client->fd, 1, option.join, strlen(option.join));
    if (!option.joined) {
        client->joined = true;
        joined_clients++;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0) fail("epoll: %s", strerror(errno));
}

/* ---- counting ---- */

/* Find a text near where it was the last time: nearly always there, so that a frame costs one comparison. */
static const unsigned char *find(const unsigned char *from, size_t count, const char *text, size_t *hint) {
    size_t length = strlen(text);
    if (*hint + length <= count && !memcmp(from + *hint, text, length)) return from + *hint;
    const unsigned char *found = memmem(from, count, text, length);
    if (found) *hint = (size_t)(found - from);
    return found;
}

static void check_order(struct client *client, const unsigned char *payload, size_t count) {
    static size_t hint;
    const unsigned char *at = find(payload, count, option.sequence, &hint), *end = payload + count;
    uint64_t number = 0;
    if (at)
        for (at += strlen(option.sequence); at < end && *at >= '0' && *at <= '9'; at++)
            number = number * 10 + (uint64_t)(*at - '0');
    if (!at || (client->numbered && number != client->number + 1)) out_of_order++;
    client->numbered = true;
    client->number = number;
}

static void count_frame(struct client *client, const unsigned char *payload, size_t count) {
    static size_t marker_hint, joined_hint;
    size_t start = count < MARKER_WITHIN ? count : MARKER_WITHIN;
    total_frames++;
    if (!client->joined && find(payload, count, option.joined, &joined_hint)) {
        client->joined = true;
        joined_clients++;
    }
    if (option.marker && !find(payload, start, option.marker, &marker_hint)) return;
    if (option.sequence) check_order(client, payload, count);
    marked_frames++;
    marked_bytes += count;
    client->frames++;
    if (client->frames == option.frames) complete_clients++;
    if (option.progress && client->frames % option.progress == 0 && client->frames / option.progress <= multiples)
        reached[client->frames / option.progress]++;
}

static void close_client(struct client *client) {
    epoll_ctl(poll_fd, EPOLL_CTL_DEL, client->fd, NULL);
    close(client->fd);
    client->fd = -1;
    closed_clients++;
}

/* Read frames, RFC 6455 section 5.2: FIN, RSV1-3, opcode; MASK, length; 16 or 64 bits of length; payload.
 * Returns how many bytes were whole frames. */
static size_t read_frames(struct client *client, const unsigned char *from, size_t count) {
    const unsigned char *at = from, *end = from + count;
    while (end - at >= 2) {
        size_t head = 2;
        uint64_t length = at[1] & 0x7f;
        if (length == 126) {
            if (end - at < 4) break;
            length = (uint64_t)at[2] << 8 | at[3];
            head = 4;
        } else if (length == 127) {
            if (end - at < 10) break;
            length = 0;
            for (int i = 2; i < 10; i++) length = length << 8 | at[i];
            head = 10;
        }
        if (at[0] & 0x70) fail("a frame with reserved bits (0x%02x); no extension was offered", at[0]);
        if (at[1] & 0x80) fail("a masked frame; servers do not mask");
        if (length > FRAME_LIMIT) fail("a frame of %" PRIu64 " bytes; %d are possible", length, FRAME_LIMIT);
        if ((uint64_t)(end - at) < head + length) break;
        const unsigned char *payload = at + head;
        switch (at[0] & 0x0f) {
        case 1: /* text: a message counts by its first fragment */
            count_frame(client, payload, length);
            break;
        case 8:
            send_frame(client->fd, 8, payload, length);
            close_client(client);
            return count;
        case 9:
            send_frame(client->fd, 10, payload, length);
            break;
        default: /* continuation, binary, pong */
            break;
        }
        at = payload + length;
    }
    return (size_t)(at - from);
}

static void pause_client(struct client *client, bool paused) {
    struct epoll_event event = {.events = paused ? 0 : EPOLLIN, .data.ptr = client};
    client->paused = paused;
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, client->fd, &event);
}

static void read_client(struct client *client) {
    size_t wanted = READ_BYTES;
    if (option.rate && client->budget < (int64_t)wanted) wanted = (size_t)client->budget;
    if (buffer_room < client->kept_bytes + wanted) {
        buffer_room = 2 * (client->kept_bytes + READ_BYTES);
        buffer = allocate(buffer, buffer_room);
    }
    ssize_t bytes = recv(client->fd, buffer + client->kept_bytes, wanted, MSG_DONTWAIT);
    if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (bytes <= 0) { /* closed without a close frame, or reset: the counts will say it */
        close_client(client);
        return;
    }
    if (client->kept_bytes) memcpy(buffer, client->kept, client->kept_bytes);
    uint64_t before = marked_frames;
    size_t count = client->kept_bytes + (size_t)bytes, used = read_frames(client, buffer, count);
    total_bytes += (uint64_t)bytes;
    client->kept_bytes = count - used;
    if (client->kept_bytes > client->kept_room) {
        client->kept_room = 2 * client->kept_bytes;
        client->kept = allocate(client->kept, client->kept_room);
    }
    if (client->kept_bytes) memcpy(client->kept, buffer + used, client->kept_bytes);
    if (marked_frames > before) {
        last_ns = now_ns();
        if (!first_ns) first_ns = last_ns;
    }
    if (option.rate && client->fd >= 0) {
        client->budget -= bytes;
        if (client->budget <= 0) pause_client(client, true);
    }
}

static void next_slice(void) {
    for (long i = 0; i < option.clients; i++) {
        if (clients[i].fd < 0) continue;
        clients[i].budget = option.rate * SLICE_MS / 1000 + 1;
        if (clients[i].paused) pause_client(&clients[i], false);
    }
}

static void report_progress(void) {
    while (reported < multiples && reached[reported + 1] == (uint64_t)option.clients) {
        reported++;
        printf("%" PRIu64 "\n", reported * option.progress);
        fflush(stdout);
    }
}

/* Serve the sockets until `*reaching` is the number of clients (or never, if NULL), one is closed, or time is up. */
static void serve(const long *reaching, int64_t until_ns) {
    struct epoll_event events[256];
    int64_t slice_ns = 0;
    while (!closed_clients && !(reaching && *reaching >= option.clients)) {
        int64_t now = now_ns();
        if (now >= until_ns) return;
        int wait_ms = (int)((until_ns - now) / 1000000) + 1;
        if (option.rate) {
            if (now - slice_ns >= SLICE_MS * 1000000) {
                next_slice();
                slice_ns = now;
            }
            if (wait_ms > SLICE_MS) wait_ms = SLICE_MS;
        }
        int ready = epoll_wait(poll_fd, events, 256, wait_ms);
        if (ready < 0 && errno != EINTR) fail("epoll: %s", strerror(errno));
        for (int i = 0; i < ready; i++) read_client(events[i].data.ptr);
        if (option.progress) report_progress();
    }
}

/* ---- the run ---- */

static void read_options(int count, char **words) {
    static const struct option names[] = {
        {"port", 1, 0, 'p'},     {"path", 1, 0, 'u'},     {"clients", 1, 0, 'c'},  {"join", 1, 0, 'j'},
        {"joined", 1, 0, 'J'},   {"marker", 1, 0, 'm'},   {"frames", 1, 0, 'f'},   {"progress", 1, 0, 'P'},
        {"sequence", 1, 0, 's'}, {"deadline", 1, 0, 'd'}, {"linger", 1, 0, 'l'},   {"rate", 1, 0, 'r'},
        {0, 0, 0, 0},
    };
    for (int name; (name = getopt_long(count, words, "", names, NULL)) != -1;) switch (name) {
        case 'p': option.port = atol(optarg); break;
        case 'u': option.path = optarg; break;
        case 'c': option.clients = atol(optarg); break;
        case 'j': option.join = optarg; break;
        case 'J': option.joined = optarg; break;
        case 'm': option.marker = optarg; break;
        case 'f': option.frames = strtoull(optarg, NULL, 10); break;
        case 'P': option.progress = strtoull(optarg, NULL, 10); break;
        case 's': option.sequence = optarg; break;
        case 'd': option.deadline_s = atof(optarg); break;
        case 'l': option.linger_s = atof(optarg); break;
        case 'r': option.rate = atol(optarg); break;
        default: exit(2);
        }
    if (option.port < 1 || option.port > 65535 || option.clients < 1 || option.frames < 1) {
        fputs("usage: load --port PORT [--path PATH] [--clients N] [--join TEXT] [--joined MARKER]\n"
              "            [--frames N each] [--marker TEXT of the frames that count] [--progress EVERY]\n"
              "            [--sequence TEXT before a number that grows by one] [--rate BYTES/s each]\n"
              "            [--deadline S] [--linger S]\n", stderr);
        exit(2);
    }
}

static int64_t cpu_us(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (int64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 + used.ru_utime.tv_usec +
           used.ru_stime.tv_usec;
}

static void print_result(int64_t used_us) {
    uint64_t least = UINT64_MAX, most = 0;
    for (long i = 0; i < option.clients; i++) {
        if (clients[i].frames < least) least = clients[i].frames;
        if (clients[i].frames > most) most = clients[i].frames;
    }
    printf("{\"clients\":%ld,\"least\":%" PRIu64 ",\"most\":%" PRIu64 ",\"frames\":%" PRIu64 ",\"payload_bytes\":%" PRIu64
           ",\"all_frames\":%" PRIu64 ",\"all_bytes\":%" PRIu64 ",\"out_of_order\":%" PRIu64 ",\"closed\":%ld"
           ",\"first_ns\":%" PRId64 ",\"last_ns\":%" PRId64 ",\"cpu_us\":%" PRId64 "}\n",
           option.clients, least, most, marked_frames, marked_bytes, total_frames, total_bytes, out_of_order,
           closed_clients, first_ns, last_ns, used_us);
}

int main(int count, char **words) {
    read_options(count, words);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc((size_t)option.clients, sizeof *clients);
    if (option.progress) multiples = option.frames / option.progress;
    reached = calloc(multiples + 1, sizeof *reached);
    if (!clients || !reached) fail("no memory for %ld clients", option.clients);

    for (long i = 0; i < option.clients; i++) connect_and_join(&clients[i]);
    serve(&joined_clients, now_ns() + (int64_t)(option.deadline_s * 1e9));
    if (joined_clients < option.clients)
        fail("%ld of %ld clients joined within %g s, %ld were closed", joined_clients, option.clients,
             option.deadline_s, closed_clients);
    int64_t before_us = cpu_us();
    puts("READY");
    fflush(stdout);
    serve(&complete_clients, now_ns() + (int64_t)(option.deadline_s * 1e9));
    int64_t used_us = cpu_us() - before_us;
    serve(NULL, now_ns() + (int64_t)(option.linger_s * 1e9)); /* what comes now is too much */
    print_result(used_us);
    return 0;
}
