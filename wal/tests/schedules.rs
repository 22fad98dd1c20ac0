//! The log under many interleavings of the threads that use it: each test runs one scenario under thousands of
//! schedules, with a change of threads possible at every lock, atomic and call of the disk.

use std::sync::Arc;
use std::time::Duration;

use annals_vfs::sync::{Explore, Mutex, Scheduled, coin, explore, thread};
use annals_vfs::{SimCalls, SimCut, SimEntropy, SimError, SimFault, SimOp, SimVfs, Vfs};
use annals_wal::{CommitError, Durability, EnqueueError, Lsn, Options, Place, Wal};

/// How many schedules a test runs where nobody asks for more.
const SCHEDULES: usize = 600;

fn explored(name: &'static str, body: fn()) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let schedules = number("ANNALS_SCHEDULES").unwrap_or(SCHEDULES);
    explore(Explore { name, schedules, seed: number("ANNALS_SEED").unwrap_or(1) as u64 }, body);
}

fn options() -> Options {
    Options {
        first_segment_bytes: 8 << 10,
        segment_bytes_max: 8 << 10,
        record_bytes_max: 4 << 10,
        queue_bytes_max: 64 << 10,
        log_bytes_max: 256 << 10,
    }
}

/// Opens the log on a disk that changes threads at its calls; hands out what it holds.
fn open(vfs: Arc<dyn Vfs>) -> (Wal, Vec<(Lsn, Vec<u8>)>) {
    let place = Place {
        directory: "/wal".into(),
        temporary: "/tmp".into(),
        quarantine: "/quarantine".into(),
        root_id: [1; 16],
    };
    let mut records = Vec::new();
    let entropy = SimEntropy::new(1);
    let (wal, report) = Wal::open(vfs, &entropy, place, &options(), Lsn(0), &mut |record| {
        records.push((record.lsn, record.payload.to_vec()));
    })
    .expect("the log opens");
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    (wal, records)
}

fn disk() -> SimVfs {
    let vfs = SimVfs::new();
    vfs.make_dirs(["/wal", "/tmp", "/quarantine"]);
    vfs
}

fn payload(writer: u8, record: u8, bytes: usize) -> Vec<u8> {
    let mut payload = vec![writer; bytes];
    payload[0] = record;
    payload
}

/// What a power cut leaves of the disk, read back.
fn after_cut(vfs: &SimVfs) -> Vec<(Lsn, Vec<u8>)> {
    let cut = vfs.snapshot();
    cut.power_cut(SimCut::Nothing);
    open(Arc::new(cut)).1
}

fn commit_until_closed(wal: &Wal, vfs: &SimVfs, check_cuts: bool) {
    // Without a time limit: a writer who does not wake the one who commits shows as a deadlock.
    while wal.wait_for_work(Duration::MAX) {
        let committed = wal.commit(Durability::Synced).expect("the disk is whole");
        if let Some(span) = committed {
            assert!(wal.durable() >= span.last, "{span:?} was reported and is not durable");
            if check_cuts && coin() {
                let durable = wal.durable();
                let found = after_cut(vfs);
                let last = found.last().map_or(Lsn(0), |(lsn, _)| *lsn);
                assert!(last >= durable, "{durable} was durable; after a power cut the log ends at {last}");
            }
        }
    }
}

/// Writers wake the one who commits, what is reported durable survives a power cut, and closing ends the wait.
#[test]
fn every_record_is_committed_once_in_order_and_survives_a_cut_once_it_is_durable() {
    explored("schedules-wal-commit", || {
        let vfs = disk();
        let wal = Arc::new(open(Arc::new(Scheduled(vfs.clone()))).0);
        let committing = thread::spawn({
            let (wal, vfs) = (wal.clone(), vfs.clone());
            move || commit_until_closed(&wal, &vfs, true)
        });
        let writers: Vec<_> = (1..=2u8)
            .map(|writer| {
                let wal = wal.clone();
                thread::spawn(move || {
                    // Large enough that a segment fills up in between.
                    let enqueue =
                        |record| wal.enqueue(1, payload(writer, record, 1500)).expect("there is room");
                    (0..3).map(enqueue).collect::<Vec<Lsn>>()
                })
            })
            .collect();
        let written: Vec<Vec<Lsn>> = writers.into_iter().map(|w| w.join().expect("it ends")).collect();
        // Not by the close, which wakes whoever waits: a writer who forgets that shows here, as a schedule without end.
        while wal.durable() < wal.last_enqueued() {
            thread::yield_now();
        }
        wal.close().expect("closed");
        committing.join().expect("it ends");
        assert_eq!(wal.enqueue(1, vec![0]), Err(EnqueueError::Closed));
        let mut all: Vec<Lsn> = written.iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (1..=6).map(Lsn).collect::<Vec<_>>());
        let found = after_cut(&vfs);
        assert_eq!(found.iter().map(|(lsn, _)| *lsn).collect::<Vec<_>>(), all);
        for (writer, lsns) in (1..=2u8).zip(&written) {
            assert!(lsns.is_sorted());
            for (record, lsn) in lsns.iter().enumerate() {
                let expected = payload(writer, record as u8, 1500);
                assert!(found.contains(&(*lsn, expected)), "record {record} of writer {writer}");
            }
        }
    });
}

