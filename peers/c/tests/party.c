/* One party of tests/interop/peers, which says what each mode does.
 * usage: party listen|connect ADDRESS MODE [N] */
/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "smstream.h"

#include <pthread.h>

#define PATTERN 65521u
static uint8_t pattern[2][PATTERN];

static void say(const char *text) {
    printf("%s\n", text);
    (void)fflush(stdout);
}

static void fail(const char *what, const char *why) {
    printf("failed %s: %s\n", what, why);
    exit(1);
}

static void need(bool good, const char *what) {
    if (!good)
        fail(what, "not as expected");
}

static void nap(long ms) {
    struct timespec t;
    t.tv_sec = ms / 1000;
    t.tv_nsec = ms % 1000 * 1000000;
    (void)nanosleep(&t, NULL);
}

static void make_patterns(void) {
    uint32_t seed, i;
    for (seed = 1; seed <= 2; seed++) {
        uint32_t x = seed;
        for (i = 0; i < PATTERN; i++) {
            x = x * 1664525u + 1013904223u;
            pattern[seed - 1][i] = (uint8_t)(x >> 24);
        }
    }
}

/* Sends n bytes of the pattern of a party in pieces of many sizes; pauses now and then if asked to. */
static void send_pattern(sms_stream *s, int party, uint64_t n, bool pauses) {
    uint64_t at = 0, rest = 300000, k = 0;
    while (at < n) {
        uint64_t piece = 1 + k++ * 7919 % 50000, run = PATTERN - at % PATTERN;
        long w;
        if (piece > run)
            piece = run;
        if (piece > n - at)
            piece = n - at;
        w = sms_write(s, &pattern[party][at % PATTERN], (size_t)piece, -1);
        if (w < 0)
            fail("write", sms_error_name((int)w));
        at += (uint64_t)w;
        if (pauses && at > rest) {
            nap(3);
            rest += 300000;
        }
    }
}

/* Reads to the end, and checks that n bytes of the pattern came. */
static void receive_pattern(sms_stream *s, int party, uint64_t n, bool pauses) {
    static uint8_t buffer[60000];
    uint64_t at = 0, rest = 500000;
    for (;;) {
        long r = sms_read(s, buffer, sizeof buffer, -1);
        size_t i;
        if (r < 0)
            fail("read", sms_error_name((int)r));
        if (r == 0)
            break;
        for (i = 0; i < (size_t)r; i++)
            if (buffer[i] != pattern[party][(at + i) % PATTERN])
                fail("read", "another byte came");
        at += (uint64_t)r;
        if (pauses && at > rest) {
            nap(3);
            rest += 500000;
        }
    }
    if (at != n)
        fail("read", "another number of bytes came");
}

typedef struct job {
    sms_stream *s;
    int party;
    uint64_t n;
} job;

static void *sender(void *arg) {
    job *j = (job *)arg;
    send_pattern(j->s, j->party, j->n, true);
    (void)sms_shutdown(j->s, SMS_WRITES);
    return NULL;
}

static void sum(sms_stream *s, int party, uint64_t n) {
    pthread_t t;
    job j;
    j.s = s;
    j.party = party;
    j.n = n;
    need(pthread_create(&t, NULL, sender, &j) == 0, "a thread");
    receive_pattern(s, 1 - party, n, true);
    (void)pthread_join(t, NULL);
}

/* Record k: from none to many bytes, each 16th of n of them, from somewhere in the pattern on. */
static size_t record(int party, uint64_t k, uint64_t n, uint8_t *bytes) {
    size_t len = (size_t)(k % 16 == 15 ? n : k * 7919 % 5000), i;
    for (i = 0; i < len; i++)
        bytes[i] = pattern[party][(k * 31 + i) % PATTERN];
    return len;
}

#define RECORDS 200u
#define LONGEST 300000u

static void *record_sender(void *arg) {
    static uint8_t bytes[LONGEST];
    job *j = (job *)arg;
    uint64_t k;
    for (k = 0; k < RECORDS; k++) {
        int sent = sms_send_record(j->s, bytes, record(j->party, k, j->n, bytes), -1);
        if (sent < 0)
            fail("send a record", sms_error_name(sent));
        if (k % 20 == 19)
            nap(3);
    }
    (void)sms_shutdown(j->s, SMS_WRITES);
    return NULL;
}

