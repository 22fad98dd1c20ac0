//! A segment's header: 4 KiB, two halves that say the same, each with its own check.
//!
//! | offset | bytes | field               | notes                                                          |
//! |-------:|------:|---------------------|----------------------------------------------------------------|
//! |      0 |     8 | magic               | `annalwal`                                                     |
//! |      8 |     2 | version             | 1                                                              |
//! |     10 |     1 | half                | 0 at offset 0, 1 at offset 2048                                |
//! |     11 |     1 | state               | 0 standby, 1 active                                            |
//! |     12 |     4 |                     | 0                                                              |
//! |     16 |    16 | root id             | of the directory that the log belongs to                       |
//! |     32 |     8 | number              | as in the file's name                                          |
//! |     40 |    16 | salt                | random; seeds the checks of all frames                         |
//! |     56 |     8 | `file_bytes`        | the length that was zero-filled; a shorter file is damaged     |
//! |     64 |     8 | first LSN           | of the first record; this and all below are 0 in a standby     |
//! |     72 |     8 | previous number     | the segment before this one; 0: none                           |
//! |     80 |     8 | previous end        | where its last durable frame ends; what follows it is void     |
//! |     88 |     8 | previous last LSN   | of its last durable frame; LSNs up to this one's first are unused |
//! |     96 |     4 | previous check      | CRC-32 of the header checks of its frames, in order            |
//! |    100 |     4 |                     | 0                                                              |
//! |    104 |     8 | superseded number   | a segment whose surviving records this one repeats; 0: none    |
//! |    112 |  1932 |                     | 0                                                              |
//! |   2044 |     4 | check               | CRC-32 of the half before it; here in every version            |
//!
//! Little-endian. A segment is created as a standby and becomes active by rewriting half 0, a sync, then half 1: at
//! no point is there a moment when neither half verifies, and no frame is written before half 0 is durable. A
//! segment that recovery writes is published whole, active from the start.

use std::path::Path;

use crate::error::{HeaderFault, LSN_MAX};
use crate::fields::Fields;
use crate::frame::{FRAME_ALIGN, FrameKey};
use crate::lsn::Lsn;

/// Bytes of the header, and so the offset of the first frame.
pub(crate) const HEADER_BYTES: u64 = 4096;
/// Bytes of one half.
pub(crate) const HALF_BYTES: usize = 2048;
/// The newest version that this code reads, and the one that it writes.
pub(crate) const VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"annalwal";
const CHECK_OFFSET: usize = HALF_BYTES - 4;
/// Sixteen digits: enough for a segment a microsecond over three hundred years.
const NUMBER_DIGITS: usize = 16;
/// The highest number that a name can hold.
pub(crate) const NUMBER_MAX: u64 = 9_999_999_999_999_999;

const _: () = assert!(HEADER_BYTES == 2 * HALF_BYTES as u64);
const _: () = assert!(HEADER_BYTES.is_multiple_of(FRAME_ALIGN as u64));

/// What a segment says of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Previous {
    /// Its number; 0 where there is none.
    pub(crate) number: u64,
    /// Where its last durable frame ends.
    pub(crate) end: u64,
    /// The LSN of its last durable frame; of an empty one, the LSN before its first.
    pub(crate) last: Lsn,
    /// The running check through that frame.
    pub(crate) check: u32,
}

/// What makes a standby an active segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Activation {
    pub(crate) first: Lsn,
    pub(crate) previous: Previous,
    pub(crate) superseded: u64,
}

/// A segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) root_id: [u8; 16],
    pub(crate) number: u64,
    pub(crate) salt: [u8; 16],
    pub(crate) file_bytes: u64,
    /// `None` in a standby.
    pub(crate) activation: Option<Activation>,
}

impl Header {
    /// What its frames' checks start from.
    pub(crate) fn key(&self) -> FrameKey {
        FrameKey::new(&self.salt, self.number)
    }

