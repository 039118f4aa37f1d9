//! The words that both halves of a ring share, and how they lie in memory.

use crate::ordering;
use crate::sync::AtomicU32;

/// How the shared words of a ring lie in memory: [`Spaced`] or [`Compact`].
///
/// Nothing else can implement it, and its words cannot be reached from outside.
pub trait Words: Access {}

/// The two cursors on cache lines of their own, so that two CPUs do not take one line from each other. 256 bytes.
#[derive(Debug)]
#[repr(C)]
pub struct Spaced {
    pushed: Line,
    popped: Line,
}

/// Of no size, and at the start of a line: so what has it in it has lines of its own. A half changes what it knows with each item.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(128))]
pub struct Apart;

#[derive(Debug)]
#[repr(C, align(128))]
struct Line {
    word: AtomicU32,
    claim: Claim,
}

/// The two cursors side by side: for one CPU, and where memory is short. 12 bytes; 16 where there is no compare-and-swap.
#[derive(Debug)]
#[repr(C)]
pub struct Compact {
    pushed: AtomicU32,
    popped: AtomicU32,
    claim: Claim,
}

/// What a ring has if nothing else is said: [`Spaced`] on 64-bit targets, [`Compact`] elsewhere.
#[cfg(target_pointer_width = "64")]
pub type Machine = Spaced;
/// What a ring has if nothing else is said: [`Spaced`] on 64-bit targets, [`Compact`] elsewhere.
#[cfg(not(target_pointer_width = "64"))]
pub type Machine = Compact;

/// The way to the words, for this module's own types only.
pub trait Access: Sized {
    /// Words that begin with both cursors at `start`.
    #[cfg(loom)]
    fn starting_at(start: u32) -> Self;
    /// Words that begin with both cursors at 0.
    #[cfg(not(loom))]
    const NEW: Self;
    /// What each half has in it, so that two of them side by side do not share a cache line, if the words do not either.
    type Apart: Copy + Default;
    /// Whether a half looks at the other's cursor only when it must, because the look may take a cache line from another
    /// CPU. Where both lie side by side it looks each time, which is less code.
    const CACHES: bool;
    /// Sets both cursors. Only for words that no half uses.
    fn set(&mut self, start: u32);
    /// Items pushed, modulo 2³².
    fn pushed(&self) -> &AtomicU32;
    /// Items popped, modulo 2³².
    fn popped(&self) -> &AtomicU32;
    /// Who has split the ring.
    fn claim(&self) -> &Claim;
}

macro_rules! access {
    ($words:ty, $apart:ty, $pushed:ident $(. $pushed_word:ident)?, $popped:ident $(. $popped_word:ident)?, $claim:ident $(. $claim_word:ident)?, $new:expr, $caches:literal) => {
        impl Words for $words {}
        impl Access for $words {
            #[cfg(loom)]
            fn starting_at(start: u32) -> Self {
                $new(start)
            }
            #[cfg(not(loom))]
            const NEW: Self = $new(0);
            type Apart = $apart;
            const CACHES: bool = $caches;
            fn set(&mut self, start: u32) {
                ordering::set_up(self.pushed(), start);
                ordering::set_up(self.popped(), start);
            }
            #[inline(always)]
            fn pushed(&self) -> &AtomicU32 {
                &self.$pushed$(.$pushed_word)?
            }
            #[inline(always)]
            fn popped(&self) -> &AtomicU32 {
                &self.$popped$(.$popped_word)?
            }
            fn claim(&self) -> &Claim {
                &self.$claim$(.$claim_word)?
            }
        }
    };
}

access!(Spaced, Apart, pushed.word, popped.word, pushed.claim, spaced, true);
access!(Compact, (), pushed, popped, claim, compact, false);

#[cfg(not(loom))]
const fn spaced(start: u32) -> Spaced {
    Spaced { pushed: line(start), popped: line(start) }
}
#[cfg(not(loom))]
const fn line(start: u32) -> Line {
    Line { word: AtomicU32::new(start), claim: Claim::new() }
}
#[cfg(not(loom))]
const fn compact(start: u32) -> Compact {
    Compact { pushed: AtomicU32::new(start), popped: AtomicU32::new(start), claim: Claim::new() }
}
#[cfg(loom)]
fn spaced(start: u32) -> Spaced {
    let line = || Line { word: AtomicU32::new(start), claim: Claim::new() };
    Spaced { pushed: line(), popped: line() }
}
#[cfg(loom)]
fn compact(start: u32) -> Compact {
    Compact { pushed: AtomicU32::new(start), popped: AtomicU32::new(start), claim: Claim::new() }
}

/// A right that at most one caller gets.
///
/// With compare-and-swap it is one exchange. Without, it is Lamport's way with loads and stores: of callers at the same
/// time at most one gets it, and it can happen that none does. A caller that comes alone gets it.
#[derive(Debug)]
#[repr(C)]
pub struct Claim {
    taken: AtomicU32,
    #[cfg(any(loom, not(target_has_atomic = "32")))]
    last: AtomicU32,
}

impl Claim {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Claim {
            taken: AtomicU32::new(0),
            #[cfg(not(target_has_atomic = "32"))]
            last: AtomicU32::new(0),
        }
    }

    /// A right that is still to be had.
    #[cfg(loom)]
    pub fn new() -> Self {
        Claim { taken: AtomicU32::new(0), last: AtomicU32::new(0) }
    }

    /// Whether the caller gets it.
    #[cfg(target_has_atomic = "32")]
    pub fn take(&self) -> bool {
        ordering::claim(&self.taken)
    }

    /// Whether the caller gets it.
    #[cfg(not(target_has_atomic = "32"))]
    pub fn take(&self) -> bool {
        // Two callers at the same time have two stacks, or the one stands above the other on the same stack. So the address
        // of a local tells them apart.
        let here = core::mem::MaybeUninit::<u8>::uninit();
        self.take_as(crate::size::saturating((&raw const here).addr()))
    }

    /// Whether the caller gets it, who has the number `me`; callers at the same time have different ones.
    ///
    /// Two that both get it would both have found `taken` 0 and `last` their own. The one whose number was overwritten, *a*,
    /// stored `taken`, fenced and did not see the other's number; the other, *b*, stored its number, fenced and did not see
    /// `taken`. Of two such pairs one sees the other's store.
    #[cfg(any(loom, not(target_has_atomic = "32")))]
    pub fn take_as(&self, me: u32) -> bool {
        ordering::claim_store(&self.last, me);
        ordering::fence_claim();
        if ordering::claim_load(&self.taken) != 0 {
            return false;
        }
        ordering::claim_store(&self.taken, 1);
        ordering::fence_claim();
        ordering::claim_load(&self.last) == me
    }
}

#[cfg(loom)]
impl Default for Claim {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(loom))]
mod pinned {
    use super::{Compact, Spaced};
    use static_assertions::{const_assert, const_assert_eq};

    const_assert!(size_of::<Compact>() <= 16);
    const_assert_eq!(size_of::<Spaced>(), 256);
}
