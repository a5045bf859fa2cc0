//! A node's id is the ed25519 public key of its libp2p identity, and its peer id is that key once more in libp2p's
//! clothes: an identity multihash of the key's protobuf. So each follows from the other without asking anyone.

use floe_types::NodeId;
use libp2p::PeerId;
use libp2p::identity::{Keypair, PublicKey, ed25519};

/// Multihash code of "the value itself".
const IDENTITY_CODE: u64 = 0;

/// The id of the node that has this ed25519 secret key.
#[must_use]
pub fn node_id_of(secret: &[u8; 32]) -> NodeId {
    let bytes = keypair(secret).public().try_into_ed25519().map(|key| key.to_bytes());
    NodeId(bytes.expect("a key pair made from an ed25519 secret has an ed25519 public key"))
}

/// The libp2p key pair of this secret.
pub(crate) fn keypair(secret: &[u8; 32]) -> Keypair {
    let mut copy = *secret;
    Keypair::ed25519_from_bytes(&mut copy).expect("any 32 bytes are an ed25519 secret key")
}

/// The peer id of a node, or `None` when the id is no point of the curve.
pub(crate) fn peer_of(node: &NodeId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&node.0).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The node behind a peer id, or `None` when its key is not ed25519.
pub(crate) fn node_of(peer: &PeerId) -> Option<NodeId> {
    let hash = peer.as_ref();
    if hash.code() != IDENTITY_CODE {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(hash.digest()).ok()?;
    key.try_into_ed25519().ok().map(|key| NodeId(key.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_and_peer_follow_from_each_other() {
        for seed in 0..20u8 {
            let secret = [seed; 32];
            let node = node_id_of(&secret);
            let peer = keypair(&secret).public().to_peer_id();
            assert_eq!(peer_of(&node), Some(peer));
            assert_eq!(node_of(&peer), Some(node));
        }
    }

    #[test]
    fn a_peer_id_that_is_only_a_hash_is_no_node() {
        assert_eq!(node_of(&PeerId::random()), None);
    }
}
