//! C, by libc's own functions: theirs creates and ours uses, and the other way round.

use super::tools::{Name, Program, start};
use smstream_shm::memory::SharedMemory;
use smstream_shm::posix::{Semaphore, SharedObject};
use std::io::{Read, Write};
use std::time::Duration;

/// `program create|map|read NAME`, and `program post|wait NAME` by the rules that the semaphore's documentation has.
const C: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct semaphore { _Atomic uint32_t value, waiters; };

static long futex(_Atomic uint32_t *word, int op, uint32_t value) {
    return syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}
static void wake(struct semaphore *s) {
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&s->waiters)) futex(&s->value, FUTEX_WAKE, 1);
}
static void post(struct semaphore *s) { atomic_fetch_add(&s->value, 1); wake(s); }
static int take(struct semaphore *s) {
    uint32_t v = atomic_load(&s->value);
    while (v) if (atomic_compare_exchange_weak(&s->value, &v, v - 1)) return 1;
    return 0;
}
static void wait_for(struct semaphore *s) {
    if (take(s)) return;
    atomic_fetch_add(&s->waiters, 1);
    while (!take(s)) futex(&s->value, FUTEX_WAIT, 0);
    atomic_fetch_sub(&s->waiters, 1);
    if (atomic_load(&s->value)) wake(s);
}
static int fail(const char *what) { perror(what); return 1; }

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    const char *what = argv[1], *name = argv[2];
    int creates = !strcmp(what, "create");
    int fd = shm_open(name, creates ? O_RDWR | O_CREAT | O_EXCL : O_RDWR, 0600);
    if (fd < 0) return fail("shm_open");
    if (creates && ftruncate(fd, 4096)) return fail("ftruncate");
    struct stat st;
    if (fstat(fd, &st)) return fail("fstat");
    if (!strcmp(what, "read")) {
        char block[8];
        ssize_t n;
        while ((n = read(fd, block, sizeof block)) > 0) fwrite(block, 1, (size_t)n, stdout);
        return n < 0 ? fail("read") : 0;
    }
    char *memory = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return fail("mmap");
    close(fd);
    if (creates) strcpy(memory, "from C");
    else if (!strcmp(what, "map")) { printf("%lld %s", (long long)st.st_size, memory); strcpy(memory, "C was here"); }
    else if (!strcmp(what, "post")) for (int i = 0; i < 1000; i++) { post((void *)memory); wait_for((void *)(memory + 8)); }
    else if (!strcmp(what, "wait")) for (int i = 0; i < 1000; i++) { wait_for((void *)memory); post((void *)(memory + 8)); }
    else return 2;
    return 0;
}
"#;

fn run(program: &Program, what: &str, name: &Name) -> String {
    let output = program.run(&[what, name.as_ref()]);
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn objects_are_the_same_for_c() {
    let program = Program::compile(C);
    // Theirs creates, ours maps, reads and removes.
    let theirs = Name::new();
    run(&program, "create", &theirs);
    let mut object = SharedObject::options().read(true).write(true).open(&theirs).unwrap();
    assert_eq!(object.len().unwrap(), 4096);
    let mut bytes = [0; 7];
    object.map().unwrap().copy_out(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"from C\0");
    object.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"from C\0");
    SharedObject::unlink(&theirs).unwrap();
    assert!(!program.run(&["map", theirs.as_ref()]).status.success());

    // Ours creates, theirs maps and reads.
    let ours = Name::new();
    let mut object = SharedObject::create_sized(&ours, 1000).unwrap();
    object.write_all(b"Hello, world!\0").unwrap();
    assert_eq!(run(&program, "map", &ours), "1000 Hello, world!");
    let memory = object.map().unwrap();
    let mut bytes = [0; 10];
    memory.copy_out(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"C was here");
    memory.copy_in(0, b"read by descriptor").unwrap();
    object.set_len(18).unwrap();
    assert_eq!(run(&program, "read", &ours), "read by descriptor");
    assert!(!program.run(&["create", ours.as_ref()]).status.success(), "O_EXCL");
}

/// The protocol of the semaphore is written down well enough for C.
#[test]
fn c_posts_and_waits() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let program = Program::compile(C);
    for theirs_posts in [true, false] {
        let name = Name::new();
        let memory = SharedObject::create_sized(&name, 4096).unwrap().map().unwrap();
        let there = Semaphore::at(&memory, 0).unwrap();
        let back = Semaphore::at(&memory, Semaphore::SIZE).unwrap();
        let mut child = start(program.command(&[if theirs_posts { "post" } else { "wait" }, name.as_ref()]));
        for turn in 0..1000 {
            if theirs_posts {
                assert!(there.wait_timeout(PATIENCE), "turn {turn}");
                back.post().unwrap();
            } else {
                there.post().unwrap();
                assert!(back.wait_timeout(PATIENCE), "turn {turn}");
            }
        }
        assert!(child.0.wait().unwrap().success());
        assert_eq!((there.value(), back.value()), (0, 0));
    }
}
