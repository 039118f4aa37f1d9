//! A whole channel in plain memory: a static, a stack frame, a region of an allocator.

use core::fmt;
use core::mem::MaybeUninit;

use crate::geometry::{self, Config};
use crate::identity::{Finding, Problem, Whose};
use crate::layout::Features;
use crate::park::Park;
use crate::size::to_usize;
use crate::stream::End;

/// Memory for both segments of a channel, `N` bytes, aligned to a line.
///
/// ```
/// use smstream_core::block::{Block, block_len};
/// use smstream_core::geometry::Config;
/// use smstream_core::park::Spin;
///
/// const CHANNEL: Config = Config::new([64, 16]);
/// let mut block = Block::<{ block_len(&CHANNEL) }>::new();
/// let (mut listener, mut connector) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
/// assert_eq!(listener.write(b"hello"), Ok(5));
/// let mut out = [0; 16];
/// assert_eq!(connector.read(&mut out), Ok(5));
/// assert_eq!(&out[..5], b"hello");
/// ```
///
/// Both ends are made together, in safe code, and no other code can use the memory while they live.
#[repr(C, align(128))]
pub struct Block<const N: usize>([MaybeUninit<u8>; N]);

/// The bytes that [`Block`] needs for such a channel.
///
/// # Panics
/// If the configuration is impossible: at compile time, where this belongs.
pub const fn block_len(config: &Config) -> usize {
    assert!(config.check().is_ok(), "no channel can look like this");
    config.block().1
}

impl<const N: usize> Block<N> {
    /// Memory, all 0.
    pub const fn new() -> Self {
        Block([const { MaybeUninit::new(0) }; N])
    }

    /// Sets up both segments and attaches to both. `listener` and `connector` are how the writing half and the reading
    /// half of each end sleep.
    ///
    /// # Errors
    /// `N` is too small for the configuration, or the configuration is impossible.
    pub fn split<P: Park>(
        &mut self,
        config: &Config,
        listener: [P; 2],
        connector: [P; 2],
    ) -> Result<(End<'_, P>, End<'_, P>), Finding> {
        let awake = if P::SLEEPS { Features::empty() } else { Features::AWAKE };
        let features = config.features.union(awake);
        let bases = self.set_up(config, features)?;
        let ([first_write, first_read], [second_write, second_read]) = (listener, connector);
        let parks = [(first_write, first_read), (second_write, second_read)];
        // SAFETY: both segments were set up above, as `config` says, and are borrowed for the lifetime of the ends; only the
        // two ends use them, one for each party.
        Ok(unsafe { ends(bases, config, features, parks) })
    }

    /// The same where each half sleeps in its own way: an interrupt that never does, and a main loop that does.
    ///
    /// ```
    /// use smstream_core::block::{Block, block_len};
    /// use smstream_core::geometry::Config;
    /// use smstream_core::park::Spin;
    /// # #[derive(Clone, Copy)]
    /// # struct Sleepy;
    /// # impl smstream_core::park::Park for Sleepy {
    /// #     type Deadline = smstream_core::park::Never;
    /// #     type Spin = ();
    /// #     fn spin_start(&self) {}
    /// #     fn spin(&self, (): &mut ()) -> bool { false }
    /// #     fn wait(&self, _: &[smstream_core::park::Watch<'_>], _: Option<Self::Deadline>) -> smstream_core::park::Wake {
    /// #         smstream_core::park::Wake::Maybe
    /// #     }
    /// #     fn wake(&self, _: smstream_core::word::SharedWord<'_>, _: u32) {}
    /// # }
    ///
    /// const UART: Config = Config::new([64, 64]);
    /// let mut block = Block::<{ block_len(&UART) }>::new();
    /// let (mut handler, mut main_loop) = block.split_apart(&UART, (Spin, Spin), (Sleepy, Sleepy)).unwrap();
    /// handler.write(b"received").unwrap();
    /// assert_eq!(main_loop.consumer.wait(1, None), Ok(8));
    /// ```
    ///
    /// # Errors
    /// As for [`split`](Block::split).
    #[allow(clippy::type_complexity, reason = "two ends with two ways to sleep each")]
    pub fn split_apart<W: Park, R: Park, V: Park, Q: Park>(
        &mut self,
        config: &Config,
        listener: (W, R),
        connector: (V, Q),
    ) -> Result<(End<'_, W, R>, End<'_, V, Q>), Finding> {
        let [first_does, second_does] = [features_of::<W, R>(config), features_of::<V, Q>(config)];
        let [first, second] = self.set_up(config, first_does)?;
        let ([_, at], needed) = config.block();
        if second_does != first_does {
            // SAFETY: as in `set_up`, which has found the memory long enough; no end is attached.
            unsafe { geometry::init(second, needed - at, &Config { features: second_does, ..*config }, 1) }?;
        }
        // SAFETY: both segments were set up above, and are borrowed for the lifetime of the ends; only the two ends use them, one
        // for each party.
        let listening = unsafe { geometry::attach(first, at, second, needed - at) }?;
        // SAFETY: as above.
        let connecting = unsafe { geometry::attach(second, needed - at, first, at) }?;
        Ok((listening.into_end(listener.0, listener.1), connecting.into_end(connector.0, connector.1)))
    }

