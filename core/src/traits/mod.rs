//! The traits of other crates, each behind a feature of its name.

#[cfg(feature = "embedded-io")]
mod blocking;
#[cfg(not(loom))]
mod format;
