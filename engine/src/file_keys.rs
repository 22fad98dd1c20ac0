//! The default key store: files in a directory of their own, `keys/` under the root unless the host says otherwise.
//!
//! `<n>-<key>.key`, one per key-encryption key, kept apart from the data so that a backup of the data never holds it:
//!
//! | offset | bytes | field    | notes                                |
//! |-------:|------:|----------|--------------------------------------|
//! |      0 |     8 | `magic`  | `ANNKEY01`                           |
//! |      8 |     4 | `check`  | CRC-32 of all below                  |
//! |     12 |     4 | `tenant` | the tenant's number                  |
//! |     16 |     4 | `key`    | the key's id, as the tenant's key file has it |
//! |     20 |    16 | `store`  | the id of the store whose tenant it is |
//! |     36 |    32 | `secret` | random: the key-encryption key       |
//!
//! `receipts.sign`, by which erasure receipts are signed, is laid out in the same way, with the magic `ANNSIG01`, no tenant
//! and no key (0), and the seed of an Ed25519 key as its secret. Who loses it gets another; receipts of before are checked by the
//! public key of before.
//!
//! `destroyed-<gen>`, a twin file (see [`crate::twin`]): how many (LEB128), then `store` (16), `tenant` (4) and `through` (4)
//! of each tenant of which keys were destroyed, ascending: those with ids up to `through`, all of them where it is the
//! highest number there is.
//!
//! A wrapped secret is nonce (12, random), ciphertext, tag (16): AES-256-GCM under the key-encryption key, with
//! `annals wrapped key 1`, `store`, `tenant`, `key` and the context authenticated.
//!
//! To destroy keys is to make the list durable, then to remove the files: from the first step on no copy of a file
//! counts. Whoever puts an older copy of the whole directory back, list included, brings a key back; that directory must
//! never be in a backup.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{KeyId, TenantNumber};
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
const CHECKED_BYTES: usize = 4 + 4 + 16 + 32;
/// Above every key of a tenant: all are destroyed.
const ALL_KEYS: KeyId = KeyId(u32::MAX);
const WRAP_INFO: &[u8] = b"annals wrapped key 1";

/// A key store in files of its own. Any number of processes may read it; one at a time changes it: the one that has
/// the store open for writing.
pub struct FileKeyStore {
    vfs: Arc<dyn Vfs>,
    directory: PathBuf,
    temporary: PathBuf,
    /// Read once; changed by `raise` alone.
    destroyed: Mutex<Option<Destroyed>>,
}

#[derive(Clone)]
struct Destroyed {
    generation: u64,
    /// Of each tenant, up to which id.
    through: DestroyedKeys,
}

/// Of each tenant of which keys were destroyed, up to which id.
pub(crate) type DestroyedKeys = BTreeMap<KeyName, KeyId>;

impl FileKeyStore {
    /// Keys in `directory`, with drafts in `temporary`: both exist, on one file system.
    #[must_use]
    pub fn new(vfs: Arc<dyn Vfs>, directory: &Path, temporary: &Path) -> FileKeyStore {
        let (directory, temporary) = (directory.to_owned(), temporary.to_owned());
        FileKeyStore { vfs, directory, temporary, destroyed: Mutex::new(None) }
    }

