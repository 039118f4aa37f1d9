//! What must hold of the text of every error, and of the numbers and names of the codes of the libraries that this one replaces.

use std::fmt::{Debug, Display};

use smstream_core::error::{ErrorCode, ReadError, ReserveError, WaitError, WriteError};

/// A text that can stand in the middle of a sentence, in one line of a terminal.
///
/// # Panics
/// If it cannot.
pub fn check_error(error: &(impl Display + Debug)) {
    let text = error.to_string();
    assert!(!text.trim().is_empty() && text.trim() == text, "{error:?}: {text:?}");
    assert!(!text.contains(char::is_control) && !text.ends_with('.'), "{error:?}: {text:?}");
    check_debug(error);
}

/// The same with the code that it has in the libraries that this one replaces, if it has one.
///
/// # Panics
/// If the text or the code is not in order.
pub fn check_coded(error: &(impl Display + Debug), code: Option<ErrorCode>) {
    check_error(error);
    let Some(code) = code else { return };
    check_error(&code);
    assert_eq!(ErrorCode::from_number(code.number()), Some(code));
    let name = code.name();
    assert!(name.ends_with("Error") && name.chars().all(|c| c.is_ascii_alphabetic()), "{name}");
}

/// What is shown for debugging says the name of its type, in one line.
///
/// # Panics
/// If it does not.
pub fn check_debug(value: &impl Debug) {
    let shown = format!("{value:?}");
    assert!(shown.starts_with(|c: char| c.is_ascii_uppercase()) && !shown.contains('\n'), "{shown}");
}

/// An error of a half, with its code.
pub trait Coded: Copy + Debug + Display + PartialEq {
    /// The code that it has in the libraries that this one replaces.
    fn code(self) -> Option<ErrorCode>;
}

impl Coded for WriteError {
    fn code(self) -> Option<ErrorCode> {
        WriteError::code(self)
    }
}

impl Coded for ReadError {
    fn code(self) -> Option<ErrorCode> {
        ReadError::code(self)
    }
}

impl Coded for WaitError {
    fn code(self) -> Option<ErrorCode> {
        WaitError::code(self)
    }
}

impl Coded for ReserveError {
    fn code(self) -> Option<ErrorCode> {
        match self {
            ReserveError::Write(e) => e.code(),
            _ => None,
        }
    }
}

/// The error of a call, if it is one, is in order. What the call gave.
///
/// # Panics
/// If the text or the code is not in order.
pub fn checked<T, E: Coded>(result: Result<T, E>) -> Result<T, E> {
    result.inspect_err(|e| check_coded(e, e.code()))
}
