//! The values of a chunk: a run of whole numbers that stand for doubles.
//!
//! | bytes   | field        | notes                                                                        |
//! |--------:|--------------|------------------------------------------------------------------------------|
//! |       1 | `form`       | bits 0 and 1: [`Mapping`]; bit 2: has exceptions; bits 3 to 7: the exponent, |
//! |         |              | 0 to 22; with `Decimal` only, else zero                                      |
//! |  varint | `exceptions` | only where bit 2 says so; then per exception gap to the one before (varint), |
//! |         |              | and the double (8 bytes)                                                     |
//! |         | `run`        | `ints.rs`; with `Raw` the doubles, 8 bytes each                              |
//!
//! `Decimal`: the double nearest to `m / 10^exponent`. The division is correctly rounded and both sides of it
//! are exact up to 2^53 and 10^22, so every double that was once written with up to 15 digits comes back. The
//! encoder takes a value only where it does, bit for bit; others (NaN, infinities, -0.0) are exceptions.
//! `Bits`: the double's bits as a signed number. `Raw` is the form of last resort.

use annals_model::bytes::{Cursor, PutBytes};

use super::ints::{self, Effort, IntEncoder, Packing};
use crate::squeeze::Unsqueezer;

/// 10^22 is the last power of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// Up to here every whole number is a double.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
/// Adding and subtracting it rounds doubles below 2^51 to whole ones, without a call into a library.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
const HAS_EXCEPTIONS: u8 = 0x04;
const EXPONENT_SHIFT: u32 = 3;
/// More exceptions than one in this many, and the decimal form is not tried.
const EXCEPTIONS_ONE_IN: usize = 8;
/// How many values are looked at before all are.
const PROBES: usize = 32;

/// What the whole numbers stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mapping {
    Raw = 0,
    Bits = 1,
    Decimal = 2,
}

/// Encodes chunks of values; holds what is reused from chunk to chunk.
pub(crate) struct ValueEncoder {
    pub(crate) ints: IntEncoder,
    unsqueezer: Unsqueezer,
    numbers: Vec<i64>,
    check: Vec<f64>,
}

impl ValueEncoder {
    pub(crate) fn new() -> ValueEncoder {
        ValueEncoder {
            ints: IntEncoder::new(),
            unsqueezer: Unsqueezer::default(),
            numbers: Vec::new(),
            check: Vec::new(),
        }
    }

    /// Appends the smallest form that the effort allows. What is appended has been decoded and compared.
    pub(crate) fn encode(&mut self, values: &[f64], effort: Effort, out: &mut Vec<u8>) {
        let mut best: Option<Vec<u8>> = None;
        let exponents = exponents(values);
        let mut needs_bits = exponents.is_empty() || effort == Effort::Small;
        for exponent in exponents {
            let mut bytes = Vec::new();
            let exceptions = self.encode_decimal(values, exponent, effort, &mut bytes);
            needs_bits = if exceptions == 0 && exponent <= 3 { false } else { needs_bits };
            if best.as_ref().is_none_or(|best| bytes.len() < best.len()) {
                best = Some(bytes);
            }
        }
        if needs_bits {
            let mut bytes = vec![Mapping::Bits as u8];
            self.numbers.clear();
            self.numbers.extend(values.iter().map(|value| value.to_bits() as i64));
            self.ints.encode(&self.numbers, effort, &mut bytes);
            if best.as_ref().is_none_or(|best| bytes.len() < best.len()) {
                best = Some(bytes);
            }
        }
        let best = best.filter(|bytes| bytes.len() < 1 + 8 * values.len() && self.decodes_to(bytes, values));
        match best {
            Some(bytes) => out.put(&bytes),
            None => {
                out.put_u8(Mapping::Raw as u8);
                values.iter().for_each(|value| out.put(&value.to_bits().to_le_bytes()));
            }
        }
    }

