//! Hostile and rotten bytes: nothing undamaged is lost, what is damaged is named, nothing panics.

mod support;

use std::path::{Path, PathBuf};

use annals_wal::{
    Damage, DamageKind, Durability, FrameSummary, FrameType, HeaderFault, Lsn, LsnSpan, Tail, WalError,
    inspect, read, verify,
};
use support::{MemVfs, ROOT_ID, Records, Rng, Survives, open, open_with, place, small};

const HEADER_BYTES: usize = 4096;

fn directory() -> PathBuf {
    place().directory
}

fn segment(number: u64) -> PathBuf {
    directory().join(format!("{number:016}.seg"))
}

/// A log of one segment: three batches of records, each synced, then a seal. Its records.
fn sealed() -> (MemVfs, Records) {
    let vfs = MemVfs::default();
    let (wal, _, _) = open(&vfs).expect("opens");
    let mut records = Records::new();
    for (kind, length) in [(1, 5), (2, 0), (3, 90), (4, 64), (5, 33), (6, 7)] {
        let payload: Vec<u8> = (0..length).map(|at| (at * 7 + kind) as u8).collect();
        let lsn = wal.enqueue(kind as u8, payload.clone()).expect("is queued");
        records.insert(lsn.0, (kind as u8, payload));
        if kind % 2 == 0 {
            wal.commit(Durability::Synced).expect("commits");
        }
    }
    wal.watermark().expect("marks");
    wal.close().expect("closes");
    (vfs.after_crash(Survives::Nothing), records)
}

fn frames(vfs: &MemVfs, path: &Path) -> Vec<FrameSummary> {
    let mut frames = Vec::new();
    inspect(vfs, path, &mut |frame| frames.push(frame)).expect("can be inspected");
    frames
}

fn offset_of(frame: &FrameSummary) -> u64 {
    match frame {
        FrameSummary::Sound { offset, .. } | FrameSummary::Bad { offset, .. } => *offset,
    }
}

/// What a reader, a verifier and a recovery make of a damaged log; they must agree.
fn look(vfs: &MemVfs, context: &str) -> (Records, Vec<Damage>) {
    let mut read_records = Records::new();
    let report = read(vfs, &directory(), &ROOT_ID, Lsn(0), Tail::AllValid, &mut |record| {
        read_records.insert(record.lsn.0, (record.kind, record.payload.to_vec()));
    })
    .unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(verify(vfs, &directory(), &ROOT_ID).expect("verifies"), report.damage, "{context}");
    let (wal, recovery, records) = open(&vfs.fork()).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(records, read_records, "{context}");
    assert_eq!(recovery.damage, report.damage, "{context}");
    assert!(wal.last_enqueued() >= report.through, "{context}");
    (records, report.damage)
}

#[test]
fn every_flipped_byte_costs_at_most_its_own_record_and_is_named() {
    let (vfs, records) = sealed();
    let bytes = vfs.bytes(&segment(1));
    let frames = frames(&vfs, &segment(1));
    assert_eq!(frames.len(), records.len() + 2);
    let FrameSummary::Sound { offset: watermark, frame_type: FrameType::Watermark, .. } = frames[6] else {
        panic!("the seventh frame is the watermark")
    };
    for at in 0..bytes.len() {
        let context = format!("byte {at}");
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        let rotten = vfs.fork();
        rotten.put(&segment(1), damaged);
        let (found, damage) = look(&rotten, &context);
        if at < HEADER_BYTES {
            assert_eq!(found, records, "{context}");
            assert_eq!(damage.len(), 1, "{context}");
            assert_eq!(damage[0].kind, DamageKind::HeaderHalf, "{context}");
        } else if at < watermark as usize {
            let index = frames.iter().rposition(|frame| offset_of(frame) <= at as u64).expect("in a frame");
            let FrameSummary::Sound { offset, lsn, payload_bytes, .. } = frames[index] else {
                panic!("sound")
            };
            let in_payload = at as u64 - offset;
            let kind = match in_payload {
                0..32 => DamageKind::Frame,
                within if within < 32 + payload_bytes => DamageKind::Payload,
                _ => DamageKind::Padding,
            };
            let lost = kind != DamageKind::Padding;
            let mut left = records.clone();
            if lost {
                left.remove(&lsn.0);
            }
            assert_eq!(found, left, "{context}");
            let lsns = LsnSpan::new(lsn, lsn).filter(|_| lost);
            assert_eq!(damage, [Damage { path: segment(1), offset, lsns, kind }], "{context}");
        } else {
            // A mark, or the zeros after it: no record is touched.
            assert_eq!(found, records, "{context}");
            assert!(damage.iter().all(|damage| damage.lsns.is_none()), "{context}: {damage:?}");
        }
    }
}

