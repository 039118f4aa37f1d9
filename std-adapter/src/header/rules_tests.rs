//! Tests of the rules: what each word may be, and what is said of those that may not be.

use super::super::check::Check;
use super::super::words::tests::{swapped, with, with_word};
use super::*;
use smstream_core::identity as core_identity;
use smstream_core::layout::{Identity, MAGIC};
use smstream_core::ordering;

/// A good header of `party`.
pub(crate) fn good(party: u32) -> HeaderCopy {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    let words = [
        ("byte_order", BYTE_ORDER),
        ("version", VERSION),
        ("features", Features::COUNTERS.bits()),
        ("party", party),
        ("align", 4096),
        ("lane_offset", 4096),
        ("capacity", 65536),
        ("peer_capacity", 1024),
        ("start", 7),
    ];
    with(&HeaderCopy::of(&bytes), &words)
}

/// What core says of the same words.
fn core_accepts(header: &HeaderCopy) -> bool {
    let identity = Identity::blank();
    let magic = header.magic();
    for (word, at) in identity.magic.iter().zip([0, 4]) {
        let bytes = [magic[at], magic[at + 1], magic[at + 2], magic[at + 3]];
        ordering::set_up(word, u32::from_ne_bytes(bytes));
    }
    // Core takes the words as they stand.
    let raw = |word: u32| if header.order() == ByteOrder::Swapped { word.swap_bytes() } else { word };
    ordering::set_up(&identity.byte_order, header.byte_order());
    ordering::set_up(&identity.version, raw(header.version()));
    ordering::set_up(&identity.features, raw(header.features()));
    ordering::set_up(&identity.party, raw(header.party()));
    ordering::set_up(&identity.align, raw(header.align()));
    ordering::set_up(&identity.lane_offset, raw(header.lane_offset()));
    ordering::set_up(&identity.capacity, raw(header.capacity()));
    ordering::set_up(&identity.peer_capacity, raw(header.peer_capacity()));
    ordering::set_up(&identity.start, raw(header.start()));
    core_identity::read(&identity, &mut |_| ()).is_some()
}

fn accepts(header: &HeaderCopy) -> bool {
    is_usable(header, (header.party() & 1) as usize)
}

#[test]
fn what_is_good_is_good() {
    for party in 0..2 {
        assert!(is_usable(&good(party), party as usize) && core_accepts(&good(party)));
        assert!(!is_usable(&good(party), 1 - party as usize), "it is the other party's");
    }
}

/// Every word with values around its limits: the same verdict as that of attaching.
#[test]
fn it_agrees_with_attaching() {
    let names =
        ["byte_order", "version", "features", "party", "align", "lane_offset", "capacity", "peer_capacity", "start"];
    let mut values: Vec<u32> = (0..32).flat_map(|bit| [1 << bit, (1u32 << bit) - 1, (1 << bit) + 1]).collect();
    values.extend([0, 768, 896, 4096, 8192, BYTE_ORDER, BYTE_ORDER.swap_bytes(), u32::MAX, 0x0001_8000]);
    let (mut yes, mut no) = (0, 0);
    for first in names {
        for second in ["align", first] {
            for &value in &values {
                for other in [128, 4096, 1 << 26] {
                    let header = with(&good(1), &[(second, other), (first, value)]);
                    let good = core_accepts(&header);
                    assert_eq!(accepts(&header), good, "{first} {value:#x}, {second} {other}");
                    *(if good { &mut yes } else { &mut no }) += 1;
                }
            }
        }
    }
    assert!(yes > 100 && no > 100, "{yes} good ones and {no} bad ones");
    assert!(!accepts(&swapped(&good(0))) && !core_accepts(&swapped(&good(0))));
    assert!(!accepts(&with(&good(0), &[("magic", 0)])) && !core_accepts(&with(&good(0), &[("magic", 0)])));
}

#[test]
fn nothing_makes_it_panic() {
    let mut state = 1u64;
    for _ in 0..2000 {
        let mut bytes = [0; LEN];
        for byte in &mut bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        if state & 1 << 40 != 0 {
            bytes[..8].copy_from_slice(&MAGIC);
            bytes[8..12].copy_from_slice(&BYTE_ORDER.to_ne_bytes());
        }
        let header = HeaderCopy::of(&bytes[..(state >> 33) as usize % (LEN + 1)]);
        let mut checks = Checks::default();
        identity(&header, 0, &mut checks);
        assert!(checks.any_bad());
        agreement(&[header.clone(), header.clone()], &mut checks);
        closed_lane(&[header.clone(), header], 0, &mut checks);
    }
}

