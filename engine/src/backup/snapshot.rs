//! What a snapshot consists of.
//!
//! Content of the twin file `snapshot-<n>` (see [`crate::twin`]; its root is the store's id, its generation the snapshot's
//! number). Numbers are LEB128, texts are length-prefixed:
//!
//! | field       | type   | notes                                                                              |
//! |-------------|--------|------------------------------------------------------------------------------------|
//! | `taken`     | i64    | milliseconds: what was acknowledged until then is in it                            |
//! | `continues` | number | the snapshot whose log this one's goes on from without a hole; 0 none              |
//! | `next`      | number | the number of the store's next tenant                                              |
//! | `tenants`   | list   | number (ascending), id (text), generation of its manifest, of its keys (numbers)   |
//! | `durable`   | number | the record up to which the log said that it was durable: later snapshots go on after it |
//! | `pieces`    | list   | of the log, up to `durable`, one after the other: after, through (numbers), start of the digest (4) |
//! | `tail`      | list   | the same of what the log did not say to be durable; at most one, and in no other snapshot |
//! | `faults`    | list   | what was not whole in the store, a sentence (text) each                            |
//! | `files`     | list   | name (text, ascending), bytes (number), SHA-256 (32): all of the snapshot          |

use std::collections::BTreeMap;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{Lsn, TenantId, TenantNumber, Timestamp};

use crate::files::Digest;
use crate::manifest::take_list;
use crate::receipt::hex;

/// A decoded snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The id of the store that it is of.
    pub(crate) store: [u8; 16],
    pub(crate) taken: Timestamp,
    pub(crate) continues: u64,
    pub(crate) next: u32,
    pub(crate) tenants: Vec<SnapshotTenant>,
    pub(crate) durable: Lsn,
    /// One after the other without a hole, up to `durable`. What manifests need of the log is in them and in the tail.
    pub(crate) pieces: Vec<PieceName>,
    pub(crate) tail: Option<PieceName>,
    pub(crate) faults: Vec<String>,
    pub(crate) files: BTreeMap<String, Entry>,
}

/// A tenant of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotTenant {
    pub(crate) number: TenantNumber,
    pub(crate) id: TenantId,
    /// The generations of its two files.
    pub(crate) manifest: u64,
    pub(crate) keys: u64,
}

/// Which records a piece of the log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PieceName {
    pub(crate) after: Lsn,
    pub(crate) through: Lsn,
    /// The start of its digest: two tails may be of the same records and differ.
    pub(crate) digest: [u8; 4],
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) bytes: u64,
    pub(crate) digest: Digest,
}

impl PieceName {
    /// Its file.
    pub(crate) fn file(&self) -> String {
        format!("log-{:016}-{:016}-{}", self.after.0, self.through.0, hex(&self.digest))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.after.0);
        out.put_varint(self.through.0);
        out.put(&self.digest);
    }

    fn decode(c: &mut Cursor<'_>) -> Option<PieceName> {
        Some(PieceName { after: Lsn(c.varint()?), through: Lsn(c.varint()?), digest: c.array()? })
    }
}

