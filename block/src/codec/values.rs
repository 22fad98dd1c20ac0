//! The values of a chunk: a run of whole numbers that stand for doubles.
//!
//! | bytes   | field        | notes                                                                        |
//! |--------:|--------------|------------------------------------------------------------------------------|
//! |       1 | `form`       | bits 0 and 1: [`Mapping`]; bit 2: has exceptions; bits 3 to 7: the exponent, |
//! |         |              | 0 to 22; with `Decimal` only, else zero                                      |
//! |  varint | `exceptions` | only where bit 2 says so; then per exception gap to the one before (varint), |
//! |         |              | and the double (8 bytes)                                                     |
//! |         | `run`        | `ints.rs`; with `Raw` the doubles, 8 bytes each; with `Cold` `cold.rs`       |
//!
//! `Decimal`: the double nearest to `m / 10^exponent` (`decimal.rs`); values that have none (NaN, infinities, -0.0) are
//! exceptions. `Bits`: the double's bits as a signed number. `Cold`: doubles by pco. `Raw` is the form of last resort.

use std::ops::Range;

use annals_model::bytes::{Cursor, PutBytes};

use super::cold;
use super::decimal::{POWERS, decimal, exponents, power, to_doubles};
use super::ints::{self, Decoding, Effort, IntEncoder, Packing, Sink};
use super::kernel::Level;

const HAS_EXCEPTIONS: u8 = 0x04;
const EXPONENT_SHIFT: u32 = 3;
/// A decimal form with at most this exponent and without exceptions is not compared with the doubles' bits.
const PLAIN_EXPONENT_MAX: u8 = 3;
/// A chunk that takes fewer bits a value is not tried as doubles.
const DOUBLES_BYTES_MIN: usize = 2;

/// What the whole numbers stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mapping {
    Raw = 0,
    Bits = 1,
    Decimal = 2,
    Cold = 3,
}

/// Encodes chunks of values; holds what is reused from chunk to chunk.
pub(crate) struct ValueEncoder {
    pub(crate) ints: IntEncoder,
    decoding: Decoding,
    numbers: Vec<i64>,
    check: Vec<f64>,
}

impl ValueEncoder {
    pub(crate) fn new() -> ValueEncoder {
        ValueEncoder {
            ints: IntEncoder::new(),
            decoding: Decoding::default(),
            numbers: Vec::new(),
            check: Vec::new(),
        }
    }

