/* Both ways at once: standard input to the peer, what comes to standard output.
 * usage: cat listen|connect ADDRESS */
/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "smstream.h"

#include <pthread.h>

static void *to_output(void *arg) {
    sms_stream *s = (sms_stream *)arg;
    static char buffer[1 << 16];
    long n;
    while ((n = sms_read(s, buffer, sizeof buffer, -1)) > 0)
        if (fwrite(buffer, 1, (size_t)n, stdout) != (size_t)n || fflush(stdout) != 0) {
            (void)sms_shutdown(s, SMS_READS);
            break;
        }
    if (n < 0)
        fprintf(stderr, "cat: %s\n", sms_strerror((int)n));
    return (void *)(intptr_t)(n < 0);
}

int main(int argc, char **argv) {
    static char buffer[1 << 16];
    sms_err err;
    sms_stream *s = NULL;
    pthread_t thread;
    void *failed = NULL;
    ssize_t n;
    if (argc != 3) {
        fprintf(stderr, "usage: cat listen|connect ADDRESS\n");
        return 2;
    }
    if (strcmp(argv[1], "listen") == 0) {
        sms_listener *l = sms_listen(argv[2], NULL, &err);
        if (l != NULL)
            s = sms_accept(l, -1, &err);
        sms_listener_close(l);
    } else {
        s = sms_connect(argv[2], NULL, -1, &err);
    }
    if (s == NULL) {
        fprintf(stderr, "cat: %s\n", err.text);
        return 1;
    }
    if (pthread_create(&thread, NULL, to_output, s) != 0)
        return 1;
    while ((n = read(0, buffer, sizeof buffer)) > 0) {
        long w = sms_write(s, buffer, (size_t)n, -1);
        if (w != n) {
            w = w < 0 ? w : sms_write(s, buffer, (size_t)n - (size_t)w, 0);
            fprintf(stderr, "cat: %s\n", sms_strerror((int)w));
            break;
        }
    }
    (void)sms_shutdown(s, SMS_WRITES);
    (void)pthread_join(thread, &failed);
    sms_close(s);
    return failed != NULL;
}
