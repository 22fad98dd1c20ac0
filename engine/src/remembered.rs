//! What a manifest remembers of a tenant's content: batch ids, metric names with their kinds, and the names that
//! cardinality caps have let in. It is the one part of a manifest that holds text of users, so it is sealed.
//!
//! Two blobs, one per data class, since names of signals are not for those who read metrics:
//!
//! | part      | field     | type | notes                                                                 |
//! |-----------|-----------|------|-----------------------------------------------------------------------|
//! | both      | `key`     | number | the data key; 0 where the tenant is not sealed                      |
//! |           | `salt`    | 32   | random, drawn for this blob; not there where it is not sealed         |
//! | `metrics` | `batches` | list | site (text), id (16), digest (16), written (i64)                      |
//! |           | `kinds`   | list | metric name (text), kind (u8)                                         |
//! | `signals` | `names`   | list | signal kind, field, name (texts): the names that caps have let in     |
//!
//! What follows `salt` is sealed as a whole under a key that is derived with it, and used once. A manifest that changes
//! something else carries the blobs on as they are: repairing it takes no keys.

use std::io;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{BatchId, KeyId, SeriesKind, SiteName, Timestamp};
use annals_vfs::Entropy;

use crate::keys::{Class, TenantKeys};
use crate::manifest::take_list;

const INFO: &[u8] = b"annals remembered 1";
const SALT_BYTES: usize = 32;
/// The key seals one blob only.
const NONCE: [u8; 12] = [0; 12];

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) batches: Vec<RememberedBatch>,
    pub(crate) kinds: Vec<(String, SeriesKind)>,
    pub(crate) names: Vec<(String, String, String)>,
}

/// A batch that was counted: the same id again counts nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RememberedBatch {
    pub(crate) site: SiteName,
    pub(crate) id: BatchId,
    /// Keyed digest of its content.
    pub(crate) digest: [u8; 16],
    pub(crate) written: Timestamp,
}

/// The same as a manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SealedRemembered {
    pub(crate) metrics: Vec<u8>,
    pub(crate) signals: Vec<u8>,
}

impl Remembered {
    pub(crate) fn seal(&self, keys: &TenantKeys, entropy: &dyn Entropy) -> io::Result<SealedRemembered> {
        let mut metrics = Vec::new();
        metrics.put_varint(self.batches.len() as u64);
        for batch in &self.batches {
            metrics.put_text(batch.site.as_str());
            metrics.put(&batch.id.0);
            metrics.put(&batch.digest);
            metrics.put_i64(batch.written.0);
        }
        metrics.put_varint(self.kinds.len() as u64);
        for (name, kind) in &self.kinds {
            metrics.put_text(name);
            metrics.put_u8(kind.tag());
        }
        let mut signals = Vec::new();
        signals.put_varint(self.names.len() as u64);
        for (kind, field, name) in &self.names {
            [kind, field, name].into_iter().for_each(|text| signals.put_text(text));
        }
        Ok(SealedRemembered {
            metrics: seal_blob(keys.metrics().map(|keys| keys as &dyn Class), entropy, &metrics)?,
            signals: seal_blob(keys.signals().map(|keys| keys as &dyn Class), entropy, &signals)?,
        })
    }
}

impl SealedRemembered {
    /// The data keys that the parts are sealed with.
    pub(crate) fn keys(&self) -> [KeyId; 2] {
        [&self.metrics, &self.signals].map(|blob| {
            let key = Cursor::new(blob).varint().and_then(|key| u32::try_from(key).ok());
            key.map_or(KeyId::NONE, KeyId)
        })
    }

    /// What is remembered; `None` where these keys do not open it, or it is not what was sealed.
    pub(crate) fn open(&self, keys: &TenantKeys) -> Option<Remembered> {
        let metrics = open_blob(keys.metrics().map(|keys| keys as &dyn Class), &self.metrics)?;
        let signals = open_blob(keys.signals().map(|keys| keys as &dyn Class), &self.signals)?;
        let (mut metrics, mut signals) = (Cursor::new(&metrics), Cursor::new(&signals));
        let remembered = Remembered {
            batches: take_list(&mut metrics, 42, |c| {
                Some(RememberedBatch {
                    site: SiteName::new(c.text()?).ok()?,
                    id: BatchId(c.array()?),
                    digest: c.array()?,
                    written: Timestamp(c.i64()?),
                })
            })?,
            kinds: take_list(&mut metrics, 2, |c| {
                Some((c.text()?.to_owned(), SeriesKind::from_tag(c.u8()?)?))
            })?,
            names: take_list(&mut signals, 3, |c| {
                Some((c.text()?.to_owned(), c.text()?.to_owned(), c.text()?.to_owned()))
            })?,
        };
        (metrics.is_empty() && signals.is_empty()).then_some(remembered)
    }
}

fn seal_blob(keys: Option<&dyn Class>, entropy: &dyn Entropy, plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(plain.len() + 64);
    match keys {
        None => {
            out.put_varint(0);
            out.put(plain);
        }
        Some(keys) => {
            let mut salt = [0; SALT_BYTES];
            entropy.fill(&mut salt)?;
            let numbered = keys.numbered(&salt, INFO);
            out.put_varint(u64::from(numbered.id.0));
            out.put(&salt);
            let start = out.len();
            out.put(plain);
            numbered.sealer.seal(NONCE, INFO, &mut out, start);
        }
    }
    Ok(out)
}

fn open_blob(keys: Option<&dyn Class>, blob: &[u8]) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(blob);
    let key = KeyId(u32::try_from(cursor.varint()?).ok()?);
    match keys {
        None => (key == KeyId::NONE).then(|| cursor.take(cursor.remaining()).map(<[u8]>::to_vec))?,
        Some(keys) => {
            let salt: [u8; SALT_BYTES] = cursor.array()?;
            let mut bytes = cursor.take(cursor.remaining())?.to_vec();
            let sealer = keys.keys().sealer(key, &salt, INFO)?;
            sealer.open(NONCE, INFO, &mut bytes).then_some(bytes)
        }
    }
}
