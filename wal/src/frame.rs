//! A frame: one record of the log, or a note of the log about itself.
//!
//! | offset | bytes | field           | notes                                                              |
//! |-------:|------:|-----------------|--------------------------------------------------------------------|
//! |      0 |     4 | `header_check`  | CRC-32, seeded by salt and segment number, of the frame's offset and bytes 4 to 32 |
//! |      4 |     4 | `payload_bytes` | 0 in all but records                                                |
//! |      8 |     8 | `lsn`           | see below                                                           |
//! |     16 |     8 | `durable_lsn`   | the highest LSN known synced when the frame was built; at most `lsn` |
//! |     24 |     4 | `payload_check` | CRC-32, seeded apart from the other, of the frame's offset and the payload |
//! |     28 |     1 | `kind`          | of a record: the caller's, opaque here; of a gap: 0 never written, 1 lost to damage; else 0 |
//! |     29 |     1 | `type`          | 1 record, 2 watermark, 3 gap, 4 seal; never 0, so that zeros are no frame |
//! |     30 |     2 |                 | 0                                                                   |
//! |     32 |       | `payload`       | then zeros to a multiple of 8                                       |
//!
//! Little-endian. Frames start at multiples of 8, the first right after the segment's header, each where the one
//! before it ends.
//!
//! - A **record**'s LSN is one more than the LSN of the frame before it.
//! - A **gap** says that the LSNs after the frame before it, up to and with its own, hold no record.
//! - A **watermark** repeats the LSN before it and says, by `durable_lsn`, that everything up to it was synced
//!   before the watermark was written. A **seal** is a watermark after which the writer wrote no more, on purpose.
//!
//! The two checks have seeds of their own, both from the segment's random salt and number, and both cover the
//! offset: bytes left over from another file, a frame at another place, and a payload that imitates frames do not
//! verify. A bad payload check under a good header check costs that one record, for its length can be trusted.

use crc32fast::Hasher;

use crate::fields::Fields;
use crate::lsn::Lsn;

/// Bytes before a payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 32;
/// Every frame starts at a multiple of this.
pub(crate) const FRAME_ALIGN: usize = 8;
/// Where `type` lies in a frame.
pub(crate) const FRAME_TYPE_OFFSET: usize = 29;

const _: () = assert!(FRAME_HEADER_BYTES.is_multiple_of(FRAME_ALIGN));

/// The `kind` of a gap whose records were damaged, and reported as such, before the segment was written.
pub(crate) const GAP_LOST: u8 = 1;
/// The `kind` of a gap whose LSNs were given out but whose records were never acknowledged.
pub(crate) const GAP_UNWRITTEN: u8 = 0;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameType {
    /// A record of the caller.
    Record,
    /// Says through which LSN the log is durable.
    Watermark,
    /// Says which LSNs hold no record.
    Gap,
    /// A watermark, and the end of the segment by a clean close.
    Seal,
}

impl FrameType {
    fn tag(self) -> u8 {
        match self {
            FrameType::Record => 1,
            FrameType::Watermark => 2,
            FrameType::Gap => 3,
            FrameType::Seal => 4,
        }
    }

    fn from_tag(tag: u8) -> Option<FrameType> {
        [FrameType::Record, FrameType::Watermark, FrameType::Gap, FrameType::Seal]
            .into_iter()
            .find(|frame_type| frame_type.tag() == tag)
    }
}

/// The fields of a frame's header, without its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) frame_type: FrameType,
    pub(crate) kind: u8,
    pub(crate) lsn: Lsn,
    pub(crate) durable: Lsn,
}

/// A header that verified: the frame, how long its payload is, and what it must check to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameHeader {
    pub(crate) frame: Frame,
    pub(crate) payload_bytes: u32,
    pub(crate) payload_check: u32,
    pub(crate) header_check: u32,
}

impl FrameHeader {
    /// How many bytes the frame takes in its segment.
    pub(crate) fn frame_bytes(&self) -> u64 {
        frame_bytes(u64::from(self.payload_bytes))
    }
}

/// How many bytes a frame with such a payload takes in its segment.
pub(crate) fn frame_bytes(payload_bytes: u64) -> u64 {
    FRAME_HEADER_BYTES as u64 + payload_bytes.next_multiple_of(FRAME_ALIGN as u64)
}

/// What the checks of a segment's frames start from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameKey {
    header_seed: u32,
    payload_seed: u32,
}

impl FrameKey {
    /// The key of a segment.
    pub(crate) fn new(salt: &[u8; 16], number: u64) -> FrameKey {
        let seed = |half: [u8; 8]| {
            let mut hasher = Hasher::new();
            hasher.update(&half);
            hasher.update(&number.to_le_bytes());
            hasher.finalize()
        };
        let (low, high) = (u128::from_le_bytes(*salt) as u64, (u128::from_le_bytes(*salt) >> 64) as u64);
        FrameKey { header_seed: seed(low.to_le_bytes()), payload_seed: seed(high.to_le_bytes()) }
    }

