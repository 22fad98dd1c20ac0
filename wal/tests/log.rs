//! The log in use: commits, limits, failures of the disk, truncation, readers.

mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_vfs::{RealVfs, SystemEntropy};
use annals_wal::{
    CommitError, Durability, EnqueueError, Lsn, LsnSpan, Options, Place, Tail, Wal, WalError, read,
};
use proptest::prelude::*;
use support::{Fault, MemVfs, ROOT_ID, Records, Survives, open, open_with, place, small};

fn fresh() -> (MemVfs, Wal) {
    let vfs = MemVfs::default();
    let (wal, report, _) = open(&vfs).expect("opens");
    assert_eq!(report.last, Lsn(0));
    (vfs, wal)
}

fn span(first: u64, last: u64) -> Option<LsnSpan> {
    LsnSpan::new(Lsn(first), Lsn(last))
}

fn read_from(vfs: &MemVfs, after: u64, tail: Tail) -> (Vec<u64>, annals_wal::ReadReport) {
    let mut lsns = Vec::new();
    let report =
        read(vfs, &place().directory, &ROOT_ID, Lsn(after), tail, &mut |record| lsns.push(record.lsn.0));
    (lsns, report.expect("reads"))
}

#[test]
fn one_commit_is_one_write_and_one_sync() {
    let (vfs, wal) = fresh();
    wal.enqueue(1, vec![1; 10]).expect("is queued");
    wal.commit(Durability::Synced).expect("commits");
    let before = vfs.trace().len();
    for size in 0..20 {
        wal.enqueue(1, vec![1; size]).expect("is queued");
    }
    assert_eq!(wal.commit(Durability::Synced).expect("commits"), span(2, 21));
    let trace = vfs.trace();
    let words: Vec<&str> = trace[before..].iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(words, ["write", "sync"]);
    assert_eq!(wal.commit(Durability::Synced).expect("nothing to do"), None);
    assert_eq!((wal.durable(), wal.last_enqueued()), (Lsn(21), Lsn(21)));
}

#[test]
fn a_written_record_is_durable_after_the_next_sync() {
    let (vfs, wal) = fresh();
    wal.enqueue(1, b"a".to_vec()).expect("is queued");
    assert_eq!(wal.commit(Durability::Written).expect("commits"), span(1, 1));
    assert_eq!(wal.durable(), Lsn(0));
    assert!(open(&vfs.after_crash(Survives::Nothing)).expect("opens").2.is_empty());
    wal.enqueue(1, b"b".to_vec()).expect("is queued");
    assert_eq!(wal.commit(Durability::Written).expect("commits"), span(2, 2));
    assert_eq!(wal.sync().expect("syncs"), span(1, 2));
    assert_eq!(wal.durable(), Lsn(2));
    assert_eq!(wal.sync().expect("nothing to do"), None);
    assert_eq!(open(&vfs.after_crash(Survives::Nothing)).expect("opens").2.len(), 2);
}

#[test]
fn a_failed_write_or_sync_moves_everything_unacknowledged_to_the_next_segment() {
    for (ahead, durability) in [(0, Durability::Synced), (1, Durability::Synced), (0, Durability::Written)] {
        let (vfs, wal) = fresh();
        wal.enqueue(1, b"safe".to_vec()).expect("is queued");
        wal.commit(Durability::Synced).expect("commits");
        wal.enqueue(2, b"written only".to_vec()).expect("is queued");
        wal.commit(Durability::Written).expect("commits");
        wal.prepare().expect("prepares");
        vfs.fault_in(ahead, Fault::Once(ErrorKind::Other));
        wal.enqueue(3, b"unlucky".to_vec()).expect("is queued");
        wal.commit(durability).expect("commits in the next segment");
        assert_eq!(wal.durable(), Lsn(3), "after a failure everything is synced");
        let status = wal.status();
        assert_eq!((status.abandoned, status.segments), (1, 2));
        assert!(status.last_failure.is_some_and(|failure| failure.contains("0000000000000001.seg")));
        let old = place().directory.join("0000000000000001.seg");
        let left = vfs.bytes(&old);
        wal.enqueue(4, b"later".to_vec()).expect("is queued");
        wal.commit(Durability::Synced).expect("commits");
        assert!(vfs.bytes(&old) == left, "the failed segment is never written again");
        let (_, report, found) = open(&vfs.after_crash(Survives::Nothing)).expect("opens");
        assert_eq!(found.keys().collect::<Vec<_>>(), [&1, &2, &3, &4]);
        assert_eq!(report.damage, []);
    }
}

