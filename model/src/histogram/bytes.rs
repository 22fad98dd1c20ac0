//! A histogram as bytes, as records of the log carry it.
//!
//! | field            | type    | notes                                                                        |
//! |------------------|---------|------------------------------------------------------------------------------|
//! | `flags`          | u8      | bits 0 and 1: the reset hint; bit 2: counts are varints, being whole numbers   |
//! | `schema`         | i8      |                                                                              |
//! | `zero_threshold` | f64     |                                                                              |
//! | `sum`            | f64     |                                                                              |
//! | `zero_count`, `count` | count | 8 bytes, or a varint                                                       |
//! | `custom_bounds`  | number  | how many; 8 bytes each                                                         |
//! | `positive`       | number  | how many; per bucket the difference of its index to the one before (zigzag), count |
//! | `negative`       |         | the same                                                                     |

use super::{Histogram, ResetHint};
use crate::bytes::{Cursor, PutBytes};

/// Flag: counts are varints.
const WHOLE: u8 = 4;
/// Whole numbers below this are exact as doubles.
const WHOLE_END: f64 = (1u64 << 53) as f64;

impl ResetHint {
    /// The number that stands for the hint on disk.
    #[must_use]
    pub fn tag(self) -> u8 {
        match self {
            ResetHint::Unknown => 0,
            ResetHint::Reset => 1,
            ResetHint::NotReset => 2,
            ResetHint::Gauge => 3,
        }
    }

    /// The hint of a number read from disk.
    #[must_use]
    pub fn from_tag(tag: u8) -> Option<ResetHint> {
        let all = [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge];
        all.into_iter().find(|hint| hint.tag() == tag)
    }
}

fn is_whole(count: f64) -> bool {
    // Not -0.0, which a varint would lose.
    count.is_sign_positive() && count < WHOLE_END && count.fract() == 0.0
}

impl Histogram {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        let buckets = || self.positive.iter().chain(&self.negative).map(|(_, count)| *count);
        let whole = [self.zero_count, self.count].into_iter().chain(buckets()).all(is_whole);
        let put_count = |count: f64, out: &mut Vec<u8>| {
            if whole { out.put_varint(count as u64) } else { out.put_u64(count.to_bits()) }
        };
        out.put_u8(self.reset_hint.tag() | if whole { WHOLE } else { 0 });
        out.put_u8(self.schema as u8);
        out.put_u64(self.zero_threshold.to_bits());
        out.put_u64(self.sum.to_bits());
        put_count(self.zero_count, out);
        put_count(self.count, out);
        out.put_varint(self.custom_bounds.len() as u64);
        self.custom_bounds.iter().for_each(|bound| out.put_u64(bound.to_bits()));
        for side in [&self.positive, &self.negative] {
            out.put_varint(side.len() as u64);
            let mut before = 0;
            for &(index, count) in side {
                out.put_varint_signed(i64::from(index) - before);
                before = i64::from(index);
                put_count(count, out);
            }
        }
    }

    /// Reads one; `None` where the bytes are not one, or [`Histogram::check`] refuses it.
    #[must_use]
    pub fn read(cursor: &mut Cursor<'_>) -> Option<Histogram> {
        let flags = cursor.u8().filter(|flags| flags & !(WHOLE | 3) == 0)?;
        let whole = flags & WHOLE != 0;
        let double = |cursor: &mut Cursor<'_>| cursor.u64().map(f64::from_bits);
        let count = |cursor: &mut Cursor<'_>| match whole {
            true => cursor.varint().map(|count| count as f64),
            false => double(cursor),
        };
        let mut histogram = Histogram {
            reset_hint: ResetHint::from_tag(flags & 3)?,
            schema: cursor.u8()? as i8,
            zero_threshold: double(cursor)?,
            sum: double(cursor)?,
            zero_count: count(cursor)?,
            count: count(cursor)?,
            ..Histogram::default()
        };
        let bounds = cursor.count(8)?;
        histogram.custom_bounds = (0..bounds).map(|_| double(cursor)).collect::<Option<_>>()?;
        for side in [&mut histogram.positive, &mut histogram.negative] {
            let buckets = cursor.count(2)?;
            let mut before = 0i64;
            for _ in 0..buckets {
                before = before.checked_add(cursor.varint_signed()?)?;
                side.push((i32::try_from(before).ok()?, count(cursor)?));
            }
        }
        histogram.check().ok()?;
        Some(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CUSTOM_BUCKETS_SCHEMA;
    use proptest::prelude::*;

    fn buckets(least: i32, most: i32) -> impl Strategy<Value = Vec<(i32, f64)>> {
        let count = prop_oneof![(1u32..1000).prop_map(f64::from), any::<f64>()];
        prop::collection::btree_map(least..most, count, 0..20).prop_map(|side| side.into_iter().collect())
    }

    prop_compose! {
        fn exponential()(
            (hint, schema) in (0u8..4, -4i8..=8),
            (zero_threshold, zero_count, count, sum) in (0.0f64..1.0, 0u32..9, any::<u32>(), any::<f64>()),
            positive in buckets(-300, 300),
            negative in buckets(-300, 300),
        ) -> Histogram {
            let reset_hint = ResetHint::from_tag(hint).expect("below 4");
            let (zero_count, count) = (f64::from(zero_count), f64::from(count));
            let custom_bounds = [].into();
            Histogram { reset_hint, schema, zero_threshold, zero_count, count, sum, positive, negative, custom_bounds }
        }
    }

    prop_compose! {
        fn custom()(bounds in prop::collection::btree_set(-1000i32..1000, 21..40), positive in buckets(0, 20))
            -> Histogram {
            let custom_bounds = bounds.into_iter().map(f64::from).collect();
            Histogram { schema: CUSTOM_BUCKETS_SCHEMA, positive, custom_bounds, ..Histogram::default() }
        }
    }

    proptest! {
        #[test]
        fn bytes_give_back_every_bit(histogram in prop_oneof![exponential(), custom()], cut in any::<usize>()) {
            let mut bytes = Vec::new();
            histogram.put(&mut bytes);
            let mut cursor = Cursor::new(&bytes);
            let back = Histogram::read(&mut cursor).expect("what was put");
            prop_assert!(cursor.is_empty());
            prop_assert!(back.equals(&histogram) && back.reset_hint == histogram.reset_hint);
            prop_assert_eq!(Histogram::read(&mut Cursor::new(&bytes[..cut % bytes.len()])), None);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(histogram) = Histogram::read(&mut Cursor::new(&bytes)) {
                prop_assert_eq!(histogram.check(), Ok(()));
            }
        }
    }
}