#[test]
fn every_truncation_keeps_the_records_before_it() {
    let (vfs, records) = sealed();
    let bytes = vfs.bytes(&segment(1));
    let frames = frames(&vfs, &segment(1));
    let end = 1 + bytes.iter().rposition(|byte| *byte != 0).expect("not empty");
    for length in (0..64).chain(2000..2100).chain(HEADER_BYTES - 64..end + 64) {
        let context = format!("{length} bytes");
        let cut = vfs.fork();
        cut.put(&segment(1), bytes[..length].to_vec());
        let (found, damage) = look(&cut, &context);
        let whole: Records = records
            .iter()
            .zip(&frames)
            .filter(|((_, (_, payload)), frame)| {
                offset_of(frame) as usize + 32 + payload.len().next_multiple_of(8) <= length
            })
            .map(|((lsn, record), _)| (*lsn, record.clone()))
            .collect();
        if length < 2048 {
            assert!(found.is_empty(), "{context}");
            assert_eq!(damage[0].kind, DamageKind::Header(HeaderFault::Unreadable), "{context}");
        } else {
            assert_eq!(found, whole, "{context}");
            let short = DamageKind::FileShort { expected: bytes.len() as u64 };
            assert!(damage.iter().any(|damage| damage.kind == short), "{context}");
        }
    }
}

#[test]
fn random_garbage_anywhere_is_never_a_record_and_never_a_panic() {
    let (vfs, records) = sealed();
    let bytes = vfs.bytes(&segment(1));
    let mut rng = Rng(7);
    for round in 0..1_500 {
        let mut garbled = bytes.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(6_000) as usize;
            let length = rng.below(300) as usize;
            let fill = rng.below(3);
            for byte in garbled.iter_mut().skip(at).take(length) {
                *byte = [0, 0xff, rng.next() as u8][fill as usize];
            }
        }
        let rotten = vfs.fork();
        rotten.put(&segment(1), garbled);
        let (found, _) = look(&rotten, &format!("round {round}"));
        assert!(found.iter().all(|(lsn, record)| records.get(lsn) == Some(record)), "round {round}");
    }
}

#[test]
fn a_damaged_record_is_told_once_and_set_aside_and_costs_nothing_new() {
    let (vfs, records) = sealed();
    let mut bytes = vfs.bytes(&segment(1));
    bytes[HEADER_BYTES + 33] ^= 1;
    vfs.put(&segment(1), bytes);
    let (wal, report, found) = open(&vfs).expect("opens");
    assert_eq!(report.damage.len(), 1);
    assert_eq!(found.len(), records.len() - 1);
    assert_eq!(report.quarantined.len(), 1, "the log goes on in a segment without the damage");
    let lsn = wal.enqueue(9, b"after".to_vec()).expect("is queued");
    wal.commit(Durability::Synced).expect("commits");
    wal.close().expect("closes");
    let (_, report, found) = open(&vfs).expect("opens");
    assert_eq!((report.damage.len(), report.quarantined.len()), (0, 0));
    assert!(found.contains_key(&lsn.0) && !found.contains_key(&1));
}