    /// What a payload in a frame at `offset` checks to.
    pub(crate) fn payload_check(&self, offset: u64, payload: &[u8]) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.payload_seed);
        hasher.update(&offset.to_le_bytes());
        hasher.update(payload);
        hasher.finalize()
    }

    fn header_check(&self, offset: u64, after_check: &[u8; FRAME_HEADER_BYTES - 4]) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.header_seed);
        hasher.update(&offset.to_le_bytes());
        hasher.update(after_check);
        hasher.finalize()
    }

    /// Appends a frame that will lie at `offset` of the segment, padding included. Returns its header check.
    pub(crate) fn encode(&self, offset: u64, frame: Frame, payload: &[u8], into: &mut Vec<u8>) -> u32 {
        assert!(offset.is_multiple_of(FRAME_ALIGN as u64), "frames are aligned");
        assert!(frame.durable <= frame.lsn, "a frame does not know of what comes after it");
        let payload_bytes = u32::try_from(payload.len()).expect_bounded();
        let mut rest = [0_u8; FRAME_HEADER_BYTES - 4];
        rest[0..4].copy_from_slice(&payload_bytes.to_le_bytes());
        rest[4..12].copy_from_slice(&frame.lsn.0.to_le_bytes());
        rest[12..20].copy_from_slice(&frame.durable.0.to_le_bytes());
        rest[20..24].copy_from_slice(&self.payload_check(offset, payload).to_le_bytes());
        rest[24] = frame.kind;
        rest[25] = frame.frame_type.tag();
        let check = self.header_check(offset, &rest);
        into.extend_from_slice(&check.to_le_bytes());
        into.extend_from_slice(&rest);
        into.extend_from_slice(payload);
        let padding = payload.len().next_multiple_of(FRAME_ALIGN) - payload.len();
        into.extend(std::iter::repeat_n(0, padding));
        check
    }

    /// The header at `offset`, if these bytes are one.
    pub(crate) fn decode(&self, offset: u64, bytes: &[u8; FRAME_HEADER_BYTES]) -> Option<FrameHeader> {
        let frame_type = FrameType::from_tag(bytes[FRAME_TYPE_OFFSET])?;
        let mut fields = Fields(bytes);
        let header_check = fields.u32()?;
        let rest: &[u8; FRAME_HEADER_BYTES - 4] = fields.0.first_chunk()?;
        if header_check != self.header_check(offset, rest) {
            return None;
        }
        let payload_bytes = fields.u32()?;
        let lsn = Lsn(fields.u64()?);
        let durable = Lsn(fields.u64()?);
        let payload_check = fields.u32()?;
        let kind = fields.u8()?;
        let _tag = fields.u8()?;
        let reserved = fields.u16()?;
        let record = frame_type == FrameType::Record;
        // Recovery writes gaps again as they are.
        let known = frame_type != FrameType::Gap || matches!(kind, GAP_LOST | GAP_UNWRITTEN);
        let numbered = lsn > Lsn(0) || !matches!(frame_type, FrameType::Record | FrameType::Gap);
        (known && reserved == 0 && durable <= lsn && numbered && (record || payload_bytes == 0)).then_some(
            FrameHeader {
                frame: Frame { frame_type, kind, lsn, durable },
                payload_bytes,
                payload_check,
                header_check,
            },
        )
    }
}

/// Payload lengths are checked against `record_bytes_max`, a `u32`, where records enter the log.
trait Bounded {
    fn expect_bounded(self) -> u32;
}

impl Bounded for Result<u32, std::num::TryFromIntError> {
    #[expect(clippy::expect_used, reason = "the length was checked at enqueue; it is not input here")]
    fn expect_bounded(self) -> u32 {
        self.expect("a payload is at most record_bytes_max long")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden() -> (FrameKey, Vec<u8>) {
        let key = FrameKey::new(b"0123456789abcdef", 7);
        let mut bytes = Vec::new();
        let frame = Frame { frame_type: FrameType::Record, kind: 9, lsn: Lsn(0x0102), durable: Lsn(0x0101) };
        key.encode(4096, frame, b"payload", &mut bytes);
        (key, bytes)
    }

    #[test]
    fn the_bytes_of_a_frame_do_not_change() {
        let (_, bytes) = golden();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "aec95db60700000002010000000000000101000000000000f2fe17c7090100007061796c6f616400");
    }

    #[test]
    fn a_frame_verifies_at_its_own_offset_only() {
        let (key, bytes) = golden();
        let header: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk().expect("a frame has a header");
        let decoded = key.decode(4096, header).expect("verifies");
        assert_eq!(decoded.frame.lsn, Lsn(0x0102));
        assert_eq!(decoded.payload_check, key.payload_check(4096, b"payload"));
        assert_eq!(decoded.frame_bytes(), bytes.len() as u64);
        assert!((0..64).all(|shift| key.decode(4096 ^ (1 << shift), header).is_none()));
        assert!(FrameKey::new(b"0123456789abcdef", 8).decode(4096, header).is_none());
        assert!(FrameKey::new(b"1123456789abcdef", 7).decode(4096, header).is_none());
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_seen() {
        let (key, bytes) = golden();
        let header: [u8; FRAME_HEADER_BYTES] = *bytes.first_chunk().expect("a frame has a header");
        for bit in 0..FRAME_HEADER_BYTES * 8 {
            let mut flipped = header;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(key.decode(4096, &flipped).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn a_gap_of_a_kind_that_does_not_exist_is_no_frame() {
        let (key, _) = golden();
        for kind in 0..=u8::MAX {
            let frame = Frame { frame_type: FrameType::Gap, kind, lsn: Lsn(2), durable: Lsn(1) };
            let mut bytes = Vec::new();
            key.encode(4096, frame, &[], &mut bytes);
            let header = key.decode(4096, bytes.first_chunk().expect("a frame has a header"));
            assert_eq!(header.is_some(), kind == GAP_LOST || kind == GAP_UNWRITTEN, "kind {kind}");
        }
    }
}
