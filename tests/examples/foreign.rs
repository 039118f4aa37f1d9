//! The Rust party of `tests/interop/peers`, which says what each mode does.
//!
//! usage: `foreign listen|connect ADDRESS MODE [N]`

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::exit;
use std::thread;
use std::time::{Duration, Instant};

use smstream::{Builder, Listener, Records, Stream};

/// What each party sends, over and over.
fn pattern(party: u32) -> Vec<u8> {
    let mut x = party + 1;
    (0..65521)
        .map(|_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 24) as u8
        })
        .collect()
}

fn say(text: &str) {
    println!("{text}");
    io::stdout().flush().expect("standard output");
}

fn fail(what: &str, why: &str) -> ! {
    println!("failed {what}: {why}");
    exit(1);
}

fn send_pattern(mut stream: &Stream, party: u32, n: u64, pauses: bool) {
    let bytes = pattern(party);
    let (mut at, mut rest, mut k) = (0u64, 300_000, 0u64);
    while at < n {
        let from = (at % bytes.len() as u64) as usize;
        let piece = (1 + k * 7919 % 50_000).min((bytes.len() - from) as u64).min(n - at);
        k += 1;
        if let Err(e) = stream.write_all(&bytes[from..from + piece as usize]) {
            fail("write", &e.to_string());
        }
        at += piece;
        if pauses && at > rest {
            thread::sleep(Duration::from_millis(3));
            rest += 300_000;
        }
    }
}

fn receive_pattern(mut stream: &Stream, party: u32, n: u64, pauses: bool) {
    let bytes = pattern(party);
    let (mut at, mut rest) = (0u64, 500_000);
    let mut buffer = vec![0; 60_000];
    loop {
        let r = stream.read(&mut buffer).unwrap_or_else(|e| fail("read", &e.to_string()));
        if r == 0 {
            break;
        }
        for (i, byte) in buffer[..r].iter().enumerate() {
            if *byte != bytes[((at + i as u64) % bytes.len() as u64) as usize] {
                fail("read", "another byte came");
            }
        }
        at += r as u64;
        if pauses && at > rest {
            thread::sleep(Duration::from_millis(3));
            rest += 500_000;
        }
    }
    if at != n {
        fail("read", &format!("{at} bytes came and not {n}"));
    }
}

fn finish(stream: &Stream) {
    stream.shutdown(Shutdown::Write).expect("half a stream can be shut down");
}

fn sum(stream: &Stream, party: u32, n: u64) {
    thread::scope(|scope| {
        scope.spawn(|| {
            send_pattern(stream, party, n, true);
            finish(stream);
        });
        receive_pattern(stream, 1 - party, n, true);
    });
}

const RECORDS: usize = 200;

/// Record `k`: from none to many bytes, each 16th of `n` of them, from somewhere in the pattern on.
fn record(pattern: &[u8], k: usize, n: usize) -> Vec<u8> {
    let len = if k % 16 == 15 { n } else { k * 7919 % 5000 };
    pattern.iter().cycle().skip(k * 31 % pattern.len()).take(len).copied().collect()
}

fn records(records: Records, party: u32, n: usize) {
    let (mut reader, mut writer) = records.split();
    thread::scope(|scope| {
        scope.spawn(|| {
            let bytes = pattern(party);
            for k in 0..RECORDS {
                writer.send(&record(&bytes, k, n)).unwrap_or_else(|e| fail("send a record", &e.to_string()));
                if k % 20 == 19 {
                    thread::sleep(Duration::from_millis(3));
                }
            }
            writer.shutdown();
        });
        let (bytes, mut buffer) = (pattern(1 - party), vec![0; 300_000]);
        for k in 0..RECORDS {
            let came = reader.recv(&mut buffer).unwrap_or_else(|e| fail("receive a record", &e.to_string()));
            let came = came.unwrap_or_else(|| fail("receive a record", "no more came"));
            if buffer[..came] != record(&bytes, k, n)[..] {
                fail("receive a record", &format!("record {k} is another one"));
            }
            if k % 33 == 32 {
                thread::sleep(Duration::from_millis(3));
            }
        }
        match reader.recv(&mut buffer) {
            Ok(None) => {}
            other => fail("the end of the records", &format!("{other:?}")),
        }
    });
}

fn find_the_lie(mut records: Records) {
    let mut buffer = [0; 8];
    match records.recv(&mut buffer) {
        Ok(Some(3)) if buffer.starts_with(b"abc") => {}
        other => fail("a good record", &format!("{other:?}")),
    }
    for result in [records.recv(&mut buffer).map(drop), records.send(b"x")] {
        match result {
            Err(e) if e.kind() == ErrorKind::InvalidData => {}
            other => fail("a record that is a lie", &format!("{other:?}")),
        }
    }
}

fn echo(mut stream: &Stream) -> io::Result<()> {
    let mut buffer = vec![0; 60_000];
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n])?;
    }
}

fn echo_records(mut records: Records) -> io::Result<()> {
    let mut buffer = vec![0; 300_000];
    while let Some(n) = records.recv(&mut buffer)? {
        records.send(&buffer[..n])?;
    }
    Ok(())
}

