//! One file damaged: every bit flipped, every length, every sector, bytes appended, garbled, older generations.

use std::path::PathBuf;
use std::sync::Arc;

use annals::Encryption;

use super::change::Change;
use super::judge::Target;
use super::store::{Content, Fixed, build};
use super::{guarded, in_two};
use crate::campaign::{Report, Size};

/// Garbles of a full run.
const GARBLES: u64 = 100_000;

/// The files that are damaged, each kind once: `full` has the large ones, `small` those that a whole verification reads.
struct Targets {
    all: Vec<Target>,
}

impl Targets {
    fn new(full: &Fixed, small: &Fixed) -> Targets {
        let block = |part: &str| {
            let largest = full.files(part).into_iter().max_by_key(|path| full.read(path).len());
            Target::block(full, &largest.expect("the store has one"))
        };
        let segments: Vec<PathBuf> = full.files("/wal/");
        let newest = |part: &str| small.files(part).pop().expect("the store has one");
        let mut all = vec![block("/t/1/b/"), block("/t/1/s/")];
        // The oldest is closed; the newest may be one that was made ready and never used.
        all.extend(segments.first().map(|path| Target::segment(full, path)));
        all.extend(segments.iter().rev().take(2).rev().map(|path| Target::segment(full, path)));
        all.extend(
            // Sealed blocks by a verification with keys; those of the full store are plain, for the decoder alone.
            ["/t/1/manifest-", "/t/1/keys-", "/catalog-", "/keys/1-4.key", "/t/1/b/", "/t/1/s/"]
                .map(|part| Target::small(small, &newest(part))),
        );
        all.dedup_by(|a, b| a.path == b.path && Arc::ptr_eq(&a.bytes, &b.bytes));
        Targets { all }
    }

    /// The file and the number within it of one of all bits.
    fn bit(&self, mut number: u64) -> Option<(&Target, u64)> {
        for target in &self.all {
            let bits = target.bytes.len() as u64 * 8;
            if number < bits {
                return Some((target, number));
            }
            number -= bits;
        }
        None
    }
}

fn stores() -> (Fixed, Fixed) {
    (build(Content::FULL, Encryption::None), build(Content::SMALL, Encryption::Files))
}

fn judge(target: &Target, change: &Change, one: bool) -> Result<(), String> {
    let name = format_args!("{}: {change}", target.path.display()).to_string();
    guarded(&name, || target.judge(change.apply(&target.bytes), one))
}

/// Every bit of every file flipped; an evenly spread part of them where a count is given.
pub fn flips(size: &Size, report: &mut Report) {
    let (full, small) = stores();
    let targets = Targets::new(&full, &small);
    let bits: u64 = targets.all.iter().map(|target| target.bytes.len() as u64 * 8).sum();
    let count = size.count.unwrap_or(bits).min(bits);
    // A step that shares no factor with eight meets every bit of a byte.
    let step = (bits / count.max(1)).max(1) | 1;
    let case = |number: u64| match targets.bit(number.wrapping_mul(step) % bits) {
        Some((target, bit)) => judge(target, &Change::Flip(bit), true),
        None => Ok(()),
    };
    let exact = |number: u64| match targets.bit(number) {
        Some((target, bit)) => judge(target, &Change::Flip(bit), true),
        None => Ok(()),
    };
    let tally = if count == bits { in_two(size, bits, &exact) } else { in_two(size, count, &case) };
    tally.add_to(report, "flips");
    for target in &targets.all {
        let name = target.path.display();
        assert!(!target.bytes.is_empty(), "{name} is empty");
    }
}

/// Every truncation, sector, appended tail, older generation, and random garbles.
pub fn others(size: &Size, report: &mut Report) {
    let (full, small) = stores();
    let targets = Targets::new(&full, &small);
    let part = |all: u64| size.count.unwrap_or(all).min(all);
    let lengths: Vec<(&Target, u64)> = targets
        .all
        .iter()
        .flat_map(|target| (0..target.bytes.len() as u64).map(move |length| (target, length)))
        .collect();
    let count = part(lengths.len() as u64);
    let step = (lengths.len() as u64 / count.max(1)).max(1);
    let cut = |number: u64| match lengths.get((number * step) as usize) {
        Some((target, length)) => judge(target, &Change::Cut(*length), false),
        None => Ok(()),
    };
    in_two(size, count, &cut).add_to(report, "truncations");

    let changes: Vec<(&Target, Change)> = targets
        .all
        .iter()
        .flat_map(|target| {
            let of_file = Change::sectors(target.bytes.len() as u64).chain(Change::appends());
            of_file.map(move |change| (target, change))
        })
        .collect();
    let count = part(changes.len() as u64);
    let step = (changes.len() as u64 / count.max(1)).max(1);
    let sector = |number: u64| match changes.get((number * step) as usize) {
        Some((target, change)) => judge(target, change, false),
        None => Ok(()),
    };
    in_two(size, count, &sector).add_to(report, "sectors");

    let garble = |number: u64| {
        let target = &targets.all[(number % targets.all.len() as u64) as usize];
        judge(target, &Change::Garble(size.from.wrapping_add(number)), false)
    };
    in_two(size, part(GARBLES), &garble).add_to(report, "garbles");

    let older = |number: u64| {
        let target = &targets.all[number as usize];
        let name =
            target.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some((stem, _)) = name.rsplit_once("-0") else { return Ok(()) };
        let before = small
            .files(&format!("/{stem}-0"))
            .into_iter()
            .find(|path| *path != target.path && path.parent() == target.path.parent());
        let Some(before) = before else { return Ok(()) };
        judge(target, &Change::Replace("an older generation", Arc::clone(&small.read(&before))), true)
    };
    in_two(size, targets.all.len() as u64, &older).add_to(report, "older");
}
