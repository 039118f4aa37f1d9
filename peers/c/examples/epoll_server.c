/* An echo server for many streams in one thread. It sleeps in epoll_wait, and in nothing else.
 * usage: epoll_server unix:PATH */
/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "smstream.h"

/* One client, and what it has sent and not got back. */
typedef struct client {
    sms_stream *stream;
    char buffer[1 << 16];
    size_t begin, end;
} client;

static int watch(int epoll, int fd, void *what) {
    struct epoll_event ev;
    memset(&ev, 0, sizeof ev);
    ev.events = EPOLLIN;
    ev.data.ptr = what;
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
}

/* Moves bytes as far as they go without waiting. False: this client is done. */
static bool serve(client *c) {
    for (;;) {
        long n;
        int ready;
        if (c->begin == c->end) {
            n = sms_try_read(c->stream, c->buffer, sizeof c->buffer);
            if (n > 0) {
                c->begin = 0;
                c->end = (size_t)n;
                continue;
            }
        } else {
            n = sms_try_write(c->stream, c->buffer + c->begin, c->end - c->begin);
            if (n > 0) {
                c->begin += (size_t)n;
                continue;
            }
        }
        /* 0 is the end, and errors are one. */
        if (n != SMS_EAGAIN)
            return false;
        ready = sms_arm(c->stream, c->begin == c->end ? SMS_READS : SMS_WRITES);
        if (ready < 0)
            return false;
        if (ready == 0)
            return true;
    }
}

int main(int argc, char **argv) {
    sms_err err;
    sms_listener *l = argc == 2 ? sms_listen(argv[1], NULL, &err) : NULL;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l == NULL || epoll < 0 || sms_listener_fd(l) < 0 || watch(epoll, sms_listener_fd(l), l) < 0) {
        fprintf(stderr, "epoll_server: %s\n", argc == 2 && l == NULL ? err.text : "usage: epoll_server unix:PATH");
        return 1;
    }
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, -1), i;
        for (i = 0; i < n; i++) {
            client *c = (client *)events[i].data.ptr;
            if (events[i].data.ptr == l) {
                sms_stream *s;
                while ((s = sms_accept(l, 0, &err)) != NULL) {
                    c = (client *)calloc(1, sizeof *c);
                    if (c == NULL || watch(epoll, sms_fd(s), c) < 0) {
                        free(c);
                        sms_close(s);
                        continue;
                    }
                    c->stream = s;
                    if (!serve(c)) {
                        sms_close(s);
                        free(c);
                    }
                }
                if (err.code != SMS_EAGAIN)
                    fprintf(stderr, "epoll_server: %s\n", err.text);
            } else if (!serve(c)) {
                /* Closing the socket takes it out of epoll. */
                sms_close(c->stream);
                free(c);
            }
        }
    }
}