#[test]
fn a_second_failure_in_a_row_is_indeterminate_and_final() {
    let (vfs, wal) = fresh();
    wal.enqueue(1, b"safe".to_vec()).expect("is queued");
    wal.commit(Durability::Synced).expect("commits");
    wal.enqueue(2, b"in doubt".to_vec()).expect("is queued");
    vfs.fault_in(0, Fault::Forever(ErrorKind::Other));
    let error = wal.commit(Durability::Synced).expect_err("fails");
    let CommitError::Indeterminate { lsns, .. } = &error else { panic!("{error}") };
    assert_eq!(Some(*lsns), span(2, 2));
    assert_eq!(wal.enqueue(3, Vec::new()), Err(EnqueueError::Failed));
    vfs.heal();
    assert!(matches!(wal.commit(Durability::Synced), Err(CommitError::Failed)));
    assert!(matches!(wal.watermark(), Err(CommitError::Failed)));
    assert!(matches!(wal.close(), Err(CommitError::Failed)));
    assert!(!wal.wait_for_work(Duration::from_secs(60)), "a failed log wakes its commit thread");
    assert_eq!(wal.durable(), Lsn(1));
    assert!(open(&vfs).expect("opens").2.contains_key(&1));
}

#[test]
fn a_full_disk_refuses_what_needs_space_and_the_log_goes_on() {
    let (vfs, wal) = fresh();
    wal.enqueue(1, vec![1; 1_000]).expect("is queued");
    wal.commit(Durability::Synced).expect("commits");
    vfs.fault_in(0, Fault::Forever(ErrorKind::StorageFull));
    assert!(wal.prepare().expect_err("no space").is_no_space());
    wal.enqueue(2, vec![2; 9_000]).expect("is queued");
    wal.enqueue(3, vec![3; 10]).expect("is queued");
    let error = wal.commit(Durability::Synced).expect_err("no space");
    let CommitError::NoSpace { lsns, .. } = &error else { panic!("{error}") };
    assert_eq!(Some(*lsns), span(2, 3));
    assert!(error.to_string().contains("/tmp/"), "it says where: {error}");
    // The active segment still has room for small records; a fault on everything is more than a full disk.
    vfs.heal();
    wal.enqueue(4, vec![4; 10]).expect("is queued");
    let before = vfs.trace().len();
    assert_eq!(wal.commit(Durability::Synced).expect("commits"), span(4, 4));
    assert_eq!(vfs.trace().len() - before, 2, "into the same segment");
    wal.enqueue(5, vec![5; 9_000]).expect("is queued");
    assert_eq!(wal.commit(Durability::Synced).expect("commits"), span(5, 5));
    let (_, report, found) = open(&vfs.after_crash(Survives::Nothing)).expect("opens");
    assert_eq!(found.keys().collect::<Vec<_>>(), [&1, &4, &5], "refused means absent, for ever");
    assert_eq!(report.damage, []);
}

#[test]
fn what_was_committed_before_a_refusal_is_returned_first() {
    let (vfs, wal) = fresh();
    wal.enqueue(1, b"makes the segment".to_vec()).expect("is queued");
    wal.commit(Durability::Synced).expect("commits");
    wal.enqueue(2, vec![2; 100]).expect("is queued");
    wal.enqueue(3, vec![3; 9_000]).expect("is queued");
    vfs.fault_in(2, Fault::Forever(ErrorKind::StorageFull));
    assert_eq!(wal.commit(Durability::Synced).expect("commits"), span(2, 2));
    assert!(wal.wait_for_work(Duration::from_secs(60)), "the error is something to do");
    assert!(matches!(wal.commit(Durability::Synced), Err(CommitError::NoSpace { .. })));
    assert!(!wal.wait_for_work(Duration::ZERO));
}

