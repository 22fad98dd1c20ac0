//! Where a tenant is in its life, as its manifest says.
//!
//! | field      | type   | notes                                                                      |
//! |------------|--------|----------------------------------------------------------------------------|
//! | `state`    | u8     | 0 it lives; 1 it was cancelled, and `since` and `due` follow; 2 it was erased, and all follows |
//! | `since`    | i64    | when that was, milliseconds: one that was erased is hidden from then on    |
//! | `due`      | i64    | when it is to be erased; of one that was, by when its bytes are removed    |
//! | `through`  | number | its records in the log are at or below this LSN                            |
//! | `sealed`   | u8     | 1 where its data was sealed, so that its keys opened it and nothing else did |
//! | `keys`     | list   | id (u32) and class (u8) of its data keys                                   |
//! | `measured` | u8     | 0 not yet; 1, and what follows is there                                    |
//! | `destroyed` | i64   | when its keys were gone                                                    |
//! | `digests`  | -      | for each block that the manifest names: u8 0 where it could not be read, else 1 and SHA-256 (32) of its file |
//!
//! Numbers in LEB128. The record stays until the receipt is written: it is what the receipt is made of.

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{KeyId, Lsn, Timestamp};

use crate::key_file::KeyClass;
use crate::manifest::take_list;

/// Where a tenant is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Life {
    /// It is written to and read.
    Live,
    /// It is read, and takes no more data.
    Cancelled { since: Timestamp, due: Timestamp },
    /// Nobody sees it any more, and its bytes go.
    Erased(Box<Erased>),
}

/// What is known of an erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Erased {
    pub(crate) since: Timestamp,
    pub(crate) due: Timestamp,
    pub(crate) through: Lsn,
    pub(crate) sealed: bool,
    pub(crate) keys: Vec<(KeyId, KeyClass)>,
    pub(crate) measured: Option<Measured>,
}

/// What was taken down before the files went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) destroyed: Timestamp,
    /// Of the manifest's blocks, in its order; `None` of one that could not be read.
    pub(crate) digests: Vec<Option<[u8; 32]>>,
}

impl std::fmt::Display for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Life::Live => f.write_str("it lives"),
            Life::Cancelled { since, due } => write!(f, "cancelled at {since}, erased at {due}"),
            Life::Erased(erased) => write!(f, "erased at {}, removed by {}", erased.since, erased.due),
        }
    }
}

impl Life {
    /// When it is to be erased, where it is cancelled.
    pub(crate) fn cancelled(&self) -> Option<Timestamp> {
        match self {
            Life::Cancelled { due, .. } => Some(*due),
            Life::Live | Life::Erased(_) => None,
        }
    }

    pub(crate) fn erased(&self) -> Option<&Erased> {
        match self {
            Life::Live | Life::Cancelled { .. } => None,
            Life::Erased(erased) => Some(erased),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let erased = match self {
            Life::Live => return out.put_u8(0),
            Life::Cancelled { since, due } => {
                out.put_u8(1);
                out.put_i64(since.0);
                return out.put_i64(due.0);
            }
            Life::Erased(erased) => erased,
        };
        out.put_u8(2);
        out.put_i64(erased.since.0);
        out.put_i64(erased.due.0);
        out.put_varint(erased.through.0);
        out.put_u8(u8::from(erased.sealed));
        out.put_varint(erased.keys.len() as u64);
        for (id, class) in &erased.keys {
            out.put_u32(id.0);
            out.put_u8(*class as u8);
        }
        let Some(measured) = &erased.measured else { return out.put_u8(0) };
        out.put_u8(1);
        out.put_i64(measured.destroyed.0);
        out.put_varint(measured.digests.len() as u64);
        for digest in &measured.digests {
            out.put_u8(u8::from(digest.is_some()));
            digest.iter().for_each(|digest| out.put(digest));
        }
    }

    pub(crate) fn decode(c: &mut Cursor<'_>) -> Option<Life> {
        let flag = |byte| match byte {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        };
        match c.u8()? {
            0 => Some(Life::Live),
            1 => Some(Life::Cancelled { since: Timestamp(c.i64()?), due: Timestamp(c.i64()?) }),
            2 => Some(Life::Erased(Box::new(Erased {
                since: Timestamp(c.i64()?),
                due: Timestamp(c.i64()?),
                through: Lsn(c.varint()?),
                sealed: flag(c.u8()?)?,
                keys: take_list(c, 5, |c| Some((KeyId(c.u32()?), KeyClass::from_tag(c.u8()?)?)))?,
                measured: match flag(c.u8()?)? {
                    false => None,
                    true => Some(Measured {
                        destroyed: Timestamp(c.i64()?),
                        digests: take_list(c, 1, |c| {
                            Some(if flag(c.u8()?)? { Some(c.array()?) } else { None })
                        })?,
                    }),
                },
            }))),
            _ => None,
        }
    }
}
