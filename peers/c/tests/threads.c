/* Two ends in one process, on plain memory: small lanes whose cursors wrap at once, with and without sleeping. For sanitizers. */
/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "smstream.h"

#include <pthread.h>

typedef struct end {
    sms_stream *s;
    uint64_t n;
    bool waits;
} end;

static uint8_t byte_at(uint64_t at, int party) { return (uint8_t)((at * 2654435761u + (uint64_t)party) >> 13); }

static void fail(const char *what) {
    printf("threads: %s\n", what);
    exit(1);
}

static void *writer(void *arg) {
    end *e = (end *)arg;
    uint8_t piece[40];
    uint64_t at = 0;
    while (at < e->n) {
        size_t len = (size_t)(1 + at % sizeof piece), i;
        long w;
        if (len > e->n - at)
            len = (size_t)(e->n - at);
        for (i = 0; i < len; i++)
            piece[i] = byte_at(at + i, e->s->party);
        if (at % 3 == 0) {
            void *room;
            int r = sms_reserve(e->s, &room, &i);
            if (r == SMS_OK) {
                w = (long)(i < len ? i : len);
                memcpy(room, piece, (size_t)w);
                if (sms_commit(e->s, (size_t)w) != SMS_OK)
                    fail("commit");
            } else {
                w = r;
            }
        } else {
            w = e->waits ? sms_write(e->s, piece, len, -1) : sms_try_write(e->s, piece, len);
        }
        if (w == SMS_EAGAIN) {
            if (e->waits && sms_wait_room(e->s, 1, -1) < 0)
                fail("wait for room");
            (void)sched_yield();
            continue;
        }
        if (w < 0)
            fail(sms_error_name((int)w));
        at += (uint64_t)w;
    }
    (void)sms_shutdown(e->s, SMS_WRITES);
    return NULL;
}

static void *reader(void *arg) {
    end *e = (end *)arg;
    uint8_t buffer[33];
    uint64_t at = 0;
    for (;;) {
        long r;
        size_t i;
        if (at % 5 == 0) {
            const void *bytes;
            int p = sms_peek(e->s, &bytes, &i);
            r = p < 0 ? p : (long)i;
            if (r > (long)sizeof buffer)
                r = (long)sizeof buffer;
            if (r > 0) {
                memcpy(buffer, bytes, (size_t)r);
                if (sms_consume(e->s, (size_t)r) != SMS_OK)
                    fail("consume");
            }
        } else {
            r = e->waits ? sms_read(e->s, buffer, sizeof buffer, -1) : sms_try_read(e->s, buffer, sizeof buffer);
        }
        if (r == SMS_EAGAIN) {
            if (e->waits && sms_wait_bytes(e->s, 1, -1) < 0)
                fail("wait for bytes");
            (void)sched_yield();
            continue;
        }
        if (r < 0)
            fail(sms_error_name((int)r));
        if (r == 0)
            break;
        for (i = 0; i < (size_t)r; i++)
            if (buffer[i] != byte_at(at + i, 1 - e->s->party))
                fail("another byte came");
        at += (uint64_t)r;
    }
    if (at != e->n)
        fail("another number of bytes came");
    return NULL;
}

/* Lengths of records, from none to the longest. */
static size_t record_len(const end *e, uint64_t k) { return (size_t)(k * 7 % (e->s->writer.capacity - 3)); }

static void *record_writer(void *arg) {
    end *e = (end *)arg;
    uint8_t record[4096];
    uint64_t k;
    size_t i;
    for (k = 0; k < e->n; k++) {
        size_t len = record_len(e, k);
        int sent;
        for (i = 0; i < len; i++)
            record[i] = byte_at(k + i, e->s->party);
        while ((sent = e->waits ? sms_send_record(e->s, record, len, -1) : sms_send_record(e->s, record, len, 0)) == SMS_EAGAIN)
            (void)sched_yield();
        if (sent != SMS_OK)
            fail(sms_error_name(sent));
    }
    (void)sms_shutdown(e->s, SMS_WRITES);
    return NULL;
}

