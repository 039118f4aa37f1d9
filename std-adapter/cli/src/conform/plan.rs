//! What a play is: which clauses it is about, and where it can be played.

use super::scene::{Role, Scene};
use super::trouble::Trouble;
use super::words::Speaks;

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
    /// What the peer has to echo for it.
    pub speaks: Speaks,
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
        over && self.speaks == scene.speaks && self.level <= level && self.role.is_none_or(|role| role == scene.role)
    }
}
