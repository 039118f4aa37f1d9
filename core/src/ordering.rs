//! Every atomic access of this crate, by name.
//!
//! Each entry names an edge: what it orders, who stands at the other end, and why that strength suffices. Nothing else
//! in the crate names an [`Ordering`]. For each entry there are *mutants*, in which it is weaker than it should
//! be, and a model in `loom-tests` that fails under each of them.
//!
//! | edge | from | to | carries |
//! |---|---|---|---|
//! | DATA | [`publish_sent`] | [`peer_sent`] | the bytes of the lane, up to the cursor |
//! | ROOM | [`publish_received`] | [`peer_received`] | the right to overwrite them |
//! | SLEEP | [`fence_published`] | [`fence_announced`] | of publisher and sleeper, one sees the other |
//! | SLEEP | [`fence_published_light`] | the barrier after [`fence_announced`] | the same |
//! | FENCED | [`say_fenced`] | [`peer_fenced`] | what was published without a full fence |
//! | FENCED | `fence_unfenced`, in [`say_unfenced`] | [`fence_announced`] | of publisher and sleeper, one sees the other |
//! | METHOD | [`announce`] | [`peer_park`] | the sleeper's wake method, and that STOP is set when it says *look* |
//! | STUCK | [`announce`] | [`peer_exclusive`] | all that the peer published before it parked |
//! | ALERT | [`raise`] | [`alert`] | everything the dead peer published |
//! | IDENTITY | [`publish_version`] | [`peer_version`] | the rest of the header |
//! | STATE | [`publish_state`] | [`peer_state`] | everything set up before the step of the rendezvous |
//! | COUNT | [`count_low`], [`count_high`] | [`peer_count`] | the halves of a 64-bit counter that belong together |
//! | ITEMS | [`publish_pushed`] | [`peer_pushed`] | the items of a local ring, up to the cursor |
//! | PLACES | [`publish_popped`] | [`peer_popped`] | the right to fill their places again |
//! | CLAIM | `fence_claim` | `fence_claim` | of two callers that split a ring, one sees the other |
//!
//! # The peer's words
//! They are loaded with `load(Relaxed)` and then `fence(Acquire)`, never in any other way. The peer's segment may be
//! mapped read-only, and Rust promises atomic loads from read-only memory only when they are `Relaxed` and at most four
//! bytes wide ([`core::sync::atomic`], "Atomic accesses to read-only memory"). The fence makes the pair at least as
//! strong as an acquire load. ThreadSanitizer knows no fences, so under `cfg(smstream_tsan)` it is `load(Acquire)`.
//!
//! The words of a local ring ([`spsc`](crate::spsc)) lie in this process's own memory, so they are loaded with `Acquire`.
//!
//! # Own words
//! Only the half that owns a word stores it, and it never loads it again: it keeps a copy where no other process can
//! write. [`own`] is the one exception, when an end is attached.

use crate::mutant::{mutant, unless_mutant};
use crate::sync::{AtomicU32, Ordering, fence};

#[inline(always)]
fn load_from_peer(word: &AtomicU32, mutant: bool) -> u32 {
    if cfg!(smstream_tsan) {
        return word.load(Ordering::Acquire);
    }
    let value = word.load(Ordering::Relaxed);
    if !mutant {
        fence(Ordering::Acquire);
    }
    value
}

/// DATA, from. `Release`: the bytes were copied into the lane before the cursor says so. Partner: [`peer_sent`].
#[inline(always)]
pub fn publish_sent(word: &AtomicU32, cursor: u32) {
    word.store(cursor, unless_mutant!("publish_sent_relaxed", Ordering::Release, Ordering::Relaxed));
}

/// DATA, to. Acquire: the bytes below the cursor are there before they are read. Partner: [`publish_sent`].
#[inline(always)]
pub fn peer_sent(word: &AtomicU32) -> u32 {
    load_from_peer(word, mutant!("peer_sent_relaxed"))
}

/// ROOM, from. `Release`: the bytes were copied out before the room is given back. Partner: [`peer_received`].
#[inline(always)]
pub fn publish_received(word: &AtomicU32, cursor: u32) {
    word.store(cursor, unless_mutant!("publish_received_relaxed", Ordering::Release, Ordering::Relaxed));
}

