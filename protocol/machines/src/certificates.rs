//! Commit certificates of consensus, as the ledger's evidence asks about them: where both are known.
//!
//! The ledger says who votes ([`Roll`]) and which block it is about; consensus says what a valid vote is. Power is shards
//! held, and keys belong to a term, so that a certificate is checked against the roll of its own epoch and no other.

use floe_consensus::{Certificate, CertificateError, Validator, ValidatorKey, ValidatorSet, ValueId};
use floe_ledger::MemberSet;
use floe_ledger::evidence::{CERTIFICATE_BYTES_MAX, CertificateFault, Certificates, Roll};
use floe_types::{Height, MemberIndex, NetworkId};

/// Commit certificates of one network.
#[derive(Clone, Copy, Debug)]
pub struct CommitCertificates {
    network: NetworkId,
}

impl CommitCertificates {
    /// Those of `network`.
    #[must_use]
    pub fn of(network: NetworkId) -> CommitCertificates {
        CommitCertificates { network }
    }
}

fn name_of(roll: &Roll, key: &ValidatorKey) -> String {
    let voter = roll.voters.iter().find(|voter| voter.vote_key.0 == key.0);
    voter.map_or_else(|| key.to_string(), |voter| voter.name.clone())
}

fn fault(roll: &Roll, error: CertificateError) -> CertificateFault {
    match error {
        CertificateError::UnknownSigner { key } => CertificateFault::Stranger { key: key.to_string() },
        CertificateError::DuplicateSigner { key } => CertificateFault::Twice { member: name_of(roll, &key) },
        CertificateError::TooLittlePower { power, needed } => CertificateFault::TooFew { found: power, needed },
        CertificateError::BadSignature { key } | CertificateError::WrongVote { key } => {
            CertificateFault::Signature { member: name_of(roll, &key) }
        }
    }
}

fn validators(roll: &Roll) -> Result<ValidatorSet, CertificateFault> {
    let power = |voter: &floe_ledger::evidence::Voter| Validator {
        key: ValidatorKey(voter.vote_key.0),
        power: voter.shards.len() as u64,
    };
    let set = ValidatorSet::new(roll.voters.iter().map(power).collect());
    set.map_err(|error| CertificateFault::Malformed { reason: format!("the committee cannot vote: {error}") })
}

fn decode(bytes: &[u8]) -> Result<Certificate, CertificateFault> {
    let malformed = |reason: String| CertificateFault::Malformed { reason };
    let certificate =
        Certificate::decode(bytes, CERTIFICATE_BYTES_MAX).map_err(|error| malformed(error.to_string()))?;
    // The decoder of consensus is not strict about integers; what is kept for good has one form.
    if certificate.encode() != bytes {
        return Err(malformed("not the canonical encoding".into()));
    }
    Ok(certificate)
}

impl Certificates for CommitCertificates {
    fn check(
        &self,
        roll: &Roll,
        height: Height,
        value: &[u8; 32],
        certificate: &[u8],
    ) -> Result<MemberSet, CertificateFault> {
        let certificate = decode(certificate)?;
        if certificate.height.0 != height.0 || certificate.value_id != ValueId(*value) {
            return Err(CertificateFault::OtherBlock);
        }
        certificate.verify(&self.network.0, &validators(roll)?).map_err(|error| fault(roll, error))?;
        let signed = |key: &[u8; 32]| certificate.signatures.iter().any(|(signer, _)| signer.0 == *key);
        let places = roll.voters.iter().enumerate().filter(|(_, voter)| signed(&voter.vote_key.0));
        Ok(places.map(|(at, _)| MemberIndex(at as u16)).collect())
    }

    fn least(&self, roll: &Roll, certificate: &[u8]) -> Vec<u8> {
        let (Ok(mut read), Ok(set)) = (decode(certificate), validators(roll)) else { return certificate.to_vec() };
        read.signatures.sort_by_key(|(key, _)| (std::cmp::Reverse(set.power_of(key)), *key));
        let mut power = 0u64;
        read.signatures.retain(|(key, _)| {
            let wanted = power < set.quorum_power();
            power = power.saturating_add(set.power_of(key).unwrap_or(0));
            wanted
        });
        read.signatures.sort_by_key(|(key, _)| *key);
        read.encode()
    }
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
pub(crate) mod tests;
