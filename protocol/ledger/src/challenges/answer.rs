//! An answer: a chunk that leads to the blob's id, signed by the target to one challenger.
//!
//! The target signs with the key of its network identity, the ed25519 key that its [`NodeId`] is. The ledger knows no other
//! ed25519 key of a node but the vote key of a term, which is destroyed with its term and signs nothing but votes. The network
//! layer signs with the identity too, always with words of its own in front; what is signed here is a hash in a domain.

use super::draw::{Question, Sample};
use super::{Aim, Slot};
use crate::merkle::Root;
use floe_erasure::{FragmentProof, Opening, Place, ProofDecodeError, pair_of};
use floe_types::codec::{self, Domain};
use floe_types::keys::{self, SecretKey, Signature};
use floe_types::{BlobId, Epoch, Layout, MemberIndex, NetworkId, NodeId};
use serde::{Deserialize, Serialize};

/// The longest answer in bytes, encoded: a chunk, its opening, a fragment's proof and a signature in the largest network.
pub const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Why a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Occasion {
    /// It is one of the challenger's own.
    Drawn {
        /// Which one of the slot.
        at: u16,
    },
    /// Another member was not shown it in the slot before.
    Again {
        /// That member.
        accuser: MemberIndex,
    },
}

/// A question as it is asked, and as its answer is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Slip {
    /// In which epoch.
    pub epoch: Epoch,
    /// In which slot.
    pub slot: Slot,
    /// Who asks.
    pub challenger: NodeId,
    /// Who is asked.
    pub target: NodeId,
    /// Why.
    pub occasion: Occasion,
    /// What.
    pub question: Question,
}

impl Slip {
    /// The slip of a drawn question.
    #[must_use]
    pub fn drawn(epoch: Epoch, aim: &Aim, (challenger, target): (NodeId, NodeId), question: Question) -> Slip {
        let occasion = Occasion::Drawn { at: aim.at };
        Slip { epoch, slot: aim.slot, challenger, target, occasion, question }
    }
}

/// What a target sends back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The chunk; empty for a question of presence.
    #[serde(with = "serde_bytes")]
    pub part: Vec<u8>,
    /// [`Opening::encode`]; empty likewise.
    #[serde(with = "serde_bytes")]
    pub opening: Vec<u8>,
    /// [`FragmentProof::encode`]; empty likewise.
    #[serde(with = "serde_bytes")]
    pub proof: Vec<u8>,
    /// Of [`answer_message`], by the target's identity.
    pub signature: Signature,
}

/// An answer that shows nothing: the target is wrong, or somebody else made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The signature is not the target's over this question and this part.
    #[error("the answer is not signed by the target")]
    Signature,
    /// Bytes where a question of presence has none.
    #[error("an answer to a question of presence has no bytes")]
    NotAsked,
    /// The blob has no layout in this network.
    #[error("a blob of {length} bytes has no layout")]
    Length {
        /// Its length.
        length: u64,
    },
    /// The fragment's proof is none.
    #[error(transparent)]
    Proof(#[from] ProofDecodeError),
    /// The bytes are not those of this place of the fragment.
    #[error("the bytes do not lead from {place} to the blob")]
    Opening {
        /// Where they were to be from.
        place: Place,
    },
    /// The proof does not lead to the blob.
    #[error("the fragment's proof does not lead to blob {blob}")]
    Fragment {
        /// The blob.
        blob: BlobId,
    },
}

static SIGNING: Domain = Domain::new("floe 1 challenge: answer to be signed");
static PART: Domain = Domain::new("floe 1 challenge: part of an answer");
static LEAF: Domain = Domain::new("floe 1 challenge: answer");

/// What the target signs.
#[must_use]
pub fn answer_message(network: &NetworkId, slip: &Slip, part: &[u8]) -> [u8; 32] {
    SIGNING.hash(&codec::encode(&(network, slip, PART.hash(part))))
}

impl Answer {
    /// Signs the answer to a question of presence.
    #[must_use]
    pub fn present(network: &NetworkId, slip: &Slip, key: &SecretKey) -> Answer {
        let signature = key.sign(&answer_message(network, slip, &[]));
        Answer { part: Vec::new(), opening: Vec::new(), proof: Vec::new(), signature }
    }

    /// Signs a chunk, with what leads from it to the blob. `key` is the target's identity.
    #[must_use]
    pub fn show(
        network: &NetworkId,
        slip: &Slip,
        part: Vec<u8>,
        (opening, proof): (&Opening, &FragmentProof),
        key: &SecretKey,
    ) -> Answer {
        let signature = key.sign(&answer_message(network, slip, &part));
        Answer { part, opening: opening.encode(), proof: proof.encode(), signature }
    }

    /// Checks that this answers `slip` in a network of so many shards.
    ///
    /// # Errors
    /// [`AnswerError`], the cheap ones first.
    pub fn check(&self, network: &NetworkId, shards: u16, slip: &Slip) -> Result<(), AnswerError> {
        let message = answer_message(network, slip, &self.part);
        keys::verify(&slip.target.0, &message, &self.signature).map_err(|_| AnswerError::Signature)?;
        match &slip.question {
            Question::Presence if [&self.part, &self.opening, &self.proof].iter().all(|bytes| bytes.is_empty()) => {
                Ok(())
            }
            Question::Presence => Err(AnswerError::NotAsked),
            Question::Chunk(sample) => self.leads_to(shards, sample),
        }
    }

    fn leads_to(&self, shards: u16, sample: &Sample) -> Result<(), AnswerError> {
        let Sample { blob, length, shard, .. } = *sample;
        let layout = Layout::new(shards, length).map_err(|_| AnswerError::Length { length })?;
        let proof = FragmentProof::decode(&self.proof, &layout)?;
        let pair = pair_of(&blob, shard, shards);
        let proof = proof.check(&blob, &layout, pair).map_err(|_| AnswerError::Fragment { blob })?;
        let place = sample.place();
        let wrong = |_| AnswerError::Opening { place };
        let opening = Opening::decode(&self.opening, &layout, &place).map_err(wrong)?;
        proof.check_part(place, self.part.clone(), &opening).map_err(wrong)?;
        Ok(())
    }

    /// What stands for it in the list of outcomes.
    #[must_use]
    pub fn leaf(&self) -> Root {
        Root(LEAF.hash(&codec::encode(self)))
    }
}
