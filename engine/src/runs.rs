//! Runs: the samples of a head's series, a few bytes each, in one arena.
//!
//! A series' newest sample is kept as it is, since the next write often merges with it. The samples before it are a
//! chain of segments of 32, 64, 128, 256 bytes, then 256 each, so that a series with ten samples takes 32 bytes and one
//! with thousands little more than its samples. A segment:
//!
//! | bytes | field   | notes                                                                        |
//! |------:|---------|------------------------------------------------------------------------------|
//! |     4 | `next`  | the segment after it; of the last one, the first: a run knows its last only   |
//! |     8 | `first` | the stamp of its first sample, so that a reader can pass over a segment        |
//! |       | samples | until its bytes end or a head byte `END` says so                               |
//!
//! A sample is a head byte, then the difference of its stamp to what the step before it promised (zigzag, as many bytes as
//! the low half of the head says), then its value by the high half: 0 as before; 1 to 4 the difference of two whole
//! numbers, zigzag, in so many bytes; 8 to 15 the upper 1 to 8 bytes of the exclusive or with the bits before. A
//! segment starts anew: the stamp before is `first`, the value before 0. Regular samples of whole numbers take two bytes.
//!
//! What comes a little out of order, as from senders with several connections, is put in its place in the last segment:
//! what comes after it there is written again. What is older is kept beside the run, by stamp and already merged with what
//! the run holds there. Where that grows to a quarter of the run, both are written anew as one.

use std::collections::{BTreeMap, BTreeSet};

use annals_model::{Day, SeriesKind, TimeRange, Timestamp, merge_values};
use hashbrown::HashMap;

/// Bytes of a segment by its place in the chain; the last size goes on.
const SEGMENT_BYTES: [usize; 4] = [32, 64, 128, SEGMENT_BYTES_MAX];
/// Of longer ones less would be their headers, but more would be free at the end of a series, and is read for one stamp.
const SEGMENT_BYTES_MAX: usize = 256;
/// Segments are numbered by where they start in the arena, in units of this many bytes: 128 GiB in all.
const UNIT_BYTES: usize = 32;
const SEGMENT_HEADER_BYTES: usize = 12;
/// Head byte, stamp, value.
const SAMPLE_BYTES_MAX: usize = 17;
/// Head byte that ends a segment before its bytes do.
const END: u8 = 0x0f;
/// A run without a segment.
const NONE: u32 = u32::MAX;
/// Out-of-order samples below this number never cause a rewrite.
const LATE_MIN: usize = 32;
/// What a sample beside the run costs: its share of a tree's node.
const LATE_BYTES: usize = 40;
/// What the tree and its place in the map cost.
const LATE_SERIES_BYTES: usize = 64;
/// Whole numbers up to this are exact as doubles.
const WHOLE_MAX: u64 = 1 << 53;

const _: () = assert!(SEGMENT_HEADER_BYTES + SAMPLE_BYTES_MAX <= SEGMENT_BYTES[0]);

/// The samples of series that are known by number.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: Vec<Run>,
    arena: Vec<u8>,
    /// Segments that are free again, by size.
    free: [Vec<u32>; SEGMENT_BYTES.len()],
    late: HashMap<u32, BTreeMap<i64, f64>, foldhash::fast::FixedState>,
    late_samples: usize,
    /// What is written again, kept so that its memory is.
    after: Vec<Sample>,
    samples: u64,
    /// Stamps of the first and last sample.
    ends: Option<(i64, i64)>,
    days: BTreeSet<Day>,
    /// The day of the sample before, for which `days` need not be asked.
    day: (i64, i64),
}

/// One series' samples in order.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The newest sample, which is in no segment yet.
    last: Sample,
    /// The sample before it.
    before: Sample,
    /// Time between that one and the one before it; 0 where it begins a segment, or is too far from it.
    step: u32,
    /// The last segment.
    tail: u32,
    /// Samples, the newest included.
    count: u32,
    /// Bytes of the last segment that are in use.
    used: u16,
    /// How many segments there are, up to as many as there are sizes.
    segments: u8,
    /// None where the series' definition is lost: it takes no samples.
    kind: Option<SeriesKind>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    time: i64,
    value: f64,
}

