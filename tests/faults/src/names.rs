//! Numbers and names of system calls and errors.

macro_rules! named {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), libc::$name as i64)),*] };
}

/// The system calls, named as libc names their numbers.
#[rustfmt::skip]
const CALLS: &[(&str, i64)] = named![
    SYS_accept, SYS_accept4, SYS_access, SYS_bind, SYS_brk, SYS_chmod, SYS_clock_nanosleep, SYS_clone,
    SYS_clone3, SYS_close, SYS_connect, SYS_dup, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
    SYS_epoll_wait, SYS_eventfd2, SYS_execve, SYS_fallocate, SYS_fchmod, SYS_fcntl, SYS_flock, SYS_fstat,
    SYS_fstatfs, SYS_fsync, SYS_ftruncate, SYS_futex, SYS_futex_waitv, SYS_getcwd, SYS_getdents64, SYS_getegid,
    SYS_geteuid, SYS_getgid, SYS_getpeername, SYS_getpid, SYS_getppid, SYS_getrandom, SYS_getsockname,
    SYS_getsockopt, SYS_gettid, SYS_getuid, SYS_inotify_add_watch, SYS_inotify_init1, SYS_inotify_rm_watch,
    SYS_ioctl, SYS_kill, SYS_link, SYS_linkat, SYS_listen, SYS_lseek, SYS_lstat, SYS_madvise, SYS_membarrier,
    SYS_memfd_create, SYS_mkdir, SYS_mmap, SYS_mprotect, SYS_mremap, SYS_msgctl, SYS_msgget, SYS_msgrcv,
    SYS_msgsnd, SYS_munmap, SYS_nanosleep, SYS_newfstatat, SYS_open, SYS_openat, SYS_pause, SYS_pidfd_open,
    SYS_pidfd_send_signal, SYS_pipe2, SYS_poll, SYS_ppoll, SYS_prctl, SYS_pread64, SYS_prlimit64, SYS_pwrite64,
    SYS_read, SYS_readlink, SYS_readv, SYS_recvfrom, SYS_recvmmsg, SYS_recvmsg, SYS_rename, SYS_renameat,
    SYS_renameat2, SYS_rmdir, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_sched_getaffinity,
    SYS_sched_setaffinity, SYS_sched_yield, SYS_semctl, SYS_semget, SYS_semop, SYS_semtimedop, SYS_sendmsg,
    SYS_sendto, SYS_set_robust_list, SYS_setpgid, SYS_setsockopt, SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_shmget, SYS_shutdown,
    SYS_sigaltstack, SYS_socket, SYS_socketpair, SYS_stat, SYS_statfs, SYS_statx, SYS_tgkill, SYS_timerfd_create,
    SYS_timerfd_settime, SYS_unlink, SYS_unlinkat, SYS_wait4, SYS_waitid, SYS_write, SYS_writev, SYS_arch_prctl,
    SYS_clock_gettime, SYS_dup2, SYS_getrusage, SYS_set_tid_address
];

/// The errors that some page of the manual names.
#[rustfmt::skip]
const ERRORS: &[(&str, i64)] = named![
    E2BIG, EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, EALREADY, EBADF, EBUSY, ECANCELED, ECHILD,
    ECONNABORTED, ECONNREFUSED, ECONNRESET, EDEADLK, EDESTADDRREQ, EDQUOT, EEXIST, EFAULT, EFBIG, EHWPOISON,
    EIDRM, EINPROGRESS, EINTR, EINVAL, EIO, EISCONN, EISDIR, ELIBBAD, ELOOP, EMFILE, EMLINK, EMSGSIZE,
    ENAMETOOLONG, ENETUNREACH, ENFILE, ENOBUFS, ENODEV, ENOENT, ENOEXEC, ENOLCK, ENOMEM, ENOMSG, ENOPKG,
    ENOPROTOOPT, ENOSPC, ENOSYS, ENOTCONN, ENOTDIR, ENOTEMPTY, ENOTSOCK, ENOTSUP, ENOTTY, ENXIO, EOPNOTSUPP,
    EOVERFLOW, EPERM, EPIPE, EPROTO, EPROTONOSUPPORT, EPROTOTYPE, ERANGE, EROFS, ESOCKTNOSUPPORT, ESPIPE,
    ESRCH, ETIMEDOUT, ETXTBSY, EUSERS, EWOULDBLOCK, EXDEV
];

/// The name of a call, if it is known here.
pub fn call(number: i64) -> Option<&'static str> {
    CALLS.iter().find(|(_, n)| *n == number).and_then(|(name, _)| name.strip_prefix("SYS_"))
}

/// The number of an error.
pub fn error(name: &str) -> Option<i32> {
    ERRORS.iter().find(|(one, _)| *one == name).and_then(|(_, n)| i32::try_from(*n).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        assert_eq!(call(libc::SYS_openat), Some("openat"));
        assert_eq!(call(-1), None);
        assert_eq!(error("ENOSPC"), Some(libc::ENOSPC));
        assert_eq!(error("ENOTHING"), None);
    }
}