#[test]
fn limits_push_back_and_give_way() {
    let options = Options { queue_bytes_max: 1_000, log_bytes_max: 163_840, ..small() };
    let vfs = MemVfs::default();
    let (wal, _, _) = open_with(&vfs, &options, Lsn(0)).expect("opens");
    assert!(matches!(wal.enqueue(1, vec![0; 70_000]), Err(EnqueueError::TooLarge { .. })));
    assert_eq!(wal.enqueue(1, vec![0; 5_000]), Ok(Lsn(1)), "an empty queue takes any record that is allowed");
    assert!(matches!(wal.enqueue(1, vec![0; 1]), Err(EnqueueError::QueueFull { .. })));
    wal.commit(Durability::Synced).expect("commits");
    let full = loop {
        match wal.enqueue(1, vec![0; 5_000]) {
            Ok(_) => wal.commit(Durability::Synced).expect("commits"),
            Err(error) => break error,
        };
    };
    assert!(matches!(full, EnqueueError::LogFull { .. }), "{full}");
    assert!(wal.bytes_after(Lsn(0)) > 100_000);
    let freed = wal.truncate(wal.durable()).expect("truncates");
    assert!(freed > 100_000);
    assert_eq!(wal.status().segments, 1, "the active segment stays");
    wal.enqueue(1, vec![0; 5_000]).expect("there is room again");
}

#[test]
fn options_that_no_log_can_have_are_refused() {
    for options in [
        Options { first_segment_bytes: 4096, ..small() },
        Options { segment_bytes_max: 4096, ..small() },
        Options { record_bytes_max: 0, ..small() },
        Options { log_bytes_max: 64 << 10, ..small() },
        Options { log_bytes_max: u64::MAX, ..small() },
    ] {
        let result = open_with(&MemVfs::default(), &options, Lsn(0));
        assert!(matches!(result, Err(WalError::InvalidOption { .. })), "{options:?}");
    }
}

#[test]
fn truncation_removes_whole_old_segments_only_and_leaves_no_hole() {
    let (vfs, wal) = fresh();
    for _ in 0..40 {
        wal.enqueue(1, vec![0; 1_200]).expect("is queued");
        wal.commit(Durability::Synced).expect("commits");
    }
    let before = vfs.files("/r/wal").len();
    assert_eq!(wal.truncate(Lsn(0)).expect("truncates"), 0);
    wal.truncate(Lsn(17)).expect("truncates");
    assert!(vfs.files("/r/wal").len() < before);
    let (lsns, report) = read_from(&vfs, 0, Tail::AllValid);
    assert_eq!((lsns[0] <= 18, lsns.last()), (true, Some(&40)));
    assert_eq!(report.first, Some(Lsn(lsns[0])));
    assert_eq!(report.damage, []);
    wal.truncate(Lsn(u64::MAX)).expect("truncates");
    assert_eq!(wal.status().segments, 1);
    wal.close().expect("closes");
    let (wal, report, _) = open(&vfs).expect("opens");
    assert_eq!((report.last, wal.enqueue(1, Vec::new())), (Lsn(40), Ok(Lsn(41))));
}

#[test]
fn a_reader_beside_a_writer_sees_what_is_known_durable_and_all_of_it_after_a_watermark() {
    let (vfs, wal) = fresh();
    assert_eq!(read_from(&vfs, 0, Tail::KnownDurable).0, [0; 0]);
    for _ in 0..3 {
        wal.enqueue(1, vec![1; 50]).expect("is queued");
        wal.commit(Durability::Synced).expect("commits");
    }
    let (lsns, report) = read_from(&vfs, 0, Tail::KnownDurable);
    assert_eq!((lsns, report.through), (vec![1, 2], Lsn(2)), "the last commit is not marked yet");
    assert!(wal.watermark().expect("marks"));
    assert!(!wal.watermark().expect("nothing new"), "an idle log writes nothing");
    let (lsns, report) = read_from(&vfs, 2, Tail::KnownDurable);
    assert_eq!((lsns, report.through, report.damage), (vec![3], Lsn(3), vec![]));
    wal.enqueue(1, vec![1; 50]).expect("is queued");
    wal.commit(Durability::Written).expect("commits");
    assert_eq!(read_from(&vfs, 0, Tail::KnownDurable).0, [1, 2, 3], "what is only written is not served");
    assert_eq!(read_from(&vfs, 0, Tail::AllValid).0, [1, 2, 3, 4]);
    assert!(wal.watermark().expect("marks"));
    assert_eq!(read_from(&vfs, 3, Tail::KnownDurable).0, [4]);
}

