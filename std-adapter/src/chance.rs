//! Numbers that no other process is likely to have.

use rustix::rand::{GetRandomFlags, getrandom};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A number by chance; another one each time. Where the kernel gives none it is made of what differs from process to process, and
/// from time to time. Not for secrets.
pub(crate) fn number() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut chance = [0; 8];
    let _ = getrandom(&mut chance, GetRandomFlags::NONBLOCK);
    let mut hasher = DefaultHasher::new();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (chance, process::id(), COUNT.fetch_add(1, Ordering::Relaxed), since).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_are_different() {
        assert_eq!((0..10_000).map(|_| number()).collect::<BTreeSet<_>>().len(), 10_000);
    }
}
