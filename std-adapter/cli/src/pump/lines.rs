//! Bytes that are passed on by whole lines.

/// A line that is longer than this is passed on in parts.
const LONGEST: usize = 1 << 20;

/// Holds back the line that has only begun.
#[derive(Debug, Default)]
pub struct Lines {
    on: bool,
    begun: Vec<u8>,
}

impl Lines {
    /// Holds back lines that have only begun, or nothing at all.
    pub fn new(on: bool) -> Self {
        Self { on, begun: Vec::new() }
    }

    /// Takes bytes; gives what may be passed on now.
    pub fn take<'a>(&'a mut self, bytes: &'a [u8], whole: &'a mut Vec<u8>) -> &'a [u8] {
        if !self.on {
            return bytes;
        }
        whole.clear();
        self.begun.extend_from_slice(bytes);
        let end = match self.begun.iter().rposition(|&byte| byte == b'\n') {
            Some(end) => end + 1,
            None if self.begun.len() >= LONGEST => self.begun.len(),
            None => 0,
        };
        whole.extend(self.begun.drain(..end));
        whole
    }

    /// At the end: the line that has no end.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_pass() {
        let (mut lines, mut whole) = (Lines::new(true), Vec::new());
        assert_eq!(lines.take(b"on", &mut whole), b"");
        assert_eq!(lines.take(b"e\ntwo\nth", &mut whole), b"one\ntwo\n");
        assert_eq!(lines.take(b"ree", &mut whole), b"");
        assert_eq!(lines.rest(), b"three");
        let long = vec![b'x'; LONGEST];
        assert_eq!(lines.take(&long, &mut whole), long);
        assert_eq!(Lines::new(false).take(b"on", &mut whole), b"on");
    }
}
