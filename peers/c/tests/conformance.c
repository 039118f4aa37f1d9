/* Runs the conformance kit: every vector and every case. usage: conformance [FOLDER] */
/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "smstream.h"

static int done, wrong;

static void expect(bool good, const char *file, const char *line, const char *came) {
    done++;
    if (!good) {
        wrong++;
        printf("%s: %s: %s\n", file, line, came);
    }
}

static FILE *open_file(const char *folder, const char *name) {
    char path[PATH_MAX];
    FILE *f;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "re");
    if (f == NULL) {
        fprintf(stderr, "cannot read %s: %s\n", path, strerror(errno));
        exit(2);
    }
    return f;
}

/* Cuts a line at its semicolons. */
static int fields(char *line, char **field, int most) {
    int n = 0;
    line[strcspn(line, "\n")] = 0;
    for (;;) {
        char *end = strchr(line, ';');
        if (n < most)
            field[n++] = line;
        if (end == NULL)
            return n;
        *end = 0;
        line = end + 1;
    }
}

static uint32_t hex(const char *text) { return (uint32_t)strtoul(text, NULL, 16); }
static uint32_t dec(const char *text) { return (uint32_t)strtoul(text, NULL, 10); }

static void vectors(const char *folder, const char *name, bool (*check)(char **field)) {
    char line[512], copy[512], *field[8];
    FILE *f = open_file(folder, name);
    int rows = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        if (line[0] == '#')
            continue;
        memcpy(copy, line, sizeof copy);
        (void)fields(line, field, 8);
        expect(check(field), name, copy, "another result");
        rows++;
    }
    (void)fclose(f);
    expect(rows > 10, name, "", "too few rows");
}

static bool check_diff(char **f) { return sms_diff(hex(f[0]), hex(f[1])) == hex(f[2]); }
static bool check_crossed(char **f) { return sms_crossed(hex(f[0]), hex(f[1]), hex(f[2]), dec(f[3]) != 0, dec(f[4])) == (dec(f[5]) != 0); }
static bool check_ahead(char **f) { return sms_ahead(hex(f[0]), hex(f[1]), dec(f[2])) == (dec(f[3]) != 0); }
static bool check_threshold(char **f) {
    uint32_t want = dec(f[2]);
    return sms_asleep_at(hex(f[1]), f[0][0] == 'w' ? want - dec(f[3]) : want) == hex(f[4]);
}
static bool check_sent(char **f) { return sms_accept_sent(hex(f[0]), hex(f[1]), hex(f[2]), dec(f[3])) == (dec(f[4]) != 0); }
static bool check_received(char **f) { return sms_accept_received(hex(f[0]), hex(f[1]), hex(f[2])) == (dec(f[4]) != 0); }
static bool check_block(char **f) {
    sms_config c;
    memset(&c, 0, sizeof c);
    c.align = dec(f[0]);
    c.capacity[0] = dec(f[1]);
    c.capacity[1] = dec(f[2]);
    return sms_lane_offset(&c) == dec(f[3]) && sms_second(&c, sms_segment_len(&c, 0)) == (off_t)dec(f[4]) &&
           sms_second(&c, sms_segment_len(&c, 0)) + (off_t)sms_segment_len(&c, 1) == (off_t)strtoull(f[5], NULL, 10);
}

static size_t unhex(const char *text, uint8_t *bytes) {
    size_t n = 0;
    unsigned byte;
    while (sscanf(text + 2 * n, "%2x", &byte) == 1)
        bytes[n++] = (uint8_t)byte;
    return n;
}

/* A segment between pages that nothing may touch. */
typedef struct memory {
    uint8_t *all, *segment;
    size_t all_len, len;
} memory;

static void load(const char *folder, const char *image, const char *patch, memory m[2]) {
    char name[PATH_MAX], line[256], *token, *save = NULL, copy[512];
    size_t limit[2] = {0, 0}, shift[2] = {0, 0};
    FILE *f;
    int segment = -1;
    (void)snprintf(copy, sizeof copy, "%s", patch);
    for (token = strtok_r(copy, " ", &save); token != NULL; token = strtok_r(NULL, " ", &save)) {
        if (strncmp(token, "len", 3) == 0)
            limit[token[3] - '0'] = dec(token + 5);
        else if (strncmp(token, "shift", 5) == 0)
            shift[token[5] - '0'] = dec(token + 7);
    }
    (void)snprintf(name, sizeof name, "images/%s.img", image);
    f = open_file(folder, name);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "segment ", 8) == 0) {
            memory *to = &m[++segment];
            size_t page = sms_page(), pages;
            to->len = limit[segment] != 0 ? limit[segment] : dec(line + 10);
            pages = sms_next_segment(to->len + shift[segment], (uint32_t)page);
            to->all_len = pages + 2 * page;
            to->all = (uint8_t *)mmap(NULL, to->all_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if ((void *)to->all == MAP_FAILED || mprotect(to->all + page, pages, PROT_READ | PROT_WRITE) != 0) {
                perror("mmap");
                exit(2);
            }
            to->segment = to->all + page + ((pages - to->len - shift[segment]) & ~(size_t)127) + shift[segment];
        } else {
            uint8_t bytes[64];
            const char *space = strchr(line, ' ');
            size_t at = (size_t)strtoul(line, NULL, 16), i, n = unhex(space + 1, bytes);
            for (i = 0; i < n && at + i < m[segment].len; i++)
                m[segment].segment[at + i] = bytes[i];
        }
    }
    (void)fclose(f);
    (void)snprintf(copy, sizeof copy, "%s", patch);
    for (token = strtok_r(copy, " ", &save); token != NULL; token = strtok_r(NULL, " ", &save)) {
        if (token[1] == ':') {
            uint32_t word = hex(strchr(token, '=') + 1);
            memcpy(m[token[0] - '0'].segment + hex(token + 2), &word, 4);
        }
    }
}

