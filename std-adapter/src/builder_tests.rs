use super::*;

#[test]
fn what_one_offers_one_accepts() {
    let most = |builder: Builder| builder.settings().unwrap().terms.max_peer_capacity as usize;
    assert_eq!(most(Builder::new()), DEFAULT_MAX_PEER_CAPACITY);
    assert_eq!(most(Builder::new().capacity(100 << 20)), 128 << 20);
    assert_eq!(most(Builder::new().capacities(1, LARGEST_CAPACITY)), LARGEST_CAPACITY);
    // A limit that was asked for is one.
    assert_eq!(most(Builder::new().capacity(128 << 20).max_peer_capacity(4096)), 4096);
}
