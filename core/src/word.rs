//! Words that may be looked at and slept on, and not written.

use core::fmt;

use crate::ordering;
use crate::sync::AtomicU32;

/// A word of a segment, or of an alert, as code outside of this crate gets it: to compare it, and to give its address to
/// whatever sleeps on it or wakes its sleepers.
///
/// There is no way from here to an `&AtomicU32`, because a store through one would break what the unsafe code relies
/// on. The word of a peer may lie in memory that is mapped read-only, so that a store is a fault; and a store to a cursor
/// makes the other end of the channel believe in bytes that were never sent.
///
/// Two of them are equal if they are the same word, whatever it holds.
///
/// # Programs that must not compile
/// A half that announces hands out the word that it would sleep on. This is fine:
///
/// ```
/// #![forbid(unsafe_code)]
/// use smstream_core::block::{Block, block_len};
/// use smstream_core::error::ReadError;
/// use smstream_core::geometry::Config;
/// use smstream_core::lane::Announced;
/// use smstream_core::park::Spin;
///
/// const CHANNEL: Config = Config::new([64, 64]);
/// let mut block = Block::<{ block_len(&CHANNEL) }>::new();
/// let (mut reader, _writer) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
/// let Announced::Asleep { cursor, .. } = reader.consumer.announce(1) else { panic!("there are no bytes") };
/// assert_eq!(cursor.word.load(), 0);
/// assert_eq!(reader.read(&mut [0; 64]), Err(ReadError::Empty));
/// ```
///
/// The same with a forged cursor is not, because it would read 64 bytes that were never sent, while the writer writes them:
///
/// ```compile_fail
/// #![forbid(unsafe_code)]
/// use smstream_core::block::{Block, block_len};
/// use smstream_core::error::ReadError;
/// use smstream_core::geometry::Config;
/// use smstream_core::lane::Announced;
/// use smstream_core::park::Spin;
///
/// const CHANNEL: Config = Config::new([64, 64]);
/// let mut block = Block::<{ block_len(&CHANNEL) }>::new();
/// let (mut reader, _writer) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
/// let Announced::Asleep { cursor, .. } = reader.consumer.announce(1) else { panic!("there are no bytes") };
/// cursor.word.store(64, core::sync::atomic::Ordering::Release);
/// assert_eq!(reader.read(&mut [0; 64]), Ok(64));
/// ```
///
/// Nor is a [`Park`](crate::park::Park) that stores to what it is to sleep on or to wake: in memory that is mapped
/// read-only, a fault.
///
/// ```
/// #![forbid(unsafe_code)]
/// fn wait(watch: &smstream_core::park::Watch<'_>) -> bool {
///     watch.word.load() == watch.seen
/// }
/// fn wake(word: smstream_core::word::SharedWord<'_>) -> usize {
///     word.as_ptr().addr()
/// }
/// ```
///
/// ```compile_fail
/// #![forbid(unsafe_code)]
/// fn wait(watch: &smstream_core::park::Watch<'_>) {
///     watch.word.store(0, core::sync::atomic::Ordering::Relaxed);
/// }
/// ```
///
/// ```compile_fail
/// #![forbid(unsafe_code)]
/// fn wake(word: smstream_core::word::SharedWord<'_>) {
///     word.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
/// }
/// ```
///
/// ```compile_fail
/// #![forbid(unsafe_code)]
/// fn wait(watch: &smstream_core::park::Watch<'_>) -> &core::sync::atomic::AtomicU32 {
///     watch.word
/// }
/// ```
#[derive(Clone, Copy)]
pub struct SharedWord<'a>(&'a AtomicU32);

impl<'a> SharedWord<'a> {
    /// The word, for code that may write it as it likes.
    #[inline(always)]
    pub const fn new(word: &'a AtomicU32) -> Self {
        SharedWord(word)
    }

    /// What the word holds now. To be compared with what was seen, and for nothing else: it orders no other access.
    #[inline(always)]
    pub fn load(self) -> u32 {
        ordering::watched(self.0)
    }

    /// The word, if it is the alert of a half: with it comes what the one who raised it knew. See [`ordering::alert`].
    #[inline(always)]
    pub fn load_alert(self) -> u32 {
        ordering::alert(self.0)
    }

    /// The word, if it is a step of the rendezvous: with it comes what was set up before. See [`ordering::peer_state`].
    #[inline(always)]
    pub fn load_state(self) -> u32 {
        ordering::peer_state(self.0)
    }

    /// Where the word lies: aligned to four bytes, and valid for relaxed atomic loads in `'a`. For a system call that sleeps
    /// on the word or wakes its sleepers. It must not be written through.
    #[cfg(not(loom))]
    #[inline(always)]
    pub const fn as_ptr(self) -> *const u32 {
        self.0.as_ptr().cast_const()
    }
}

impl PartialEq for SharedWord<'_> {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self.0, other.0)
    }
}

impl Eq for SharedWord<'_> {}

impl fmt::Debug for SharedWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedWord({:#x})", self.load())
    }
}
