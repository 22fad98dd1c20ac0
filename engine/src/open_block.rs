//! A block that a manifest names, opened when it is first asked for.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use annals_block::{BlockIdentity, MetricBlock, SignalBlock};
use annals_model::{BlockContent, BlockMeta, DataKeys, Missing, TenantNumber};
use annals_vfs::{Sealed, Vfs};

use crate::keys::TenantKeys;
use crate::layout::Layout;

/// A live block. Its file stays until the last of these goes.
pub(crate) struct OpenBlock {
    pub(crate) meta: BlockMeta,
    pub(crate) path: PathBuf,
    tenant: TenantNumber,
    /// Of its tenant and content; none where the tenant is not sealed.
    keys: Option<Arc<dyn DataKeys>>,
    vfs: Arc<dyn Vfs>,
    bytes: OnceLock<Sealed>,
    reader: OnceLock<Result<Reader, String>>,
}

enum Reader {
    Metrics(MetricBlock),
    Signals(SignalBlock),
}

impl OpenBlock {
    pub(crate) fn new(
        vfs: Arc<dyn Vfs>,
        layout: &Layout,
        tenant: TenantNumber,
        keys: &TenantKeys,
        meta: BlockMeta,
    ) -> Arc<OpenBlock> {
        let path = layout.block(tenant, meta.id);
        let keys = keys.of_blocks(meta.id.content);
        Arc::new(OpenBlock { meta, path, tenant, keys, vfs, bytes: OnceLock::new(), reader: OnceLock::new() })
    }

    /// Maps the file, so that it stays readable when a writer removes it. Not remembered where it fails: a process may
    /// be out of handles for a moment.
    pub(crate) fn map(&self) -> Result<Sealed, String> {
        if let Some(bytes) = self.bytes.get() {
            return Ok(bytes.clone());
        }
        let failed = |what: String| format!("{}: {what}", self.path.display());
        let bytes = self.vfs.map_sealed(&self.path).map_err(|error| failed(error.to_string()))?;
        if bytes.len() as u64 != self.meta.bytes {
            return Err(failed(format!(
                "it has {} bytes, the manifest says {}",
                bytes.len(),
                self.meta.bytes
            )));
        }
        Ok(self.bytes.get_or_init(|| bytes).clone())
    }

    pub(crate) fn identity(&self) -> BlockIdentity {
        BlockIdentity { tenant: self.tenant, id: self.meta.id }
    }

    fn reader(&self) -> Result<&Reader, String> {
        if let Some(reader) = self.reader.get() {
            return reader.as_ref().map_err(Clone::clone);
        }
        let bytes = self.map()?;
        let reader = self.reader.get_or_init(|| {
            let name = self.path.display().to_string();
            let (reader, meta) = match self.meta.id.content {
                BlockContent::RawMetrics => {
                    let block = MetricBlock::open(bytes, self.identity(), &name)
                        .and_then(|block| block.unlock(self.keys.as_deref()))
                        .map_err(|e| e.to_string())?;
                    let meta = *block.meta();
                    (Reader::Metrics(block), meta)
                }
                BlockContent::RawSignals => {
                    let block = SignalBlock::open(bytes, self.identity(), &name)
                        .and_then(|block| block.unlock(self.keys.as_deref()))
                        .map_err(|e| e.to_string())?;
                    let meta = *block.meta();
                    (Reader::Signals(block), meta)
                }
            };
            if meta == self.meta {
                Ok(reader)
            } else {
                Err(format!("{name}: it is whole, and not the block that the manifest names"))
            }
        });
        reader.as_ref().map_err(Clone::clone)
    }

    /// The block's metrics.
    pub(crate) fn metrics(&self) -> Result<&MetricBlock, Missing> {
        match self.reader() {
            Ok(Reader::Metrics(block)) => Ok(block),
            Ok(Reader::Signals(_)) => Err(self.missing("it holds signals".to_owned())),
            Err(why) => Err(self.missing(why)),
        }
    }

    /// The block's signals.
    pub(crate) fn signals(&self) -> Result<&SignalBlock, Missing> {
        match self.reader() {
            Ok(Reader::Signals(block)) => Ok(block),
            Ok(Reader::Metrics(_)) => Err(self.missing("it holds metrics".to_owned())),
            Err(why) => Err(self.missing(why)),
        }
    }

    /// The block's whole time range, as missing.
    pub(crate) fn missing(&self, why: String) -> Missing {
        Missing { range: self.meta.time, why }
    }
}

impl std::fmt::Debug for OpenBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenBlock({})", self.meta.id)
    }
}
