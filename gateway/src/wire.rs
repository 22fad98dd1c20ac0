//! Protobuf as it lies in a body: fields one after another, without a copy and without a tree of messages, so that a
//! hostile body costs no more memory than it has bytes. (A generated decoder builds each message before anybody looks at
//! it: two bytes of body make a struct of a hundred.)

/// Bytes that are no message of Protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: this is not Protobuf, or not whole")]
pub(crate) struct Broken {
    /// Where, in the body.
    pub(crate) at: usize,
}

/// A message, or what is left of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    bytes: &'a [u8],
    /// Where `bytes` begin in the body.
    at: usize,
}

/// A field's value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    /// Four bytes, of which no message that is read here has any.
    Fixed32,
    /// A text, bytes, a message, or packed numbers.
    Bytes(Message<'a>),
}

impl<'a> Message<'a> {
    /// A whole body.
    pub(crate) fn new(body: &'a [u8]) -> Message<'a> {
        Message { bytes: body, at: 0 }
    }

    /// Its bytes.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes of so many, and what is left.
    pub(crate) fn split(self, length: usize) -> Option<(&'a [u8], Message<'a>)> {
        let (taken, bytes) = self.bytes.split_at_checked(length)?;
        Some((taken, Message { bytes, at: self.at + length }))
    }

    /// As a text.
    pub(crate) fn text(self) -> Result<&'a str, Broken> {
        std::str::from_utf8(self.bytes).map_err(|_| self.broken())
    }

    /// Where it begins.
    pub(crate) fn broken(&self) -> Broken {
        Broken { at: self.at }
    }

