//! Records: R. What a writer puts into its lane, what a reader makes of it, and headers that lie.

use super::{Case, case};

/// `p:` steps that put words into the peer's lane, which begins at 0x1000, and publish so many bytes.
fn lane(words: &[u32], published: u32) -> String {
    let words = words.iter().enumerate().map(|(n, word)| format!("p:{:x}={word:08x} ", 0x1000 + 4 * n));
    words.collect::<String>() + &format!("p:080={published:08x}")
}

/// Adds the cases.
pub(super) fn add(all: &mut Vec<Case>) {
    let mut add = |name: &str, rules, image, steps: &str| {
        all.push(case(&format!("record-{name}"), rules, image, "", "ok", steps));
    };
    let abc = 0x0063_6261;
    let one = lane(&[3, abc], 8);
    add("received", "R2", "memfds", &format!("{one} R:100=616263 m:100=00000008 R:100=Again"));
    add("empty", "R2", "memfds", &format!("{} R:100= m:100=00000004 R:0= m:100=00000008 R:0=Again", lane(&[0, 0], 8)));
    add("too-small", "R2", "memfds", &format!("{one} R:2=TooSmall m:100=00000000 R:3=616263 m:100=00000008"));
    add("end", "R2", "memfds", &format!("{one} p:080=80000008 R:3=616263 R:3=End R:3=End"));
    let padded = lane(&[0x8000_0004, 0xffff_ffff, 0x8000_0000, 3, abc], 20);
    add("padding", "R2", "memfds", &format!("{padded} R:3=616263 m:100=00000014"));
    let padding_alone = lane(&[0x8000_0003, 0], 8);
    add("padding-alone", "R2", "memfds", &format!("{padding_alone} R:3=Again m:100=00000008 p:080=80000008 R:3=End"));
    add("sent", "R1", "memfds", "W:616263=3 m:080=00000008 W:=0 m:080=0000000c W:61626364=4 m:080=00000014");
    // Sixteen bytes of lane, whose cursors begin five bytes before the end of all numbers.
    let wrap = "r:100=30313233343536373839616263646566";
    add("wraps", "R1", "wrap", "W:=0 W:=0 m:080=00000003 W:4142=2 m:080=0000000b W:=Again");
    let zeros = "p:1008=00000000 p:100c=00000000 p:1000=00000000";
    add("header-wraps", "R2", "wrap", &format!("{wrap} {zeros} p:080=00000013 R:9= R:9= m:100=00000013 R:9=Again"));
    add("longest", "R1", "wrap", "W:4142434445464748494a4b4c=12 m:080=0000000b W:=Again");
    add("too-long", "R1", "wrap", "W:4142434445464748494a4b4c4d=TooLong m:080=7ffffffb");
    add("no-lane-for-any", "R1", "capacity-0-1", "W:=TooLong m:080=00000000");
    add("after-stop", "R1", "stopped", "W:=Closed");

    let mut lie = |name: &str, words: &[u32], published: u32| {
        let closed = "m:100=80000000 m:180=00000001 R:100=Corrupt r:1=Corrupt W:61=Corrupt m:080=80000000";
        add(&format!("lie-{name}"), "R2 C8", "memfds", &format!("{} R:100=Corrupt {closed}", lane(words, published)));
    };
    lie("longer-than-published", &[5, abc], 8);
    lie("longer-than-lane", &[4093, abc], 8);
    lie("largest", &[0x7fff_ffff, abc], 8);
    lie("overflows-when-filled-up", &[0x7fff_fffd, abc], 8);
    lie("largest-padding", &[0xffff_ffff, abc], 8);
    lie("padding-longer-than-published", &[0x8000_0005, abc], 8);
    lie("header-cut", &[0], 3);
    lie("filling-cut", &[3, abc], 7);
    lie("second-half-of-nothing", &[0], 1);
    // The record before it is good: it comes, and the lie is found then.
    let second = lane(&[3, abc, 0x7fff_fffc], 12);
    let closed = "m:100=80000008 m:180=00000001 W:61=Corrupt m:080=80000000";
    add("lie-after-a-good-one", "R2 C8", "memfds", &format!("{second} R:3=616263 R:3=Corrupt {closed}"));
    let skipped = lane(&[0x8000_0000, 0x7fff_ffff], 8);
    let closed = "m:100=80000004 m:180=00000001 W:61=Corrupt";
    add("lie-after-padding", "R2 C8", "memfds", &format!("{skipped} R:3=Corrupt {closed}"));
}