/* What a step comes to, as text. */
static void step(sms_stream *s, char what, const char *argument, const char *right, uint8_t *mine, uint8_t *peer, char *came, size_t room) {
    uint8_t bytes[8192];
    long n = 0;
    size_t i;
    came[0] = 0;
    switch (what) {
    case 'r':
        n = sms_try_read(s, bytes, dec(argument));
        for (i = 0; n > 0 && i < (size_t)n; i++)
            (void)snprintf(came + 2 * i, room - 2 * i, "%02x", bytes[i]);
        break;
    case 'w':
        i = unhex(argument, bytes);
        n = sms_try_write(s, bytes, i);
        if (n >= 0)
            (void)snprintf(came, room, "%ld", n);
        break;
    case 'R':
        n = sms_try_recv_record(s, bytes, dec(argument));
        for (i = 0; n > 0 && i < (size_t)n; i++)
            (void)snprintf(came + 2 * i, room - 2 * i, "%02x", bytes[i]);
        break;
    case 'W':
        i = unhex(argument, bytes);
        n = sms_try_send_record(s, bytes, i);
        if (n >= 0)
            (void)snprintf(came, room, "%zu", i);
        break;
    case 'f':
        n = sms_shutdown(s, argument[0] == 'w' ? SMS_WRITES : SMS_READS);
        break;
    case 'p':
        sms_store((sms_word *)(void *)(peer + hex(argument)), hex(right));
        (void)snprintf(came, room, "%s", right);
        break;
    case 'm':
        (void)snprintf(came, room, "%08x", (unsigned)sms_load((sms_word *)(void *)(mine + hex(argument))));
        break;
    default:
        (void)snprintf(came, room, "no step");
    }
    if (n < 0)
        (void)snprintf(came, room, "%s", sms_error_name((int)n));
}

static void run_case(const char *folder, char **f) {
    memory m[2];
    sms_stream s;
    int mine = f[4][0] - '0', peer = 1 - mine, e;
    char *token, *save = NULL;
    load(folder, f[2], f[3], m);
    e = sms_attach(&s, m[mine].segment, m[mine].len, m[peer].segment, m[peer].len);
    expect(strcmp(f[5], e == SMS_OK ? "ok" : sms_error_name(e)) == 0, f[0], f[5], sms_error_name(e));
    for (token = e == SMS_OK ? strtok_r(f[6], " ", &save) : NULL; token != NULL; token = strtok_r(NULL, " ", &save)) {
        char came[20000], argument[512], *right;
        (void)snprintf(argument, sizeof argument, "%s", token + 2);
        right = strchr(argument, '=');
        if (right != NULL)
            *right++ = 0;
        else
            right = argument + strlen(argument);
        step(&s, token[0], argument, right, m[mine].segment, m[peer].segment, came, sizeof came);
        expect(strcmp(came, right) == 0, f[0], token, came);
    }
    for (e = 0; e < 2; e++)
        (void)munmap(m[e].all, m[e].all_len);
}

int main(int argc, char **argv) {
    const char *folder = argc > 1 ? argv[1] : "../../tests/conformance";
    char vectors_folder[PATH_MAX], line[4096], *field[8];
    FILE *f;
    int cases = 0;
    (void)snprintf(vectors_folder, sizeof vectors_folder, "%s/vectors", folder);
    vectors(vectors_folder, "diff.csv", check_diff);
    vectors(vectors_folder, "crossed.csv", check_crossed);
    vectors(vectors_folder, "ahead.csv", check_ahead);
    vectors(vectors_folder, "threshold.csv", check_threshold);
    vectors(vectors_folder, "accept_sent.csv", check_sent);
    vectors(vectors_folder, "accept_received.csv", check_received);
    vectors(vectors_folder, "block.csv", check_block);
    f = open_file(folder, "cases.csv");
    while (fgets(line, sizeof line, f) != NULL) {
        if (line[0] == '#')
            continue;
        if (fields(line, field, 8) != 7) {
            expect(false, "cases.csv", line, "not 7 fields");
            continue;
        }
        run_case(folder, field);
        cases++;
    }
    (void)fclose(f);
    expect(cases > 60, "cases.csv", "", "too few cases");
    printf("conformance: %d checks, %d cases, %d wrong\n", done, cases, wrong);
    return wrong != 0;
}
