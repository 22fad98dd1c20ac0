//! A block that a manifest names, opened when it is first asked for.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};

use annals_block::{BlockError, BlockIdentity, MetricBlock, RollupBlock, SignalBlock};
use annals_model::{BlockContent, BlockMeta, DataKeys, KeyId, Missing, TenantNumber, TimeRange};
use annals_vfs::Sealed;
use annals_vfs::sync::Mutex;
use annals_vfs::sync::atomic::{AtomicU64, Ordering};

use crate::check_block::AnyBlock;
use crate::keys::TenantKeys;
use crate::shelf::Shelf;

/// A live block. Its file stays until the last of these goes.
pub(crate) struct OpenBlock {
    pub(crate) meta: BlockMeta,
    pub(crate) path: PathBuf,
    tenant: TenantNumber,
    /// Of its tenant and content; none where the tenant is not sealed.
    keys: Option<Arc<dyn DataKeys>>,
    shelf: Arc<Shelf>,
    bytes: OnceLock<Sealed>,
    sealed_with: OnceLock<KeyId>,
    /// What it was found to be, while it is open.
    reader: Mutex<Option<Result<Reader, String>>>,
    last_use: AtomicU64,
    this: Weak<OpenBlock>,
}

#[derive(Clone)]
enum Reader {
    Metrics(Arc<MetricBlock>),
    Rollups(Arc<RollupBlock>),
    Signals(Arc<SignalBlock>),
}

impl OpenBlock {
    pub(crate) fn new(
        shelf: &Arc<Shelf>,
        tenant: TenantNumber,
        keys: &TenantKeys,
        meta: BlockMeta,
    ) -> Arc<OpenBlock> {
        Arc::new_cyclic(|this| OpenBlock {
            meta,
            path: shelf.layout.block(tenant, meta.id),
            tenant,
            keys: keys.of_blocks(meta.id.content),
            shelf: shelf.clone(),
            bytes: OnceLock::new(),
            sealed_with: OnceLock::new(),
            reader: Mutex::new(None),
            last_use: AtomicU64::new(0),
            this: this.clone(),
        })
    }

    /// Maps or opens the file, so that it stays readable when a writer removes it. Not remembered where it fails: a process
    /// may be out of handles for a moment.
    pub(crate) fn map(&self) -> Result<Sealed, String> {
        if let Some(bytes) = self.bytes.get() {
            return Ok(bytes.clone());
        }
        let failed = |what: String| format!("{}: {what}", self.path.display());
        let bytes = self.shelf.bytes_of(&self.path).map_err(|error| failed(error.to_string()))?;
        if bytes.len() as u64 != self.meta.bytes {
            return Err(failed(format!(
                "it has {} bytes, the manifest says {}",
                bytes.len(),
                self.meta.bytes
            )));
        }
        Ok(self.bytes.get_or_init(|| bytes).clone())
    }

    /// The data key that it is sealed with, as its header says; none of a plain one. The file is not kept open for that.
    pub(crate) fn sealed_with(&self) -> Result<KeyId, String> {
        if let Some(&key) = self.sealed_with.get() {
            return Ok(key);
        }
        let name = self.path.display().to_string();
        let bytes = match self.bytes.get() {
            Some(bytes) => bytes.clone(),
            None => self.shelf.bytes_of(&self.path).map_err(|error| format!("{name}: {error}"))?,
        };
        let opened = AnyBlock::open(bytes, self.identity(), &name).map_err(|error| error.to_string())?;
        let key = opened.key().unwrap_or(KeyId::NONE);
        Ok(*self.sealed_with.get_or_init(|| key))
    }

    pub(crate) fn identity(&self) -> BlockIdentity {
        BlockIdentity { tenant: self.tenant, id: self.meta.id }
    }

