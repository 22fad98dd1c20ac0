//! Keyed hashes that stand for texts about people.

use std::fmt;

use annals_model::Pseudonym;
use aws_lc_rs::hmac;

/// A tenant's key for pseudonyms, prepared for use. Its bytes are wiped from memory when it is dropped.
///
/// The same text gives the same pseudonym in every field and kind of a tenant, and unlinkable ones under two keys.
/// The caller keeps (and wipes) the bytes that it hands in.
pub struct PseudonymKey {
    key: hmac::Key,
}

impl PseudonymKey {
    /// Prepares a key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> PseudonymKey {
        PseudonymKey { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// What stands for a text: the first 16 bytes of HMAC-SHA256 under the key, and the text's length in bytes,
    /// at most 65,535.
    #[must_use]
    pub fn pseudonym(&self, text: &str) -> Pseudonym {
        let tag = hmac::sign(&self.key, text.as_bytes());
        let mut hash = [0; 16];
        for (to, from) in hash.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        Pseudonym { hash, length: u16::try_from(text.len()).unwrap_or(u16::MAX) }
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_the_start_of_hmac_sha256() {
        // RFC 4231, test case 2, has a key of 4 bytes; HMAC pads keys with zeros, so 32 bytes serve.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let pseudonym = PseudonymKey::new(&key).pseudonym("what do ya want for nothing?");
        assert_eq!(pseudonym.hash[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
        assert_eq!(pseudonym.hash[8..], [0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7]);
        assert_eq!(pseudonym.length, 28);
    }

    #[test]
    fn keys_separate_tenants_and_lengths_saturate() {
        let (one, two) = (PseudonymKey::new(&[1; 32]), PseudonymKey::new(&[2; 32]));
        assert_eq!(one.pseudonym("alice"), one.pseudonym("alice"));
        assert_ne!(one.pseudonym("alice").hash, two.pseudonym("alice").hash);
        assert_eq!(one.pseudonym(&"x".repeat(70_000)).length, u16::MAX);
        assert_eq!(one.pseudonym("").length, 0);
        assert_eq!(format!("{one:?}"), "PseudonymKey(..)");
    }
}