/// What a rule has found: one check of that name.
fn only<'c>(checks: &'c Checks, rule: &str) -> &'c Check {
    let mut found = checks.0.iter().filter(|check| check.rule == rule);
    let (Some(check), None) = (found.next(), found.next()) else { panic!("{rule}: {checks:?}") };
    check
}

/// What the rules of the identity say of a header.
fn said(header: &HeaderCopy, party: usize) -> Checks {
    let mut checks = Checks::default();
    assert!(identity(header, party, &mut checks));
    checks
}

/// A rule's verdict, and a word that what it means must have.
#[track_caller]
fn expect(checks: &Checks, rule: &str, verdict: Verdict, meaning: &str) {
    let check = only(checks, rule);
    assert!(check.verdict == verdict && check.meaning.contains(meaning), "{check:?}");
}

#[test]
fn words_that_another_version_may_use_are_told_from_damage() {
    let counters = Features::COUNTERS.bits();
    for (bits, verdict, meaning) in [
        (counters, Verdict::Ok, "counters are kept"),
        (0, Verdict::Note, "keeps no counters"),
        (Features::RECORDS.bits(), Verdict::Note, "keeps no counters"),
        (counters | 1 << 31, Verdict::Note, "0x80000000 is not known"),
        (counters | 1 << 31 | 1 << 15, Verdict::Bad, "must know 0x8000 "),
        (1, Verdict::Bad, "must know 0x1 "),
    ] {
        expect(&said(&with(&good(0), &[("features", bits)]), 0), "features", verdict, meaning);
    }
    expect(&said(&good(0), 0), "version", Verdict::Ok, "the version this program knows");
    expect(&said(&with(&good(0), &[("version", 0)]), 0), "version", Verdict::Bad, "not ready");
    expect(&said(&with(&good(0), &[("version", VERSION + 1)]), 0), "version", Verdict::Bad, "another version");
    expect(&said(&good(0), 0), "byte_order", Verdict::Ok, "this machine's");
    expect(&said(&swapped(&good(0)), 0), "byte_order", Verdict::Bad, "other byte order");
    expect(&said(&with(&good(0), &[("byte_order", 7)]), 0), "byte_order", Verdict::Bad, "damaged");
    let stray = with_word(&with_word(&good(0), 0x40, 7), 0x44, 7);
    assert!(reserved_are_zero(&good(0)) && !reserved_are_zero(&stray));
    expect(&said(&good(0), 0), "reserved", Verdict::Ok, "nothing");
    expect(&said(&stray, 0), "reserved", Verdict::Note, "newer owner");
    assert_eq!(only(&said(&stray, 0), "reserved").found, "2 words, the first at 0x40");
}

#[test]
fn a_segment_is_told_from_something_else() {
    for (party, whose) in [(0, "the listener's"), (1, "the connector's")] {
        expect(&said(&good(party), party as usize), "party", Verdict::Ok, whose);
        expect(&said(&good(party), 1 - party as usize), "party", Verdict::Bad, "the other party");
    }
    expect(&said(&good(0), 0), "magic", Verdict::Ok, "");
    expect(&said(&with(&good(0), &[("magic", 0)]), 0), "magic", Verdict::Bad, "is damaged");
    expect(&said(&good(0), 0), "capacity", Verdict::Ok, "it sends");
    expect(&said(&good(0), 0), "peer_capacity", Verdict::Ok, "it receives");
    let mut checks = Checks::default();
    assert!(!identity(&with(&good(0), &[("magic", 0), ("byte_order", 0)]), 0, &mut checks));
    expect(&checks, "magic", Verdict::Bad, "something else");
    assert_eq!(checks.0.len(), 2, "the rest means nothing: {checks:?}");
}

/// Where the alignment is damaged, the lane may be where any alignment would put it.
#[test]
fn a_lane_begins_behind_the_header_and_not_farther_than_the_alignment_puts_it() {
    for (offset, align, good) in [
        (768, 128, true),
        (640, 128, false),
        (896, 128, false),
        (4096, 4096, true),
        (896, 4096, true),
        (4224, 4096, false),
        (800, 4096, false),
        (768, 0, true),
        (MAX_ALIGN, 0, true),
        (MAX_ALIGN + 128, 0, false),
    ] {
        assert_eq!(is_lane_offset(offset, align), good, "{offset} {align}");
    }
    assert_eq!(second_segment(&good(0)), Some(4096 + 65536));
    assert_eq!(second_segment(&with(&good(0), &[("capacity", 1)])), Some(8192));
    assert_eq!(second_segment(&with(&good(0), &[("capacity", u32::MAX)])), Some(0x1_0000_1000));
    assert_eq!(second_segment(&with(&good(0), &[("lane_offset", 0)])), None);
    assert_eq!(second_segment(&with(&good(0), &[("align", 0)])), None);
}

