//! Reading a block: its frame when it is opened, sections and parts when they are asked for, each copied, checked and opened.

use std::ops::Range;
use std::sync::Arc;

use annals_model::bytes::Cursor;
use annals_model::{BlockContent, BlockMeta, DataKeys, KeyId, SEAL_BYTES, TenantNumber};
use annals_vfs::Sealed;
use annals_vfs::planted::{Bug, planted};
use crc32fast::Hasher;

use super::parse::{footer_of, parse_footer, parse_header, parse_seal_header};
use super::{
    Checker, FEATURES_KNOWN, HASHED_BYTES, HEADER_BYTES, PACKING_PLAIN, Part, Section, SectionKind, VERSION,
    corrupt, io_error, unfolded_bytes_max,
};
use crate::error::{BlockError, BlockIdentity, SectionInfo};
use crate::sealing::{FileSeal, Place, SealHeader, WHOLE};
use crate::squeeze::Unsqueezer;

/// An opened block: its frame is checked, its sections are not yet.
#[derive(Debug)]
pub(crate) struct Container {
    bytes: Sealed,
    name: Arc<str>,
    pub(super) tenant: TenantNumber,
    pub(super) checker: Checker,
    pub(super) meta: BlockMeta,
    pub(super) sections: Vec<Section>,
    footer_offset: usize,
    seal_header: SealHeader,
    seal: Seal,
}

/// Whether the parts of a block can be opened.
#[derive(Debug)]
enum Seal {
    /// They are plain.
    Plain,
    /// They are sealed, and no keys were given. What was read as header and footer, and what authenticates it.
    Locked {
        frame: Vec<u8>,
        tag: [u8; SEAL_BYTES],
    },
    Open(FileSeal),
}

impl Container {
    /// Checks header and footer against each other, the size and the expected identity. What is sealed stays so.
    pub(crate) fn open(
        bytes: Sealed,
        identity: BlockIdentity,
        content: BlockContent,
        name: &str,
    ) -> Result<Container, BlockError> {
        let name: Arc<str> = name.into();
        let corrupt = |section, what| corrupt(&name, section, None, what);
        let short = || corrupt("header", "the file is shorter than a header");
        let mut head = Vec::new();
        bytes.copy(0..HEADER_BYTES.min(bytes.len()), &mut head).map_err(|error| io_error(&name, &error))?;
        let first = Cursor::new(&head).array().ok_or_else(short)?;
        let mut header = parse_header(&first).map_err(|what| corrupt("header", what))?;
        if header.version > VERSION {
            let (found, newest_known) = (header.version, VERSION);
            return Err(BlockError::VersionTooNew { name, found, newest_known });
        }
        if header.required & !FEATURES_KNOWN != 0 {
            return Err(BlockError::UnknownFeature { name, bits: header.required & !FEATURES_KNOWN });
        }
        if header.identity != identity && !planted(Bug::IdentityIgnored) {
            let (expected, found) = (identity, header.identity);
            return Err(BlockError::WrongIdentity { name, expected, found });
        }
        if identity.id.content != content {
            return Err(corrupt("header", "the block holds another content than is read from it"));
        }
        let head = Cursor::new(&head).array().ok_or_else(short)?;
        header.seal = parse_seal_header(&head, header.is_sealed()).map_err(|what| corrupt("header", what))?;
        let checker = Checker::new(identity);
        let footer = footer_of(&bytes).map_err(|error| io_error(&name, &error))?;
        let footer = footer.ok_or_else(|| corrupt("footer", "the file does not end in a footer"))?;
        let footer_offset = bytes.len() - footer.len();
        let parsed = parse_footer(&footer, footer_offset, &checker, header.is_sealed())
            .map_err(|what| corrupt("footer", what))?;
        let mut whole = Hasher::new_with_initial_len(parsed.body_check, footer_offset as u64);
        whole.update(&footer);
        let meta = BlockMeta {
            id: identity.id,
            time: parsed.totals.time,
            lsns: header.lsns,
            level: header.level,
            age: header.age,
            series: parsed.totals.series,
            rows: parsed.totals.rows,
            bytes: bytes.len() as u64,
            check: whole.finalize(),
        };
        let day = identity.id.day.range();
        if meta.time.is_empty() || meta.time.start < day.start || meta.time.end > day.end {
            return Err(corrupt("footer", "its times are outside its day"));
        }
        let seal = if header.is_sealed() {
            Seal::Locked { frame: [&head[..], &parsed.entries, &parsed.fields].concat(), tag: parsed.seal }
        } else {
            Seal::Plain
        };
        let (sections, seal_header) = (parsed.sections, header.seal);
        let tenant = identity.tenant;
        Ok(Container { bytes, name, tenant, checker, meta, sections, footer_offset, seal_header, seal })
    }

