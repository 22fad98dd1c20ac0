//! The default key store: files in a directory of their own, `keys/` under the root unless the host says otherwise.
//!
//! `<n>.key`, one per tenant, kept apart from the data so that a backup of the data never holds it:
//!
//! | offset | bytes | field    | notes                                |
//! |-------:|------:|----------|--------------------------------------|
//! |      0 |     8 | `magic`  | `ANNKEY01`                           |
//! |      8 |     4 | `check`  | CRC-32 of all below                  |
//! |     12 |     4 | `tenant` | the tenant's number                  |
//! |     16 |    16 | `store`  | the id of the store whose tenant it is |
//! |     32 |    32 | `secret` | random: the key-encryption key       |
//!
//! `receipts.sign`, by which erasure receipts are signed, is laid out in the same way, with the magic `ANNSIG01`, no tenant
//! (0), and the seed of an Ed25519 key as its secret. Who loses it gets another; receipts of before are checked by the
//! public key of before.
//!
//! `destroyed-<gen>`, a twin file (see [`crate::twin`]): how many (LEB128), then `store` (16) and `tenant` (4) of each
//! key that was destroyed, ascending.
//!
//! A wrapped secret is nonce (12, random), ciphertext, tag (16): AES-256-GCM under the key-encryption key, with
//! `annals wrapped key 1`, `store`, `tenant` and the context authenticated.
//!
//! To destroy a key is to make the list durable, then to remove the file: from the first step on no copy of the file
//! counts. Whoever puts an older copy of the whole directory back, list included, brings a key back; that directory must
//! never be in a backup.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_model::TenantNumber;
use annals_model::bytes::{Cursor, PutBytes};
use annals_vfs::sync::Mutex;
use annals_vfs::{Draft, Entropy, Vfs, publish};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::files::read_whole;
use crate::key_store::{KeyName, KeyStanding, KeyStore, KeyStoreError};
use crate::layout::Layout;
use crate::receipt::PublicKey;
use crate::seal::{self, Secret};
use crate::twin::{Role, TwinFiles};

const MAGIC: &[u8; 8] = b"ANNKEY01";
const SIGNER_MAGIC: &[u8; 8] = b"ANNSIG01";
/// The name of the key that signs receipts.
pub(crate) const SIGNER_FILE: &str = "receipts.sign";
const CHECKED_BYTES: usize = 4 + 16 + 32;
const WRAP_INFO: &[u8] = b"annals wrapped key 1";

/// A key store in files of its own. Any number of processes may read it; one at a time changes it: the one that has
/// the store open for writing.
pub struct FileKeyStore {
    vfs: Arc<dyn Vfs>,
    directory: PathBuf,
    temporary: PathBuf,
    /// Read once; changed by `destroy` alone.
    destroyed: Mutex<Option<Destroyed>>,
}

#[derive(Clone)]
struct Destroyed {
    generation: u64,
    names: BTreeSet<KeyName>,
}

impl FileKeyStore {
    /// Keys in `directory`, with drafts in `temporary`: both exist, on one file system.
    #[must_use]
    pub fn new(vfs: Arc<dyn Vfs>, directory: &Path, temporary: &Path) -> FileKeyStore {
        let (directory, temporary) = (directory.to_owned(), temporary.to_owned());
        FileKeyStore { vfs, directory, temporary, destroyed: Mutex::new(None) }
    }

    fn path(&self, name: KeyName) -> PathBuf {
        self.directory.join(key_file_name(name.tenant))
    }

    fn list(&self) -> TwinFiles {
        list_in(&self.directory)
    }

    fn destroyed(&self) -> Result<Destroyed, KeyStoreError> {
        let mut known = self.destroyed.lock();
        if let Some(known) = &*known {
            return Ok(known.clone());
        }
        // Without the list nothing is known to be whole: a damaged one stops everything until it is restored.
        let damaged = |why: String| KeyStoreError::Corrupt { why };
        let read = match self.list().load(&*self.vfs) {
            Ok(None) => Destroyed { generation: 0, names: BTreeSet::new() },
            Ok(Some(twin)) => {
                let names = decode_names(&twin.content)
                    .ok_or_else(|| damaged(format!("{}: it does not decode", twin.path.display())))?;
                Destroyed { generation: twin.generation, names }
            }
            Err(error) if error.is_io() => {
                return Err(KeyStoreError::Unavailable { why: error.to_string() });
            }
            Err(error) => return Err(damaged(error.to_string())),
        };
        *known = Some(read.clone());
        Ok(read)
    }

    fn load(&self, name: KeyName) -> Result<Secret, KeyStoreError> {
        if self.destroyed()?.names.contains(&name) {
            return Err(KeyStoreError::Destroyed);
        }
        self.read(MAGIC, name, &self.path(name))
    }