    /// Appends the smallest form that the effort allows. What is appended has been decoded and compared.
    pub(crate) fn encode(&mut self, values: &[f64], effort: Effort, out: &mut Vec<u8>) {
        let mut best: Option<Vec<u8>> = None;
        let exponents = exponents(values, Level::widest(), &mut self.numbers);
        let mut needs_bits = exponents.is_empty() || effort == Effort::Cold;
        for exponent in exponents {
            let mut bytes = Vec::new();
            let exceptions = self.encode_decimal(values, exponent, effort, &mut bytes);
            needs_bits = if exceptions == 0 && exponent <= PLAIN_EXPONENT_MAX { false } else { needs_bits };
            if best.as_ref().is_none_or(|best| bytes.len() < best.len()) {
                best = Some(bytes);
            }
            self.numbers.clear();
        }
        if needs_bits {
            let mut bytes = vec![Mapping::Bits as u8];
            self.numbers.clear();
            self.numbers.extend(values.iter().map(|value| value.to_bits() as i64));
            // Bits of doubles are noise to pco's whole numbers: it is given the doubles below.
            self.ints.encode(&self.numbers, effort.min(Effort::Warm), &mut bytes);
            if best.as_ref().is_none_or(|best| bytes.len() < best.len()) {
                best = Some(bytes);
            }
        }
        let large = best.as_ref().is_none_or(|best| best.len() >= DOUBLES_BYTES_MIN * values.len());
        if effort == Effort::Cold
            && large
            && let Some(chunk) = cold::encode(values)
            && best.as_ref().is_none_or(|best| chunk.len() + 1 < best.len())
        {
            let mut bytes = vec![Mapping::Cold as u8];
            bytes.put(&chunk);
            best = Some(bytes);
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

    /// Appends the decimal form with this exponent, of which `numbers` may hold the column already; returns how many
    /// values are exceptions.
    fn encode_decimal(&mut self, values: &[f64], exponent: u8, effort: Effort, out: &mut Vec<u8>) -> usize {
        let power = power(exponent);
        let mut exceptions: Vec<(usize, f64)> = Vec::new();
        if self.numbers.len() != values.len() {
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
        let (decoding, check) = (&mut self.decoding, &mut self.check);
        let decoded = decode(bytes, values.len(), Level::widest(), decoding, 0..values.len(), check);
        decoded.is_some()
            && self.check.len() == values.len()
            && self.check.iter().zip(values).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

/// Collects the doubles at some positions of a run.
struct Doubles<'o> {
    mapping: Mapping,
    power: f64,
    wanted: Range<usize>,
    /// How many went by.
    at: usize,
    /// Where the next ones go: room for all that are wanted and have not come.
    room: &'o mut [f64],
}

impl Sink for Doubles<'_> {
    #[inline(always)]
    fn put(&mut self, numbers: &[i64]) {
        let first = self.wanted.start.saturating_sub(self.at).min(numbers.len());
        let end = self.wanted.end.saturating_sub(self.at).min(numbers.len());
        self.at += numbers.len();
        let numbers = numbers.get(first..end).unwrap_or_default();
        let Some((doubles, room)) = std::mem::take(&mut self.room).split_at_mut_checked(numbers.len()) else {
            return;
        };
        self.room = room;
        match self.mapping {
            Mapping::Decimal => to_doubles(numbers, self.power, doubles),
            Mapping::Raw | Mapping::Bits | Mapping::Cold => {
                let bits = |(double, &number): (&mut f64, &i64)| *double = f64::from_bits(number as u64);
                doubles.iter_mut().zip(numbers).for_each(bits);
            }
        }
    }

    #[inline(always)]
    fn is_done(&self) -> bool {
        self.at >= self.wanted.end
    }
}

/// Appends the values at `positions` of a chunk of `count`; `None`, with nothing appended, where the bytes are
/// not that. The caller bounds `count`.
pub(crate) fn decode(
    bytes: &[u8],
    count: usize,
    level: Level,
    decoding: &mut Decoding,
    positions: Range<usize>,
    out: &mut Vec<f64>,
) -> Option<()> {
    let first = out.len();
    let decoded = decode_part(bytes, count, level, decoding, positions, out);
    if decoded.is_none() {
        out.truncate(first);
    }
    decoded
}

fn decode_part(
    bytes: &[u8],
    count: usize,
    level: Level,
    decoding: &mut Decoding,
    positions: Range<usize>,
    out: &mut Vec<f64>,
) -> Option<()> {
    let mut cursor = Cursor::new(bytes);
    let (mapping, has_exceptions, power) = parse_form(cursor.u8()?)?;
    (positions.start <= positions.end && positions.end <= count).then_some(())?;
    match mapping {
        Mapping::Raw => {
            let (doubles, rest) = cursor.take(cursor.remaining())?.as_chunks::<8>();
            (doubles.len() == count && rest.is_empty()).then_some(())?;
            out.extend(doubles.get(positions)?.iter().map(|bytes| f64::from_le_bytes(*bytes)));
            return Some(());
        }
        Mapping::Cold => {
            let mut doubles = vec![0.0; count];
            cold::decode(cursor.take(cursor.remaining())?, &mut doubles)?;
            out.extend_from_slice(doubles.get(positions)?);
            return Some(());
        }
        Mapping::Bits | Mapping::Decimal => {}
    }
    let exceptions = if has_exceptions { cursor.count(9)? } else { 0 };
    let mut exception_cursor = cursor.clone();
    for _ in 0..exceptions {
        cursor.varint()?;
        cursor.u64()?;
    }
    let first = out.len();
    out.resize(first + positions.len(), 0.0);
    let room = out.get_mut(first..).unwrap_or_default();
    let mut sink = Doubles { mapping, power, wanted: positions.clone(), at: 0, room };
    ints::decode(&mut cursor, count, level, decoding, &mut sink)?;
    let sink_at = sink.at;
    // What comes after the last wanted position was not looked at.
    (cursor.is_empty() || sink_at < count).then_some(())?;
    let mut next = 0usize;
    for _ in 0..exceptions {
        let gap = usize::try_from(exception_cursor.varint()?).ok()?;
        let at = next.checked_add(gap).filter(|&at| at < count)?;
        let bits = exception_cursor.u64()?;
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
    match mapping {
        Mapping::Raw => return Some("raw"),
        Mapping::Cold => return Some("cold doubles"),
        Mapping::Bits | Mapping::Decimal => {}
    }
    for _ in 0..if has_exceptions { cursor.count(9)? } else { 0 } {
        cursor.varint()?;
        cursor.u64()?;
    }
    let (_, packing, _) = ints::parse_form(cursor.u8()?)?;
    Some(match (mapping, packing) {
        (Mapping::Decimal, Packing::Zero) => "constant",
        (Mapping::Decimal, Packing::Packed) => "hot",
        (Mapping::Decimal, Packing::Squeezed) => "warm repeats",
        (Mapping::Decimal, Packing::Entropy) => "warm",
        (Mapping::Decimal, Packing::Sparse) => "sparse",
        (Mapping::Decimal, Packing::Cold) => "cold",
        (_, Packing::Zero) => "constant bits",
        (_, Packing::Packed) => "hot bits",
        (_, Packing::Squeezed) => "warm repeated bits",
        (_, Packing::Entropy) => "warm bits",
        (_, Packing::Sparse) => "sparse bits",
        (_, Packing::Cold) => "cold bits",
    })
}

/// The mapping of a form byte, whether there are exceptions, and the power of ten that divides.
fn parse_form(form: u8) -> Option<(Mapping, bool, f64)> {
    let mappings = [Mapping::Raw, Mapping::Bits, Mapping::Decimal, Mapping::Cold];
    let mapping = *mappings.get(usize::from(form & 0x03))?;
    let power = *POWERS.get(usize::from(form >> EXPONENT_SHIFT))?;
    (mapping == Mapping::Decimal || form == mapping as u8).then_some(())?;
    Some((mapping, form & HAS_EXCEPTIONS != 0, power))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::Rng;
    use proptest::prelude::*;

    fn round_trip(values: &[f64], effort: Effort) -> Vec<u8> {
        let mut bytes = Vec::new();
        ValueEncoder::new().encode(values, effort, &mut bytes);
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let mut decoding = Decoding::default();
        for level in Level::all() {
            let mut back = vec![0.5];
            let decoded = decode(&bytes, values.len(), level, &mut decoding, 0..values.len(), &mut back);
            assert_eq!(decoded, Some(()));
            assert_eq!(back.remove(0), 0.5, "decoding appends");
            assert_eq!(bits(&back), bits(values), "{level:?}");
            let part = values.len() / 3..values.len() - values.len() / 4;
            back.clear();
            let decoded = decode(&bytes, values.len(), level, &mut decoding, part.clone(), &mut back);
            assert_eq!(decoded, Some(()));
            assert_eq!(bits(&back), bits(&values[part]), "{level:?}");
        }
        assert!(codec_name(&bytes).is_some());
        bytes
    }

    pub(crate) const ODD: [u64; 16] = [
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
        for effort in [Effort::Hot, Effort::Cold] {
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
    fn walks_take_their_entropy_and_a_little() {
        let mut rng = Rng(3);
        let mut last = 50i64;
        let walk: Vec<f64> = (0..4096)
            .map(|_| {
                last = (last + (rng.next() % 3) as i64 - 1).clamp(0, 100);
                last as f64
            })
            .collect();
        assert!(round_trip(&walk, Effort::Hot).len() < 4096 * 27 / 100, "two bits each");
        assert!(round_trip(&walk, Effort::Cold).len() < 4096 * 23 / 100, "log2(3) bits each");
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
            round_trip(&values, Effort::Hot);
            round_trip(&values, Effort::Warm);
            round_trip(&values, Effort::Cold);
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(
            values in columns(),
            flips in prop::collection::vec(any::<(u16, u8)>(), 1..4),
            count in 0usize..1200,
        ) {
            let mut bytes = Vec::new();
            ValueEncoder::new().encode(&values, Effort::Cold, &mut bytes);
            for (at, with) in flips {
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= with;
            }
            let (mut out, mut decoding) = (Vec::new(), Decoding::default());
            let _ = codec_name(&bytes);
            if decode(&bytes, count, Level::widest(), &mut decoding, 0..count, &mut out).is_none() {
                prop_assert!(out.is_empty());
            }
        }
    }
}