    /// Gives it the keys of its tenant and content; none where the tenant's blocks are not sealed. Verifies that header
    /// and footer are those that were sealed.
    pub(crate) fn unlock(mut self, keys: Option<&dyn DataKeys>) -> Result<Container, BlockError> {
        let (name, key) = (Arc::clone(&self.name), self.seal_header.key);
        self.seal = match (keys, self.seal) {
            (None, Seal::Plain) => Seal::Plain,
            // Somebody without keys may have put it there.
            (Some(_), Seal::Plain) => return Err(BlockError::NotSealed { name }),
            (_, Seal::Open(seal)) => Seal::Open(seal),
            (None, Seal::Locked { .. }) => return Err(BlockError::Sealed { name, key }),
            (Some(keys), Seal::Locked { frame, tag }) => {
                let identity = BlockIdentity { tenant: self.tenant, id: self.meta.id };
                let Some(seal) = FileSeal::find(keys, &self.seal_header, identity, VERSION) else {
                    return Err(BlockError::KeyMissing { name, key });
                };
                if !seal.fits(&self.seal_header) {
                    return Err(BlockError::KeyMismatch { name, key });
                }
                if !seal.is_frame(&frame, tag) {
                    return Err(corrupt(&name, "footer", None, "header or footer is not what was sealed"));
                }
                Seal::Open(seal)
            }
        };
        Ok(self)
    }

    /// The key that it is sealed with; `None` where it is not.
    pub(crate) fn key(&self) -> Option<KeyId> {
        (!matches!(self.seal, Seal::Plain)).then_some(self.seal_header.key)
    }

