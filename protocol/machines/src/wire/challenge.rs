//! `/floe/challenge/1`: one question, one answer. And what members say of each other after a slot, by gossip.
//!
//! ```text
//! challenger                                   target
//!    | -- Request: epoch, slot, why, what ----->  |   at most 256 bytes
//!    | <------------- Shown(answer) | No(why) --  |   at most 4 KiB and a little
//!
//! after each slot, to all: Observation, signed       at most 1 KiB
//! ```
//!
//! Who asks and who is asked is not sent: the transport has authenticated both, and the target's signature covers them
//! ([`Slip`]). A *no* is not signed, because nothing is decided by it: a miss is testimony.
//!
//! # Laws
//! - **WC-1** A length is checked before memory is given for what it announces; one value, one encoding.

use floe_ledger::MemberSet;
use floe_ledger::challenges::{ANSWER_BYTES_MAX, Aim, Answer, Occasion, Question, Slip, Slot};
use floe_types::codec::{self, DecodeError, Domain};
use floe_types::keys::{self, BadSignature, SecretKey, Signature};
use floe_types::{Epoch, NetworkId, NodeId};
use serde::{Deserialize, Serialize};

/// The longest request in bytes.
pub const REQUEST_BYTES_MAX: usize = 256;
/// The longest answer in bytes, with what says that it is one.
pub const REPLY_BYTES_MAX: usize = ANSWER_BYTES_MAX + 64;
/// The longest observation in bytes: two sets of 1,024 members, a question and a signature.
pub const OBSERVATION_BYTES_MAX: usize = 1 << 10;

const _: () = assert!(2 * (floe_ledger::sets::SET_BYTES_MAX + 2) + REQUEST_BYTES_MAX + 128 <= OBSERVATION_BYTES_MAX);

/// What a challenger sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The asker's network.
    pub network: NetworkId,
    /// The epoch that runs for the asker.
    pub epoch: Epoch,
    /// The slot of the question; of a question asked again, the one in which the accuser asked it.
    pub slot: Slot,
    /// Why it is asked.
    pub occasion: Occasion,
    /// What.
    pub question: Question,
}

impl Request {
    /// The request for what a slip says.
    #[must_use]
    pub fn of(network: NetworkId, slip: &Slip) -> Request {
        let Slip { epoch, slot, occasion, question, .. } = *slip;
        Request { network, epoch, slot, occasion, question }
    }

    /// The slip that an answer to it signs, between these two.
    #[must_use]
    pub fn slip(&self, challenger: NodeId, target: NodeId) -> Slip {
        let Request { epoch, slot, occasion, question, .. } = *self;
        Slip { epoch, slot, challenger, target, occasion, question }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The request in these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] when they are not exactly one.
    pub fn decode(bytes: &[u8]) -> Result<Request, DecodeError> {
        codec::decode(bytes, REQUEST_BYTES_MAX)
    }
}

/// Why a target shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Denial {
    /// The request is not one, or of another network.
    #[error("the request is malformed or of another network")]
    Malformed,
    /// The target is in another epoch.
    #[error("the target is in epoch {epoch}")]
    OtherEpoch {
        /// The target's.
        epoch: Epoch,
    },
    /// The asker is no member of the committee that the target knows.
    #[error("the asker is not a member of the committee")]
    NotMember,
    /// The asker asks more than a member has to, or the target's limits are reached.
    #[error("too many questions at a time")]
    Busy,
    /// The target does not have these bytes, or cannot read them.
    #[error("the bytes are not held")]
    NotHeld,
}

/// What a target sends back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// This.
    Shown(Answer),
    /// Nothing.
    No(Denial),
}

impl Reply {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The reply in these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] when they are not exactly one.
    pub fn decode(bytes: &[u8]) -> Result<Reply, DecodeError> {
        codec::decode(bytes, REPLY_BYTES_MAX)
    }
}

