//! A process on one side of async streams, for tests: reads a command from each line, and answers each with a line, `ok …` or
//! `err KIND REASON CODE TEXT`, as the program `party` does. It ends when its standard input does.
//!
//! | command | does |
//! |---|---|
//! | `echo ADDR CAPACITY SPIN` | listens, and sends back to each connector what it sends |
//! | `served` | connections served to their end, and bytes sent back |
//! | `http1 ADDR CAPACITY`, `http2 ADDR CAPACITY` | an HTTP server: `POST /echo` sends the body back, `GET /bytes/N` gives N bytes |
//! | `connect ADDR N` | makes N more connections and keeps them |
//! | `say TEXT` | sends these bytes on each connection |
//! | `hear N` | reads N bytes from each connection, and says what came on the last one |
//! | `trips ADDR N COUNT BYTES` | N connections at once, COUNT round trips on each, of so many bytes; says how often each got through when the first one was done, and the most round trips of all that went by during one |
//! | `drop` | closes all connections |

mod http;

use std::fmt::Display;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use smstream::Builder;
use smstream::tokio::{Listener, Stream, connect};
use smstream_tests::flow::Flow;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinSet;

/// What has been served.
#[derive(Default)]
struct Served {
    connections: AtomicU64,
    bytes: AtomicU64,
}

/// What this process has.
#[derive(Default)]
struct Party {
    served: Arc<Served>,
    connections: Vec<Stream>,
    servers: JoinSet<()>,
}

/// The command makes no sense: the test is wrong.
fn wrong(text: impl Display) -> io::Error {
    io::Error::other(text.to_string())
}

struct Words<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn text(&mut self) -> io::Result<&'a str> {
        self.0.next().ok_or_else(|| wrong("the command needs more words"))
    }
    fn number<T: std::str::FromStr>(&mut self) -> io::Result<T> {
        let text = self.text()?;
        text.parse().map_err(|_| wrong(format!("{text} is no such number")))
    }
    fn spin(&mut self) -> io::Result<Duration> {
        self.number().map(Duration::from_micros)
    }
}

impl Party {
    fn listen(&self, addr: &str, capacity: usize, spin: Duration) -> io::Result<Listener> {
        let start = smstream_tests::flow::NEAR_WRAP;
        let listener = Builder::new().capacity(capacity).spin(spin).start_cursor(start).bind(addr)?;
        Ok(Listener::from_std(listener)?)
    }

    async fn run(&mut self, line: &str) -> io::Result<String> {
        let mut words = Words(line.split_whitespace());
        let done = Ok(String::new());
        match words.text()? {
            "echo" => {
                let listener = self.listen(words.text()?, words.number()?, words.spin()?)?;
                let served = Arc::clone(&self.served);
                self.servers.spawn(async move {
                    loop {
                        let mut stream = listener.accept().await.expect("a connector");
                        let served = Arc::clone(&served);
                        tokio::spawn(async move {
                            // A peer that dies ends its own connection and nothing else.
                            let bytes = echo(&mut stream).await.unwrap_or_default();
                            served.bytes.fetch_add(bytes, Relaxed);
                            served.connections.fetch_add(1, Relaxed);
                        });
                    }
                });
                done
            }
            "served" => Ok(format!("{} {}", self.served.connections.load(Relaxed), self.served.bytes.load(Relaxed))),
            version @ ("http1" | "http2") => {
                let listener = self.listen(words.text()?, words.number()?, smstream::default_spin())?;
                self.servers.spawn(http::serve(listener, version == "http2"));
                done
            }
            "connect" => {
                let addr = words.text()?;
                for _ in 0..words.number()? {
                    self.connections.push(connect(addr).await?);
                }
                done
            }
            "say" => {
                let text = words.text()?;
                for connection in &mut self.connections {
                    connection.write_all(text.as_bytes()).await?;
                }
                done
            }
            "hear" => {
                let mut text = vec![0; words.number()?];
                for connection in &mut self.connections {
                    connection.read_exact(&mut text).await?;
                }
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            "trips" => trips(words.text()?, words.number()?, words.number()?, words.number()?).await,
            "drop" => {
                self.connections.clear();
                done
            }
            other => Err(wrong(format!("{other} is no command"))),
        }
    }
}

/// Sends back what comes, to the end of the stream.
async fn echo(stream: &mut Stream) -> io::Result<u64> {
    let mut buffer = vec![0; 16 * 1024];
    let mut bytes = 0;
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            stream.shutdown().await?;
            return Ok(bytes);
        }
        stream.write_all(&buffer[..n]).await?;
        bytes += n as u64;
    }
}

/// Many clients at once, each of which asks again as soon as it is answered.
///
/// Says how many round trips each had made when the first one was done; then the most round trips, of all of them, that
/// went by while one of them waited for one.
async fn trips(addr: &str, clients: usize, count: u64, bytes: usize) -> io::Result<String> {
    let trips: Arc<Vec<AtomicU64>> = Arc::new((0..clients).map(|_| AtomicU64::new(0)).collect());
    let all = Arc::new(AtomicU64::new(0));
    let begin = Arc::new(Barrier::new(clients));
    let (first, mut done) = mpsc::channel(clients);
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let mut stream = connect(addr).await?;
        let (trips, all, begin, first) = (Arc::clone(&trips), Arc::clone(&all), Arc::clone(&begin), first.clone());
        tasks.spawn(async move {
            let mut flow = Flow::new(number as u64, bytes);
            let mut buffer = vec![0; bytes];
            let mut longest = 0;
            begin.wait().await;
            for _ in 0..count {
                flow.fill(&mut buffer);
                let before = all.load(Relaxed);
                stream.write_all(&buffer).await?;
                stream.read_exact(&mut buffer).await?;
                longest = longest.max(all.fetch_add(1, Relaxed) - before);
                flow.check(&buffer);
                trips[number].fetch_add(1, Relaxed);
            }
            // The receiver listens no more once it has heard the first one.
            let _ = first.send(()).await;
            io::Result::Ok(longest)
        });
    }
    done.recv().await.ok_or_else(|| wrong("no client was done"))?;
    let counts: Vec<_> = trips.iter().map(|n| n.load(Relaxed).to_string()).collect();
    done.close();
    let mut longest = 0;
    while let Some(result) = tasks.join_next().await {
        longest = longest.max(result.map_err(io::Error::other)??);
    }
    Ok(format!("{} {longest}", counts.join(" ")))
}

fn reply(result: io::Result<String>) {
    let line = match result {
        Ok(text) => format!("ok {text}"),
        Err(e) => {
            let reason = smstream::Error::from_io(&e).map_or("-".into(), |e| format!("{:?}", e.reason()));
            format!("err {:?} {reason} - {e}", e.kind())
        }
    };
    println!("{line}");
    io::stdout().flush().expect("the test reads the answers");
}

fn main() {
    let workers = std::env::args().nth(1).map_or(1, |n| n.parse().expect("a number of threads"));
    let runtime = match workers {
        1 => tokio::runtime::Builder::new_current_thread().enable_io().build(),
        n => tokio::runtime::Builder::new_multi_thread().worker_threads(n).enable_io().build(),
    };
    let (sender, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if line.map(|line| sender.send(line)).is_err() {
                break;
            }
        }
    });
    runtime.expect("a runtime").block_on(async {
        let mut party = Party::default();
        while let Some(line) = lines.recv().await {
            reply(party.run(&line).await);
        }
    });
}
