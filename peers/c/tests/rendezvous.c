/* Names, locks, deaths and limits of both rendezvous, between processes. usage: rendezvous FOLDER */
/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "smstream.h"

#include <signal.h>
#include <sys/wait.h>

static sms_err err;
/* A lock belongs to a description, which a child would share. */
static int not_for_children = -1;

static void fail(const char *what) {
    printf("rendezvous: %s (%s: %s)\n", what, sms_error_name(err.code), err.text);
    exit(1);
}
static void need(bool good, const char *what) {
    if (!good)
        fail(what);
}

/* A child that connects, sends a byte and sleeps until it is killed, or returns at once. */
static pid_t child(const char *address, bool sleeps) {
    pid_t pid = fork();
    if (pid == 0) {
        sms_stream *s;
        (void)close(not_for_children);
        s = sms_connect(address, NULL, 10000, &err);
        if (s == NULL || sms_write(s, "x", 1, -1) != 1)
            _exit(3);
        while (sleeps)
            (void)pause();
        sms_close(s);
        _exit(0);
    }
    return pid;
}

static int descriptors(void) {
    int fd, n = 0;
    for (fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void lives_and_deaths(const char *address) {
    sms_listener *l = sms_listen(address, NULL, &err);
    char byte;
    int round, status, before;
    need(l != NULL, "listen");
    need(sms_listen(address, NULL, &err) == NULL && err.code == SMS_EINUSE, "a name in use");
    need(sms_accept(l, 0, &err) == NULL && err.code == SMS_EAGAIN, "no connector");
    need(sms_accept(l, 30, &err) == NULL && err.code == SMS_ETIMEDOUT, "no connector in time");
    before = descriptors();
    for (round = 0; round < 20; round++) {
        bool killed = round % 2 == 0;
        pid_t pid = child(address, killed);
        sms_stream *s = sms_accept(l, 10000, &err);
        need(s != NULL, "accept");
        need(sms_read(s, &byte, 1, 10000) == 1 && byte == 'x', "a byte");
        need(!killed || sms_read(s, &byte, 1, 30) == SMS_ETIMEDOUT, "nothing more in time");
        if (killed) {
            (void)kill(pid, SIGKILL);
            need(sms_read(s, &byte, 1, 10000) == SMS_EPEERGONE, "its death");
            need(sms_write(s, &byte, 1, 10000) == SMS_EPEERGONE, "its death, writing");
        } else {
            need(sms_read(s, &byte, 1, 10000) == 0, "its end");
        }
        sms_close(s);
        (void)waitpid(pid, &status, 0);
        need(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0), "the child");
    }
    need(descriptors() == before, "no descriptor is left open");
    sms_listener_close(l);
    need(sms_connect(address, NULL, 100, &err) == NULL && err.code == SMS_ENOLISTENER, "no listener any more");
}

/* A listener that is killed leaves its name; the next one takes it over. */
static void takes_over(const char *address, bool is_file) {
    int status, ready[2];
    pid_t pid;
    char byte;
    sms_listener *l;
    need(pipe(ready) == 0, "a pipe");
    pid = fork();
    if (pid == 0) {
        if (sms_listen(address, NULL, &err) == NULL || write(ready[1], "x", 1) != 1)
            _exit(3);
        for (;;)
            (void)pause();
    }
    need(read(ready[0], &byte, 1) == 1, "the child listens");
    need(sms_listen(address, NULL, &err) == NULL && err.code == SMS_EINUSE, "in use while it lives");
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    need(sms_connect(address, NULL, 1000, &err) == NULL && (err.code == SMS_ELISTENERDIED || err.code == SMS_ENOLISTENER), "a dead listener");
    l = sms_listen(address, NULL, &err);
    need(l != NULL, "take the name over");
    pid = child(address, false);
    {
        sms_stream *s = sms_accept(l, 10000, &err);
        need(s != NULL && sms_read(s, &byte, 1, 1000) == 1, "accept after taking over");
        sms_close(s);
    }
    (void)waitpid(pid, &status, 0);
    sms_listener_close(l);
    (void)close(ready[0]);
    (void)close(ready[1]);
    (void)is_file;
}

static void write_file(const char *path, const char *text, size_t len) {
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    need(fd >= 0 && write(fd, text, len) == (ssize_t)len, "a file");
    (void)close(fd);
}

/* Files of other programs are not replaced, even if they begin as a region does. */
static void foreign_files(const char *folder) {
    char path[PATH_MAX], address[PATH_MAX + 8], copy[4 * PATH_MAX];
    struct stat st;
    sms_listener *l;
    (void)snprintf(path, sizeof path, "%s/foreign", folder);
    (void)snprintf(address, sizeof address, "file:%s", path);
    write_file(path, "smstream: some log\n", 19);
    need(sms_listen(address, NULL, &err) == NULL && err.code == SMS_EINUSE, "a text in the way");
    need(sms_connect(address, NULL, 100, &err) == NULL && err.code == SMS_ENOREGION, "a text is no region");
    write_file(path, (const char *)sms_magic(), 8);
    need(sms_listen(address, NULL, &err) == NULL && err.code == SMS_EINUSE, "the magic alone");
    (void)unlink(path);
    /* A copy of a region has another inode number. */
    l = sms_listen(address, NULL, &err);
    need(l != NULL, "listen");
    (void)snprintf(copy, sizeof copy, "cp %s %s.copy && chmod 600 %s.copy", path, path, path);
    need(system(copy) == 0, "cp");
    (void)snprintf(copy, sizeof copy, "file:%s.copy", path);
    need(sms_listen(copy, NULL, &err) == NULL && err.code == SMS_EINUSE, "a copy of a region");
    need(sms_connect(copy, NULL, 100, &err) == NULL && err.code == SMS_ELISTENERDIED, "a copy has no listener");
    need(stat(copy + 5, &st) == 0, "the copy is there");
    (void)unlink(copy + 5);
    /* Its own name is taken away. */
    (void)unlink(path);
    need(sms_accept(l, 3000, &err) == NULL && err.code == SMS_ENAMELOST, "a name that is lost");
    sms_listener_close(l);
}

/* Lock files and sockets of other programs stay. */
static void foreign_sockets(const char *folder) {
    char path[PATH_MAX], lock[PATH_MAX + 8], address[PATH_MAX + 8];
    struct sockaddr_un at;
    struct stat st;
    sms_listener *l;
    int fd;
    (void)snprintf(path, sizeof path, "%s/s", folder);
    (void)snprintf(lock, sizeof lock, "%s.lock", path);
    (void)snprintf(address, sizeof address, "unix:%s", path);
    write_file(lock, "4711\n", 5);
    need(sms_listen(address, NULL, &err) == NULL && err.code == SMS_EINUSE, "a lock file of another program");
    need(stat(lock, &st) == 0 && st.st_size == 5, "it stays");
    (void)unlink(lock);
    /* A dead socket that no lock file names. */
    memset(&at, 0, sizeof at);
    at.sun_family = AF_UNIX;
    need(strlen(path) < sizeof at.sun_path, "a short path");
    memcpy(at.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    need(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0, "a socket");
    (void)close(fd);
    need(sms_listen(address, NULL, &err) == NULL && err.code == SMS_EINUSE, "a socket of another program");
    need(lstat(path, &st) == 0 && lstat(lock, &st) < 0, "it stays, and no lock file does");
    (void)unlink(path);
    l = sms_listen(address, NULL, &err);
    need(l != NULL && stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "a socket for this user only");
    sms_listener_close(l);
}

/* A connector claims a region and hangs, or says nonsense: others come through. */
static void claims(const char *folder) {
    char path[PATH_MAX], address[PATH_MAX + 8], byte;
    sms_listener *l;
    pid_t pid;
    int fd, status;
    sms_stream *s;
    sms_region old;
    (void)snprintf(path, sizeof path, "%s/claims", folder);
    (void)snprintf(address, sizeof address, "file:%s", path);
    l = sms_listen(address, NULL, &err);
    need(l != NULL, "listen");
    fd = open(path, O_RDWR | O_CLOEXEC);
    need(fd >= 0 && sms_try_lock(fd, 1) == 1, "claim");
    not_for_children = fd;
    pid = child(address, false);
    not_for_children = -1;
    need(sms_accept(l, 100, &err) == NULL && err.code == SMS_ETIMEDOUT, "the claim is in the way");
    (void)close(fd);
    s = sms_accept(l, 10000, &err);
    need(s != NULL && sms_read(s, &byte, 1, 1000) == 1, "after the claim was let go");
    sms_close(s);
    (void)waitpid(pid, &status, 0);
    /* HELLO with a segment that is none: REFUSED, and the next one comes through. */
    need(sms_file_claim(l->directory, l->base, &old, address, &err) == 1, "claim");
    (void)sms_init(old.map[0], old.len[0], &old.config, 1);
    sms_store(&((sms_header *)old.map[0])->capacity, 3);
    sms_say(&old, SMS_HELLO_SAID);
    pid = child(address, false);
    s = sms_accept(l, 10000, &err);
    need(s != NULL && sms_read(s, &byte, 1, 1000) == 1, "after a bad connector");
    need((sms_load(sms_heard(&old)) & 0xff) == SMS_STATE_REFUSED, "a bad connector is refused");
    sms_close(s);
    sms_region_free(&old);
    (void)waitpid(pid, &status, 0);
    sms_listener_close(l);
}

/* F12: a connector claims a region, says nothing and does not let go. Others come through all the same. */
static void silent_claim(const char *folder) {
    char path[PATH_MAX], address[PATH_MAX + 8], byte;
    sms_options options = sms_options_default();
    sms_listener *l;
    sms_stream *s;
    pid_t pid;
    int fd, status;
    (void)snprintf(path, sizeof path, "%s/silent", folder);
    (void)snprintf(address, sizeof address, "file:%s", path);
    options.handshake_ms = 100;
    l = sms_listen(address, &options, &err);
    need(l != NULL, "listen");
    fd = open(path, O_RDWR | O_CLOEXEC);
    need(fd >= 0 && sms_try_lock(fd, 1) == 1, "claim");
    not_for_children = fd;
    pid = child(address, false);
    not_for_children = -1;
    s = sms_accept(l, 10000, &err);
    need(s != NULL && sms_read(s, &byte, 1, 1000) == 1, "past a claim that says nothing");
    need(!sms_is_held(fd, 0) && !sms_is_held(fd, 2), "the claimed region was let go");
    sms_close(s);
    (void)waitpid(pid, &status, 0);
    (void)close(fd);
    sms_listener_close(l);
}

/* SMS_READS and SMS_WRITES by poll. */
static void polls(const char *address) {
    sms_listener *l = sms_listen(address, NULL, &err);
    static uint8_t bytes[1 << 20];
    pid_t pid;
    sms_stream *s;
    int status;
    size_t sent = 0, got = 0;
    need(l != NULL, "listen");
    pid = fork();
    if (pid == 0) {
        size_t at = 0;
        s = sms_connect(address, NULL, 10000, &err);
        while (s != NULL && at < sizeof bytes) {
            long r = sms_read(s, bytes, sizeof bytes, 10000), w;
            if (r <= 0)
                _exit(4);
            usleep(500);
            w = sms_write(s, bytes, (size_t)r, 10000);
            if (w != r)
                _exit(5);
            at += (size_t)r;
        }
        sms_close(s);
        _exit(0);
    }
    s = sms_accept(l, 10000, &err);
    need(s != NULL, "accept");
    while (got < sizeof bytes) {
        struct pollfd p;
        int ready;
        long n = sent < sizeof bytes ? sms_try_write(s, bytes + sent, sizeof bytes - sent) : (long)SMS_EAGAIN;
        need(n > 0 || n == SMS_EAGAIN, "write");
        if (n > 0)
            sent += (size_t)n;
        n = sms_try_read(s, bytes, sizeof bytes);
        need(n > 0 || n == SMS_EAGAIN, "read");
        if (n > 0) {
            got += (size_t)n;
            continue;
        }
        ready = sms_arm(s, sent < sizeof bytes ? SMS_READS | SMS_WRITES : SMS_READS);
        need(ready >= 0, "arm");
        if (ready != 0)
            continue;
        p.fd = sms_fd(s);
        p.events = POLLIN;
        need(poll(&p, 1, 10000) == 1, "a wake through the socket");
    }
    sms_close(s);
    (void)waitpid(pid, &status, 0);
    need(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child");
    sms_listener_close(l);
}

int main(int argc, char **argv) {
    char a[PATH_MAX + 8];
    const char *folder = argc > 1 ? argv[1] : "/tmp";
    (void)snprintf(a, sizeof a, "file:%s/region", folder);
    lives_and_deaths(a);
    takes_over(a, true);
    (void)snprintf(a, sizeof a, "unix:%s/socket", folder);
    lives_and_deaths(a);
    takes_over(a, false);
    polls(a);
    (void)snprintf(a, sizeof a, "unix:@smstream-c-%d", (int)getpid());
    lives_and_deaths(a);
    polls(a);
    foreign_files(folder);
    foreign_sockets(folder);
    claims(folder);
    silent_claim(folder);
    printf("rendezvous: ok\n");
    return 0;
}