/// The number of a question that no seed gives: of what a reader could not get.
pub const OF_A_READER: u16 = u16::MAX;

/// A sample that a member could not get: which of its questions, and what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accused {
    /// Of whom, which one of the slot. That the seed gives it shows when the seed is opened. With [`OF_A_READER`] the member
    /// itself says that it does not: a reader of the member could not get it, and no report will speak of it.
    pub aim: Aim,
    /// What was asked.
    pub question: Question,
}

/// What a member says after a slot. For live screens, and so that others ask again; nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// In which network.
    pub network: NetworkId,
    /// Of which epoch.
    pub epoch: Epoch,
    /// Of which slot.
    pub slot: Slot,
    /// Who says so.
    pub member: NodeId,
    /// Members that answered all its questions of the slot, and each in time.
    pub passed: MemberSet,
    /// Other members that answered at least one.
    pub late: MemberSet,
    /// What it could not get from one that answers otherwise: one sample at most.
    pub accused: Option<Accused>,
}

static OBSERVED: Domain = Domain::new("floe 1 challenge: observation to be signed");

/// An observation with its signature. Nothing in it is trusted before [`SignedObservation::check`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedObservation {
    /// What is said.
    pub observation: Observation,
    /// By the member's identity.
    pub signature: Signature,
}

impl Observation {
    /// Signs it. `key` is the member's identity.
    #[must_use]
    pub fn sign(self, key: &SecretKey) -> SignedObservation {
        let signature = key.sign(&OBSERVED.hash(&codec::encode(&self)));
        SignedObservation { observation: self, signature }
    }
}