const NO_SAMPLE: Sample = Sample { time: 0, value: 0.0 };

impl Runs {
    /// How many series are known.
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Adds a series without samples.
    pub(crate) fn push_series(&mut self, kind: Option<SeriesKind>) {
        reserve(&mut self.runs, 1);
        self.runs.push(Run {
            last: NO_SAMPLE,
            before: NO_SAMPLE,
            step: 0,
            tail: NONE,
            count: 0,
            used: 0,
            segments: 0,
            kind,
        });
    }

    /// The kind of a series; none where its definition is lost, or there is no such series.
    pub(crate) fn kind(&self, number: u32) -> Option<SeriesKind> {
        self.runs.get(number as usize)?.kind
    }

    /// Whether no sample of a series comes after this stamp.
    pub(crate) fn is_newest(&self, number: u32, time: i64) -> bool {
        self.runs.get(number as usize).is_none_or(|run| run.count == 0 || run.last.time <= time)
    }

    /// Adds a sample; false where there is no such series.
    pub(crate) fn add(&mut self, number: u32, time: i64, value: f64) -> bool {
        let Some(run) = self.runs.get_mut(number as usize) else { return false };
        let Some(kind) = run.kind else { return false };
        if run.count > 0 && time <= run.last.time {
            if time == run.last.time {
                run.last.value = merge_values(kind, run.last.value, value);
            } else {
                self.add_late(number, kind, time, value);
            }
            return true;
        }
        if run.count > 0 {
            run.seal_last(&mut self.arena, &mut self.free);
        }
        run.last = Sample { time, value };
        run.count += 1;
        self.count(time);
        true
    }

    fn count(&mut self, time: i64) {
        self.samples += 1;
        if time <= self.day.0 || time > self.day.1 {
            let day = Timestamp(time).day();
            self.day = (day.range().start.0, day.range().end.0);
            self.days.insert(day);
        }
        let (first, last) = self.ends.unwrap_or((time, time));
        self.ends = Some((first.min(time), last.max(time)));
    }

    /// Adds a sample that comes before the newest.
    fn add_late(&mut self, number: u32, kind: SeriesKind, time: i64, value: f64) {
        let Some(run) = self.runs.get(number as usize).copied() else { return };
        // Nothing beside the run comes so late.
        if self.segment(run.tail).is_some_and(|tail| tail.first <= time) {
            return self.insert(number, kind, Sample { time, value });
        }
        if let Some(held) = self.late.get_mut(&number).and_then(|late| late.get_mut(&time)) {
            *held = merge_values(kind, *held, value);
            return;
        }
        let there = self.held(&run, time);
        let late = self.late.entry(number).or_default();
        late.insert(time, there.map_or(value, |held| merge_values(kind, held, value)));
        self.late_samples += 1;
        let beside = late.len();
        if there.is_none() {
            self.count(time);
        }
        if beside > LATE_MIN.max(run.count as usize / 4) {
            self.rewrite(number);
        }
    }

    /// Puts a sample in its place in the last segment, which does not begin after it.
    fn insert(&mut self, number: u32, kind: SeriesKind, sample: Sample) {
        let mut after = std::mem::take(&mut self.after);
        let Some(run) = self.runs.get(number as usize) else { return };
        let Some(tail) = self.segment(run.tail) else { return };
        let mut before = tail.samples(usize::from(run.used));
        let mut rest = before;
        let mut next = rest.next();
        while next.is_some_and(|held| held.time < sample.time) {
            before = rest;
            next = rest.next();
        }
        let held = next.filter(|held| held.time == sample.time);
        let new = Sample {
            value: held.map_or(sample.value, |held| merge_values(kind, held.value, sample.value)),
            ..sample
        };
        let next = next.filter(|_| held.is_none());
        after.extend(next.into_iter().chain(rest));
        let (used, step, before) = (before.used as u16, before.step, before.sample);
        if let Some(run) = self.runs.get_mut(number as usize) {
            let newest = run.last;
            (run.used, run.step, run.before) = (used, step, before);
            for sample in std::iter::once(new).chain(after.drain(..)) {
                run.last = sample;
                run.seal_last(&mut self.arena, &mut self.free);
            }
            run.last = newest;
            run.count += u32::from(held.is_none());
        }
        self.after = after;
        if held.is_none() {
            self.count(sample.time);
        }
    }

