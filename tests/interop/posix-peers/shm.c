/* A producer and a consumer, by the calls of libc alone.
 *
 *   shm produce NAME   makes an object of 32768 bytes, maps it, and writes "Hello world #0\n" to "Hello world #999\n"
 *   shm consume NAME   reads an object by its descriptor, up to the first NUL byte, and writes it to standard output
 *   shm unlink NAME
 */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 32768, LINES = 1000 };

static int failed(const char *what) {
    perror(what);
    return 1;
}

static int produce(const char *name) {
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0) return failed("shm_open");
    if (ftruncate(fd, SIZE) < 0) return failed("ftruncate");
    char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return failed("mmap");
    if (close(fd) < 0) return failed("close");
    char *at = memory;
    for (int i = 0; i < LINES; i++) at += snprintf(at, (size_t)(memory + SIZE - at), "Hello world #%d\n", i);
    return munmap(memory, SIZE) < 0 ? failed("munmap") : 0;
}

static int consume(const char *name) {
    int fd = shm_open(name, O_RDONLY, 0);
    if (fd < 0) return failed("shm_open");
    char block[512];
    for (;;) {
        ssize_t count = read(fd, block, sizeof block);
        if (count < 0) return failed("read");
        if (count == 0) return 0;
        char *end = memchr(block, 0, (size_t)count);
        size_t text = end ? (size_t)(end - block) : (size_t)count;
        if (fwrite(block, 1, text, stdout) != text) return failed("write");
        if (end) return 0;
    }
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "produce")) return produce(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "consume")) return consume(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "unlink")) return shm_unlink(argv[2]) < 0 ? failed("shm_unlink") : 0;
    fputs("usage: shm produce|consume|unlink NAME\n", stderr);
    return 2;
}