    /// The secret in a file that must be of that name.
    fn read(&self, magic: &[u8; 8], name: KeyName, path: &Path) -> Result<Secret, KeyStoreError> {
        let at = path.display();
        let bytes = match read_whole(&*self.vfs, path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let why = format!("{at} is not there; restore it from the copy of the key store");
                return Err(KeyStoreError::Missing { why });
            }
            Err(error) => {
                return Err(KeyStoreError::Unavailable { why: format!("cannot read {at}: {error}") });
            }
        };
        let (found, secret) = decode_key(magic, &bytes).ok_or_else(|| {
            let why = format!("{at} is damaged; restore it from the copy of the key store");
            KeyStoreError::Corrupt { why }
        })?;
        if found != name {
            let why = format!("{at} is the key of another tenant or store; restore the right one");
            return Err(KeyStoreError::Mismatch { why });
        }
        Ok(secret)
    }
}

impl FileKeyStore {
    /// Makes a secret and its file.
    fn draw(
        &self,
        magic: &[u8; 8],
        name: KeyName,
        file: String,
        entropy: &dyn Entropy,
    ) -> Result<Secret, KeyStoreError> {
        let path = self.directory.join(&file);
        let failed = |error: std::io::Error| KeyStoreError::Unavailable {
            why: format!("cannot create {}: {error}", path.display()),
        };
        let secret = Secret::draw(entropy).map_err(failed)?;
        let bytes = encode_key(magic, name, &secret);
        let draft = self.temporary.join(&file);
        let directory = self.directory.clone();
        publish(&*self.vfs, &[Draft { draft, directory, name: file, bytes: &bytes }])
            .map_err(|error| failed(error.into_source()))?;
        Ok(secret)
    }

    /// A file that is there may have been found under a name that no disk holds: whoever made it was not told that it is
    /// durable, or did not come to ask.
    fn found(&self) -> Result<(), KeyStoreError> {
        self.vfs.sync_dir(&self.directory).map_err(|error| KeyStoreError::Unavailable {
            why: format!("cannot sync {}: {error}", self.directory.display()),
        })
    }

    fn signing_seed(&self, store: [u8; 16]) -> Result<Secret, KeyStoreError> {
        self.read(SIGNER_MAGIC, signer_name(store), &self.directory.join(SIGNER_FILE))
    }
}