    /// What the run's segments hold at a stamp.
    fn held(&self, run: &Run, time: i64) -> Option<f64> {
        let mut held = None;
        self.walk(run, TimeRange::new(Timestamp(time.saturating_sub(1)), Timestamp(time)), &mut |sample| {
            held = Some(sample.value);
        });
        held
    }

    /// Makes one run of a series' run and what came out of order.
    fn rewrite(&mut self, number: u32) {
        let (mut times, mut values) = (Vec::new(), Vec::new());
        self.read(number, TimeRange::ALL, &mut times, &mut values);
        self.late_samples -= self.late.remove(&number).map_or(0, |late| late.len());
        let Some(run) = self.runs.get_mut(number as usize) else { return };
        run.release(&self.arena, &mut self.free);
        for (time, value) in times.into_iter().zip(values) {
            if run.count > 0 {
                run.seal_last(&mut self.arena, &mut self.free);
            }
            run.last = Sample { time, value };
            run.count += 1;
        }
    }

    /// Appends a series' samples in a range, ascending.
    pub(crate) fn read(&self, number: u32, range: TimeRange, times: &mut Vec<i64>, values: &mut Vec<f64>) {
        let Some(run) = self.runs.get(number as usize) else { return };
        let Some(late) = self.late.get(&number) else {
            self.walk(run, range, &mut |sample| {
                times.push(sample.time);
                values.push(sample.value);
            });
            return;
        };
        let mut late = late.iter().map(|(&time, &value)| Sample { time, value }).peekable();
        let mut push = |sample: Sample| {
            if range.contains(Timestamp(sample.time)) {
                times.push(sample.time);
                values.push(sample.value);
            }
        };
        self.walk(run, range, &mut |sample| {
            while let Some(before) = late.next_if(|late| late.time < sample.time) {
                push(before);
            }
            // It was merged with what the run holds.
            push(late.next_if(|late| late.time == sample.time).unwrap_or(sample));
        });
        late.for_each(push);
    }

    /// Whether a series may have samples in a range.
    pub(crate) fn may_overlap(&self, number: u32, range: TimeRange) -> bool {
        let Some(run) = self.runs.get(number as usize).filter(|run| run.count > 0) else { return false };
        let late = self.late.get(&number).and_then(|late| late.keys().next());
        let first = self.segment(run.tail).and_then(|tail| self.segment(tail.next)).map(|first| first.first);
        let first = first.unwrap_or(run.last.time).min(late.copied().unwrap_or(i64::MAX));
        run.last.time > range.start.0 && first <= range.end.0
    }

    /// Hands out a run's samples in a range, without those that came out of order.
    fn walk(&self, run: &Run, range: TimeRange, each: &mut dyn FnMut(Sample)) {
        if run.count == 0 {
            return;
        }
        let mut at = if run.tail == NONE { None } else { self.segment(run.tail).map(|tail| tail.next) };
        let mut place = 0;
        while let Some(number) = at {
            let Some(segment) = self.segment(number) else { break };
            if segment.first > range.end.0 {
                return;
            }
            let is_tail = number == run.tail;
            let follows =
                if is_tail { Some(run.last.time) } else { self.segment(segment.next).map(|s| s.first) };
            // Every sample comes before the first of what follows.
            if follows.is_none_or(|first| first.saturating_sub(1) > range.start.0) {
                let size = segment_bytes(place);
                let end = if is_tail { usize::from(run.used) } else { size };
                decode(segment, end, range, each);
            }
            at = (!is_tail).then_some(segment.next);
            place += 1;
        }
        if range.contains(Timestamp(run.last.time)) {
            each(run.last);
        }
    }

