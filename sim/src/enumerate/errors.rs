//! Every call fails, reads too: each error, once or for ever, with the work done or not; the host goes on as hosts do.
//! Then the fault goes, and all must be as it was told, at once and after another open.

use annals::vfs::{SimCalls, SimError, SimFault, SimSites};

use super::book::{Look, MISSING};
use super::host::{Host, Step};
use super::recover::{Depth, recovers, undo_cancellations};
use super::scenarios::{Stage, stages};
use super::sweep::{caught, sweep};
use crate::campaign::{Report, Size};

/// Where the product's calls of the file system are.
const PRODUCT: &[&str] =
    &["block/src", "compaction/src", "engine/src", "signals/src", "vfs/src/publish.rs", "wal/src"];

/// A fault in a stage.
struct Piece<'a> {
    stage: &'a Stage,
    fault: SimFault,
}

/// The campaign.
pub(super) fn run(size: &Size) -> Report {
    let mut report = Report::new("errors");
    let stages = match stages() {
        Ok(stages) => stages,
        Err(what) => {
            report.failures.push(what);
            return report;
        }
    };
    // The same in the recovery from where each ends, and in a read-only open of that.
    let stages: Vec<Stage> = stages
        .into_iter()
        .flat_map(|stage| {
            let (recovery, read_only) = (stage.recovery(), stage.read_only());
            [stage, recovery, read_only]
        })
        .collect();
    let pieces: Vec<Piece<'_>> = stages.iter().flat_map(pieces).collect();
    let sites = SimSites::new();
    let tally = sweep(size, &pieces, |piece, tally| {
        tally.check(|| piece.named(), || piece.run(&sites));
    });
    report.count("faults", pieces.len());
    let whole = tally.states == pieces.len() as u64;
    tally.report(&mut report);
    let (met, all, missed) = sites.coverage(PRODUCT);
    report.count("sites", format!("{met}/{all}"));
    if whole {
        report.failures.extend(missed.iter().map(|site| format!("{site} has never seen an error")));
    }
    report
}

fn pieces(stage: &Stage) -> Vec<Piece<'_>> {
    let sites = SimSites::new();
    let mut host = stage.host();
    host.machine.vfs.count_sites(&sites);
    // Stages were seen to run without a fault.
    let _ = host.run(stage.steps);
    let calls: u64 = sites.sites().iter().map(|site| site.calls).sum();
    let mut pieces = Vec::new();
    for after in 0..calls {
        for error in SimError::all() {
            for (forever, done) in [(false, false), (false, true), (true, false), (true, true)] {
                let fault = SimFault { calls: SimCalls::Any, after, error, forever, done };
                pieces.push(Piece { stage, fault });
            }
        }
    }
    pieces
}

impl Piece<'_> {
    fn named(&self) -> String {
        let SimFault { after, error, forever, done, .. } = self.fault;
        let (often, how) =
            (if forever { "for ever" } else { "once" }, if done { "done" } else { "not done" });
        let mut host = self.stage.host();
        host.faulty = true;
        host.machine.vfs.fail(self.fault);
        let _ = caught(|| host.run(self.stage.steps));
        format!(
            "{}, {error:?} at any call {after}, {often}, {how}\n    told: {:?}",
            self.stage.named(),
            host.told
        )
    }

    fn run(&self, sites: &SimSites) -> Result<(), String> {
        let mut host = self.stage.host();
        host.faulty = true;
        host.machine.vfs.count_sites(sites);
        host.machine.vfs.fail(self.fault);
        host.run(self.stage.steps)?;
        host.machine.vfs.clear_faults();
        self.live(&mut host).map_err(|what| format!("once the fault has gone: {what}"))?;
        host.faulty = false;
        host.run(&[Step::Kill])?;
        // What an open in trouble set aside stays reported.
        recovers(&host.machine, &host.book, Depth { damaged: true, more: self.fault.after.is_multiple_of(8) })
            .map_err(|what| format!("opened again: {what}"))
    }

    /// The store that saw the fault: what it shows is right, and it takes writes, after an open at the latest.
    fn live(&self, host: &mut Host) -> Result<(), String> {
        let now = host.machine.now();
        if let Some(store) = &host.store {
            match host.book.check(store, now, Look::Live) {
                // A tenant whose files could not be read waits for the next open.
                Err(what) if !store.recovery().unavailable.is_empty() || what.contains(MISSING) => {}
                looked => looked?,
            }
        }
        undo_cancellations(host)?;
        let usable = host.book.usable().next();
        if let Some(tenant) = usable {
            host.told.clear();
            let before = host.book.present();
            host.run(&[Step::Signals(tenant, 1)])?;
            if host.book.present() == before {
                host.store = None;
                undo_cancellations(host)?;
                host.run(&[Step::Retry])?;
            }
            if host.book.present() == before {
                return Err(format!("no write is taken: {:?}", host.told));
            }
        }
        Ok(())
    }
}
