//! Sizes, counts and offsets that no writer would store, behind checks that fit: what a hostile writer makes.
//!
//! No check can see such a file. It may be refused or read as what it says; it must never panic, and never take memory
//! for a number that nothing backs: the tests run this under an allocator that refuses large requests.

use std::path::Path;
use std::sync::Arc;

use annals::vfs::Sealed;
use annals::{BlockContent, Encryption, HistogramSamples, Samples, TimeRange};
use annals_block::{BlockIdentity, MetricBlock, RollupBlock, SignalBlock, SignalCounts};

use super::judge::identity_of;
use super::store::{Content, Fixed, ROOT, build};
use super::{guarded, in_two};
use crate::campaign::{Report, Size};

/// A block's header, and how many bytes of it are checked.
const HEADER_BYTES: usize = 128;
/// Its first half has a check of its own.
const HEADER_FIRST_BYTES: usize = 64;
/// The tag that stands for the footer in checks.
const FOOTER_TAG: u8 = 0xff;
const SECTION_ENTRY_BYTES: usize = 32;
/// A twin file's header, and where the checked part begins.
const TWIN_HEADER_BYTES: usize = 48;
const TWIN_CHECKED_FROM: usize = 12;
/// Numbers that confuse sizes: none, one, as large as can be, and just beyond.
const NUMBERS: [u64; 10] =
    [0, 1, 0x7f, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, 1 << 63, u64::MAX];

/// Every hostile number in every place where a number may be.
pub fn run(size: &Size, report: &mut Report) {
    let (plain, sealed) = (build(Content::SMALL, Encryption::None), build(Content::SMALL, Encryption::Files));
    let mut cases: Vec<Case> = Vec::new();
    for part in ["/t/1/b/", "/t/1/s/"] {
        let path = plain.files(part).into_iter().next().expect("the store has one");
        let bytes = plain.read(&path);
        let identity = identity_of(&bytes).expect("a block");
        cases.extend((0..bytes.len()).map(|at| Case::Block(bytes.clone(), identity, at)));
    }
    for part in ["/t/1/manifest-", "/t/1/keys-", "/catalog-"] {
        let path = sealed.files(part).pop().expect("the store has one");
        let bytes = sealed.read(&path);
        cases.extend(
            (TWIN_CHECKED_FROM..bytes.len() / 2).map(|at| Case::Twin(path.clone(), bytes.clone(), at)),
        );
    }
    let all = (cases.len() * NUMBERS.len() * 2) as u64;
    let count = size.count.unwrap_or(all).min(all);
    let step = (all / count.max(1)).max(1);
    let case = |number: u64| {
        let number = (number * step) as usize;
        let (case, form) = (&cases[number / (NUMBERS.len() * 2)], number % (NUMBERS.len() * 2));
        let form = Form { number: NUMBERS[form / 2], varint: form % 2 == 0 };
        guarded(&format_args!("{case}: {form:?}"), || {
            case.read(&sealed, form);
            Ok(())
        })
    };
    in_two(size, count, &case).add_to(report, "hostile");
}

/// How a number is written.
#[derive(Debug, Clone, Copy)]
struct Form {
    number: u64,
    varint: bool,
}

impl Form {
    /// Writes the number over what is there: as a varint of its own length, or as eight bytes.
    fn put(self, bytes: &mut [u8], at: usize) {
        let mut encoded = Vec::new();
        if self.varint {
            let mut rest = self.number;
            while rest > 0x7f {
                encoded.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            encoded.push(rest as u8);
        } else {
            encoded.extend(self.number.to_le_bytes());
        }
        for (to, from) in bytes.iter_mut().skip(at).zip(encoded) {
            *to = from;
        }
    }
}

enum Case {
    Block(Arc<Vec<u8>>, BlockIdentity, usize),
    Twin(std::path::PathBuf, Arc<Vec<u8>>, usize),
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Case::Block(_, identity, at) => write!(f, "block {} byte {at}", identity.id),
            Case::Twin(path, _, at) => write!(f, "{} byte {at}", path.display()),
        }
    }
}

impl Case {
    fn read(&self, store: &Fixed, form: Form) {
        match self {
            Case::Block(bytes, identity, at) => {
                let mut bytes = bytes.to_vec();
                form.put(&mut bytes, *at);
                reseal(&mut bytes, *identity);
                read_block(bytes, *identity);
            }
            Case::Twin(path, bytes, at) => {
                let mut bytes = bytes.to_vec();
                let half = bytes.len() / 2;
                for start in [0, half] {
                    form.put(&mut bytes[start..start + half], *at);
                    reseal_twin(&mut bytes[start..start + half]);
                }
                let memory = store.memory.with(Path::new(path), Arc::new(bytes));
                let _ = annals::verify(Arc::new(memory), ROOT.as_ref());
            }
        }
    }
}

