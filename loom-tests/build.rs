//! Sets `cfg(loom)` for this package, and `cfg(smstream_mutants)`, with which `SMSTREAM_MUTANT` chooses a mutant at run time.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The core's features are off here.
    println!("cargo::rustc-check-cfg=cfg(feature, values(any()))");
    println!("cargo::rustc-cfg=loom");
    println!("cargo::rustc-cfg=smstream_mutants");
}