    /// One half, 0 or 1.
    pub(crate) fn encode_half(&self, half: u8) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HALF_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.push(half);
        bytes.push(u8::from(self.activation.is_some()));
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.root_id);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.file_bytes.to_le_bytes());
        if let Some(activation) = &self.activation {
            bytes.extend_from_slice(&activation.first.0.to_le_bytes());
            bytes.extend_from_slice(&activation.previous.number.to_le_bytes());
            bytes.extend_from_slice(&activation.previous.end.to_le_bytes());
            bytes.extend_from_slice(&activation.previous.last.0.to_le_bytes());
            bytes.extend_from_slice(&activation.previous.check.to_le_bytes());
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&activation.superseded.to_le_bytes());
        }
        bytes.resize(CHECK_OFFSET, 0);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Both halves.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.encode_half(0);
        bytes.append(&mut self.encode_half(1));
        bytes
    }

    /// What one half says.
    fn decode_half(bytes: &[u8], half: u8) -> Result<Header, HeaderFault> {
        let short = HeaderFault::Unreadable;
        let (content, check) = bytes.split_at_checked(CHECK_OFFSET).ok_or(short)?;
        if Fields(check).u32() != Some(crc32fast::hash(content)) {
            return Err(short);
        }
        let mut fields = Fields(content);
        if fields.array() != Some(MAGIC) {
            return Err(short);
        }
        let version = fields.u16().ok_or(short)?;
        if version > VERSION {
            return Err(HeaderFault::VersionTooNew(version));
        }
        Header::decode_fields(&mut fields, half).filter(|_| version == VERSION).ok_or(HeaderFault::Impossible)
    }

    /// The fields after the version, or `None` where they contradict each other.
    fn decode_fields(fields: &mut Fields<'_>, half: u8) -> Option<Header> {
        let (found_half, state, reserved) = (fields.u8()?, fields.u8()?, fields.u32()?);
        if found_half != half || state > 1 || reserved != 0 {
            return None;
        }
        let root_id = fields.array()?;
        let number = fields.u64()?;
        let salt = fields.array()?;
        let file_bytes = fields.u64()?;
        let first = Lsn(fields.u64()?);
        let previous = Previous {
            number: fields.u64()?,
            end: fields.u64()?,
            last: Lsn(fields.u64()?),
            check: fields.u32()?,
        };
        let reserved = fields.u32()?;
        let superseded = fields.u64()?;
        let chained = if previous.number == 0 {
            previous == Previous::default()
        } else {
            previous.number < number
                && previous.end >= HEADER_BYTES
                && previous.end.is_multiple_of(FRAME_ALIGN as u64)
        };
        let active = state == 1;
        let activation_holds = if active {
            first > previous.last && first <= LSN_MAX
        } else {
            first == Lsn(0) && previous.number == 0
        };
        let holds = reserved == 0
            && number > 0
            && chained
            && activation_holds
            && superseded < number
            && (active || superseded == 0)
            && fields.0.iter().all(|byte| *byte == 0);
        let activation = active.then_some(Activation { first, previous, superseded });
        holds.then_some(Header { root_id, number, salt, file_bytes, activation })
    }

    /// What the start of a segment file says, for the file of this number in this root. Also says whether both
    /// halves verified.
    pub(crate) fn decode(
        bytes: &[u8],
        root_id: &[u8; 16],
        number: u64,
    ) -> Result<(Header, bool), HeaderFault> {
        let (header, whole) = Header::decode_any(bytes)?;
        if header.root_id != *root_id {
            return Err(HeaderFault::ForeignRoot);
        }
        if header.number != number {
            return Err(HeaderFault::OtherNumber(header.number));
        }
        Ok((header, whole))
    }

    /// What the start of any segment file says.
    pub(crate) fn decode_any(bytes: &[u8]) -> Result<(Header, bool), HeaderFault> {
        let (one, two) = bytes.split_at_checked(HALF_BYTES).unwrap_or((bytes, &[]));
        match (Header::decode_half(one, 0), Header::decode_half(two.get(..HALF_BYTES).unwrap_or(two), 1)) {
            // Half 0 is rewritten first, so it is never older than half 1.
            (Ok(header), second) => Ok((header, second.is_ok())),
            (Err(HeaderFault::VersionTooNew(found)), _) => Err(HeaderFault::VersionTooNew(found)),
            (Err(_), Ok(header)) => Ok((header, false)),
            (Err(fault), Err(HeaderFault::Unreadable)) => Err(fault),
            (Err(_), Err(fault)) => Err(fault),
        }
    }
}