/// The owner's maintenance beside writers: truncation, the next segment, watermarks.
#[test]
fn truncation_and_preparation_beside_commits_lose_nothing_above_the_floor() {
    explored("schedules-wal-truncate", || {
        let vfs = disk();
        let wal = Arc::new(open(Arc::new(Scheduled(vfs.clone()))).0);
        let committing = thread::spawn({
            let (wal, vfs) = (wal.clone(), vfs.clone());
            move || commit_until_closed(&wal, &vfs, false)
        });
        let writer = thread::spawn({
            let wal = wal.clone();
            move || {
                for record in 0..8 {
                    wal.enqueue(1, payload(1, record, 2000)).expect("there is room");
                    wal.watermark().expect("the disk is whole");
                }
            }
        });
        let mut floor = Lsn(0);
        for _ in 0..3 {
            wal.prepare().expect("there is space");
            floor = wal.durable();
            wal.truncate(floor).expect("the disk is whole");
        }
        writer.join().expect("it ends");
        wal.close().expect("closed");
        committing.join().expect("it ends");
        let found: Vec<Lsn> = after_cut(&vfs).into_iter().map(|(lsn, _)| lsn).collect();
        assert_eq!(found.last(), Some(&Lsn(8)));
        assert!(found.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "a hole in {found:?}");
        assert!(found.first().is_some_and(|first| first.0 <= floor.0 + 1), "{found:?} above {floor}");
    });
}

/// What the two who commit were told of each record.
#[derive(Default)]
struct Told {
    committed: Vec<Lsn>,
    refused: Vec<Lsn>,
    unknown: Vec<Lsn>,
}

fn lsns(span: annals_wal::LsnSpan) -> impl Iterator<Item = Lsn> {
    (span.first.0..=span.last.0).map(Lsn)
}

/// Two commit while the disk fails: each record has one fate, and only what is durable is called so.
#[test]
fn a_failing_disk_gives_each_record_one_fate() {
    explored("schedules-wal-failure", || {
        let vfs = disk();
        let wal = Arc::new(open(Arc::new(Scheduled(vfs.clone()))).0);
        let told = Arc::new(Mutex::new(Told::default()));
        let fault = match (coin(), coin()) {
            (true, true) => SimFault::once(SimCalls::Of(SimOp::Sync), 0, SimError::Io),
            (true, false) => SimFault::once(SimCalls::Of(SimOp::WriteAt), 1, SimError::Io),
            (false, true) => SimFault::forever(SimCalls::Of(SimOp::Sync), 1, SimError::Io),
            (false, false) => SimFault::forever(SimCalls::Of(SimOp::Create), 0, SimError::NoSpace),
        };
        vfs.fail(fault);
        let commit = |wal: &Wal, told: &Mutex<Told>| {
            for _ in 0..3 {
                match wal.commit(Durability::Synced) {
                    Ok(None) | Err(CommitError::Failed) => {}
                    Ok(Some(span)) => told.lock().committed.extend(lsns(span)),
                    Err(
                        CommitError::NoSpace { lsns: span, .. } | CommitError::NoSegment { lsns: span, .. },
                    ) => {
                        told.lock().refused.extend(lsns(span));
                    }
                    Err(CommitError::Indeterminate { lsns: span, .. }) => {
                        told.lock().unknown.extend(lsns(span));
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        };
        let other = thread::spawn({
            let (wal, told) = (wal.clone(), told.clone());
            move || commit(&wal, &told)
        });
        let writer = thread::spawn({
            let wal = wal.clone();
            move || {
                let enqueue = |record| wal.enqueue(1, payload(1, record, 3000));
                (0..4).filter_map(|record| enqueue(record).ok()).collect::<Vec<Lsn>>()
            }
        });
        commit(&wal, &told);
        let written = writer.join().expect("it ends");
        other.join().expect("it ends");
        commit(&wal, &told);
        let failed = wal.enqueue(1, vec![0]) == Err(EnqueueError::Failed);
        drop(wal);
        vfs.clear_faults();
        let found: Vec<Lsn> = after_cut(&vfs).into_iter().map(|(lsn, _)| lsn).collect();
        let told = told.lock();
        for lsn in written {
            let fates = [&told.committed, &told.refused, &told.unknown]
                .map(|told| told.iter().filter(|told| **told == lsn).count());
            assert!(fates.iter().sum::<usize>() == 1 || failed, "{lsn}: {fates:?}");
            assert!(fates[0] == 0 || found.contains(&lsn), "{lsn} was committed and is gone");
            assert!(fates[1] == 0 || !found.contains(&lsn), "{lsn} was refused and is there");
        }
    });
}