    fn segment(&self, number: u32) -> Option<Segment<'_>> {
        let bytes = self.arena.get(number as usize * UNIT_BYTES..)?;
        let (next, rest) = bytes.split_first_chunk()?;
        let (first, _) = rest.split_first_chunk()?;
        Some(Segment { next: u32::from_le_bytes(*next), first: i64::from_le_bytes(*first), bytes })
    }

    /// Forgets all samples, and gives their memory back.
    pub(crate) fn clear(&mut self) {
        let mut runs = std::mem::take(&mut self.runs);
        for run in &mut runs {
            *run = Run {
                last: NO_SAMPLE,
                before: NO_SAMPLE,
                tail: NONE,
                step: 0,
                count: 0,
                used: 0,
                segments: 0,
                ..*run
            };
        }
        *self = Runs { runs, ..Runs::default() };
    }

    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Stamps of the first and last sample of all.
    pub(crate) fn ends(&self) -> Option<(Timestamp, Timestamp)> {
        self.ends.map(|(first, last)| (Timestamp(first), Timestamp(last)))
    }

    /// The days that have samples.
    pub(crate) fn days(&self) -> impl Iterator<Item = Day> + '_ {
        self.days.iter().copied()
    }

    /// Bytes that are allocated.
    pub(crate) fn bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
            + self.arena.capacity()
            + self.free.iter().map(|free| free.capacity() * size_of::<u32>()).sum::<usize>()
            + self.late_samples * LATE_BYTES
            + self.late.capacity() * LATE_SERIES_BYTES
    }
}

impl Run {
    /// Writes the newest sample into the last segment, so that another can take its place.
    fn seal_last(&mut self, arena: &mut Vec<u8>, free: &mut [Vec<u32>; SEGMENT_BYTES.len()]) {
        let Sample { time, value } = self.last;
        let gap = time.wrapping_sub(self.before.time);
        if self.tail != NONE {
            let (encoded, len) = encode(gap.wrapping_sub(i64::from(self.step)), self.before.value, value);
            let used = usize::from(self.used);
            let start = self.tail as usize * UNIT_BYTES + used;
            let size = segment_bytes(usize::from(self.segments) - 1);
            if used + len <= size {
                if let (Some(into), Some(from)) = (arena.get_mut(start..start + len), encoded.get(..len)) {
                    into.copy_from_slice(from);
                }
                self.used += len as u16;
                self.step = u32::try_from(gap).unwrap_or(0);
                self.before = self.last;
                return;
            }
            if used < size
                && let Some(end) = arena.get_mut(start)
            {
                *end = END;
            }
        }
        self.begin_segment(arena, free);
    }

