//! What a member got in an epoch, as a list whose root it commits to.
//!
//! One leaf for each question, in the order of slots, targets and numbers: the hash of the signed answer, or nothing. A list's
//! place follows from the question, so that a root stands for at most one answer to each.

use super::{Aim, Answer};
use crate::evidence::list::ListProof;
use crate::merkle::{self, Root};
use floe_types::params::{SLOTS, challenges_per_slot};
use serde::{Deserialize, Serialize};

/// The leaf of a question without an answer.
const NOTHING: Root = Root([0; 32]);

/// The way from an answer to the root of its list, from the leaf up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OutcomePath(pub Vec<Root>);

/// How many leaves the list of a member of a committee of `members` has: its own are in it and empty.
#[must_use]
pub fn leaves(members: usize) -> u64 {
    u64::from(SLOTS) * members as u64 * u64::from(challenges_per_slot(members))
}

/// Where a question's leaf is; none when there is no such question.
fn place(members: usize, aim: &Aim) -> Option<u64> {
    let asked = challenges_per_slot(members);
    if !aim.slot.exists() || usize::from(aim.target.0) >= members || aim.at >= asked {
        return None;
    }
    let pair = u64::from(aim.slot.0) * members as u64 + u64::from(aim.target.0);
    Some(pair * u64::from(asked) + u64::from(aim.at))
}

/// The outcomes of one member in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcomes {
    members: usize,
    leaves: Vec<Root>,
}

impl Outcomes {
    /// None yet, in a committee of `members`.
    #[must_use]
    pub fn new(members: usize) -> Outcomes {
        // At most six slots of 1,024 members, or of thirteen questions to each of two.
        Outcomes { members, leaves: vec![NOTHING; leaves(members) as usize] }
    }

    /// Enters an answer, which was checked. A question that there is not is passed over.
    pub fn enter(&mut self, aim: &Aim, answer: &Answer) {
        let place = place(self.members, aim).and_then(|place| self.leaves.get_mut(place as usize));
        if let Some(leaf) = place {
            *leaf = answer.leaf();
        }
    }

    /// What is committed to.
    #[must_use]
    pub fn root(&self) -> Root {
        let leaves: Vec<_> = self.leaves.iter().map(|leaf| leaf.0).collect();
        merkle::list_root(&leaves)
    }

    /// The way from the answer to this question to the root; none when there is no such question.
    #[must_use]
    pub fn path(&self, aim: &Aim) -> Option<OutcomePath> {
        let leaves: Vec<_> = self.leaves.iter().map(|leaf| leaf.0).collect();
        ListProof::of(&leaves, place(self.members, aim)?).map(|proof| OutcomePath(proof.siblings))
    }
}

impl OutcomePath {
    /// Whether the list with this root, of a member of a committee of `members`, has `answer` for this question.
    #[must_use]
    pub fn leads(&self, root: &Root, members: usize, aim: &Aim, answer: &Answer) -> bool {
        let Some(place) = place(members, aim) else { return false };
        let proof = ListProof { place, count: leaves(members), siblings: self.0.clone() };
        proof.verify(root, &answer.leaf().0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Slot;
    use super::*;
    use floe_types::MemberIndex;
    use floe_types::keys::Signature;

    fn answer(part: u8) -> Answer {
        Answer { opening: vec![part], signature: Signature([7; 64]) }
    }

    fn aims(members: usize) -> impl Iterator<Item = Aim> {
        let asked = challenges_per_slot(members);
        Slot::all().flat_map(move |slot| {
            let targets = (0..members).map(|target| MemberIndex(target as u16));
            targets.flat_map(move |target| (0..asked).map(move |at| Aim { slot, target, at }))
        })
    }

    #[test]
    fn every_answer_is_shown_at_its_question_and_at_no_other() {
        for members in [1usize, 2, 7, 12] {
            let mut outcomes = Outcomes::new(members);
            for (at, aim) in aims(members).enumerate() {
                outcomes.enter(&aim, &answer(at as u8));
            }
            let root = outcomes.root();
            for (at, aim) in aims(members).enumerate() {
                let path = outcomes.path(&aim).unwrap();
                assert!(path.leads(&root, members, &aim, &answer(at as u8)));
                assert!(!path.leads(&root, members, &aim, &answer(at as u8 + 1)));
                let others = aims(members).filter(|other| *other != aim);
                assert!(others.take(30).all(|other| !path.leads(&root, members, &other, &answer(at as u8))));
            }
        }
    }

    #[test]
    fn questions_that_there_are_not_have_no_place() {
        let mut outcomes = Outcomes::new(7);
        let root = outcomes.root();
        let good = Aim { slot: Slot(5), target: MemberIndex(6), at: 2 };
        for bad in [
            Aim { slot: Slot(6), ..good },
            Aim { target: MemberIndex(7), ..good },
            Aim { at: 3, ..good },
            Aim { at: u16::MAX, ..good },
        ] {
            outcomes.enter(&bad, &answer(1));
            assert_eq!((outcomes.path(&bad), outcomes.root()), (None, root));
            assert!(!OutcomePath::default().leads(&root, 7, &bad, &answer(1)));
        }
    }
}
