//! A tenant's data keys: drawn when it is created, kept beside its manifest, wrapped by the key store.
//!
//! Content of the twin file `t/<n>/keys-<gen>` (see [`crate::twin`]), numbers in LEB128:
//!
//! | field    | type | notes                                                                              |
//! |----------|------|------------------------------------------------------------------------------------|
//! | `sealed` | u8   | 1 where the tenant's data is sealed, 0 where it never was                          |
//! | `keys`   | list | id (u32), class (u8), state (u8), created (i64, milliseconds), secret (blob)       |
//!
//! Classes: 1 identity, 2 metrics, 3 signals; states: 1 active, 2 decrypt only, 3 destroyed (no secret). Each class has
//! one active key; ids count from 1 and are never used again. A secret is 32 random bytes: as the key store wrapped it,
//! with `annals data key 1`, the key's id and class as context; as it is where the tenant is not sealed.
//!
//! The keys of one class do not open what another class sealed, and are held apart: who reads metrics holds no
//! [`SignalKeys`]. From the identity secret follow the keys of pseudonyms, of batch digests and of sites' secrets, each by HKDF-SHA256 with
//! a label of its own; every tenant has it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_block::{SALT_BYTES, SealWith};
use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{BlockContent, DataKeys, KeyId, Sealer, SiteName, TenantNumber, Timestamp};
use annals_vfs::{Entropy, PublishError, Vfs};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::key_store::{KeyName, KeyStanding, KeyStore, KeyStoreError};
use crate::layout::Layout;
use crate::seal::{Numbered, Secret};
use crate::twin::{Role, TwinContent, TwinError, TwinFiles};

const CONTEXT: &[u8] = b"annals data key 1";

/// What a key protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyClass {
    Identity = 1,
    Metrics = 2,
    Signals = 3,
}

/// What a key may still be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    Active = 1,
    DecryptOnly = 2,
    Destroyed = 3,
}

/// A key as its file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyEntry {
    pub(crate) id: KeyId,
    pub(crate) class: KeyClass,
    pub(crate) state: KeyState,
    pub(crate) created: Timestamp,
    secret: Vec<u8>,
}

/// The content of a key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyFile {
    pub(crate) sealed: bool,
    pub(crate) keys: Vec<KeyEntry>,
}

/// What a tenant's keys are used for, derived once. Never printed.
pub(crate) struct TenantKeys {
    pub(crate) pseudonyms: annals_signals::PseudonymKey,
    /// Keys the digests by which batches are recognised: a digest of low-entropy content must tell nothing.
    digests: hmac::Key,
    /// From it follow the secrets by which sites sign what they send.
    sites: hmac::Key,
    /// Both are there, or neither is: then nothing of the tenant is sealed.
    sealing: Option<(MetricKeys, SignalKeys)>,
}

/// The keys of a tenant's metrics.
#[derive(Clone)]
pub(crate) struct MetricKeys(Arc<ClassKeys>);

/// The keys of a tenant's raw signals.
#[derive(Clone)]
pub(crate) struct SignalKeys(Arc<ClassKeys>);

/// The keys of one class: the active one, and those that still open what they sealed.
struct ClassKeys {
    active: KeyId,
    secrets: Vec<(KeyId, Secret)>,
}

/// Why a tenant's keys cannot be used: its data is untouched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Its key file cannot be read.
    #[error("cannot use the tenant's keys: {0}")]
    File(TwinError),
    /// Its key file is not there.
    #[error("{}: there is no key file; restore it from a backup", directory.display())]
    Missing {
        /// Where it should be.
        directory: PathBuf,
    },
    /// Its key file is whole and makes no sense.
    #[error("{}: {what}; restore it from a backup", path.display())]
    Corrupt {
        /// The key file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The key store does not give its keys.
    #[error("{}: {source}", path.display())]
    Store {
        /// The key file.
        path: PathBuf,
        /// What the key store says.
        source: KeyStoreError,
    },
    /// It is sealed, and the store was opened without a key store.
    #[error("{}: the tenant's data is sealed; open the store with its key store", path.display())]
    NoKeyStore {
        /// The key file.
        path: PathBuf,
    },
}

impl KeyError {
    /// Whether the keys were destroyed: the data is gone for good.
    #[must_use]
    pub fn is_destroyed(&self) -> bool {
        matches!(self, KeyError::Store { source: KeyStoreError::Destroyed, .. })
    }
}