    /// Sets up both segments, with these features instead of those of `config`: where they begin. What it has on the stack is gone
    /// before the ends are made, which need the stack.
    #[inline(never)]
    fn set_up(&mut self, config: &Config, features: Features) -> Result<[*mut u8; 2], Finding> {
        let mine = |problem| Finding { whose: Whose::Mine, problem };
        config.check().map_err(mine)?;
        // The first one begins where the block does.
        let ([_, second], needed) = config.block();
        if needed > N {
            return Err(mine(Problem::too_short(needed, N)));
        }
        if to_usize(config.align) > align_of::<Self>() {
            return Err(mine(Problem::Align(config.align)));
        }
        let config = &Config { features, ..*config };
        let base: *mut u8 = self.0.as_mut_ptr().cast();
        let other = base.wrapping_add(second);
        // SAFETY: `needed` ≤ N bytes are exclusively borrowed here, and no end is attached.
        unsafe { geometry::init(base, second, config, 0) }?;
        // SAFETY: as above; the second segment begins within the block at a multiple of the alignment.
        unsafe { geometry::init(other, needed - second, config, 1) }?;
        Ok([base, other])
    }
}

/// What an end with such halves does.
fn features_of<W: Park, R: Park>(config: &Config) -> Features {
    if W::SLEEPS || R::SLEEPS { config.features } else { config.features.union(Features::AWAKE) }
}

/// Both ends, side by side: so they are made where the caller wants them, and need no stack here.
///
/// # Safety
/// As for [`fresh_end`](geometry::fresh_end), for both parties.
#[inline(never)]
unsafe fn ends<'m, P: Park>(
    bases: [*mut u8; 2],
    config: &Config,
    features: Features,
    parks: [(P, P); 2],
) -> (End<'m, P>, End<'m, P>) {
    let ([first, second], [first_parks, second_parks]) = (bases, parks);
    (
        // SAFETY: the caller's promise.
        unsafe { geometry::fresh_end(first, second, config, features, 0, first_parks) },
        // SAFETY: the caller's promise.
        unsafe { geometry::fresh_end(second, first, config, features, 1, second_parks) },
    )
}

impl<const N: usize> Default for Block<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for Block<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({N} bytes)")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::layout::Identity;
    use crate::park::Spin;
    use crate::testing::GiveUp;
    use core::mem::offset_of;

    const CHANNEL: Config = Config::new([64, 16]);
    const NEEDED: usize = block_len(&CHANNEL);

    /// What both segments say that their owners do.
    fn said<const N: usize>(block: &Block<N>) -> [Features; 2] {
        CHANNEL.block().0.map(|segment| {
            let word = block.0[segment + offset_of!(Identity, features)..][..4].iter();
            // SAFETY: all bytes of a block were initialised when it was made.
            let bytes = word.map(|byte| unsafe { byte.assume_init() });
            let bytes: heapless::Vec<u8, 4> = bytes.collect();
            Features::from_bits_retain(u32::from_ne_bytes(bytes[..].try_into().unwrap()))
        })
    }

    #[test]
    fn only_an_end_whose_halves_both_never_sleep_says_that_it_need_not_be_woken() {
        let mut block = Block::<NEEDED>::new();
        let other = CHANNEL.features;
        let awake = other.union(Features::AWAKE);
        assert_ne!(other, awake);
        block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
        assert_eq!(said(&block), [awake, awake]);
        block.split(&CHANNEL, [GiveUp, GiveUp], [GiveUp, GiveUp]).unwrap();
        assert_eq!(said(&block), [other, other]);
        block.split_apart(&CHANNEL, (Spin, Spin), (GiveUp, GiveUp)).unwrap();
        assert_eq!(said(&block), [awake, other]);
        block.split_apart(&CHANNEL, (GiveUp, GiveUp), (Spin, Spin)).unwrap();
        assert_eq!(said(&block), [other, awake]);
        block.split_apart(&CHANNEL, (Spin, GiveUp), (GiveUp, Spin)).unwrap();
        assert_eq!(said(&block), [other, other]);
        block.split_apart(&CHANNEL, (Spin, Spin), (Spin, Spin)).unwrap();
        assert_eq!(said(&block), [awake, awake]);
    }

    #[test]
    fn both_ends_of_a_channel_apart_work() {
        let mut block = Block::<NEEDED>::new();
        let (mut here, mut there) = block.split_apart(&CHANNEL, (Spin, Spin), (GiveUp, GiveUp)).unwrap();
        assert_eq!((here.write(&[1; 65]), there.write(&[2; 17])), (Ok(64), Ok(16)));
        let mut out = [0; 65];
        assert_eq!((here.read(&mut out), out[15]), (Ok(16), 2));
        assert_eq!((there.read(&mut out), out[63]), (Ok(64), 1));
    }

    #[test]
    fn a_block_may_be_longer_than_needed_and_not_shorter() {
        assert!(Block::<{ NEEDED + 1 }>::new().split(&CHANNEL, [Spin, Spin], [Spin, Spin]).is_ok());
        let mut short = Block::<{ NEEDED - 1 }>::new();
        let problem = Problem::too_short(NEEDED, NEEDED - 1);
        let finding = Finding { whose: Whose::Mine, problem };
        assert_eq!(short.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap_err(), finding);
        assert_eq!(short.split_apart(&CHANNEL, (Spin, Spin), (Spin, Spin)).unwrap_err(), finding);
    }
    #[test]
    fn segments_are_aligned_to_no_more_than_the_block_is() {
        const COARSE: Config = Config { align: 256, ..CHANNEL };
        let mut block = Block::<{ block_len(&COARSE) }>::new();
        let finding = Finding { whose: Whose::Mine, problem: Problem::Align(256) };
        assert_eq!(block.split(&COARSE, [Spin, Spin], [Spin, Spin]).unwrap_err(), finding);
        assert_eq!(block.split_apart(&COARSE, (Spin, Spin), (Spin, Spin)).unwrap_err(), finding);
    }
}
