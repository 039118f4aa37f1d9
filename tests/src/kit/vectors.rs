//! The arithmetic, as tables.

use std::fmt::Write as _;

use smstream_core::cursor::{self, ASLEEP, CURSOR, EXCLUSIVE, FIN, THRESHOLD};
use smstream_core::geometry::Config;

const INTERESTING: [u32; 12] = [
    0,
    1,
    2,
    THRESHOLD - 1,
    THRESHOLD,
    THRESHOLD + 1,
    CURSOR - 1,
    CURSOR,
    CURSOR + 1,
    CURSOR + 6,
    u32::MAX - 1,
    u32::MAX,
];

/// `diff.csv`.
#[must_use]
pub fn diff() -> String {
    let mut text = String::from("# a;b;diff(a, b)\n");
    for a in INTERESTING {
        for b in INTERESTING {
            writeln!(text, "{a:08x};{b:08x};{:08x}", cursor::diff(a, b)).unwrap();
        }
    }
    text
}

/// `crossed.csv`: W4, W5.
#[must_use]
pub fn crossed() -> String {
    let mut text = String::from("# park word;old cursor;new cursor;last;capacity;crossed\n");
    for capacity in [1, 8, 1 << 29] {
        for old in [0, 5, THRESHOLD - 2, THRESHOLD, THRESHOLD + 1, CURSOR - 1, CURSOR] {
            for moved in [0, 1, 2, 8, capacity] {
                for ahead in [0, 1, 2, 3, 8, 9, capacity, capacity + 1] {
                    for last in [false, true] {
                        for flags in [ASLEEP, ASLEEP | EXCLUSIVE, 0] {
                            if moved > capacity || (flags != ASLEEP && ahead != 1) {
                                continue;
                            }
                            let new = cursor::add(old, moved);
                            let park = cursor::asleep_at(old, ahead) & THRESHOLD | flags;
                            let crossed = cursor::crosses(park, old, new, last, capacity);
                            let row = (u8::from(last), u8::from(crossed));
                            writeln!(text, "{park:08x};{old:08x};{new:08x};{};{capacity};{}", row.0, row.1).unwrap();
                        }
                    }
                }
            }
        }
    }
    let mut rows: Vec<&str> = text.lines().collect();
    rows[1..].sort_unstable();
    rows.dedup();
    rows.join("\n") + "\n"
}

/// `ahead.csv`: W5, E3.
#[must_use]
pub fn ahead() -> String {
    let mut text = String::from("# park word;cursor;capacity;ahead\n");
    for capacity in [0, 1, 8, 1 << 29] {
        for at in [0, 5, THRESHOLD, THRESHOLD + 1, CURSOR] {
            for beyond in [0, 1, 8, 9, 1 << 29, (1 << 29) + 1, THRESHOLD] {
                let park = cursor::asleep_at(at, beyond);
                let ahead = u8::from(cursor::is_ahead(park, at, capacity));
                writeln!(text, "{park:08x};{at:08x};{capacity};{ahead}").unwrap();
            }
        }
    }
    text
}

/// `threshold.csv`: step 2 of K.
#[must_use]
pub fn threshold() -> String {
    let mut text = String::from("# half (r or w);my cursor;want;capacity;park word\n");
    for capacity in [1u32, 8, 1 << 29] {
        for at in [0, 3, THRESHOLD, THRESHOLD + 1, CURSOR] {
            for want in [1, cursor::max_wait(capacity)] {
                writeln!(text, "r;{at:08x};{want};{capacity};{:08x}", cursor::asleep_at(at, want)).unwrap();
                let room = want.wrapping_sub(capacity);
                writeln!(text, "w;{at:08x};{want};{capacity};{:08x}", cursor::asleep_at(at, room)).unwrap();
            }
        }
    }
    text
}

/// C5 and C7, as LAYOUT says them.
#[must_use]
pub fn accepts_sent(last: u32, now: u32, mine: u32, capacity: u32) -> bool {
    let used = |word| cursor::diff(word, mine);
    now == last || (last & FIN == 0 && used(last) <= used(now) && used(now) <= capacity)
}

/// C6 and C7, as LAYOUT says them.
#[must_use]
pub fn accepts_received(last: u32, now: u32, mine: u32) -> bool {
    let flying = |word| cursor::diff(mine, word);
    now == last || (last & FIN == 0 && flying(now) <= flying(last))
}

const BASES: [u32; 4] = [0, 5, CURSOR - 3, CURSOR];
const CAPACITIES: [u32; 4] = [0, 1, 4, 1 << 29];

fn words(base: u32, capacity: u32) -> Vec<u32> {
    let mut words: Vec<u32> = [0, 1, 2, 4, 5, capacity, capacity + 1, 1 << 30, CURSOR, CURSOR - 1]
        .iter()
        .flat_map(|&n| [cursor::add(base, n), cursor::add(base, n) | FIN])
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// Each `(last, now, mine, capacity)` that the tables have: `last` is one that was accepted before.
#[must_use]
pub fn acceptance(sent: bool) -> Vec<(u32, u32, u32, u32)> {
    let mut all = Vec::new();
    for capacity in CAPACITIES {
        for mine in BASES {
            for n in [0, 1, 2, 4, capacity] {
                if n > capacity {
                    continue;
                }
                let last = if sent { cursor::add(mine, n) } else { cursor::diff(mine, n) };
                for last in [last, last | FIN] {
                    let base = if sent { mine } else { cursor::diff(mine, capacity) };
                    all.extend(words(base, capacity).into_iter().map(|now| (last, now, mine, capacity)));
                }
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// `accept_sent.csv`.
#[must_use]
pub fn accept_sent() -> String {
    let mut text = String::from("# last accepted sent;sent now;my received;their capacity;accepted\n");
    for (last, now, mine, capacity) in acceptance(true) {
        let accepted = u8::from(accepts_sent(last, now, mine, capacity));
        writeln!(text, "{last:08x};{now:08x};{mine:08x};{capacity};{accepted}").unwrap();
    }
    text
}

/// `accept_received.csv`.
#[must_use]
pub fn accept_received() -> String {
    let mut text = String::from("# last accepted received;received now;my sent;my capacity;accepted\n");
    for (last, now, mine, capacity) in acceptance(false) {
        let accepted = u8::from(accepts_received(last, now, mine));
        writeln!(text, "{last:08x};{now:08x};{mine:08x};{capacity};{accepted}").unwrap();
    }
    text
}

/// `block.csv`: where segment 1 of a block begins, and how long the block is. P3, F3.
#[must_use]
pub fn block() -> String {
    let mut text = String::from("# align;capacity 0;capacity 1;lane_offset;segment 1 begins;length of the block\n");
    for align in [128, 4096, 16384, 65536] {
        for capacities in [[0, 1], [1, 0], [128, 128], [4096, 8192], [1 << 18, 1 << 18], [1 << 29, 1 << 29]] {
            let config = Config { align, ..Config::new(capacities) };
            let ([_, second], len) = config.block();
            let lane = config.describe(0).lane_offset;
            writeln!(text, "{align};{};{};{lane};{second};{len}", capacities[0], capacities[1]).unwrap();
        }
    }
    text
}