/// The files of a tenant's keys.
pub(crate) fn key_files(layout: &Layout, tenant: TenantNumber) -> TwinFiles {
    TwinFiles { directory: layout.tenant(tenant), role: Role::Keys, owner: tenant.0 }
}

/// Whose keys, and who holds the key that wraps them: `None` where nobody does.
#[derive(Clone, Copy)]
pub(crate) struct KeyHolder<'a> {
    pub(crate) name: KeyName,
    pub(crate) store: Option<&'a dyn KeyStore>,
}

/// Draws and stores the keys of a new tenant: sealed where there is a key store.
pub(crate) fn create(
    vfs: &dyn Vfs,
    entropy: &dyn Entropy,
    layout: &Layout,
    holder: KeyHolder<'_>,
    now: Timestamp,
) -> Result<(), KeyError> {
    let KeyHolder { name, store } = holder;
    let files = key_files(layout, name.tenant);
    let io = |source| KeyError::File(TwinError::Io { path: files.path(1), source });
    let refused = |source| KeyError::Store { path: files.path(1), source };
    if let Some(store) = store {
        store.create(name, entropy).map_err(refused)?;
    }
    let classes = match store {
        Some(_) => &[KeyClass::Identity, KeyClass::Metrics, KeyClass::Signals][..],
        None => &[KeyClass::Identity],
    };
    let mut keys = Vec::new();
    for (id, &class) in (1..).map(KeyId).zip(classes) {
        let secret = Secret::draw(entropy).map_err(io)?;
        let secret = match store {
            Some(store) => {
                let wrapped = store.wrap(name, &context(id, class), secret.bytes(), entropy);
                wrapped.map_err(refused)?
            }
            None => secret.bytes().to_vec(),
        };
        keys.push(KeyEntry { id, class, state: KeyState::Active, created: now, secret });
    }
    let content = KeyFile { sealed: store.is_some(), keys }.encode();
    files
        .store(vfs, &layout.temporary, name.store, 1, &content)
        .map_err(PublishError::into_source)
        .map_err(io)
}

/// Reads a tenant's keys, as its key store gives them.
pub(crate) fn load(vfs: &dyn Vfs, layout: &Layout, holder: KeyHolder<'_>) -> Result<TenantKeys, KeyError> {
    let (file, twin) = load_file(vfs, layout, holder.name)?;
    file.open(twin.path, holder)
}

/// Reads a tenant's key file without opening its keys.
pub(crate) fn load_file(
    vfs: &dyn Vfs,
    layout: &Layout,
    name: KeyName,
) -> Result<(KeyFile, TwinContent), KeyError> {
    let files = key_files(layout, name.tenant);
    let twin = files.load(vfs).map_err(KeyError::File)?;
    let twin = twin.ok_or(KeyError::Missing { directory: files.directory })?;
    let corrupt = |what| KeyError::Corrupt { path: twin.path.clone(), what };
    if twin.root != name.store {
        return Err(corrupt("it belongs to another store"));
    }
    let file = KeyFile::decode(&twin.content).ok_or_else(|| corrupt("it does not decode"))?;
    Ok((file, twin))
}

/// The same keys, wrapped for another holder: of a tenant of another store.
pub(crate) fn rewrap(
    file: &KeyFile,
    path: &Path,
    from: KeyHolder<'_>,
    to: KeyHolder<'_>,
    entropy: &dyn Entropy,
) -> Result<KeyFile, KeyError> {
    let refused = |source| KeyError::Store { path: path.to_owned(), source };
    let mut keys = file.keys.clone();
    if file.sealed {
        let holders = from.store.zip(to.store);
        let (old, new) = holders.ok_or_else(|| KeyError::NoKeyStore { path: path.to_owned() })?;
        new.create(to.name, entropy).map_err(refused)?;
        for key in keys.iter_mut().filter(|key| key.state != KeyState::Destroyed) {
            let context = context(key.id, key.class);
            let secret = old.unwrap(from.name, &context, &key.secret).map_err(refused)?;
            key.secret = new.wrap(to.name, &context, &secret, entropy).map_err(refused)?;
        }
    }
    Ok(KeyFile { sealed: file.sealed, keys })
}

fn context(id: KeyId, class: KeyClass) -> Vec<u8> {
    [CONTEXT, &id.0.to_le_bytes(), &[class as u8]].concat()
}