/// ROOM, to. Acquire: the old bytes have been copied out before new ones overwrite them (a load is ordered before a
/// later store only through this edge). Partner: [`publish_received`].
#[inline(always)]
pub fn peer_received(word: &AtomicU32) -> u32 {
    load_from_peer(word, mutant!("peer_received_relaxed"))
}

/// SLEEP, at the publisher: after storing a cursor, before loading the peer's park word. `SeqCst`: this fence and
/// [`fence_announced`] are totally ordered, so not both parties can miss the other's store ([atomics.order] §4 of the
/// C++ standard, which Rust's memory model takes over). An `AcqRel` fence does not order a store before a later load.
#[inline(always)]
pub fn fence_published() {
    if mutant!("fence_published_none") {
        return;
    }
    fence(unless_mutant!("fence_published_acqrel", Ordering::SeqCst, Ordering::AcqRel));
}

/// SLEEP, at a publisher that the sleeper's [barrier](crate::park::Park::barrier) reaches: after storing a cursor, before loading the
/// peer's park word. It keeps the compiler from exchanging them. The full fence is the one that the barrier runs in this thread,
/// wherever it is then. For the model checker this is the place where the barrier can hit: see `barrier`.
#[inline(always)]
pub fn fence_published_light() {
    if mutant!("fence_light_none") {
        return;
    }
    #[cfg(not(loom))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(loom)]
    barrier();
}

/// What the operating system does for a sleeper that issues a barrier, as the model checker can express it: a
/// read-modify-write of one word, which the publisher's light fence does, too. The one that comes second sees all that the other
/// did before its own. So the publisher is hit before its fence or after it, which are the cases that differ.
#[cfg(loom)]
pub fn barrier() {
    loom::lazy_static! {
        static ref HITS: AtomicU32 = AtomicU32::new(0);
    }
    HITS.fetch_add(1, unless_mutant!("barrier_model_relaxed", Ordering::AcqRel, Ordering::Relaxed));
}

/// SLEEP, at the sleeper: after storing the park word, before loading the peer's cursor again. Partner:
/// [`fence_published`].
#[inline(always)]
pub fn fence_announced() {
    if mutant!("fence_announced_none") {
        return;
    }
    fence(unless_mutant!("fence_announced_acqrel", Ordering::SeqCst, Ordering::AcqRel));
}

/// FENCED, from: a full fence follows each publication from now on. `Release`: who sees this sees what was published before it, with
/// a fence or without. Partner: [`peer_fenced`].
#[inline]
pub fn say_fenced(word: &AtomicU32) {
    word.store(1, unless_mutant!("say_fenced_relaxed", Ordering::Release, Ordering::Relaxed));
}

/// FENCED: from the next publication on there is perhaps no full fence. `SeqCst`, between storing this and all later loads of
/// the peer's park word: of this fence and [`fence_announced`] one comes first. If it is this one, the sleeper sees the 0 and issues its
/// barrier; if it is the sleeper's, those loads see ASLEEP.
#[inline]
pub fn say_unfenced(word: &AtomicU32) {
    word.store(0, Ordering::Relaxed);
    if mutant!("fence_unfenced_none") {
        return;
    }
    fence(unless_mutant!("fence_unfenced_acqrel", Ordering::SeqCst, Ordering::AcqRel));
}

/// FENCED, to: whether a full fence follows each publication of the peer, after [`fence_announced`]. Acquire: see [`say_fenced`], its
/// partner.
#[inline]
pub fn peer_fenced(word: &AtomicU32) -> bool {
    load_from_peer(word, mutant!("peer_fenced_relaxed")) == 1
}

/// METHOD, from: store my park word, other than 0. `Release`: my wake method was stored before, and so was STOP when the
/// park word says *look*. Sleeping itself needs no more than `Relaxed` here; the fence does that work. Partner:
/// [`peer_park`]; and [`peer_exclusive`], for which the fence of the last publication would do as well.
#[inline(always)]
pub fn announce(word: &AtomicU32, park: u32) {
    word.store(park, unless_mutant!("announce_relaxed", Ordering::Release, Ordering::Relaxed));
}

/// Store 0 in my park word: awake. `Relaxed`: if the publisher still sees the old value it wakes a half that is
/// awake, which costs a system call and nothing else.
#[inline(always)]
pub fn withdraw(word: &AtomicU32) {
    if mutant!("withdraw_never") {
        return;
    }
    word.store(0, Ordering::Relaxed);
}