impl Snapshot {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_i64(self.taken.0);
        out.put_varint(self.continues);
        out.put_varint(u64::from(self.next));
        out.put_varint(self.tenants.len() as u64);
        for tenant in &self.tenants {
            out.put_varint(u64::from(tenant.number.0));
            out.put_text(tenant.id.as_str());
            out.put_varint(tenant.manifest);
            out.put_varint(tenant.keys);
        }
        out.put_varint(self.durable.0);
        out.put_varint(self.pieces.len() as u64);
        self.pieces.iter().for_each(|piece| piece.encode(&mut out));
        out.put_varint(self.tail.iter().len() as u64);
        self.tail.iter().for_each(|piece| piece.encode(&mut out));
        out.put_varint(self.faults.len() as u64);
        self.faults.iter().for_each(|fault| out.put_text(fault));
        out.put_varint(self.files.len() as u64);
        for (name, entry) in &self.files {
            out.put_text(name);
            out.put_varint(entry.bytes);
            out.put(&entry.digest);
        }
        out
    }

    /// Decodes what was stored for the store of that id; `None` where it is not that.
    pub(crate) fn decode(bytes: &[u8], store: [u8; 16]) -> Option<Snapshot> {
        let mut cursor = Cursor::new(bytes);
        let c = &mut cursor;
        let snapshot = Snapshot {
            store,
            taken: Timestamp(c.i64()?),
            continues: c.varint()?,
            next: u32::try_from(c.varint()?).ok()?,
            tenants: take_list(c, 4, |c| {
                Some(SnapshotTenant {
                    number: TenantNumber(u32::try_from(c.varint()?).ok()?),
                    id: TenantId::new(c.text()?).ok()?,
                    manifest: c.varint()?,
                    keys: c.varint()?,
                })
            })?,
            durable: Lsn(c.varint()?),
            pieces: take_list(c, 6, PieceName::decode)?,
            tail: match take_list(c, 6, PieceName::decode)?.as_slice() {
                [] => None,
                [tail] => Some(*tail),
                _ => return None,
            },
            faults: take_list(c, 1, |c| c.text().map(str::to_owned))?,
            files: {
                let files = take_list(c, 34, |c| {
                    let name = c.text().filter(|name| is_plain(name))?.to_owned();
                    Some((name, Entry { bytes: c.varint()?, digest: c.array()? }))
                })?;
                files.is_sorted_by(|a, b| a.0 < b.0).then(|| files.into_iter().collect())?
            },
        };
        let chained = snapshot.pieces.iter().chain(&snapshot.tail);
        let ends = snapshot.pieces.last().is_none_or(|last| last.through == snapshot.durable)
            && snapshot.tail.is_none_or(|tail| tail.after == snapshot.durable);
        let chained = ends
            && chained.clone().all(|piece| piece.after < piece.through)
            && chained.clone().zip(chained.skip(1)).all(|(a, b)| a.through == b.after);
        let ascending = snapshot.tenants.is_sorted_by(|a, b| a.number < b.number)
            && snapshot.tenants.last().is_none_or(|last| last.number.0 < snapshot.next);
        (cursor.is_empty() && chained && ascending).then_some(snapshot)
    }
}

/// Whether a name from a file is one that a backup gives: it never leads out of a directory.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Snapshot {
        let piece =
            |after, through| PieceName { after: Lsn(after), through: Lsn(through), digest: [1, 2, 3, 4] };
        Snapshot {
            store: [9; 16],
            taken: Timestamp(5),
            continues: 6,
            next: 300,
            tenants: vec![SnapshotTenant {
                number: TenantNumber(7),
                id: TenantId::new("acme").expect("valid"),
                manifest: 8,
                keys: 1,
            }],
            durable: Lsn(9),
            pieces: vec![piece(0, 4), piece(4, 9)],
            tail: Some(piece(9, 10)),
            faults: vec!["x".to_owned()],
            files: [("7-keys-00000001".to_owned(), Entry { bytes: 2, digest: [3; 32] })].into(),
        }
    }

    #[test]
    fn the_bytes_are_held() {
        let expected = [
            &b"\x05\0\0\0\0\0\0\0\x06\xac\x02\x01\x07\x04acme\x08\x01"[..],
            b"\x09\x02\x00\x04\x01\x02\x03\x04\x04\x09\x01\x02\x03\x04\x01\x09\x0a\x01\x02\x03\x04\x01\x01x",
            b"\x01\x0f7-keys-00000001\x02",
            &[3; 32],
        ]
        .concat();
        assert_eq!(sample().encode(), expected);
        assert_eq!(Snapshot::decode(&expected, [9; 16]), Some(sample()));
    }

    #[test]
    fn damage_never_panics_and_cut_ones_are_refused() {
        let bytes = sample().encode();
        for length in 0..bytes.len() {
            assert_eq!(Snapshot::decode(&bytes[..length], [9; 16]), None, "cut at {length}");
        }
        for at in 0..bytes.len() {
            for mask in 1..=255 {
                let mut damaged = bytes.clone();
                damaged[at] ^= mask;
                let _ = Snapshot::decode(&damaged, [9; 16]);
            }
        }
    }

    #[test]
    fn names_that_lead_elsewhere_and_logs_with_holes_are_refused() {
        let decodes = |snapshot: &Snapshot| Snapshot::decode(&snapshot.encode(), [9; 16]).is_some();
        for name in ["../x", "a/b", "", ".", "..", "a\\b", "-x", "a b"] {
            let entry = Entry { bytes: 0, digest: [0; 32] };
            let files = [(name.to_owned(), entry)].into();
            assert!(!decodes(&Snapshot { files, ..sample() }), "{name}");
        }
        let mut holed = sample();
        holed.pieces[1].after = Lsn(5);
        assert!(!decodes(&holed));
        assert!(!decodes(&Snapshot { tail: Some(holed.pieces[0]), ..sample() }));
    }
}