    /// Puts the newest sample at the start of a new segment.
    fn begin_segment(&mut self, arena: &mut Vec<u8>, free: &mut [Vec<u32>; SEGMENT_BYTES.len()]) {
        let place = usize::from(self.segments);
        let size = segment_bytes(place);
        let recycled = free.get_mut(place.min(SEGMENT_BYTES.len() - 1)).and_then(Vec::pop);
        let number = recycled.unwrap_or_else(|| {
            let number = arena.len() / UNIT_BYTES;
            reserve(arena, size);
            arena.resize(arena.len() + size, 0);
            u32::try_from(number).expect("the limit on heads is far below 128 GiB")
        });
        let link = |arena: &mut Vec<u8>, of: u32, to: u32| -> u32 {
            let at = of as usize * UNIT_BYTES;
            let Some(next) = arena.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<4>) else { return to };
            u32::from_le_bytes(std::mem::replace(next, to.to_le_bytes()))
        };
        let first = if self.tail == NONE { number } else { link(arena, self.tail, number) };
        link(arena, number, first);
        let (encoded, len) = encode(0, 0.0, self.last.value);
        let start = number as usize * UNIT_BYTES;
        let end = SEGMENT_HEADER_BYTES + len;
        if let (Some(into), Some(value)) = (arena.get_mut(start + 4..start + end), encoded.get(..len)) {
            let (first, sample) = into.split_at_mut(8);
            first.copy_from_slice(&self.last.time.to_le_bytes());
            sample.copy_from_slice(value);
        }
        self.tail = number;
        self.used = end as u16;
        self.segments = self.segments.saturating_add(1).min(SEGMENT_BYTES.len() as u8);
        self.step = 0;
        self.before = self.last;
    }

    /// Gives the segments back and forgets the samples.
    fn release(&mut self, arena: &[u8], free: &mut [Vec<u32>; SEGMENT_BYTES.len()]) {
        let next = |of: u32| -> Option<u32> {
            let next = arena.get(of as usize * UNIT_BYTES..)?.first_chunk()?;
            Some(u32::from_le_bytes(*next))
        };
        let mut at = if self.tail == NONE { None } else { next(self.tail) };
        let mut place = 0;
        while let Some(number) = at {
            if let Some(free) = free.get_mut(usize::min(place, SEGMENT_BYTES.len() - 1)) {
                free.push(number);
            }
            at = if number == self.tail { None } else { next(number) };
            place += 1;
        }
        *self = Run { before: NO_SAMPLE, tail: NONE, step: 0, count: 0, used: 0, segments: 0, ..*self };
    }
}

#[derive(Clone, Copy)]
struct Segment<'a> {
    next: u32,
    first: i64,
    /// From its start to the arena's end.
    bytes: &'a [u8],
}

/// Bytes of the segment at a place in a chain.
fn segment_bytes(place: usize) -> usize {
    SEGMENT_BYTES.get(place).copied().unwrap_or(SEGMENT_BYTES_MAX)
}

/// Makes room for more without doubling: what is reserved and not used is a ninth at most.
pub(crate) fn reserve<T>(vec: &mut Vec<T>, more: usize) {
    if vec.capacity() - vec.len() < more {
        vec.reserve_exact(more.max(vec.len() / 8).max(8));
    }
}

fn whole(value: f64) -> Option<i64> {
    let number = value as i64;
    let exact = (number as f64).to_bits() == value.to_bits() && number.unsigned_abs() < WHOLE_MAX;
    exact.then_some(number)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// A sample's bytes, and how many: the difference of its stamp to what was expected, and its value after another.
fn encode(time: i64, before: f64, value: f64) -> ([u8; 24], usize) {
    let mut out = [0; 24];
    let time = zigzag(time);
    let time_bytes = (64 - time.leading_zeros() as usize).div_ceil(8);
    let (form, value_bits, value_bytes) = encode_value(before, value);
    out[0] = time_bytes as u8 | form << 4;
    out[1..9].copy_from_slice(&time.to_le_bytes());
    if let Some(into) = out.get_mut(1 + time_bytes..9 + time_bytes) {
        into.copy_from_slice(&value_bits.to_le_bytes());
    }
    (out, 1 + time_bytes + value_bytes)
}

/// The form of a value, the bits that are written, and how many bytes of them.
fn encode_value(before: f64, value: f64) -> (u8, u64, usize) {
    let xor = before.to_bits() ^ value.to_bits();
    if xor == 0 {
        return (0, 0, 0);
    }
    if let Some(number) = whole(value) {
        let difference = zigzag(number - whole(before).unwrap_or(0));
        if difference <= u64::from(u32::MAX) {
            let bytes = (64 - difference.leading_zeros() as usize).div_ceil(8).max(1);
            return (bytes as u8, difference, bytes);
        }
    }
    let zeros = xor.trailing_zeros() as usize / 8;
    let bytes = 8 - zeros;
    (7 + bytes as u8, xor >> (8 * zeros), bytes)
}

impl<'a> Segment<'a> {
    /// Its samples, where it ends at `end`.
    fn samples(self, end: usize) -> SegmentSamples<'a> {
        let bytes = self.bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default();
        SegmentSamples {
            bytes,
            used: SEGMENT_HEADER_BYTES,
            end,
            sample: Sample { time: self.first, value: 0.0 },
            number: 0,
            step: 0,
        }
    }
}

