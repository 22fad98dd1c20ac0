//! Bytes read as choices: an input of a stateful target is a list of decisions, and any bytes are one.

/// What is left to decide. Where nothing is left, every choice is the first.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl Choices<'_> {
    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// A number below `bound`, which is from 1 to 256.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// 64 bits, of which inputs rarely spell out all: the first choice says how they come about.
    pub(crate) fn bits(&mut self) -> u64 {
        const EDGES: [u64; 8] = [
            0,
            u64::MAX,
            1 << 63,
            annals::STALE_NAN_BITS,
            0x7ff0_0000_0000_0000,
            0x7ff8_0000_0000_0000,
            i64::MAX as u64,
            1,
        ];
        match self.byte() {
            edge @ 0..8 => EDGES[usize::from(edge)],
            8..64 => i64::from(self.u16() as i16) as u64,
            64..128 => f64::from(self.u16() as i16).to_bits(),
            128..192 => (f64::from(self.u16() as i16) / 100.0).to_bits(),
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }
}
