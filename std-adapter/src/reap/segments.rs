//! System V segments that are left over.

use super::found::{Leftover, LeftoverKind, Location, ReapOutcome};
use smstream_shm::cleanup::{Known, MARK_LEN, decode, is_mark};
use smstream_shm::explain::explain;
use std::collections::BTreeMap;
use std::io;

/// The list of segments of this IPC namespace.
const LIST: &str = "/proc/sysvipc/shm";

/// What the list says of a segment.
struct Segment {
    id: i32,
    size: u64,
    attached: u64,
    owner: u32,
    creator: u32,
}

/// Looks at the segments of this user that no process has attached.
pub(super) fn look(dry_run: bool, found: &mut Vec<Leftover>) -> io::Result<()> {
    let text = std::fs::read_to_string(LIST).map_err(|e| explain(e, format!("cannot look for segments in {LIST}")))?;
    let user = rustix::process::geteuid().as_raw();
    for segment in parse(&text) {
        let candidate = segment.owner == user && segment.attached == 0 && segment.size >= MARK_LEN as u64;
        // The number may be another process's by now, or of another namespace. The mark says it exactly; this only keeps us
        // from attaching what lives.
        let seems_alive = std::path::Path::new(&format!("/proc/{}", segment.creator)).exists();
        if !candidate || seems_alive {
            continue;
        }
        let leftover =
            |outcome| Leftover { location: Location::SysvShm(segment.id), kind: LeftoverKind::Marked, outcome };
        let head = match head(segment.id) {
            Ok(Some(head)) => head,
            Ok(None) => continue,
            Err(e) => {
                found.push(leftover(ReapOutcome::Doubt(format!("it cannot be looked at: {e}"))));
                continue;
            }
        };
        if !is_mark(&head) {
            continue;
        }
        let unused = || is_unused(segment.id, user);
        let outcome = match decode(&head).map(|creator| creator.known()) {
            None => ReapOutcome::Doubt("its mark is of another version or byte order".into()),
            Some(Known::Lives) => ReapOutcome::InUse("its creator lives"),
            Some(Known::Unknown(why)) => ReapOutcome::Doubt(why.into()),
            Some(Known::Gone) if dry_run => ReapOutcome::WouldRemove,
            Some(Known::Gone) => match unused() {
                Ok(false) => ReapOutcome::InUse("a process has just attached it"),
                Err(e) => ReapOutcome::Doubt(format!("it cannot be found out whether it is in use: {e}")),
                // A process that attaches it at this moment keeps it: the segment is gone when that detaches it.
                Ok(true) => match smstream_shm::cleanup::remove_sysv_shm(segment.id) {
                    Ok(()) => ReapOutcome::Removed,
                    Err(e) => ReapOutcome::Doubt(format!("it cannot be removed: {e}")),
                },
            },
        };
        found.push(leftover(outcome));
    }
    Ok(())
}

/// Whether this user owns the segment, and no process has it attached: now, after it was looked at.
fn is_unused(id: i32, user: u32) -> io::Result<bool> {
    let mut found = std::mem::MaybeUninit::<libc::shmid_ds>::zeroed();
    // SAFETY: the pointer is to a `struct shmid_ds`, as IPC_STAT needs, which outlives the call.
    if unsafe { libc::shmctl(id, libc::IPC_STAT, found.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a C struct of integers, all zeros at first, and filled in by the call that succeeded.
    let found = unsafe { found.assume_init() };
    Ok(found.shm_nattch == 0 && found.shm_perm.uid == user)
}

/// The lines of the list. Its columns are found by their names.
fn parse(text: &str) -> impl Iterator<Item = Segment> {
    let mut lines = text.lines();
    let names = lines.next().unwrap_or_default();
    let columns: BTreeMap<&str, usize> = names.split_whitespace().enumerate().map(|(i, name)| (name, i)).collect();
    lines.filter_map(move |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |name: &str| columns.get(name).and_then(|&i| words.get(i));
        Some(Segment {
            id: word("shmid")?.parse().ok()?,
            size: word("size")?.parse().ok()?,
            attached: word("nattch")?.parse().ok()?,
            owner: word("uid")?.parse().ok()?,
            creator: word("cpid")?.parse().ok()?,
        })
    })
}

/// The first bytes of a segment, which has at least so many: `None` if it has gone, or this user may not read it.
fn head(id: i32) -> io::Result<Option<[u8; MARK_LEN]>> {
    // SAFETY: without an address the kernel chooses one that is not in use.
    let start = unsafe { libc::shmat(id, std::ptr::null(), libc::SHM_RDONLY) };
    if start.addr() == usize::MAX {
        return match io::Error::last_os_error() {
            e if matches!(e.raw_os_error(), Some(libc::EIDRM | libc::EINVAL | libc::EACCES)) => Ok(None),
            e => Err(e),
        };
    }
    let mut head = [0; MARK_LEN];
    for (at, byte) in head.iter_mut().enumerate() {
        let from = start.cast::<u8>().wrapping_add(at);
        // SAFETY: the segment is attached, and a segment never changes its size: the list says that it is large enough.
        // If another process writes it now, this is some byte.
        *byte = unsafe { from.read_volatile() };
    }
    // SAFETY: it was attached above, and no pointer to it is left.
    unsafe { libc::shmdt(start) };
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_by_its_names() {
        let text = "key shmid perms size cpid lpid nattch uid gid\n 0 7 600 4096 11 12 2 1000 1000\n broken\n";
        let found: Vec<_> = parse(text).collect();
        assert_eq!(found.len(), 1);
        let s = &found[0];
        assert_eq!((s.id, s.size, s.creator, s.attached, s.owner), (7, 4096, 11, 2, 1000));
        assert_eq!(parse("").count(), 0);
    }
}
