/* smstream.h - byte streams between processes through shared memory. Layout version 1. Linux.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * One header, C11 or C++17, no library. It is a peer of the layout's level 2 (parking) for file:, shm:, unix: and fd: addresses, both
 * roles, and of level 1 for memory that you have shared yourself. docs/LAYOUT.md of the project has the bytes; comments name its rules.
 *
 *     sms_err err;
 *     sms_stream *s = sms_connect("unix:/run/user/1000/chat", NULL, -1, &err);
 *     if (!s) { fprintf(stderr, "%s\n", err.text); exit(1); }
 *     sms_write(s, "hello", 5, -1);                 // all of it, however long that takes
 *     sms_shutdown(s, SMS_WRITES);                  // no more from here; the peer reads the end
 *     char buf[4096];
 *     long n;
 *     while ((n = sms_read(s, buf, sizeof buf, -1)) > 0) fwrite(buf, 1, (size_t)n, stdout);
 *     if (n < 0) fprintf(stderr, "%s\n", sms_strerror((int)n));
 *     sms_close(s);
 *
 * THREADS. A stream has two halves. One thread at a time may write (sms_write, sms_try_write, sms_reserve, sms_commit, sms_wait_room,
 * sms_send_record, sms_shutdown of SMS_WRITES), and one at a time, perhaps another, may read (sms_read, sms_try_read, sms_peek, sms_consume,
 * sms_wait_bytes, sms_recv_record, sms_next_record, sms_skip_record, sms_shutdown of SMS_READS). sms_arm, sms_arm_record and sms_close use both. sms_cancel may be called from any thread and from a signal handler. A listener
 * is used by one thread at a time.
 *
 * BLOCKING. Timeouts are in milliseconds: -1 waits for ever, 0 does not wait. A blocked call looks for about 50 microseconds (sms_set_spin), if
 * that was worth it lately, then sleeps in a futex. It wakes every 20 ms to ask whether the peer lives; so its death is noticed within 20 ms. To sleep without that,
 * and to wait for many streams, use poll or epoll: sms_fd and sms_arm (streams that met over a socket).
 *
 * ERRORS. Functions that return int or long return a negative SMS_E... on failure; sms_error_name and sms_strerror say what it means. Functions
 * that make something return NULL and fill in an sms_err (which may be NULL) with the code, errno if the system said so, and a sentence.
 *
 * TRUST. Over unix: and fd: the peer need not be trusted: it can send any bytes, but it cannot make this code read or write outside of a
 * lane, loop for ever, or crash. What it sends is copied once. The pointers of sms_peek are the exception: the peer may change those bytes
 * while you look. Over file: and shm: it is the same user, trusted not to make the file shorter, which would be a SIGBUS.
 *
 * RECORDS. If both sides agree to send whole messages, use sms_send_record and sms_recv_record in place of sms_write and sms_read,
 * on both sides and from the first byte on. A record is received whole or not at all. sms_options.records says so to the peer, which some require.
 *
 * FORK. A child has copies of the descriptors and mappings. Use a stream in one of the two processes; the other one calls sms_forget.
 *
 * It includes the system's headers with _GNU_SOURCE and 64-bit file offsets. Include it first, or pass -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64.
 */