#[test]
fn a_live_reader_takes_an_unfinished_write_for_no_damage() {
    let (vfs, wal) = fresh();
    wal.enqueue(1, vec![1; 50]).expect("is queued");
    wal.commit(Durability::Synced).expect("commits");
    wal.watermark().expect("marks");
    vfs.fault_in(0, Fault::CrashInside);
    wal.enqueue(1, vec![1; 500]).expect("is queued");
    wal.enqueue(1, vec![1; 500]).expect("is queued");
    assert!(wal.commit(Durability::Synced).is_err());
    let (lsns, report) = read_from(&vfs.after_crash(Survives::Cache), 0, Tail::KnownDurable);
    assert_eq!((lsns, report.damage), (vec![1], vec![]));
}

#[test]
fn a_closed_log_takes_nothing_and_its_next_open_copies_nothing() {
    let (vfs, wal) = fresh();
    wal.enqueue(1, b"waits".to_vec()).expect("is queued");
    assert_eq!(wal.close().expect("closes"), span(1, 1));
    assert_eq!(wal.enqueue(1, Vec::new()), Err(EnqueueError::Closed));
    assert!(matches!(wal.watermark(), Err(CommitError::Closed)));
    assert_eq!(wal.close().expect("closes again"), None);
    let again = vfs.after_crash(Survives::Nothing);
    let (wal, report, found) = open(&again).expect("opens");
    assert!(report.sealed && report.damage.is_empty() && report.quarantined.is_empty());
    // Two directories are synced.
    assert_eq!((found.len(), again.trace().len()), (1, 2));
    assert_eq!(wal.close().expect("closes"), None);
    assert_eq!(again.trace().len(), 2, "opening and closing writes nothing");
}

#[test]
fn a_payload_can_be_sealed_with_its_own_lsn() {
    let (vfs, wal) = fresh();
    for _ in 0..3 {
        wal.enqueue_with(1, 8, |lsn| lsn.0.to_le_bytes().to_vec()).expect("is queued");
    }
    wal.close().expect("closes");
    let (_, _, found) = open(&vfs).expect("opens");
    assert!(found.iter().all(|(lsn, (_, payload))| *payload == lsn.to_le_bytes()));
}

fn real_place(root: &std::path::Path) -> Place {
    Place {
        directory: root.join("wal"),
        temporary: root.join("tmp"),
        quarantine: root.join("q"),
        root_id: ROOT_ID,
    }
}

#[test]
fn many_threads_enqueue_while_others_commit_prepare_truncate_and_read() {
    let root = tempfile::tempdir().expect("a directory");
    let options =
        Options { first_segment_bytes: 16 << 10, segment_bytes_max: 64 << 10, ..Options::default() };
    let entropy = SystemEntropy::default();
    let at = real_place(root.path());
    let open = |records: &mut Records| {
        Wal::open(Arc::new(RealVfs), &entropy, at.clone(), &options, Lsn(0), &mut |record| {
            records.insert(record.lsn.0, (record.kind, record.payload.to_vec()));
        })
    };
    let (wal, _) = open(&mut Records::new()).expect("opens");
    let over = AtomicBool::new(false);
    let truncated = Lsn(300);
    let queued = std::thread::scope(|scope| {
        let committer = scope.spawn(|| {
            while wal.wait_for_work(Duration::from_millis(5)) || !over.load(Ordering::SeqCst) {
                wal.commit(Durability::Synced).expect("commits");
            }
        });
        let helper = scope.spawn(|| {
            let mut through = Lsn(0);
            while !over.load(Ordering::SeqCst) {
                wal.prepare().expect("prepares");
                wal.truncate(wal.durable().min(truncated)).expect("truncates");
                wal.watermark().expect("marks");
                let mut next = through.0 + 1;
                let mut check = |record: annals_wal::Record<'_>| {
                    assert!(record.lsn.0 == next || record.lsn <= truncated, "{} after {next}", record.lsn);
                    next = record.lsn.0 + 1;
                };
                let report = read(&RealVfs, &at.directory, &ROOT_ID, through, Tail::KnownDurable, &mut check)
                    .expect("reads");
                assert_eq!(report.damage, []);
                assert!(report.through >= through && report.through <= wal.durable());
                through = report.through;
            }
        });
        let writers: Vec<_> = (0..4_u8)
            .map(|writer| {
                let wal = &wal;
                scope.spawn(move || {
                    let mut queued = Records::new();
                    for count in 0..500_u32 {
                        let payload = vec![writer; (count * 37 % 900) as usize];
                        let lsn = wal.enqueue(writer, payload.clone()).expect("is queued");
                        queued.insert(lsn.0, (writer, payload));
                    }
                    queued
                })
            })
            .collect();
        let mut all = Records::new();
        for writer in writers {
            all.append(&mut writer.join().expect("no panic"));
        }
        over.store(true, Ordering::SeqCst);
        committer.join().expect("no panic");
        helper.join().expect("no panic");
        all
    });
    assert_eq!(queued.len(), 2_000);
    assert_eq!(wal.durable(), Lsn(2_000));
    wal.close().expect("closes");
    drop(wal);
    let mut found = Records::new();
    let (_, report) = open(&mut found).expect("opens");
    assert!(report.sealed);
    assert!(queued.range(truncated.0 + 1..).all(|(lsn, record)| found.get(lsn) == Some(record)));
    assert!(found.iter().all(|(lsn, record)| queued.get(lsn) == Some(record)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_committed_is_read_back_bit_for_bit(
        batches in prop::collection::vec(prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..3_000)), 0..6), 1..12),
        sealed in any::<bool>(),
        after in 0_u64..40,
    ) {
        let (vfs, wal) = fresh();
        let mut expected = Records::new();
        for batch in batches {
            for (kind, payload) in batch {
                let lsn = wal.enqueue(kind, payload.clone()).expect("is queued");
                expected.insert(lsn.0, (kind, payload));
            }
            wal.commit(Durability::Synced).expect("commits");
        }
        if sealed {
            wal.close().expect("closes");
        }
        drop(wal);
        let (lsns, report) = read_from(&vfs, after, Tail::AllValid);
        prop_assert_eq!(lsns, expected.keys().copied().filter(|lsn| *lsn > after).collect::<Vec<_>>());
        prop_assert_eq!(report.damage, vec![]);
        let (_, report, found) = open(&vfs.after_crash(Survives::Nothing)).expect("opens");
        prop_assert_eq!(found, expected);
        prop_assert_eq!(report.sealed, sealed && report.records > 0);
    }
}

