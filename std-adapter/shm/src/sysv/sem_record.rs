//! The C library's record of a set of semaphores, as `semctl` takes it.

#[cfg(not(target_env = "musl"))]
pub(super) use libc::semid_ds;

/// The record of musl, which the crate `libc` does not declare: `arch/x86_64/bits/sem.h`, and `arch/generic/bits/sem.h`
/// for the other 64-bit machines. On those machines it is the kernel's record, too.
#[cfg(target_env = "musl")]
#[allow(non_camel_case_types, reason = "the name that it has in C")]
#[repr(C)]
pub(super) struct semid_ds {
    pub(super) sem_perm: libc::ipc_perm,
    pub(super) sem_otime: i64,
    #[cfg(target_arch = "x86_64")]
    unused1: libc::c_long,
    pub(super) sem_ctime: i64,
    #[cfg(target_arch = "x86_64")]
    unused2: libc::c_long,
    pub(super) sem_nsems: libc::c_ushort,
    pad: [u8; size_of::<libc::c_long>() - size_of::<libc::c_ushort>()],
    unused3: libc::c_long,
    unused4: libc::c_long,
}

// Another record would be read at the wrong places, or be too short for what the kernel writes.
#[cfg(all(
    target_env = "musl",
    not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64"))
))]
compile_error!("smstream-shm: the feature `sysv` does not know musl's `struct semid_ds` on this machine");

#[cfg(all(target_env = "musl", target_arch = "x86_64"))]
static_assertions::assert_eq_size!(semid_ds, [u8; 104]);