/// METHOD, to: load the peer's park word. Acquire: see [`announce`], its partner.
#[inline(always)]
pub fn peer_park(word: &AtomicU32) -> u32 {
    load_from_peer(word, mutant!("peer_park_relaxed"))
}

/// STUCK, to: load the peer's park word, after [`fence_announced`], to see if its whole party sleeps. Acquire: the peer's
/// cursor, loaded after this, has all that the peer published before it parked. Partner: [`announce`].
#[inline(always)]
pub fn peer_exclusive(word: &AtomicU32) -> u32 {
    load_from_peer(word, mutant!("peer_exclusive_relaxed"))
}

/// Store my wake method, before my first [`announce`], which publishes it. `Relaxed`: that store is a `Release`.
#[inline(always)]
pub fn set_wake_method(word: &AtomicU32, method: u32) {
    word.store(method, Ordering::Relaxed);
}

/// Load the peer's wake method, after [`peer_park`] said that it sleeps. `Relaxed`: that load acquired it.
#[inline(always)]
pub fn peer_wake_method(word: &AtomicU32) -> u32 {
    word.load(Ordering::Relaxed)
}

/// ALERT, from: add `bits` to a local alert word; the caller then wakes its sleepers. `Release`: what the caller knows
/// (that the peer is dead, so that its words are final) happens before what a half does on seeing the bits. A
/// read-modify-write, because several threads of one process may raise; no half ever does. Partner: [`alert`].
#[cfg(target_has_atomic = "32")]
#[inline]
pub fn raise(word: &AtomicU32, bits: u32) {
    word.fetch_or(bits, unless_mutant!("raise_relaxed", Ordering::Release, Ordering::Relaxed));
}

/// ALERT, to: load a local alert word. `Acquire`: the peer's cursor, loaded after this, is its last. Partner: [`raise`].
#[inline(always)]
pub fn alert(word: &AtomicU32) -> u32 {
    word.load(unless_mutant!("alert_relaxed", Ordering::Acquire, Ordering::Relaxed))
}

/// Load a word of my own segment, once, when an end is attached to it. `Relaxed`: the one that set it up (this thread, or
/// the process that made the block) did so before [`publish_version`], which attaching has acquired.
#[inline(always)]
pub fn own(word: &AtomicU32) -> u32 {
    word.load(Ordering::Relaxed)
}

/// Store a word of a segment to which no end can be attached yet. `Relaxed`: [`publish_version`] follows.
#[inline(always)]
pub fn set_up(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Relaxed);
}

/// IDENTITY, from: the version, stored last. `Release`: the rest of the header is there. Partner: [`peer_version`].
#[inline(always)]
pub fn publish_version(word: &AtomicU32, version: u32) {
    word.store(version, unless_mutant!("publish_version_relaxed", Ordering::Release, Ordering::Relaxed));
}

/// IDENTITY, to: the version, loaded first. Acquire: see [`publish_version`], its partner.
#[inline(always)]
pub fn peer_version(word: &AtomicU32) -> u32 {
    load_from_peer(word, mutant!("peer_version_relaxed"))
}

/// Load another word of the peer's identity, after [`peer_version`]. `Relaxed`: that load acquired it. A hostile peer
/// may change it at any time; the caller loads it once and checks the value it got.
#[inline(always)]
pub fn peer_identity(word: &AtomicU32) -> u32 {
    word.load(Ordering::Relaxed)
}

/// STATE, from: a step of the rendezvous. `Release`: all that the step promises was set up before. Partner:
/// [`peer_state`].
#[inline(always)]
pub fn publish_state(word: &AtomicU32, state: u32) {
    word.store(state, unless_mutant!("publish_state_relaxed", Ordering::Release, Ordering::Relaxed));
}

/// STATE, to. Acquire: see [`publish_state`], its partner.
#[inline(always)]
pub fn peer_state(word: &AtomicU32) -> u32 {
    load_from_peer(word, mutant!("peer_state_relaxed"))
}

/// Load a word that is slept on, to compare it with what was seen: [`SharedWord::load`](crate::word::SharedWord::load).
/// `Relaxed`: the comparison only decides whether to sleep. Before the half believes anything, it loads the word again, by
/// the entry of its edge; and it sees the change, because it has announced that it sleeps (SLEEP).
#[inline(always)]
pub fn watched(word: &AtomicU32) -> u32 {
    word.load(Ordering::Relaxed)
}

