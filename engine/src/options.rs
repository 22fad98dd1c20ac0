//! What a host decides when it opens a store.

use std::sync::Arc;
use std::time::Duration;

use annals_model::schema::SignalSchema;
use annals_vfs::Vfs;

use crate::file_keys::FileKeyStore;
use crate::key_store::KeyStore;
use crate::layout::Layout;
use crate::ticket::Durability;

/// What a host decides when it opens a store; the defaults suit a gateway.
///
/// ```
/// use annals::{Durability, Options};
/// let options = Options { durability: Durability::Buffered, ..Options::default() };
/// assert!(options.head_bytes_max > 0);
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    /// What an acknowledgement means.
    pub durability: Durability,
    /// With [`Durability::Buffered`], the longest time between two syncs.
    pub sync_every: Duration,
    /// Who does background work.
    pub background: Background,
    /// Signal kinds that are taken: the built-in ones, and what the host registers.
    pub schema: SignalSchema,
    /// Heads of all tenants together, in bytes: above it the largest is flushed, above twice it writes are refused.
    pub head_bytes_max: usize,
    /// A head is flushed when it has been filling for so long, in milliseconds.
    pub head_age_ms_max: i64,
    /// The log, in bytes: above half of it laggards are flushed, at it writes are refused.
    pub log_bytes_max: u64,
    /// Who holds the keys of tenants.
    pub encryption: Encryption,
    /// How blocks are read.
    pub reads: Reads,
    /// What is kept in memory of the indexes of blocks, in bytes: above it, those that were not used for longest are read
    /// again when they are asked for.
    pub index_bytes_max: usize,
}

/// How blocks are read. Either way what is used is a copy that was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reads {
    /// Mapped into memory: the fastest. A disk that fails under a mapping ends the process.
    #[default]
    Mapped,
    /// Read from open files, of which each block in use takes one: a disk that fails is an error of the query.
    Positioned,
}

/// Who holds the keys under which tenants' data keys are wrapped. Whether a tenant is sealed is decided when it is created
/// and stays so: a sealed one needs its key store at every open, one that is not is served with any of these.
#[derive(Clone, Default)]
pub enum Encryption {
    /// Files in `keys/` under the root. A backup of the data must not hold that directory.
    #[default]
    Files,
    /// The host's key store.
    Keys(Arc<dyn KeyStore>),
    /// Nobody: new tenants are not sealed, and whoever reads their files reads their data. There is no erasure by
    /// destroying a key: old copies of the files stay readable for ever. Sealed tenants are unavailable.
    None,
}

impl Encryption {
    /// Who signs receipts of erasures.
    pub(crate) fn signer(&self, vfs: &Arc<dyn Vfs>, layout: &Layout) -> Arc<dyn KeyStore> {
        let files = || Arc::new(FileKeyStore::new(vfs.clone(), &layout.keys, &layout.temporary));
        self.key_store(vfs, layout).unwrap_or_else(|| files())
    }

    /// The key store; `None` where there is none.
    pub(crate) fn key_store(&self, vfs: &Arc<dyn Vfs>, layout: &Layout) -> Option<Arc<dyn KeyStore>> {
        match self {
            Encryption::Files => {
                Some(Arc::new(FileKeyStore::new(vfs.clone(), &layout.keys, &layout.temporary)))
            }
            Encryption::Keys(store) => Some(store.clone()),
            Encryption::None => None,
        }
    }
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Encryption::Files => "Files",
            Encryption::Keys(_) => "Keys",
            Encryption::None => "None",
        })
    }
}

/// Who does background work: committing batches, flushing, merging, dropping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Background {
    /// Two threads of the store's own.
    Threads,
    /// The host, by [`crate::Annals::commit_step`] and [`crate::Annals::maintenance_step`]; waiting for a ticket
    /// commits too. For simulations and short-lived programs.
    Steps,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durability: Durability::Synced,
            sync_every: Duration::from_millis(200),
            background: Background::Threads,
            schema: annals_signals::builtin(),
            head_bytes_max: 256 << 20,
            head_age_ms_max: annals_model::DAY_MS,
            log_bytes_max: 1 << 30,
            encryption: Encryption::Files,
            reads: Reads::Mapped,
            index_bytes_max: 256 << 20,
        }
    }
}
