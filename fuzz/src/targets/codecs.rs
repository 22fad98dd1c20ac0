//! Codecs, index sections, groups of rows: the decoders inside a block and a record.

use std::sync::Arc;

use annals::signals::{builtin, decode_rows, encode_rows};
use annals::{CUSTOM_BUCKETS_SCHEMA, ChunkAge, Histogram, HistogramSample, LabelSet, MatchOp, Matcher};
use annals_block::fuzzing;

use crate::model::Choices;
use crate::seeds;

/// The count stands before the bytes, for a chunk does not say it itself.
fn counted(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&[low, high], rest) = bytes.split_first_chunk::<2>()?;
    Some((usize::from(u16::from_le_bytes([low, high])), rest))
}

pub(super) fn chunk_values(bytes: &[u8]) {
    let Some((count, bytes)) = counted(bytes) else { return };
    let decoded = fuzzing::decode_values(bytes, count);
    // The loops of each vector level are twins of the portable ones, also on bytes that nobody encoded.
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let mut reused = fuzzing::Reused::default();
    for level in 0..fuzzing::levels().len() {
        let mut values = Vec::new();
        let found = fuzzing::decode_values_on(level, bytes, count, &mut reused, &mut values);
        assert_eq!(found.then(|| bits(&values)), decoded.as_deref().map(bits), "level {level}");
    }
    if let Some(values) = decoded {
        assert_eq!(values.len(), count);
        if count > 0 {
            let again = fuzzing::encode_values(&values, ChunkAge::Fresh);
            let back = fuzzing::decode_values(&again, count).expect("our own chunk");
            assert!(back.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits()), "bits stay");
        }
    }
}

pub(super) fn chunk_numbers(bytes: &[u8]) {
    let Some((count, bytes)) = counted(bytes) else { return };
    if let Some((numbers, left)) = fuzzing::decode_numbers(bytes, count) {
        assert!(numbers.len() == count && left < bytes.len());
        if count > 0 {
            let again = fuzzing::encode_numbers(&numbers, ChunkAge::Fresh);
            assert_eq!(fuzzing::decode_numbers(&again, count), Some((numbers, 0)));
        }
    }
}

pub(super) fn chunk_histograms(bytes: &[u8]) {
    let Some((count, bytes)) = counted(bytes) else { return };
    if let Some(histograms) = fuzzing::decode_histograms(bytes, count) {
        assert_eq!(histograms.len(), count);
        if let Some(again) = fuzzing::encode_histograms(&histograms).filter(|_| count > 0) {
            let back = fuzzing::decode_histograms(&again, count).expect("our own chunk");
            let same = |(a, b): (&HistogramSample, &HistogramSample)| match (a, b) {
                (Some(a), Some(b)) => a.equals(b) && a.reset_hint == b.reset_hint,
                (a, b) => a.is_none() && b.is_none(),
            };
            assert!(back.iter().zip(&histograms).all(same), "bits stay");
        }
    }
}

/// Histograms of both sorts of buckets, whose counts grow.
pub(crate) fn histograms(count: u32) -> Vec<Histogram> {
    let of = |i: u32| {
        let bucket = |index: i32| (index, f64::from(i * 3 + index as u32));
        let exponential = i % 8 < 6;
        Histogram {
            schema: if exponential { 2 } else { CUSTOM_BUCKETS_SCHEMA },
            zero_threshold: if exponential { 0.001 } else { 0.0 },
            count: f64::from(i * 9 + 6),
            sum: f64::from(i) * 2.5,
            positive: (1..4).map(bucket).collect(),
            custom_bounds: if exponential { [].into() } else { [0.5, 1.0, 2.0, 4.0].into() },
            ..Histogram::default()
        }
    };
    (0..count).map(of).collect()
}

pub(super) fn histograms_seeds() -> Vec<Vec<u8>> {
    [1u16, 8, 100]
        .map(|count| {
            let mut samples: Vec<HistogramSample> =
                histograms(u32::from(count)).into_iter().map(|histogram| Some(Arc::new(histogram))).collect();
            if count > 1 {
                samples[1] = None;
            }
            [&count.to_le_bytes()[..], &fuzzing::encode_histograms(&samples).expect("one chunk")].concat()
        })
        .into()
}