#[test]
fn after_a_rotation_every_record_before_it_can_go() {
    let (vfs, wal) = fresh();
    wal.rotate().expect("an empty log has nothing to leave");
    assert_eq!(wal.status().segments, 0);
    wal.enqueue(1, b"old".to_vec()).expect("is queued");
    wal.commit(Durability::Synced).expect("commits");
    wal.enqueue(1, b"written only".to_vec()).expect("is queued");
    wal.commit(Durability::Written).expect("commits");
    wal.enqueue(1, b"waits".to_vec()).expect("is queued");
    wal.rotate().expect("rotates");
    wal.rotate().expect("the new segment has no record to leave");
    assert_eq!((wal.durable(), wal.status().segments), (Lsn(2), 2));
    wal.truncate(Lsn(2)).expect("truncates");
    let status = wal.status();
    assert_eq!((status.segments, status.first), (1, Some(Lsn(3))));
    let (_, report, found) = open(&vfs.after_crash(Survives::Nothing)).expect("opens");
    assert_eq!((found.len(), report.last, report.damage), (0, Lsn(2), Vec::new()));
    wal.commit(Durability::Synced).expect("commits");
    wal.close().expect("closes");
    let (again, _, found) = open(&vfs).expect("opens");
    assert_eq!(found.keys().collect::<Vec<_>>(), [&3]);
    // A segment that was sealed by a close is left like any other.
    again.rotate().expect("rotates");
    again.truncate(Lsn(3)).expect("truncates");
    assert_eq!(again.status().first, Some(Lsn(4)));
    let (_, report, found) = open(&vfs.after_crash(Survives::Nothing)).expect("opens");
    assert_eq!((found.len(), report.last, report.damage), (0, Lsn(3), Vec::new()));
}

#[test]
fn a_rotation_that_fails_loses_nothing() {
    for fault in 0..12 {
        let (vfs, wal) = fresh();
        wal.enqueue(1, b"old".to_vec()).expect("is queued");
        wal.commit(Durability::Synced).expect("commits");
        wal.enqueue(1, b"waits".to_vec()).expect("is queued");
        vfs.fault_in(fault, Fault::Once(ErrorKind::Other));
        let rotated = wal.rotate();
        assert!(matches!(rotated, Ok(()) | Err(CommitError::NotRotated { .. })), "{rotated:?}");
        wal.commit(Durability::Synced).expect("the log goes on");
        let (_, report, found) = open(&vfs.after_crash(Survives::Nothing)).expect("opens");
        assert_eq!(found.keys().collect::<Vec<_>>(), [&1, &2], "{fault}");
        assert_eq!(report.damage, []);
    }
}
