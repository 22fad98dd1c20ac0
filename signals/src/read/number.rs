//! Sample values: exactly what the text says, rounded once.

/// Decimal as Rust reads it (nearest, ties to even; `Inf` and `NaN` in any case), or a hexadecimal float such as
/// `0x1.8p3`.
pub(super) fn value(text: &str) -> Option<f64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, text.get(1..)?),
        [b'+', ..] => (false, text.get(1..)?),
        _ => (false, text),
    };
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => hexadecimal(hex).map(|value| if negative { -value } else { value }),
        None => text.parse().ok(),
    }
}

fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.find(['p', 'P']) {
        Some(at) => {
            let exponent = text.get(at + 1..)?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            // Exponents past this are zero or infinity for every mantissa of a line.
            let size = digits.parse::<i64>().unwrap_or(i64::MAX).min(1 << 40);
            (text.get(..at)?, if exponent.starts_with('-') { -size } else { size })
        }
        None => (text, 0),
    };
    let (mut bits, mut exponent, mut seen, mut after_point) = (0u64, exponent, false, false);
    for byte in mantissa.bytes() {
        if byte == b'.' && !after_point {
            after_point = true;
            continue;
        }
        let digit = u64::from(char::from(byte).to_digit(16)?);
        seen = true;
        if bits >> 60 == 0 {
            bits = bits << 4 | digit;
            exponent -= if after_point { 4 } else { 0 };
        } else {
            // No room: the lowest bit remembers that there was something, which is all that rounding asks.
            bits |= u64::from(digit != 0);
            exponent += if after_point { 0 } else { 4 };
        }
    }
    seen.then(|| scale(bits, exponent))
}

/// `bits * 2^exponent`, rounded once to the nearest, ties to even.
fn scale(bits: u64, exponent: i64) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    let length = i64::from(64 - bits.leading_zeros());
    // The power of two of the lowest bit that the result can hold: 53 bits, fewer where it is subnormal.
    let lowest = (length + exponent - 53).max(-1074);
    let drop = lowest - exponent;
    let kept = match drop {
        ..=0 => bits,
        1..=64 => {
            let wide = u128::from(bits);
            let (whole, rest, half) = (wide >> drop, wide & ((1 << drop) - 1), 1u128 << (drop - 1));
            (whole + u128::from(rest > half || (rest == half && whole & 1 == 1))) as u64
        }
        65.. => 0,
    };
    let mut value = kept as f64;
    let mut power = if drop > 0 { lowest } else { exponent };
    // Every step is exact: `kept` has at most 54 bits, and no step goes below the lowest bit or above infinity twice.
    while power > 0 && value.is_finite() {
        let step = power.min(1000);
        value *= 2f64.powi(step as i32);
        power -= step;
    }
    while power < 0 && value != 0.0 {
        let step = power.max(-1000);
        value *= 2f64.powi(step as i32);
        power -= step;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_read_in_every_form() {
        for (text, expected) in [
            ("1.8617e-05", 1.8617e-05),
            ("+Inf", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("0x1p-2", 0.25),
            ("-0x1.8p3", -12.0),
            ("0X1A", 26.0),
            ("+0x.8p0", 0.5),
            ("0x1p2000", f64::INFINITY),
            ("0x1p-2000", 0.0),
            ("0x1p-1074", 5e-324),
            ("0x1.8p-1075", 5e-324),
            ("0x1p-1075", 0.0),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000080000000000000000000000001p0", 1.000_000_000_000_000_2),
            ("0x1p99999999999999999999", f64::INFINITY),
            ("0x1p-99999999999999999999", 0.0),
            ("0x1ffffffffffffffffffffp-80", 2.0),
        ] {
            assert_eq!(value(text).map(f64::to_bits), Some(expected.to_bits()), "{text}");
        }
        assert!(value("NaN").expect("a number").is_nan());
        for bad in ["", "-", "0x", "0x.", "0xp1", "0x1.2.3", "0x1p", "0x1p+-1", "0xg", "1_000", "--1", "1 "] {
            assert_eq!(value(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn hexadecimal_floats_round_trip(bits in any::<u64>()) {
            let number = f64::from_bits(bits & !(1 << 63));
            prop_assume!(number.is_finite());
            let (fraction, biased) = (number.to_bits() & ((1 << 52) - 1), (number.to_bits() >> 52) as i64);
            let text = match biased {
                0 => format!("0x0.{fraction:013x}p-1022"),
                _ => format!("0x1.{fraction:013x}p{}", biased - 1023),
            };
            prop_assert_eq!(value(&text).map(f64::to_bits), Some(number.to_bits()), "{}", text);
        }

        #[test]
        fn decimal_values_come_back_bit_for_bit(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(!number.is_nan());
            prop_assert_eq!(value(&number.to_string()).map(f64::to_bits), Some(bits));
        }
    }
}
