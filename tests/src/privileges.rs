//! What only root can show.

use std::io::Write;

/// Whether this process is root. If not, says that `what` is not shown, past the harness, which would keep it to itself.
///
/// # Panics
/// Without root where `CI` is set: there everything is to be shown.
#[must_use]
pub fn is_root_to_show(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "run as root, to show {what}");
        let text = format!("NOT SHOWN: {what}, because this process is not root\n");
        // It can only fail where no process reads the standard error.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    root
}
