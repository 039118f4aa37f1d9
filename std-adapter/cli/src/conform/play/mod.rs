//! What is played with a peer, and which clauses each play is about.

mod bytes;
mod closing;
mod dying;
mod lies;
mod messages;
mod noise;
mod one_way;
mod parking;
mod records;
mod senders;
mod wakes;

use super::plan::Play;

/// All plays, in the order in which they are played.
pub fn all() -> impl Iterator<Item = &'static Play> {
    [
        bytes::PLAYS,
        wakes::PLAYS,
        parking::PLAYS,
        noise::PLAYS,
        closing::PLAYS,
        lies::PLAYS,
        dying::PLAYS,
        messages::PLAYS,
        one_way::PLAYS,
        senders::PLAYS,
        records::PLAYS,
    ]
    .into_iter()
    .flatten()
}