#ifndef SMSTREAM_H
#define SMSTREAM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#if !defined(F_OFD_SETLK) || !defined(O_TMPFILE) || !defined(F_ADD_SEALS)
#error "smstream.h needs GNU declarations: include it before other headers, or compile with -D_GNU_SOURCE"
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#ifdef __cplusplus
#define SMS_STATIC_ASSERT(cond, text) static_assert(cond, text)
extern "C" {
#else
#define SMS_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif
#define SMS_API static inline

SMS_STATIC_ASSERT(sizeof(off_t) == 8, "compile with -D_FILE_OFFSET_BITS=64: the locks of a region need 64-bit offsets");

/* ---- The layout ------------------------------------------------------------------------------------------------------------ */

#define SMS_LINE 128u
#define SMS_HEADER_LEN 768u
#define SMS_LAYOUT_VERSION 1u
#define SMS_BYTE_ORDER 0x01020304u
#define SMS_MAX_CAPACITY (1u << 29)
#define SMS_MAX_ALIGN (1u << 26)
#define SMS_LAST (1u << 31)   /* FIN of sent, STOP of received */
#define SMS_CURSOR 0x7fffffffu
#define SMS_ASLEEP (1u << 31)
#define SMS_EXCLUSIVE (1u << 30)
#define SMS_THRESHOLD 0x3fffffffu
#define SMS_STOPPED_HINT 1u
#define SMS_WAKE_WORD 0u
#define SMS_WAKE_SOCKET 1u
#define SMS_MUST_KNOW 0xffffu
#define SMS_COUNTERS (1u << 16)
#define SMS_RECORDS (1u << 17)
enum { SMS_ARMED = 1, SMS_ACCEPTED = 2, SMS_STATE_REFUSED = 3, SMS_HELLO_SAID = 1 };

/* The bytes that begin a segment and every message. */
SMS_API const uint8_t *sms_magic(void) {
    static const uint8_t magic[8] = {0x89, 'S', 'M', 'S', '\r', '\n', 0x1a, '\n'};
    return magic;
}

/* A word of shared memory: only the functions sms_load and sms_store touch it. */
typedef struct sms_word {
    uint32_t value;
} sms_word;

/* Counters of one half: H5. */
typedef struct sms_counters {
    sms_word bytes[3], operations[3], parks[3], wakes_sent[3], reserved[20];
} sms_counters;

/* What stands before the lane: H of the layout. */
typedef struct sms_header {
    /* the identity, written once */
    sms_word magic[2], byte_order, version, features, party, align, lane_offset, capacity, peer_capacity, start, pid, made[2], channel[2];
    sms_word reserved0[16];
    /* the port: each word has one writer */
    sms_word sent, reserved1[31];
    sms_word received, reserved2[31];
    sms_word read_park, write_park, read_wake_method, write_wake_method, state, sent_fence, received_fence;
    sms_word reserved3[25];
    sms_counters writes, reads;
} sms_header;

SMS_STATIC_ASSERT(sizeof(sms_word) == 4, "a word has four bytes");
SMS_STATIC_ASSERT(sizeof(sms_header) == SMS_HEADER_LEN, "a header has 768 bytes");
#define SMS_AT(field, offset) SMS_STATIC_ASSERT(offsetof(sms_header, field) == (offset), #field " stands at " #offset)
SMS_AT(magic, 0x000);
SMS_AT(byte_order, 0x008);
SMS_AT(version, 0x00c);
SMS_AT(features, 0x010);
SMS_AT(party, 0x014);
SMS_AT(align, 0x018);
SMS_AT(lane_offset, 0x01c);
SMS_AT(capacity, 0x020);
SMS_AT(peer_capacity, 0x024);
SMS_AT(start, 0x028);
SMS_AT(pid, 0x02c);
SMS_AT(made, 0x030);
SMS_AT(channel, 0x038);
SMS_AT(sent, 0x080);
SMS_AT(received, 0x100);
SMS_AT(read_park, 0x180);
SMS_AT(write_park, 0x184);
SMS_AT(read_wake_method, 0x188);
SMS_AT(write_wake_method, 0x18c);
SMS_AT(state, 0x190);
SMS_AT(sent_fence, 0x194);
SMS_AT(received_fence, 0x198);
SMS_AT(writes, 0x200);
SMS_AT(writes.operations, 0x20c);
SMS_AT(writes.parks, 0x218);
SMS_AT(writes.wakes_sent, 0x224);
SMS_AT(reads, 0x280);
SMS_AT(reads.operations, 0x28c);
SMS_AT(reads.parks, 0x298);
SMS_AT(reads.wakes_sent, 0x2a4);

/* ---- Errors ---------------------------------------------------------------------------------------------------------------- */

/* X(code, number, name, sentence). The first fourteen are the faults of a segment, with the names that the layout gives them (A1-A14). */
#define SMS_ERRORS(X)                                                                                                              \
    X(SMS_ETOOSHORT, -1, "TooShort", "the memory ends before the segment does")                                                    \
    X(SMS_EMISALIGNED, -2, "Misaligned", "the segment does not begin at a multiple of 128 bytes")                                  \
    X(SMS_ENOTREADY, -3, "NotReady", "the segment is not set up yet (version 0)")                                                  \
    X(SMS_EMAGIC, -4, "Magic", "it does not begin as a segment does: it is something else")                                        \
    X(SMS_EBYTEORDER, -5, "ByteOrder", "the segment has the other byte order, or is damaged")                                      \
    X(SMS_EVERSION, -6, "Version", "the segment has another layout version than 1")                                                \
    X(SMS_EFEATURES, -7, "UnknownFeatures", "the segment needs features that this program does not know")                          \
    X(SMS_EPARTY, -8, "Party", "the segment's party is not 0 or 1, or not the other one")                                          \
    X(SMS_EALIGN, -9, "Align", "the alignment is no power of two from 128 to 64 MiB, or the segments differ")                      \
    X(SMS_ELANEOFFSET, -10, "LaneOffset", "the lane does not begin where one can begin")                                           \
    X(SMS_ECAPACITY, -11, "Capacity", "the capacity is not 0 or a power of two up to 2^29")                                        \
    X(SMS_EPEERCAPACITY, -12, "PeerCapacity", "the other lane's capacity is not what its owner says")                              \
    X(SMS_ESTART, -13, "Start", "the start cursor is out of range, or the segments differ")                                        \
    X(SMS_ESENT, -14, "Sent", "a sent cursor is not within the lane's capacity of what was received")                              \
    X(SMS_EAGAIN, -20, "Again", "nothing can be done without waiting")                                                             \
    X(SMS_ETIMEDOUT, -21, "TimedOut", "the time is over")                                                                          \
    X(SMS_EPEERGONE, -22, "PeerGone", "the peer has died without closing the stream")                                              \
    X(SMS_ECLOSED, -23, "Closed", "no more bytes are taken: the stream was closed for writing")                                    \
    X(SMS_ECORRUPT, -24, "Corrupt", "the peer's words broke the rules; the stream is over")                                        \
    X(SMS_ECANCELLED, -25, "Cancelled", "sms_cancel was called")                                                                   \
    X(SMS_ESYSTEM, -26, "System", "a system call failed")                                                                          \
    X(SMS_EINVALID, -27, "Invalid", "an argument is out of range")                                                                 \
    X(SMS_EADDRESS, -28, "Address", "this is no address: use file:PATH, shm:/NAME, unix:PATH, unix:@NAME or fd:N")                 \
    X(SMS_EINUSE, -29, "InUse", "a listener or some other file has the name")                                                      \
    X(SMS_ENOLISTENER, -30, "NoListener", "no process listens there")                                                              \
    X(SMS_ELISTENERDIED, -31, "ListenerDied", "the listener has died")                                                             \
    X(SMS_ENOREGION, -32, "NotARegion", "what has the name is no region of this user with mode 0600")                              \
    X(SMS_ENAMELOST, -33, "NameLost", "the listener's name was removed or given to another file")                                  \
    X(SMS_ENOTALLOWED, -34, "NotAllowed", "the other side runs as a user that is not allowed")                                     \
    X(SMS_EREFUSED, -35, "Refused", "the other side refused")                                                                      \
    X(SMS_EMEMORY, -36, "Memory", "the other side's memory is not a sealed memfd of the agreed size")                              \
    X(SMS_EPROTOCOL, -37, "Protocol", "a message of the rendezvous is wrong or not due")                                           \
    X(SMS_EHUNGUP, -38, "HungUp", "the other side hung up during the rendezvous")                                                  \
    X(SMS_ETOOLARGE, -39, "TooLarge", "a lane is larger than the limit")                                                           \
    X(SMS_ENOFD, -40, "NoDescriptor", "this address kind has no descriptor to wait for; use a socket address")                     \
    X(SMS_EEND, -41, "End", "no more records come: the peer has said so")                                                          \
    X(SMS_ETOOLONG, -42, "TooLong", "the record is longer than the lane less four bytes")                                          \
    X(SMS_ETOOSMALL, -43, "TooSmall", "the next record is longer than the buffer; it stays")

enum {
#define SMS_X(code, number, name, text) code = number,
    SMS_ERRORS(SMS_X)
#undef SMS_X
    SMS_OK = 0
};

/* Why something could not be made: the code, errno (0 if no system call failed) and a sentence for people. */
typedef struct sms_err {
    int code;
    int sys;
    char text[320];
} sms_err;

/* The name of an error: the same in every language. */
SMS_API const char *sms_error_name(int code) {
    switch (code) {
#define SMS_X(code, number, name, text)                                                                                            \
    case number:                                                                                                                   \
        return name;
        SMS_ERRORS(SMS_X)
#undef SMS_X
    default:
        return code >= 0 ? "Ok" : "Unknown";
    }
}

/* A sentence for an error. */
SMS_API const char *sms_strerror(int code) {
    switch (code) {
#define SMS_X(code, number, name, text)                                                                                            \
    case number:                                                                                                                   \
        return text;
        SMS_ERRORS(SMS_X)
#undef SMS_X
    default:
        return code >= 0 ? "no error" : "an unknown error";
    }
}

/* Why REFUSED came: word 14. */
SMS_API const char *sms_refusal(uint32_t reason) {
    switch (reason) {
    case 1:
        return "no common layout version";
    case 2:
        return "this user is not allowed there";
    case 3:
        return "the listener's lanes are larger than this side accepts";
    case 4:
        return "it found this side's memory not fit";
    case 6:
        return "it has no memory, descriptors or time left";
    case 7:
        return "a limit of its process forbids the memory";
    case 8:
        return "this user has no id where it runs";
    default:
        return "it found a message wrong or late";
    }
}

#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
SMS_API int sms_fail(sms_err *err, int code, int sys, const char *format, ...) {
    if (err != NULL) {
        va_list args;
        int n;
        err->code = code;
        err->sys = sys;
        va_start(args, format);
        n = vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        if (n > 0 && (size_t)n < sizeof err->text)
            (void)snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", sys != 0 ? strerror(sys) : sms_strerror(code));
    }
    return code;
}

/* ---- Atomic accesses, the only ones to shared words --------------------------------------------------------------------------- */

SMS_API uint32_t sms_load(const sms_word *word) { return __atomic_load_n(&word->value, __ATOMIC_ACQUIRE); }
SMS_API uint32_t sms_load_relaxed(const sms_word *word) { return __atomic_load_n(&word->value, __ATOMIC_RELAXED); }
SMS_API void sms_store(sms_word *word, uint32_t value) { __atomic_store_n(&word->value, value, __ATOMIC_RELEASE); }
SMS_API void sms_store_relaxed(sms_word *word, uint32_t value) { __atomic_store_n(&word->value, value, __ATOMIC_RELAXED); }

/* W3, K step 3. ThreadSanitizer does not model fences; the edges that it needs are those of the cursors. */
SMS_API void sms_fence(void) {
#if defined(__SANITIZE_THREAD__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#if defined(__SANITIZE_THREAD__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

SMS_API void sms_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

/* ---- Arithmetic: pure functions ---------------------------------------------------------------------------------------------- */

/* a - b modulo 2^31; bits 31 are ignored. */
SMS_API uint32_t sms_diff(uint32_t a, uint32_t b) { return (a - b) & SMS_CURSOR; }
SMS_API uint32_t sms_add(uint32_t a, uint32_t n) { return (a + n) & SMS_CURSOR; }
/* Whether a lane can have this capacity. */
SMS_API bool sms_is_capacity(uint32_t c) { return (c & (c - 1u)) == 0 && c <= SMS_MAX_CAPACITY; }
/* Whether the threshold of a park word is ahead of a cursor, within the capacity. */
SMS_API bool sms_ahead(uint32_t park, uint32_t cursor, uint32_t capacity) {
    uint32_t beyond = ((park & SMS_THRESHOLD) - cursor) & SMS_THRESHOLD;
    return beyond != 0 && beyond <= capacity;
}
/* W4, W5: whether a publication from old to now, the last one or not, has to wake the half with this park word. */
SMS_API bool sms_crossed(uint32_t park, uint32_t old, uint32_t now, bool last, uint32_t capacity) {
    uint32_t moved = (now - old) & SMS_THRESHOLD;
    uint32_t ahead = ((park & SMS_THRESHOLD) - old) & SMS_THRESHOLD;
    if ((park & SMS_ASLEEP) == 0)
        return false;
    if (ahead != 0 && ahead <= moved)
        return true;
    return last && sms_ahead(park, now, capacity);
}
/* K step 2: the park word of a half at cursor that waits until the peer's cursor is ahead past it. */
SMS_API uint32_t sms_asleep_at(uint32_t cursor, uint32_t ahead) { return SMS_ASLEEP | ((cursor + ahead) & SMS_THRESHOLD); }
/* C5, C7: whether their sent word is to be accepted after the last accepted one. */
SMS_API bool sms_accept_sent(uint32_t last, uint32_t now, uint32_t my_received, uint32_t capacity) {
    if (now == last)
        return true;
    return (last & SMS_LAST) == 0 && sms_diff(last, my_received) <= sms_diff(now, my_received) && sms_diff(now, my_received) <= capacity;
}
/* C6, C7: likewise for their received word. */
SMS_API bool sms_accept_received(uint32_t last, uint32_t now, uint32_t my_sent) {
    if (now == last)
        return true;
    return (last & SMS_LAST) == 0 && sms_diff(my_sent, now) <= sms_diff(my_sent, last);
}
/* K1: the most that a half may wait for. */
SMS_API uint32_t sms_most_wanted(uint32_t capacity) { return capacity < 2 ? 1 : capacity / 2; }

/* ---- Segments: setting up and looking -------------------------------------------------------------------------------------------- */

/* What a channel looks like. */
typedef struct sms_config {
    uint32_t capacity[2]; /* bytes of lane 0 (listener to connector) and lane 1: 0 or a power of two up to 2^29 */
    uint32_t align;       /* a multiple of the page size where segments are mapped apart, 128 in plain memory */
    uint32_t start;       /* where the cursors begin, below 2^31 */
    uint64_t channel;     /* a number for people, or 0 */
    bool records;         /* my lane carries records: feature bit 17 */
} sms_config;

/* What a header says of its segment, each word loaded once. */
typedef struct sms_identity {
    uint32_t features, party, align, lane_offset, capacity, peer_capacity, start, pid;
    uint64_t made, channel;
} sms_identity;

SMS_API uint32_t sms_round_up(uint32_t n, uint32_t to) { return (n + to - 1u) / to * to; }
SMS_API uint32_t sms_lane_offset(const sms_config *c) { return sms_round_up(SMS_HEADER_LEN, c->align); }
SMS_API size_t sms_segment_len(const sms_config *c, unsigned party) { return (size_t)sms_lane_offset(c) + c->capacity[party]; }
/* P3: where a segment of this length is followed by the next one. */
SMS_API size_t sms_next_segment(size_t len, uint32_t align) { return (len + align - 1) / align * align; }

SMS_API bool sms_is_align(uint32_t a) { return a >= SMS_LINE && a <= SMS_MAX_ALIGN && (a & (a - 1u)) == 0; }

/* Whether such a channel can be. */
SMS_API int sms_check_config(const sms_config *c) {
    if (!sms_is_capacity(c->capacity[0]) || !sms_is_capacity(c->capacity[1]))
        return SMS_ECAPACITY;
    if (!sms_is_align(c->align))
        return SMS_EALIGN;
    return c->start > SMS_CURSOR ? SMS_ESTART : SMS_OK;
}

/* Sets up the header of party's segment (H, C2). The lane stays as it is. No party is attached to it yet. */
SMS_API int sms_init(void *segment, size_t len, const sms_config *c, unsigned party) {
    sms_header *h = (sms_header *)segment;
    sms_word *words = (sms_word *)segment;
    uint64_t made = (uint64_t)time(NULL);
    size_t i;
    int e = sms_check_config(c);
    if (e != SMS_OK)
        return e;
    if (party > 1)
        return SMS_EPARTY;
    if ((uintptr_t)segment % SMS_LINE != 0)
        return SMS_EMISALIGNED;
    if (len < sms_segment_len(c, party))
        return SMS_ETOOSHORT;
    sms_store_relaxed(&h->version, 0);
    for (i = 0; i < SMS_HEADER_LEN / 4; i++)
        sms_store_relaxed(&words[i], 0);
    for (i = 0; i < 2; i++) {
        uint32_t word;
        memcpy(&word, sms_magic() + 4 * i, 4);
        sms_store_relaxed(&h->magic[i], word);
        sms_store_relaxed(&h->made[i], (uint32_t)(made >> (32 * i)));
        sms_store_relaxed(&h->channel[i], (uint32_t)(c->channel >> (32 * i)));
    }
    sms_store_relaxed(&h->byte_order, SMS_BYTE_ORDER);
    sms_store_relaxed(&h->features, SMS_COUNTERS | (c->records ? SMS_RECORDS : 0));
    sms_store_relaxed(&h->party, party);
    sms_store_relaxed(&h->align, c->align);
    sms_store_relaxed(&h->lane_offset, sms_lane_offset(c));
    sms_store_relaxed(&h->capacity, c->capacity[party]);
    sms_store_relaxed(&h->peer_capacity, c->capacity[1 - party]);
    sms_store_relaxed(&h->start, c->start);
    sms_store_relaxed(&h->pid, (uint32_t)getpid());
    sms_store_relaxed(&h->sent, c->start | (c->capacity[party] == 0 ? SMS_LAST : 0));
    sms_store_relaxed(&h->received, c->start | (c->capacity[1 - party] == 0 ? SMS_LAST : 0));
    sms_store(&h->version, SMS_LAYOUT_VERSION);
    return SMS_OK;
}

/* A1-A13 for one segment: reads what its header says. len is the length of the memory. */
SMS_API int sms_inspect(const void *segment, size_t len, sms_identity *id) {
    const sms_header *h = (const sms_header *)segment;
    uint32_t version, word[2], m[2], order;
    uint64_t two[2];
    if (len < SMS_HEADER_LEN)
        return SMS_ETOOSHORT;
    if ((uintptr_t)segment % SMS_LINE != 0)
        return SMS_EMISALIGNED;
    version = sms_load(&h->version);
    word[0] = sms_load_relaxed(&h->magic[0]);
    word[1] = sms_load_relaxed(&h->magic[1]);
    memcpy(m, sms_magic(), sizeof m);
    if (version == 0 && (word[0] == 0 || word[0] == m[0]) && (word[1] == 0 || word[1] == m[1]))
        return SMS_ENOTREADY;
    if (word[0] != m[0] || word[1] != m[1])
        return SMS_EMAGIC;
    order = sms_load_relaxed(&h->byte_order);
    if (order != SMS_BYTE_ORDER)
        return SMS_EBYTEORDER;
    if (version != SMS_LAYOUT_VERSION)
        return SMS_EVERSION;
    id->features = sms_load_relaxed(&h->features);
    id->party = sms_load_relaxed(&h->party);
    id->align = sms_load_relaxed(&h->align);
    id->lane_offset = sms_load_relaxed(&h->lane_offset);
    id->capacity = sms_load_relaxed(&h->capacity);
    id->peer_capacity = sms_load_relaxed(&h->peer_capacity);
    id->start = sms_load_relaxed(&h->start);
    id->pid = sms_load_relaxed(&h->pid);
    two[0] = sms_load_relaxed(&h->made[0]);
    two[1] = sms_load_relaxed(&h->made[1]);
    id->made = two[1] << 32 | two[0];
    two[0] = sms_load_relaxed(&h->channel[0]);
    two[1] = sms_load_relaxed(&h->channel[1]);
    id->channel = two[1] << 32 | two[0];
    if ((id->features & SMS_MUST_KNOW) != 0)
        return SMS_EFEATURES;
    if (id->party > 1)
        return SMS_EPARTY;
    if (!sms_is_align(id->align))
        return SMS_EALIGN;
    if (id->lane_offset % SMS_LINE != 0 || id->lane_offset < SMS_HEADER_LEN || id->lane_offset > sms_round_up(SMS_HEADER_LEN, id->align))
        return SMS_ELANEOFFSET;
    if (!sms_is_capacity(id->capacity))
        return SMS_ECAPACITY;
    if (!sms_is_capacity(id->peer_capacity))
        return SMS_EPEERCAPACITY;
    if (id->start > SMS_CURSOR)
        return SMS_ESTART;
    return len < (size_t)id->lane_offset + id->capacity ? SMS_ETOOSHORT : SMS_OK;
}

/* ---- Streams ---------------------------------------------------------------------------------------------------------------------- */

enum { SMS_READS = 1, SMS_WRITES = 2 };

/* One half. Private copies of what it has published and of what it has accepted: C3-C7. */
typedef struct sms_half {
    sms_word *own;              /* my cursor word */
    const sms_word *peer;       /* the peer's cursor word */
    sms_word *park, *method;    /* my park word and wake method */
    const sms_word *peer_park, *peer_method;
    uint8_t *lane;
    sms_counters *counters;
    uint32_t capacity, at, seen; /* at: what I have published; seen: the peer's word as last accepted */
    uint32_t method_said;
    uint64_t bytes, operations, parks, wakes;
    bool last, announced, writes;
    uint32_t skip, skipped, slept_us; /* whether looking before sleeping was worth it: sms_look */
    char line[SMS_LINE];        /* the other half may be another thread's */
} sms_half;

/* A stream. Its fields are not for its users, but for sms_attach it may lie anywhere. */
typedef struct sms_stream {
    sms_half reader, writer;
    int party;
    int file;    /* the region, or -1 */
    int socket;  /* where the two met, or -1 */
    int memory;  /* my memfd, kept for inspectors, or -1 */
    void *map[2];
    size_t map_len[2];
    uint32_t spin_us;
    bool adapts; /* it looks less often where that was in vain */
    int corrupt, gone, cancelled; /* accessed atomically: the halves and sms_cancel share them */
    bool heap;
    bool records, peer_records; /* this side, the peer sends and reads records: feature bit 17 */
} sms_stream;

SMS_API int sms_flag(const int *flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }
SMS_API void sms_raise(int *flag) { __atomic_store_n(flag, 1, __ATOMIC_RELEASE); }

SMS_API uint64_t sms_now_us(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* When a timeout that begins now is over; UINT64_MAX: never. */
SMS_API uint64_t sms_deadline(int timeout_ms) { return timeout_ms < 0 ? UINT64_MAX : sms_now_us() + (uint64_t)timeout_ms * 1000u; }

#define SMS_SLICE_US 20000u

/* The kernel's timespec of the futex call that takes longs: of 32 bits where longs have 32. */
typedef struct sms_kernel_time {
    long seconds, nanoseconds;
} sms_kernel_time;

/* K3: sleeps while the word is seen, for at most so long. */
SMS_API void sms_futex_wait(const sms_word *word, uint32_t seen, uint64_t us) {
    sms_kernel_time t;
    t.seconds = (long)(us / 1000000u);
    t.nanoseconds = (long)(us % 1000000u) * 1000;
    (void)syscall(SYS_futex, &word->value, 0 /* FUTEX_WAIT */, seen, &t, NULL, 0);
}
SMS_API void sms_futex_wake(const sms_word *word) { (void)syscall(SYS_futex, &word->value, 1 /* FUTEX_WAKE */, INT_MAX, NULL, NULL, 0); }

/* H5. */
SMS_API void sms_count(sms_word *words, uint64_t *mine, uint64_t more) {
    uint64_t now = *mine + more;
    bool carried = (now >> 32) != (*mine >> 32);
    *mine = now;
    if (carried)
        sms_store(&words[2], (uint32_t)(now >> 32));
    sms_store(&words[1], (uint32_t)now);
    if (carried)
        sms_store(&words[0], (uint32_t)(now >> 32));
}

SMS_API uint64_t sms_count_resume(const sms_word *words) { return (uint64_t)sms_load(&words[0]) << 32 | sms_load(&words[1]); }

/* K7. */
SMS_API void sms_wake(const sms_stream *s, const sms_half *h) {
    uint32_t method = sms_load_relaxed(h->peer_method);
    if (method == SMS_WAKE_SOCKET && s->socket >= 0) {
        char byte = 0;
        (void)send(s->socket, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        sms_futex_wake(h->own);
    }
}

/* W: stores my cursor, and wakes the peer if that is what it waits for. */
SMS_API void sms_publish(sms_stream *s, sms_half *h, uint32_t now, bool last) {
    uint32_t old = h->at, park;
    sms_store(h->own, last ? now | SMS_LAST : now);
    sms_fence();
    park = sms_load(h->peer_park);
    h->at = now;
    h->last = h->last || last;
    sms_count(h->counters->bytes, &h->bytes, sms_diff(now, old));
    sms_count(h->counters->operations, &h->operations, 1);
    if (sms_crossed(park, old, now, last, h->capacity)) {
        sms_wake(s, h);
        sms_count(h->counters->wakes_sent, &h->wakes, 1);
    }
}

/* X: this half will do no more. */
SMS_API void sms_finish(sms_stream *s, sms_half *h) {
    if (h->announced) {
        sms_store_relaxed(h->park, 0);
        h->announced = false;
    }
    if (h->last)
        return;
    sms_publish(s, h, h->at, true);
    if (!h->writes)
        sms_store(h->park, SMS_STOPPED_HINT);
}

/* C8: this half found the peer corrupt, or the other half did. */
SMS_API int sms_corrupted(sms_stream *s, sms_half *h) {
    sms_raise(&s->corrupt);
    sms_finish(s, h);
    return SMS_ECORRUPT;
}

/* Loads the peer's cursor once and checks it. */
SMS_API int sms_refresh(sms_stream *s, sms_half *h) {
    uint32_t now = sms_load(h->peer);
    bool good = h->writes ? sms_accept_received(h->seen, now, h->at) : sms_accept_sent(h->seen, now, h->at, h->capacity);
    if (!good)
        return sms_corrupted(s, h);
    h->seen = now;
    return SMS_OK;
}

/* Bytes that can be read, or room that can be written, as far as it is known. */
SMS_API uint32_t sms_known(const sms_half *h) { return h->writes ? h->capacity - sms_diff(h->at, h->seen) : sms_diff(h->seen, h->at); }

SMS_API bool sms_socket_gone(int socket) {
    struct pollfd p;
    p.fd = socket;
    p.events = POLLRDHUP;
    p.revents = 0;
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL)) != 0;
}

SMS_API int sms_lock_call(int fd, int command, int kind, int byte, struct flock *l) {
    int n;
    do {
        memset(l, 0, sizeof *l);
        l->l_type = (short)kind;
        l->l_whence = SEEK_SET;
        l->l_start = byte;
        l->l_len = 1;
        n = fcntl(fd, command, l);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* F7: whether another description holds the byte. What cannot be found out counts as held. */
SMS_API bool sms_is_held(int fd, int byte) {
    struct flock l;
    return sms_lock_call(fd, F_OFD_GETLK, F_WRLCK, byte, &l) < 0 || l.l_type != F_UNLCK;
}
/* 1: locked. 0: another description has it. Negative: what the system says is in errno. */
SMS_API int sms_try_lock(int fd, int byte) {
    struct flock l;
    if (sms_lock_call(fd, F_OFD_SETLK, F_WRLCK, byte, &l) == 0)
        return 1;
    return errno == EAGAIN || errno == EACCES ? 0 : -1;
}
SMS_API void sms_unlock(int fd, int byte) {
    struct flock l;
    (void)sms_lock_call(fd, F_OFD_SETLK, F_UNLCK, byte, &l);
}

/* F9, S12: asks now whether the peer is gone. Once it is, it stays so. */
SMS_API bool sms_peer_gone(sms_stream *s) {
    if (sms_flag(&s->gone))
        return true;
    if ((s->file >= 0 && !sms_is_held(s->file, 1 - s->party)) || (s->socket >= 0 && sms_socket_gone(s->socket))) {
        sms_raise(&s->gone);
        return true;
    }
    return false;
}

/* What ends a half, if anything does. */
SMS_API int sms_begin(sms_stream *s, sms_half *h) {
    if (h->announced) {
        sms_store_relaxed(h->park, 0);
        h->announced = false;
    }
    if (sms_flag(&s->corrupt))
        return sms_corrupted(s, h);
    return sms_flag(&s->cancelled) ? SMS_ECANCELLED : SMS_OK;
}

/* Whether there is enough, or there will never be more. */
SMS_API bool sms_enough(const sms_half *h, uint32_t want) { return sms_known(h) >= want || (h->seen & SMS_LAST) != 0; }

/* K: announces that h sleeps until want is there, and looks once more. 1: there is enough. 0: sleep while the peer's cursor is h->seen. */
SMS_API int sms_announce(sms_stream *s, sms_half *h, uint32_t want, uint32_t method) {
    int e;
    if (h->method_said != method) {
        sms_store_relaxed(h->method, method);
        h->method_said = method;
    }
    sms_store(h->park, sms_asleep_at(h->at, h->writes ? want - h->capacity : want));
    h->announced = true;
    sms_count(h->counters->parks, &h->parks, 1);
    sms_fence();
    e = sms_refresh(s, h);
    return e < 0 ? e : sms_enough(h, want);
}

/* Whether to look before sleeping. That is right if the peer is running, on another CPU, and about to answer; otherwise each look makes it later. No call
 * tells beforehand. So a half goes by what happened: it sleeps at once the next time if it has looked in vain, or for longer than sleeping took
 * lately, and each time that happens again, twice as many times. One look that was worth it, and it looks each time again. */
#define SMS_MOST_SKIPPED 256u
#define SMS_QUICK_US 5u /* no sleep takes less */

SMS_API void sms_looked_in_vain(sms_half *h) {
    h->skipped = h->skipped == 0 ? 1 : h->skipped < SMS_MOST_SKIPPED / 2 ? 2 * h->skipped : SMS_MOST_SKIPPED;
    h->skip = h->skipped;
}

SMS_API void sms_looked_well(sms_half *h, uint64_t us) {
    if (us < SMS_QUICK_US)
        h->skip = h->skipped = 0;
    else if (h->slept_us == 0)
        h->skip = 1; /* sleep for once, to know what that takes */
    else if (us > h->slept_us)
        sms_looked_in_vain(h);
    else
        h->skipped = 0;
}

/* A sleep before which this half had not looked is over. */
SMS_API void sms_has_slept(sms_half *h, uint64_t us) {
    uint64_t before = h->slept_us, now = us;
    if (before != 0)
        now = (3 * before + (us < 10 * before ? us : 10 * before)) / 4;
    h->slept_us = now == 0 ? 1 : now < UINT32_MAX ? (uint32_t)now : UINT32_MAX;
}

/* Looks for want for a while. *looked: it did so until the time was over, or it was there. */
SMS_API int sms_look(sms_stream *s, sms_half *h, uint32_t want, uint64_t deadline, bool *looked) {
    uint64_t since = 0, now;
    uint32_t looks = 0;
    bool moment = false;
    int e;
    *looked = false;
    if (s->spin_us == 0)
        return SMS_OK;
    if (s->adapts && h->skip != 0) {
        h->skip--;
        /* Now and then for a moment, which costs little and finds a peer that is running again. */
        if (h->skip % 32 != 31)
            return SMS_OK;
        moment = true;
    }
    *looked = !moment;
    for (;;) {
        sms_pause();
        if (sms_load_relaxed(h->peer) != h->seen) {
            if ((e = sms_refresh(s, h)) < 0)
                return e;
            if (sms_enough(h, want)) {
                sms_looked_well(h, since == 0 ? 0 : sms_now_us() - since);
                return SMS_OK;
            }
        }
        if (++looks % 64 != 0)
            continue;
        if (moment)
            return SMS_OK;
        now = sms_now_us();
        if (since == 0)
            since = now;
        if (now - since >= s->spin_us) {
            sms_looked_in_vain(h);
            return SMS_OK;
        }
        if (now >= deadline || sms_flag(&s->cancelled))
            return SMS_OK;
    }
}

/* Waits until h has want, at most the whole lane, or there will never be more. Looks for a while, then sleeps in slices: K3, K6. After each of these it
 * is content with what will do. */
SMS_API int sms_wait_until(sms_stream *s, sms_half *h, uint32_t want, uint32_t will_do, uint64_t deadline) {
    uint64_t asked;
    bool looked;
    int e = sms_begin(s, h);
    if (want > h->capacity)
        want = h->capacity;
    if (want == 0)
        want = 1;
    if (will_do > want)
        will_do = want;
    if (e < 0 || (e = sms_refresh(s, h)) < 0)
        return e;
    if (sms_enough(h, want))
        return SMS_OK;
    if (deadline == 0)
        return sms_enough(h, will_do) ? SMS_OK : SMS_EAGAIN;
    if ((e = sms_look(s, h, want, deadline, &looked)) < 0)
        return e;
    if (sms_enough(h, will_do))
        return SMS_OK;
    asked = sms_now_us();
    for (;;) {
        uint64_t now = sms_now_us();
        bool gone = sms_flag(&s->gone) != 0;
        e = sms_announce(s, h, want, SMS_WAKE_WORD);
        if (e == 0 && !gone && now < deadline && !sms_flag(&s->cancelled) && !sms_flag(&s->corrupt)) {
            uint64_t us = deadline - now < SMS_SLICE_US ? deadline - now : SMS_SLICE_US, began = now;
            sms_futex_wait(h->peer, h->seen, us);
            now = sms_now_us();
            if (!looked)
                sms_has_slept(h, now - began);
            if (now - asked >= SMS_SLICE_US) {
                /* The death first, then the cursor: what it says after that is final. */
                gone = sms_peer_gone(s);
                asked = now;
            }
        }
        if (h->announced) {
            sms_store_relaxed(h->park, 0);
            h->announced = false;
        }
        if (e < 0)
            return e;
        if (e == 0 && (e = sms_refresh(s, h)) < 0)
            return e;
        if (sms_enough(h, will_do))
            return SMS_OK;
        if (sms_flag(&s->corrupt))
            return sms_corrupted(s, h);
        if (sms_flag(&s->cancelled))
            return SMS_ECANCELLED;
        if (gone)
            return SMS_EPEERGONE;
        if (sms_now_us() >= deadline)
            return SMS_ETIMEDOUT;
    }
}

SMS_API int sms_wait_whole(sms_stream *s, sms_half *h, uint32_t want, uint64_t deadline) {
    return sms_wait_until(s, h, want, want, deadline);
}

/* The same, for at most half of the lane: K1. */
SMS_API int sms_wait(sms_stream *s, sms_half *h, uint32_t want, uint64_t deadline) {
    uint32_t most = sms_most_wanted(h->capacity);
    return sms_wait_whole(s, h, want < most ? want : most, deadline);
}

SMS_API uint64_t sms_deadline_or_now(int timeout_ms) { return timeout_ms == 0 ? 0 : sms_deadline(timeout_ms); }

/* Waits until there are want bytes (at most half the lane; FIN counts as enough), or the end, or the timeout. Returns how many there are;
 * 0 is the end. After SMS_ETIMEDOUT or SMS_EPEERGONE fewer may be there: sms_try_read gets them. */
SMS_API long sms_wait_bytes(sms_stream *s, size_t want, int timeout_ms) {
    int e;
    if (s->reader.last)
        return sms_flag(&s->corrupt) ? SMS_ECORRUPT : 0;
    e = sms_wait(s, &s->reader, want > SMS_MAX_CAPACITY ? SMS_MAX_CAPACITY : (uint32_t)want, sms_deadline_or_now(timeout_ms));
    return e < 0 ? e : (long)sms_known(&s->reader);
}

/* Waits until there is room for want bytes (at most half the lane), or the timeout. Returns the room. */
SMS_API long sms_wait_room(sms_stream *s, size_t want, int timeout_ms) {
    int e;
    if (s->writer.last)
        return sms_flag(&s->corrupt) ? SMS_ECORRUPT : SMS_ECLOSED;
    e = sms_wait(s, &s->writer, want > SMS_MAX_CAPACITY ? SMS_MAX_CAPACITY : (uint32_t)want, sms_deadline_or_now(timeout_ms));
    if (e == SMS_OK && (s->writer.seen & SMS_LAST) != 0)
        return SMS_ECLOSED;
    return e < 0 ? e : (long)sms_known(&s->writer);
}

/* A run of bytes that are there, in one piece: at least 1 unless *n is 0, which is the end of the stream. SMS_EAGAIN: none are there.
 * They stay until sms_consume. A peer that is not trusted may change them meanwhile. */
SMS_API int sms_peek(sms_stream *s, const void **bytes, size_t *n) {
    sms_half *h = &s->reader;
    uint32_t at, run, known;
    int e = sms_begin(s, h);
    *n = 0;
    *bytes = h->lane;
    if (e < 0)
        return e;
    if (h->last)
        return SMS_OK;
    if (sms_known(h) == 0 && (e = sms_refresh(s, h)) < 0)
        return e;
    known = sms_known(h);
    if (known == 0) {
        if ((h->seen & SMS_LAST) != 0)
            return SMS_OK;
        return sms_flag(&s->gone) ? SMS_EPEERGONE : SMS_EAGAIN;
    }
    at = h->at & (h->capacity - 1);
    run = h->capacity - at;
    *bytes = h->lane + at;
    *n = known < run ? known : run;
    return SMS_OK;
}

/* Takes n bytes that sms_peek has shown, or fewer, and gives their room back. */
SMS_API int sms_consume(sms_stream *s, size_t n) {
    if (n > sms_known(&s->reader) || s->reader.last)
        return SMS_EINVALID;
    if (n != 0)
        sms_publish(s, &s->reader, sms_add(s->reader.at, (uint32_t)n), false);
    return SMS_OK;
}

/* Copies n bytes of the lane from a cursor on, round its end: P1. n is at most what is known to be there. */
SMS_API void sms_copy_out(const sms_half *h, uint32_t cursor, void *bytes, uint32_t n) {
    uint32_t at = cursor & (h->capacity - 1), run = h->capacity - at;
    if (n <= run) {
        memcpy(bytes, h->lane + at, n);
    } else {
        memcpy(bytes, h->lane + at, run);
        memcpy((uint8_t *)bytes + run, h->lane, n - run);
    }
}

/* Copies n bytes into the lane from a cursor on, likewise. */
SMS_API void sms_copy_in(sms_half *h, uint32_t cursor, const void *bytes, uint32_t n) {
    uint32_t at = cursor & (h->capacity - 1), run = h->capacity - at;
    if (n <= run) {
        memcpy(h->lane + at, bytes, n);
    } else {
        memcpy(h->lane + at, bytes, run);
        memcpy(h->lane, (const uint8_t *)bytes + run, n - run);
    }
}

/* How many bytes are there, without waiting. It looks afresh only if it knows of fewer than want. 0: none, or the end. */
SMS_API long sms_available(sms_stream *s, size_t want) {
    sms_half *h = &s->reader;
    int e = sms_begin(s, h);
    if (e < 0)
        return e;
    if (h->last)
        return 0;
    if (sms_known(h) < want && (h->seen & SMS_LAST) == 0 && (e = sms_refresh(s, h)) < 0)
        return e;
    return (long)sms_known(h);
}

/* Reads what is there: up to len bytes, at least 1. 0 is the end of the stream (or len is 0). SMS_EAGAIN: nothing is there now. */
SMS_API long sms_try_read(sms_stream *s, void *buffer, size_t len) {
    sms_half *h = &s->reader;
    uint32_t n;
    int e = sms_begin(s, h);
    if (e < 0)
        return e;
    if (h->last || len == 0)
        return 0;
    if (sms_known(h) < len && (h->seen & SMS_LAST) == 0 && (e = sms_refresh(s, h)) < 0)
        return e;
    n = sms_known(h);
    if (n == 0) {
        if ((h->seen & SMS_LAST) != 0)
            return 0;
        return sms_flag(&s->gone) ? SMS_EPEERGONE : SMS_EAGAIN;
    }
    if (n > len)
        n = (uint32_t)len;
    sms_copy_out(h, h->at, buffer, n);
    sms_publish(s, h, sms_add(h->at, n), false);
    return (long)n;
}

/* Reads up to len bytes, at least 1; waits until there are some. 0 is the end of the stream. */
SMS_API long sms_read(sms_stream *s, void *buffer, size_t len, int timeout_ms) {
    long n = sms_try_read(s, buffer, len);
    int e;
    if (n != SMS_EAGAIN || timeout_ms == 0)
        return n;
    e = sms_wait(s, &s->reader, 1, sms_deadline(timeout_ms));
    if (e < 0 && e != SMS_EPEERGONE)
        return e;
    n = sms_try_read(s, buffer, len);
    return n == SMS_EAGAIN ? (e < 0 ? e : SMS_EPEERGONE) : n;
}

/* Whether writing makes sense: W step 1. */
SMS_API int sms_can_write(sms_stream *s) {
    sms_half *h = &s->writer;
    int e = sms_begin(s, h);
    if (e < 0)
        return e;
    if (h->last)
        return SMS_ECLOSED;
    if (sms_load(h->peer_park) == SMS_STOPPED_HINT && (e = sms_refresh(s, h)) < 0)
        return e;
    if ((h->seen & SMS_LAST) != 0)
        return SMS_ECLOSED;
    return sms_flag(&s->gone) ? SMS_EPEERGONE : SMS_OK;
}

/* Room in one piece, to be filled in place: *n bytes, at least 1. SMS_EAGAIN: none now. The peer sees nothing until sms_commit. */
SMS_API int sms_reserve(sms_stream *s, void **bytes, size_t *n) {
    sms_half *h = &s->writer;
    uint32_t at, run, room;
    int e = sms_can_write(s);
    *n = 0;
    *bytes = h->lane;
    if (e < 0)
        return e;
    if (sms_known(h) == 0 && (e = sms_refresh(s, h)) < 0)
        return e;
    if ((h->seen & SMS_LAST) != 0)
        return SMS_ECLOSED;
    room = sms_known(h);
    if (room == 0)
        return SMS_EAGAIN;
    at = h->at & (h->capacity - 1);
    run = h->capacity - at;
    *bytes = h->lane + at;
    *n = room < run ? room : run;
    return SMS_OK;
}

/* Publishes the first n bytes of what sms_reserve gave. */
SMS_API int sms_commit(sms_stream *s, size_t n) {
    if (n > sms_known(&s->writer) || s->writer.last)
        return SMS_EINVALID;
    if (n != 0)
        sms_publish(s, &s->writer, sms_add(s->writer.at, (uint32_t)n), false);
    return SMS_OK;
}

/* How many bytes there is room for, likewise. SMS_ECLOSED: no more are taken. */
SMS_API long sms_room(sms_stream *s, size_t want) {
    sms_half *h = &s->writer;
    int e = sms_can_write(s);
    if (e < 0)
        return e;
    if (sms_known(h) < want && (e = sms_refresh(s, h)) < 0)
        return e;
    return (h->seen & SMS_LAST) != 0 ? (long)SMS_ECLOSED : (long)sms_known(h);
}

/* Writes as much as there is room for. SMS_EAGAIN: there is none now. */
SMS_API long sms_try_write(sms_stream *s, const void *bytes, size_t len) {
    sms_half *h = &s->writer;
    uint32_t n;
    int e = sms_can_write(s);
    if (e < 0)
        return e;
    if (len == 0)
        return 0;
    if (sms_known(h) < len && (e = sms_refresh(s, h)) < 0)
        return e;
    if ((h->seen & SMS_LAST) != 0)
        return SMS_ECLOSED;
    n = sms_known(h);
    if (n == 0)
        return SMS_EAGAIN;
    if (n > len)
        n = (uint32_t)len;
    sms_copy_in(h, h->at, bytes, n);
    sms_publish(s, h, sms_add(h->at, n), false);
    return (long)n;
}

/* Writes all bytes, in pieces as room comes, before the timeout. Returns len, or less if it ended before (then the next call says why), or
 * the error if nothing was written. */
SMS_API long sms_write(sms_stream *s, const void *bytes, size_t len, int timeout_ms) {
    uint64_t deadline = timeout_ms == 0 ? 0 : sms_deadline(timeout_ms);
    size_t done = 0;
    for (;;) {
        long n = sms_try_write(s, (const uint8_t *)bytes + done, len - done);
        int e;
        if (n >= 0) {
            done += (size_t)n;
            if (done == len)
                return (long)done;
            continue;
        }
        if (n != SMS_EAGAIN || timeout_ms == 0)
            return done != 0 ? (long)done : n;
        e = sms_wait(s, &s->writer, sms_most_wanted(s->writer.capacity), deadline);
        /* Less room than that is better than none. */
        if (e < 0 && sms_known(&s->writer) == 0)
            return done != 0 ? (long)done : e;
        if (e == SMS_ECORRUPT || e == SMS_ECANCELLED || e == SMS_EPEERGONE)
            return done != 0 ? (long)done : e;
    }
}

/* ---- Records: R --------------------------------------------------------------------------------------------------------------------- */

#define SMS_RECORD_HEADER 4u
#define SMS_PADDING (1u << 31)

/* The bytes of a lane that a record of n bytes takes. n is at most a capacity. */
SMS_API uint32_t sms_frame(uint32_t n) { return SMS_RECORD_HEADER + (n + 3u) / 4u * 4u; }

/* Whether the peer says that it sends and receives records. A peer may do so without saying it. */
SMS_API bool sms_peer_has_records(const sms_stream *s) { return s->peer_records; }

/* The longest record that can be sent: the lane less four bytes. 0 also where none can. */
SMS_API size_t sms_max_record(const sms_stream *s) {
    return s->writer.capacity < SMS_RECORD_HEADER ? 0 : s->writer.capacity - SMS_RECORD_HEADER;
}

/* Sends a record of len bytes, whole, or nothing. Returns 0; SMS_EAGAIN: there is no room for it now. SMS_ETOOLONG: there never is. */
SMS_API int sms_try_send_record(sms_stream *s, const void *record, size_t len) {
    sms_half *h = &s->writer;
    uint32_t n, header;
    int e;
    if (h->capacity < SMS_RECORD_HEADER || len > sms_max_record(s))
        return SMS_ETOOLONG;
    if ((e = sms_can_write(s)) < 0)
        return e;
    header = (uint32_t)len;
    n = sms_frame(header);
    if (sms_known(h) < n && (e = sms_refresh(s, h)) < 0)
        return e;
    if ((h->seen & SMS_LAST) != 0)
        return SMS_ECLOSED;
    if (sms_known(h) < n)
        return SMS_EAGAIN;
    sms_copy_in(h, h->at, &header, SMS_RECORD_HEADER);
    if (len != 0)
        sms_copy_in(h, sms_add(h->at, SMS_RECORD_HEADER), record, header);
    /* R1: at the end of a record, and nowhere else. */
    sms_publish(s, h, sms_add(h->at, n), false);
    return SMS_OK;
}

/* Waits until there is room for a record that takes n bytes of the lane, or writing has ended. */
SMS_API int sms_wait_record_room(sms_stream *s, uint32_t n, uint64_t deadline) {
    sms_half *h = &s->writer;
    struct timespec pause;
    bool gone;
    int e;
    /* R4. Half of the lane, so that not each record that the peer takes wakes this side; less will do if it does not come at once. */
    if (n <= sms_most_wanted(h->capacity))
        return sms_wait_until(s, h, sms_most_wanted(h->capacity), n, deadline);
    if (s->records && s->peer_records)
        return sms_wait_whole(s, h, n, deadline);
    /* A peer that has not said that it reads records is not counted on to make so much room at once. */
    if ((e = sms_begin(s, h)) < 0)
        return e;
    if (sms_now_us() >= deadline)
        return SMS_ETIMEDOUT;
    gone = sms_peer_gone(s);
    pause.tv_sec = 0;
    pause.tv_nsec = 1000000;
    if (!gone)
        (void)nanosleep(&pause, NULL);
    if ((e = sms_refresh(s, h)) < 0)
        return e;
    return gone && !sms_enough(h, n) ? SMS_EPEERGONE : SMS_OK;
}

/* Sends a record of len bytes, whole; waits for room. Returns 0, or an error: then nothing of it was sent. */
SMS_API int sms_send_record(sms_stream *s, const void *record, size_t len, int timeout_ms) {
    uint64_t deadline = sms_deadline_or_now(timeout_ms);
    for (;;) {
        int e = sms_try_send_record(s, record, len);
        if (e != SMS_EAGAIN || timeout_ms == 0)
            return e;
        if ((e = sms_wait_record_room(s, sms_frame((uint32_t)len), deadline)) < 0)
            return e;
    }
}

/* The length of the next record, which stays. SMS_EAGAIN: none is there now. SMS_EEND: no more come. */
SMS_API long sms_next_record(sms_stream *s) {
    sms_half *h = &s->reader;
    bool looked = false;
    int e = sms_begin(s, h);
    if (e < 0)
        return e;
    if (h->last)
        return SMS_EEND;
    for (;;) {
        uint32_t there = sms_known(h), header, n;
        if (there == 0) {
            if ((h->seen & SMS_LAST) != 0)
                return SMS_EEND;
            /* Once: a peer that sends padding without an end does not keep this call. */
            if (looked)
                return sms_flag(&s->gone) ? SMS_EPEERGONE : SMS_EAGAIN;
            looked = true;
            if ((e = sms_refresh(s, h)) < 0)
                return e;
            continue;
        }
        /* R2: records are published whole, so what a header promises is there, or the peer has lied. */
        if (there < SMS_RECORD_HEADER)
            return sms_corrupted(s, h);
        sms_copy_out(h, h->at, &header, SMS_RECORD_HEADER);
        n = header & ~SMS_PADDING;
        if (n > there || sms_frame(n) > there)
            return sms_corrupted(s, h);
        if ((header & SMS_PADDING) == 0)
            return (long)n;
        sms_publish(s, h, sms_add(h->at, sms_frame(n)), false);
    }
}

/* Receives the next record. Returns its length, which may be 0. SMS_EAGAIN: none is there now. SMS_EEND: no more come. SMS_ETOOSMALL: it is longer
 * than size and stays; sms_next_record says how long it is. */
SMS_API long sms_try_recv_record(sms_stream *s, void *buffer, size_t size) {
    sms_half *h = &s->reader;
    long n = sms_next_record(s);
    if (n < 0)
        return n;
    if ((size_t)n > size)
        return SMS_ETOOSMALL;
    if (n != 0)
        sms_copy_out(h, sms_add(h->at, SMS_RECORD_HEADER), buffer, (uint32_t)n);
    sms_publish(s, h, sms_add(h->at, sms_frame((uint32_t)n)), false);
    return n;
}

/* Drops the next record, of which the room is given back. Returns its length, or an error as sms_next_record does. */
SMS_API long sms_skip_record(sms_stream *s) {
    long n = sms_next_record(s);
    if (n >= 0)
        sms_publish(s, &s->reader, sms_add(s->reader.at, sms_frame((uint32_t)n)), false);
    return n;
}

/* Waits until there is a record, which stays, and returns its length; otherwise an error: SMS_EEND, SMS_ETIMEDOUT... */
SMS_API long sms_wait_record(sms_stream *s, int timeout_ms) {
    uint64_t deadline = sms_deadline_or_now(timeout_ms);
    for (;;) {
        long n = sms_next_record(s);
        int e;
        if (n != SMS_EAGAIN || timeout_ms == 0)
            return n;
        e = sms_wait(s, &s->reader, 1, deadline);
        if (e < 0 && e != SMS_EPEERGONE)
            return e;
        /* What a peer that died has published is still to be received. A peer that sends padding only does not prolong the wait. */
        if (e < 0 || sms_now_us() >= deadline) {
            n = sms_next_record(s);
            return n != SMS_EAGAIN ? n : e < 0 ? e : SMS_ETIMEDOUT;
        }
    }
}

/* Receives the next record, as sms_try_recv_record does; waits until there is one. */
SMS_API long sms_recv_record(sms_stream *s, void *buffer, size_t size, int timeout_ms) {
    long n = sms_wait_record(s, timeout_ms);
    return n < 0 ? n : sms_try_recv_record(s, buffer, size);
}

/* ---- Closing and readiness ---------------------------------------------------------------------------------------------- */

/* Half-closes: SMS_WRITES (no more bytes come from here), SMS_READS (no more are taken here; the peer's writes fail), or both, by |. */
SMS_API int sms_shutdown(sms_stream *s, int halves) {
    if ((halves & ~(SMS_READS | SMS_WRITES)) != 0)
        return SMS_EINVALID;
    if ((halves & SMS_WRITES) != 0)
        sms_finish(s, &s->writer);
    if ((halves & SMS_READS) != 0)
        sms_finish(s, &s->reader);
    return SMS_OK;
}

/* Ends all waits on this stream, now and later, within a slice (20 ms). From any thread, or a signal handler. */
SMS_API void sms_cancel(sms_stream *s) { sms_raise(&s->cancelled); }

/* How long a blocked call looks before it sleeps, each time; 0: not at all. The default is 50, less often where that was in vain, or 0 where the process has one CPU. */
SMS_API void sms_set_spin(sms_stream *s, uint32_t us) {
    s->spin_us = us;
    s->adapts = false;
}

/* The socket over which the two met, for poll and epoll; readable after a wake or a hang-up. SMS_ENOFD for a region. Do not read from it. */
SMS_API int sms_fd(const sms_stream *s) { return s->socket >= 0 ? s->socket : SMS_ENOFD; }

/* Throws away what lies in the socket, and closes descriptors that came with it: S11. */
SMS_API void sms_drain(sms_stream *s);

/* K4. Asks to be woken through the socket when there is a byte to read (SMS_READS) or room to write (SMS_WRITES). Returns the halves of which
 * that is so already, or which have ended; otherwise 0: wait until sms_fd is readable, then try, and arm again. */
SMS_API int sms_arm(sms_stream *s, int halves) {
    int ready = 0;
    if (s->socket < 0)
        return SMS_ENOFD;
    sms_drain(s);
    if (sms_peer_gone(s) || sms_flag(&s->corrupt) || sms_flag(&s->cancelled))
        return halves;
    if ((halves & SMS_READS) != 0) {
        if (s->reader.last || sms_known(&s->reader) != 0 || sms_announce(s, &s->reader, 1, SMS_WAKE_SOCKET) != 0)
            ready |= SMS_READS;
    }
    if ((halves & SMS_WRITES) != 0) {
        uint32_t want = sms_most_wanted(s->writer.capacity);
        if (s->writer.last || sms_known(&s->writer) != 0 || sms_announce(s, &s->writer, want, SMS_WAKE_SOCKET) != 0)
            ready |= SMS_WRITES;
    }
    return ready;
}

/* The same for a writer of records that has one of len bytes: SMS_WRITES if there is room for it, or writing has ended; otherwise 0. */
SMS_API int sms_arm_record(sms_stream *s, size_t len) {
    sms_half *h = &s->writer;
    uint32_t want;
    if (s->socket < 0)
        return SMS_ENOFD;
    if (h->capacity < SMS_RECORD_HEADER || len > sms_max_record(s))
        return SMS_ETOOLONG;
    want = sms_frame((uint32_t)len);
    sms_drain(s);
    if (sms_peer_gone(s) || sms_flag(&s->corrupt) || sms_flag(&s->cancelled) || h->last || sms_known(h) >= want)
        return SMS_WRITES;
    return sms_announce(s, h, want, SMS_WAKE_SOCKET) != 0 ? SMS_WRITES : 0;
}

/* Attaches to memory that both parties have mapped: A. mine is my segment, set up by sms_init; peer is the other one, perhaps mapped for
 * reading only. The memory stays valid until sms_close. The party is what my segment says. */
SMS_API int sms_attach(sms_stream *s, void *mine, size_t mine_len, const void *peer, size_t peer_len) {
    sms_header *m = (sms_header *)mine;
    const sms_header *p = (const sms_header *)peer;
    sms_identity a, b;
    uint32_t sent, received;
    cpu_set_t cpus;
    int e;
    memset(s, 0, sizeof *s);
    s->file = s->socket = s->memory = -1;
    if ((e = sms_inspect(mine, mine_len, &a)) < 0 || (e = sms_inspect(peer, peer_len, &b)) < 0)
        return e;
    if (a.party == b.party)
        return SMS_EPARTY;
    if (a.align != b.align)
        return SMS_EALIGN;
    if (a.start != b.start)
        return SMS_ESTART;
    if (a.peer_capacity != b.capacity || b.peer_capacity != a.capacity)
        return SMS_EPEERCAPACITY;
    s->party = (int)a.party;
    s->records = (a.features & SMS_RECORDS) != 0;
    s->peer_records = (b.features & SMS_RECORDS) != 0;
    s->writer.writes = true;
    s->writer.own = &m->sent;
    s->writer.peer = &p->received;
    s->writer.park = &m->write_park;
    s->writer.method = &m->write_wake_method;
    s->writer.peer_park = &p->read_park;
    s->writer.peer_method = &p->read_wake_method;
    s->writer.lane = (uint8_t *)mine + a.lane_offset;
    s->writer.counters = &m->writes;
    s->writer.capacity = a.capacity;
    s->reader.own = &m->received;
    s->reader.peer = &p->sent;
    s->reader.park = &m->read_park;
    s->reader.method = &m->read_wake_method;
    s->reader.peer_park = &p->write_park;
    s->reader.peer_method = &p->write_wake_method;
    /* It is only read through. */
    s->reader.lane = (uint8_t *)(uintptr_t)((const uint8_t *)peer + b.lane_offset);
    s->reader.counters = &m->reads;
    s->reader.capacity = b.capacity;
    sent = sms_load(&m->sent);
    received = sms_load(&m->received);
    s->writer.at = sent & SMS_CURSOR;
    s->writer.last = (sent & SMS_LAST) != 0;
    s->writer.method_said = sms_load(&m->write_wake_method);
    s->reader.at = received & SMS_CURSOR;
    s->reader.last = (received & SMS_LAST) != 0;
    s->reader.method_said = sms_load(&m->read_wake_method);
    s->writer.seen = sms_load(&p->received);
    s->reader.seen = sms_load(&p->sent);
    if (sms_diff(s->writer.at, s->writer.seen) > a.capacity || sms_diff(s->reader.seen, s->reader.at) > b.capacity)
        return SMS_ESENT;
    if ((a.capacity == 0 && !s->writer.last) || (b.capacity == 0 && (s->reader.seen & SMS_LAST) == 0))
        return SMS_ESENT;
    s->writer.bytes = sms_count_resume(m->writes.bytes);
    s->writer.operations = sms_count_resume(m->writes.operations);
    s->writer.parks = sms_count_resume(m->writes.parks);
    s->writer.wakes = sms_count_resume(m->writes.wakes_sent);
    s->reader.bytes = sms_count_resume(m->reads.bytes);
    s->reader.operations = sms_count_resume(m->reads.operations);
    s->reader.parks = sms_count_resume(m->reads.parks);
    s->reader.wakes = sms_count_resume(m->reads.wakes_sent);
    /* W11: each publication here has its full fence, so the peer need not issue a barrier. */
    sms_store(&m->sent_fence, 1);
    sms_store(&m->received_fence, 1);
    s->adapts = true;
    s->spin_us = sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) == 1 ? 0 : 50;
    return SMS_OK;
}

SMS_API void sms_let_go(sms_stream *s) {
    int i;
    /* X4: the mapping would keep the lock. */
    if (s->file >= 0) {
        sms_unlock(s->file, s->party);
        /* A peer that sleeps until a description of the file is closed asks for the lock then. */
        sms_futex_wake(s->writer.own);
        sms_futex_wake(s->reader.own);
    }
    for (i = 0; i < 2; i++)
        if (s->map[i] != NULL)
            (void)munmap(s->map[i], s->map_len[i]);
    if (s->file >= 0)
        (void)close(s->file);
    if (s->memory >= 0)
        (void)close(s->memory);
    if (s->socket >= 0)
        (void)close(s->socket);
    if (s->heap)
        free(s);
}

/* Closes both halves in order (the peer drains what was sent and then reads the end; its writes fail) and frees everything. */
SMS_API void sms_close(sms_stream *s) {
    if (s == NULL)
        return;
    (void)sms_shutdown(s, SMS_READS | SMS_WRITES);
    sms_let_go(s);
}

/* Frees everything without closing in order: the peer finds this end dead, as after kill -9. */
SMS_API void sms_abort(sms_stream *s) {
    if (s != NULL)
        sms_let_go(s);
}

/* After fork, in the process that does not use the stream: frees its copies. The other process's end lives on. */
SMS_API void sms_forget(sms_stream *s) {
    if (s == NULL)
        return;
    if (s->file >= 0) {
        /* Without unlocking: the lock is the other process's too. */
        (void)close(s->file);
        s->file = -1;
    }
    sms_let_go(s);
}

/* ---- The rendezvous: what both kinds share ------------------------------------------------------------------------------------------ */

/* How to listen and connect. sms_options_default gives one to change. */
typedef struct sms_options {
    uint32_t capacity[2];  /* listener: bytes of its lane and of the connector's. Connector at a socket: what it proposes */
    uint32_t max_capacity; /* connector at a socket: the largest lane that it accepts */
    uint32_t start;
    bool allow_any;        /* at a socket: every user may be the other side */
    const uid_t *allow;    /* at a socket: these users, besides this process's own */
    size_t allowed;
    int handshake_ms;      /* listener: how long one connector may take. At a file: from its claim to HELLO, see F12 */
    bool propose;          /* connector at a socket: propose the channel, which saves two messages if the listener agrees */
    bool records;          /* says to the peer that this side sends and receives records. It changes nothing else */
} sms_options;

SMS_API sms_options sms_options_default(void) {
    sms_options o;
    memset(&o, 0, sizeof o);
    o.capacity[0] = o.capacity[1] = 256 * 1024;
    o.max_capacity = 64u << 20;
    o.handshake_ms = 5000;
    o.propose = true;
    return o;
}

enum { SMS_KIND_FILE, SMS_KIND_SOCKET, SMS_KIND_FD };

typedef struct sms_address {
    int kind;
    int fd;
    bool abstract_name;
    char path[PATH_MAX];
    const char *text;
} sms_address;

SMS_API int sms_parse(const char *text, sms_address *a, sms_err *err) {
    const char *rest;
    size_t n;
    memset(a, 0, sizeof *a);
    a->text = text;
    if (strncmp(text, "file:", 5) == 0) {
        a->kind = SMS_KIND_FILE;
        rest = text + 5;
    } else if (strncmp(text, "shm:/", 5) == 0) {
        a->kind = SMS_KIND_FILE;
        rest = text + 5;
        if (strchr(rest, '/') != NULL)
            return sms_fail(err, SMS_EADDRESS, 0, "\"%.200s\"", text);
    } else if (strncmp(text, "unix:@", 6) == 0) {
        a->kind = SMS_KIND_SOCKET;
        a->abstract_name = true;
        rest = text + 6;
    } else if (strncmp(text, "unix:", 5) == 0) {
        a->kind = SMS_KIND_SOCKET;
        rest = text + 5;
    } else if (strncmp(text, "fd:", 3) == 0) {
        char *end;
        long number = strtol(text + 3, &end, 10);
        if (text[3] == 0 || *end != 0 || number < 0 || number > INT_MAX)
            return sms_fail(err, SMS_EADDRESS, 0, "\"%.200s\"", text);
        a->kind = SMS_KIND_FD;
        a->fd = (int)number;
        return SMS_OK;
    } else {
        return sms_fail(err, SMS_EADDRESS, 0, "\"%.200s\"", text);
    }
    n = strlen(rest);
    if (n == 0 || n > (a->kind == SMS_KIND_SOCKET ? sizeof(((struct sockaddr_un *)0)->sun_path) - 1 : sizeof a->path - 16))
        return sms_fail(err, SMS_EADDRESS, 0, "\"%.200s\" is empty or too long", text);
    (void)snprintf(a->path, sizeof a->path, "%s%s", strncmp(text, "shm:", 4) == 0 ? "/dev/shm/" : "", rest);
    return SMS_OK;
}

SMS_API uint32_t sms_page(void) { return (uint32_t)sysconf(_SC_PAGESIZE); }

SMS_API void *sms_map(int fd, off_t at, size_t len, bool write) {
    void *p = mmap(NULL, len, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, at);
    return p == MAP_FAILED ? NULL : p;
}

/* ---- Rendezvous through a file: F ----------------------------------------------------------------------------------------------------- */

typedef struct sms_region {
    int fd;
    dev_t device;
    ino_t inode;
    sms_config config;
    int party;
    void *map[2]; /* mine, for writing; the peer's, for reading */
    size_t len[2];
} sms_region;

SMS_API void sms_region_clear(sms_region *r) {
    memset(r, 0, sizeof *r);
    r->fd = -1;
}

SMS_API void sms_region_free(sms_region *r) {
    int i;
    if (r->fd >= 0)
        sms_unlock(r->fd, r->party);
    for (i = 0; i < 2; i++)
        if (r->map[i] != NULL)
            (void)munmap(r->map[i], r->len[i]);
    if (r->fd >= 0)
        (void)close(r->fd);
    sms_region_clear(r);
}

SMS_API off_t sms_second(const sms_config *c, size_t first_len) { return (off_t)sms_next_segment(first_len, c->align); }

/* Maps both segments, party's for writing. first_len: of segment 0. */
SMS_API int sms_region_map(sms_region *r, int party, size_t first_len) {
    size_t len[2];
    off_t at[2];
    len[0] = first_len;
    len[1] = sms_segment_len(&r->config, 1);
    at[0] = 0;
    at[1] = sms_second(&r->config, first_len);
    r->party = party;
    r->len[0] = len[party];
    r->len[1] = len[1 - party];
    r->map[0] = sms_map(r->fd, at[party], len[party], true);
    r->map[1] = r->map[0] == NULL ? NULL : sms_map(r->fd, at[1 - party], len[1 - party], false);
    return r->map[1] == NULL ? -1 : 0;
}

/* A state word that changes: stored with release, then all sleepers on it are woken. */
SMS_API void sms_say(sms_region *r, uint32_t state) {
    sms_word *word = &((sms_header *)r->map[0])->state;
    sms_store(word, state);
    sms_futex_wake(word);
}
SMS_API const sms_word *sms_heard(const sms_region *r) { return &((const sms_header *)r->map[1])->state; }

/* F3, F4: a region without a name, armed and locked. */
SMS_API int sms_region_make(sms_region *r, int directory, const sms_config *config, const char *text, sms_err *err) {
    struct stat st;
    off_t size;
    int e, byte;
    sms_region_clear(r);
    r->config = *config;
    r->fd = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (r->fd < 0)
        return sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot make a file in its directory", text);
    size = sms_second(config, sms_segment_len(config, 0)) + (off_t)sms_segment_len(config, 1);
    do
        e = posix_fallocate(r->fd, 0, size);
    while (e == EINTR);
    if (e != 0) {
        sms_region_free(r);
        return sms_fail(err, SMS_ESYSTEM, e, "%.200s: cannot give the region its %lld bytes", text, (long long)size);
    }
    if (fstat(r->fd, &st) < 0 || sms_region_map(r, 0, sms_segment_len(config, 0)) < 0) {
        e = errno;
        sms_region_free(r);
        return sms_fail(err, SMS_ESYSTEM, e, "%.200s: cannot map the region", text);
    }
    r->device = st.st_dev;
    r->inode = st.st_ino;
    r->config.channel = (uint64_t)st.st_ino;
    {
        /* Segment 1 as a connector would set it up, so that inspectors find two. */
        void *other = sms_map(r->fd, sms_second(config, sms_segment_len(config, 0)), sms_segment_len(config, 1), true);
        if (other != NULL) {
            /* R: the connector speaks for itself. */
            sms_config theirs = r->config;
            theirs.records = false;
            (void)sms_init(other, sms_segment_len(config, 1), &theirs, 1);
            (void)munmap(other, sms_segment_len(config, 1));
        }
    }
    e = sms_init(r->map[0], r->len[0], &r->config, 0);
    if (e < 0) {
        sms_region_free(r);
        return sms_fail(err, e, 0, "%.200s: such a channel cannot be", text);
    }
    sms_store(&((sms_header *)r->map[0])->state, SMS_ARMED);
    for (byte = 0; byte <= 2; byte += 2)
        if (sms_try_lock(r->fd, byte) != 1) {
            e = errno;
            sms_region_free(r);
            return sms_fail(err, SMS_ESYSTEM, e, "%.200s: cannot lock the region", text);
        }
    return SMS_OK;
}

/* F1: opens what has the name. *found says whether anything has. */
SMS_API int sms_region_open(int directory, const char *base, struct stat *st, int *fd, const char *text, sms_err *err) {
    uint8_t begin[8];
    *fd = openat(directory, base, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (*fd < 0) {
        int e = errno;
        if (e == ENOENT)
            return sms_fail(err, SMS_ENOLISTENER, 0, "%.200s", text);
        if (e == ELOOP || e == EISDIR || e == ENXIO)
            return sms_fail(err, SMS_ENOREGION, 0, "%.200s", text);
        return sms_fail(err, SMS_ESYSTEM, e, "%.200s: cannot open it", text);
    }
    if (fstat(*fd, st) < 0 || !S_ISREG(st->st_mode) || st->st_uid != geteuid() || (st->st_mode & 077) != 0 ||
        pread(*fd, begin, sizeof begin, 0) != (ssize_t)sizeof begin || memcmp(begin, sms_magic(), sizeof begin) != 0) {
        (void)close(*fd);
        *fd = -1;
        return sms_fail(err, SMS_ENOREGION, 0, "%.200s", text);
    }
    return SMS_OK;
}

SMS_API bool sms_zeros(const uint8_t *bytes, size_t n) {
    size_t i;
    for (i = 0; i < n; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* Whether a segment is as setting up makes it, and no byte was ever sent. One of party 1 may be half set up: each of its words is 0 or right. */
SMS_API bool sms_is_fresh(const uint8_t *segment, size_t end, const sms_config *c, uint32_t lane_offset, unsigned party) {
    sms_header is, fresh;
    size_t at;
    memcpy(&is, segment, sizeof is);
    memset(&fresh, 0, sizeof fresh);
    memcpy(fresh.magic, sms_magic(), 8);
    fresh.byte_order.value = SMS_BYTE_ORDER;
    fresh.version.value = SMS_LAYOUT_VERSION;
    fresh.features.value = is.features.value & ~SMS_MUST_KNOW;
    fresh.party.value = party;
    fresh.align.value = c->align;
    fresh.lane_offset.value = lane_offset;
    fresh.capacity.value = c->capacity[party];
    fresh.peer_capacity.value = c->capacity[1 - party];
    fresh.start.value = c->start;
    fresh.pid = is.pid;
    memcpy(fresh.made, is.made, sizeof fresh.made);
    memcpy(fresh.channel, is.channel, sizeof fresh.channel);
    fresh.sent.value = c->start | (c->capacity[party] == 0 ? SMS_LAST : 0);
    fresh.received.value = c->start | (c->capacity[1 - party] == 0 ? SMS_LAST : 0);
    fresh.state.value = party == 0 ? (uint32_t)SMS_ARMED : (uint32_t)SMS_HELLO_SAID;
    for (at = 0; at < sizeof is; at += 4) {
        const uint8_t *word = (const uint8_t *)&is + at;
        if (memcmp(word, (const uint8_t *)&fresh + at, 4) != 0 && !(party == 1 && sms_zeros(word, 4)))
            return false;
    }
    return sms_zeros(segment + SMS_HEADER_LEN, end - SMS_HEADER_LEN);
}

/* What a dead listener leaves: F. all has the whole file. Only called while its name byte is locked and the others are free. */
SMS_API bool sms_is_left(const uint8_t *all, size_t len, const struct stat *st) {
    sms_identity id;
    sms_config c;
    size_t second;
    if (st->st_nlink != 1 || sms_inspect(all, len, &id) < 0 || id.party != 0 || id.channel != (uint64_t)st->st_ino)
        return false;
    memset(&c, 0, sizeof c);
    c.capacity[0] = id.capacity;
    c.capacity[1] = id.peer_capacity;
    c.align = id.align;
    c.start = id.start;
    second = sms_next_segment((size_t)id.lane_offset + id.capacity, id.align);
    return len == second + sms_segment_len(&c, 1) && sms_is_fresh(all, second, &c, id.lane_offset, 0) &&
           sms_is_fresh(all + second, len - second, &c, sms_lane_offset(&c), 1);
}

/* A stream on a region that both sides have agreed on. Takes the region over. */
SMS_API sms_stream *sms_region_stream(sms_region *r, const char *text, sms_err *err) {
    sms_stream *s = (sms_stream *)malloc(sizeof *s);
    int e = s == NULL ? SMS_ESYSTEM : sms_attach(s, r->map[0], r->len[0], r->map[1], r->len[1]);
    if (e < 0) {
        (void)sms_fail(err, e, s == NULL ? ENOMEM : 0, "%.200s: the region does not fit", text);
        free(s);
        sms_region_free(r);
        return NULL;
    }
    s->heap = true;
    s->file = r->fd;
    memcpy(s->map, r->map, sizeof s->map);
    memcpy(s->map_len, r->len, sizeof s->map_len);
    sms_region_clear(r);
    return s;
}

SMS_API int sms_directory(const char *path, const char **base, const char *text, sms_err *err) {
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - path);
    int fd;
    *base = slash == NULL ? path : slash + 1;
    if (**base == 0 || strlen(*base) > NAME_MAX - 4)
        return sms_fail(err, SMS_EADDRESS, 0, "\"%.200s\" has no file name, or one that is too long", text);
    (void)snprintf(directory, sizeof directory, "%.*s", slash == NULL ? 1 : n == 0 ? 1 : (int)n, slash == NULL ? "." : path);
    fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot open its directory", text) : fd;
}

/* How far a connector at a file is: 1 has the region, 0 look again. */
SMS_API int sms_file_claim(int directory, const char *base, sms_region *r, const char *text, sms_err *err) {
    struct stat st, now;
    sms_identity id;
    void *all;
    size_t first;
    int e, claimed;
    sms_region_clear(r);
    if ((e = sms_region_open(directory, base, &st, &r->fd, text, err)) < 0)
        return e;
    r->device = st.st_dev;
    r->inode = st.st_ino;
    all = sms_map(r->fd, 0, SMS_HEADER_LEN, false);
    if (all == NULL || st.st_size < (off_t)SMS_HEADER_LEN) {
        e = errno;
        if (all != NULL)
            (void)munmap(all, SMS_HEADER_LEN);
        sms_region_free(r);
        if (all != NULL)
            return sms_fail(err, SMS_ETOOSHORT, 0, "%.200s: the listener's segment does not fit", text);
        return sms_fail(err, SMS_ESYSTEM, e, "%.200s: cannot map the region", text);
    }
    e = sms_inspect(all, (uint64_t)st.st_size > SIZE_MAX ? SIZE_MAX : (size_t)st.st_size, &id);
    (void)munmap(all, SMS_HEADER_LEN);
    if (e == SMS_OK && id.party != 0)
        e = SMS_EPARTY;
    if (e == SMS_OK && id.align % sms_page() != 0)
        e = SMS_EALIGN;
    if (e == SMS_OK) {
        r->config.capacity[0] = id.capacity;
        r->config.capacity[1] = id.peer_capacity;
        r->config.align = id.align;
        r->config.start = id.start;
        r->config.channel = id.channel;
        first = (size_t)id.lane_offset + id.capacity;
        if (st.st_size < sms_second(&r->config, first) + (off_t)sms_segment_len(&r->config, 1))
            e = SMS_ETOOSHORT;
        else if (sms_region_map(r, 1, first) < 0) {
            e = errno;
            sms_region_free(r);
            return sms_fail(err, SMS_ESYSTEM, e, "%.200s: cannot map the region", text);
        }
    }
    if (e < 0) {
        sms_region_free(r);
        return sms_fail(err, e, 0, "%.200s: the listener's segment does not fit", text);
    }
    if (sms_load(&((const sms_header *)r->map[0])->state) != 0) {
        /* F10: another connector has said HELLO, and has perhaps died before it woke the listener. */
        sms_futex_wake(&((const sms_header *)r->map[0])->state);
        claimed = 0;
    } else {
        claimed = sms_try_lock(r->fd, 1);
    }
    if (claimed < 0) {
        e = errno;
        sms_region_free(r);
        return sms_fail(err, SMS_ESYSTEM, e, "%.200s: cannot lock the region", text);
    }
    if (claimed == 1) {
        if (sms_load(sms_heard(r)) == SMS_ARMED && sms_load(&((const sms_header *)r->map[0])->state) == 0 && sms_is_held(r->fd, 0))
            return 1;
        sms_unlock(r->fd, 1);
    }
    e = 0;
    if (fstatat(directory, base, &now, AT_SYMLINK_NOFOLLOW) == 0 && now.st_dev == st.st_dev && now.st_ino == st.st_ino) {
        if (sms_load(sms_heard(r)) != SMS_ARMED)
            e = sms_fail(err, SMS_EINUSE, 0, "%.200s: this is another name of a region in use", text);
        else if (!sms_is_held(r->fd, 0))
            e = sms_fail(err, SMS_ELISTENERDIED, 0, "%.200s", text);
    }
    /* Not through sms_region_free: the claim may be another description's, and is none of ours by now. */
    sms_region_free(r);
    return e;
}

SMS_API sms_stream *sms_file_connect(const sms_address *a, bool records, int timeout_ms, sms_err *err) {
    uint64_t deadline = sms_deadline(timeout_ms);
    const char *base;
    sms_region r;
    int e, directory = sms_directory(a->path, &base, a->text, err);
    if (directory < 0)
        return NULL;
    while ((e = sms_file_claim(directory, base, &r, a->text, err)) == 0) {
        struct timespec pause;
        pause.tv_sec = 0;
        pause.tv_nsec = 2000000;
        if (sms_now_us() >= deadline) {
            e = sms_fail(err, SMS_ETIMEDOUT, 0, "%.200s: the listener accepts other connectors first", a->text);
            break;
        }
        (void)nanosleep(&pause, NULL);
    }
    (void)close(directory);
    if (e < 0)
        return NULL;
    r.config.records = records;
    e = sms_init(r.map[0], r.len[0], &r.config, 1);
    if (e < 0) {
        sms_region_free(&r);
        (void)sms_fail(err, e, 0, "%.200s: the region does not fit", a->text);
        return NULL;
    }
    sms_say(&r, SMS_HELLO_SAID);
    for (;;) {
        uint64_t now = sms_now_us();
        bool lives = sms_is_held(r.fd, 0);
        /* After asking: what is heard now is final if the listener is dead. */
        uint32_t state = sms_load(sms_heard(&r));
        if (state == SMS_ACCEPTED)
            return sms_region_stream(&r, a->text, err);
        if (state != SMS_ARMED)
            (void)sms_fail(err, SMS_EREFUSED, 0, "%.200s: %s", a->text, sms_refusal(state >> 8 & 0xff));
        else if (!lives)
            (void)sms_fail(err, SMS_ELISTENERDIED, 0, "%.200s", a->text);
        else if (now >= deadline)
            (void)sms_fail(err, SMS_ETIMEDOUT, 0, "%.200s: the listener does not accept", a->text);
        else {
            sms_futex_wait(sms_heard(&r), state, deadline - now < SMS_SLICE_US ? deadline - now : SMS_SLICE_US);
            continue;
        }
        sms_region_free(&r);
        return NULL;
    }
}

/* ---- Rendezvous over a socket: S ------------------------------------------------------------------------------------------------------ */

enum { SMS_M_HELLO = 1, SMS_M_WELCOME, SMS_M_SEGMENT, SMS_M_ACCEPTED, SMS_M_REFUSED };
#define SMS_WANTS_SIGNAL (1u << 31)
#define SMS_PROPOSES (1u << 30)
#define SMS_MESSAGE_LEN 64
#define SMS_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)
#define SMS_TMPFS 0x01021994uL

/* One message: sixteen words. */
typedef struct sms_message {
    uint32_t word[16];
} sms_message;
SMS_STATIC_ASSERT(sizeof(sms_message) == SMS_MESSAGE_LEN, "a message has 64 bytes");

/* What came with a packet. fd: its only descriptor, or -1; fds: how many there were. */
typedef struct sms_came {
    size_t len;
    int fd, fds;
    bool has_sender, cut;
    struct ucred sender;
} sms_came;

SMS_API sms_message sms_message_new(uint32_t kind) {
    sms_message m;
    memset(&m, 0, sizeof m);
    memcpy(m.word, sms_magic(), 8);
    m.word[2] = SMS_BYTE_ORDER;
    m.word[3] = kind;
    m.word[4] = m.word[5] = SMS_LAYOUT_VERSION;
    return m;
}

/* S2: whether bytes are a message. */
SMS_API int sms_message_parse(const void *bytes, size_t len, sms_message *m) {
    if (len != SMS_MESSAGE_LEN)
        return SMS_EPROTOCOL;
    memcpy(m, bytes, sizeof *m);
    if (memcmp(m->word, sms_magic(), 8) != 0 || m->word[2] != SMS_BYTE_ORDER || m->word[3] < 1 || m->word[3] > 5)
        return SMS_EPROTOCOL;
    return SMS_OK;
}

/* The control messages of a packet: room for 253 descriptors and for who sent them (S3). */
typedef union sms_control {
    struct cmsghdr header;
    char bytes[2048];
} sms_control;

/* Receives a packet without waiting. 1: one came, with or without bytes. 0: none is there. SMS_EHUNGUP: none will come. */
SMS_API int sms_receive(int socket, void *buffer, size_t len, sms_came *came) {
    sms_control control;
    struct iovec iov;
    struct msghdr h;
    size_t at = 0;
    ssize_t n;
    int resets = 0;
    memset(came, 0, sizeof *came);
    came->fd = -1;
again:
    memset(&h, 0, sizeof h);
    iov.iov_base = buffer;
    iov.iov_len = len;
    h.msg_iov = &iov;
    h.msg_iovlen = 1;
    h.msg_control = &control;
    h.msg_controllen = sizeof control;
    n = recvmsg(socket, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) {
        if (errno == EINTR)
            goto again;
        if (errno == EAGAIN)
            return 0;
        /* It is reported once, and the queue may hold more: S10. */
        if (errno == ECONNRESET)
            return resets++ == 0 ? SMS_EAGAIN : SMS_EHUNGUP;
        return SMS_ESYSTEM;
    }
    came->len = (size_t)n;
    came->cut = (h.msg_flags & MSG_CTRUNC) != 0;
    while (at + sizeof(struct cmsghdr) <= (size_t)h.msg_controllen) {
        struct cmsghdr c;
        const char *data = control.bytes + at + CMSG_LEN(0);
        size_t data_len;
        memcpy(&c, control.bytes + at, sizeof c);
        if ((size_t)c.cmsg_len < CMSG_LEN(0) || at + (size_t)c.cmsg_len > (size_t)h.msg_controllen)
            break;
        data_len = (size_t)c.cmsg_len - CMSG_LEN(0);
        if (c.cmsg_level == SOL_SOCKET && c.cmsg_type == SCM_RIGHTS) {
            size_t i;
            for (i = 0; i + sizeof(int) <= data_len; i += sizeof(int)) {
                int fd;
                memcpy(&fd, data + i, sizeof fd);
                if (came->fds++ == 0) {
                    came->fd = fd;
                } else {
                    (void)close(fd);
                    if (came->fd >= 0)
                        (void)close(came->fd);
                    came->fd = -1;
                }
            }
        } else if (c.cmsg_level == SOL_SOCKET && c.cmsg_type == SCM_CREDENTIALS && data_len >= sizeof came->sender) {
            memcpy(&came->sender, data, sizeof came->sender);
            came->has_sender = true;
        }
        at += ((size_t)c.cmsg_len + sizeof(size_t) - 1) / sizeof(size_t) * sizeof(size_t);
    }
    /* The end, and not an empty packet, which has a sender. */
    if (n == 0 && !came->has_sender && came->fds == 0)
        return SMS_EHUNGUP;
    return 1;
}

SMS_API void sms_drop_fd(sms_came *came) {
    if (came->fd >= 0)
        (void)close(came->fd);
    came->fd = -1;
}

SMS_API void sms_drain(sms_stream *s) {
    char bytes[1];
    sms_came came;
    int packets;
    /* An honest peer sends one for each time a half said that it sleeps. A flood does not keep this call. */
    for (packets = 0; packets < 64; packets++) {
        int n = sms_receive(s->socket, bytes, sizeof bytes, &came);
        sms_drop_fd(&came);
        if (n == 0)
            return;
        if (n < 0 && n != SMS_EAGAIN) {
            sms_raise(&s->gone);
            return;
        }
    }
}

/* Sends a packet with a descriptor, or -1, without waiting. */
SMS_API int sms_send(int socket, const sms_message *m, int fd) {
    sms_control control;
    struct iovec iov;
    struct msghdr h;
    ssize_t n;
    memset(&h, 0, sizeof h);
    memset(&control, 0, sizeof control.header);
    iov.iov_base = (void *)(uintptr_t)m;
    iov.iov_len = sizeof *m;
    h.msg_iov = &iov;
    h.msg_iovlen = 1;
    if (fd >= 0) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(control.bytes + CMSG_LEN(0), &fd, sizeof fd);
        h.msg_control = &control;
        h.msg_controllen = CMSG_SPACE(sizeof fd);
    }
    do
        n = sendmsg(socket, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *m ? 0 : -1;
}

/* The id that stands for all users without one here, or -1 if all have one: S5. */
SMS_API long sms_unknown_user(void) {
    unsigned long first, outside, count;
    long unknown = 65534;
    bool all = false;
    FILE *f = fopen("/proc/self/uid_map", "re");
    if (f == NULL)
        return access("/proc/self/stat", F_OK) == 0 ? -1 : unknown;
    while (fscanf(f, "%lu %lu %lu", &first, &outside, &count) == 3)
        if (first == 0 && count >= 4294967295ul)
            all = true;
    (void)fclose(f);
    if (all)
        return -1;
    f = fopen("/proc/sys/kernel/overflowuid", "re");
    if (f != NULL) {
        if (fscanf(f, "%ld", &unknown) != 1)
            unknown = 65534;
        (void)fclose(f);
    }
    return unknown;
}

/* S5. */
SMS_API bool sms_is_allowed(const sms_options *o, uid_t uid) {
    size_t i;
    bool named = uid == geteuid();
    if (o->allow_any)
        return true;
    for (i = 0; i < o->allowed; i++)
        named = named || o->allow[i] == uid;
    return named && (long)uid != sms_unknown_user();
}

/* My memory for a channel that goes over a socket: S6. */
typedef struct sms_memory {
    int fd;
    void *map;
    size_t len;
} sms_memory;

SMS_API void sms_memory_free(sms_memory *m) {
    if (m->map != NULL)
        (void)munmap(m->map, m->len);
    if (m->fd >= 0)
        (void)close(m->fd);
    m->map = NULL;
    m->fd = -1;
}

SMS_API int sms_memory_make(sms_memory *m, const sms_config *c, unsigned party) {
    int e;
    m->len = sms_next_segment(sms_segment_len(c, party), sms_page());
    m->map = NULL;
    m->fd = memfd_create(party == 0 ? "smstream:0" : "smstream:1", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (m->fd < 0 || ftruncate(m->fd, (off_t)m->len) < 0 || (m->map = sms_map(m->fd, 0, m->len, true)) == NULL ||
        fcntl(m->fd, F_ADD_SEALS, SMS_SEALS) < 0) {
        e = errno;
        sms_memory_free(m);
        errno = e;
        return SMS_ESYSTEM;
    }
    e = sms_init(m->map, m->len, c, party);
    if (e < 0)
        sms_memory_free(m);
    return e;
}

/* S7, S8: maps the other side's segment, if it is what it must be. *problem has the name of a bad header. */
SMS_API int sms_memory_map(int fd, const sms_config *c, unsigned party, void **map, size_t *len, int *problem) {
    struct statfs fs;
    struct stat st;
    sms_identity id;
    int seals, e;
    size_t needed = sms_next_segment(sms_segment_len(c, party), sms_page());
    *map = NULL;
    *problem = SMS_EMEMORY;
    if (fd < 0 || (seals = fcntl(fd, F_GET_SEALS)) < 0 || (seals & SMS_SEALS) != SMS_SEALS || fstatfs(fd, &fs) < 0 ||
        (unsigned long)fs.f_type != SMS_TMPFS || fstat(fd, &st) < 0)
        return SMS_EMEMORY;
    if (st.st_size > (off_t)needed + (2 << 20))
        return SMS_EMEMORY;
    if (st.st_size < (off_t)SMS_HEADER_LEN) {
        *problem = SMS_ETOOSHORT;
        return SMS_EMEMORY;
    }
    *len = (size_t)st.st_size;
    *map = sms_map(fd, 0, *len, false);
    if (*map == NULL)
        return SMS_ESYSTEM;
    e = sms_inspect(*map, *len, &id);
    if (e == SMS_OK && id.party != party)
        e = SMS_EPARTY;
    if (e == SMS_OK && id.align != c->align)
        e = SMS_EALIGN;
    if (e == SMS_OK && id.start != c->start)
        e = SMS_ESTART;
    if (e == SMS_OK && id.capacity != c->capacity[party])
        e = SMS_ECAPACITY;
    if (e == SMS_OK && id.peer_capacity != c->capacity[1 - party])
        e = SMS_EPEERCAPACITY;
    /* A14, with cursors of this side that are at the start. */
    if (e == SMS_OK) {
        const sms_header *h = (const sms_header *)*map;
        uint32_t sent = sms_load(&h->sent), received = sms_load(&h->received);
        if (sms_diff(sent, c->start) > id.capacity || sms_diff(c->start, received) > id.peer_capacity || (id.capacity == 0 && (sent & SMS_LAST) == 0))
            e = SMS_ESENT;
    }
    if (e < 0) {
        (void)munmap(*map, *len);
        *map = NULL;
        *problem = e;
        return SMS_EMEMORY;
    }
    return SMS_OK;
}

/* A stream between two parties that have met over a socket. Takes everything over. On failure *err says why, and all is freed. */
SMS_API sms_stream *sms_met(int socket, sms_memory *own, void *map, size_t len, const char *text, sms_err *err) {
    sms_stream *s = (sms_stream *)malloc(sizeof *s);
    int e = s == NULL ? SMS_ESYSTEM : sms_attach(s, own->map, own->len, map, len);
    if (e < 0) {
        (void)sms_fail(err, e, s == NULL ? ENOMEM : 0, "%.200s: the other side's segment does not fit", text);
        free(s);
        (void)munmap(map, len);
        sms_memory_free(own);
        (void)close(socket);
        return NULL;
    }
    s->heap = true;
    s->socket = socket;
    s->memory = own->fd;
    s->map[0] = own->map;
    s->map_len[0] = own->len;
    s->map[1] = map;
    s->map_len[1] = len;
    return s;
}

SMS_API bool sms_fits_socket(const sms_config *c) {
    return sms_check_config(c) == SMS_OK && c->align % sms_page() == 0 && (c->capacity[0] != 0 || c->capacity[1] != 0);
}

SMS_API uint64_t sms_channel_number(void) {
    static uint32_t count;
    struct timespec t;
    uint64_t n;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    n = (uint64_t)t.tv_nsec * 0x9e3779b97f4a7c15u ^ (uint64_t)(uint32_t)getpid() << 32 ^ (uint64_t)t.tv_sec;
    n += __atomic_fetch_add(&count, 1u, __ATOMIC_RELAXED);
    return n == 0 ? 1 : n;
}

SMS_API sms_config sms_config_of(const sms_options *o) {
    sms_config c;
    c.capacity[0] = o->capacity[0];
    c.capacity[1] = o->capacity[1];
    c.align = sms_page();
    c.start = o->start;
    c.channel = 0;
    c.records = o->records;
    return c;
}

/* The connector's side on a connected socket, which is taken over. */
SMS_API sms_stream *sms_socket_greet(int socket, const sms_options *o, uint64_t deadline, const char *text, sms_err *err) {
    sms_config c = sms_config_of(o);
    sms_memory own;
    sms_message m = sms_message_new(SMS_M_HELLO), answer;
    struct ucred listener, first;
    socklen_t size = sizeof listener;
    void *map = NULL;
    size_t len = 0;
    bool proposed, welcomed = false, sent;
    int e = SMS_OK, problem = 0, waited = 0;
    own.fd = -1;
    own.map = NULL;
    memset(&first, 0, sizeof first);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &listener, &size) < 0) {
        e = sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot ask who listens", text);
        goto failed;
    }
    if (!sms_is_allowed(o, listener.uid)) {
        e = sms_fail(err, SMS_ENOTALLOWED, 0, "%.200s: user %lu listens", text, (unsigned long)listener.uid);
        goto failed;
    }
    c.channel = sms_channel_number();
    proposed = o->propose && sms_fits_socket(&c) && c.capacity[0] <= o->max_capacity && c.capacity[1] <= o->max_capacity &&
               sms_memory_make(&own, &c, 1) == SMS_OK;
    m.word[8] = m.word[9] = o->max_capacity;
    if (proposed) {
        m.word[6] = SMS_PROPOSES;
        m.word[7] = SMS_LAYOUT_VERSION;
        m.word[10] = c.align;
        m.word[11] = c.start;
        m.word[12] = (uint32_t)c.channel;
        m.word[13] = (uint32_t)(c.channel >> 32);
        m.word[14] = c.capacity[0];
        m.word[15] = c.capacity[1];
    }
    sent = sms_send(socket, &m, own.fd) == 0;
    if (!sent && proposed && errno == ETOOMANYREFS) {
        /* This user has too many descriptors on the way. Without one it goes, too. */
        sms_memory_free(&own);
        proposed = false;
        memset(&m.word[10], 0, 6 * sizeof m.word[0]);
        m.word[6] = m.word[7] = 0;
        sent = sms_send(socket, &m, -1) == 0;
    }
    if (!sent && errno != EPIPE && errno != ECONNRESET) {
        e = sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot talk to the listener", text);
        goto failed;
    }
    for (;;) {
        uint8_t bytes[SMS_MESSAGE_LEN + 1];
        sms_came came;
        int n = sms_receive(socket, bytes, sizeof bytes, &came);
        if (n == SMS_EAGAIN)
            continue;
        if (n == 0) {
            struct pollfd p;
            uint64_t now = sms_now_us();
            if (now >= deadline) {
                e = sms_fail(err, SMS_ETIMEDOUT, 0, "%.200s: the listener does not answer", text);
                break;
            }
            p.fd = socket;
            p.events = POLLIN;
            p.revents = 0;
            waited = deadline == UINT64_MAX || (deadline - now) / 1000 > 1000000 ? 1000000 : (int)((deadline - now) / 1000 + 1);
            (void)poll(&p, 1, waited);
            continue;
        }
        if (n < 0) {
            e = sms_fail(err, n, n == SMS_ESYSTEM ? errno : 0, "%.200s", text);
            break;
        }
        if (came.cut && came.fds == 0) {
            e = sms_fail(err, SMS_ESYSTEM, EMFILE, "%.200s: cannot take the listener's memory", text);
            break;
        }
        if (!came.has_sender || sms_message_parse(bytes, came.len, &answer) < 0) {
            sms_drop_fd(&came);
            e = sms_fail(err, SMS_EPROTOCOL, 0, "%.200s", text);
            break;
        }
        if (!sms_is_allowed(o, came.sender.uid)) {
            sms_drop_fd(&came);
            e = sms_fail(err, SMS_ENOTALLOWED, 0, "%.200s: user %lu answers", text, (unsigned long)came.sender.uid);
            break;
        }
        if (answer.word[3] == SMS_M_REFUSED) {
            sms_drop_fd(&came);
            e = sms_fail(err, SMS_EREFUSED, 0, "%.200s: %s", text, sms_refusal(answer.word[14]));
            break;
        }
        if (answer.word[3] == SMS_M_ACCEPTED && welcomed) {
            sms_drop_fd(&came);
            if (came.sender.pid != first.pid || came.sender.uid != first.uid) {
                e = sms_fail(err, SMS_EPROTOCOL, 0, "%.200s: another process went on with it", text);
                break;
            }
            return sms_met(socket, &own, map, len, text, err);
        }
        if (answer.word[3] == SMS_M_ACCEPTED && proposed) {
            int mapped = came.fds == 1 ? sms_memory_map(came.fd, &c, 0, &map, &len, &problem) : SMS_EMEMORY;
            sms_drop_fd(&came);
            if (mapped < 0) {
                e = sms_fail(err, mapped, mapped == SMS_ESYSTEM ? errno : 0, "%.200s: the listener's memory (%s)", text, sms_error_name(problem));
                break;
            }
            return sms_met(socket, &own, map, len, text, err);
        }
        if (answer.word[3] == SMS_M_WELCOME && !welcomed) {
            sms_memory_free(&own);
            proposed = false;
            welcomed = true;
            first = came.sender;
            c.capacity[0] = answer.word[8];
            c.capacity[1] = answer.word[9];
            c.align = answer.word[10];
            c.start = answer.word[11];
            c.channel = (uint64_t)answer.word[13] << 32 | answer.word[12];
            if (answer.word[7] != SMS_LAYOUT_VERSION)
                e = sms_fail(err, SMS_EPROTOCOL, 0, "%.200s: the listener wants layout version %lu", text, (unsigned long)answer.word[7]);
            else if (!sms_fits_socket(&c))
                e = sms_fail(err, SMS_EPROTOCOL, 0, "%.200s: the channel that it describes cannot be", text);
            else if (c.capacity[0] > o->max_capacity || c.capacity[1] > o->max_capacity)
                e = sms_fail(err, SMS_ETOOLARGE, 0, "%.200s: the listener's lanes; raise max_capacity", text);
            else if ((e = came.fds == 1 ? sms_memory_map(came.fd, &c, 0, &map, &len, &problem) : SMS_EMEMORY) < 0)
                e = sms_fail(err, e, e == SMS_ESYSTEM ? errno : 0, "%.200s: the listener's memory (%s)", text, sms_error_name(problem));
            else if ((e = sms_memory_make(&own, &c, 1)) < 0)
                e = sms_fail(err, e, e == SMS_ESYSTEM ? errno : 0, "%.200s: cannot make this side's memory", text);
            sms_drop_fd(&came);
            if (e < 0)
                break;
            m = sms_message_new(SMS_M_SEGMENT);
            m.word[6] = SMS_COUNTERS | (o->records ? SMS_RECORDS : 0);
            if (sms_send(socket, &m, own.fd) < 0 && errno != EPIPE && errno != ECONNRESET) {
                e = sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot talk to the listener", text);
                break;
            }
            continue;
        }
        sms_drop_fd(&came);
        e = sms_fail(err, SMS_EPROTOCOL, 0, "%.200s: a message that is not due", text);
        break;
    }
failed:
    if (map != NULL)
        (void)munmap(map, len);
    sms_memory_free(&own);
    (void)close(socket);
    (void)e;
    return NULL;
}

SMS_API socklen_t sms_socket_address(const sms_address *a, struct sockaddr_un *to) {
    size_t n = strlen(a->path);
    memset(to, 0, sizeof *to);
    to->sun_family = AF_UNIX;
    memcpy(to->sun_path + (a->abstract_name ? 1 : 0), a->path, n);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
}

/* A socket on which every packet has the kernel's word on who sent it: S4. */
SMS_API int sms_socket_new(void) {
    int on = 1, fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0) {
        int e = errno;
        (void)close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

SMS_API sms_stream *sms_socket_connect(const sms_address *a, const sms_options *o, int timeout_ms, sms_err *err) {
    struct sockaddr_un to;
    socklen_t len = sms_socket_address(a, &to);
    uint64_t deadline = sms_deadline(timeout_ms);
    int fd = sms_socket_new();
    if (fd < 0) {
        (void)sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot make a socket", a->text);
        return NULL;
    }
    while (connect(fd, (struct sockaddr *)&to, len) < 0) {
        int e = errno;
        struct timespec pause;
        pause.tv_sec = 0;
        pause.tv_nsec = 1000000;
        if (e == EISCONN)
            break;
        if (e == EINTR)
            continue;
        /* The listener's queue is full. */
        if (e == EAGAIN && sms_now_us() < deadline) {
            (void)nanosleep(&pause, NULL);
            continue;
        }
        (void)close(fd);
        if (e == EAGAIN)
            (void)sms_fail(err, SMS_ETIMEDOUT, 0, "%.200s: the listener's queue is full", a->text);
        else if (e == ENOENT || (e == ECONNREFUSED && a->abstract_name))
            (void)sms_fail(err, SMS_ENOLISTENER, 0, "%.200s", a->text);
        else if (e == ECONNREFUSED)
            (void)sms_fail(err, SMS_ELISTENERDIED, 0, "%.200s", a->text);
        else if (e == EPROTOTYPE)
            (void)sms_fail(err, SMS_EADDRESS, 0, "%.200s is a Unix socket that is not SOCK_SEQPACKET", a->text);
        else
            (void)sms_fail(err, SMS_ESYSTEM, e, "%.200s: cannot connect", a->text);
        return NULL;
    }
    return sms_socket_greet(fd, o, deadline, a->text, err);
}

SMS_API sms_stream *sms_fd_connect(const sms_address *a, const sms_options *o, int timeout_ms, sms_err *err) {
    int on = 1, type = 0, domain = 0;
    socklen_t size = sizeof type;
    if (getsockopt(a->fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || getsockopt(a->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 ||
        type != SOCK_SEQPACKET || domain != AF_UNIX) {
        (void)sms_fail(err, SMS_EADDRESS, 0, "%.200s is no Unix socket of type SOCK_SEQPACKET", a->text);
        return NULL;
    }
    if (setsockopt(a->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 || fcntl(a->fd, F_SETFD, FD_CLOEXEC) < 0) {
        (void)sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot ask who is on the other side", a->text);
        return NULL;
    }
    return sms_socket_greet(a->fd, o, sms_deadline(timeout_ms), a->text, err);
}

/* Connects to a listener: waits until it accepts, or the timeout. options may be NULL. fd:N takes the descriptor over. */
SMS_API sms_stream *sms_connect(const char *address, const sms_options *options, int timeout_ms, sms_err *err) {
    sms_options o = options != NULL ? *options : sms_options_default();
    sms_address a;
    if (sms_parse(address, &a, err) < 0)
        return NULL;
    if (a.kind == SMS_KIND_FILE)
        return sms_file_connect(&a, o.records, timeout_ms, err);
    return a.kind == SMS_KIND_FD ? sms_fd_connect(&a, &o, timeout_ms, err) : sms_socket_connect(&a, &o, timeout_ms, err);
}

/* ---- Listening ------------------------------------------------------------------------------------------------------------------------ */

#define SMS_PENDING 64
#define SMS_GRACE_US 100000u

/* One connector in the middle of its rendezvous. */
typedef struct sms_pending {
    int socket; /* -1: this place is free */
    bool welcomed;
    uint64_t came;
    struct ucred first;
    sms_config config;
    sms_memory own;
} sms_pending;

typedef struct sms_listener {
    sms_address address;
    sms_options options;
    sms_config config;
    pid_t pid;
    /* at a file */
    int directory;
    const char *base;
    sms_region region;
    uint64_t claimed; /* since when a connector has been seen to hold it without HELLO, or 0 */
    /* at a socket */
    int socket, epoll, lock;
    bool left; /* the lock file was there, and says this */
    uint64_t left_device, left_inode;
    struct timespec left_at;
    dev_t device;
    ino_t inode;
    sms_pending pending[SMS_PENDING];
} sms_listener;

SMS_API bool sms_name_is(int directory, const char *base, dev_t device, ino_t inode) {
    struct stat st;
    return fstatat(directory, base, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == device && st.st_ino == inode;
}

SMS_API int sms_link(const sms_listener *l, const sms_region *r, const char *base) {
    char number[64];
    (void)snprintf(number, sizeof number, "/proc/self/fd/%d", r->fd);
    return linkat(AT_FDCWD, number, l->directory, base, AT_SYMLINK_FOLLOW);
}

/* Opens a region that a dead listener has left, with its name byte locked; -1 if that is not what has the name. */
SMS_API int sms_open_left(const sms_listener *l, const char *base) {
    struct stat st;
    int fd;
    bool left = false;
    if (sms_region_open(l->directory, base, &st, &fd, "", NULL) < 0)
        return -1;
    if (sms_try_lock(fd, 2) == 1 && sms_name_is(l->directory, base, st.st_dev, st.st_ino) && !sms_is_held(fd, 0) && !sms_is_held(fd, 1) &&
        st.st_size >= (off_t)SMS_HEADER_LEN && (uint64_t)st.st_size <= SIZE_MAX) {
        size_t len = (size_t)st.st_size;
        void *all = sms_map(fd, 0, len, false);
        if (all != NULL) {
            left = sms_is_left((const uint8_t *)all, len, &st);
            (void)munmap(all, len);
        }
    }
    if (left)
        return fd;
    sms_unlock(fd, 2);
    (void)close(fd);
    return -1;
}

/* Gives the name to r, taking it from what has it. The caller holds the right to that. */
SMS_API int sms_rename(sms_listener *l, const sms_region *r, sms_err *err) {
    char fresh[NAME_MAX + 8];
    int tries, e;
    (void)snprintf(fresh, sizeof fresh, "%s.new", l->base);
    for (tries = 0; sms_link(l, r, fresh) < 0; tries++) {
        int left;
        if (errno != EEXIST || tries > 100)
            return sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot give the region a name", l->address.text);
        /* A process that died while it replaced the name has left this. */
        left = sms_open_left(l, fresh);
        if (left < 0)
            return sms_fail(err, SMS_EINUSE, 0, "%.200s.new is in the way", l->address.text);
        (void)unlinkat(l->directory, fresh, 0);
        (void)close(left);
    }
    if (renameat(l->directory, fresh, l->directory, l->base) == 0)
        return SMS_OK;
    e = errno;
    (void)unlinkat(l->directory, fresh, 0);
    return sms_fail(err, SMS_ESYSTEM, e, "%.200s: cannot give the region its name", l->address.text);
}

SMS_API int sms_file_listen(sms_listener *l, sms_err *err) {
    int e;
    l->directory = sms_directory(l->address.path, &l->base, l->address.text, err);
    if (l->directory < 0)
        return l->directory;
    if ((e = sms_region_make(&l->region, l->directory, &l->config, l->address.text, err)) < 0)
        return e;
    if (sms_link(l, &l->region, l->base) == 0)
        return SMS_OK;
    if (errno != EEXIST)
        return sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot give the region its name", l->address.text);
    e = sms_open_left(l, l->base);
    if (e < 0)
        return sms_fail(err, SMS_EINUSE, 0, "%.200s", l->address.text);
    {
        int left = e;
        e = sms_rename(l, &l->region, err);
        (void)close(left);
    }
    return e;
}

/* Gives the name to a fresh region. The one that had it is in *old. */
SMS_API int sms_renew(sms_listener *l, sms_region *old, sms_err *err) {
    sms_region next;
    int e;
    if (!sms_name_is(l->directory, l->base, l->region.device, l->region.inode))
        return sms_fail(err, SMS_ENAMELOST, 0, "%.200s", l->address.text);
    if ((e = sms_region_make(&next, l->directory, &l->config, l->address.text, err)) < 0)
        return e;
    if ((e = sms_rename(l, &next, err)) < 0) {
        sms_unlock(next.fd, 2);
        sms_region_free(&next);
        return e;
    }
    *old = l->region;
    l->region = next;
    l->claimed = 0;
    return SMS_OK;
}

/* F12: whether a connector holds the region without HELLO for too long. */
SMS_API bool sms_claim_is_old(sms_listener *l) {
    if (!sms_is_held(l->region.fd, 1)) {
        l->claimed = 0;
        return false;
    }
    if (l->claimed == 0)
        l->claimed = sms_now_us();
    return sms_now_us() - l->claimed >= (uint64_t)l->options.handshake_ms * 1000u;
}

/* F5, F6: one look. The stream, or NULL with SMS_EAGAIN or what is wrong with the listener. */
SMS_API sms_stream *sms_file_accept(sms_listener *l, sms_err *err) {
    for (;;) {
        sms_region old;
        sms_identity id;
        uint32_t said = sms_load(sms_heard(&l->region));
        bool lives;
        int e;
        if (said == 0 && sms_claim_is_old(l)) {
            if (sms_renew(l, &old, err) < 0)
                return NULL;
            sms_unlock(old.fd, 2);
            sms_say(&old, SMS_STATE_REFUSED | 5u << 8);
            sms_region_free(&old);
            continue;
        }
        if (said == 0) {
            (void)sms_fail(err, SMS_EAGAIN, 0, "%.200s", l->address.text);
            return NULL;
        }
        lives = said == SMS_HELLO_SAID && sms_is_held(l->region.fd, 1);
        if (sms_renew(l, &old, err) < 0)
            return NULL;
        e = sms_inspect(old.map[1], old.len[1], &id);
        if (e == SMS_OK && (id.party != 1 || id.align != old.config.align || id.start != old.config.start || id.capacity != old.config.capacity[1] ||
                            id.peer_capacity != old.config.capacity[0]))
            e = SMS_EPARTY;
        sms_unlock(old.fd, 2);
        if (lives && e == SMS_OK) {
            sms_stream *s = NULL;
            sms_region copy = old;
            sms_err ignored;
            s = (sms_stream *)malloc(sizeof *s);
            e = s == NULL ? SMS_ESYSTEM : sms_attach(s, old.map[0], old.len[0], old.map[1], old.len[1]);
            free(s);
            if (e == SMS_OK) {
                sms_say(&old, SMS_ACCEPTED);
                s = sms_region_stream(&copy, l->address.text, &ignored);
                if (s != NULL)
                    return s;
                continue;
            }
        }
        /* A bad connector costs that connector. */
        sms_say(&old, SMS_STATE_REFUSED | 4u << 8);
        sms_region_free(&old);
    }
}

#define SMS_LOCK_LEN 24

/* What a lock file says: a mark that no text begins with, and which socket was bound. */
SMS_API void sms_lock_record(uint8_t *record, uint64_t device, uint64_t inode) {
    static const uint8_t mark[8] = {0x89, 'S', 'M', 'L', '\r', '\n', 0x1a, '\n'};
    memcpy(record, mark, 8);
    memcpy(record + 8, &device, 8);
    memcpy(record + 16, &inode, 8);
}

/* Locks the lock file that is there. 1: done, and *left has what it says. 0: look again. */
SMS_API int sms_hold_lock(sms_listener *l, int fd, const char *name, sms_err *err) {
    struct stat st, now;
    uint8_t record[SMS_LOCK_LEN + 1], mark[SMS_LOCK_LEN];
    int e;
    sms_lock_record(mark, 0, 0);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || pread(fd, record, sizeof record, 0) != SMS_LOCK_LEN ||
        memcmp(record, mark, 8) != 0)
        return sms_fail(err, SMS_EINUSE, 0, "%.200s.lock is a file of another program", l->address.text);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        e = errno;
        return e == EWOULDBLOCK ? sms_fail(err, SMS_EINUSE, 0, "%.200s", l->address.text)
                                : sms_fail(err, SMS_ESYSTEM, e, "%.200s: cannot lock its lock file", l->address.text);
    }
    /* Its last holder removes it before it gives the lock up. Then this is the lock of nothing. */
    if (lstat(name, &now) < 0 || now.st_dev != st.st_dev || now.st_ino != st.st_ino || pread(fd, record, sizeof record, 0) != SMS_LOCK_LEN)
        return 0;
    memcpy(&l->left_device, record + 8, 8);
    memcpy(&l->left_inode, record + 16, 8);
    l->left_at = now.st_mtim;
    l->left = true;
    return 1;
}

/* Locks a file that no other process knows, and writes what the lock file of no socket yet says. 0, or errno. */
SMS_API int sms_complete_lock(int fd) {
    uint8_t record[SMS_LOCK_LEN];
    ssize_t n;
    sms_lock_record(record, 0, 0);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno;
    do
        n = pwrite(fd, record, sizeof record, 0);
    while (n < 0 && errno == EINTR);
    return n == SMS_LOCK_LEN ? 0 : n < 0 ? errno : ENOSPC;
}

/* Makes the lock file under a name of chance, where files must have one. 0, or errno. A process that is killed here leaves that file. */
SMS_API int sms_make_named_lock(const char *directory, const char *name, int *lock) {
    char first[PATH_MAX + 64];
    int fd, e;
    (void)snprintf(first, sizeof first, "%s/.smstream-%016llx.lock", directory, (unsigned long long)sms_channel_number());
    fd = open(first, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    e = sms_complete_lock(fd);
    /* In one step, for with two names it would be no lock file; where the file system cannot do that, in two. */
    if (e == 0 && syscall(SYS_renameat2, AT_FDCWD, first, AT_FDCWD, name, 1 /* RENAME_NOREPLACE */) < 0)
        e = errno;
    if (e == EINVAL || e == ENOSYS)
        e = link(first, name) < 0 ? errno : unlink(first) < 0 ? errno : 0;
    if (e != 0) {
        (void)unlink(first);
        (void)close(fd);
        return e;
    }
    *lock = fd;
    return 0;
}

/* Makes the lock file, which gets its name when it is complete and locked. Before that it has none, so that a process that is killed here leaves
 * nothing. 1: done. 0: another has the name by now. */
SMS_API int sms_make_lock(sms_listener *l, const char *name, sms_err *err) {
    char directory[PATH_MAX + 8], number[64];
    const char *slash = strrchr(name, '/');
    int fd, e;
    (void)snprintf(directory, sizeof directory, "%.*s", slash == NULL ? 1 : slash == name ? 1 : (int)(slash - name), slash == NULL ? "." : name);
    fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)snprintf(number, sizeof number, "/proc/self/fd/%d", fd);
        e = sms_complete_lock(fd);
        if (e == 0 && linkat(AT_FDCWD, number, AT_FDCWD, name, AT_SYMLINK_FOLLOW) < 0)
            e = errno;
        /* Without /proc. Newer kernels allow this to the process that opened the file. */
        if (e == ENOENT)
            e = linkat(fd, "", AT_FDCWD, name, AT_EMPTY_PATH) < 0 ? errno : 0;
        if (e != 0)
            (void)close(fd);
        if (e == ENOENT)
            e = sms_make_named_lock(directory, name, &fd);
    } else {
        e = errno;
        /* A file system that has no files without a name. */
        if (e == EISDIR || e == EOPNOTSUPP || e == EINVAL)
            e = sms_make_named_lock(directory, name, &fd);
    }
    if (e != 0)
        return e == EEXIST ? 0 : sms_fail(err, SMS_ESYSTEM, e, "%.200s: cannot make its lock file", l->address.text);
    l->lock = fd;
    return 1;
}

/* S, to listen: takes the lock that stands for the right to the path. */
SMS_API int sms_take_lock(sms_listener *l, sms_err *err) {
    char name[PATH_MAX + 8];
    (void)snprintf(name, sizeof name, "%s.lock", l->address.path);
    for (;;) {
        int fd = open(name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), e;
        if (fd < 0 && errno == ENOENT) {
            e = sms_make_lock(l, name, err);
        } else if (fd < 0) {
            e = errno == ELOOP || errno == EISDIR || errno == ENXIO
                    ? sms_fail(err, SMS_EINUSE, 0, "%.200s.lock is of another program", l->address.text)
                    : sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot open its lock file", l->address.text);
        } else {
            e = sms_hold_lock(l, fd, name, err);
            if (e == 1)
                l->lock = fd;
            else
                (void)close(fd);
        }
        if (e != 0)
            return e < 0 ? e : SMS_OK;
    }
}

/* Whether a socket is one that the listener bound whose lock file was left. */
SMS_API bool sms_lock_names(const sms_listener *l, const struct stat *socket) {
    if (!l->left)
        return false;
    if (l->left_device != 0 || l->left_inode != 0)
        return l->left_device == (uint64_t)socket->st_dev && l->left_inode == (uint64_t)socket->st_ino;
    /* It was killed between binding the socket and writing that down. */
    return socket->st_ctim.tv_sec > l->left_at.tv_sec || (socket->st_ctim.tv_sec == l->left_at.tv_sec && socket->st_ctim.tv_nsec >= l->left_at.tv_nsec);
}

SMS_API void sms_drop_lock(sms_listener *l) {
    char name[PATH_MAX + 8];
    struct stat st, now;
    if (l->lock < 0)
        return;
    (void)snprintf(name, sizeof name, "%s.lock", l->address.path);
    if (fstat(l->lock, &st) == 0 && lstat(name, &now) == 0 && st.st_dev == now.st_dev && st.st_ino == now.st_ino)
        (void)unlink(name);
    (void)close(l->lock);
    l->lock = -1;
}

SMS_API int sms_watch(sms_listener *l, int fd) {
    struct epoll_event ev;
    memset(&ev, 0, sizeof ev);
    ev.events = EPOLLIN;
    ev.data.fd = fd;
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev);
}

SMS_API int sms_socket_listen(sms_listener *l, sms_err *err) {
    struct sockaddr_un at;
    struct stat st;
    socklen_t len = sms_socket_address(&l->address, &at);
    const char *text = l->address.text;
    uint8_t record[SMS_LOCK_LEN];
    int e, tries;
    if (!sms_fits_socket(&l->config))
        return sms_fail(err, sms_check_config(&l->config) < 0 ? sms_check_config(&l->config) : SMS_ECAPACITY, 0, "%.200s: such a channel cannot be", text);
    if (!l->address.abstract_name && (e = sms_take_lock(l, err)) < 0)
        return e;
    l->socket = sms_socket_new();
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l->socket < 0 || l->epoll < 0 || fchmod(l->socket, 0600) < 0)
        return sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot make a socket", text);
    for (tries = 0; bind(l->socket, (struct sockaddr *)&at, len) < 0; tries++) {
        int probe, refused;
        if (errno != EADDRINUSE)
            return sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot give the socket its name", text);
        if (l->address.abstract_name || tries > 100)
            return sms_fail(err, SMS_EINUSE, 0, "%.200s", text);
        if (lstat(l->address.path, &st) < 0)
            continue;
        probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        refused = S_ISSOCK(st.st_mode) && st.st_uid == geteuid() && probe >= 0 && connect(probe, (struct sockaddr *)&at, len) < 0 && errno == ECONNREFUSED;
        if (probe >= 0)
            (void)close(probe);
        if (!refused || !sms_lock_names(l, &st) || !sms_name_is(AT_FDCWD, l->address.path, st.st_dev, st.st_ino))
            return sms_fail(err, SMS_EINUSE, 0, "%.200s", text);
        (void)unlink(l->address.path);
    }
    if (!l->address.abstract_name) {
        if (lstat(l->address.path, &st) < 0)
            return sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot look at the socket", text);
        l->device = st.st_dev;
        l->inode = st.st_ino;
        sms_lock_record(record, (uint64_t)st.st_dev, (uint64_t)st.st_ino);
        if (pwrite(l->lock, record, sizeof record, 0) != SMS_LOCK_LEN)
            return sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot write its lock file", text);
        if ((l->options.allow_any || l->options.allowed != 0) && chmod(l->address.path, 0666) < 0)
            return sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot let other users connect", text);
    }
    if (listen(l->socket, 4096) < 0 || sms_watch(l, l->socket) < 0)
        return sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot listen", text);
    return SMS_OK;
}

SMS_API void sms_pending_drop(sms_pending *p) {
    sms_memory_free(&p->own);
    if (p->socket >= 0)
        (void)close(p->socket);
    p->socket = -1;
}

SMS_API void sms_pending_refuse(sms_pending *p, uint32_t reason) {
    sms_message m = sms_message_new(SMS_M_REFUSED);
    m.word[14] = reason;
    (void)sms_send(p->socket, &m, -1);
    sms_pending_drop(p);
}

/* One message of one connector. Returns the stream when the two have met. */
SMS_API sms_stream *sms_pending_hear(sms_listener *l, sms_pending *p, const sms_message *m, sms_came *came) {
    sms_err ignored;
    sms_stream *s;
    void *map;
    size_t len;
    int e, problem, socket;
    sms_message answer;
    if (!came->has_sender) {
        sms_pending_refuse(p, 5);
        return NULL;
    }
    if (!sms_is_allowed(&l->options, came->sender.uid)) {
        sms_pending_refuse(p, 2);
        return NULL;
    }
    if (m->word[3] == SMS_M_HELLO && !p->welcomed) {
        bool fits;
        if (m->word[4] > SMS_LAYOUT_VERSION || m->word[5] < SMS_LAYOUT_VERSION) {
            sms_pending_refuse(p, 1);
            return NULL;
        }
        p->config = l->config;
        if (p->config.capacity[0] > m->word[8] || p->config.capacity[1] > m->word[8]) {
            sms_pending_refuse(p, 3);
            return NULL;
        }
        fits = (m->word[6] & (SMS_PROPOSES | SMS_WANTS_SIGNAL)) == SMS_PROPOSES && m->word[7] == SMS_LAYOUT_VERSION && m->word[10] == p->config.align &&
               m->word[11] == p->config.start && (m->word[12] | m->word[13]) != 0 && m->word[14] == p->config.capacity[0] && m->word[15] == p->config.capacity[1];
        if (fits) {
            p->config.channel = (uint64_t)m->word[13] << 32 | m->word[12];
            e = came->fds == 1 ? sms_memory_map(came->fd, &p->config, 1, &map, &len, &problem) : SMS_EMEMORY;
            if (e < 0) {
                sms_pending_refuse(p, e == SMS_EMEMORY ? 4 : 6);
                return NULL;
            }
            answer = sms_message_new(SMS_M_ACCEPTED);
            if (sms_memory_make(&p->own, &p->config, 0) < 0 || sms_send(p->socket, &answer, p->own.fd) < 0) {
                (void)munmap(map, len);
                sms_pending_refuse(p, 6);
                return NULL;
            }
            socket = p->socket;
            p->socket = -1;
            (void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, socket, NULL);
            s = sms_met(socket, &p->own, map, len, l->address.text, &ignored);
            p->own.fd = -1;
            p->own.map = NULL;
            return s;
        }
        p->config.channel = sms_channel_number();
        answer = sms_message_new(SMS_M_WELCOME);
        answer.word[6] = SMS_COUNTERS | (p->config.records ? SMS_RECORDS : 0);
        answer.word[7] = SMS_LAYOUT_VERSION;
        answer.word[8] = p->config.capacity[0];
        answer.word[9] = p->config.capacity[1];
        answer.word[10] = p->config.align;
        answer.word[11] = p->config.start;
        answer.word[12] = (uint32_t)p->config.channel;
        answer.word[13] = (uint32_t)(p->config.channel >> 32);
        if (sms_memory_make(&p->own, &p->config, 0) < 0 || sms_send(p->socket, &answer, p->own.fd) < 0) {
            sms_pending_refuse(p, 6);
            return NULL;
        }
        p->welcomed = true;
        p->first = came->sender;
        return NULL;
    }
    if (m->word[3] == SMS_M_SEGMENT && p->welcomed) {
        if (came->sender.pid != p->first.pid || came->sender.uid != p->first.uid) {
            sms_pending_refuse(p, 5);
            return NULL;
        }
        e = came->fds == 1 ? sms_memory_map(came->fd, &p->config, 1, &map, &len, &problem) : SMS_EMEMORY;
        if (e < 0) {
            sms_pending_refuse(p, e == SMS_EMEMORY ? 4 : 6);
            return NULL;
        }
        /* S8: the whole attaching, before ACCEPTED. */
        s = (sms_stream *)malloc(sizeof *s);
        e = s == NULL ? SMS_ESYSTEM : sms_attach(s, p->own.map, p->own.len, map, len);
        free(s);
        answer = sms_message_new(SMS_M_ACCEPTED);
        if (e < 0 || sms_send(p->socket, &answer, -1) < 0) {
            (void)munmap(map, len);
            sms_pending_refuse(p, e == SMS_ESYSTEM ? 6 : 4);
            return NULL;
        }
        socket = p->socket;
        p->socket = -1;
        (void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, socket, NULL);
        s = sms_met(socket, &p->own, map, len, l->address.text, &ignored);
        p->own.fd = -1;
        p->own.map = NULL;
        return s;
    }
    sms_pending_refuse(p, 5);
    return NULL;
}

/* All that one connector has said. */
SMS_API sms_stream *sms_pending_advance(sms_listener *l, sms_pending *p) {
    while (p->socket >= 0) {
        uint8_t bytes[SMS_MESSAGE_LEN + 1];
        sms_message m;
        sms_came came;
        sms_stream *s;
        int n = sms_receive(p->socket, bytes, sizeof bytes, &came);
        if (n == 0)
            break;
        if (n == SMS_EAGAIN)
            continue;
        if (n < 0) {
            sms_pending_drop(p);
            break;
        }
        if (came.cut && came.fds == 0) {
            sms_pending_refuse(p, 6);
            break;
        }
        if (sms_message_parse(bytes, came.len, &m) < 0) {
            sms_drop_fd(&came);
            sms_pending_refuse(p, 5);
            break;
        }
        s = sms_pending_hear(l, p, &m, &came);
        sms_drop_fd(&came);
        if (s != NULL)
            return s;
    }
    return NULL;
}

/* A place for one more: a free one, or that of the oldest connector past its grace period (S13). */
SMS_API sms_pending *sms_pending_place(sms_listener *l) {
    sms_pending *oldest = NULL;
    uint64_t now = sms_now_us();
    int i;
    for (i = 0; i < SMS_PENDING; i++) {
        sms_pending *p = &l->pending[i];
        if (p->socket < 0)
            return p;
        if (oldest == NULL || p->came < oldest->came)
            oldest = p;
    }
    if (oldest->came + SMS_GRACE_US > now)
        return NULL;
    sms_pending_refuse(oldest, 6);
    return oldest;
}

/* One look at all of them. NULL with SMS_EAGAIN: none is ready. */
SMS_API sms_stream *sms_socket_accept(sms_listener *l, sms_err *err) {
    sms_pending *p;
    uint64_t now = sms_now_us();
    int i;
    for (i = 0; i < SMS_PENDING; i++) {
        sms_stream *s;
        p = &l->pending[i];
        if (p->socket < 0)
            continue;
        s = sms_pending_advance(l, p);
        if (s != NULL)
            return s;
        if (p->socket >= 0 && now > p->came && now - p->came > (uint64_t)l->options.handshake_ms * 1000u)
            sms_pending_refuse(p, 5);
    }
    while ((p = sms_pending_place(l)) != NULL) {
        sms_stream *s;
        int fd = accept4(l->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            if (errno == EAGAIN)
                break;
            (void)sms_fail(err, SMS_ESYSTEM, errno, "%.200s: cannot accept", l->address.text);
            return NULL;
        }
        memset(p, 0, sizeof *p);
        p->socket = fd;
        p->own.fd = -1;
        p->came = sms_now_us();
        if (sms_watch(l, fd) < 0) {
            sms_pending_refuse(p, 6);
            continue;
        }
        s = sms_pending_advance(l, p);
        if (s != NULL)
            return s;
    }
    (void)sms_fail(err, SMS_EAGAIN, 0, "%.200s", l->address.text);
    return NULL;
}

/* Stops listening, removes the name, and frees the listener. Connectors that wait find it gone. */
SMS_API void sms_listener_close(sms_listener *l) {
    int i;
    bool mine;
    if (l == NULL)
        return;
    /* A forked child has a copy; the name is the parent's. */
    mine = l->pid == getpid();
    if (l->region.fd >= 0) {
        if (mine && l->base != NULL && sms_name_is(l->directory, l->base, l->region.device, l->region.inode))
            (void)unlinkat(l->directory, l->base, 0);
        if (mine)
            sms_unlock(l->region.fd, 2);
        sms_region_free(&l->region);
    }
    if (l->directory >= 0)
        (void)close(l->directory);
    for (i = 0; i < SMS_PENDING; i++)
        if (l->pending[i].socket >= 0)
            sms_pending_drop(&l->pending[i]);
    if (l->socket >= 0)
        (void)close(l->socket);
    if (l->epoll >= 0)
        (void)close(l->epoll);
    if (mine && l->inode != 0 && sms_name_is(AT_FDCWD, l->address.path, l->device, l->inode))
        (void)unlink(l->address.path);
    if (mine)
        sms_drop_lock(l);
    else if (l->lock >= 0)
        (void)close(l->lock);
    free(l);
}

/* Listens at an address. A name whose listener has died is taken over. options may be NULL. */
SMS_API sms_listener *sms_listen(const char *address, const sms_options *options, sms_err *err) {
    sms_listener *l = (sms_listener *)calloc(1, sizeof *l);
    int i, e;
    if (l == NULL) {
        (void)sms_fail(err, SMS_ESYSTEM, ENOMEM, "%.200s", address);
        return NULL;
    }
    l->directory = l->socket = l->epoll = l->lock = -1;
    l->pid = getpid();
    sms_region_clear(&l->region);
    for (i = 0; i < SMS_PENDING; i++) {
        l->pending[i].socket = -1;
        l->pending[i].own.fd = -1;
    }
    l->options = options != NULL ? *options : sms_options_default();
    l->config = sms_config_of(&l->options);
    e = sms_parse(address, &l->address, err);
    if (e == SMS_OK && (e = sms_check_config(&l->config)) < 0)
        (void)sms_fail(err, e, 0, "%.200s: such a channel cannot be", address);
    if (e == SMS_OK && l->address.kind == SMS_KIND_FD)
        e = sms_fail(err, SMS_EADDRESS, 0, "%.200s: one connects to a descriptor and does not listen there", address);
    if (e == SMS_OK)
        e = l->address.kind == SMS_KIND_FILE ? sms_file_listen(l, err) : sms_socket_listen(l, err);
    if (e == SMS_OK)
        return l;
    sms_listener_close(l);
    return NULL;
}

/* To poll: readable when sms_accept has something to do. SMS_ENOFD at a file. */
SMS_API int sms_listener_fd(const sms_listener *l) { return l->epoll >= 0 ? l->epoll : SMS_ENOFD; }

/* Waits for a connector and accepts it. What is wrong with a connector ends that connector's rendezvous and nothing else. NULL: the timeout
 * (SMS_ETIMEDOUT; SMS_EAGAIN if it was 0), SMS_ENAMELOST, or what the system said; then it can be called again. */
SMS_API sms_stream *sms_accept(sms_listener *l, int timeout_ms, sms_err *err) {
    uint64_t deadline = sms_deadline(timeout_ms), looked = 0;
    sms_err local;
    if (err == NULL)
        err = &local;
    for (;;) {
        bool file = l->address.kind == SMS_KIND_FILE;
        sms_stream *s = file ? sms_file_accept(l, err) : sms_socket_accept(l, err);
        uint64_t now = sms_now_us(), left;
        if (s != NULL || err->code != SMS_EAGAIN || timeout_ms == 0)
            return s;
        if (now >= deadline) {
            (void)sms_fail(err, SMS_ETIMEDOUT, 0, "%.200s: no process connects", l->address.text);
            return NULL;
        }
        left = deadline - now;
        if (file) {
            sms_futex_wait(sms_heard(&l->region), 0, left < SMS_SLICE_US ? left : SMS_SLICE_US);
            if (now - looked > 1000000) {
                looked = now;
                if (!sms_name_is(l->directory, l->base, l->region.device, l->region.inode)) {
                    (void)sms_fail(err, SMS_ENAMELOST, 0, "%.200s", l->address.text);
                    return NULL;
                }
            }
        } else {
            struct epoll_event ev[1];
            (void)epoll_wait(l->epoll, ev, 1, left / 1000 > 50 ? 50 : (int)(left / 1000 + 1));
        }
    }
}

/* The effective user of the process that took part in the rendezvous over a socket: 1 and *who, or SMS_ENOFD. */
SMS_API int sms_peer_credentials(const sms_stream *s, struct ucred *who) {
    socklen_t len = sizeof *who;
    if (s->socket < 0)
        return SMS_ENOFD;
    return getsockopt(s->socket, SOL_SOCKET, SO_PEERCRED, who, &len) < 0 ? SMS_ESYSTEM : 1;
}

#ifdef __cplusplus
}
#endif
#endif /* SMSTREAM_H */