/// The samples of a segment, in order.
#[derive(Clone, Copy)]
struct SegmentSamples<'a> {
    /// From the next sample to the arena's end.
    bytes: &'a [u8],
    /// How many bytes of the segment went by.
    used: usize,
    end: usize,
    /// The sample that came before.
    sample: Sample,
    /// Its value as a whole number, 0 where it is none: what comes next does not wait for a conversion and back.
    number: i64,
    /// Time between that one and the one before it, as [`Run`] has it.
    step: u32,
}

impl Iterator for SegmentSamples<'_> {
    type Item = Sample;

    #[inline(always)]
    fn next(&mut self) -> Option<Sample> {
        if self.used >= self.end {
            return None;
        }
        let (&head, rest) = self.bytes.split_first().filter(|(head, _)| **head != END)?;
        let (time_bytes, form) = (usize::from(head & 0x0f), head >> 4);
        let value_bytes = usize::from(if form >= 8 { form - 7 } else { form });
        let difference = low_bytes(rest, time_bytes);
        let rest = rest.get(time_bytes..).unwrap_or_default();
        let bits = low_bytes(rest, value_bytes);
        match form {
            0 => {}
            1..=7 => {
                self.number += unzigzag(bits);
                self.sample.value = self.number as f64;
            }
            _ => {
                let before = self.sample.value.to_bits();
                self.sample.value = f64::from_bits(before ^ (bits << (64 - 8 * value_bytes)));
                self.number = whole(self.sample.value).unwrap_or(0);
            }
        }
        // The first one's stamp is in the header.
        if self.used > SEGMENT_HEADER_BYTES {
            let gap = i64::from(self.step).wrapping_add(unzigzag(difference));
            self.sample.time = self.sample.time.wrapping_add(gap);
            self.step = u32::try_from(gap).unwrap_or(0);
        }
        self.bytes = rest.get(value_bytes..).unwrap_or_default();
        self.used += 1 + time_bytes + value_bytes;
        Some(self.sample)
    }
}

