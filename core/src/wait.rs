//! Ways to sleep where there is no operating system, and a ring of bytes for async code.
//!
//! | | sleeps | is woken by | feature |
//! |---|---|---|---|
//! | [`Spin`](crate::park::Spin) | never | – | |
//! | `Wfe` | in the instruction WFE | the instruction SEV, any interrupt | `wfe`, on Arm |
//! | `InCriticalSection` | as a closure says, with interrupts off | the interrupt that changes the word | `critical-section` |
//! | `AsyncRing` | as the executor does | the other half's waker | `embedded-io-async` |
//!
//! Do not wait with `Spin` on one core for something that this same core must do: it never returns. Use the calls that say
//! [`Full`](crate::error::WriteError::Full) or [`Empty`](crate::error::ReadError::Empty) there, as an interrupt handler must.

#[cfg(any(feature = "embedded-io-async", loom))]
mod async_ring;
#[cfg(feature = "critical-section")]
mod section;
#[cfg(any(feature = "embedded-io-async", loom))]
mod waker;
#[cfg(all(feature = "wfe", any(target_arch = "arm", target_arch = "aarch64")))]
mod wfe;

#[cfg(any(feature = "embedded-io-async", loom))]
#[cfg_attr(docsrs, doc(cfg(feature = "embedded-io-async")))]
pub use async_ring::{AsyncConsumer, AsyncProducer, AsyncRing};
#[cfg(feature = "critical-section")]
#[cfg_attr(docsrs, doc(cfg(feature = "critical-section")))]
pub use section::InCriticalSection;
#[cfg(all(feature = "wfe", any(target_arch = "arm", target_arch = "aarch64")))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "wfe", any(target_arch = "arm", target_arch = "aarch64")))))]
pub use wfe::Wfe;
