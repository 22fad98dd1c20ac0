//! The key store: who holds the keys under which tenants' data keys are wrapped.
//!
//! ```text
//!   key-encryption key, of each tenant      the key store: files, or a host's key service; it never leaves there
//!     └─ data keys: identity, metrics, signals    t/<n>/keys-<gen>, wrapped        keys.rs
//!          └─ a key per file and per writer of the log   derived, in memory only   seal.rs
//! ```
//!
//! A tenant has one key-encryption key in use. A rotation makes another and later destroys the one before (`rotation.rs`);
//! which is which, the tenant's own key file says, by their ids.
//!
//! A store's list of what was destroyed is what makes an erasure final: it outlives the keys, and a copy of the data, of
//! the wrapped keys or of a key file that comes back later opens nothing.

use annals_model::{KeyId, TenantNumber};
use annals_vfs::Entropy;
use zeroize::Zeroizing;

use crate::receipt::PublicKey;

/// Whose key-encryption keys are meant: the tenant of one store. A number is never given to another tenant of that store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName {
    /// The id of the store, as its catalogue has it.
    pub store: [u8; 16],
    /// The tenant.
    pub tenant: TenantNumber,
}

/// Holds the key-encryption keys of tenants, remembers those that were destroyed, and signs receipts of that. Implemented by
/// the host for its key service; by default [`crate::FileKeyStore`].
///
/// A key has the id that its tenant's key file gives it, never twice. Secrets are of 32 bytes. `context` says what a secret is
/// for: it opens only with the context that it was wrapped with. Calls are rare: when a tenant is created, opened, or gets
/// new keys.
pub trait KeyStore: Send + Sync + 'static {
    /// Makes a key. Durable when this returns. One that is there is kept: a creation was cut short. One that was destroyed
    /// is [`KeyStoreError::Destroyed`] or [`KeyStoreError::Retired`]. `entropy` is for stores that draw keys themselves.
    fn create(&self, name: KeyName, key: KeyId, entropy: &dyn Entropy) -> Result<(), KeyStoreError>;

    /// Encrypts a secret under one of a tenant's keys.
    fn wrap(
        &self,
        name: KeyName,
        key: KeyId,
        context: &[u8],
        secret: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, KeyStoreError>;

    /// Gives back a secret. A key that was destroyed unwraps nothing, whatever copy of it is found.
    fn unwrap(
        &self,
        name: KeyName,
        key: KeyId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyStoreError>;

    /// Destroys a tenant's keys up to and with that one, which others have taken the place of, and remembers that for ever.
    /// Durable when this returns; safe to repeat, also for keys that are not there.
    fn retire(&self, name: KeyName, through: KeyId) -> Result<(), KeyStoreError>;

    /// Destroys all keys of a tenant, those that were never named included, and remembers that for ever: the tenant is
    /// erased. Durable when this returns; safe to repeat, also for a tenant that has none.
    fn destroy(&self, name: KeyName) -> Result<(), KeyStoreError>;

    /// Whether there is a key for the tenant, or was until it was erased.
    fn standing(&self, name: KeyName) -> Result<KeyStanding, KeyStoreError>;

    /// The public key by which a store's erasure receipts are checked. Its key is made when it is first asked for, and
    /// durable when this returns.
    fn signer(&self, store: [u8; 16], entropy: &dyn Entropy) -> Result<PublicKey, KeyStoreError>;

    /// Signs an erasure receipt of a store, with Ed25519.
    fn sign(&self, store: [u8; 16], receipt: &[u8]) -> Result<[u8; 64], KeyStoreError>;
}

/// Whether a key store has a key of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStanding {
    /// It never made one, or lost it.
    Absent,
    /// There is one that can be used.
    Present,
    /// All were destroyed, for ever.
    Destroyed,
}

/// Why a key store did not do what it was asked for. `why` names the file or the key and what to do, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// It cannot be reached: a later try may succeed.
    #[error("the key store cannot be reached: {why}")]
    Unavailable {
        /// What failed.
        why: String,
    },
    /// It has no such key: restore it.
    #[error("the key store has no key for this tenant: {why}")]
    Missing {
        /// Where it should be.
        why: String,
    },
    /// Its own record of the key is damaged: restore it.
    #[error("the key store is damaged: {why}")]
    Corrupt {
        /// Which part of it.
        why: String,
    },
    /// Its key is not the one that the secret was wrapped under, or the wrapped secret is not as it was: restore the
    /// right one.
    #[error("the tenant's key does not open its data keys: {why}")]
    Mismatch {
        /// What was tried.
        why: String,
    },
    /// The key was destroyed after another had taken its place: what is wrapped under it is older than that.
    #[error(
        "the key that this was wrapped under has been replaced and destroyed; restore the newest key file of the tenant, or a snapshot of after that"
    )]
    Retired,
    /// The key was destroyed: the tenant's data cannot be read again, here or from any copy.
    #[error("the tenant's key was destroyed; its data cannot be read again")]
    Destroyed,
}
