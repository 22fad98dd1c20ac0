//! The cipher: AES-256-GCM under keys that HKDF-SHA-256 (RFC 5869) derives from a tenant's data keys.
//!
//! Each file, each writer of the log and each manifest has a key of its own, derived from a data key, a random salt and
//! what the key is for. So nonces need to be unique only within one of these, and the number of messages under one key
//! stays far below what the cipher allows. 48 bytes are derived: the key (32), and its commitment (16).

use std::io;

use annals_model::{COMMITMENT_BYTES, KeyId, NONCE_BYTES, SEAL_BYTES, Sealer};
use annals_vfs::Entropy;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

const SECRET_BYTES: usize = 32;
const DERIVED_BYTES: usize = SECRET_BYTES + COMMITMENT_BYTES;

/// A key, wiped when it goes. Never printed.
pub(crate) struct Secret(Zeroizing<[u8; SECRET_BYTES]>);

impl Secret {
    pub(crate) fn draw(entropy: &dyn Entropy) -> io::Result<Secret> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        entropy.fill(&mut bytes[..])?;
        Ok(Secret(bytes))
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Secret> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        if bytes.len() != SECRET_BYTES {
            return None;
        }
        secret.copy_from_slice(bytes);
        Some(Secret(secret))
    }

    pub(crate) fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// `N` bytes for one purpose.
    pub(crate) fn derive<const N: usize>(&self, salt: &[u8], info: &[u8]) -> Zeroizing<[u8; N]> {
        struct Length(usize);
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let mut out = Zeroizing::new([0; N]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
            .extract(&self.0[..])
            .expand(&[info], Length(N))
            .and_then(|okm| okm.fill(&mut out[..]))
            .expect("a few dozen bytes are within what HKDF-SHA256 gives");
        out
    }

    /// The sealer of one file.
    pub(crate) fn sealer(&self, salt: &[u8], info: &[u8]) -> AesSealer {
        let derived = self.derive::<DERIVED_BYTES>(salt, info);
        let (key, rest) = derived.split_at(SECRET_BYTES);
        let mut commitment = [0; COMMITMENT_BYTES];
        commitment.copy_from_slice(rest);
        AesSealer { key: cipher(key), commitment }
    }
}

/// Seals and opens with the key of one file.
pub(crate) struct AesSealer {
    key: LessSafeKey,
    commitment: [u8; COMMITMENT_BYTES],
}

impl Sealer for AesSealer {
    fn commitment(&self) -> [u8; COMMITMENT_BYTES] {
        self.commitment
    }

    fn seal(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], bytes: &mut Vec<u8>, start: usize) {
        trace::sealed(self.commitment, nonce, bytes.get(start..).unwrap_or_default(), aad);
        seal_in_place(&self.key, nonce, aad, bytes, start);
    }

    fn open(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], bytes: &mut Vec<u8>) -> bool {
        open_in_place(&self.key, nonce, aad, bytes)
    }
}

/// A key by which records of one data class are sealed, with the number that they carry.
pub(crate) struct Numbered {
    pub(crate) id: KeyId,
    pub(crate) sealer: Box<dyn Sealer>,
}

/// Appends `secret`, sealed under a key that is used as it is.
pub(crate) fn seal_under(
    key: &Secret,
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    secret: &[u8],
    out: &mut Vec<u8>,
) {
    // Room first: a vector that grows would leave a copy of the secret behind.
    out.reserve_exact(secret.len() + SEAL_BYTES);
    let start = out.len();
    out.extend_from_slice(secret);
    seal_in_place(&cipher(key.bytes()), nonce, aad, out, start);
}

/// What was sealed so; `None` where it was not.
pub(crate) fn open_under(
    key: &Secret,
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(sealed.to_vec());
    open_in_place(&cipher(key.bytes()), nonce, aad, &mut bytes).then_some(bytes)
}

fn cipher(key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key"))
}

fn seal_in_place(key: &LessSafeKey, nonce: [u8; NONCE_BYTES], aad: &[u8], bytes: &mut Vec<u8>, start: usize) {
    let plain = bytes.get_mut(start..).unwrap_or_default();
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), plain)
        .expect("a part is far below what the cipher takes at once");
    bytes.extend_from_slice(tag.as_ref());
}

fn open_in_place(key: &LessSafeKey, nonce: [u8; NONCE_BYTES], aad: &[u8], bytes: &mut Vec<u8>) -> bool {
    let opened = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), bytes);
    let length = opened.map(|plain| plain.len());
    length.is_ok_and(|length| {
        bytes.truncate(length);
        true
    })
}

/// Tells a test which nonces were used with which keys.
#[cfg(feature = "planted")]
pub mod trace {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use annals_model::{COMMITMENT_BYTES, NONCE_BYTES};

    type Used = BTreeMap<([u8; COMMITMENT_BYTES], [u8; NONCE_BYTES]), u32>;

    thread_local! {
        static USED: RefCell<Option<(Used, Vec<String>)>> = const { RefCell::new(None) };
    }

    /// Begins to collect on this thread; what was collected before is forgotten.
    pub fn start() {
        USED.set(Some((BTreeMap::new(), Vec::new())));
    }

    /// How many were collected since [`start`], and which nonces sealed two different things under one key.
    #[must_use]
    pub fn take() -> (usize, Vec<String>) {
        USED.take().map(|(used, twice)| (used.len(), twice)).unwrap_or_default()
    }

    pub(super) fn sealed(key: [u8; COMMITMENT_BYTES], nonce: [u8; NONCE_BYTES], plain: &[u8], aad: &[u8]) {
        USED.with_borrow_mut(|used| {
            let Some((used, twice)) = used else { return };
            let mut content = crc32fast::Hasher::new();
            content.update(&(plain.len() as u64).to_le_bytes());
            content.update(plain);
            content.update(aad);
            let content = content.finalize();
            if *used.entry((key, nonce)).or_insert(content) != content {
                twice.push(format!("nonce {nonce:02x?} of key {key:02x?}"));
            }
        });
    }
}

#[cfg(not(feature = "planted"))]
mod trace {
    pub(super) fn sealed(_: [u8; 16], _: [u8; 12], _: &[u8], _: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_in_its_place_and_as_it_was() {
        let secret = Secret::from_slice(&[7; 32]).expect("32 bytes");
        let sealer = secret.sealer(b"salt", b"a file");
        let mut sealed = b"head: plain text".to_vec();
        sealer.seal([1; 12], b"here", &mut sealed, 6);
        let sealed = sealed.split_off(6);
        assert_eq!(sealed.len(), 10 + SEAL_BYTES);
        let open = |sealer: &AesSealer, nonce, aad: &[u8], mut bytes: Vec<u8>| {
            sealer.open(nonce, aad, &mut bytes).then_some(bytes)
        };
        assert_eq!(open(&sealer, [1; 12], b"here", sealed.clone()), Some(b"plain text".to_vec()));
        assert_eq!(open(&sealer, [2; 12], b"here", sealed.clone()), None);
        assert_eq!(open(&sealer, [1; 12], b"there", sealed.clone()), None);
        for other in [secret.sealer(b"salt", b"another file"), secret.sealer(b"other", b"a file")] {
            assert_ne!(other.commitment(), sealer.commitment());
            assert_eq!(open(&other, [1; 12], b"here", sealed.clone()), None);
        }
        for at in 0..sealed.len() {
            assert_eq!(open(&sealer, [1; 12], b"here", sealed[..at].to_vec()), None, "cut at {at}");
            for bit in 0..8 {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(open(&sealer, [1; 12], b"here", damaged), None, "byte {at} bit {bit}");
            }
        }
    }
}
