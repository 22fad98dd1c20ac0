//! Which files of the log's directory are segments, and in what order they continue each other.
//!
//! Every active segment names its predecessor, so the order is read backwards from the highest number:
//!
//! ```text
//!   wal/  …07.seg <── …08.seg   …09.seg   …10.seg <── …11.seg        …12.seg
//!            ^           ^      stray     supersedes   last link      standby
//!            │           └────── 08  <─── (repeats it: 08 is retired)
//!            └── first link; its own predecessor was truncated
//! ```
//!
//! - A *superseded* segment was copied by a recovery that was cut short before it removed the original.
//! - A *stray* was activated, and failed before any frame went in; its successor names the same predecessor.
//! - A *standby* was prepared by a writer that ended before it needed it.
//! - A predecessor that is missing while older segments are there is damage; one that is missing with all that is
//!   older was truncated.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use annals_vfs::{DirEntryKind, File, Vfs, read_around};

use crate::error::{Damage, DamageKind, HeaderFault, WalError};
use crate::header::{
    Activation, HEADER_BYTES, Header, Previous, VERSION, path_number, segment_name, segment_number,
};

/// How often a listing is repeated because a segment went away between listing and opening.
const LISTINGS_MAX: usize = 16;

/// A segment file whose header was read.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    pub(crate) file_bytes: u64,
    /// Whether both halves of the header verified.
    pub(crate) header_whole: bool,
}

impl Segment {
    /// Opens it for reading.
    pub(crate) fn open(&self, vfs: &dyn Vfs) -> Result<Box<dyn File>, WalError> {
        vfs.open(&self.path).map_err(|source| WalError::io("open", &self.path, source))
    }
}

/// A segment of the chain.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) segment: Segment,
    pub(crate) activation: Activation,
    /// What the next segment says of this one; `None` of the last, and of one whose successor is missing.
    pub(crate) stated: Option<Previous>,
    /// Whether the predecessor should be there and is not.
    pub(crate) previous_missing: bool,
}

impl Link {
    /// Where the predecessor should be, if it is missing.
    pub(crate) fn missing_path(&self) -> Option<PathBuf> {
        let directory = self.segment.path.parent()?;
        self.previous_missing.then(|| directory.join(segment_name(self.activation.previous.number)))
    }
}

/// A file named like a segment whose header cannot be used.
#[derive(Debug, Clone)]
pub(crate) struct Unusable {
    pub(crate) path: PathBuf,
    pub(crate) number: u64,
    pub(crate) file_bytes: u64,
}

/// What a log's directory holds.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// The log, oldest first.
    pub(crate) links: Vec<Link>,
    /// Segments that another one supersedes.
    pub(crate) superseded: Vec<Segment>,
    /// Activated segments outside the chain.
    pub(crate) strays: Vec<Segment>,
    /// Segments that were never activated.
    pub(crate) standbys: Vec<Segment>,
    /// Files whose header cannot be used.
    pub(crate) unusable: Vec<Unusable>,
    /// What is wrong so far.
    pub(crate) damage: Vec<Damage>,
    /// The highest number of any file named like a segment; 0 where there is none.
    pub(crate) number_max: u64,
}

impl Chain {
    /// Reads all headers and orders them. Changes nothing.
    pub(crate) fn read(vfs: &dyn Vfs, directory: &Path, root_id: &[u8; 16]) -> Result<Chain, WalError> {
        let mut listings = 0;
        loop {
            listings += 1;
            match Chain::read_once(vfs, directory, root_id)? {
                (chain, false) => return Ok(chain),
                (chain, true) if listings == LISTINGS_MAX => return Ok(chain),
                _ => {}
            }
        }
    }

