//! Sealing: how those who lay out files encrypt their parts without knowing the cipher or holding a tenant's keys.
//!
//! ```text
//!   DataKeys (one tenant, one data class) ── key id, salt, info ──► Sealer (one file) ── nonce, aad ──► sealed part
//! ```
//!
//! A sealer belongs to one file, or to one writer of the log. Who seals promises never to use a nonce twice with the
//! same sealer; nonces follow from a part's place, and places are written once.

/// Which data key of a tenant. Numbers count the tenant's keys of all classes and are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl KeyId {
    /// Stands where nothing is sealed.
    pub const NONE: KeyId = KeyId(0);
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What sealing adds to a part.
pub const SEAL_BYTES: usize = 16;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes of a sealer's commitment.
pub const COMMITMENT_BYTES: usize = 16;

/// Encrypts and authenticates parts with the key of one file.
pub trait Sealer: Send + Sync {
    /// Tells this key from every other without telling anything of it: stored beside what it seals, so that a wrong key
    /// is known as such and not taken for damage.
    fn commitment(&self) -> [u8; COMMITMENT_BYTES];

    /// Encrypts `bytes` from `start` on in place and appends [`SEAL_BYTES`]. What `aad` says is authenticated with it.
    fn seal(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], bytes: &mut Vec<u8>, start: usize);

    /// Undoes that for the whole of `bytes`, [`SEAL_BYTES`] included; false where these are not the bytes that were
    /// sealed so: then nothing in `bytes` may be used.
    #[must_use]
    fn open(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], bytes: &mut Vec<u8>) -> bool;
}

/// The keys of one tenant and one data class, which never leave their holder.
pub trait DataKeys: Send + Sync {
    /// The key that new files are sealed with.
    fn active(&self) -> KeyId;

    /// The sealer of one file: its key is derived from a data key, the file's random `salt`, and `info`, which says what
    /// the file is. `None` where there is no such key, or none any more.
    fn sealer(&self, key: KeyId, salt: &[u8], info: &[u8]) -> Option<Box<dyn Sealer>>;
}