/// Uses a block as queries do.
pub(super) fn read_block(bytes: Vec<u8>, identity: BlockIdentity) {
    let bytes = Sealed::new(bytes);
    match identity.id.content {
        BlockContent::RawMetrics => {
            let Ok(block) = MetricBlock::open(bytes, identity, "forged") else { return };
            let _ = block.verify();
            let mut samples = Samples::default();
            let mut histograms = HistogramSamples::default();
            for ordinal in 0..block.series_count().min(40) {
                let _ =
                    (block.labels(ordinal), block.kind(ordinal), block.samples_in(ordinal, TimeRange::ALL));
                block.read_lossy(ordinal, TimeRange::ALL, &mut samples, &mut |_, _| ());
                block.read_histograms_lossy(ordinal, TimeRange::ALL, &mut histograms, &mut |_, _| ());
            }
        }
        BlockContent::Rollup5m | BlockContent::Rollup1h => {
            let Ok(block) = RollupBlock::open(bytes, identity, "forged") else { return };
            let _ = block.verify();
            let mut windows = Vec::new();
            for ordinal in 0..block.series_count().min(40) {
                let _ = (block.labels(ordinal), block.kind(ordinal));
                block.read_lossy(ordinal, TimeRange::ALL, &mut windows, &mut |_, _| ());
            }
        }
        BlockContent::RawSignals => {
            let Ok(block) = SignalBlock::open(bytes, identity, "forged") else { return };
            let _ = (block.verify(), block.rows_in(TimeRange::ALL));
            let _ = block.scan(TimeRange::ALL, &[]).map(Iterator::count);
            let _ = block.count(TimeRange::ALL, &[], &mut SignalCounts::default());
        }
    }
}

/// Makes the checks of a block's frame fit its bytes, as far as the frame can be followed. Chunks keep their checks.
pub(super) fn reseal(bytes: &mut [u8], identity: BlockIdentity) {
    if bytes.len() < HEADER_BYTES + 12 {
        return;
    }
    for header_bytes in [HEADER_FIRST_BYTES, HEADER_BYTES] {
        let check = crc32fast::hash(&bytes[..header_bytes - 4]);
        bytes[header_bytes - 4..header_bytes].copy_from_slice(&check.to_le_bytes());
    }
    let end = bytes.len();
    let number = |bytes: &[u8], at: usize, count: usize| -> Option<usize> {
        let mut word = [0; 8];
        word[..count].copy_from_slice(bytes.get(at..at.checked_add(count)?)?);
        usize::try_from(u64::from_le_bytes(word)).ok()
    };
    let Some(footer) = number(bytes, end - 12, 4).and_then(|footer| end.checked_sub(footer.checked_add(12)?))
    else {
        return;
    };
    if footer < HEADER_BYTES {
        return;
    }
    for entry in 0..number(bytes, footer, 4).unwrap_or(0).min(16) {
        let at = footer + 4 + entry * SECTION_ENTRY_BYTES;
        let (Some(&tag), Some(offset), Some(stored)) =
            (bytes.get(at), number(bytes, at + 8, 8), number(bytes, at + 16, 8))
        else {
            return;
        };
        let Some(section) = offset.checked_add(stored).and_then(|end| bytes.get(offset..end)) else {
            continue;
        };
        let check = check(identity, tag, section);
        if let Some(slot) = bytes.get_mut(at + 4..at + 8) {
            slot.copy_from_slice(&check.to_le_bytes());
        }
    }
    let body = crc32fast::hash(&bytes[..footer]);
    if end < footer + 16 {
        return;
    }
    bytes[end - 16..end - 12].copy_from_slice(&body.to_le_bytes());
    let check = check(identity, FOOTER_TAG, &bytes[footer..end - 8]);
    bytes[end - 8..end - 4].copy_from_slice(&check.to_le_bytes());
}

/// The check of a section as a whole: it covers whose and which block it is.
fn check(identity: BlockIdentity, tag: u8, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&identity.tenant.0.to_le_bytes());
    hasher.update(&(identity.id.day.0 as u32).to_le_bytes());
    hasher.update(&identity.id.sequence.to_le_bytes());
    hasher.update(&[identity.id.content.tag(), tag]);
    hasher.update(&u64::MAX.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Makes the check of half a twin file fit its bytes.
fn reseal_twin(half: &mut [u8]) {
    let mut length = [0; 4];
    length.copy_from_slice(&half[TWIN_HEADER_BYTES - 4..TWIN_HEADER_BYTES]);
    let end = (u32::from_le_bytes(length) as usize).saturating_add(TWIN_HEADER_BYTES).min(half.len());
    let check = crc32fast::hash(&half[TWIN_CHECKED_FROM..end]);
    half[8..TWIN_CHECKED_FROM].copy_from_slice(&check.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_nobody_changed_is_resealed_to_itself() {
        let small = build(Content::SMALL, Encryption::Files);
        for path in small.files(".blk") {
            let bytes = small.read(&path);
            let mut resealed = bytes.to_vec();
            reseal(&mut resealed, identity_of(&bytes).expect("a block"));
            assert_eq!(resealed, **bytes);
        }
    }
}
