//! The whole rendezvous through a file, with all rules kept: F.

use std::path::Path;
use std::time::Duration;

use super::meeting::{Link, Meeting};
use super::region::{ACCEPTED, Region};
use super::segment::at;
use super::trouble::{Trouble, need};
use super::words::Speaks;

/// That of a connector.
pub fn connect(path: &Path, speaks: Speaks, patience: Duration) -> Result<Meeting, Trouble> {
    let region = Region::claim_any(path, patience)?;
    let [own, mut peer] = region.greet(speaks)?;
    let state = region.verdict(&peer, patience)?;
    need(state == ACCEPTED, &["F6"], || format!("a good HELLO was answered by state {state} and not by ACCEPTED"))?;
    need(!region.has_name(), &["F5"], || "the name leads to the region that was accepted".into())?;
    let config = *region.config();
    peer.set_lane(peer.load(at("lane_offset")) as usize, config.capacities[0]);
    Ok(Meeting::new(config, 1, [own, peer], Link::Region(region), patience))
}

/// That of a listener whose region has the name.
pub fn accept(region: Region, patience: Duration) -> Result<Meeting, Trouble> {
    let met = region.hello(patience);
    if met.is_err() {
        region.unname();
    }
    let [own, peer] = met?;
    region.say_accepted(&own)?;
    let config = *region.config();
    Ok(Meeting::new(config, 0, [own, peer], Link::Region(region), patience))
}
