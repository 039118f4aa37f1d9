//! What a party does with records.

use std::io::{self, Write};

use smstream::{Records, Stream};
use smstream_tests::messages::Messages;

use crate::{Words, refusal, wrong};

/// One end of a connection that carries records, and what goes through it.
pub(crate) struct RecordEnd {
    records: Records,
    out: Messages,
    wanted: Messages,
}

impl RecordEnd {
    pub(crate) fn new(stream: Stream, seeds: [u64; 2]) -> io::Result<Self> {
        let records = stream.into_records()?;
        let (out, into) = (records.max_len(), records.max_peer_len());
        Ok(RecordEnd { records, out: Messages::new(seeds[0], out), wanted: Messages::new(seeds[1], into) })
    }

    pub(crate) fn run(&mut self, command: &str, words: &mut Words<'_>) -> io::Result<String> {
        match command {
            // So many of the sequence, each in another way.
            "records-send" => {
                for _ in 0..words.number::<u32>()? {
                    let record = self.out.next().expect("there is always one");
                    if self.out.number().is_multiple_of(2) {
                        self.records.send(&record)?;
                    } else {
                        let mut claim = self.records.claim((record.len() + 1).min(self.records.max_len()))?;
                        claim.write_all(&record)?;
                        claim.commit_filled()?;
                    }
                }
                Ok(self.out.number().to_string())
            }
            "records-receive" => {
                for _ in 0..words.number::<u32>()? {
                    self.receive()?;
                }
                Ok(self.wanted.number().to_string())
            }
            // Until there are no more, and how that was.
            "records-drain" => {
                let end = loop {
                    match self.receive() {
                        Ok(true) => {}
                        Ok(false) => break "end".into(),
                        Err(e) => break refusal(&e),
                    }
                };
                Ok(format!("{} {end}", self.wanted.number()))
            }
            // Sends back what comes, where it lies, until the end.
            "records-echo" => {
                let mut bytes = Vec::new();
                let mut count = 0;
                while self.records.recv_vec(&mut bytes)?.is_some() {
                    self.records.send(&bytes)?;
                    count += 1;
                }
                Ok(count.to_string())
            }
            // One record, of so many bytes of this value.
            "record-send" => {
                let (len, byte) = (words.number()?, words.number()?);
                self.records.send(&vec![byte; len])?;
                Ok(String::new())
            }
            // A record that is never sent: this process is killed meanwhile.
            "record-half" => {
                let mut claim = self.records.claim(words.number()?)?;
                claim.write_all(&[1; 3])?;
                std::mem::forget(claim);
                Ok(String::new())
            }
            "record-next" => Ok(self.records.next_len()?.map_or("end".into(), |len| len.to_string())),
            command => Err(wrong(format!("{command} is no command for records"))),
        }
    }

    /// The next one, in one of three ways. Whether there was one.
    fn receive(&mut self) -> io::Result<bool> {
        let mut bytes = Vec::new();
        let len = match self.wanted.number() % 3 {
            0 => self.records.recv_vec(&mut bytes)?,
            1 => {
                bytes.resize(self.records.max_peer_len(), 0);
                let len = self.records.recv(&mut bytes)?;
                bytes.truncate(len.unwrap_or(0));
                len
            }
            _ => match self.records.view()? {
                None => None,
                Some(record) => {
                    bytes.resize(record.len(), 0);
                    let half = record.len() / 2;
                    record.copy_to(half, &mut bytes[half..]);
                    record.copy_to(0, &mut bytes[..half]);
                    record.consume()?;
                    Some(bytes.len())
                }
            },
        };
        let Some(len) = len else { return Ok(false) };
        let number = self.wanted.number();
        let expected = self.wanted.next().expect("there is always one");
        assert!(bytes == expected, "record {number} of {len} bytes: {bytes:?} and not {expected:?}");
        Ok(true)
    }
}