    /// The next field: its number and value.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, Broken> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let start = self.broken();
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0).ok_or(start)?;
        let value = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| start)?;
                Field::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Field::Fixed32
            }
            _ => return Err(start),
        };
        Ok(Some((number, value)))
    }

    /// The next of packed varints.
    pub(crate) fn packed_varint(&mut self) -> Result<Option<u64>, Broken> {
        if self.bytes.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    /// The next of packed numbers of eight bytes.
    pub(crate) fn packed_fixed64(&mut self) -> Result<Option<u64>, Broken> {
        if self.bytes.is_empty() { Ok(None) } else { Ok(Some(u64::from_le_bytes(self.array()?))) }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Broken> {
        if let Some((&byte, rest)) = self.bytes.split_first()
            && byte < 0x80
        {
            (self.bytes, self.at) = (rest, self.at + 1);
            return Ok(u64::from(byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0u64;
        for (index, &byte) in self.bytes.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            let shifted = bits.checked_shl(index as u32 * 7).unwrap_or_default();
            // The tenth byte has one bit left.
            if index == 9 && bits > 1 {
                break;
            }
            value |= shifted;
            if byte < 0x80 {
                self.take(index + 1)?;
                return Ok(value);
            }
        }
        Err(self.broken())
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<Message<'a>, Broken> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(self.broken())?;
        let message = Message { bytes: taken, at: self.at };
        (self.bytes, self.at) = (rest, self.at + length);
        Ok(message)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(self.broken())?;
        (self.bytes, self.at) = (rest, self.at + N);
        Ok(*taken)
    }
}

impl<'a> Field<'a> {
    /// A field that is a message, a text or packed.
    pub(crate) fn message(self, of: &Message<'_>) -> Result<Message<'a>, Broken> {
        if let Field::Bytes(message) = self { Ok(message) } else { Err(of.broken()) }
    }

    /// A field that is a whole number.
    pub(crate) fn varint(self, of: &Message<'_>) -> Result<u64, Broken> {
        if let Field::Varint(value) = self { Ok(value) } else { Err(of.broken()) }
    }

    /// A field that is eight bytes.
    pub(crate) fn fixed64(self, of: &Message<'_>) -> Result<u64, Broken> {
        if let Field::Fixed64(value) = self { Ok(value) } else { Err(of.broken()) }
    }

    /// A field that is a float.
    pub(crate) fn double(self, of: &Message<'_>) -> Result<f64, Broken> {
        self.fixed64(of).map(f64::from_bits)
    }

    /// Adds a repeated field of varints, one or packed, to at most so many.
    pub(crate) fn varints(self, of: &Message<'_>, most: usize, into: &mut Vec<u64>) -> Result<(), Broken> {
        match self {
            Field::Varint(value) => push(into, value, most).ok_or(of.broken()),
            Field::Bytes(mut packed) => {
                while let Some(value) = packed.packed_varint()? {
                    push(into, value, most).ok_or(of.broken())?;
                }
                Ok(())
            }
            _ => Err(of.broken()),
        }
    }

    /// Adds a repeated field of numbers of eight bytes, one or packed, to at most so many.
    pub(crate) fn fixed64s(self, of: &Message<'_>, most: usize, into: &mut Vec<u64>) -> Result<(), Broken> {
        match self {
            Field::Fixed64(value) => push(into, value, most).ok_or(of.broken()),
            Field::Bytes(mut packed) => {
                while let Some(value) = packed.packed_fixed64()? {
                    push(into, value, most).ok_or(of.broken())?;
                }
                Ok(())
            }
            _ => Err(of.broken()),
        }
    }
}

fn push(into: &mut Vec<u64>, value: u64, most: usize) -> Option<()> {
    (into.len() < most).then(|| into.push(value))
}

/// A whole number that is stored as `sint`.
pub(crate) fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Writers of Protobuf.
pub(crate) mod put {
    /// A whole number.
    pub(crate) fn varint(out: &mut Vec<u8>, number: u32, value: u64) {
        raw(out, u64::from(number) << 3);
        raw(out, value);
    }

    /// A float.
    pub(crate) fn double(out: &mut Vec<u8>, number: u32, value: f64) {
        fixed64(out, number, value.to_bits());
    }

    /// Eight bytes.
    pub(crate) fn fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
        raw(out, u64::from(number) << 3 | 1);
        out.extend_from_slice(&value.to_le_bytes());
    }

    /// A text, a message, packed numbers.
    pub(crate) fn bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
        raw(out, u64::from(number) << 3 | 2);
        raw(out, value.len() as u64);
        out.extend_from_slice(value);
    }

    /// Packed varints.
    pub(crate) fn varints(out: &mut Vec<u8>, number: u32, values: &[u64]) {
        let mut packed = Vec::new();
        values.iter().for_each(|value| raw(&mut packed, *value));
        bytes(out, number, &packed);
    }

    /// Packed floats.
    pub(crate) fn doubles(out: &mut Vec<u8>, number: u32, values: &[f64]) {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        bytes(out, number, &packed);
    }

    /// A message behind its length, as streams of messages have them.
    pub(crate) fn delimited(out: &mut Vec<u8>, message: &[u8]) {
        raw(out, message.len() as u64);
        out.extend_from_slice(message);
    }

    /// What `sint` stores.
    pub(crate) fn zigzag(value: i64) -> u64 {
        (value << 1 ^ value >> 63) as u64
    }

    fn raw(out: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_were_written() {
        let mut body = Vec::new();
        put::varint(&mut body, 1, u64::MAX);
        put::double(&mut body, 2, -0.5);
        put::bytes(&mut body, 300, b"text");
        put::varints(&mut body, 4, &[0, 127, 128, 1 << 63]);
        let mut message = Message::new(&body);
        let mut next = || message.next().expect("whole").expect("a field");
        assert!(matches!(next(), (1, Field::Varint(u64::MAX))));
        assert!(matches!(next(), (2, Field::Fixed64(bits)) if f64::from_bits(bits) == -0.5));
        assert!(matches!(next(), (300, Field::Bytes(text)) if text.text() == Ok("text")));
        let (_, packed) = next();
        let mut values = Vec::new();
        packed.varints(&message, 4, &mut values).expect("four");
        assert_eq!(values, [0, 127, 128, 1 << 63]);
        assert_eq!(packed.varints(&message, 4, &mut values), Err(message.broken()));
        assert!(message.next().expect("at its end").is_none());
        assert_eq!([0, 1, 2, 3, u64::MAX].map(zigzag), [0, -1, 1, -2, i64::MIN]);
        assert_eq!([0, -1, 1, -2, i64::MIN].map(put::zigzag), [0, 1, 2, 3, u64::MAX]);
    }

    #[test]
    fn bytes_that_are_no_message_are_told_by_their_place() {
        for (bytes, at) in [
            (&[0x08][..], 1),
            (&[0x08, 0x80], 1),
            (&[0x09, 1, 2, 3], 1),
            (&[0x0a, 5, 1, 2], 2),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], 11),
            (&[0x0b], 0),
            (&[0x00, 1], 0),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], 1),
        ] {
            assert_eq!(Message::new(bytes).next().map(|_| ()), Err(Broken { at }), "{bytes:x?}");
        }
    }
}