impl KeyStore for FileKeyStore {
    fn create(&self, name: KeyName, entropy: &dyn Entropy) -> Result<(), KeyStoreError> {
        match self.load(name) {
            Ok(_) => return self.found(),
            Err(KeyStoreError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        self.draw(MAGIC, name, key_file_name(name.tenant), entropy).map(drop)
    }

    fn wrap(
        &self,
        name: KeyName,
        context: &[u8],
        secret: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, KeyStoreError> {
        let key = self.load(name)?;
        let mut nonce = [0; 12];
        let failed = |error: std::io::Error| KeyStoreError::Unavailable { why: error.to_string() };
        entropy.fill(&mut nonce).map_err(failed)?;
        let mut wrapped = nonce.to_vec();
        seal::seal_under(&key, nonce, &aad(name, context), secret, &mut wrapped);
        Ok(wrapped)
    }

    fn unwrap(
        &self,
        name: KeyName,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        let key = self.load(name)?;
        let opened = wrapped
            .split_first_chunk()
            .and_then(|(nonce, sealed)| seal::open_under(&key, *nonce, &aad(name, context), sealed));
        opened.ok_or_else(|| {
            let why = format!("{} does not fit; restore the right one", self.path(name).display());
            KeyStoreError::Mismatch { why }
        })
    }

    fn destroy(&self, name: KeyName) -> Result<(), KeyStoreError> {
        let mut destroyed = self.destroyed()?;
        let failed = |why: String| KeyStoreError::Unavailable { why };
        if destroyed.names.insert(name) {
            destroyed.generation += 1;
            let list = self.list();
            let stored = list.store(
                &*self.vfs,
                &self.temporary,
                [0; 16],
                destroyed.generation,
                &encode_names(&destroyed.names),
            );
            if let Err(error) = stored {
                // Which generation is there is read again before the next change.
                *self.destroyed.lock() = None;
                return Err(failed(format!(
                    "cannot write {}: {}",
                    list.path(destroyed.generation).display(),
                    error.into_source()
                )));
            }
            let _ = list.remove_older(&*self.vfs, destroyed.generation);
            *self.destroyed.lock() = Some(destroyed);
        }
        let path = self.path(name);
        match self.vfs.unlink(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed(format!("cannot remove {}: {error}", path.display())));
            }
            _ => {}
        }
        self.vfs
            .sync_dir(&self.directory)
            .map_err(|error| failed(format!("cannot sync {}: {error}", self.directory.display())))
    }

    fn standing(&self, name: KeyName) -> Result<KeyStanding, KeyStoreError> {
        match self.load(name) {
            Ok(_) => Ok(KeyStanding::Present),
            Err(KeyStoreError::Missing { .. }) => Ok(KeyStanding::Absent),
            Err(KeyStoreError::Destroyed) => Ok(KeyStanding::Destroyed),
            Err(error) => Err(error),
        }
    }

    fn signer(&self, store: [u8; 16], entropy: &dyn Entropy) -> Result<PublicKey, KeyStoreError> {
        let seed = match self.signing_seed(store) {
            Err(KeyStoreError::Missing { .. }) => {
                self.draw(SIGNER_MAGIC, signer_name(store), SIGNER_FILE.to_owned(), entropy)?
            }
            found => {
                let seed = found?;
                // What it signs must not outlive it.
                self.found()?;
                seed
            }
        };
        let mut public = PublicKey([0; 32]);
        public.0.copy_from_slice(key_pair(&seed)?.public_key().as_ref());
        Ok(public)
    }

    fn sign(&self, store: [u8; 16], receipt: &[u8]) -> Result<[u8; 64], KeyStoreError> {
        let signed = key_pair(&self.signing_seed(store)?)?.sign(receipt);
        let mut signature = [0; 64];
        signature.copy_from_slice(signed.as_ref());
        Ok(signature)
    }
}

/// The key that signs is no tenant's: numbers of tenants begin at 1.
fn signer_name(store: [u8; 16]) -> KeyName {
    KeyName { store, tenant: TenantNumber(0) }
}

fn key_pair(seed: &Secret) -> Result<Ed25519KeyPair, KeyStoreError> {
    Ed25519KeyPair::from_seed_unchecked(seed.bytes())
        .map_err(|_| KeyStoreError::Corrupt { why: format!("{SIGNER_FILE} holds no key; restore it") })
}

/// The list of destroyed keys of the default key store.
pub(crate) fn destroyed_keys(layout: &Layout) -> TwinFiles {
    list_in(&layout.keys)
}

fn list_in(directory: &Path) -> TwinFiles {
    TwinFiles { directory: directory.to_owned(), role: Role::DestroyedKeys, owner: 0 }
}

/// The file name of a tenant's key.
pub(crate) fn key_file_name(tenant: TenantNumber) -> String {
    format!("{tenant}.key")
}

fn aad(name: KeyName, context: &[u8]) -> Vec<u8> {
    [WRAP_INFO, &name.store, &name.tenant.0.to_le_bytes(), context].concat()
}

fn encode_key(magic: &[u8; 8], name: KeyName, secret: &Secret) -> Zeroizing<Vec<u8>> {
    let mut checked = Zeroizing::new(Vec::with_capacity(CHECKED_BYTES));
    checked.put_u32(name.tenant.0);
    checked.put(&name.store);
    checked.put(secret.bytes());
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAGIC.len() + 4 + CHECKED_BYTES));
    bytes.put(magic);
    bytes.put_u32(crc32fast::hash(&checked));
    bytes.put(&checked);
    bytes
}

fn decode_key(magic: &[u8; 8], bytes: &[u8]) -> Option<(KeyName, Secret)> {
    let mut cursor = Cursor::new(bytes);
    if cursor.array::<8>()? != *magic {
        return None;
    }
    let check = cursor.u32()?;
    let checked = cursor.take(CHECKED_BYTES)?;
    let mut fields = Cursor::new(checked);
    let tenant = TenantNumber(fields.u32()?);
    let name = KeyName { store: fields.array()?, tenant };
    let whole = cursor.is_empty() && crc32fast::hash(checked) == check;
    Some((name, Secret::from_slice(fields.take(32).filter(|_| whole)?)?))
}

fn encode_names(names: &BTreeSet<KeyName>) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_varint(names.len() as u64);
    for name in names {
        out.put(&name.store);
        out.put_u32(name.tenant.0);
    }
    out
}

/// Decodes the content of a list of destroyed keys; `None` where it is not one.
pub(crate) fn decode_names(bytes: &[u8]) -> Option<BTreeSet<KeyName>> {
    let mut cursor = Cursor::new(bytes);
    let count = cursor.count(20)?;
    let names = (0..count)
        .map(|_| Some(KeyName { store: cursor.array()?, tenant: TenantNumber(cursor.u32()?) }))
        .collect::<Option<BTreeSet<_>>>()?;
    (cursor.is_empty() && names.len() == count).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_key_file_is_refused_whole() {
        let name = KeyName { store: [9; 16], tenant: TenantNumber(3) };
        let bytes = encode_key(MAGIC, name, &Secret::from_slice(&[7; 32]).expect("32 bytes"));
        assert_eq!(decode_key(MAGIC, &bytes).expect("whole").0, name);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 1 << bit;
                assert!(decode_key(MAGIC, &damaged).is_none(), "byte {at} bit {bit}");
            }
            assert!(decode_key(MAGIC, &bytes[..at]).is_none());
        }
    }
}