static void *record_reader(void *arg) {
    end *e = (end *)arg;
    uint8_t record[4096];
    uint64_t k;
    size_t i;
    for (k = 0; k <= e->n; k++) {
        size_t len = record_len(e, k);
        long n;
        do {
            n = k % 5 == 0 ? sms_wait_record(e->s, e->waits ? -1 : 0) : 0;
            if (n >= 0 && k % 10 == 0)
                n = (size_t)n == 0 || sms_try_recv_record(e->s, record, (size_t)n - 1) == SMS_ETOOSMALL ? 0 : SMS_ECORRUPT;
            if (n >= 0)
                n = k % 7 == 3 ? sms_skip_record(e->s) : sms_recv_record(e->s, record, sizeof record, e->waits ? -1 : 0);
            if (n == SMS_EAGAIN)
                (void)sched_yield();
        } while (n == SMS_EAGAIN);
        if (k == e->n && n == SMS_EEND)
            return NULL;
        if (n != (long)len)
            fail(n < 0 ? sms_error_name((int)n) : "a record of another length came");
        for (i = 0; i < len && k % 7 != 3; i++)
            if (record[i] != byte_at(k + i, 1 - e->s->party))
                fail("another record came");
    }
    fail("more records came");
    return NULL;
}

typedef void *(*thread)(void *);

static void both(thread write, thread read, uint32_t capacity, uint32_t start, bool waits, uint32_t spin, uint64_t n) {
    sms_config c;
    void *memory[2];
    size_t len[2];
    sms_stream s[2];
    end e[2];
    pthread_t t[4];
    int i;
    memset(&c, 0, sizeof c);
    c.capacity[0] = c.capacity[1] = capacity;
    c.align = 128;
    c.start = start;
    c.records = spin != 0;
    for (i = 0; i < 2; i++) {
        len[i] = sms_segment_len(&c, (unsigned)i);
        if (posix_memalign(&memory[i], 128, len[i]) != 0 || sms_init(memory[i], len[i], &c, (unsigned)i) != SMS_OK)
            fail("init");
    }
    for (i = 0; i < 2; i++) {
        if (sms_attach(&s[i], memory[i], len[i], memory[1 - i], len[1 - i]) != SMS_OK)
            fail("attach");
        sms_set_spin(&s[i], spin);
        e[i].s = &s[i];
        e[i].n = n;
        e[i].waits = waits;
    }
    for (i = 0; i < 2; i++)
        if (pthread_create(&t[2 * i], NULL, write, &e[i]) != 0 || pthread_create(&t[2 * i + 1], NULL, read, &e[i]) != 0)
            fail("a thread");
    for (i = 0; i < 4; i++)
        (void)pthread_join(t[i], NULL);
    for (i = 0; i < 2; i++)
        free(memory[i]);
}

int main(void) {
    static const uint32_t capacities[] = {1, 2, 16, 4096};
    static const uint32_t starts[] = {0, 0x3ffffffd, 0x7ffffffb};
    size_t c, s;
    for (c = 0; c < 4; c++)
        for (s = 0; s < 3; s++) {
            uint64_t n = capacities[c] < 16 ? 3000 : 100000;
            uint32_t spin;
            both(writer, reader, capacities[c], starts[s], false, 0, n);
            both(writer, reader, capacities[c], starts[s], true, 0, n);
            both(writer, reader, capacities[c], starts[s], true, 50, n);
            for (spin = 0; capacities[c] >= 16 && spin <= 50; spin += 50) {
                both(record_writer, record_reader, capacities[c], starts[s], spin != 0, 0, 3000);
                both(record_writer, record_reader, capacities[c] / 4, starts[s], true, spin, 3000);
            }
        }
    printf("threads: ok\n");
    return 0;
}