#[test]
fn a_torn_tail_is_cut_quarantined_and_no_damage() {
    let vfs = MemVfs::default();
    let (wal, _, _) = open(&vfs).expect("opens");
    for _ in 0..3 {
        wal.enqueue(1, vec![7; 100]).expect("is queued");
        wal.commit(Durability::Synced).expect("commits");
    }
    drop(wal);
    let mut bytes = vfs.bytes(&segment(1));
    let end = 1 + bytes.iter().rposition(|byte| *byte != 0).expect("not empty");
    bytes[end - 1] ^= 1;
    vfs.put(&segment(1), bytes);
    let (wal, report, found) = open(&vfs).expect("opens");
    assert_eq!(found.len(), 2);
    assert_eq!(report.damage, []);
    assert!(report.tail_bytes_discarded >= 132, "{report:?}");
    assert_eq!(report.quarantined, [place().quarantine.join("wal-0000000000000001-0.seg")]);
    assert!(wal.last_enqueued() >= Lsn(3), "the torn record's LSN is not given out again");
    let next = wal.enqueue(1, b"next".to_vec()).expect("is queued");
    assert!(next > Lsn(3));
    drop(wal);
    let (wal, report, found) = open(&vfs).expect("opens");
    assert_eq!((found.len(), report.quarantined.len()), (2, 0));
    assert!(wal.last_enqueued() >= Lsn(3));
}

#[test]
fn a_payload_that_holds_whole_frames_is_one_record_even_when_its_own_header_is_gone() {
    let (donor, _) = sealed();
    let frames_of_donor = donor.bytes(&segment(1))[HEADER_BYTES..].to_vec();
    let vfs = MemVfs::default();
    let (wal, _, _) = open(&vfs).expect("opens");
    wal.enqueue(1, b"first".to_vec()).expect("is queued");
    wal.commit(Durability::Synced).expect("commits");
    // Frames of another segment with the same number and salt seed, and of this very segment, at every alignment.
    let own = vfs.bytes(&segment(1))[HEADER_BYTES..HEADER_BYTES + 40].to_vec();
    let mut payload = frames_of_donor[..600].to_vec();
    for shift in 0..8 {
        payload.extend(vec![0; shift]);
        payload.extend(&own);
    }
    wal.enqueue(2, payload.clone()).expect("is queued");
    wal.enqueue(3, b"last".to_vec()).expect("is queued");
    wal.commit(Durability::Synced).expect("commits");
    wal.close().expect("closes");
    let (found, damage) = look(&vfs, "whole");
    assert_eq!(found.get(&2), Some(&(2, payload)));
    assert_eq!((found.len(), damage.len()), (3, 0));
    let mut bytes = vfs.bytes(&segment(1));
    bytes[HEADER_BYTES + 40 + 4] ^= 1;
    vfs.put(&segment(1), bytes);
    let (found, damage) = look(&vfs, "header of the second record damaged");
    assert_eq!(found.keys().collect::<Vec<_>>(), [&1, &3]);
    assert_eq!((damage.len(), damage[0].lsns), (1, LsnSpan::new(Lsn(2), Lsn(2))));
}

/// A log of several segments; its records.
fn long() -> (MemVfs, Records) {
    let vfs = MemVfs::default();
    let (wal, _, _) = open(&vfs).expect("opens");
    let mut records = Records::new();
    for round in 0..30_u64 {
        let payload = vec![round as u8; 1_500];
        let lsn = wal.enqueue(1, payload.clone()).expect("is queued");
        records.insert(lsn.0, (1, payload));
        wal.commit(Durability::Synced).expect("commits");
    }
    wal.close().expect("closes");
    assert!(vfs.files("/r/wal").len() >= 4);
    (vfs, records)
}