impl KeyClass {
    const ALL: [KeyClass; 3] = [KeyClass::Identity, KeyClass::Metrics, KeyClass::Signals];

    /// The class of that number on disk.
    pub(crate) fn from_tag(tag: u8) -> Option<KeyClass> {
        KeyClass::ALL.into_iter().find(|&known| known as u8 == tag)
    }

    /// Its name in listings.
    pub(crate) fn word(self) -> &'static str {
        match self {
            KeyClass::Identity => "identity",
            KeyClass::Metrics => "metrics",
            KeyClass::Signals => "signals",
        }
    }
}

impl KeyState {
    const ALL: [KeyState; 3] = [KeyState::Active, KeyState::DecryptOnly, KeyState::Destroyed];

    /// Its name in listings.
    pub(crate) fn word(self) -> &'static str {
        match self {
            KeyState::Active => "active",
            KeyState::DecryptOnly => "decrypt only",
            KeyState::Destroyed => "destroyed",
        }
    }
}

impl KeyFile {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.sealed)];
        out.put_varint(self.keys.len() as u64);
        for key in &self.keys {
            out.put_u32(key.id.0);
            out.put_u8(key.class as u8);
            out.put_u8(key.state as u8);
            out.put_i64(key.created.0);
            out.put_blob(&key.secret);
        }
        out
    }

    /// Decodes a key file's content; `None` where it is not one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<KeyFile> {
        let mut cursor = Cursor::new(bytes);
        let sealed = match cursor.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let count = cursor.count(15)?;
        let mut keys: Vec<KeyEntry> = Vec::with_capacity(count);
        for _ in 0..count {
            let id = KeyId(cursor.u32()?);
            let (class, state) = (KeyClass::from_tag(cursor.u8()?)?, cursor.u8()?);
            let state = KeyState::ALL.into_iter().find(|&known| known as u8 == state)?;
            let created = Timestamp(cursor.i64()?);
            let secret = cursor.blob()?.to_vec();
            let after = keys.last().map_or(KeyId::NONE, |last| last.id);
            let rival = |key: &KeyEntry| {
                key.class == class && key.state == KeyState::Active && state == KeyState::Active
            };
            if id <= after || keys.iter().any(rival) {
                return None;
            }
            keys.push(KeyEntry { id, class, state, created, secret });
        }
        cursor.is_empty().then_some(KeyFile { sealed, keys })
    }

    /// The same with new active keys of metrics and signals. Those of before still open what they sealed.
    pub(crate) fn renewed(
        mut self,
        path: &Path,
        holder: KeyHolder<'_>,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<KeyFile, KeyError> {
        let Some(store) = holder.store.filter(|_| self.sealed) else { return Ok(self) };
        let io = |source| KeyError::File(TwinError::io(path, source));
        for class in [KeyClass::Metrics, KeyClass::Signals] {
            let active = |key: &&mut KeyEntry| key.class == class && key.state == KeyState::Active;
            self.keys.iter_mut().filter(active).for_each(|key| key.state = KeyState::DecryptOnly);
            let id = KeyId(self.keys.last().map_or(0, |last| last.id.0).saturating_add(1));
            let secret = Secret::draw(entropy).map_err(io)?;
            let secret = store.wrap(holder.name, &context(id, class), secret.bytes(), entropy);
            let secret = secret.map_err(|source| KeyError::Store { path: path.to_owned(), source })?;
            self.keys.push(KeyEntry { id, class, state: KeyState::Active, created: now, secret });
        }
        Ok(self)
    }

    /// The same without the keys that are not active any more.
    pub(crate) fn without_old(mut self) -> KeyFile {
        for key in self.keys.iter_mut().filter(|key| key.state == KeyState::DecryptOnly) {
            key.state = KeyState::Destroyed;
            key.secret.clear();
        }
        self
    }

    /// Opens the keys.
    pub(crate) fn open(&self, path: PathBuf, holder: KeyHolder<'_>) -> Result<TenantKeys, KeyError> {
        let KeyHolder { name, store } = holder;
        let store = match (self.sealed, store) {
            (false, None) => None,
            // A tenant that was created without a key store. Where the key store knows the tenant, it was not.
            (false, Some(store)) => {
                let standing = store.standing(name).and_then(|standing| match standing {
                    KeyStanding::Destroyed => Err(KeyStoreError::Destroyed),
                    other => Ok(other),
                });
                match standing {
                    Ok(KeyStanding::Absent) => None,
                    Ok(_) => {
                        let what =
                            "it says that the tenant is not sealed, and the key store has a key for it";
                        return Err(KeyError::Corrupt { path, what });
                    }
                    Err(source) => return Err(KeyError::Store { path, source }),
                }
            }
            (true, None) => return Err(KeyError::NoKeyStore { path }),
            (true, Some(store)) => Some(store),
        };
        let open = |class| self.open_class(class, &path, name, store);
        let identity = open(KeyClass::Identity)?;
        let missing = KeyError::Corrupt { path: path.clone(), what: "a class has no active key" };
        let Some(identity) = identity.active_secret() else { return Err(missing) };
        let sealing = match store {
            None => None,
            Some(_) => {
                let (metrics, signals) = (open(KeyClass::Metrics)?, open(KeyClass::Signals)?);
                if metrics.active_secret().is_none() || signals.active_secret().is_none() {
                    return Err(missing);
                }
                Some((MetricKeys(Arc::new(metrics)), SignalKeys(Arc::new(signals))))
            }
        };
        let pseudonyms = identity.derive::<32>(&[], b"annals pseudonyms 1");
        let digests = identity.derive::<32>(&[], b"annals batch digests 1");
        let sites = identity.derive::<32>(&[], b"annals site secrets 1");
        Ok(TenantKeys {
            sites: hmac::Key::new(hmac::HMAC_SHA256, &sites[..]),
            pseudonyms: annals_signals::PseudonymKey::new(&pseudonyms),
            digests: hmac::Key::new(hmac::HMAC_SHA256, &digests[..]),
            sealing,
        })
    }

    fn open_class(
        &self,
        class: KeyClass,
        path: &Path,
        name: KeyName,
        store: Option<&dyn KeyStore>,
    ) -> Result<ClassKeys, KeyError> {
        let mut keys = ClassKeys { active: KeyId::NONE, secrets: Vec::new() };
        let live = |key: &&KeyEntry| key.class == class && key.state != KeyState::Destroyed;
        for key in self.keys.iter().filter(live) {
            let secret = match store {
                None => Secret::from_slice(&key.secret),
                Some(store) => {
                    let opened = store.unwrap(name, &context(key.id, class), &key.secret);
                    let opened =
                        opened.map_err(|source| KeyError::Store { path: path.to_owned(), source })?;
                    Secret::from_slice(&opened)
                }
            };
            let what = "a key has not the length of a key";
            let secret = secret.ok_or_else(|| KeyError::Corrupt { path: path.to_owned(), what })?;
            if key.state == KeyState::Active {
                keys.active = key.id;
            }
            keys.secrets.push((key.id, secret));
        }
        Ok(keys)
    }
}

