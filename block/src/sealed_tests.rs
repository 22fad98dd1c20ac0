//! Sealed blocks: what comes back, what is refused, and by which error.

use annals_model::{
    BlockContent, BlockId, COMMITMENT_BYTES, ChunkAge, DataKeys, Day, KeyId, LabelSet, Lsn, LsnRange,
    Matcher, NONCE_BYTES, SEAL_BYTES, Samples, Sealer, SeriesKind, TenantNumber, TimeRange, Timestamp,
};
use annals_vfs::Sealed;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest;

use crate::container::{Container, Part, SectionKind};
use crate::sealing::{FOOTER_TAG, SALT_BYTES, SealWith, WHOLE};
use crate::{BlockError, BlockIdentity, MetricBlock, MetricBlockWriter};

/// One key of a number, which files' keys are digests with.
struct Keys(u32, u8);

struct FileKey(LessSafeKey, [u8; COMMITMENT_BYTES]);

impl DataKeys for Keys {
    fn active(&self) -> KeyId {
        KeyId(self.0)
    }

    fn sealer(&self, key: KeyId, salt: &[u8], info: &[u8]) -> Option<Box<dyn Sealer>> {
        if key.0 != self.0 {
            return None;
        }
        let derived = digest::digest(&digest::SHA512, &[&[self.1; 32], salt, info].concat());
        let (key, rest) = derived.as_ref().split_at(32);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"));
        Some(Box::new(FileKey(key, *rest.first_chunk().expect("64 bytes"))))
    }
}

impl Sealer for FileKey {
    fn commitment(&self) -> [u8; COMMITMENT_BYTES] {
        self.1
    }

    fn seal(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], bytes: &mut Vec<u8>, start: usize) {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut bytes[start..]);
        bytes.extend_from_slice(tag.expect("short").as_ref());
    }

    fn open(&self, nonce: [u8; NONCE_BYTES], aad: &[u8], bytes: &mut Vec<u8>) -> bool {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self.0.open_in_place(nonce, Aad::from(aad), bytes).map(|plain| plain.len());
        length.is_ok_and(|length| {
            bytes.truncate(length);
            true
        })
    }
}

const OURS: Keys = Keys(3, 7);
const SERIES: i64 = 4;
const START: i64 = 20 * 86_400_000;

fn identity(tenant: u32, sequence: u64) -> BlockIdentity {
    let id = BlockId { day: Day(20), content: BlockContent::RawMetrics, sequence };
    BlockIdentity { tenant: TenantNumber(tenant), id }
}

/// Four series of two chunks of equal size each.
fn write(identity: BlockIdentity, keys: Option<&Keys>) -> Vec<u8> {
    let lsns = LsnRange { after: Lsn(0), through: Lsn(1) };
    let mut writer = MetricBlockWriter::new(identity, lsns, 0, ChunkAge::Fresh);
    if let Some(keys) = keys {
        writer = writer.seal_with(SealWith { keys, salt: [identity.id.sequence as u8; SALT_BYTES] });
    }
    let stamps: Vec<i64> = (1..=2048).map(|i| START + i * 10).collect();
    for series in 0..SERIES {
        let labels = LabelSet::from_pairs([("host", format!("marker-{series}"))]).expect("valid");
        // Chunks of equal size, and no two series alike.
        let values = vec![f64::from_bits(0x7ff8_dead_beef_0000 + series as u64); stamps.len()];
        writer.add_series(&labels, SeriesKind::Gauge, &stamps, &values, &[]).expect("valid");
    }
    writer.finish().expect("small").expect("not empty").bytes
}

fn open(bytes: &[u8], identity: BlockIdentity, keys: &Keys) -> Result<MetricBlock, BlockError> {
    MetricBlock::open(Sealed::new(bytes.to_vec()), identity, "a block")?.unlock(Some(keys))
}

fn container(bytes: &[u8], identity: BlockIdentity) -> Container {
    let content = identity.id.content;
    Container::open(Sealed::new(bytes.to_vec()), identity, content, "a block").expect("the frame is whole")
}

#[test]
fn a_sealed_block_gives_what_a_plain_one_does_and_shows_nothing_of_it() {
    let (plain, sealed) = (write(identity(1, 1), None), write(identity(1, 1), Some(&OURS)));
    let plain = MetricBlock::open(Sealed::new(plain), identity(1, 1), "plain").expect("ours");
    let block = open(&sealed, identity(1, 1), &OURS).expect("ours");
    assert_eq!((plain.key(), block.key()), (None, Some(KeyId(3))));
    assert_eq!(block.verify(), []);
    let all = block.find(&[Matcher::equal("host", "marker-2")]).expect("ours");
    assert_eq!(all.iter().collect::<Vec<_>>(), [2]);
    for ordinal in 0..block.series_count() {
        let read = |block: &MetricBlock| {
            let mut read = Samples::default();
            block.read(ordinal, TimeRange::ALL, &mut read).expect("ours");
            let bits: Vec<u64> = read.values.iter().map(|value| value.to_bits()).collect();
            (block.labels(ordinal).expect("ours"), read.timestamps, bits, read.start_times)
        };
        assert_eq!(read(&block), read(&plain));
    }
    assert!(!sealed.windows(6).any(|window| window == b"marker"));
    assert!(!sealed.windows(4).any(|window| window == b"host"));
}

