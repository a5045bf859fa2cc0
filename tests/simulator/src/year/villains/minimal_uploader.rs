//! Gives every blob to exactly as many shards as a certificate needs, and leaves the rest to the network.

/// Whether it gave `row` its fragment of number `blob`, in a network of `shards` of which `faulty` may fail: never to the same ones.
#[must_use]
pub fn covers(shards: u16, faulty: u16, blob: u64, row: u16) -> bool {
    let first = (blob * 7 % u64::from(shards)) as u16;
    (row + shards - first) % shards >= faulty
}