impl ClassKeys {
    fn secret(&self, id: KeyId) -> Option<&Secret> {
        self.secrets.iter().find(|(known, _)| *known == id).map(|(_, secret)| secret)
    }

    fn active_secret(&self) -> Option<&Secret> {
        self.secret(self.active)
    }
}

impl DataKeys for ClassKeys {
    fn active(&self) -> KeyId {
        self.active
    }

    fn sealer(&self, key: KeyId, salt: &[u8], info: &[u8]) -> Option<Box<dyn Sealer>> {
        Some(Box::new(self.secret(key)?.sealer(salt, info)))
    }
}

impl TenantKeys {
    /// A keyed digest of content that is handed over in pieces.
    pub(crate) fn digest(&self, feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.digests);
        feed(&mut |piece| context.update(piece));
        let tag = context.sign();
        let mut digest = [0; 16];
        digest.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }

    /// The secret of a site under a key id. It is stored nowhere: it follows from the tenant's identity, and goes with that.
    pub(crate) fn site_secret(&self, site: &SiteName, id: &[u8; 16]) -> Zeroizing<[u8; 32]> {
        let mut context = hmac::Context::with_key(&self.sites);
        context.update(id);
        context.update(site.as_str().as_bytes());
        let mut secret = Zeroizing::new([0; 32]);
        secret.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        secret
    }

    /// The keys of what metrics are sealed with; `None` where they are not.
    pub(crate) fn metrics(&self) -> Option<&MetricKeys> {
        self.sealing.as_ref().map(|(metrics, _)| metrics)
    }

    /// The keys of what raw signals are sealed with; `None` where they are not.
    pub(crate) fn signals(&self) -> Option<&SignalKeys> {
        self.sealing.as_ref().map(|(_, signals)| signals)
    }

    /// What a new block of that content is to be sealed with; `None` where the tenant is not sealed.
    pub(crate) fn seal_block(
        &self,
        content: BlockContent,
        entropy: &dyn Entropy,
    ) -> std::io::Result<Option<BlockSeal>> {
        let Some(keys) = self.of_blocks(content) else { return Ok(None) };
        let mut salt = [0; SALT_BYTES];
        entropy.fill(&mut salt)?;
        Ok(Some(BlockSeal { keys, salt }))
    }

    /// The keys of blocks of that content; `None` where they are not sealed.
    pub(crate) fn of_blocks(&self, content: BlockContent) -> Option<Arc<dyn DataKeys>> {
        let (metrics, signals) = self.sealing.as_ref()?;
        Some(match content {
            BlockContent::RawMetrics | BlockContent::Rollup5m | BlockContent::Rollup1h => metrics.0.clone(),
            BlockContent::RawSignals => signals.0.clone(),
        })
    }
}

