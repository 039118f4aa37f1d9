//! What is played with a peer, and which clauses each play is about.

mod bytes;
mod closing;
mod dying;
mod lies;
mod messages;
mod noise;
mod parking;
mod wakes;

use super::scene::{Role, Scene};
use super::trouble::Trouble;

/// Over which kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Any.
    Both,
    /// `file:` and `shm:`.
    File,
    /// `unix:`.
    Socket,
}

/// Something that is played with a peer.
pub struct Play {
    /// What happens, for people.
    pub name: &'static str,
    /// The clauses that hold if it goes well.
    pub about: &'static [&'static str],
    /// The level from which on it is played.
    pub level: u8,
    /// Over which kind of address.
    pub over: Over,
    /// As what this side plays it. `None`: as either.
    pub role: Option<Role>,
    /// Plays it.
    pub run: fn(&mut Scene) -> Result<(), Trouble>,
}

impl Play {
    /// Whether it can be played here.
    pub fn fits(&self, scene: &Scene, level: u8) -> bool {
        let over = match self.over {
            Over::Both => true,
            Over::File => scene.file().is_some(),
            Over::Socket => scene.file().is_none(),
        };
        over && self.level <= level && self.role.is_none_or(|role| role == scene.role)
    }
}

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
    ]
    .into_iter()
    .flatten()
}
