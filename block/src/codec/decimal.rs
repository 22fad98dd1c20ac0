//! Doubles as whole numbers over a power of ten, where that is exact.
//!
//! A double stands for `m / 10^exponent` where the nearest double to that quotient is it, bit for bit. The division is
//! correctly rounded and both sides of it are exact up to 2^53 and 10^22, so every double that was once written with up
//! to 15 digits comes back.

use super::kernel::{Level, Vectors, Work};
use super::pack::MINI;

/// 10^22 is the last power of ten that a double holds exactly.
pub(crate) const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// Up to here every whole number is a double.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
/// Adding it to a double below 2^51 leaves the whole part in the low bits: rounding and conversion without a call into a
/// library, also in vectors.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// Whole numbers from `-2^51` to below `2^51` can be converted through [`ROUNDER`].
const NEAR: i64 = 1 << 51;
/// More exceptions than one in this many, and the decimal form is not tried.
const EXCEPTIONS_ONE_IN: usize = 8;
/// How many values are looked at before all are.
const PROBES: usize = 32;
/// Up to this exponent, a column without exceptions is not searched for a smaller one.
const PLAIN_EXPONENT_MAX: u8 = 4;

pub(crate) fn power(exponent: u8) -> f64 {
    POWERS.get(usize::from(exponent)).copied().unwrap_or(1.0)
}

/// The whole number that gives the value back, bit for bit.
pub(crate) fn decimal(value: f64, power: f64) -> Option<i64> {
    let scaled = value * power;
    let number = if scaled.abs() < NEAR as f64 { near(scaled) } else { scaled as i64 };
    let whole = number as f64;
    (power == 1.0 || whole.abs() <= WHOLE_MAX)
        .then_some(number)
        .filter(|_| (whole / power).to_bits() == value.to_bits())
}

/// The whole number nearest to a double below 2^51.
#[inline(always)]
fn near(scaled: f64) -> i64 {
    ((scaled + ROUNDER).to_bits() as i64).wrapping_sub(ROUNDER.to_bits() as i64)
}

/// Converts a whole column; false, with an unspecified result, where a value has no whole number or too large a one.
pub(crate) fn all_decimals(values: &[f64], power: f64, level: Level, numbers: &mut Vec<i64>) -> bool {
    numbers.clear();
    numbers.resize(values.len(), 0);
    level.run(AllDecimals { values, power, numbers })
}

struct AllDecimals<'a> {
    values: &'a [f64],
    power: f64,
    numbers: &'a mut [i64],
}

impl Work for AllDecimals<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<V: Vectors>(self) -> bool {
        for (values, numbers) in self.values.chunks(MINI).zip(self.numbers.chunks_mut(MINI)) {
            let mut wrong = 0u64;
            for (value, number) in values.iter().zip(numbers) {
                let scaled = value * self.power;
                *number = near(scaled);
                // Where it is not below 2^51, the conversion back gives another value.
                let back = to_double(*number) / self.power;
                wrong |= back.to_bits() ^ value.to_bits();
                wrong |= (number.wrapping_add(NEAR) as u64) >> 52;
            }
            if wrong != 0 {
                return false;
            }
        }
        true
    }
}

/// The double of a whole number from `-2^51` to below `2^51`.
#[inline(always)]
fn to_double(number: i64) -> f64 {
    f64::from_bits((ROUNDER.to_bits() as i64).wrapping_add(number) as u64) - ROUNDER
}

/// Fills `doubles`, which is as long, with `number / power`.
#[inline(always)]
pub(crate) fn to_doubles(numbers: &[i64], power: f64, doubles: &mut [f64]) {
    let mut far = 0u64;
    for (double, &number) in doubles.iter_mut().zip(numbers) {
        far |= number.wrapping_add(NEAR) as u64;
        *double = to_double(number);
    }
    if far >> 52 != 0 {
        doubles.iter_mut().zip(numbers).for_each(|(double, &number)| *double = number as f64);
    }
    if power != 1.0 {
        doubles.iter_mut().for_each(|double| *double /= power);
    }
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

/// The exponents worth trying: the least that leaves few exceptions, and the greatest that any value needs. Where one
/// leaves no exceptions, `numbers` holds the column and that is the only one.
pub(crate) fn exponents(values: &[f64], level: Level, numbers: &mut Vec<i64>) -> Vec<u8> {
    let stride = (values.len() / PROBES).max(1);
    let (mut count, mut exact, mut greatest) = (0, 0, 0);
    for &value in values.iter().step_by(stride) {
        count += 1;
        if let Some(exponent) = least_exponent(value) {
            exact += 1;
            greatest = greatest.max(exponent);
        }
    }
    numbers.clear();
    if exact * 2 < count {
        return Vec::new();
    }
    if greatest <= PLAIN_EXPONENT_MAX && all_decimals(values, power(greatest), level, numbers) {
        return vec![greatest];
    }
    numbers.clear();
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
    fn a_column_is_converted_as_its_values_are_one_by_one() {
        let mut rng = Rng(5);
        let odd = [f64::NAN, -0.0, f64::INFINITY, 2f64.powi(51), -(2f64.powi(51)), 2f64.powi(60), 0.1 + 0.2];
        for round in 0..400usize {
            let power = POWERS[round % 5];
            let mut values: Vec<f64> =
                (0..300).map(|_| (rng.next() as i64 >> (12 + rng.next() % 50)) as f64 / power).collect();
            if round % 3 == 0 {
                values[round % 300] = odd[round % odd.len()];
            }
            let one_by_one: Option<Vec<i64>> = values.iter().map(|&value| decimal(value, power)).collect();
            let near = |numbers: &Vec<i64>| numbers.iter().all(|number| (-NEAR..NEAR).contains(number));
            for level in Level::all() {
                let mut numbers = Vec::new();
                let all = all_decimals(&values, power, level, &mut numbers);
                match one_by_one.as_ref().filter(|numbers| near(numbers)) {
                    Some(expected) => assert!(all && numbers == *expected, "{level:?}"),
                    None => assert!(!all, "{level:?} {values:?}"),
                }
            }
        }
    }
}