static void records(sms_stream *s, int party, uint64_t n) {
    static uint8_t right[LONGEST], came[LONGEST];
    pthread_t t;
    job j;
    uint64_t k;
    long r;
    j.s = s;
    j.party = party;
    j.n = n;
    need(sms_peer_has_records(s), "a peer that says that it has records");
    need(pthread_create(&t, NULL, record_sender, &j) == 0, "a thread");
    for (k = 0; k < RECORDS; k++) {
        size_t len = record(1 - party, k, n, right);
        r = sms_recv_record(s, came, sizeof came, -1);
        if (r < 0)
            fail("receive a record", sms_error_name((int)r));
        need((size_t)r == len && memcmp(came, right, len) == 0, "a record");
        if (k % 33 == 32)
            nap(3);
    }
    need(sms_recv_record(s, came, sizeof came, -1) == SMS_EEND, "the end of the records");
    (void)pthread_join(t, NULL);
}

static int echo(sms_stream *s) {
    static __thread uint8_t buffer[60000];
    for (;;) {
        long r = sms_read(s, buffer, sizeof buffer, -1);
        if (r <= 0)
            return (int)r;
        r = sms_write(s, buffer, (size_t)r, -1);
        if (r < 0)
            return (int)r;
    }
}

static int echo_records(sms_stream *s) {
    static __thread uint8_t buffer[LONGEST];
    for (;;) {
        long r = sms_recv_record(s, buffer, sizeof buffer, -1);
        int e;
        if (r < 0)
            return r == SMS_EEND ? 0 : (int)r;
        e = sms_send_record(s, buffer, (size_t)r, -1);
        if (e < 0)
            return e;
    }
}

static void *serve(void *arg) {
    sms_stream *s = (sms_stream *)arg;
    (void)(s->records ? echo_records(s) : echo(s));
    sms_close(s);
    return NULL;
}

static void until_dead(sms_stream *s, bool reading) {
    static uint8_t bytes[4096];
    long n;
    if (reading) {
        need(sms_read(s, bytes, 1, -1) == 1, "the first byte");
        say("ready");
        n = sms_read(s, bytes, 1, -1);
    } else {
        while ((n = sms_write(s, bytes, sizeof bytes, 0)) > 0) {
        }
        need(n == SMS_EAGAIN, "a full lane");
        say("ready");
        n = sms_write(s, bytes, sizeof bytes, -1);
    }
    if (n != SMS_EPEERGONE)
        fail("wait for the peer's death", n >= 0 ? "something came" : sms_error_name((int)n));
}

static double now(void) { return (double)sms_now_us() / 1e6; }

static void measure(sms_stream *s, bool connector, const char *mode, uint64_t n) {
    static uint8_t bytes[1 << 16];
    double began = now();
    uint64_t i, got;
    if (strcmp(mode, "ping") == 0) {
        for (i = 0; connector && i < n; i++) {
            need(sms_write(s, bytes, 64, -1) == 64, "a ping");
            for (got = 0; got < 64;) {
                long r = sms_read(s, bytes, (size_t)(64 - got), -1);
                need(r > 0, "a pong");
                got += (uint64_t)r;
            }
        }
        if (!connector)
            (void)echo(s);
        else
            printf("%.0f ns\n", (now() - began) * 1e9 / (double)n);
    } else if (connector) {
        for (i = 0; i < n; i += sizeof bytes)
            need(sms_write(s, bytes, sizeof bytes, -1) == (long)sizeof bytes, "bulk");
    } else {
        long r;
        got = 0;
        while ((r = sms_read(s, bytes, sizeof bytes, -1)) > 0)
            got += (uint64_t)r;
        printf("%.0f MB/s\n", (double)got / 1e6 / (now() - began));
    }
}

