//! Floats as text: the fewest digits that read back to the same float; where two texts are as short, the nearer one; where
//! both are as near, the one whose last digit is even. So Go writes them, and with it Prometheus.

/// Whole numbers up to here are floats without loss.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// When a float has an exponent, which is of two digits at least. `+Inf`, `-Inf` and `NaN` never have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatForm {
    /// Below 1e-6 and from 1e21 on: values in replies of Prometheus.
    Reply,
    /// Below 1e-4 and from 1e6 on: Go's `%g`.
    Short,
    /// Never: `count_values` writes such labels.
    Plain,
}

impl FloatForm {
    fn has_exponent(self, size: f64) -> bool {
        match self {
            FloatForm::Reply => !(1e-6..1e21).contains(&size),
            FloatForm::Short => !(1e-4..1e6).contains(&size),
            FloatForm::Plain => false,
        }
    }
}

/// A float as a text.
///
/// ```
/// use annals_model::{FloatForm, format_float};
/// assert_eq!(format_float(0.1, FloatForm::Reply), "0.1");
/// assert_eq!(format_float(1e21, FloatForm::Reply), "1e+21");
/// assert_eq!(format_float(-2.5e-7, FloatForm::Reply), "-2.5e-07");
/// assert_eq!(format_float(1e6, FloatForm::Short), "1e+06");
/// assert_eq!(format_float(f64::INFINITY, FloatForm::Plain), "+Inf");
/// ```
#[must_use]
pub fn format_float(value: f64, form: FloatForm) -> String {
    let mut text = Vec::with_capacity(24);
    put_float(&mut text, value, form);
    String::from_utf8(text).unwrap_or_default()
}

/// Appends a float's text, which is ASCII.
#[inline]
pub fn put_float(out: &mut Vec<u8>, value: f64, form: FloatForm) {
    let size = value.abs();
    let exponent = size != 0.0 && form.has_exponent(size);
    // Most values are whole numbers: those need no digits searched.
    if size < WHOLE_MAX && value.trunc() == value && !exponent && (size != 0.0 || value.is_sign_positive()) {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
        return;
    }
    put_digits(out, value, exponent);
}

fn put_digits(out: &mut Vec<u8>, value: f64, exponent: bool) {
    if !value.is_finite() {
        let text: &[u8] = match value {
            _ if value.is_nan() => b"NaN",
            _ if value > 0.0 => b"+Inf",
            _ => b"-Inf",
        };
        out.extend_from_slice(text);
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    if !exponent && !text.contains('e') {
        out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
        return;
    }
    // Taken apart: `digits` as if they stood behind `0.`, times ten to the `power`.
    let (text, power) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |text| ("-", text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all = [whole, fraction].concat();
    let leading = all.len() - all.trim_start_matches('0').len();
    let digits = all.trim_matches('0');
    let power = power.parse::<i32>().unwrap_or(0) + whole.len() as i32 - leading as i32;
    out.extend_from_slice(sign.as_bytes());
    if exponent {
        let (first, rest) = digits.split_at(digits.len().min(1));
        let point = if rest.is_empty() { "" } else { "." };
        let (minus, power) = (if power < 1 { '-' } else { '+' }, (power - 1).unsigned_abs());
        out.extend_from_slice(format!("{first}{point}{rest}e{minus}{power:02}").as_bytes());
    } else if power <= 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + power.unsigned_abs() as usize, b'0');
        out.extend_from_slice(digits.as_bytes());
    } else {
        // Behind the digits zeros stand for the rest; a fraction is left only of what has no exponent by itself.
        let (whole, fraction) = digits.split_at(digits.len().min(power as usize));
        out.extend_from_slice(whole.as_bytes());
        out.resize(out.len() + power as usize - whole.len(), b'0');
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over all exponents, with both signs; whole numbers, numbers of few digits, powers of ten and the specials.
    fn many() -> impl Iterator<Item = f64> {
        let bits = (0..200_000_u64).map(|n| f64::from_bits(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let few = (0..20_000_u64).map(|n| n as f64 / 1000.0);
        let powers = (-320..309).flat_map(|power| {
            let ten: f64 = format!("1e{power}").parse().expect("a float");
            [ten, ten.next_down(), ten.next_up(), 2.5 * ten]
        });
        let special = [0.0, 5e-324, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY, f64::NAN, WHOLE_MAX];
        bits.chain(few).chain(powers).chain(special).flat_map(|value| [value, -value])
    }

    #[test]
    fn every_text_reads_back_and_none_is_shorter() {
        for value in many() {
            // No other digits: those of the standard library are as few, though of two as near it may take the other.
            let standard = format!("{value:e}");
            let count = |text: &str| {
                let digits: String = text.split('e').next().expect("one").replace(['.', '-'], "");
                digits.trim_matches('0').len()
            };
            for form in [FloatForm::Reply, FloatForm::Short, FloatForm::Plain] {
                let text = format_float(value, form);
                let read: f64 = text.parse().expect("a float");
                assert!(
                    read.to_bits() == value.to_bits() || read.is_nan() && value.is_nan(),
                    "{value:e}: {text}"
                );
                if value.is_finite() {
                    assert_eq!(count(&text), count(&standard), "{value:e}: {text}");
                    assert_eq!(text.contains('e'), value != 0.0 && form.has_exponent(value.abs()), "{text}");
                }
            }
        }
    }

    #[test]
    fn of_two_texts_as_short_and_as_near_the_even_one_stands() {
        let text = |value| format_float(value, FloatForm::Reply);
        assert_eq!(text(1_446_254_196_476_649.0 / 8.0), "180781774559581.12");
        assert_eq!(text(1_446_254_196_476_651.0 / 8.0), "180781774559581.38");
        assert_eq!(text(2f64.powi(-24)), "5.960464477539063e-08");
    }

    #[test]
    fn exponents_begin_where_they_do_in_go() {
        for (value, reply, short, plain) in [
            (0.0, "0", "0", "0"),
            (-0.0, "-0", "-0", "-0"),
            (1e-7, "1e-07", "1e-07", "0.0000001"),
            (0.000_001, "0.000001", "1e-06", "0.000001"),
            (0.000_1, "0.0001", "0.0001", "0.0001"),
            (-123_456.75, "-123456.75", "-123456.75", "-123456.75"),
            (1_500_000.0, "1500000", "1.5e+06", "1500000"),
            (1.5e20, "150000000000000000000", "1.5e+20", "150000000000000000000"),
            (1.5e21, "1.5e+21", "1.5e+21", "1500000000000000000000"),
            (1e100, "1e+100", "1e+100", &format!("1{}", "0".repeat(100))),
        ] {
            let texts =
                [FloatForm::Reply, FloatForm::Short, FloatForm::Plain].map(|form| format_float(value, form));
            assert_eq!(texts, [reply, short, plain]);
        }
    }
}
