//! libFuzzer's way into [`smstream_fuzz::local`].
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| smstream_fuzz::local(data));

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    eprintln!("built without libFuzzer: use fuzz/run");
    std::process::ExitCode::FAILURE
}
