//! Mutants: the places where this crate can be broken on purpose, so that a check can show that it would notice.
//!
//! An ordinary build knows nothing of them: [`mutant!`] is `false`, and the compiler drops what it guards. In a build with
//! `--cfg smstream_mutants` it is whether the environment variable `SMSTREAM_MUTANT` had that name at the first look, so
//! that one build serves all of them. `loom-tests/mutants` and `tests/mutants` go through them.

/// Whether the crate is to be the mutant of this name.
macro_rules! mutant {
    ($name:literal) => {
        $crate::mutant::is($name)
    };
}

/// The first expression, or the second in the mutant of this name.
macro_rules! unless_mutant {
    ($name:literal, $sound:expr, $broken:expr) => {
        if $crate::mutant::mutant!($name) { $broken } else { $sound }
    };
}

pub(crate) use {mutant, unless_mutant};

#[cfg(not(smstream_mutants))]
#[inline(always)]
pub(crate) const fn is(_: &str) -> bool {
    false
}

#[cfg(smstream_mutants)]
pub(crate) fn is(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<std::string::String>> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("SMSTREAM_MUTANT").ok()).as_deref() == Some(name)
}