    /// Also says whether a listed segment was gone when it was opened.
    fn read_once(vfs: &dyn Vfs, directory: &Path, root_id: &[u8; 16]) -> Result<(Chain, bool), WalError> {
        let mut chain = Chain::default();
        let mut actives = BTreeMap::new();
        let mut vanished = false;
        let entries = vfs.list(directory).map_err(|source| WalError::io("list", directory, source))?;
        for entry in entries {
            let path = directory.join(&entry.name);
            let number = segment_number(&entry.name).filter(|_| entry.kind == DirEntryKind::File);
            let Some(number) = number else {
                chain.damage.push(Damage { path, offset: 0, lsns: None, kind: DamageKind::UnknownFile });
                continue;
            };
            chain.number_max = chain.number_max.max(number);
            match read_header(vfs, &path, root_id, number)? {
                None => vanished = true,
                Some((file_bytes, Ok((header, header_whole)))) => {
                    let segment = Segment { path, header, file_bytes, header_whole };
                    match header.activation {
                        Some(activation) => {
                            actives.insert(number, (segment, activation));
                        }
                        None => chain.standbys.push(segment),
                    }
                }
                Some((_, Err(HeaderFault::VersionTooNew(found)))) => {
                    return Err(WalError::VersionTooNew { path, found, newest_known: VERSION });
                }
                Some((file_bytes, Err(fault))) => {
                    let kind = DamageKind::Header(fault);
                    chain.damage.push(Damage { path: path.clone(), offset: 0, lsns: None, kind });
                    chain.unusable.push(Unusable { path, number, file_bytes });
                }
            }
        }
        chain.order(actives);
        Ok((chain, vanished))
    }

    /// Walks the predecessors back from the highest number.
    fn order(&mut self, mut actives: BTreeMap<u64, (Segment, Activation)>) {
        let gone: BTreeSet<u64> = actives
            .values()
            .map(|(_, activation)| activation.superseded)
            .filter(|number| *number > 0)
            .collect();
        for number in gone {
            if let Some((segment, _)) = actives.remove(&number) {
                self.superseded.push(segment);
            }
        }
        let mut stated = None;
        while let Some((number, (segment, activation))) = actives.pop_last() {
            let previous = activation.previous;
            // What lies between a segment and the predecessor that it names never was in the chain.
            let strays = actives.split_off(&previous.number.saturating_add(1).min(number));
            self.strays.extend(strays.into_values().map(|(stray, _)| stray));
            let named = actives.contains_key(&previous.number);
            let unusable = self.unusable.iter().any(|file| file.number == previous.number);
            let previous_missing = !named && previous.number > 0 && (!actives.is_empty() || unusable);
            self.links.push(Link { segment, activation, stated, previous_missing });
            stated = named.then_some(previous);
        }
        self.links.reverse();
    }
}

/// A file's length and what its header says; `None` where the file is gone.
#[expect(clippy::type_complexity, reason = "read in one place only")]
fn read_header(
    vfs: &dyn Vfs,
    path: &Path,
    root_id: &[u8; 16],
    number: u64,
) -> Result<Option<(u64, Result<(Header, bool), HeaderFault>)>, WalError> {
    let file = match vfs.open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(WalError::io("open", path, source)),
    };
    let read = || -> std::io::Result<_> {
        let mut bytes = [0; HEADER_BYTES as usize];
        let count = read_around(&*file, &mut bytes, 0, &mut Vec::new())?;
        Ok(Header::decode(bytes.get(..count).unwrap_or(&bytes), root_id, number))
    };
    let failed = |source| WalError::io("read", path, source);
    let mut decoded = read().map_err(failed)?;
    if decoded.is_err() {
        // A writer in another process may have been rewriting the header just then.
        decoded = read().map_err(failed)?;
    }
    Ok(Some((file.len().map_err(failed)?, decoded)))
}

/// A segment that must be there and whole: one just written.
pub(crate) fn read_segment(
    vfs: &dyn Vfs,
    path: &Path,
    root_id: &[u8; 16],
    number: u64,
) -> Result<Segment, WalError> {
    match read_header(vfs, path, root_id, number)? {
        Some((file_bytes, Ok((header, header_whole)))) => {
            Ok(Segment { path: path.to_owned(), header, file_bytes, header_whole })
        }
        None => Err(WalError::io("read back", path, ErrorKind::NotFound.into())),
        Some((_, Err(fault))) => Err(WalError::io(
            "read back",
            path,
            std::io::Error::new(ErrorKind::InvalidData, fault.to_string()),
        )),
    }
}

/// What the start of a file says of itself, whichever root and number it is of; for inspection.
pub(crate) fn read_any_header(
    path: &Path,
    file: &dyn File,
) -> Result<Result<(Header, bool), HeaderFault>, WalError> {
    let mut bytes = [0; HEADER_BYTES as usize];
    let count = read_around(file, &mut bytes, 0, &mut Vec::new())
        .map_err(|source| WalError::io("read", path, source))?;
    let decoded = Header::decode_any(bytes.get(..count).unwrap_or(&bytes));
    Ok(match (decoded, path_number(path)) {
        (Ok((header, _)), Some(number)) if header.number != number => {
            Err(HeaderFault::OtherNumber(header.number))
        }
        (decoded, _) => decoded,
    })
}