#[test]
fn without_keys_a_sealed_block_is_checked_and_not_read() {
    let sealed = write(identity(1, 1), Some(&OURS));
    let locked = MetricBlock::open(Sealed::new(sealed), identity(1, 1), "b").expect("the frame is plain");
    assert_eq!((locked.verify(), locked.series_count()), (vec![], SERIES as u32));
    let refused = |result: Result<(), BlockError>| {
        assert_eq!(result, Err(BlockError::Sealed { name: "b".into(), key: KeyId(3) }));
    };
    refused(locked.find(&[]).map(|_| ()));
    refused(locked.labels(0).map(|_| ()));
    refused(locked.read(0, TimeRange::ALL, &mut Samples::default()));
    refused(locked.unlock(None).map(|_| ()));
}

#[test]
fn a_wrong_key_is_no_damage() {
    let sealed = write(identity(1, 1), Some(&OURS));
    let (name, key) = ("a block".into(), KeyId(3));
    let error = open(&sealed, identity(1, 1), &Keys(3, 8)).expect_err("another secret of the same number");
    assert_eq!(error, BlockError::KeyMismatch { name, key });
    let error = open(&sealed, identity(1, 1), &Keys(4, 7)).expect_err("another number");
    assert_eq!(error, BlockError::KeyMissing { name: "a block".into(), key });
    let error =
        open(&write(identity(1, 1), None), identity(1, 1), &OURS).expect_err("anybody can write that");
    assert_eq!(error, BlockError::NotSealed { name: "a block".into() });
}

#[test]
fn every_flipped_bit_is_found_with_keys_and_without() {
    let sealed = write(identity(1, 1), Some(&OURS));
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1 << bit;
            let locked = MetricBlock::open(Sealed::new(damaged.clone()), identity(1, 1), "b");
            assert!(locked.map_or(true, |block| !block.verify().is_empty()), "byte {at} bit {bit}, no keys");
            let block = open(&damaged, identity(1, 1), &OURS);
            assert!(block.map_or(true, |block| !block.verify().is_empty()), "byte {at} bit {bit}");
        }
    }
}

/// Chunks, with the checks that an attacker would give them.
#[test]
fn a_chunk_opens_in_its_own_place_of_its_own_block_only() {
    let sealed = write(identity(1, 1), Some(&OURS));
    let others = [(identity(1, 2), 2), (identity(2, 1), 1)].map(|(of, _)| write(of, Some(&OURS)));
    let section = |bytes: &[u8], of| {
        let all = container(bytes, of).sections();
        let found = all.iter().find(|section| section.name == "values").expect("there are values");
        (found.offset as usize, found.bytes as usize)
    };
    let (offset, bytes) = section(&sealed, identity(1, 1));
    let chunk_bytes = bytes / (2 * SERIES as usize);
    assert_eq!(chunk_bytes * 2 * SERIES as usize, bytes, "chunks of equal size");
    // What is read at `ordinal` of a block in which `chunk` stands there, its check made to fit.
    let read = |chunk: &[u8], ordinal: usize| {
        let mut forged = sealed.clone();
        let place = offset + ordinal * chunk_bytes;
        forged[place..place + chunk_bytes].copy_from_slice(chunk);
        let forged = container(&forged, identity(1, 1)).unlock(Some(&OURS)).expect("the footer is as it was");
        let part = Part {
            kind: SectionKind::Values,
            ordinal: ordinal as u64,
            offset: (ordinal * chunk_bytes) as u64,
            bytes: chunk_bytes,
            check: forged.part_check(SectionKind::Values, ordinal as u64, chunk),
        };
        let mut copy = Vec::new();
        forged.copy_part(part, &mut copy).map(|()| copy)
    };
    let chunk = |of: &[u8], offset: usize, ordinal: usize| {
        of[offset + ordinal * chunk_bytes..][..chunk_bytes].to_vec()
    };
    for ordinal in 0..2 * SERIES as usize {
        let ours = chunk(&sealed, offset, ordinal);
        assert_eq!(read(&ours, ordinal).expect("ours").len(), chunk_bytes - SEAL_BYTES);
        let elsewhere = (ordinal + 1) % (2 * SERIES as usize);
        let mut strangers = vec![(chunk(&sealed, offset, elsewhere), "another place")];
        for other in &others {
            let of = if other == &others[0] { identity(1, 2) } else { identity(2, 1) };
            strangers.push((chunk(other, section(other, of).0, ordinal), "another block or tenant"));
        }
        for (stranger, whose) in strangers {
            let refused = read(&stranger, ordinal).expect_err(whose).to_string();
            assert!(refused.contains("it is not what was sealed there"), "{whose}: {refused}");
        }
        for bit in 0..8 * chunk_bytes {
            let mut flipped = ours.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped, ordinal).is_err(), "bit {bit}");
        }
    }
}

