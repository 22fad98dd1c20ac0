//! A piece of the log in a backup: its records from one number to another, copied as they were.
//!
//! | offset | bytes | field     | notes                                                |
//! |-------:|------:|-----------|------------------------------------------------------|
//! |      0 |     8 | `magic`   | `ANNPIECE`                                           |
//! |      8 |     2 | `version` | 1                                                    |
//! |     10 |    16 | `store`   | the id of the store whose log it is                  |
//! |     26 |     8 | `after`   | its records come after this one                      |
//! |     34 |     8 | `through` | and go up to this one; numbers without a record there hold none |
//! |     42 |     - | records   | each: number (u64), kind (u8), length (u32), payload |
//!
//! Little-endian. It has no check of its own: the snapshot that names it has its digest, without which it is not read.

use annals_model::Lsn;
use annals_model::bytes::{Cursor, PutBytes};

use super::snapshot::PieceName;
use crate::files::{Digest, digest_bytes};

const MAGIC: &[u8; 8] = b"ANNPIECE";
const VERSION: u16 = 1;
const THROUGH_OFFSET: usize = 34;
const HEADER_BYTES: usize = 42;
/// A piece ends with the record that makes it so long.
const PIECE_BYTES_MAX: usize = 16 << 20;

/// A piece that is being filled.
pub(super) struct Piece {
    after: Lsn,
    bytes: Vec<u8>,
}

impl Piece {
    pub(super) fn begin(store: [u8; 16], after: Lsn) -> Piece {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.put(MAGIC);
        bytes.put_u16(VERSION);
        bytes.put(&store);
        bytes.put_u64(after.0);
        bytes.put_u64(after.0);
        Piece { after, bytes }
    }

    /// Takes a record; whether the piece is long enough now.
    pub(super) fn push(&mut self, lsn: Lsn, kind: u8, payload: &[u8]) -> bool {
        self.bytes.put_u64(lsn.0);
        self.bytes.put_u8(kind);
        self.bytes.put_u32(payload.len() as u32);
        self.bytes.put(payload);
        self.bytes.len() >= PIECE_BYTES_MAX
    }

    /// Ends it; `None` where that leaves no number to it.
    pub(super) fn end(mut self, through: Lsn) -> Option<(PieceName, Vec<u8>, Digest)> {
        if through <= self.after {
            return None;
        }
        let field = self.bytes.get_mut(THROUGH_OFFSET..HEADER_BYTES)?;
        field.copy_from_slice(&through.0.to_le_bytes());
        let digest = digest_bytes(&self.bytes);
        let mut start = [0; 4];
        start.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Some((PieceName { after: self.after, through, digest: start }, self.bytes, digest))
    }
}

/// Hands out the records of a piece; `None` where it is not that piece. What was handed out by then does not count.
pub(crate) fn decode_piece(
    bytes: &[u8],
    store: &[u8; 16],
    name: &PieceName,
    on_record: &mut dyn FnMut(Lsn, u8, &[u8]),
) -> Option<()> {
    let mut cursor = Cursor::new(bytes);
    let ours = cursor.array()? == *MAGIC && cursor.u16()? == VERSION && cursor.array()? == *store;
    let mut before = Lsn(cursor.u64()?);
    let through = Lsn(cursor.u64()?);
    if !ours || before != name.after || through != name.through {
        return None;
    }
    while !cursor.is_empty() {
        let lsn = Lsn(cursor.u64()?);
        let kind = cursor.u8()?;
        let length = usize::try_from(cursor.u32()?).ok()?;
        let payload = cursor.take(length)?;
        if lsn <= before || lsn > through {
            return None;
        }
        before = lsn;
        on_record(lsn, kind, payload);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (PieceName, Vec<u8>) {
        let mut piece = Piece::begin([7; 16], Lsn(4));
        assert!(!piece.push(Lsn(5), 1, b"one"));
        assert!(!piece.push(Lsn(9), 1, b""));
        let (name, bytes, digest) = piece.end(Lsn(10)).expect("it has numbers");
        assert_eq!(digest, digest_bytes(&bytes));
        (name, bytes)
    }

    fn read(bytes: &[u8], name: &PieceName) -> Option<Vec<(u64, Vec<u8>)>> {
        let mut records = Vec::new();
        decode_piece(bytes, &[7; 16], name, &mut |lsn, _, payload| records.push((lsn.0, payload.to_vec())))?;
        Some(records)
    }

    #[test]
    fn the_bytes_are_held_and_read_back() {
        let (name, bytes) = sample();
        let expected = [
            &b"ANNPIECE\x01\0"[..],
            &[7; 16],
            b"\x04\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0",
            b"\x05\0\0\0\0\0\0\0\x01\x03\0\0\0one\x09\0\0\0\0\0\0\0\x01\0\0\0\0",
        ]
        .concat();
        assert_eq!(bytes, expected);
        assert_eq!(read(&bytes, &name), Some(vec![(5, b"one".to_vec()), (9, Vec::new())]));
        assert!(Piece::begin([7; 16], Lsn(4)).end(Lsn(4)).is_none());
    }

    #[test]
    fn damage_never_panics_and_another_piece_is_refused() {
        let (name, bytes) = sample();
        for at in 0..bytes.len() {
            for mask in 1..=255 {
                let mut damaged = bytes.clone();
                damaged[at] ^= mask;
                let _ = read(&damaged, &name);
            }
        }
        assert_eq!(read(&bytes, &PieceName { after: Lsn(3), ..name }), None);
        assert_eq!(read(&bytes, &PieceName { through: Lsn(11), ..name }), None);
        assert!(decode_piece(&bytes, &[8; 16], &name, &mut |_, _, _| {}).is_none());
    }
}
