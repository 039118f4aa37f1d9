//! The tests of the core that lie in `tests/tests`, built with nothing but the core: for `tests/mutation`, which builds them anew
//! for each change. An ordinary run of the tests has them where they lie, and leaves these out.

// The tests name what they share by the package that it lies in.
extern crate self as smstream_tests;

#[path = "../../tests/src/compact/mod.rs"]
mod compact;
#[path = "../../tests/src/cursors.rs"]
mod cursors;
#[path = "../../tests/src/give_up.rs"]
mod give_up;
#[path = "../../tests/src/heap.rs"]
#[allow(dead_code, reason = "the tests below need some of it")]
mod heap;
#[path = "../../tests/src/oracle/mod.rs"]
mod oracle;
#[path = "../../tests/src/records.rs"]
mod records;
#[path = "../../tests/src/ring/mod.rs"]
mod ring;
#[path = "../../tests/src/texts.rs"]
#[allow(dead_code, reason = "the tests below need some of it")]
mod texts;

/// What of the package's `memory` needs no system.
mod memory {
    pub use crate::heap::Heap;
}

#[path = "../../tests/tests/acceptance.rs"]
mod test_acceptance;
#[path = "../../tests/tests/counters.rs"]
mod test_counters;
#[path = "../../tests/tests/geometry.rs"]
mod test_geometry;
#[path = "../../tests/tests/padding.rs"]
mod test_padding;
#[path = "../../tests/tests/properties.rs"]
mod test_properties;
#[path = "../../tests/tests/records.rs"]
mod test_records;
#[path = "../../tests/tests/spsc.rs"]
mod test_spsc;
