//! What a party does with bytes that are held back, with lines, and with what has gone wrong.

use std::io::{self, BufRead, BufReader, Write};

use smstream::{BufMode, Error, Stream};

use crate::{Words, refusal, wrong};

pub(crate) fn run(stream: &mut Stream, command: &str, words: &mut Words<'_>) -> io::Result<String> {
    let done = Ok(String::new());
    match command {
        "buf-mode" => {
            stream.set_buf_mode(match words.text()? {
                "none" => BufMode::None,
                "full" => BufMode::Full,
                "line" => BufMode::LINE,
                other => return Err(wrong(format!("there is no mode {other}"))),
            });
            done
        }
        "flush" => {
            stream.flush()?;
            done
        }
        "held-back" => Ok(stream.buffered().to_string()),
        // A line there and one back, this often: what comes back is what was sent, with a word in front.
        "ask-lines" => {
            let count: u64 = words.number()?;
            // A byte at a time, so that nothing is taken beyond the line.
            let mut answers = BufReader::with_capacity(1, &*stream);
            for i in 0..count {
                writeln!(&*stream, "line {i}")?;
                let mut answer = String::new();
                answers.read_line(&mut answer)?;
                if answer != format!("answer line {i}\n") {
                    return Err(wrong(format!("{answer:?} is no answer to line {i}")));
                }
            }
            done
        }
        // Answers as the above wants it, until the end of the stream.
        "answer-lines" => {
            let mut questions = BufReader::with_capacity(1, &*stream);
            let mut count = 0;
            loop {
                let mut question = String::new();
                if questions.read_line(&mut question)? == 0 {
                    return Ok(format!("{count}"));
                }
                (&*stream).write_all(b"answer ")?;
                (&*stream).write_all(question.as_bytes())?;
                count += 1;
            }
        }
        "take-error" => Ok(stream.take_error()?.map_or("none".into(), |e: Error| refusal(&e.into()))),
        "history" => {
            let all: Vec<_> = stream.history().iter().map(|i| format!("{i} (reported: {})", i.reported)).collect();
            Ok(all.join(" | "))
        }
        other => Err(wrong(format!("{other} is no command"))),
    }
}
