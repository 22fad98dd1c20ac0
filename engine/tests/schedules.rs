//! The whole engine under many interleavings of its threads and its host's: each test runs one scenario under
//! thousands of schedules, with a change of threads possible at every lock, atomic and call of the disk that changes
//! something.

mod common;

use std::sync::Arc;
use std::sync::OnceLock;

use annals::vfs::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use annals::vfs::sync::{Explore, Scheduled, coin, explore, thread};
use annals::vfs::{SimCalls, SimCut, SimError, SimFault, SimOp, SimVfs};
use annals::*;
use common::*;

/// How many schedules a test runs where nobody asks for more.
const SCHEDULES: usize = 200;

fn explored(name: &'static str, body: fn()) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let schedules = number("ANNALS_SCHEDULES").unwrap_or(SCHEDULES);
    let seed = number("ANNALS_SEED").unwrap_or(1) as u64;
    fresh_disk();
    explore(Explore { name, schedules, seed }, body);
}

/// A disk with a store and one tenant on it. Made once: what each schedule begins with.
fn fresh_disk() -> SimVfs {
    static DISK: OnceLock<SimVfs> = OnceLock::new();
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        explore(Explore { name: "schedules-setup", schedules: 1, seed: 1 }, || {
            let machine = Machine::new();
            let store = machine.open();
            store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
            store.close().expect("closed");
            let _ = DISK.set(machine.vfs.snapshot());
        });
    });
    DISK.get().expect("it was made").snapshot()
}

/// A store whose own threads run, on a disk that changes threads at its calls.
struct Running {
    machine: Machine,
    store: Annals,
    tenant: Tenant,
}

fn open_scheduled(machine: &Machine) -> Annals {
    let vfs = Arc::new(Scheduled(machine.vfs.clone()));
    let (clock, entropy) = (machine.clock.clone(), machine.entropy.clone());
    Annals::open(vfs, clock, entropy, "/data".as_ref(), machine.options.clone()).expect("the store opens")
}

fn running(options: Options) -> Running {
    let machine = Machine {
        vfs: fresh_disk(),
        options: Options { background: Background::Threads, ..options },
        ..Machine::new()
    };
    let store = open_scheduled(&machine);
    let tenant = store.tenant(&id("acme")).expect("there");
    Running { machine, store, tenant }
}

/// One sample of a counter that only grows by ones, so that its sum is the number of batches that count.
fn one(number: u64) -> SampleBatch {
    samples_of(number, "ones", SeriesKind::Delta, &[(number as usize % 2, NOW + number as i64, 1.0)])
}

/// The same with series whose labels fill a third of a segment: the log moves on to new segments.
fn heavy(number: u64) -> SampleBatch {
    let mut batch = one(number);
    for series in 0..10 {
        let padding = format!("{number}-{series}-{}", "x".repeat(1_900));
        let series = batch.series(labels(&[("__name__", "padding"), ("long", &padding)]), SeriesKind::Gauge);
        batch.push(series, Timestamp(NOW), 1.0);
    }
    batch
}

/// With segments of 64 KiB.
fn small_segments() -> Options {
    Options { log_bytes_max: 512 << 10, ..Machine::new().options }
}

/// How many of the batches of [`one`] a reader sees, and that nothing is missing.
fn seen(reader: &TenantReader) -> u64 {
    let answer = reader.query("sum(increase(ones[1h]))", Timestamp(NOW + 60_000)).expect("answered");
    let missing: Vec<_> = answer.coverage.iter().flat_map(|coverage| &coverage.missing).collect();
    assert!(missing.is_empty(), "{missing:?}");
    match answer.value {
        query::promql::Value::Vector(vector) => {
            vector.first().and_then(|one| one.2.float()).map_or(0, |value| value as u64)
        }
        other => panic!("{other:?}"),
    }
}

/// What a store that is opened on a disk as it is now holds.
fn reopened(vfs: SimVfs) -> u64 {
    let machine = Machine { vfs, ..Machine::new() };
    let store = machine.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    seen(&tenant.reader())
}

