//! What can be waited for of a stream.

use super::Stream;
use crate::condition::Condition;
use crate::half::{ReadHalf, WriteHalf};

impl Stream {
    /// That reading would not wait.
    #[must_use]
    pub fn readable(&self) -> Condition<'_> {
        let (reader, writer) = self.halves();
        Condition::shared("Readable", reader, Some(writer))
    }

    /// That writing would not wait.
    #[must_use]
    pub fn writable(&self) -> Condition<'_> {
        Condition::shared("Writable", self.halves().1, None)
    }
}

impl ReadHalf {
    /// That reading would not wait.
    #[must_use]
    pub fn readable(&mut self) -> Condition<'_> {
        Condition::alone("Readable", self)
    }
}

impl WriteHalf {
    /// That writing would not wait.
    #[must_use]
    pub fn writable(&mut self) -> Condition<'_> {
        Condition::alone("Writable", self)
    }
}
