//! Intact bytes in the wrong place: files that changed places, chunks of another chunk, block and tenant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::Encryption;

use super::change::Change;
use super::hostile::reseal;
use super::judge::{identity_of, judge_store, open};
use super::store::{Content, Fixed, build};
use super::{guarded, in_two};
use crate::campaign::{Report, Size};

/// How many chunks of a section change places, each with each.
const CHUNKS_MAX: usize = 24;
/// A block's header.
const HEADER_BYTES: usize = 128;

/// Swaps files, then chunks.
pub fn run(size: &Size, report: &mut Report) {
    let small = build(Content::SMALL, Encryption::Files);
    let files = live(&small);
    let pairs: Vec<(&Path, &Path)> = files
        .iter()
        .enumerate()
        .flat_map(|(at, a)| files.iter().skip(at + 1).map(move |b| (a.as_path(), b.as_path())))
        .filter(|(a, b)| small.read(a) != small.read(b))
        .collect();
    let case = |number: u64| {
        let (a, b) = pairs[number as usize];
        guarded(&format_args!("{} and {} swapped", a.display(), b.display()), || {
            judge_store(&small.memory.with(a, small.read(b)).with(b, small.read(a)), &[a, b], false)
        })
    };
    in_two(size, pairs.len() as u64, &case).add_to(report, "swaps");

    // Plain: whoever has no key must not pass one tenant's chunks for another's either.
    let full = build(Content::FULL, Encryption::None);
    let swaps = chunk_swaps(&full);
    let count = size.count.unwrap_or(u64::MAX).min(swaps.len() as u64);
    let step = (swaps.len() as u64 / count.max(1)).max(1);
    let case = |number: u64| {
        let swap = &swaps[(number * step) as usize];
        guarded(&swap.name, || {
            let identity = identity_of(&swap.block).ok_or("it is no block any more")?;
            let mut resealed = swap.block.to_vec();
            reseal(&mut resealed, identity);
            // Without its frame's checks it is one more damage; with them, only those of the chunks are left.
            for bytes in [swap.block.to_vec(), resealed] {
                match open(&bytes, identity) {
                    Ok((found, _)) if found.is_empty() => return Err("nothing noticed it".to_owned()),
                    _ => {}
                }
            }
            Ok(())
        })
    };
    in_two(size, count, &case).add_to(report, "chunks");
}

/// The files that are read: without older generations, the lock, and space that was made ready.
fn live(fixed: &Fixed) -> Vec<PathBuf> {
    let mut newest: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in fixed.memory.paths() {
        let name = path.to_string_lossy().into_owned();
        let unused = name.ends_with("LOCK")
            || name.ends_with(".seg")
                && annals_wal::inspect(&fixed.memory, &path, &mut |_| {})
                    .is_ok_and(|one| one.first.is_none());
        if unused {
            continue;
        }
        let stem = match name.rsplit_once('-') {
            Some((stem, _)) if stem.ends_with("catalog") || stem.ends_with("manifest") => stem.to_owned(),
            _ => name,
        };
        newest.insert(stem, path);
    }
    newest.into_values().collect()
}

/// A block with chunks in the wrong place.
struct Swap {
    name: String,
    block: Arc<Vec<u8>>,
}

