//! The command `smstream`.
fn main() {}