    /// Appends the decimal form with this exponent; returns how many values are exceptions.
    fn encode_decimal(&mut self, values: &[f64], exponent: u8, effort: Effort, out: &mut Vec<u8>) -> usize {
        let power = power(exponent);
        let mut exceptions: Vec<(usize, f64)> = Vec::new();
        // An exception repeats its neighbour in the run, which costs the least there.
        let mut last = values.iter().find_map(|&value| decimal(value, power)).unwrap_or(0);
        self.numbers.clear();
        for (position, &value) in values.iter().enumerate() {
            match decimal(value, power) {
                Some(number) => last = number,
                None => exceptions.push((position, value)),
            }
            self.numbers.push(last);
        }
        let flag = if exceptions.is_empty() { 0 } else { HAS_EXCEPTIONS };
        out.put_u8(Mapping::Decimal as u8 | flag | exponent << EXPONENT_SHIFT);
        if !exceptions.is_empty() {
            out.put_varint(exceptions.len() as u64);
            let mut next = 0;
            for &(position, value) in &exceptions {
                out.put_varint((position - next) as u64);
                out.put(&value.to_bits().to_le_bytes());
                next = position + 1;
            }
        }
        self.ints.encode(&self.numbers, effort, out);
        exceptions.len()
    }

    fn decodes_to(&mut self, bytes: &[u8], values: &[f64]) -> bool {
        self.check.clear();
        let decoded = decode(
            bytes,
            values.len(),
            &mut self.unsqueezer,
            &mut self.numbers,
            0..values.len(),
            &mut self.check,
        );
        decoded.is_some()
            && self.check.len() == values.len()
            && self.check.iter().zip(values).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

/// Appends the values at `positions` of a chunk of `count`; `None`, with nothing appended, where the bytes are
/// not that. The caller bounds `count`.
pub(crate) fn decode(
    bytes: &[u8],
    count: usize,
    unsqueezer: &mut Unsqueezer,
    numbers: &mut Vec<i64>,
    positions: std::ops::Range<usize>,
    out: &mut Vec<f64>,
) -> Option<()> {
    let mut cursor = Cursor::new(bytes);
    let (mapping, has_exceptions, power) = parse_form(cursor.u8()?)?;
    if mapping == Mapping::Raw {
        let (doubles, rest) = cursor.take(cursor.remaining())?.as_chunks::<8>();
        (doubles.len() == count && rest.is_empty()).then_some(())?;
        out.extend(doubles.get(positions)?.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        return Some(());
    }
    let exceptions = if has_exceptions { cursor.count(9)? } else { 0 };
    let mut exception_cursor = cursor.clone();
    for _ in 0..exceptions {
        cursor.varint()?;
        cursor.u64()?;
    }
    ints::decode(&mut cursor, count, unsqueezer, numbers)?;
    cursor.is_empty().then_some(())?;
    let first = out.len();
    let taken = numbers.get(positions.clone())?;
    match mapping {
        Mapping::Decimal if power == 1.0 => out.extend(taken.iter().map(|&number| number as f64)),
        Mapping::Decimal => out.extend(taken.iter().map(|&number| number as f64 / power)),
        Mapping::Raw | Mapping::Bits => out.extend(taken.iter().map(|&number| f64::from_bits(number as u64))),
    }
    let mut next = 0usize;
    for _ in 0..exceptions {
        let at = exception_cursor.varint().and_then(|gap| next.checked_add(usize::try_from(gap).ok()?));
        let (Some(at), Some(bits)) = (at.filter(|&at| at < count), exception_cursor.u64()) else {
            out.truncate(first);
            return None;
        };
        if let Some(value) = at.checked_sub(positions.start).and_then(|at| out.get_mut(first..)?.get_mut(at))
        {
            *value = f64::from_bits(bits);
        }
        next = at + 1;
    }
    Some(())
}

/// The name of a chunk's codec, for people.
pub(crate) fn codec_name(bytes: &[u8]) -> Option<&'static str> {
    let mut cursor = Cursor::new(bytes);
    let (mapping, has_exceptions, _) = parse_form(cursor.u8()?)?;
    if mapping == Mapping::Raw {
        return Some("raw");
    }
    for _ in 0..if has_exceptions { cursor.count(9)? } else { 0 } {
        cursor.varint()?;
        cursor.u64()?;
    }
    let (_, packing, _) = ints::parse_form(cursor.u8()?)?;
    Some(match (mapping, packing) {
        (Mapping::Decimal, Packing::Zero) => "decimal line",
        (Mapping::Decimal, Packing::Packed) => "decimal packed",
        (Mapping::Decimal, Packing::Squeezed) => "decimal squeezed",
        (Mapping::Decimal, Packing::Entropy) => "decimal entropy",
        (_, Packing::Zero) => "bits line",
        (_, Packing::Packed) => "bits packed",
        (_, Packing::Squeezed) => "bits squeezed",
        (_, Packing::Entropy) => "bits entropy",
    })
}

/// The mapping of a form byte, whether there are exceptions, and the power of ten that divides.
fn parse_form(form: u8) -> Option<(Mapping, bool, f64)> {
    let mapping = *[Mapping::Raw, Mapping::Bits, Mapping::Decimal].get(usize::from(form & 0x03))?;
    let power = *POWERS.get(usize::from(form >> EXPONENT_SHIFT))?;
    (mapping == Mapping::Decimal || form == mapping as u8).then_some(())?;
    Some((mapping, form & HAS_EXCEPTIONS != 0, power))
}

fn power(exponent: u8) -> f64 {
    POWERS.get(usize::from(exponent)).copied().unwrap_or(1.0)
}

/// The whole number that gives the value back, bit for bit.
fn decimal(value: f64, power: f64) -> Option<i64> {
    let scaled = value * power;
    let number =
        if scaled.abs() < WHOLE_MAX / 4.0 { ((scaled + ROUNDER) - ROUNDER) as i64 } else { scaled as i64 };
    let whole = number as f64;
    (power == 1.0 || whole.abs() <= WHOLE_MAX)
        .then_some(number)
        .filter(|_| (whole / power).to_bits() == value.to_bits())
}

/// The least exponent that gives the value back.
fn least_exponent(value: f64) -> Option<u8> {
    for (exponent, &power) in POWERS.iter().enumerate() {
        if decimal(value, power).is_some() {
            return u8::try_from(exponent).ok();
        }
        // Also where it is not a number.
        if (value * power).abs().partial_cmp(&WHOLE_MAX) != Some(std::cmp::Ordering::Less) {
            return None;
        }
    }
    None
}

/// The exponents worth trying: the least that leaves few exceptions, and the greatest that any value needs.
fn exponents(values: &[f64]) -> Vec<u8> {
    let stride = (values.len() / PROBES).max(1);
    let probes = values.iter().step_by(stride);
    let (count, exact) = (probes.clone().count(), probes.filter(|&&v| least_exponent(v).is_some()).count());
    if exact * 2 < count {
        return Vec::new();
    }
    let mut needed = [0usize; POWERS.len()];
    for exponent in values.iter().filter_map(|&value| least_exponent(value)) {
        if let Some(count) = needed.get_mut(usize::from(exponent)) {
            *count += 1;
        }
    }
    let mut exceptions = values.len();
    let mut found: Vec<u8> = Vec::new();
    for (exponent, &count) in (0u8..).zip(&needed) {
        exceptions -= count;
        if count > 0 && exceptions <= values.len() / EXCEPTIONS_ONE_IN {
            // Only the first and the last are of interest.
            found.truncate(1);
            found.push(exponent);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;
    use proptest::prelude::*;

    fn round_trip(values: &[f64], effort: Effort) -> Vec<u8> {
        let mut bytes = Vec::new();
        ValueEncoder::new().encode(values, effort, &mut bytes);
        let (mut back, mut numbers) = (vec![0.5], Vec::new());
        let mut unsqueezer = Unsqueezer::default();
        let decoded = decode(&bytes, values.len(), &mut unsqueezer, &mut numbers, 0..values.len(), &mut back);
        assert_eq!(decoded, Some(()));
        assert_eq!(back.remove(0), 0.5, "decoding appends");
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(values));
        let part = values.len() / 3..values.len() - values.len() / 4;
        back.clear();
        let decoded = decode(&bytes, values.len(), &mut unsqueezer, &mut numbers, part.clone(), &mut back);
        assert_eq!(decoded, Some(()));
        assert_eq!(bits(&back), bits(&values[part]));
        assert!(codec_name(&bytes).is_some());
        bytes
    }

    const ODD: [u64; 16] = [
        annals_model::STALE_NAN_BITS,
        0x7ff8_0000_0000_0000,
        0xfff8_dead_beef_0001,
        0x7ff0_0000_0000_0001,
        0x8000_0000_0000_0000,
        0,
        0x7ff0_0000_0000_0000,
        0xfff0_0000_0000_0000,
        1,
        0x800f_ffff_ffff_ffff,
        0x7fef_ffff_ffff_ffff,
        0x0010_0000_0000_0000,
        0x43e0_0000_0000_0000,
        0xc3e0_0000_0000_0000,
        0x4340_0000_0000_0001,
        0x3ff0_0000_0000_0000,
    ];

    #[test]
    fn odd_doubles_keep_every_bit() {
        let odd = ODD.map(f64::from_bits);
        for effort in [Effort::Fast, Effort::Small] {
            for &value in &odd {
                round_trip(&[value], effort);
                round_trip(&[value; 300], effort);
                let mut among_whole: Vec<f64> = (0..300).map(f64::from).collect();
                among_whole[17] = value;
                among_whole[299] = value;
                round_trip(&among_whole, effort);
            }
            round_trip(&odd, effort);
            round_trip(&odd.repeat(70), effort);
        }
    }

    #[test]
    fn decimals_of_up_to_fifteen_digits_are_exact() {
        let mut rng = Rng(1);
        for digits in 1..=15u32 {
            for point in 0..=digits {
                let number = (rng.next() % 10u64.pow(digits)) as f64;
                let value: f64 = format!("{number}e-{point}").parse().expect("a number");
                assert!(least_exponent(value).is_some_and(|e| u32::from(e) <= point), "{value}");
            }
        }
    }

    #[test]
    fn walks_take_their_entropy_and_a_little() {
        let mut rng = Rng(3);
        let mut last = 50i64;
        let walk: Vec<f64> = (0..4096)
            .map(|_| {
                last = (last + (rng.next() % 3) as i64 - 1).clamp(0, 100);
                last as f64
            })
            .collect();
        assert!(round_trip(&walk, Effort::Fast).len() < 4096 * 27 / 100, "two bits each");
        assert!(round_trip(&walk, Effort::Small).len() < 4096 * 23 / 100, "log2(3) bits each");
    }

    fn columns() -> impl Strategy<Value = Vec<f64>> {
        let lengths = prop_oneof![1usize..20, 250usize..260, 500usize..1100];
        (lengths, any::<u64>(), 0u8..7, 0u32..6, 0u64..40).prop_map(
            |(length, seed, shape, digits, oddness)| {
                let mut rng = Rng(seed);
                let scale = 10f64.powi(digits as i32);
                let mut last = 0.0;
                (0..length)
                    .map(|i| {
                        if oddness > 0 && rng.next().is_multiple_of(oddness * 4) {
                            return f64::from_bits(ODD[(rng.next() % 16) as usize]);
                        }
                        last = match shape {
                            0 => f64::from_bits(rng.next()),
                            1 => (rng.next() % 1000) as f64 / scale,
                            2 => (last * scale + (rng.next() % 50) as f64).round() / scale,
                            3 => 20.0 + (rng.next() >> 11) as f64 / (1u64 << 53) as f64,
                            4 => (i as f64) * 0.1,
                            5 if !rng.next().is_multiple_of(40) => last,
                            5 => (rng.next() as i64 >> 20) as f64,
                            _ => [1.5, -2.25, 1e300][i % 3],
                        };
                        last
                    })
                    .collect()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 160 }))]

        #[test]
        fn every_column_round_trips_bit_for_bit(values in columns()) {
            round_trip(&values, Effort::Fast);
            round_trip(&values, Effort::Small);
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(
            values in columns(),
            flips in prop::collection::vec(any::<(u16, u8)>(), 1..4),
            count in 0usize..1200,
        ) {
            let mut bytes = Vec::new();
            ValueEncoder::new().encode(&values, Effort::Small, &mut bytes);
            for (at, with) in flips {
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= with;
            }
            let (mut out, mut numbers) = (Vec::new(), Vec::new());
            let mut unsqueezer = Unsqueezer::default();
            let _ = codec_name(&bytes);
            if decode(&bytes, count, &mut unsqueezer, &mut numbers, 0..count, &mut out).is_none() {
                prop_assert!(out.is_empty());
            }
        }
    }
}