/// Waits until the peer is killed: in a read, or in a write to a full lane.
fn until_dead(mut stream: &Stream, reading: bool) {
    let mut byte = [0];
    let result = if reading {
        stream.read_exact(&mut byte).unwrap_or_else(|e| fail("the first byte", &e.to_string()));
        say("ready");
        stream.read(&mut byte)
    } else {
        stream.set_nonblocking(true).expect("it can be");
        while stream.write(&[0; 4096]).is_ok() {}
        stream.set_nonblocking(false).expect("it can be");
        say("ready");
        stream.write(&[0; 4096])
    };
    match result {
        Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
        other => fail("wait for the peer's death", &format!("{other:?}")),
    }
}

fn measure(mut stream: &Stream, connector: bool, mode: &str, n: u64) {
    let mut bytes = vec![0; 1 << 16];
    let began = Instant::now();
    if mode == "ping" && connector {
        for _ in 0..n {
            stream.write_all(&bytes[..64]).expect("a ping");
            stream.read_exact(&mut bytes[..64]).expect("a pong");
        }
        say(&format!("{:.0} ns", began.elapsed().as_secs_f64() * 1e9 / n as f64));
    } else if mode == "ping" {
        echo(stream).expect("pings");
    } else if connector {
        for _ in 0..n / bytes.len() as u64 {
            stream.write_all(&bytes).expect("bulk");
        }
    } else {
        let mut got = 0;
        loop {
            let r = stream.read(&mut bytes).expect("bulk");
            if r == 0 {
                break;
            }
            got += r;
        }
        say(&format!("{:.0} MB/s", got as f64 / 1e6 / began.elapsed().as_secs_f64()));
    }
}

fn play(stream: Stream, connector: bool, mode: &str, n: u64) {
    if !mode.ends_with("record") && !mode.ends_with("records") {
        return play_bytes(&stream, connector, mode, n);
    }
    let whole = stream.into_records().unwrap_or_else(|e| fail("records", &e.to_string()));
    match mode {
        "records" => records(whole, u32::from(connector), n as usize),
        "corrupt-record" => find_the_lie(whole),
        "echo-records" => echo_records(whole).unwrap_or_else(|e| fail("echo records", &e.to_string())),
        _ => fail(mode, "no such mode"),
    }
}

fn play_bytes(mut stream: &Stream, connector: bool, mode: &str, n: u64) {
    let party = u32::from(connector);
    match mode {
        "sum" => sum(stream, party, n),
        "half" => {
            if connector {
                receive_pattern(stream, 0, 1000, false);
            }
            send_pattern(stream, party, if connector { 2000 } else { 1000 }, false);
            finish(stream);
            if !connector {
                receive_pattern(stream, 1, 2000, false);
            }
        }
        "stop" if connector => {
            stream.write_all(b"0123456789").expect("ten bytes");
            let e = loop {
                thread::sleep(Duration::from_millis(2));
                if let Err(e) = stream.write_all(b"x") {
                    break e;
                }
            };
            if e.kind() != ErrorKind::BrokenPipe {
                fail("STOP", &e.to_string());
            }
        }
        "stop" => {
            stream.read_exact(&mut [0; 10]).expect("ten bytes");
            stream.shutdown(Shutdown::Read).expect("half a stream can be shut down");
            thread::sleep(Duration::from_millis(100));
        }
        "wait" => until_dead(stream, true),
        "full" => until_dead(stream, false),
        "victim" => {
            stream.write_all(b"x").expect("a byte");
            say("ready");
            loop {
                thread::park();
            }
        }
        "corrupt" => {
            stream.write_all(b"x").expect("a byte");
            stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
            let mut buffer = [0; 4096];
            let end = loop {
                match stream.read(&mut buffer) {
                    Ok(0) => break None,
                    Ok(_) => {}
                    Err(e) => break Some(e),
                }
            };
            // The first word that it saw may have been one that is possible.
            let broken = |e: &io::Error| matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::ConnectionReset);
            if end.as_ref().is_some_and(|e| !broken(e)) {
                fail("a broken peer", &format!("{end:?}"));
            }
        }
        "ping" | "bulk" => measure(stream, connector, mode, n),
        "echo" => echo(stream).unwrap_or_else(|e| fail("echo", &e.to_string())),
        _ => fail(mode, "no such mode"),
    }
}

/// Echoes on all streams at once, until it is killed.
fn serve(listener: &Listener, records: bool) -> ! {
    loop {
        if let Ok(stream) = listener.accept() {
            thread::spawn(move || {
                if records {
                    echo_records(stream.into_records().map_err(|e| io::Error::other(e.to_string()))?)
                } else {
                    echo(&stream)
                }
            });
        }
    }
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, role, addr, mode, rest @ ..] = &words[..] else { exit(2) };
    let n = rest.first().map_or(0, |n| n.parse().expect("a number"));
    let (rounds, mode) = if mode == "again" { (2, "half") } else { (1, mode.as_str()) };
    let builder = Builder::new().records(mode.contains("record"));
    if role == "connect" {
        for _ in 0..rounds {
            match builder.connect_timeout(addr.as_str(), Duration::from_secs(10)) {
                Ok(stream) => play(stream, true, mode, n),
                Err(e) => {
                    println!("failed {}\n{e}", e.name());
                    exit(1);
                }
            }
        }
    } else {
        let listener = builder.bind(addr.as_str()).unwrap_or_else(|e| fail("listen", &e.to_string()));
        say("listening");
        if mode.starts_with("echo") {
            serve(&listener, mode == "echo-records");
        }
        for _ in 0..rounds {
            let stream = listener.accept().unwrap_or_else(|e| fail("accept", &e.to_string()));
            play(stream, false, mode, n);
        }
    }
    say("ok");
}