pub(super) fn values_seeds() -> Vec<Vec<u8>> {
    let waves: [fn(usize) -> f64; 6] = [
        |i| i as f64,
        |i| (i * i % 97) as f64 / 10.0,
        |i| f64::from_bits((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        |i| if i % 50 == 0 { f64::NAN } else { 1.5 },
        |_| -0.0,
        |i| (i % 3) as f64,
    ];
    let chunk = |wave: &fn(usize) -> f64| -> [Vec<u8>; 2] {
        [ChunkAge::Fresh, ChunkAge::Merged].map(|age| {
            let values: Vec<f64> = (0..300).map(wave).collect();
            [&300u16.to_le_bytes()[..], &fuzzing::encode_values(&values, age)].concat()
        })
    };
    waves.iter().flat_map(chunk).collect()
}

pub(super) fn numbers_seeds() -> Vec<Vec<u8>> {
    let runs: [fn(i64) -> i64; 6] = [
        |i| i * 1000,
        |i| i * i,
        |i| (i * 7919) % 64,
        |i| i.wrapping_mul(i64::MAX / 3),
        |i| if i % 40 == 0 { i64::MIN } else { i % 5 },
        |_| 0,
    ];
    let run = |run: &fn(i64) -> i64| {
        let numbers: Vec<i64> = (0..300).map(run).collect();
        [&300u16.to_le_bytes()[..], &fuzzing::encode_numbers(&numbers, ChunkAge::Merged)].concat()
    };
    runs.iter().map(run).collect()
}

pub(super) fn block_index(bytes: &[u8]) {
    let Some((count, bytes)) = counted(bytes) else { return };
    fuzzing::read_index(bytes, count as u32);
}

/// Sections of blocks, as they are and with one cut off before as the symbols or the columns of the other.
pub(super) fn index_seeds() -> Vec<Vec<u8>> {
    let sections = seeds::sections();
    let find = |name: &str| sections.iter().find(|(found, _)| *found == name).map(|(_, bytes)| &bytes[..]);
    let mut all: Vec<Vec<u8>> = sections.iter().map(|(_, bytes)| [&[4, 0], &bytes[..]].concat()).collect();
    for (first, second) in [("symbols", "labels"), ("columns", "series")] {
        if let (Some(first), Some(second)) = (find(first), find(second)) {
            all.push([&[40, 0, first.len() as u8], first, second].concat());
        }
    }
    all
}

pub(super) fn row_group(bytes: &[u8]) {
    let Some((rows, bytes)) = counted(bytes) else { return };
    fuzzing::read_group(bytes, rows.min(4096) as u16);
}

pub(super) fn group_seeds() -> Vec<Vec<u8>> {
    let sections = seeds::sections();
    let find = |name: &'static str| sections.iter().filter(move |(found, _)| *found == name);
    let pairs = find("schemas").zip(find("rows"));
    pairs
        .map(|((_, schemas), (_, rows))| (schemas, rows))
        .map(|(schemas, rows)| [&[4, 0][..], &(schemas.len() as u16).to_le_bytes(), schemas, rows].concat())
        .collect()
}

pub(super) fn rows(bytes: &[u8]) {
    let schema = builtin();
    if let Ok(rows) = decode_rows(&schema, bytes) {
        assert!(rows.len() <= bytes.len());
        let mut again = Vec::new();
        encode_rows(&schema, &rows, &mut again);
        assert_eq!(decode_rows(&schema, &again).expect("our own rows"), rows);
    }
}

pub(super) fn labels(bytes: &[u8]) {
    if let Some(labels) = LabelSet::from_bytes(bytes) {
        assert_eq!(labels.as_bytes(), bytes, "one set has one form");
        let pairs = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(LabelSet::from_pairs(pairs).expect("it was valid"), labels);
        let _ = labels.to_string();
    }
    let mut choices = Choices(bytes);
    let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
    let op = ops[choices.below(ops.len())];
    let Ok(text) = std::str::from_utf8(choices.0) else { return };
    let (pattern, value) = text.split_once('\0').unwrap_or((text, ""));
    if let (Ok(matcher), Ok(opposite)) =
        (Matcher::new("a", op, pattern), Matcher::new("a", opposite(op), pattern))
    {
        assert_ne!(matcher.matches(value), opposite.matches(value), "{op:?} {pattern:?} {value:?}");
        assert_eq!(matcher.matches(""), matcher.matches_empty());
    }
}

fn opposite(op: MatchOp) -> MatchOp {
    match op {
        MatchOp::Equal => MatchOp::NotEqual,
        MatchOp::NotEqual => MatchOp::Equal,
        MatchOp::Regex => MatchOp::NotRegex,
        MatchOp::NotRegex => MatchOp::Regex,
    }
}

pub(super) fn labels_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&["\x01a\x01\0b", "\x08__name__\x02\0up", "\x02a|b.*[0-9]{1,3}\0b7", "\x03(?i)x?\0X"])
}
