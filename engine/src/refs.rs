//! References to series: for hosts that write the same series again and again.
//!
//! A reference holds the series' labels and remembers under which number the tenant's current series table has them.
//! While it does, a sample costs no look at labels. After a flush, a failed commit or a reopen there is another table, and
//! the first batch resolves the labels again: a host need not know of any of that. A reference of another tenant, or of
//! a tenant of another store, is refused, record by record, as a series that the batch does not have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_model::{BatchId, LabelSet, SeriesKind, SiteName, TenantNumber, Timestamp};

use crate::series_table::{Known, SERIES_MAX, SeriesTable};
use crate::tenant::TenantShared;

/// The bits of a place that are the number.
const NUMBER_BITS: u32 = 24;
/// No table has this identity.
const NOWHERE: u64 = 0;

const _: () = assert!(SERIES_MAX <= 1 << NUMBER_BITS);

/// A series of a tenant, for [`Tenant::write_refs`](crate::Tenant::write_refs). Made by
/// [`Tenant::series_ref`](crate::Tenant::series_ref), cheap to clone, and good for as long as the host likes: across flushes,
/// failed writes and reopens of the store. Making one writes nothing; whether the series is admitted is decided with
/// each batch, as for labels.
#[derive(Clone)]
pub struct SeriesRef(Arc<Inner>);

struct Inner {
    root: [u8; 16],
    tenant: TenantNumber,
    labels: LabelSet,
    kind: SeriesKind,
    /// Keyed digest of kind and labels: what stands for them in a batch's digest.
    digest: [u8; 16],
    /// A table's identity, and there the number.
    place: AtomicU64,
}

/// Samples to be written by reference, acknowledged as a whole.
///
/// Batch ids are those of [`SampleBatch`](crate::SampleBatch); a retry counts nothing where it is made of references too: by
/// labels it is other content.
#[derive(Debug, Clone)]
pub struct RefBatch<'a> {
    /// Names the batch within (tenant, site): writing it again counts nothing twice.
    pub id: BatchId,
    /// Where the batch comes from.
    pub site: SiteName,
    /// The series that samples refer to.
    pub series: &'a [SeriesRef],
    /// Index into `series`, time, value.
    pub samples: &'a [(u32, Timestamp, f64)],
}

impl SeriesRef {
    pub(crate) fn new(tenant: &TenantShared, labels: &LabelSet, kind: SeriesKind) -> SeriesRef {
        let digest = tenant.keys.digest(|feed| {
            feed(b"series");
            feed(&[kind.tag()]);
            feed(labels.as_bytes());
        });
        let (root, labels, place) = (tenant.root, labels.clone(), AtomicU64::new(NOWHERE));
        SeriesRef(Arc::new(Inner { root, tenant: tenant.number, labels, kind, digest, place }))
    }

    /// The series' labels.
    #[must_use]
    pub fn labels(&self) -> &LabelSet {
        &self.0.labels
    }

    /// What the series' values mean.
    #[must_use]
    pub fn kind(&self) -> SeriesKind {
        self.0.kind
    }

    pub(crate) fn is_of(&self, tenant: &TenantShared) -> bool {
        self.0.tenant == tenant.number && self.0.root == tenant.root
    }

    pub(crate) fn digest(&self) -> &[u8; 16] {
        &self.0.digest
    }

    /// The series in a table of its tenant, where it is there.
    pub(crate) fn find(&self, table: &SeriesTable) -> Option<Known> {
        let place = self.0.place.load(Ordering::Relaxed);
        if place >> NUMBER_BITS == table.id() {
            let number = (place & ((1 << NUMBER_BITS) - 1)) as u32;
            return Some(Known { number, kind: self.0.kind, derived: false });
        }
        table.find(&self.0.labels)
    }

    /// Remembers under which number a table has the series, which the host may write there.
    pub(crate) fn remember(&self, table: u64, number: u32) {
        let place = table << NUMBER_BITS | u64::from(number);
        if self.0.place.load(Ordering::Relaxed) != place {
            self.0.place.store(place, Ordering::Relaxed);
        }
    }
}

impl std::fmt::Debug for SeriesRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SeriesRef({})", self.0.labels)
    }
}