    fn path(&self, name: KeyName, key: KeyId) -> PathBuf {
        self.directory.join(key_file_name(name.tenant, key))
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
            Ok(None) => Destroyed { generation: 0, through: BTreeMap::new() },
            Ok(Some(twin)) => {
                let through = decode_destroyed(&twin.content)
                    .ok_or_else(|| damaged(format!("{}: it does not decode", twin.path.display())))?;
                Destroyed { generation: twin.generation, through }
            }
            Err(error) if error.is_io() => {
                return Err(KeyStoreError::Unavailable { why: error.to_string() });
            }
            Err(error) => return Err(damaged(error.to_string())),
        };
        *known = Some(read.clone());
        Ok(read)
    }

    fn load(&self, name: KeyName, key: KeyId) -> Result<Secret, KeyStoreError> {
        match self.destroyed()?.through.get(&name) {
            Some(&ALL_KEYS) => Err(KeyStoreError::Destroyed),
            Some(&through) if key <= through => Err(KeyStoreError::Retired),
            _ => self.read(MAGIC, (name, key), &self.path(name, key)),
        }
    }

    /// The ids of a tenant's keys of which there is a file, ascending.
    fn there(&self, name: KeyName) -> Result<Vec<KeyId>, KeyStoreError> {
        keys_in(&*self.vfs, &self.directory, name.tenant).map_err(|error| KeyStoreError::Unavailable {
            why: format!("cannot list {}: {error}", self.directory.display()),
        })
    }

    /// The secret in a file that must be of that name and key.
    fn read(&self, magic: &[u8; 8], of: (KeyName, KeyId), path: &Path) -> Result<Secret, KeyStoreError> {
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
        if found != of {
            let why = format!(
                "{at} is the key of another tenant or store, or another one of this; restore the right one"
            );
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
        of: (KeyName, KeyId),
        file: String,
        entropy: &dyn Entropy,
    ) -> Result<Secret, KeyStoreError> {
        let path = self.directory.join(&file);
        let failed = |error: std::io::Error| KeyStoreError::Unavailable {
            why: format!("cannot create {}: {error}", path.display()),
        };
        let secret = Secret::draw(entropy).map_err(failed)?;
        let bytes = encode_key(magic, of, &secret);
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

    /// Destroys a tenant's keys up to one: the list first, then the files.
    fn raise(&self, name: KeyName, through: KeyId) -> Result<(), KeyStoreError> {
        let mut destroyed = self.destroyed()?;
        let failed = |why: String| KeyStoreError::Unavailable { why };
        if destroyed.through.get(&name).is_none_or(|&before| before < through) {
            destroyed.through.insert(name, through);
            destroyed.generation += 1;
            let list = self.list();
            let stored = list.store(
                &*self.vfs,
                &self.temporary,
                [0; 16],
                destroyed.generation,
                &encode_destroyed(&destroyed.through),
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
        for key in self.there(name)?.into_iter().filter(|&key| key <= through) {
            let path = self.path(name, key);
            match self.vfs.unlink(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(failed(format!("cannot remove {}: {error}", path.display())));
                }
                _ => {}
            }
        }
        self.vfs
            .sync_dir(&self.directory)
            .map_err(|error| failed(format!("cannot sync {}: {error}", self.directory.display())))
    }

    fn signing_seed(&self, store: [u8; 16]) -> Result<Secret, KeyStoreError> {
        self.read(SIGNER_MAGIC, signer(store), &self.directory.join(SIGNER_FILE))
    }
}

impl KeyStore for FileKeyStore {
    fn create(&self, name: KeyName, key: KeyId, entropy: &dyn Entropy) -> Result<(), KeyStoreError> {
        match self.load(name, key) {
            Ok(_) => return self.found(),
            Err(KeyStoreError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        self.draw(MAGIC, (name, key), key_file_name(name.tenant, key), entropy).map(drop)
    }

    fn wrap(
        &self,
        name: KeyName,
        key: KeyId,
        context: &[u8],
        secret: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, KeyStoreError> {
        let wrapping = self.load(name, key)?;
        let mut nonce = [0; 12];
        let failed = |error: std::io::Error| KeyStoreError::Unavailable { why: error.to_string() };
        entropy.fill(&mut nonce).map_err(failed)?;
        let mut wrapped = nonce.to_vec();
        seal::seal_under(&wrapping, nonce, &aad(name, key, context), secret, &mut wrapped);
        Ok(wrapped)
    }

    fn unwrap(
        &self,
        name: KeyName,
        key: KeyId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        let wrapping = self.load(name, key)?;
        let opened = wrapped.split_first_chunk().and_then(|(nonce, sealed)| {
            seal::open_under(&wrapping, *nonce, &aad(name, key, context), sealed)
        });
        opened.ok_or_else(|| {
            let why = format!("{} does not fit; restore the right one", self.path(name, key).display());
            KeyStoreError::Mismatch { why }
        })
    }

    fn retire(&self, name: KeyName, through: KeyId) -> Result<(), KeyStoreError> {
        self.raise(name, through)
    }

    fn destroy(&self, name: KeyName) -> Result<(), KeyStoreError> {
        self.raise(name, ALL_KEYS)
    }

    fn standing(&self, name: KeyName) -> Result<KeyStanding, KeyStoreError> {
        let destroyed = self.destroyed()?.through.get(&name).copied().unwrap_or(KeyId::NONE);
        if destroyed == ALL_KEYS {
            return Ok(KeyStanding::Destroyed);
        }
        match self.there(name)?.last().filter(|&&newest| newest > destroyed) {
            None => Ok(KeyStanding::Absent),
            Some(&newest) => self.load(name, newest).map(|_| KeyStanding::Present),
        }
    }

    fn signer(&self, store: [u8; 16], entropy: &dyn Entropy) -> Result<PublicKey, KeyStoreError> {
        let seed = match self.signing_seed(store) {
            Err(KeyStoreError::Missing { .. }) => {
                self.draw(SIGNER_MAGIC, signer(store), SIGNER_FILE.to_owned(), entropy)?
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
fn signer(store: [u8; 16]) -> (KeyName, KeyId) {
    (KeyName { store, tenant: TenantNumber(0) }, KeyId::NONE)
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

/// The file name of one of a tenant's keys.
pub(crate) fn key_file_name(tenant: TenantNumber, key: KeyId) -> String {
    format!("{tenant}-{key}.key")
}

/// Whose key a file of that name holds; `None` where it is no name of one.
pub(crate) fn key_file_owner(name: &str) -> Option<(TenantNumber, KeyId)> {
    let (tenant, key) = name.strip_suffix(".key")?.split_once('-')?;
    let (tenant, key) = (TenantNumber(tenant.parse().ok()?), KeyId(key.parse().ok()?));
    (key_file_name(tenant, key) == name).then_some((tenant, key))
}

/// The ids of a tenant's keys of which there is a file, ascending.
pub(crate) fn keys_in(vfs: &dyn Vfs, directory: &Path, tenant: TenantNumber) -> std::io::Result<Vec<KeyId>> {
    let names = vfs.list(directory)?.into_iter().filter_map(|entry| key_file_owner(&entry.name));
    let mut keys: Vec<KeyId> = names.filter(|(owner, _)| *owner == tenant).map(|(_, key)| key).collect();
    keys.sort_unstable();
    Ok(keys)
}

/// Removes the keys of a tenant that never came to be, as far as that goes.
pub(crate) fn discard_keys(vfs: &dyn Vfs, layout: &Layout, tenant: TenantNumber) {
    for key in keys_in(vfs, &layout.keys, tenant).unwrap_or_default() {
        let _ = vfs.unlink(&layout.keys.join(key_file_name(tenant, key)));
    }
}

fn aad(name: KeyName, key: KeyId, context: &[u8]) -> Vec<u8> {
    [WRAP_INFO, &name.store, &name.tenant.0.to_le_bytes(), &key.0.to_le_bytes(), context].concat()
}

fn encode_key(magic: &[u8; 8], (name, key): (KeyName, KeyId), secret: &Secret) -> Zeroizing<Vec<u8>> {
    let mut checked = Zeroizing::new(Vec::with_capacity(CHECKED_BYTES));
    checked.put_u32(name.tenant.0);
    checked.put_u32(key.0);
    checked.put(&name.store);
    checked.put(secret.bytes());
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAGIC.len() + 4 + CHECKED_BYTES));
    bytes.put(magic);
    bytes.put_u32(crc32fast::hash(&checked));
    bytes.put(&checked);
    bytes
}

fn decode_key(magic: &[u8; 8], bytes: &[u8]) -> Option<((KeyName, KeyId), Secret)> {
    let mut cursor = Cursor::new(bytes);
    if cursor.array::<8>()? != *magic {
        return None;
    }
    let check = cursor.u32()?;
    let checked = cursor.take(CHECKED_BYTES)?;
    let mut fields = Cursor::new(checked);
    let (tenant, key) = (TenantNumber(fields.u32()?), KeyId(fields.u32()?));
    let name = KeyName { store: fields.array()?, tenant };
    let whole = cursor.is_empty() && crc32fast::hash(checked) == check;
    Some(((name, key), Secret::from_slice(fields.take(32).filter(|_| whole)?)?))
}

fn encode_destroyed(destroyed: &DestroyedKeys) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_varint(destroyed.len() as u64);
    for (name, through) in destroyed {
        out.put(&name.store);
        out.put_u32(name.tenant.0);
        out.put_u32(through.0);
    }
    out
}

/// Decodes the content of a list of destroyed keys; `None` where it is not one.
pub(crate) fn decode_destroyed(bytes: &[u8]) -> Option<DestroyedKeys> {
    let mut cursor = Cursor::new(bytes);
    let count = cursor.count(24)?;
    let take = |cursor: &mut Cursor<'_>| {
        let name = KeyName { store: cursor.array()?, tenant: TenantNumber(cursor.u32()?) };
        Some((name, KeyId(cursor.u32()?)))
    };
    let destroyed = (0..count).map(|_| take(&mut cursor)).collect::<Option<DestroyedKeys>>()?;
    (cursor.is_empty() && destroyed.len() == count).then_some(destroyed)
}

/// Whether these are all keys that a tenant had.
pub(crate) fn is_all(through: KeyId) -> bool {
    through == ALL_KEYS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_key_file_is_refused_whole() {
        let name = KeyName { store: [9; 16], tenant: TenantNumber(3) };
        let of = (name, KeyId(4));
        let bytes = encode_key(MAGIC, of, &Secret::from_slice(&[7; 32]).expect("32 bytes"));
        assert_eq!(decode_key(MAGIC, &bytes).expect("whole").0, of);
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