static void play(sms_stream *s, bool connector, const char *mode, uint64_t n) {
    int party = connector ? 1 : 0;
    uint8_t byte = 'x';
    if (strcmp(mode, "sum") == 0) {
        sum(s, party, n);
    } else if (strcmp(mode, "half") == 0) {
        if (connector)
            receive_pattern(s, 0, 1000, false);
        send_pattern(s, party, connector ? 2000 : 1000, false);
        (void)sms_shutdown(s, SMS_WRITES);
        if (!connector)
            receive_pattern(s, 1, 2000, false);
    } else if (strcmp(mode, "stop") == 0) {
        uint8_t ten[10];
        if (connector) {
            long w = 1;
            need(sms_write(s, "0123456789", 10, -1) == 10, "ten bytes");
            while (w == 1) {
                nap(2);
                w = sms_write(s, &byte, 1, -1);
            }
            need(w == SMS_ECLOSED, "STOP");
        } else {
            size_t got = 0;
            while (got < 10) {
                long r = sms_read(s, ten + got, 10 - got, -1);
                need(r > 0, "ten bytes");
                got += (size_t)r;
            }
            (void)sms_shutdown(s, SMS_READS);
            nap(100);
        }
    } else if (strcmp(mode, "wait") == 0) {
        until_dead(s, true);
    } else if (strcmp(mode, "full") == 0) {
        until_dead(s, false);
    } else if (strcmp(mode, "victim") == 0) {
        need(sms_write(s, &byte, 1, -1) == 1, "a byte");
        say("ready");
        for (;;)
            (void)pause();
    } else if (strcmp(mode, "lie") == 0) {
        uint32_t i;
        /* The other side has attached. */
        need(sms_read(s, &byte, 1, 10000) == 1, "a byte");
        for (i = 0; i < 1000000; i++) {
            uint32_t word = i * 2654435761u;
            sms_store(s->writer.own, word);
            sms_store(s->reader.own, word * 7u);
            sms_store(s->writer.park, word | SMS_ASLEEP);
            sms_store(s->reader.park, word);
            sms_store(s->reader.method, word >> 28);
        }
        nap(200);
        sms_abort(s);
        return;
    } else if (strcmp(mode, "records") == 0) {
        records(s, party, n);
    } else if (strcmp(mode, "lie-record") == 0) {
        /* A good record, and the header of one that is not there: n of its bits. */
        uint32_t words[3];
        words[0] = 3;
        memcpy(&words[1], "abc", 4);
        words[2] = (uint32_t)n;
        need(sms_write(s, words, sizeof words, -1) == (long)sizeof words, "records");
        need(sms_recv_record(s, words, sizeof words, -1) == SMS_EEND, "FIN of a peer that knows");
    } else if (strcmp(mode, "corrupt-record") == 0) {
        uint8_t bytes[8];
        need(sms_recv_record(s, bytes, sizeof bytes, -1) == 3 && memcmp(bytes, "abc", 3) == 0, "a good record");
        need(sms_recv_record(s, bytes, sizeof bytes, -1) == SMS_ECORRUPT, "a lie that is found");
        need(sms_send_record(s, bytes, 1, -1) == SMS_ECORRUPT, "a stream that is over");
    } else if (strcmp(mode, "corrupt") == 0) {
        static uint8_t buffer[4096];
        long r;
        need(sms_write(s, &byte, 1, -1) == 1, "a byte");
        while ((r = sms_read(s, buffer, sizeof buffer, 5000)) > 0) {
        }
        /* The first word that it saw may have been one that is possible. */
        need(r == SMS_ECORRUPT || r == SMS_EPEERGONE || r == 0, "a broken peer");
    } else if (strcmp(mode, "ping") == 0 || strcmp(mode, "bulk") == 0) {
        measure(s, connector, mode, n);
    } else if (strncmp(mode, "echo", 4) == 0) {
        int e = s->records ? echo_records(s) : echo(s);
        if (e < 0)
            fail("echo", sms_error_name(e));
    } else {
        fail(mode, "no such mode");
    }
    sms_close(s);
}

int main(int argc, char **argv) {
    sms_options options = sms_options_default();
    sms_err err;
    sms_stream *s;
    bool connector;
    uint64_t n;
    int rounds;
    if (argc < 4)
        return 2;
    options.records = strstr(argv[3], "record") != NULL;
    make_patterns();
    connector = strcmp(argv[1], "connect") == 0;
    n = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
    rounds = strcmp(argv[3], "again") == 0 ? 2 : 1;
    if (connector) {
        while (rounds-- > 0) {
            s = sms_connect(argv[2], &options, 10000, &err);
            if (s == NULL) {
                printf("failed %s\n%s\n", sms_error_name(err.code), err.text);
                return 1;
            }
            play(s, true, strcmp(argv[3], "again") == 0 ? "half" : argv[3], n);
        }
    } else {
        sms_listener *l = sms_listen(argv[2], &options, &err);
        if (l == NULL)
            fail(sms_error_name(err.code), err.text);
        say("listening");
        while (rounds > 0) {
            s = sms_accept(l, 60000, &err);
            if (s == NULL)
                fail(sms_error_name(err.code), err.text);
            if (strncmp(argv[3], "echo", 4) == 0) {
                pthread_t t;
                need(pthread_create(&t, NULL, serve, s) == 0, "a thread");
                (void)pthread_detach(t);
                continue;
            }
            if (--rounds == 0)
                sms_listener_close(l);
            play(s, false, strcmp(argv[3], "again") == 0 ? "half" : argv[3], n);
        }
    }
    say("ok");
    return 0;
}