/// Hands out the samples in a range of a segment that ends at `end`.
fn decode(segment: Segment<'_>, end: usize, range: TimeRange, each: &mut dyn FnMut(Sample)) {
    for sample in segment.samples(end) {
        if sample.time > range.end.0 {
            return;
        }
        if sample.time > range.start.0 {
            each(sample);
        }
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The number in the first `count` bytes, at most 8.
fn low_bytes(bytes: &[u8], count: usize) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(_) if count == 0 => 0,
        Some(eight) => u64::from_le_bytes(*eight) & (u64::MAX >> (64 - 8 * count)),
        // At the arena's end.
        None => bytes.iter().take(count).rev().fold(0, |number, &byte| number << 8 | u64::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            (-1000i32..1000).prop_map(f64::from),
            any::<i64>().prop_map(|number| number as f64),
            (-9000i32..9000).prop_map(|number| f64::from(number) / 100.0),
            any::<u64>().prop_map(f64::from_bits),
            Just(-0.0),
        ]
    }

    fn check(kind: SeriesKind, samples: &[(i64, f64)]) -> Result<(), TestCaseError> {
        let mut runs = Runs::default();
        runs.push_series(Some(SeriesKind::Gauge));
        runs.push_series(Some(kind));
        let mut expected: BTreeMap<i64, f64> = BTreeMap::new();
        for (at, &(time, value)) in samples.iter().enumerate() {
            prop_assert!(runs.add(1, time, value));
            // Another series' segments lie in between.
            runs.add(0, at as i64, value);
            let held = expected.get(&time).map_or(value, |&held| merge_values(kind, held, value));
            expected.insert(time, held);
        }
        prop_assert_eq!(runs.samples(), (expected.len() + samples.len()) as u64);
        let middle = expected.keys().nth(expected.len() / 2).copied().unwrap_or(0);
        let ranges = [(i64::MIN, i64::MAX), (i64::MIN, middle), (middle, i64::MAX), (middle - 5, middle + 5)];
        for (start, end) in ranges {
            let (mut times, mut values) = (Vec::new(), Vec::new());
            runs.read(1, TimeRange::new(Timestamp(start), Timestamp(end)), &mut times, &mut values);
            let inside = || expected.iter().filter(|(time, _)| (**time > start) && (**time <= end));
            prop_assert_eq!(times, inside().map(|(&time, _)| time).collect::<Vec<_>>());
            let bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
            prop_assert_eq!(bits, inside().map(|(_, value)| value.to_bits()).collect::<Vec<_>>());
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn samples_in_any_order_end_up_merged_and_ascending(
            samples in prop::collection::vec((0i64..300, value()), 1..500),
            delta in any::<bool>(),
        ) {
            check(if delta { SeriesKind::Delta } else { SeriesKind::Counter }, &samples)?;
        }

        #[test]
        fn stamps_at_any_distance_come_back(
            mut samples in prop::collection::vec((i64::MIN / 2..i64::MAX / 2, value()), 1..300),
            ascending in any::<bool>(),
        ) {
            if ascending {
                samples.sort_by_key(|sample| sample.0);
            }
            check(SeriesKind::Gauge, &samples)?;
        }
    }

    #[test]
    fn ten_regular_samples_of_small_whole_numbers_take_one_segment() {
        let mut runs = Runs::default();
        runs.push_series(Some(SeriesKind::Gauge));
        for at in 0..10 {
            runs.add(0, 1_793_491_200_000 + at * 10_000, f64::from(at as i32 * 37 % 100));
        }
        assert_eq!(runs.arena.len(), SEGMENT_BYTES[0]);
        assert_eq!(size_of::<Run>(), 48);
    }

    #[test]
    fn what_several_connections_bring_is_put_in_its_place() {
        let (mut in_order, mut mixed) = (Runs::default(), Runs::default());
        for runs in [&mut in_order, &mut mixed] {
            runs.push_series(Some(SeriesKind::Gauge));
        }
        for at in 0..4_000i64 {
            let value = |at: i64| (at * 37 % 100) as f64;
            in_order.add(0, at * 10_000, value(at));
            // Eight at a time, the last first.
            let at = at ^ 7;
            mixed.add(0, at * 10_000, value(at));
        }
        assert!(mixed.late_samples < 300, "{}", mixed.late_samples);
        let all = |runs: &Runs| {
            let (mut times, mut values) = (Vec::new(), Vec::new());
            runs.read(0, TimeRange::ALL, &mut times, &mut values);
            (times, values)
        };
        assert_eq!(all(&mixed), all(&in_order));
        assert_eq!(mixed.samples(), in_order.samples());
        assert_eq!(mixed.runs[0].count as usize + mixed.late_samples, 4_000);
    }

    #[test]
    fn rewritten_runs_use_the_segments_of_the_old_ones() {
        let mut runs = Runs::default();
        runs.push_series(Some(SeriesKind::Gauge));
        let mut sizes = Vec::new();
        for round in 0..20 {
            for at in 0..100 {
                runs.add(0, at * 40 + 20 - round, 0.5);
            }
            sizes.push(runs.bytes());
        }
        let mut times = Vec::new();
        runs.read(0, TimeRange::ALL, &mut times, &mut Vec::new());
        assert_eq!(times.len(), 2_000);
        assert!(runs.bytes() < 2_000 * 24, "{sizes:?}");
    }
}
