//! Native histograms, which both versions write alike.

use annals::{HISTOGRAM_BUCKETS_MAX, Histogram, RefusalReason, ResetHint, Timestamp};

use super::super::series::Samples;
use super::began;
use crate::wire::{Broken, Field, Message, zigzag};

/// Its time, what it is where it can be one, and its start (0 where it says none).
type Decoded = (Timestamp, Result<Histogram, RefusalReason>, i64);

/// Takes a histogram of a series, which was created then (0: nobody says when).
pub(super) fn take_histogram(samples: &mut Samples<'_>, series: u32, own: Decoded, created: i64) {
    let (time, histogram, start) = own;
    match histogram {
        Ok(histogram) => samples.histogram(series, Some(time), histogram, began(start, created)),
        Err(reason) => samples.refuse(reason.word(), 1),
    }
}

/// A native histogram of either version.
pub(super) fn histogram(mut message: Message<'_>) -> Result<Decoded, Broken> {
    let mut own = Histogram::default();
    let (mut time, mut start, mut schema, mut bounds) = (0, 0, 0, Vec::new());
    let (mut negative, mut positive) = (Side::default(), Side::default());
    while let Some((number, field)) = message.next()? {
        match number {
            1 => own.count = field.varint(&message)? as f64,
            2 => own.count = field.double(&message)?,
            3 => own.sum = field.double(&message)?,
            4 => schema = zigzag(field.varint(&message)?),
            5 => own.zero_threshold = field.double(&message)?,
            6 => own.zero_count = field.varint(&message)? as f64,
            7 => own.zero_count = field.double(&message)?,
            8..=10 => negative.field(number - 8, field, &message)?,
            11..=13 => positive.field(number - 11, field, &message)?,
            14 => {
                own.reset_hint = match field.varint(&message)? {
                    1 => ResetHint::Reset,
                    2 => ResetHint::NotReset,
                    3 => ResetHint::Gauge,
                    _ => ResetHint::Unknown,
                }
            }
            15 => time = field.varint(&message)? as i64,
            17 => start = field.varint(&message)? as i64,
            16 => field.fixed64s(&message, HISTOGRAM_BUCKETS_MAX, &mut bounds)?,
            _ => {}
        }
    }
    let whole = || {
        own.schema = i8::try_from(schema).ok()?;
        own.positive = positive.buckets()?;
        own.negative = negative.buckets()?;
        own.custom_bounds = bounds.into_iter().map(f64::from_bits).collect();
        own.check().ok()?;
        Some(own)
    };
    Ok((Timestamp(time), whole().ok_or(RefusalReason::OutOfBounds), start))
}

/// The buckets on one side of zero: runs of them, and how much each differs from the one before, or what each counts.
#[derive(Default)]
struct Side {
    /// Gap before the run, and its length.
    spans: Vec<(i64, u64)>,
    deltas: Vec<u64>,
    counts: Vec<u64>,
}

impl Side {
    fn field(&mut self, which: u32, field: Field<'_>, of: &Message<'_>) -> Result<(), Broken> {
        match which {
            0 => {
                let mut span = field.message(of)?;
                let (mut gap, mut length) = (0, 0);
                while let Some((number, field)) = span.next()? {
                    match number {
                        1 => gap = zigzag(field.varint(&span)?),
                        2 => length = field.varint(&span)?,
                        _ => {}
                    }
                }
                if self.spans.len() == HISTOGRAM_BUCKETS_MAX {
                    return Err(of.broken());
                }
                self.spans.push((gap, length));
                Ok(())
            }
            1 => field.varints(of, HISTOGRAM_BUCKETS_MAX, &mut self.deltas),
            _ => field.fixed64s(of, HISTOGRAM_BUCKETS_MAX, &mut self.counts),
        }
    }

    /// Index and count of each bucket that counts anything; `None` where runs and counts do not fit.
    fn buckets(self) -> Option<Vec<(i32, f64)>> {
        let mut last = 0i64;
        let deltas = self.deltas.into_iter().map(|delta| {
            last = last.checked_add(zigzag(delta))?;
            Some(last as f64)
        });
        let mut counts = deltas.chain(self.counts.into_iter().map(|bits| Some(f64::from_bits(bits))));
        let mut buckets = Vec::new();
        let mut index = 0i64;
        for (gap, length) in self.spans {
            index = index.checked_add(gap)?;
            for _ in 0..length {
                // A run may claim any length: it ends with what there is.
                let count = counts.next()??;
                if count != 0.0 {
                    buckets.push((i32::try_from(index).ok()?, count));
                }
                index = index.checked_add(1)?;
            }
        }
        counts.next().is_none().then_some(buckets)
    }
}