#[test]
fn a_missing_foreign_or_swapped_segment_is_named_and_the_others_are_served() {
    let (vfs, records) = long();
    let lost = |vfs: &MemVfs, context: &str| -> (Vec<u64>, Vec<Damage>) {
        let (found, damage) = look(vfs, context);
        (records.keys().filter(|lsn| !found.contains_key(lsn)).copied().collect(), damage)
    };
    let inside = |number: u64| -> Vec<u64> {
        let sound = frames(&vfs, &segment(number)).into_iter().filter_map(|frame| match frame {
            FrameSummary::Sound { frame_type: FrameType::Record, lsn, .. } => Some(lsn.0),
            _ => None,
        });
        sound.collect()
    };
    let middle = inside(2);
    let span = LsnSpan::new(Lsn(middle[0]), Lsn(middle[middle.len() - 1]));

    let missing = vfs.fork();
    missing.remove(&segment(2));
    let (gone, damage) = lost(&missing, "missing");
    assert_eq!(gone, middle);
    let expected = Damage { path: segment(2), offset: 0, lsns: span, kind: DamageKind::SegmentMissing };
    assert_eq!(damage, [expected]);

    let foreign = vfs.fork();
    let (donor, _) = sealed();
    let mut bytes = donor.bytes(&segment(1));
    bytes[3] ^= 1;
    bytes[2048 + 3] ^= 1;
    foreign.put(&segment(2), bytes);
    let (gone, damage) = lost(&foreign, "overwritten");
    assert_eq!(gone, middle);
    let kind = DamageKind::Header(HeaderFault::Unreadable);
    assert_eq!(damage, [Damage { path: segment(2), offset: 0, lsns: span, kind }]);
    let (_, report, _) = open(&foreign).expect("opens");
    assert_eq!(report.quarantined, [place().quarantine.join("wal-0000000000000002-0.seg")]);

    let swapped = vfs.fork();
    swapped.put(&segment(2), vfs.bytes(&segment(3)));
    swapped.put(&segment(3), vfs.bytes(&segment(2)));
    let (gone, damage) = lost(&swapped, "swapped");
    assert_eq!(gone, [inside(2), inside(3)].concat());
    assert_eq!(damage.len(), 2);
    assert!(
        damage.iter().all(|damage| matches!(damage.kind, DamageKind::Header(HeaderFault::OtherNumber(_))))
    );

    let truncated = vfs.fork();
    truncated.remove(&segment(1));
    let (gone, damage) = lost(&truncated, "truncated");
    assert_eq!((gone, damage), (inside(1), vec![]));
}

#[test]
fn the_last_segment_without_a_header_costs_its_records_and_no_lsn_is_given_out_twice() {
    let (vfs, records) = long();
    let last = vfs.files("/r/wal").pop().expect("segments");
    let mut bytes = vfs.bytes(&last);
    bytes[..HEADER_BYTES].fill(0xee);
    vfs.put(&last, bytes);
    let (wal, report, found) = open(&vfs).expect("opens");
    assert!(found.len() < records.len() && !found.is_empty());
    assert!(found.iter().all(|(lsn, record)| records.get(lsn) == Some(record)));
    assert_eq!(report.quarantined.len(), 1);
    let highest = Lsn(records.len() as u64);
    assert!(wal.last_enqueued() >= highest);
    drop(wal);
    let (wal, report, again) = open(&vfs).expect("opens");
    assert_eq!((again, report.damage.len()), (found, 0));
    assert!(wal.last_enqueued() >= highest, "and that outlives the process");
}

#[test]
fn another_roots_log_is_set_aside_and_never_deleted() {
    let (vfs, _) = long();
    let count = vfs.files("/r/wal").len();
    let mut other = place();
    other.root_id = [1; 16];
    let entropy = annals_vfs::SimEntropy::new(3);
    let mut none = |_: annals_wal::Record<'_>| panic!("no record of another root is served");
    let vfs_arc = std::sync::Arc::new(vfs.clone());
    let (_, report) =
        annals_wal::Wal::open(vfs_arc, &entropy, other, &small(), Lsn(0), &mut none).expect("opens");
    assert_eq!(report.quarantined.len(), count);
    assert!(report.damage.iter().all(|damage| damage.kind == DamageKind::Header(HeaderFault::ForeignRoot)));
    assert_eq!(vfs.files("/r/quarantine").len(), count);
}

