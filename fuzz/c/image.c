/* The C header on the inputs of the fuzz target `image`: golden images with words that are others, and steps. fuzz/src/image.rs says how
 * an input is read, and what must come of it. As a program: image KIT FILE... prints for each file what came of its steps.
 * With -DFUZZ: libFuzzer's target, which takes the kit's folder from SMSTREAM_KIT. */
/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#define main conformance_main
#include "../../peers/c/tests/conformance.c"
#undef main
#include <dirent.h>

enum { WORDS = SMS_HEADER_LEN / 4, MAX_STEPS = 64, MAX_IMAGES = 64 };

static const char *kit;
static char names[MAX_IMAGES][64];
static int images;

static int by_name(const void *a, const void *b) { return strcmp((const char *)a, (const char *)b); }

static void find_images(void) {
    char folder[PATH_MAX];
    struct dirent *entry;
    DIR *all;
    (void)snprintf(folder, sizeof folder, "%s/images", kit);
    all = opendir(folder);
    if (all == NULL) {
        fprintf(stderr, "cannot read %s: %s\n", folder, strerror(errno));
        exit(2);
    }
    while ((entry = readdir(all)) != NULL && images < MAX_IMAGES) {
        char *dot = strstr(entry->d_name, ".img");
        if (dot != NULL)
            (void)snprintf(names[images++], sizeof names[0], "%.*s", (int)(dot - entry->d_name), entry->d_name);
    }
    (void)closedir(all);
    qsort(names, (size_t)images, sizeof names[0], by_name);
}

/* The rest of an input. Bytes that are missing are 0. */
static const uint8_t *rest;
static size_t left;

static unsigned u8(void) {
    unsigned byte = 0;
    if (left > 0) {
        byte = *rest++;
        left--;
    }
    return byte;
}
static unsigned u16(void) {
    unsigned low = u8();
    return low | u8() << 8;
}
static uint32_t u32(void) {
    uint32_t high = u16();
    return high << 16 | u16();
}
static uint32_t word(void) {
    unsigned code = u8();
    if (code < 64)
        return (uint32_t)1 << (code % 32);
    if (code < 96)
        return code - 64;
    if (code < 128)
        return UINT32_MAX - (code - 96);
    return u32();
}

static void put(char *trace, size_t room, const char *came) {
    size_t len = strlen(trace);
    (void)snprintf(trace + len, room - len, " %s", came);
}

/* What came of an input. */
static void run(const uint8_t *data, size_t len, char *trace, size_t room) {
    static const unsigned looked_at[4] = {0x080, 0x100, 0x180, 0x184};
    memory m[2];
    sms_stream s;
    unsigned flags, image, patches, n, mine, peer;
    rest = data;
    left = len;
    image = u8() % (unsigned)images;
    flags = u8();
    mine = flags & 1;
    peer = 1 - mine;
    patches = flags >> 1 & 7;
    load(kit, names[image], "", m);
    for (n = 0; n < patches; n++) {
        unsigned at = u16();
        uint32_t value = word();
        memcpy(m[at >> 15].segment + 4 * ((at & 0x7fff) % WORDS), &value, 4);
    }
    trace[0] = 0;
    if (sms_attach(&s, m[mine].segment, m[mine].len, m[peer].segment, m[peer].len) != SMS_OK) {
        put(trace, room, "no");
    } else {
        put(trace, room, "ok");
        for (n = 0; left > 0 && n < MAX_STEPS; n++) {
            unsigned code = u8(), of = u8(), i;
            char came[20000], left_text[1024], right_text[16];
            right_text[0] = left_text[0] = 0;
            switch (code % 8) {
            case 0:
            case 1:
                (void)snprintf(left_text, sizeof left_text, "%u", of);
                step(&s, 'r', left_text, "", m[mine].segment, m[peer].segment, came, sizeof came);
                break;
            case 2:
            case 3:
                for (i = 0; i < of; i++)
                    (void)snprintf(left_text + 2 * i, sizeof left_text - 2 * i, "%02x", i);
                step(&s, 'w', left_text, "", m[mine].segment, m[peer].segment, came, sizeof came);
                break;
            case 4:
                step(&s, 'f', of % 2 == 0 ? "w" : "r", "", m[mine].segment, m[peer].segment, came, sizeof came);
                break;
            case 6:
                (void)snprintf(left_text, sizeof left_text, "%x", of % WORDS * 4);
                step(&s, 'm', left_text, "", m[mine].segment, m[peer].segment, came, sizeof came);
                break;
            default:
                (void)snprintf(left_text, sizeof left_text, "%x", code % 8 == 5 ? looked_at[of % 4] : of % WORDS * 4);
                (void)snprintf(right_text, sizeof right_text, "%08x", (unsigned)word());
                step(&s, 'p', left_text, right_text, m[mine].segment, m[peer].segment, came, sizeof came);
            }
            put(trace, room, came);
        }
    }
    for (n = 0; n < 2; n++)
        (void)munmap(m[n].all, m[n].all_len);
}

static char trace[1 << 17];

#ifdef FUZZ
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (images == 0) {
        kit = getenv("SMSTREAM_KIT");
        find_images();
    }
    run(data, len, trace, sizeof trace);
    return 0;
}
#else
int main(int argc, char **argv) {
    int n;
    if (argc < 2)
        return 2;
    kit = argv[1];
    find_images();
    for (n = 2; n < argc; n++) {
        static uint8_t data[1 << 16];
        const char *name = strrchr(argv[n], '/');
        FILE *f = fopen(argv[n], "re");
        size_t len;
        if (f == NULL) {
            fprintf(stderr, "cannot read %s: %s\n", argv[n], strerror(errno));
            return 2;
        }
        len = fread(data, 1, sizeof data, f);
        (void)fclose(f);
        run(data, len, trace, sizeof trace);
        printf("%s%s\n", name == NULL ? argv[n] : name + 1, trace);
    }
    return 0;
}
#endif