    /// When it was last asked for, as the shelf counts.
    pub(crate) fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    /// What is kept of its index; `None` where it is not open.
    pub(crate) fn index_bytes(&self) -> Option<usize> {
        match &*self.reader.lock() {
            Some(Ok(Reader::Metrics(block))) => Some(block.index_bytes()),
            Some(Ok(Reader::Rollups(block))) => Some(block.index_bytes()),
            Some(Ok(Reader::Signals(block))) => Some(block.index_bytes()),
            Some(Err(_)) | None => None,
        }
    }

    /// Forgets what was read of its index; the file stays at hand.
    pub(crate) fn close(&self) {
        *self.reader.lock() = None;
    }

    fn reader(&self) -> Result<Reader, String> {
        self.last_use.store(self.shelf.next_use(), Ordering::Relaxed);
        let mut held = self.reader.lock();
        if let Some(reader) = &*held {
            return reader.clone();
        }
        let bytes = self.map()?;
        let opened = match self.open(bytes) {
            // A disk that fails now may not fail later.
            Err(error @ BlockError::Io { .. }) => return Err(error.to_string()),
            Err(error) => Err(error.to_string()),
            Ok((_, meta)) if meta != self.meta => {
                let name = self.path.display();
                Err(format!("{name}: it is whole, and not the block that the manifest names"))
            }
            Ok((reader, _)) => Ok(reader),
        };
        *held = Some(opened.clone());
        drop(held);
        self.shelf.add(&self.this);
        opened
    }

    fn open(&self, bytes: Sealed) -> Result<(Reader, BlockMeta), BlockError> {
        let (name, identity, keys) = (self.path.display().to_string(), self.identity(), self.keys.as_deref());
        match self.meta.id.content {
            BlockContent::RawMetrics => {
                let block = MetricBlock::open(bytes, identity, &name)?.unlock(keys)?;
                let meta = *block.meta();
                Ok((Reader::Metrics(Arc::new(block)), meta))
            }
            BlockContent::Rollup5m | BlockContent::Rollup1h => {
                let block = RollupBlock::open(bytes, identity, &name)?.unlock(keys)?;
                let meta = *block.meta();
                Ok((Reader::Rollups(Arc::new(block)), meta))
            }
            BlockContent::RawSignals => {
                let block = SignalBlock::open(bytes, identity, &name)?.unlock(keys)?;
                let meta = *block.meta();
                Ok((Reader::Signals(Arc::new(block)), meta))
            }
        }
    }

    /// The block's metrics, open for as long as the caller holds them.
    pub(crate) fn metrics(&self) -> Result<Arc<MetricBlock>, Missing> {
        match self.reader() {
            Ok(Reader::Metrics(block)) => Ok(block),
            Ok(_) => Err(self.missing("it holds no samples".to_owned())),
            Err(why) => Err(self.missing(why)),
        }
    }

    /// The block's rollups, open for as long as the caller holds them.
    pub(crate) fn rollups(&self) -> Result<Arc<RollupBlock>, Missing> {
        match self.reader() {
            Ok(Reader::Rollups(block)) => Ok(block),
            Ok(_) => Err(self.missing("it holds no rollups".to_owned())),
            Err(why) => Err(self.missing(why)),
        }
    }

    /// The block's signals, open for as long as the caller holds them.
    pub(crate) fn signals(&self) -> Result<Arc<SignalBlock>, Missing> {
        match self.reader() {
            Ok(Reader::Signals(block)) => Ok(block),
            Ok(_) => Err(self.missing("it holds no signals".to_owned())),
            Err(why) => Err(self.missing(why)),
        }
    }

    /// The block's whole time range, as missing.
    pub(crate) fn missing(&self, why: String) -> Missing {
        let time = self.meta.time;
        // A window is named by its end.
        let before_ms = self.meta.id.content.window_ms().map_or(0, |window_ms| window_ms - 1);
        Missing { range: TimeRange::new(time.start.saturating_add(-before_ms), time.end), why }
    }
}

impl std::fmt::Debug for OpenBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenBlock({})", self.meta.id)
    }
}
