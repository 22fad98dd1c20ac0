//! Which blocks are open: what is kept of their indexes stays below a limit, and the longest unused go first.

use std::sync::{Arc, Weak};

use annals_vfs::sync::Mutex;
use annals_vfs::sync::atomic::{AtomicU64, Ordering};
use annals_vfs::{Sealed, Vfs};

use crate::counters::IndexMetrics;
use crate::layout::Layout;
use crate::open_block::OpenBlock;
use crate::options::{Options, Reads};

/// Opens blocks, and closes those that were not used for longest when their indexes together are too large. What a
/// running query has open stays with it.
pub(crate) struct Shelf {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) layout: Layout,
    reads: Reads,
    index_bytes_max: usize,
    /// Counts uses: the greater, the later.
    uses: AtomicU64,
    /// Counts how often a block was opened.
    opens: AtomicU64,
    open: Mutex<Vec<Weak<OpenBlock>>>,
}

impl Shelf {
    pub(crate) fn new(vfs: Arc<dyn Vfs>, layout: Layout, options: &Options) -> Arc<Shelf> {
        let (reads, index_bytes_max) = (options.reads, options.index_bytes_max);
        Arc::new(Shelf {
            vfs,
            layout,
            reads,
            index_bytes_max,
            uses: AtomicU64::new(0),
            opens: AtomicU64::new(0),
            open: Mutex::default(),
        })
    }

    /// What it holds now.
    pub(crate) fn totals(&self) -> IndexMetrics {
        let open: Vec<Arc<OpenBlock>> = self.open.lock().iter().filter_map(Weak::upgrade).collect();
        let bytes = open.iter().filter_map(|block| block.index_bytes());
        let (blocks, bytes) = bytes.fold((0, 0), |(blocks, all), bytes| (blocks + 1, all + bytes as u64));
        let (uses, opens) = (self.uses.load(Ordering::Relaxed), self.opens.load(Ordering::Relaxed));
        IndexMetrics { blocks, bytes, uses, opens }
    }

    /// A number that is greater than all before.
    pub(crate) fn next_use(&self) -> u64 {
        self.uses.fetch_add(1, Ordering::Relaxed)
    }

    /// The bytes of a block's file, as the store reads them.
    pub(crate) fn bytes_of(&self, path: &std::path::Path) -> std::io::Result<Sealed> {
        match self.reads {
            Reads::Mapped => self.vfs.map_sealed(path),
            Reads::Positioned => self.vfs.open(path).and_then(Sealed::positioned),
        }
    }

    /// Takes up a block that was just opened, and closes others where there are too many. What a block's index takes is
    /// known once it was read, so the last one may come on top of the limit.
    pub(crate) fn add(&self, block: &Weak<OpenBlock>) {
        self.opens.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock();
        let mut held: Vec<(u64, usize, Arc<OpenBlock>)> = Vec::new();
        open.retain(|other| {
            let found =
                other.upgrade().and_then(|other| Some((other.last_use(), other.index_bytes()?, other)));
            let is_open = found.is_some();
            held.extend(found);
            is_open
        });
        let mut bytes: usize = held.iter().map(|(_, bytes, _)| bytes).sum();
        held.sort_by_key(|&(last_use, ..)| last_use);
        for (_, its_bytes, other) in held {
            if bytes <= self.index_bytes_max {
                break;
            }
            other.close();
            bytes -= its_bytes;
        }
        open.push(block.clone());
    }
}

#[cfg(test)]
mod tests {
    use annals_model::{
        BatchId, Budget, DAY_MS, LabelSet, Plan, QueryLimits, SampleBatch, Samples, SeriesKind, SeriesSource,
        SiteName, TenantId, TimeRange, Timestamp,
    };
    use annals_vfs::{SimCalls, SimClock, SimEntropy, SimError, SimFault, SimOp, SimVfs};

    use super::*;
    use crate::{Annals, Background, Tenant};

    /// 2026-09-20T00:00:00Z and a little.
    const NOW: i64 = 1_789_862_500_000;
    const DAYS: i64 = 6;

    /// A store with a block of each of some days.
    fn store(vfs: &SimVfs, options: Options) -> (Annals, Tenant) {
        let clock = Arc::new(SimClock::new(NOW + DAYS * DAY_MS));
        let entropy = Arc::new(SimEntropy::new(1));
        let options = Options { background: Background::Steps, ..options };
        let store =
            Annals::open(Arc::new(vfs.clone()), clock, entropy, "/data".as_ref(), options).expect("opened");
        let plan = Plan::built_in("archive").expect("built in");
        let tenant = store.create_tenant(&TenantId::new("acme").expect("valid"), plan).expect("created");
        for day in 0..DAYS {
            let mut batch = SampleBatch::new(BatchId([day as u8; 16]), SiteName::new("x").expect("valid"));
            let up = LabelSet::from_pairs([("__name__", "up")]).expect("valid");
            let up = batch.series(up, SeriesKind::Gauge);
            batch.push(up, Timestamp(NOW + day * DAY_MS), day as f64);
            tenant.write_samples(&batch).expect("queued").wait().expect("written");
            tenant.flush().expect("flushed");
        }
        (store, tenant)
    }

    fn read(tenant: &Tenant) -> (Vec<f64>, usize) {
        let (reader, budget) = (tenant.reader(), Budget::new(QueryLimits::default()));
        let selected = reader.select(&[], TimeRange::ALL, &budget).expect("selected");
        let mut samples = Samples::default();
        if !selected.is_empty() {
            selected.read(0, &budget, &mut samples).expect("read");
        }
        (samples.values.clone(), selected.coverage().missing.len() + samples.missing.len())
    }

    fn open_blocks(tenant: &Tenant) -> usize {
        let data = tenant.tenant.data.read();
        data.blocks.iter().filter(|block| block.index_bytes().is_some()).count()
    }

    #[test]
    fn indexes_over_the_limit_are_closed_and_read_again() {
        let all: Vec<f64> = (0..DAYS).map(|day| day as f64).collect();
        for (index_bytes_max, open) in [(1 << 20, DAYS as usize), (0, 1)] {
            let (store, tenant) = store(&SimVfs::new(), Options { index_bytes_max, ..Options::default() });
            for _ in 0..3 {
                assert_eq!(read(&tenant), (all.clone(), 0));
                assert_eq!(open_blocks(&tenant), open);
            }
            store.close().expect("closed");
        }
    }

    #[test]
    fn a_disk_that_fails_for_a_moment_is_named_and_read_again() {
        let vfs = SimVfs::new();
        let options = Options { reads: Reads::Positioned, index_bytes_max: 0, ..Options::default() };
        let (store, tenant) = store(&vfs, options);
        let all: Vec<f64> = (0..DAYS).map(|day| day as f64).collect();
        assert_eq!(read(&tenant), (all.clone(), 0));
        let fault = |after| SimFault {
            calls: SimCalls::Of(SimOp::ReadAt),
            after,
            error: SimError::Io,
            forever: false,
            done: false,
        };
        let mut failed = 0;
        for after in 0..40 {
            vfs.fail(fault(after));
            let (values, missing) = read(&tenant);
            vfs.clear_faults();
            assert!(missing > 0 || values == all, "call {after}: {values:?}");
            failed += usize::from(missing > 0);
            assert_eq!(read(&tenant), (all.clone(), 0), "after call {after} failed");
        }
        assert!(failed > 20, "{failed}");
        store.close().expect("closed");
    }
}