#[test]
fn a_segment_that_is_awaited_needs_room() {
    let blank = HeaderCopy::of(&[0; LEN]);
    let first = with(&good(0), &[("state", state::ARMED)]);
    let at = 4096 + 65536;
    // The header fills a page, and the lane of 1024 bytes comes behind it.
    for (end, verdict) in [(at + 5120, Verdict::Ok), (at + 5119, Verdict::Bad), (at + 9000, Verdict::Ok)] {
        let mut checks = Checks::default();
        assert!(awaited(&first, &blank, at, end, &mut checks));
        expect(&checks, "memory", verdict, "");
    }
    let mut checks = Checks::default();
    assert!(awaited(&good(0), &blank, at, at, &mut checks), "nothing has been said yet");
    assert!(!awaited(&with(&first, &[("state", state::ACCEPTED)]), &blank, at, at, &mut checks));
    assert!(!awaited(&first, &with(&blank, &[("state", state::HELLO)]), at, at, &mut checks));
    assert!(!awaited(&first, &HeaderCopy::of(&[0; LEN - 1]), at, at, &mut checks), "cut off");
}

#[test]
fn each_word_that_both_must_say_is_compared() {
    let headers = [good(0), with(&good(1), &[("capacity", 1024), ("peer_capacity", 65536)])];
    let mut checks = Checks::default();
    agreement(&headers, &mut checks);
    assert!(checks.0.len() == 4 && checks.0.iter().all(|check| check.verdict == Verdict::Ok), "{checks:?}");
    for (party, word, rule) in [
        (0, "align", "align"),
        (1, "start", "start"),
        (0, "capacity", "capacity 0"),
        (1, "peer_capacity", "capacity 0"),
        (1, "capacity", "capacity 1"),
        (0, "peer_capacity", "capacity 1"),
    ] {
        let mut headers = headers.clone();
        headers[party] = with(&headers[party], &[(word, 9)]);
        let mut checks = Checks::default();
        agreement(&headers, &mut checks);
        let bad = checks.0.iter().filter(|check| check.verdict == Verdict::Bad).collect::<Vec<_>>();
        assert!(bad.len() == 1 && bad[0].rule == rule && bad[0].found.contains(" and "), "{checks:?}");
    }
    let mut checks = Checks::default();
    agreement(&[headers[0].clone(), with(&headers[1], &[("channel", 9)])], &mut checks);
    assert!(!checks.any_bad());
    expect(&checks, "channel", Verdict::Note, "differ");
}

#[test]
fn a_lane_without_capacity_is_closed_and_a_fence_is_said_by_0_or_1() {
    for (sent, received, verdict) in
        [(FIN, STOP, Verdict::Ok), (FIN, 0, Verdict::Bad), (0, STOP, Verdict::Bad), (0, 0, Verdict::Bad)]
    {
        for sender in 0..2 {
            let mut headers = [good(0), good(1)];
            headers[sender] = with(&headers[sender], &[("capacity", 0), ("sent", sent)]);
            headers[1 - sender] = with(&headers[1 - sender], &[("received", received)]);
            let mut checks = Checks::default();
            closed_lane(&headers, sender, &mut checks);
            expect(&checks, "one-way", verdict, "without capacity");
            closed_lane(&headers, 1 - sender, &mut checks);
            assert_eq!(checks.0.len(), 1, "the other lane has a capacity");
        }
    }
    let meanings = [(Verdict::Ok, "barrier"), (Verdict::Ok, "full fence"), (Verdict::Bad, "damaged")];
    for (word, (verdict, meaning)) in (0..).zip(meanings) {
        for sender in 0..2 {
            for (rule, other, whose) in
                [("sent_fence", "received_fence", sender), ("received_fence", "sent_fence", 1 - sender)]
            {
                // The other lane's words are damaged, and are not looked at.
                let mut headers = [good(0), good(1)];
                headers[whose] = with(&headers[whose], &[(rule, word), (other, 7)]);
                headers[1 - whose] = with(&headers[1 - whose], &[(rule, 7)]);
                let mut checks = Checks::default();
                fences(&headers, sender, &mut checks);
                expect(&checks, rule, verdict, meaning);
                expect(&checks, other, Verdict::Ok, "barrier");
            }
        }
    }
}
