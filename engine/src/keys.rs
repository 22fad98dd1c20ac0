//! A tenant's data keys in use: read from its key file (`key_file.rs`), unwrapped by the key store, held apart by class.
//!
//! The keys of one class do not open what another class sealed: who reads metrics holds no [`SignalKeys`]. From the identity
//! secret follow the keys of pseudonyms, of batch digests and of sites' secrets, each by HKDF-SHA256 with a label of its own; every tenant
//! has it.
//!
//! Whoever holds a class' keys sees it when they change: a rotation puts new ones in their place, and secrets that are gone
//! from the key file are gone from memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_block::{SALT_BYTES, SealWith};
use annals_model::{BlockContent, DataKeys, KeyId, Sealer, SiteName, TenantNumber, Timestamp};
use annals_vfs::sync::RwLock;
use annals_vfs::{Entropy, PublishError, Vfs};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::key_file::{KeyClass, KeyEntry, KeyFile, KeyState, Wrapper};
use crate::key_store::{KeyName, KeyStanding, KeyStore, KeyStoreError};
use crate::layout::Layout;
use crate::seal::{Numbered, Secret};
use crate::twin::{Role, TwinContent, TwinError, TwinFiles};

/// What a tenant's keys are used for, derived once. Never printed.
pub(crate) struct TenantKeys {
    pub(crate) pseudonyms: annals_signals::PseudonymKey,
    /// Keys the digests by which batches are recognised: a digest of low-entropy content must tell nothing.
    digests: hmac::Key,
    /// From it follow the secrets by which sites sign what they send.
    sites: hmac::Key,
    /// Both are there, or neither is: then nothing of the tenant is sealed.
    sealing: Option<(MetricKeys, SignalKeys)>,
    known: RwLock<KnownFile>,
}

/// The key file that a tenant's keys are of.
#[derive(Clone)]
pub(crate) struct KnownFile {
    pub(crate) generation: u64,
    pub(crate) file: KeyFile,
    /// Older generations may be there too.
    pub(crate) has_older: bool,
}

/// The keys of a tenant's metrics.
#[derive(Clone)]
pub(crate) struct MetricKeys(Arc<ClassKeys>);

/// The keys of a tenant's raw signals.
#[derive(Clone)]
pub(crate) struct SignalKeys(Arc<ClassKeys>);

/// The keys of one class.
struct ClassKeys(RwLock<Secrets>);

/// The active key, and those that still open what they sealed.
struct Secrets {
    active: KeyId,
    all: Vec<(KeyId, Secret)>,
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
    pub(crate) fn lacks_key(path: &Path) -> KeyError {
        KeyError::Corrupt { path: path.to_owned(), what: "a class has no active key" }
    }

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
    let files = key_files(layout, holder.name.tenant);
    let file = KeyFile::draw(&files.path(1), holder, entropy, now)?;
    files
        .store(vfs, &layout.temporary, holder.name.store, 1, &file.encode())
        .map_err(PublishError::into_source)
        .map_err(|source| KeyError::File(TwinError::io(&files.path(1), source)))
}