/// Writers, a reader, a flush with merges, the store's own threads: an acknowledged batch survives a power cut from
/// that moment on, every look sees all that was acknowledged before it and nothing that was not written, and a flush
/// that swaps heads under writers loses and doubles nothing.
#[test]
fn what_was_acknowledged_is_seen_and_survives_while_heads_become_blocks() {
    explored("schedules-engine", || {
        let Running { machine, store, tenant } = running(small_segments());
        let (begun, acknowledged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let writers: Vec<_> = (0..2u64)
            .map(|writer| {
                let (tenant, vfs) = (tenant.clone(), machine.vfs.clone());
                let (begun, acknowledged) = (begun.clone(), acknowledged.clone());
                thread::spawn(move || {
                    for number in [10 + writer, 20 + writer] {
                        begun.fetch_add(1, Ordering::SeqCst);
                        let answer = write_samples(&tenant, &heavy(number)).expect("the disk is whole");
                        assert_eq!((answer.accepted(), answer.durability), (11, Durability::Synced));
                        let before = acknowledged.fetch_add(1, Ordering::SeqCst) + 1;
                        if coin() && coin() {
                            let cut = vfs.snapshot();
                            cut.power_cut(SimCut::Nothing);
                            let kept = reopened(cut);
                            assert!(kept >= before, "{before} were acknowledged, a power cut left {kept}");
                        }
                        assert!(seen(&tenant.reader()) >= before, "one's own write is not seen");
                    }
                })
            })
            .collect();
        let reader = thread::spawn({
            let (reader, begun, acknowledged) = (tenant.reader(), begun.clone(), acknowledged.clone());
            move || {
                for _ in 0..3 {
                    let before = acknowledged.load(Ordering::SeqCst);
                    let seen = seen(&reader);
                    let after = begun.load(Ordering::SeqCst);
                    assert!((before..=after).contains(&seen), "{seen} of {before} to {after} batches");
                }
            }
        });
        for _ in 0..2 {
            tenant.flush().expect("the disk is whole");
        }
        store.settle().expect("the disk is whole");
        writers.into_iter().for_each(|writer| writer.join().expect("it ends"));
        reader.join().expect("it ends");
        assert_eq!(seen(&tenant.reader()), 4);
        store.close().expect("closed");
        drop(tenant);
        assert_eq!(reopened(machine.vfs.snapshot()), 4);
        machine.vfs.power_cut(SimCut::Nothing);
        assert_eq!(reopened(machine.vfs), 4);
    });
}

/// Closing while batches are on their way, a flush waits for them and a retry hangs on the first one's ticket: all
/// end, each ticket is answered once, and the answer agrees with what the next open finds.
#[test]
fn a_close_answers_every_ticket_and_hangs_nobody() {
    explored("schedules-close", || {
        let Running { machine, store, tenant } = running(Machine::new().options);
        let writers: Vec<_> = (0..2u64)
            .map(|writer| {
                let tenant = tenant.clone();
                thread::spawn(move || {
                    let batch = one(10 + writer);
                    let first = tenant.write_samples(&batch);
                    let retry = tenant.write_samples(&batch);
                    [first, retry].map(|ticket| ticket.and_then(Ticket::wait))
                })
            })
            .collect();
        // They may come too late, or find the log closed; they must end.
        let flushers = [(); 2].map(|()| {
            let tenant = tenant.clone();
            thread::spawn(move || tenant.flush().is_ok())
        });
        store.close().expect("the disk is whole");
        let (mut least, mut most) = (0, 0);
        for writer in writers {
            let answers = writer.join().expect("it ends");
            let counted = answers.iter().flatten().count() > 0;
            let unknown = answers.iter().any(|answer| matches!(answer, Err(WriteError::Indeterminate(_))));
            for answer in answers {
                assert!(
                    matches!(answer, Ok(_) | Err(WriteError::Closed | WriteError::Indeterminate(_))),
                    "{answer:?}"
                );
            }
            least += u64::from(counted);
            most += u64::from(counted || unknown);
        }
        for flusher in flushers {
            flusher.join().expect("it ends");
        }
        drop(tenant);
        let kept = reopened(machine.vfs.snapshot());
        assert!((least..=most).contains(&kept), "{kept} of {least} to {most} batches");
        machine.vfs.power_cut(SimCut::Nothing);
        assert_eq!(reopened(machine.vfs), kept, "the answer changed");
    });
}

/// A log that fails under writers and a flush: nobody hangs, what was acknowledged is there after a reopen, what was
/// refused is not, and no record that survives depends on one that does not.
#[test]
fn a_failing_log_gives_each_batch_one_answer_that_a_reopen_confirms() {
    explored("schedules-log-failure", || {
        let Running { machine, store, tenant } = running(small_segments());
        let fault = match (coin(), coin()) {
            (true, true) => SimFault::once(SimCalls::Of(SimOp::Sync), 0, SimError::Io),
            (true, false) => SimFault::once(SimCalls::Of(SimOp::WriteAt), 1, SimError::Io),
            (false, true) => SimFault::forever(SimCalls::Of(SimOp::Sync), 1, SimError::Io),
            // No next segment: for one try, or as long as the fault lasts.
            (false, false) if coin() => SimFault::once(SimCalls::Of(SimOp::Rename), 0, SimError::NoSpace),
            (false, false) => SimFault::forever(SimCalls::Of(SimOp::Rename), 0, SimError::NoSpace),
        };
        let writers: Vec<_> = (0..2u64)
            .map(|writer| {
                let tenant = tenant.clone();
                thread::spawn(move || {
                    [10 + writer, 20 + writer, 30 + writer]
                        .map(|number| tenant.write_samples(&heavy(number)).and_then(Ticket::wait))
                })
            })
            .collect();
        machine.vfs.fail(fault);
        let _ = tenant.flush();
        machine.vfs.clear_faults();
        let _ = tenant.flush();
        let (mut least, mut most) = (0, 0);
        for writer in writers {
            for answer in writer.join().expect("it ends") {
                least += u64::from(answer.is_ok());
                most += u64::from(matches!(answer, Ok(_) | Err(WriteError::Indeterminate(_))));
            }
        }
        assert!(seen(&tenant.reader()) >= least);
        let _ = store.close();
        drop(tenant);
        let kept = reopened(machine.vfs.snapshot());
        assert!((least..=most).contains(&kept), "{kept} of {least} to {most} batches");
        machine.vfs.power_cut(SimCut::Nothing);
        let after_cut = reopened(machine.vfs);
        assert!((least..=most).contains(&after_cut), "{after_cut} of {least} to {most} batches after a cut");
    });
}

/// A host that commits beside the store's own threads, with acknowledgements before the sync, while a sync fails and
/// heads are flushed: all end.
#[test]
fn a_failed_sync_hangs_nobody_who_waits_for_what_it_lost() {
    explored("schedules-buffered", || {
        let buffered = Options {
            durability: Durability::Buffered,
            sync_every: std::time::Duration::ZERO,
            ..Machine::new().options
        };
        let Running { machine, store, tenant } = running(buffered);
        machine.vfs.fail(SimFault::forever(SimCalls::Of(SimOp::Sync), u64::from(coin()), SimError::Io));
        let writer = thread::spawn({
            let tenant = tenant.clone();
            move || [10, 20, 30].map(|number| tenant.write_samples(&one(number)).and_then(Ticket::wait))
        });
        let flusher = thread::spawn({
            let tenant = tenant.clone();
            move || {
                let _ = tenant.flush();
                machine.vfs.clear_faults();
                tenant.flush().is_ok()
            }
        });
        for _ in 0..3 {
            store.commit_step();
        }
        let answers = writer.join().expect("it ends");
        flusher.join().expect("it ends");
        let counted = answers.iter().flatten().count() as u64;
        assert!(seen(&tenant.reader()) >= counted, "{answers:?}");
        let _ = store.close();
    });
}

/// A reader's selection stays whole while its blocks are merged away, their files stay as long as it lives, and go once
/// it is dropped.
#[test]
fn a_selection_keeps_its_files_and_gives_them_up_when_it_is_dropped() {
    explored("schedules-pins", || {
        // Without the store's own threads, so that the blocks of the selection are known.
        let machine = Machine { vfs: fresh_disk(), ..Machine::new() };
        let store = open_scheduled(&machine);
        let tenant = store.tenant(&id("acme")).expect("there");
        for number in [10, 20, 30] {
            write_samples(&tenant, &one(number)).expect("the disk is whole");
            tenant.flush().expect("the disk is whole");
        }
        let files = |vfs: &SimVfs| -> Vec<std::path::PathBuf> {
            vfs.paths().into_iter().filter(|path| path.extension().is_some_and(|e| e == "blk")).collect()
        };
        let selected_files = files(&machine.vfs);
        assert_eq!(selected_files.len(), 3);
        let (is_selected, is_settled) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let reader = thread::spawn({
            let (reader, vfs) = (tenant.reader(), machine.vfs.clone());
            let (is_selected, is_settled) = (is_selected.clone(), is_settled.clone());
            move || {
                let budget = Budget::new(QueryLimits::default());
                let matchers = [Matcher::equal("__name__", "ones")];
                let selected =
                    SeriesSource::select(&reader, &matchers, TimeRange::ALL, &budget).expect("selected");
                is_selected.store(true, Ordering::SeqCst);
                // At times it is held until the merge is over.
                let waits = coin();
                while waits && !is_settled.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
                let mut sum = 0.0;
                for index in 0..selected.len() {
                    thread::yield_now();
                    let mut samples = Samples::default();
                    selected.read(index, &budget, &mut samples).expect("read");
                    assert_eq!((samples.missing, &selected.coverage().missing), (vec![], &vec![]));
                    sum += samples.values.iter().sum::<f64>();
                    let now = files(&vfs);
                    assert!(selected_files.iter().all(|file| now.contains(file)), "only {now:?} are left");
                }
                assert_eq!(sum, 3.0);
            }
        });
        while !is_selected.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        store.settle().expect("the disk is whole");
        is_settled.store(true, Ordering::SeqCst);
        reader.join().expect("it ends");
        store.settle().expect("the disk is whole");
        assert_eq!(files(&machine.vfs).len(), 1, "the merged block is there alone");
        store.close().expect("closed");
    });
}