    /// Whether it is sealed and has no keys: nothing of its sections can be read.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self.seal, Seal::Locked { .. })
    }

    /// Opens a part that was copied and checked.
    fn open_part(&self, kind: SectionKind, place: Place, copy: &mut Vec<u8>) -> Result<(), BlockError> {
        let ordinal = (place.ordinal != WHOLE).then_some(place.ordinal);
        match &self.seal {
            Seal::Plain => Ok(()),
            Seal::Locked { .. } => {
                Err(BlockError::Sealed { name: Arc::clone(&self.name), key: self.seal_header.key })
            }
            Seal::Open(seal) if seal.open(place, copy) => Ok(()),
            Seal::Open(_) => Err(self.corrupt(kind, ordinal, "it is not what was sealed there")),
        }
    }

    pub(crate) fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// An error about one part of this block.
    pub(crate) fn corrupt(&self, kind: SectionKind, ordinal: Option<u64>, what: &'static str) -> BlockError {
        corrupt(&self.name, kind.name(), ordinal, what)
    }

    /// The section, checked and decompressed.
    pub(crate) fn section(&self, kind: SectionKind) -> Result<Vec<u8>, BlockError> {
        let corrupt = |what| self.corrupt(kind, None, what);
        let section = self.find(kind)?;
        let mut stored = Vec::new();
        self.copy(section.stored_range(), &mut stored)?;
        if self.checker.part(kind, WHOLE, &stored) != section.check && !planted(Bug::PartNotChecked) {
            return Err(corrupt("check mismatch: damaged, or of another block"));
        }
        if !kind.is_in_parts() {
            let (packing, plain_bytes) = (section.packing, section.plain_bytes as u64);
            let place = Place { tag: kind as u8, packing, ordinal: WHOLE, plain_bytes };
            self.open_part(kind, place, &mut stored)?;
        }
        if section.packing == PACKING_PLAIN {
            return Ok(stored);
        }
        // A context of its own: a thread's would keep memory of the section's size.
        let plain = Unsqueezer::default().take(&stored, section.plain_bytes);
        plain.ok_or_else(|| corrupt("it does not decompress"))
    }

    /// Copies one part of a data section into `copy` and checks the copy.
    pub(crate) fn copy_part(&self, part: Part, copy: &mut Vec<u8>) -> Result<(), BlockError> {
        let section = self.find(part.kind)?;
        let stored = usize::try_from(part.offset).ok().and_then(|offset| {
            let end = offset.checked_add(part.bytes).filter(|&end| end <= section.stored_bytes)?;
            Some(section.offset + offset..section.offset + end)
        });
        let outside = || self.corrupt(part.kind, Some(part.ordinal), "it lies outside its section");
        self.copy(stored.ok_or_else(outside)?, copy)?;
        if self.checker.part(part.kind, part.ordinal, copy) != part.check && !planted(Bug::PartNotChecked) {
            let what = "check mismatch: damaged, or of another block";
            return Err(self.corrupt(part.kind, Some(part.ordinal), what));
        }
        let plain_bytes = part.bytes.saturating_sub(SEAL_BYTES) as u64;
        let place =
            Place { tag: part.kind as u8, packing: PACKING_PLAIN, ordinal: part.ordinal, plain_bytes };
        self.open_part(part.kind, place, copy)
    }

    /// What a section of this file may unfold to.
    pub(crate) fn unfolded_bytes_max(&self) -> usize {
        unfolded_bytes_max(self.bytes.len())
    }

    /// How many bytes a section is once decompressed, as the footer says.
    pub(crate) fn plain_bytes(&self, kind: SectionKind) -> Result<u64, BlockError> {
        self.find(kind).map(|section| section.plain_bytes as u64)
    }

    /// How many bytes a section takes in the file.
    pub(crate) fn section_bytes(&self, kind: SectionKind) -> Result<u64, BlockError> {
        self.find(kind).map(|section| section.stored_bytes as u64)
    }

    /// Checks each section as a whole, then the whole file.
    pub(crate) fn verify(&self) -> Vec<BlockError> {
        let mut errors = Vec::new();
        for section in &self.sections {
            match self.hash(self.checker.of(section.kind as u8, WHOLE), section.stored_range()) {
                Ok(check) if check == section.check => {}
                Ok(_) => {
                    errors.push(self.corrupt(section.kind, None, "check mismatch over the whole section"));
                }
                Err(error) => errors.push(error),
            }
        }
        match self.hash(Hasher::new(), 0..self.bytes.len()) {
            Ok(check) if check == self.meta.check => {}
            Ok(_) => errors.push(corrupt(&self.name, "file", None, "check mismatch over the whole file")),
            Err(error) => errors.push(error),
        }
        errors
    }

    /// The check over a part of the file, read piece by piece.
    fn hash(&self, mut hasher: Hasher, range: Range<usize>) -> Result<u32, BlockError> {
        let mut piece = Vec::new();
        for start in range.clone().step_by(HASHED_BYTES) {
            self.copy(start..range.end.min(start + HASHED_BYTES), &mut piece)?;
            hasher.update(&piece);
        }
        Ok(hasher.finalize())
    }

    fn copy(&self, range: Range<usize>, into: &mut Vec<u8>) -> Result<(), BlockError> {
        self.bytes.copy(range, into).map_err(|error| io_error(&self.name, &error))
    }

    pub(crate) fn sections(&self) -> Vec<SectionInfo> {
        let info = |name, offset: usize, bytes: usize, plain_bytes: usize| SectionInfo {
            name,
            offset: offset as u64,
            bytes: bytes as u64,
            plain_bytes: plain_bytes as u64,
        };
        let mut all = vec![info("header", 0, HEADER_BYTES, HEADER_BYTES)];
        all.extend(
            self.sections.iter().map(|s| info(s.kind.name(), s.offset, s.stored_bytes, s.plain_bytes)),
        );
        let footer_bytes = self.bytes.len() - self.footer_offset;
        all.push(info("footer", self.footer_offset, footer_bytes, footer_bytes));
        all
    }

    /// Whether the block has such a section.
    pub(crate) fn has(&self, kind: SectionKind) -> bool {
        self.sections.iter().any(|section| section.kind == kind)
    }

    fn find(&self, kind: SectionKind) -> Result<&Section, BlockError> {
        let found = self.sections.iter().find(|section| section.kind == kind);
        found.ok_or_else(|| self.corrupt(kind, None, "the block has no such section"))
    }
}