/// What this CPU was found to be, or 0. `Relaxed`: the word stands for itself, and any thread that finds 0 asks the CPU and gets the
/// same answer.
#[cfg(all(not(loom), target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn cpu_kind(word: &AtomicU32) -> u32 {
    word.load(Ordering::Relaxed)
}

/// Notes what this CPU is. `Relaxed`: see [`cpu_kind`].
#[cfg(all(not(loom), target_arch = "x86_64"))]
pub(crate) fn set_cpu_kind(word: &AtomicU32, kind: u32) {
    word.store(kind, Ordering::Relaxed);
}

/// COUNT, from: the low word of a counter. `Release`: see [`counter`](crate::counter). Partner: [`peer_count`].
#[inline(always)]
pub fn count_low(word: &AtomicU32, low: u32) {
    word.store(low, unless_mutant!("count_low_relaxed", Ordering::Release, Ordering::Relaxed));
}

/// COUNT, from: a copy of the high word of a counter, before the low word or after it. `Release`: see
/// [`counter`](crate::counter). Partner: [`peer_count`].
#[inline(always)]
pub fn count_high(word: &AtomicU32, high: u32) {
    word.store(high, unless_mutant!("count_high_relaxed", Ordering::Release, Ordering::Relaxed));
}

/// COUNT, to: any word of the peer's (or an inspected) counter. Acquire: the words that follow are no older. Partner:
/// [`count_low`], [`count_high`].
#[inline(always)]
pub fn peer_count(word: &AtomicU32) -> u32 {
    load_from_peer(word, mutant!("peer_count_relaxed"))
}

/// ITEMS, from. `Release`: the items were moved to their places before the cursor says so. Partner: [`peer_pushed`].
#[inline(always)]
pub fn publish_pushed(word: &AtomicU32, cursor: u32) {
    word.store(cursor, unless_mutant!("publish_pushed_relaxed", Ordering::Release, Ordering::Relaxed));
}

/// ITEMS, to. `Acquire`: the items below the cursor are there before they are taken. Partner: [`publish_pushed`].
#[inline(always)]
pub fn peer_pushed(word: &AtomicU32) -> u32 {
    word.load(unless_mutant!("peer_pushed_relaxed", Ordering::Acquire, Ordering::Relaxed))
}

/// PLACES, from. `Release`: the items were moved out before their places are given back. Partner: [`peer_popped`].
#[inline(always)]
pub fn publish_popped(word: &AtomicU32, cursor: u32) {
    word.store(cursor, unless_mutant!("publish_popped_relaxed", Ordering::Release, Ordering::Relaxed));
}

/// PLACES, to. `Acquire`: the old items have been moved out before new ones overwrite them. Partner: [`publish_popped`].
#[inline(always)]
pub fn peer_popped(word: &AtomicU32) -> u32 {
    word.load(unless_mutant!("peer_popped_relaxed", Ordering::Acquire, Ordering::Relaxed))
}

/// Takes a right that one caller may have, in one exchange: whether this caller gets it. `Relaxed`: the right is to touch
/// memory that the caller reaches by a reference, and the code that gave it the reference set that memory up before.
#[cfg(target_has_atomic = "32")]
pub fn claim(word: &AtomicU32) -> bool {
    if mutant!("claim_in_two_steps") {
        let taken = word.load(Ordering::Relaxed) != 0;
        word.store(1, Ordering::Relaxed);
        return !taken;
    }
    word.swap(1, Ordering::Relaxed) == 0
}

/// Stores a word of a claim without compare-and-swap. `Relaxed`: [`fence_claim`] orders it.
#[cfg(any(loom, not(target_has_atomic = "32")))]
pub fn claim_store(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Relaxed);
}

/// Loads a word of a claim without compare-and-swap. `Relaxed`: [`fence_claim`] orders it.
#[cfg(any(loom, not(target_has_atomic = "32")))]
pub fn claim_load(word: &AtomicU32) -> u32 {
    word.load(Ordering::Relaxed)
}

/// CLAIM: between storing one word of the claim and loading the other. `SeqCst`: two such fences are totally ordered, so of
/// two callers that each store one word and load the other's, one sees the other's store ([atomics.order] §4, as for SLEEP).
/// Its partner is itself, in the other caller.
#[cfg(any(loom, not(target_has_atomic = "32")))]
pub fn fence_claim() {
    if mutant!("fence_claim_none") {
        return;
    }
    fence(unless_mutant!("fence_claim_acqrel", Ordering::SeqCst, Ordering::AcqRel));
}