/// The file name of a segment.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:016}.seg")
}

/// The number in a file name that is one of ours.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let ours = digits.len() == NUMBER_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    ours.then(|| digits.parse().ok()).flatten().filter(|number| *number > 0)
}

/// The number in a path that is one of ours.
pub(crate) fn path_number(path: &Path) -> Option<u64> {
    segment_number(path.file_name()?.to_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            root_id: *b"root-id-16-bytes",
            number: 5,
            salt: *b"0123456789abcdef",
            file_bytes: 1 << 20,
            activation: Some(Activation {
                first: Lsn(12),
                previous: Previous { number: 4, end: 8192, last: Lsn(11), check: 0xdead_beef },
                superseded: 3,
            }),
        }
    }

    #[test]
    fn the_bytes_of_a_header_do_not_change() {
        let bytes = header().encode();
        assert_eq!(bytes.len() as u64, HEADER_BYTES);
        let hex: String = bytes[..112].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            concat!(
                "616e6e616c77616c0100000100000000",
                "726f6f742d69642d31362d6279746573",
                "05000000000000003031323334353637",
                "38396162636465660000100000000000",
                "0c000000000000000400000000000000",
                "00200000000000000b00000000000000",
                "efbeadde000000000300000000000000",
            )
        );
        assert_eq!(bytes[2044..2048], crc32fast::hash(&bytes[..2044]).to_le_bytes());
        assert_eq!((bytes[10], bytes[2048 + 10]), (0, 1));
    }

    #[test]
    fn any_one_half_is_enough_and_any_flip_is_seen() {
        let (header, bytes) = (header(), header().encode());
        let decode = |bytes: &[u8]| Header::decode(bytes, &header.root_id, 5);
        assert_eq!(decode(&bytes), Ok((header, true)));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert_eq!(decode(&flipped), Ok((header, false)), "byte {at}");
            flipped[(at + HALF_BYTES) % bytes.len()] ^= 0x10;
            assert!(decode(&flipped).is_err(), "byte {at} of both halves");
        }
    }

    #[test]
    fn every_truncation_is_an_error_or_the_same_header() {
        let (header, bytes) = (header(), header().encode());
        for length in 0..bytes.len() {
            match Header::decode(&bytes[..length], &header.root_id, 5) {
                Ok((found, whole)) => assert!(found == header && !whole && length >= HALF_BYTES),
                Err(fault) => assert!(fault == HeaderFault::Unreadable && length < HALF_BYTES),
            }
        }
    }

    #[test]
    fn a_header_of_another_root_number_or_version_is_told_apart() {
        let (header, mut bytes) = (header(), header().encode());
        assert_eq!(Header::decode(&bytes, &[0; 16], 5), Err(HeaderFault::ForeignRoot));
        assert_eq!(Header::decode(&bytes, &header.root_id, 6), Err(HeaderFault::OtherNumber(5)));
        bytes[8] = 2;
        let check = crc32fast::hash(&bytes[..CHECK_OFFSET]);
        bytes[CHECK_OFFSET..HALF_BYTES].copy_from_slice(&check.to_le_bytes());
        assert_eq!(Header::decode(&bytes, &header.root_id, 5), Err(HeaderFault::VersionTooNew(2)));
    }

    #[test]
    fn a_half_activated_header_is_active_and_its_first_half_alone_decides() {
        let active = header();
        let standby = Header { activation: None, ..active };
        let torn = [active.encode_half(0), standby.encode_half(1)].concat();
        assert_eq!(Header::decode_any(&torn), Ok((active, true)));
    }

    #[test]
    fn only_sixteen_digits_and_the_suffix_are_a_segment_name() {
        assert_eq!(segment_number(&segment_name(42)), Some(42));
        assert_eq!(segment_number(&segment_name(NUMBER_MAX)), Some(NUMBER_MAX));
        for name in
            ["42.seg", "0000000000000000.seg", "+000000000000042.seg", "0000000000000042.segx", ".seg"]
        {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }
}
