//! System errors with a sentence in front: what was tried, on what, and what to do next.

use std::error::Error;
use std::fmt;
use std::io;

/// What the system said, with the sentence that says what was tried.
#[derive(Debug)]
struct Explained {
    text: String,
    source: io::Error,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.text, self.source)
    }
}

impl Error for Explained {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Puts `text` in front of what the system said. The kind stays; the system's own error becomes the source.
#[doc(hidden)]
pub fn explain(source: impl Into<io::Error>, text: impl Into<String>) -> io::Error {
    let source = source.into();
    io::Error::new(source.kind(), Explained { text: text.into(), source })
}

#[cfg(test)]
mod tests {
    use super::explain;
    use std::error::Error;
    use std::io;

    #[test]
    fn keeps_kind_text_and_source() {
        let e = explain(io::Error::from_raw_os_error(libc::ENOENT), "cannot open x");
        assert_eq!(e.kind(), io::ErrorKind::NotFound);
        assert!(e.to_string().starts_with("cannot open x: "), "{e}");
        assert!(e.source().is_some());
    }
}
