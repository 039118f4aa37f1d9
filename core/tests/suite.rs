//! The suite that also runs as firmware: see tests/firmware.

#[path = "../../tests/firmware/src/suite.rs"]
mod suite;

#[test]
fn behaviour_without_an_operating_system() {
    for (name, test) in suite::ALL {
        println!("{name}");
        test();
    }
}