fn chunk_swaps(full: &Fixed) -> Vec<Swap> {
    let blocks: Vec<(PathBuf, Arc<Vec<u8>>)> =
        full.files(".blk").into_iter().map(|path| (path.clone(), full.read(&path))).collect();
    let mut swaps = Vec::new();
    for (path, bytes) in &blocks {
        for section in ["values", "stamps", "rows"] {
            let chunks = chunks(bytes, section);
            for (at, a) in chunks.iter().enumerate() {
                for b in &chunks[at + 1..] {
                    if bytes[a.clone()] == bytes[b.clone()] {
                        continue;
                    }
                    // In the order of the file: b, what lay between, a.
                    let moved = [
                        &bytes[..a.start],
                        &bytes[b.clone()],
                        &bytes[a.end..b.start],
                        &bytes[a.clone()],
                        &bytes[b.end..],
                    ]
                    .concat();
                    let name =
                        format!("{}: {section} at {} and {} swapped", path.display(), a.start, b.start);
                    swaps.push(Swap { name, block: Arc::new(moved) });
                }
            }
            for (other, from) in blocks.iter().filter(|(other, _)| other != path) {
                let theirs = self::chunks(from, section);
                for (number, (a, b)) in chunks.iter().zip(&theirs).enumerate() {
                    let replaced = [&bytes[..a.start], &from[b.clone()], &bytes[a.end..]].concat();
                    if replaced == ***bytes && path.parent() == other.parent() {
                        continue;
                    }
                    let name =
                        format!("{}: {section} {number} replaced by {}'s", path.display(), other.display());
                    // The same bytes under another identity are no damage; with that block's checks they would be.
                    if replaced != ***bytes {
                        swaps.push(Swap { name, block: Arc::new(replaced) });
                    }
                }
            }
        }
    }
    swaps.extend(transplants(&blocks));
    swaps
}

/// A whole data section and the chunks' checks, of the other tenant's block of the same data: only the identity that the
/// checks cover tells them from one's own.
fn transplants(blocks: &[(PathBuf, Arc<Vec<u8>>)]) -> Vec<Swap> {
    let mut swaps = Vec::new();
    for (path, bytes) in blocks {
        for (other, from) in blocks {
            let same_kind =
                path.parent().and_then(Path::file_name) == other.parent().and_then(Path::file_name);
            let (Some(mine), Some(theirs)) = (identity_of(bytes), identity_of(from)) else { continue };
            if path == other || !same_kind || mine.id.day != theirs.id.day {
                continue;
            }
            // All after the header; the footer says the same of both but for the checks.
            let body = [&bytes[..HEADER_BYTES], &from[HEADER_BYTES..]].concat();
            let name = format!("{}: the sections of {}", path.display(), other.display());
            swaps.push(Swap { name, block: Arc::new(body) });
        }
    }
    swaps
}

/// Where the first chunks of a section lie, found by damaging bytes and hearing which chunk is named.
fn chunks(bytes: &Arc<Vec<u8>>, section: &str) -> Vec<std::ops::Range<usize>> {
    let Some(identity) = identity_of(bytes) else { return Vec::new() };
    let sections = sections(bytes, identity);
    let Some((start, end)) = sections.into_iter().find(|one| one.0 == section).map(|one| (one.1, one.2))
    else {
        return Vec::new();
    };
    let chunk_at = |at: usize| -> Option<u64> {
        let damaged = Change::Flip(at as u64 * 8).apply(bytes);
        let found = open(&damaged, identity).ok()?.0;
        found.iter().find(|damage| damage.section == section).and_then(|damage| damage.chunk)
    };
    let mut found = Vec::new();
    let mut at = start;
    while at < end && found.len() < CHUNKS_MAX {
        let Some(chunk) = chunk_at(at) else { break };
        // The first byte of the next chunk.
        let (mut low, mut high) = (at, end);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if chunk_at(middle) == Some(chunk) { low = middle } else { high = middle }
        }
        found.push(at..high);
        at = high;
    }
    found
}

/// The sections of a block, as name, start and end.
fn sections(
    bytes: &Arc<Vec<u8>>,
    identity: annals_block::BlockIdentity,
) -> Vec<(&'static str, usize, usize)> {
    let sealed = annals::vfs::Sealed::new(bytes.to_vec());
    let all = match identity.id.content {
        annals::BlockContent::RawMetrics => {
            annals_block::MetricBlock::open(sealed, identity, "").map(|block| block.sections())
        }
        annals::BlockContent::Rollup5m | annals::BlockContent::Rollup1h => {
            annals_block::RollupBlock::open(sealed, identity, "").map(|block| block.sections())
        }
        annals::BlockContent::RawSignals => {
            annals_block::SignalBlock::open(sealed, identity, "").map(|block| block.sections())
        }
    };
    let all = all.unwrap_or_default();
    all.into_iter().map(|s| (s.name, s.offset as usize, (s.offset + s.bytes) as usize)).collect()
}
