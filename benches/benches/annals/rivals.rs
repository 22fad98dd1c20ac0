//! What other stores do with a chunk of values, for comparison in the same run.

/// XOR with the value before, after "Gorilla: a fast, scalable, in-memory time series database" (VLDB 2015), section
/// 4.1.2: leading zeros in 5 bits, lengths in 6.
pub(crate) mod gorilla {
    /// Appends bits, high bits first.
    #[derive(Default)]
    struct Bits {
        bytes: Vec<u8>,
        used: u32,
    }

    impl Bits {
        fn put(&mut self, value: u64, count: u32) {
            for bit in (0..count).rev() {
                if self.used.is_multiple_of(8) {
                    self.bytes.push(0);
                }
                let last = self.bytes.len() - 1;
                self.bytes[last] |= (((value >> bit) & 1) as u8) << (7 - self.used % 8);
                self.used += 1;
            }
        }
    }

    /// Reads bits through a window of 64.
    struct Reader<'a> {
        bytes: &'a [u8],
        window: u64,
        have: u32,
    }

    impl Reader<'_> {
        fn take(&mut self, count: u32) -> u64 {
            if count > 32 {
                let high = self.take(count - 32);
                return high << 32 | self.take(32);
            }
            while self.have < count {
                let (byte, rest) =
                    self.bytes.split_first().map_or((0, self.bytes), |(&byte, rest)| (byte, rest));
                self.bytes = rest;
                self.window = self.window << 8 | u64::from(byte);
                self.have += 8;
            }
            self.have -= count;
            (self.window >> self.have) & (u64::MAX.checked_shr(64 - count).unwrap_or(0))
        }
    }

    pub(crate) fn encode(values: &[f64]) -> Vec<u8> {
        let mut bits = Bits::default();
        let mut before = 0u64;
        let mut window = (65u32, 0u32);
        for (position, value) in values.iter().enumerate() {
            let value = value.to_bits();
            if position == 0 {
                bits.put(value, 64);
                before = value;
                continue;
            }
            let xor = value ^ before;
            before = value;
            if xor == 0 {
                bits.put(0, 1);
                continue;
            }
            let (leading, trailing) = (xor.leading_zeros().min(31), xor.trailing_zeros());
            let inside = window.0 <= 64 && leading >= window.0 && trailing >= window.1;
            if inside {
                bits.put(0b10, 2);
                bits.put(xor >> window.1, 64 - window.0 - window.1);
            } else {
                let length = 64 - leading - trailing;
                bits.put(0b11, 2);
                bits.put(u64::from(leading), 5);
                bits.put(u64::from(length - 1), 6);
                bits.put(xor >> trailing, length);
                window = (leading, trailing);
            }
        }
        bits.bytes
    }

    pub(crate) fn decode(bytes: &[u8], count: usize, out: &mut Vec<f64>) {
        let mut bits = Reader { bytes, window: 0, have: 0 };
        let mut before = bits.take(64);
        out.push(f64::from_bits(before));
        let (mut leading, mut length) = (0, 64);
        for _ in 1..count {
            if bits.take(1) == 1 {
                if bits.take(1) == 1 {
                    leading = bits.take(5) as u32;
                    length = bits.take(6) as u32 + 1;
                }
                before ^= bits.take(length) << (64 - leading - length);
            }
            out.push(f64::from_bits(before));
        }
    }
}

/// Scaled whole numbers, their differences as LEB128, zstd at level 1; the doubles' bytes through zstd where there is no
/// scale.
pub(crate) mod scaled {
    use zstd::bulk::{Compressor, Decompressor};

    pub(crate) fn encode(values: &[f64], zstd: &mut Compressor<'_>) -> Vec<u8> {
        let scale = (0..10).find(|&digits| {
            let power = 10f64.powi(digits);
            values.iter().all(|value| {
                let whole = (value * power).round();
                whole.abs() < 9e15 && (whole / power).to_bits() == value.to_bits()
            })
        });
        let mut plain = Vec::new();
        match scale {
            Some(digits) => {
                let mut before = 0i64;
                for value in values {
                    let whole = (value * 10f64.powi(digits)).round() as i64;
                    let delta = whole - before;
                    before = whole;
                    let mut zigzag = (delta << 1 ^ delta >> 63) as u64;
                    while zigzag >= 0x80 {
                        plain.push(zigzag as u8 | 0x80);
                        zigzag >>= 7;
                    }
                    plain.push(zigzag as u8);
                }
            }
            None => values.iter().for_each(|value| plain.extend(value.to_le_bytes())),
        }
        let mut out = vec![scale.map_or(255, |digits| digits as u8)];
        out.extend(zstd.compress(&plain).expect("compressed"));
        out
    }

    pub(crate) fn decode(bytes: &[u8], count: usize, zstd: &mut Decompressor<'_>, out: &mut Vec<f64>) {
        let plain = zstd.decompress(&bytes[1..], count * 10).expect("our own");
        if bytes[0] == 255 {
            out.extend(plain.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)));
            return;
        }
        let power = 10f64.powi(i32::from(bytes[0]));
        let (mut before, mut zigzag, mut shift) = (0i64, 0u64, 0);
        for byte in plain {
            zigzag |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                before += (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
                out.push(before as f64 / power);
                (zigzag, shift) = (0, 0);
            }
        }
    }
}