#[cfg(test)]
impl TenantKeys {
    /// Keys that everybody knows.
    pub(crate) fn of_tests(sealed: bool) -> TenantKeys {
        let secret = |byte| Secret::from_slice(&[byte; 32]).expect("32 bytes");
        let class = |byte| {
            let id = KeyId(u32::from(byte));
            Arc::new(ClassKeys { active: id, secrets: vec![(id, secret(byte))] })
        };
        let sealing = sealed.then(|| (MetricKeys(class(2)), SignalKeys(class(3))));
        let digests = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
        let sites = hmac::Key::new(hmac::HMAC_SHA256, &[2; 32]);
        TenantKeys { pseudonyms: annals_signals::PseudonymKey::new(&[1; 32]), digests, sites, sealing }
    }
}

/// What one new block is sealed with.
pub(crate) struct BlockSeal {
    keys: Arc<dyn DataKeys>,
    salt: [u8; SALT_BYTES],
}

impl BlockSeal {
    pub(crate) fn with(&self) -> SealWith<'_> {
        SealWith { keys: &*self.keys, salt: self.salt }
    }
}

/// Keys of one class, as those use them who seal records and manifests.
pub(crate) trait Class {
    fn keys(&self) -> &dyn DataKeys;

    /// The sealer of a new writer, of the active key.
    fn numbered(&self, salt: &[u8], info: &[u8]) -> Numbered {
        let id = self.keys().active();
        let sealer = self.keys().sealer(id, salt, info).expect("keys have their active key");
        Numbered { id, sealer }
    }
}

impl Class for MetricKeys {
    fn keys(&self) -> &dyn DataKeys {
        &*self.0
    }
}

impl Class for SignalKeys {
    fn keys(&self) -> &dyn DataKeys {
        &*self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_held() {
        let entry = |id, class, state, secret: &[u8]| KeyEntry {
            id: KeyId(id),
            class,
            state,
            created: Timestamp(5),
            secret: secret.to_vec(),
        };
        let file = KeyFile {
            sealed: true,
            keys: vec![
                entry(1, KeyClass::Identity, KeyState::Active, b"abc"),
                entry(2, KeyClass::Metrics, KeyState::Destroyed, b""),
                entry(7, KeyClass::Metrics, KeyState::Active, b"d"),
            ],
        };
        let expected = [
            &b"\x01\x03"[..],
            b"\x01\0\0\0\x01\x01\x05\0\0\0\0\0\0\0\x03abc",
            b"\x02\0\0\0\x02\x03\x05\0\0\0\0\0\0\0\x00",
            b"\x07\0\0\0\x02\x01\x05\0\0\0\0\0\0\0\x01d",
        ]
        .concat();
        assert_eq!(file.encode(), expected);
        assert_eq!(KeyFile::decode(&expected), Some(file.clone()));
        for length in 0..expected.len() {
            assert_eq!(KeyFile::decode(&expected[..length]), None, "cut at {length}");
        }
        let twice = KeyFile { keys: vec![file.keys[0].clone(), file.keys[0].clone()], ..file.clone() };
        assert_eq!(KeyFile::decode(&twice.encode()), None, "one id twice");
        let mut rival = file.keys[2].clone();
        rival.id = KeyId(8);
        let rivals = KeyFile { keys: vec![file.keys[2].clone(), rival], ..file };
        assert_eq!(KeyFile::decode(&rivals.encode()), None, "two active keys of one class");
    }
}
