//! Sets `cfg(loom)` for this package, and `cfg(smstream_mutant = "...")` if `SMSTREAM_MUTANT` names one.

fn main() {
    println!("cargo::rerun-if-env-changed=SMSTREAM_MUTANT");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=loom");
    if let Ok(mutant) = std::env::var("SMSTREAM_MUTANT") {
        println!("cargo::rustc-cfg=smstream_mutant=\"{mutant}\"");
    }
}