/// The same block with all checks but those that are sealed made to fit.
fn rechecked(mut bytes: Vec<u8>, of: BlockIdentity) -> Vec<u8> {
    let end = bytes.len();
    let stated = u32::from_le_bytes(*bytes[end - 12..].first_chunk().expect("a trailer")) as usize;
    let footer = end - 12 - stated;
    for header_bytes in [64, 128] {
        let check = crc32fast::hash(&bytes[..header_bytes - 4]);
        bytes[header_bytes - 4..header_bytes].copy_from_slice(&check.to_le_bytes());
    }
    let check = |tag: u8, part: &[u8]| {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&of.tenant.0.to_le_bytes());
        hasher.update(&of.id.day.0.to_le_bytes());
        hasher.update(&of.id.sequence.to_le_bytes());
        hasher.update(&[of.id.content.tag(), tag]);
        hasher.update(&WHOLE.to_le_bytes());
        hasher.update(part);
        hasher.finalize().to_le_bytes()
    };
    let sections = u32::from_le_bytes(*bytes[footer..].first_chunk().expect("a footer")) as usize;
    for entry in (0..sections.min(16)).map(|position| footer + 4 + position * 32) {
        let number =
            |at: usize| bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word) as usize);
        let place = number(entry + 8).zip(number(entry + 16));
        let part = place.and_then(|(offset, stored)| bytes.get(offset..offset.checked_add(stored)?));
        // A place outside of the file has no check that could fit.
        let Some(part) = part else { continue };
        let fits = check(bytes[entry], part);
        bytes[entry + 4..entry + 8].copy_from_slice(&fits);
    }
    let body_check = crc32fast::hash(&bytes[..footer]);
    bytes[end - 16..end - 12].copy_from_slice(&body_check.to_le_bytes());
    let fits = check(FOOTER_TAG, &bytes[footer..end - 8]);
    bytes[end - 8..end - 4].copy_from_slice(&fits);
    bytes
}

/// Times, counts and places in the footer are plain: whoever can write the file can change them and every check.
#[test]
fn a_header_or_footer_that_lies_is_believed_by_nobody_with_keys() {
    let sealed = write(identity(1, 1), Some(&OURS));
    let of = identity(1, 1);
    assert_eq!(rechecked(sealed.clone(), of), sealed);
    let end = sealed.len();
    let footer =
        end - 12 - u32::from_le_bytes(*sealed[end - 12..].first_chunk().expect("a trailer")) as usize;
    // Times: the block would be passed over, or asked for what it does not have.
    let mut shorter = sealed.clone();
    shorter[end - 40..end - 32].copy_from_slice(&(START + 5000).to_le_bytes());
    let shorter = rechecked(shorter, of);
    let locked = MetricBlock::open(Sealed::new(shorter.clone()), of, "b").expect("checks fit");
    assert_eq!((locked.meta().time.end, locked.verify()), (Timestamp(START + 5000), vec![]));
    let refused = locked.unlock(Some(&OURS)).map(|_| ()).expect_err("it lies").to_string();
    assert!(refused.contains("header or footer is not what was sealed"), "{refused}");
    // Every other bit of header and footer.
    for at in (0..128).chain(footer..end) {
        // What the footer says of its own length and end is no lie but no footer.
        for bit in (0..8).filter(|_| !(end - 12..end).contains(&at)) {
            let mut lying = sealed.clone();
            lying[at] ^= 1 << bit;
            let lying = rechecked(lying, of);
            assert!(lying == sealed || open(&lying, of, &OURS).is_err(), "byte {at} bit {bit}");
        }
    }
    // A section of another block of the same tenant, with everything plain about it.
    let other = write(identity(1, 2), Some(&OURS));
    let place = |bytes: &[u8], of| {
        let all = container(bytes, of).sections();
        let found = all.iter().find(|section| section.name == "labels").expect("there are labels");
        found.offset as usize..(found.offset + found.bytes) as usize
    };
    let mut moved = sealed.clone();
    moved[place(&sealed, of)].copy_from_slice(&other[place(&other, identity(1, 2))]);
    assert!(open(&rechecked(moved, of), of, &OURS).is_err());
}

#[test]
#[should_panic(expected = "a nonce would be used twice")]
fn a_writer_that_would_use_a_nonce_twice_stops() {
    use crate::sealing::{Place, UsedNonces};
    let mut used = UsedNonces::default();
    for ordinal in [0, 1, 5, 5] {
        used.take(Place { tag: 2, packing: 0, ordinal, plain_bytes: 9 });
    }
}