impl SignedObservation {
    /// What was said, by the member that it names.
    ///
    /// # Errors
    /// [`BadSignature`] when it was not.
    pub fn check(self) -> Result<Observation, BadSignature> {
        let message = OBSERVED.hash(&codec::encode(&self.observation));
        keys::verify(&self.observation.member.0, &message, &self.signature)?;
        Ok(self.observation)
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The observation in these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] when they are not exactly one.
    pub fn decode(bytes: &[u8]) -> Result<SignedObservation, DecodeError> {
        codec::decode(bytes, OBSERVATION_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_erasure::Axis;
    use floe_ledger::challenges::Sample;
    use floe_types::{BlobId, MemberIndex, SequenceNumber, ShardIndex};

    fn longest_question() -> Question {
        Question::Chunk(Sample {
            number: SequenceNumber(u64::MAX),
            blob: BlobId([255; 32]),
            length: u64::MAX,
            shard: ShardIndex(u16::MAX),
            axis: Axis::Secondary,
            symbol: u16::MAX,
            chunk: u64::MAX,
        })
    }

    fn longest_observation() -> Observation {
        Observation {
            network: NetworkId([255; 32]),
            epoch: Epoch(u64::MAX),
            slot: Slot(5),
            member: NodeId(SecretKey::from_bytes([1; 32]).public()),
            passed: MemberSet::below(1024),
            late: MemberSet::below(1024),
            accused: Some(Accused {
                aim: Aim { slot: Slot(5), target: MemberIndex(u16::MAX), at: u16::MAX },
                question: longest_question(),
            }),
        }
    }

    #[test]
    fn the_longest_of_each_fits_its_limit() {
        let request = Request {
            network: NetworkId([255; 32]),
            epoch: Epoch(u64::MAX),
            slot: Slot(5),
            occasion: Occasion::Again { accuser: MemberIndex(u16::MAX) },
            question: longest_question(),
        };
        assert_eq!(Request::decode(&request.encode()), Ok(request));
        let signed = longest_observation().sign(&SecretKey::from_bytes([1; 32]));
        assert_eq!(SignedObservation::decode(&signed.encode()), Ok(signed));
        let bytes = |length| vec![7; length];
        let answer = Answer { opening: bytes(ANSWER_BYTES_MAX - 70), signature: Signature([1; 64]) };
        let reply = Reply::Shown(answer);
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        assert!(Reply::decode(&bytes(REPLY_BYTES_MAX + 1)).is_err());
        assert!(Request::decode(&bytes(REQUEST_BYTES_MAX + 1)).is_err());
    }

    /// First six bytes of a hash of each encoding. A change is a decision, with a new protocol name.
    const FROZEN: [(&str, &str); 6] = [
        ("request", "6f5ba3aedf62"),
        ("request of presence", "09f266432dc8"),
        ("shown", "a0e6bd399d37"),
        ("not held", "41937b045939"),
        ("other epoch", "ee6344870530"),
        ("observation", "3bd61c203926"),
    ];

    #[test]
    fn encodings_are_frozen() {
        let (network, epoch, slot) = (NetworkId([1; 32]), Epoch(300), Slot(4));
        let drawn = Occasion::Drawn { at: 3 };
        let asked = Request { network, epoch, slot, occasion: drawn, question: longest_question() };
        let again = Occasion::Again { accuser: MemberIndex(9) };
        let presence = Request { occasion: again, question: Question::Presence, ..asked };
        let answer = Answer { opening: vec![5; 40], signature: Signature([7; 64]) };
        let found = [
            asked.encode(),
            presence.encode(),
            Reply::Shown(answer).encode(),
            Reply::No(Denial::NotHeld).encode(),
            Reply::No(Denial::OtherEpoch { epoch }).encode(),
            longest_observation().sign(&SecretKey::from_bytes([1; 32])).encode(),
        ];
        let short = |bytes: &Vec<u8>| {
            let hash = codec::hash("floe tests: frozen encodings", bytes);
            hash[..6].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let found: Vec<_> = FROZEN.iter().zip(&found).map(|((name, _), bytes)| (*name, short(bytes))).collect();
        let frozen: Vec<_> = FROZEN.iter().map(|(name, hash)| (*name, (*hash).to_owned())).collect();
        assert_eq!(found, frozen, "an encoding changed: that is a decision, with a new protocol name");
    }

    #[test]
    fn damaged_bytes_are_refused_or_another_message_and_nothing_worse() {
        let request = Request {
            network: NetworkId([1; 32]),
            epoch: Epoch(300),
            slot: Slot(4),
            occasion: Occasion::Drawn { at: 3 },
            question: longest_question(),
        };
        let observed = longest_observation().sign(&SecretKey::from_bytes([1; 32])).encode();
        for bytes in [request.encode(), observed] {
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x55;
                assert_ne!(Request::decode(&damaged), Ok(request));
                assert!(Request::decode(&bytes[..at]).is_err());
                assert!(
                    SignedObservation::decode(&damaged).is_ok_and(|signed| signed.check().is_err())
                        || SignedObservation::decode(&damaged).is_err()
                );
                assert!(SignedObservation::decode(&bytes[..at]).is_err());
            }
        }
    }

    #[test]
    fn an_observation_is_its_members_word_for_word() {
        let key = SecretKey::from_bytes([1; 32]);
        let good = longest_observation().sign(&key);
        assert_eq!(good.clone().check(), Ok(longest_observation()));
        let mut other = good.clone();
        other.observation.slot = Slot(4);
        assert_eq!(other.check(), Err(BadSignature));
        let stranger = longest_observation().sign(&SecretKey::from_bytes([2; 32]));
        assert_eq!(stranger.check(), Err(BadSignature));
    }

    #[test]
    fn a_slip_says_what_its_request_says() {
        let (challenger, target) = (NodeId([1; 32]), NodeId([2; 32]));
        let slip = Slip {
            epoch: Epoch(3),
            slot: Slot(2),
            challenger,
            target,
            occasion: Occasion::Drawn { at: 1 },
            question: Question::Presence,
        };
        assert_eq!(Request::of(NetworkId([9; 32]), &slip).slip(challenger, target), slip);
    }
}
