//! What is said in a lane, and the arithmetic of cursors and park words: C, W, K.

/// What the peer echoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// Bytes.
    Bytes,
    /// Records, each sent back whole.
    Records,
}

/// FIN of `sent`, STOP of `received`.
pub const LAST: u32 = 1 << 31;
/// The bits of a cursor.
pub const CURSOR: u32 = LAST - 1;
/// A half sleeps.
pub const ASLEEP: u32 = 1 << 31;
/// A half sleeps, and its whole party with it: E.
pub const EXCLUSIVE: u32 = 1 << 30;
/// The bits of a wake threshold.
pub const THRESHOLD: u32 = EXCLUSIVE - 1;
/// What stands in `read_park` after STOP.
pub const STOPPED_HINT: u32 = 1;

/// a − b modulo 2³¹.
pub const fn diff(a: u32, b: u32) -> u32 {
    a.wrapping_sub(b) & CURSOR
}

/// A cursor and some bytes.
pub const fn add(cursor: u32, bytes: u32) -> u32 {
    cursor.wrapping_add(bytes) & CURSOR
}

/// Whether a threshold is ahead of a cursor, within the capacity: W5.
pub const fn is_ahead(park: u32, cursor: u32, capacity: u32) -> bool {
    let beyond = (park & THRESHOLD).wrapping_sub(cursor) & THRESHOLD;
    beyond != 0 && beyond <= capacity
}

/// Whether a publication from `old` to `now` has to wake the half with this park word: W4, W5.
pub const fn crossed(park: u32, old: u32, now: u32, last: bool, capacity: u32) -> bool {
    let moved = now.wrapping_sub(old) & THRESHOLD;
    let ahead = (park & THRESHOLD).wrapping_sub(old) & THRESHOLD;
    park & ASLEEP != 0 && ((ahead != 0 && ahead <= moved) || (last && is_ahead(park, now, capacity)))
}

/// What is wrong with `sent` of the peer: C5, C7.
pub fn wrong_sent(last: u32, now: u32, mine: u32, capacity: u32) -> Option<(&'static str, String)> {
    if now == last {
        return None;
    }
    if last & LAST != 0 {
        return Some(("C1", format!("its `sent` changed from {last:#010x} to {now:#010x} after FIN")));
    }
    if diff(now, mine) > capacity {
        return Some((
            "C5",
            format!("its `sent` {now:#010x} is more than {capacity} bytes ahead of what was taken, {mine:#010x}"),
        ));
    }
    (diff(last, mine) > diff(now, mine))
        .then(|| ("C5", format!("its `sent` went back from {last:#010x} to {now:#010x}")))
}

/// What is wrong with `received` of the peer: C6, C7.
pub fn wrong_received(last: u32, now: u32, mine: u32) -> Option<(&'static str, String)> {
    if now == last {
        return None;
    }
    if last & LAST != 0 {
        return Some(("C1", format!("its `received` changed from {last:#010x} to {now:#010x} after STOP")));
    }
    (diff(mine, now) > diff(mine, last))
        .then(|| ("C6", format!("its `received` went from {last:#010x} to {now:#010x}, and {mine:#010x} was sent")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the conformance kit, where it is beside this command.
    #[test]
    fn the_vectors_of_the_kit() {
        let read = |name: &str| {
            let path = format!("{}/../../tests/conformance/vectors/{name}.csv", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(path).expect("the kit beside this command")
        };
        let hex = |text: &str| u32::from_str_radix(text, 16).expect("a number");
        let dec = |text: &str| text.parse::<u32>().expect("a number");
        let mut rows = 0;
        for (name, check) in [
            (
                "crossed",
                (|f: &[&str], hex: &dyn Fn(&str) -> u32, dec: &dyn Fn(&str) -> u32| {
                    crossed(hex(f[0]), hex(f[1]), hex(f[2]), f[3] == "1", dec(f[4])) == (f[5] == "1")
                }) as fn(&[&str], &dyn Fn(&str) -> u32, &dyn Fn(&str) -> u32) -> bool,
            ),
            ("accept_sent", |f, hex, dec| {
                wrong_sent(hex(f[0]), hex(f[1]), hex(f[2]), dec(f[3])).is_none() == (f[4] == "1")
            }),
            ("accept_received", |f, hex, _| wrong_received(hex(f[0]), hex(f[1]), hex(f[2])).is_none() == (f[4] == "1")),
            ("ahead", |f, hex, dec| is_ahead(hex(f[0]), hex(f[1]), dec(f[2])) == (f[3] == "1")),
            ("diff", |f, hex, _| diff(hex(f[0]), hex(f[1])) == hex(f[2])),
        ] {
            for line in read(name).lines().filter(|line| !line.starts_with('#')) {
                let fields: Vec<&str> = line.split(';').collect();
                assert!(check(&fields, &hex, &dec), "{name}: {line}");
                rows += 1;
            }
        }
        assert!(rows > 4000, "only {rows} rows");
    }
}