/// Reads a tenant's keys, as its key store gives them.
pub(crate) fn load(vfs: &dyn Vfs, layout: &Layout, holder: KeyHolder<'_>) -> Result<TenantKeys, KeyError> {
    let (file, twin) = load_file(vfs, layout, holder.name)?;
    TenantKeys::open(
        KnownFile { generation: twin.generation, file, has_older: twin.has_older },
        twin.path,
        holder,
    )
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

impl TenantKeys {
    /// Opens the keys.
    pub(crate) fn open(
        known: KnownFile,
        path: PathBuf,
        holder: KeyHolder<'_>,
    ) -> Result<TenantKeys, KeyError> {
        let file = &known.file;
        match (file.sealed, holder.store) {
            (false, None) | (true, Some(_)) => {}
            // A tenant that was created without a key store. Where the key store knows the tenant, it was not.
            (false, Some(store)) => {
                let standing = store.standing(holder.name).and_then(|standing| match standing {
                    KeyStanding::Destroyed => Err(KeyStoreError::Destroyed),
                    other => Ok(other),
                });
                match standing {
                    Ok(KeyStanding::Absent) => {}
                    Ok(_) => {
                        let what =
                            "it says that the tenant is not sealed, and the key store has a key for it";
                        return Err(KeyError::Corrupt { path, what });
                    }
                    Err(source) => return Err(KeyError::Store { path, source }),
                }
            }
            (true, None) => return Err(KeyError::NoKeyStore { path }),
        }
        let wrapper = file.wrapper(&path, holder)?;
        let open = |class| Secrets::open(file, class, &path, wrapper);
        let identity = open(KeyClass::Identity)?;
        let identity = identity.get(identity.active).ok_or_else(|| KeyError::lacks_key(&path))?;
        let sealing = match wrapper {
            None => None,
            Some(_) => {
                let class = |class| open(class).map(|secrets| Arc::new(ClassKeys(RwLock::new(secrets))));
                Some((MetricKeys(class(KeyClass::Metrics)?), SignalKeys(class(KeyClass::Signals)?)))
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
            known: RwLock::new(known),
        })
    }

    /// Takes the place of what it was, for all who hold these.
    pub(crate) fn replace(&self, newer: TenantKeys) {
        let TenantKeys { sealing, known, .. } = newer;
        if let (Some(held), Some(newer)) = (&self.sealing, sealing) {
            for (held, newer) in [(&held.0.0, &newer.0.0), (&held.1.0, &newer.1.0)] {
                std::mem::swap(&mut *held.0.write(), &mut *newer.0.write());
            }
        }
        *self.known.write() = known.into_inner();
    }

    /// The key file that these are of.
    pub(crate) fn known(&self) -> KnownFile {
        self.known.read().clone()
    }

    /// The generation of the key file that these are of.
    pub(crate) fn generation(&self) -> u64 {
        self.known.read().generation
    }

    /// Says that no older generation of the key file is left.
    pub(crate) fn is_alone(&self) {
        self.known.write().has_older = false;
    }

    /// Whether there is nothing for background work to do about them.
    pub(crate) fn is_settled(&self) -> bool {
        let known = self.known.read();
        !known.has_older && known.file.old().next().is_none()
    }
}

impl Secrets {
    /// The keys of a class.
    fn open(
        file: &KeyFile,
        class: KeyClass,
        path: &Path,
        wrapper: Option<Wrapper<'_>>,
    ) -> Result<Secrets, KeyError> {
        let mut secrets = Secrets { active: KeyId::NONE, all: Vec::new() };
        let live = |key: &&KeyEntry| key.class == class && key.state != KeyState::Destroyed;
        for key in file.keys.iter().filter(live) {
            let secret = match wrapper {
                None => Secret::from_slice(&key.secret),
                Some(wrapper) => Secret::from_slice(&wrapper.unwrap(key)?),
            };
            let what = "a key has not the length of a key";
            let secret = secret.ok_or_else(|| KeyError::Corrupt { path: path.to_owned(), what })?;
            if key.state == KeyState::Active {
                secrets.active = key.id;
            }
            secrets.all.push((key.id, secret));
        }
        match secrets.get(secrets.active) {
            Some(_) => Ok(secrets),
            None => Err(KeyError::lacks_key(path)),
        }
    }

    fn get(&self, id: KeyId) -> Option<&Secret> {
        self.all.iter().find(|(known, _)| *known == id).map(|(_, secret)| secret)
    }
}

impl DataKeys for ClassKeys {
    fn active(&self) -> KeyId {
        self.0.read().active
    }

    fn sealer(&self, key: KeyId, salt: &[u8], info: &[u8]) -> Option<Box<dyn Sealer>> {
        Some(Box::new(self.0.read().get(key)?.sealer(salt, info)))
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
            Arc::new(ClassKeys(RwLock::new(Secrets { active: id, all: vec![(id, secret(byte))] })))
        };
        let sealing = sealed.then(|| (MetricKeys(class(2)), SignalKeys(class(3))));
        let digests = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
        let sites = hmac::Key::new(hmac::HMAC_SHA256, &[2; 32]);
        let file = KeyFile { sealed, keys: Vec::new() };
        let known = RwLock::new(KnownFile { generation: 1, file, has_older: false });
        TenantKeys { pseudonyms: annals_signals::PseudonymKey::new(&[1; 32]), digests, sites, sealing, known }
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
