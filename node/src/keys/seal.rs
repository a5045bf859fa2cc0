//! Sealing a secret with a passphrase: Argon2id makes a key of it, XChaCha20-Poly1305 hides the secret.
//!
//! What the file says besides (purpose, public key, network) is authenticated with the secret, so that a sealed file cannot
//! be made to pass for another one. The cost of a guess is in the file, and bounded before it is paid: a file from
//! somebody else must not make this process swallow the memory of the machine.

use super::KeyFile;
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Memory of a guess in KiB: 64 MiB, the second recommendation of RFC 9106, half a second on a small machine.
const MEMORY_KIB: u32 = 64 << 10;
/// Passes over it.
const PASSES: u32 = 3;
/// The most memory a file may ask for.
const MEMORY_KIB_MAX: u32 = 1 << 20;
/// The most passes.
const PASSES_MAX: u32 = 32;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;

/// How a secret is sealed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seal {
    memory_kib: u32,
    passes: u32,
    salt: String,
    nonce: String,
}

impl KeyFile {
    /// The same key, sealed with `passphrase`.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn sealed(self, passphrase: &str) -> Result<KeyFile, String> {
        let (mut salt, mut nonce) = ([0u8; SALT_BYTES], [0u8; NONCE_BYTES]);
        for random in [&mut salt[..], &mut nonce[..]] {
            getrandom::fill(random).map_err(|error| format!("the system gives no randomness: {error}"))?;
        }
        let (salt, nonce) = (hex::encode(salt), hex::encode(nonce));
        let seal = Seal { memory_kib: MEMORY_KIB, passes: PASSES, salt, nonce };
        let (cipher, nonce) = seal.cipher(passphrase)?;
        let secret = Zeroizing::new(self.secret_bytes());
        let payload = Payload { msg: &secret[..], aad: &self.bound() };
        let hidden = cipher.encrypt(&nonce, payload).map_err(|_| "the secret could not be sealed".to_owned())?;
        Ok(KeyFile { secret: hex::encode(hidden), seal: Some(seal), ..self })
    }

    /// The same key, open again.
    pub(super) fn opened(self, passphrase: &str) -> Result<KeyFile, String> {
        let Some(seal) = &self.seal else { return Ok(self) };
        let (cipher, nonce) = seal.cipher(passphrase)?;
        let hidden = hex::decode(&self.secret).map_err(|_| "its sealed secret is damaged".to_owned())?;
        let payload = Payload { msg: &hidden, aad: &self.bound() };
        let secret = cipher.decrypt(&nonce, payload).map_err(|_| "the passphrase is not the right one".to_owned())?;
        let secret = Zeroizing::new(secret);
        Ok(KeyFile { secret: hex::encode(&secret[..]), seal: None, ..self })
    }

    /// What is said beside the secret, as it is bound to it.
    fn bound(&self) -> Vec<u8> {
        let network = self.network.map_or_else(String::new, |network| network.to_string());
        format!("floe key {} {} {} {network}", self.version, self.purpose.word(), self.public).into_bytes()
    }
}

impl Seal {
    fn cipher(&self, passphrase: &str) -> Result<(XChaCha20Poly1305, XNonce), String> {
        let damaged = || "its seal is damaged".to_owned();
        if self.memory_kib > MEMORY_KIB_MAX || self.passes > PASSES_MAX {
            return Err("its seal asks for more work than any of ours".to_owned());
        }
        let (mut salt, mut nonce) = ([0u8; SALT_BYTES], [0u8; NONCE_BYTES]);
        hex::decode_to_slice(&self.salt, &mut salt).map_err(|_| damaged())?;
        hex::decode_to_slice(&self.nonce, &mut nonce).map_err(|_| damaged())?;
        let mut key = Zeroizing::new([0u8; 32]);
        let params = Params::new(self.memory_kib, self.passes, 1, Some(key.len())).map_err(|_| damaged())?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon.hash_password_into(passphrase.as_bytes(), &salt, &mut key[..]).map_err(|_| damaged())?;
        Ok((XChaCha20Poly1305::new(key.as_slice().into()), XNonce::from(nonce)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{KeyError, KeyFile, Purpose};
    use std::fs;
    use zeroize::Zeroizing;

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_and_with_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("operator.key");
        let key = KeyFile::new(Purpose::Account, [9; 32], None);
        key.clone().sealed("correct horse").unwrap().write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&"09".repeat(32)), "the secret is not in the file");

        let with =
            |passphrase: &'static str| KeyFile::read_with(&path, move || Ok(Zeroizing::new(passphrase.to_owned())));
        assert_eq!(with("correct horse").unwrap().secret_bytes(), [9; 32]);
        assert!(matches!(with("wrong horse"), Err(KeyError::Passphrase { .. })));
        assert!(matches!(KeyFile::read(&path), Err(KeyError::Sealed { .. })));

        // Nothing that is said beside the secret can be changed, nor can opening be made dear.
        let changed = [
            text.replace("purpose = \"account\"", "purpose = \"vote\""),
            text.replace("memory_kib = 65536", "memory_kib = 4000000000"),
            text.replace("passes = 3", "passes = 4000000000"),
            text.replace("salt = \"", "salt = \"00"),
        ];
        for changed in changed {
            assert_ne!(changed, text);
            fs::write(&path, changed).unwrap();
            assert!(matches!(with("correct horse"), Err(KeyError::Passphrase { .. })));
        }
    }
}
