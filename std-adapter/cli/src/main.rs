//! The command `smstream`. All of it is in the library beside this file.

fn main() -> std::process::ExitCode {
    smstream_cli::main()
}