#[test]
fn a_newer_version_is_refused_before_anything_is_changed() {
    let (vfs, _) = long();
    let path = segment(2);
    let mut bytes = vfs.bytes(&path);
    for half in [0, 2048] {
        bytes[half + 8] = 2;
        let check = crc32fast::hash(&bytes[half..half + 2044]);
        bytes[half + 2044..half + 2048].copy_from_slice(&check.to_le_bytes());
    }
    vfs.put(&path, bytes);
    let before = vfs.fork();
    let Err(error) = open(&before) else { panic!("a newer version opens") };
    assert!(matches!(error, WalError::VersionTooNew { found: 2, newest_known: 1, .. }), "{error}");
    assert_eq!(before.trace(), Vec::<String>::new());
}

#[test]
fn unknown_files_are_reported_and_left_alone() {
    let (vfs, records) = sealed();
    vfs.put(&directory().join("notes.txt"), b"mine".to_vec());
    let (found, damage) = look(&vfs, "with notes");
    assert_eq!((found, damage.len(), damage[0].kind), (records, 1, DamageKind::UnknownFile));
    open(&vfs).expect("opens");
    assert_eq!(vfs.bytes(&directory().join("notes.txt")), b"mine");
}

#[test]
fn the_callers_floor_keeps_lsns_from_going_back() {
    let vfs = MemVfs::default();
    let (wal, report, _) = open_with(&vfs, &small(), Lsn(500)).expect("opens");
    assert_eq!(report.last, Lsn(500));
    assert_eq!(wal.enqueue(1, Vec::new()), Ok(Lsn(501)));
    wal.commit(Durability::Synced).expect("commits");
    drop(wal);
    let (wal, _, found) = open_with(&vfs, &small(), Lsn(900)).expect("opens");
    assert_eq!(found.keys().collect::<Vec<_>>(), [&501]);
    assert_eq!(wal.enqueue(1, b"after a gap".to_vec()), Ok(Lsn(901)));
    wal.commit(Durability::Synced).expect("commits");
    drop(wal);
    let (_, report, found) = open(&vfs).expect("opens");
    assert_eq!(found.keys().collect::<Vec<_>>(), [&501, &901]);
    assert_eq!(report.damage, []);
}

/// What the host relies on from then on, a later reader of the log alone has to see.
#[test]
fn a_log_that_ends_before_the_callers_floor_says_so_from_then_on() {
    let vfs = MemVfs::default();
    let (wal, ..) = open(&vfs).expect("opens");
    wal.enqueue(1, b"one".to_vec()).expect("taken");
    wal.commit(Durability::Synced).expect("commits");
    drop(wal);
    // The second open finds the copy of the first, with nothing in doubt.
    for _ in 0..2 {
        drop(open(&vfs).expect("opens"));
    }
    drop(open_with(&vfs, &small(), Lsn(9)).expect("opens"));
    let after = vfs.after_crash(Survives::Nothing);
    let (_, report, found) = open(&after).expect("opens");
    assert_eq!((report.last, report.damage, found.len()), (Lsn(9), vec![], 1));
}

/// The check of a frame does not cover its padding, and a power cut may garble that alone of what was not synced.
#[test]
fn garbled_padding_is_damage_only_where_it_was_durable() {
    for (durability, damaged) in [(Durability::Written, 0), (Durability::Synced, 1)] {
        let vfs = MemVfs::default();
        let (wal, ..) = open(&vfs).expect("opens");
        for payload in [b"first".to_vec(), b"second".to_vec()] {
            wal.enqueue(1, payload).expect("taken");
            wal.commit(durability).expect("commits");
        }
        drop(wal);
        let after = vfs.after_crash(Survives::Everything);
        let frame = frames(&after, &segment(1))[0];
        let FrameSummary::Sound { offset, payload_bytes: 5, .. } = frame else { panic!("{frame:?}") };
        let mut bytes = after.bytes(&segment(1));
        let next = offset_of(&frames(&after, &segment(1))[1]);
        assert!(offset + 5 < next - 1 && bytes[next as usize - 1] == 0);
        bytes[next as usize - 1] = 0x20;
        after.put(&segment(1), bytes);
        let (records, damage) = look(&after, "garbled padding");
        assert_eq!((records.len(), damage.len()), (2, damaged), "{durability:?}: {damage:?}");
    }
}
