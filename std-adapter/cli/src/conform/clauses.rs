//! The clauses of the layout, and why some of them cannot be seen from outside.

use super::plan::Over;
use super::words::Speaks;

/// A clause of docs/LAYOUT.md.
#[derive(Clone, Copy, Debug)]
pub struct Clause {
    /// Its number.
    pub name: &'static str,
    /// The level from which on it is due.
    pub level: u8,
    /// Why no play can reach it; empty if one can.
    pub unseen: &'static str,
}

impl Clause {
    /// Whether it is about this kind of address, and is played with a peer that echoes this. Where bytes are echoed those of records have
    /// lines that say what to do.
    pub fn fits(&self, over: Over, speaks: Speaks) -> bool {
        match self.name.as_bytes()[0] {
            b'F' => over == Over::File && speaks == Speaks::Bytes,
            b'S' => over == Over::Socket && speaks == Speaks::Bytes,
            b'R' => true,
            _ => speaks == Speaks::Bytes,
        }
    }

    /// Whether it is about records.
    pub fn is_of_records(&self) -> bool {
        self.name.starts_with('R')
    }
}

const fn seen(name: &'static str, level: u8) -> Clause {
    Clause { name, level, unseen: "" }
}

const fn hidden(name: &'static str, level: u8, unseen: &'static str) -> Clause {
    Clause { name, level, unseen }
}

const INSIDE: &str = "inside of the peer";
const MAY: &str = "a peer may, and need not";

/// All clauses, in the order of the layout.
pub const ALL: &[Clause] = &[
    seen("H1", 1),
    seen("H2", 1),
    seen("H3", 1),
    seen("H4", 1),
    seen("H5", 1),
    seen("H6", 1),
    seen("P1", 1),
    seen("P2", 1),
    seen("P3", 1),
    seen("P4", 1),
    seen("C1", 1),
    seen("C2", 1),
    hidden("C3", 1, INSIDE),
    hidden("C4", 1, INSIDE),
    seen("C5", 1),
    seen("C6", 1),
    seen("C7", 1),
    seen("C8", 1),
    seen("C9", 1),
    seen("W1", 1),
    hidden("W2", 1, INSIDE),
    hidden("W3", 1, "a fence shows only by a wake that is lost: see W4"),
    seen("W4", 1),
    seen("W5", 1),
    seen("W6", 1),
    seen("W7", 1),
    hidden("W8", 1, "what a peer announces is looked at by K1"),
    hidden("W9", 1, MAY),
    hidden("W10", 1, MAY),
    hidden("W11", 1, MAY),
    seen("X1", 1),
    seen("X2", 1),
    seen("X3", 1),
    seen("X4", 1),
    hidden("X5", 1, INSIDE),
    seen("K1", 2),
    seen("K2", 2),
    seen("K3", 2),
    seen("K4", 2),
    seen("K5", 2),
    seen("K6", 2),
    seen("K7", 1),
    seen("K8", 2),
    seen("K9", 1),
    hidden("K10", 2, INSIDE),
    hidden("K11", 2, INSIDE),
    hidden("A1", 1, "memory that is too short is refused before it is mapped: see S7, F3"),
    hidden("A2", 1, "a mapping begins on a page"),
    seen("A3", 1),
    seen("A4", 1),
    seen("A5", 1),
    seen("A6", 1),
    seen("A7", 1),
    seen("A8", 1),
    seen("A9", 1),
    seen("A10", 1),
    seen("A11", 1),
    seen("A12", 1),
    seen("A13", 1),
    seen("A14", 1),
    hidden("A15", 1, "the name of a fault does not show: tests/conformance has cases"),
    seen("A16", 1),
    seen("F1", 1),
    seen("F2", 1),
    seen("F3", 1),
    seen("F4", 1),
    seen("F5", 1),
    seen("F6", 1),
    hidden("F7", 1, INSIDE),
    seen("F8", 1),
    seen("F9", 1),
    seen("F10", 1),
    hidden("F11", 1, MAY),
    seen("F12", 1),
    seen("S1", 1),
    seen("S2", 1),
    seen("S3", 1),
    seen("S4", 1),
    seen("S5", 1),
    seen("S6", 1),
    seen("S7", 1),
    seen("S8", 1),
    seen("S9", 1),
    seen("S10", 1),
    seen("S11", 1),
    seen("S12", 1),
    seen("S13", 1),
    seen("S14", 1),
    seen("E1", 3),
    hidden("E2", 3, INSIDE),
    seen("E3", 3),
    seen("E4", 3),
    seen("G1", 3),
    hidden("G2", 3, "this command does not ask for signals"),
    seen("G3", 3),
    seen("R1", 1),
    seen("R2", 1),
    seen("R3", 1),
    seen("R4", 1),
];

/// The clause of this name.
pub fn find(name: &str) -> Result<&'static str, String> {
    let found = ALL.iter().find(|clause| clause.name.eq_ignore_ascii_case(name));
    found.map(|clause| clause.name).ok_or_else(|| "docs/LAYOUT.md has no such clause; write one such as W4".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::conform::play;

    #[test]
    fn they_are_those_of_the_layout() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/LAYOUT.md");
        let text = std::fs::read_to_string(path).expect("the layout beside this command");
        let is_clause = |bold: &&str| {
            bold.len() > 1 && bold.as_bytes()[0].is_ascii_uppercase() && bold[1..].bytes().all(|b| b.is_ascii_digit())
        };
        let layout: BTreeSet<&str> = text.split("**").skip(1).step_by(2).filter(is_clause).collect();
        let here: BTreeSet<&str> = ALL.iter().map(|clause| clause.name).collect();
        assert_eq!(layout, here);
        assert_eq!(here.len(), ALL.len(), "one stands here twice");
    }

    /// What can be seen has a play, and a play is about what there is and can be seen.
    #[test]
    fn every_clause_that_can_be_seen_has_a_play() {
        let played: BTreeSet<&str> = play::all().flat_map(|play| play.about).copied().collect();
        let can: BTreeSet<&str> =
            ALL.iter().filter(|clause| clause.unseen.is_empty()).map(|clause| clause.name).collect();
        assert_eq!(played, can);
    }

    /// A play is not of a lower level than what it is about.
    #[test]
    fn levels_fit() {
        for play in play::all() {
            for name in play.about {
                let clause = ALL.iter().find(|clause| clause.name == *name).expect("a clause");
                assert!(clause.level <= play.level, "{}: {name}", play.name);
            }
        }
    }
}
