//! Laying out a block: sections, then the footer, then the header in the room that was left for it.

use annals_model::bytes::PutBytes;
use annals_model::{BlockMeta, ChunkAge, KeyId, LsnRange, SEAL_BYTES};
use crc32fast::Hasher;

use super::{
    Checker, END_MAGIC, FEATURE_SEALED, HEADER_BYTES, MAGIC, PACKING_PLAIN, PACKING_ZSTD,
    SECTION_PLAIN_BYTES_MAX, Section, SectionKind, Totals, VERSION, unfolded_bytes_max,
};
use crate::error::BlockIdentity;
use crate::sealing::{FOOTER_TAG, FileSeal, Place, SealHeader, SealWith, UsedNonces, WHOLE};
use crate::squeeze::Squeezer;

/// A finished block: the file's bytes, and what the manifest is to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedBlock {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its entry in the manifest.
    pub meta: BlockMeta,
}

/// Lays out a block.
pub(crate) struct ContainerWriter {
    identity: BlockIdentity,
    /// Required features besides being sealed.
    required: u32,
    lsns: LsnRange,
    level: u8,
    age: ChunkAge,
    checker: Checker,
    seal: Option<FileSeal>,
    seal_header: SealHeader,
    used: UsedNonces,
    bytes: Vec<u8>,
    sections: Vec<Section>,
}

impl ContainerWriter {
    pub(crate) fn new(identity: BlockIdentity, lsns: LsnRange, level: u8, age: ChunkAge) -> ContainerWriter {
        ContainerWriter {
            identity,
            required: 0,
            lsns,
            level,
            age,
            checker: Checker::new(identity),
            seal: None,
            seal_header: SealHeader::PLAIN,
            used: UsedNonces::default(),
            // The header is written last.
            bytes: vec![0; HEADER_BYTES],
            sections: Vec::new(),
        }
    }

    /// Seals all that is put into it from here on.
    pub(crate) fn seal_with(&mut self, seal: SealWith<'_>) {
        let (seal, header) = FileSeal::create(seal, self.identity, VERSION);
        (self.seal, self.seal_header) = (Some(seal), header);
    }

    /// Asks for a feature of whoever reads it.
    pub(crate) fn require(&mut self, feature: u32) {
        self.required |= feature;
    }

    pub(crate) fn age(&self) -> ChunkAge {
        self.age
    }

    pub(crate) fn identity(&self) -> BlockIdentity {
        self.identity
    }

    /// Seals one part of a data section, which lies in `bytes` from `start` on, in place; returns the check of what is
    /// to be stored. Ordinals ascend within a kind.
    pub(crate) fn seal_part(
        &mut self,
        kind: SectionKind,
        ordinal: u64,
        bytes: &mut Vec<u8>,
        start: usize,
    ) -> u32 {
        if let Some(seal) = &self.seal {
            let plain_bytes = (bytes.len() - start) as u64;
            let place = Place { tag: kind as u8, packing: PACKING_PLAIN, ordinal, plain_bytes };
            self.used.take(place);
            seal.seal(place, bytes, start);
        }
        self.checker.part(kind, ordinal, bytes.get(start..).unwrap_or_default())
    }

    /// Appends a section as it is: one whose parts are compressed and sealed by themselves, or one that does not
    /// compress.
    pub(crate) fn put_data(&mut self, kind: SectionKind, bytes: &[u8]) {
        self.put_section(kind, PACKING_PLAIN, bytes, bytes.len());
    }

    /// Appends a section, compressed where that saves a sixteenth.
    pub(crate) fn put_index(&mut self, kind: SectionKind, bytes: &[u8], squeezer: &mut Squeezer) {
        self.put_folded(kind, bytes, bytes.len(), squeezer);
    }

    /// The same for a section from which a reader makes `unfolded_bytes`: compressed only where the file is large enough
    /// for a reader to believe that.
    pub(crate) fn put_folded(
        &mut self,
        kind: SectionKind,
        bytes: &[u8],
        unfolded_bytes: usize,
        squeezer: &mut Squeezer,
    ) {
        let frame = if bytes.len() <= SECTION_PLAIN_BYTES_MAX { squeezer.repeats(bytes) } else { None };
        let believed = |frame: &Vec<u8>| {
            bytes.len().max(unfolded_bytes) <= unfolded_bytes_max(self.bytes.len() + frame.len())
        };
        let saves = |frame: &Vec<u8>| frame.len() + bytes.len() / 16 < bytes.len();
        match frame.filter(|frame| saves(frame) && believed(frame)) {
            Some(frame) => self.put_section(kind, PACKING_ZSTD, &frame, bytes.len()),
            None => self.put_section(kind, PACKING_PLAIN, bytes, bytes.len()),
        }
    }

    pub(super) fn put_section(&mut self, kind: SectionKind, packing: u8, packed: &[u8], plain_bytes: usize) {
        let offset = self.bytes.len();
        self.bytes.put(packed);
        if let Some(seal) = self.seal.as_ref().filter(|_| !kind.is_in_parts()) {
            let place = Place { tag: kind as u8, packing, ordinal: WHOLE, plain_bytes: plain_bytes as u64 };
            self.used.take(place);
            seal.seal(place, &mut self.bytes, offset);
        }
        let stored = self.bytes.get(offset..).unwrap_or_default();
        let check = self.checker.part(kind, WHOLE, stored);
        let stored_bytes = stored.len();
        self.sections.push(Section { kind, packing, check, offset, stored_bytes, plain_bytes });
    }

    fn header(&self) -> Vec<u8> {
        let SealHeader { key, salt, commitment } = self.seal_header;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.put(MAGIC);
        header.put_u16(VERSION);
        header.put_u8(self.identity.id.content.tag());
        header.put_u8(self.level);
        header.put_u32(self.identity.tenant.0);
        header.put_u32(self.required | if key == KeyId::NONE { 0 } else { FEATURE_SEALED });
        header.put_u32(0);
        header.put_u32(self.identity.id.day.0 as u32);
        header.put_u32(u32::from(self.age.tag()));
        header.put_u64(self.identity.id.sequence);
        header.put_u64(self.lsns.after.0);
        header.put_u64(self.lsns.through.0);
        header.put_u32(0);
        let check = crc32fast::hash(&header);
        header.put_u32(check);
        header.put_u32(key.0);
        header.put(&salt);
        header.put(&commitment);
        header.put_u64(0);
        let check = crc32fast::hash(&header);
        header.put_u32(check);
        header
    }

    pub(crate) fn finish(mut self, totals: Totals) -> EncodedBlock {
        let header = self.header();
        self.bytes.iter_mut().zip(&header).for_each(|(to, from)| *to = *from);
        let mut body = Hasher::new();
        body.update(&self.bytes);
        let body_check = body.clone().finalize();
        let mut entries = Vec::new();
        entries.put_u32(self.sections.len() as u32);
        for section in &self.sections {
            entries.put_u8(section.kind as u8);
            entries.put_u8(section.packing);
            entries.put_u16(0);
            entries.put_u32(section.check);
            entries.put_u64(section.offset as u64);
            entries.put_u64(section.stored_bytes as u64);
            entries.put_u64(section.plain_bytes as u64);
        }
        let mut rest = Vec::new();
        rest.put_i64(totals.time.start.0);
        rest.put_i64(totals.time.end.0);
        rest.put_u64(totals.series);
        rest.put_u64(totals.rows);
        rest.put_u32(body_check);
        let seal = match &self.seal {
            Some(seal) => seal.seal_frame(&[&header, &entries[..], &rest].concat()),
            None => [0; SEAL_BYTES],
        };
        let mut footer = [&entries[..], &seal, &rest].concat();
        let length = footer.len() as u32;
        footer.put_u32(length);
        let check = self.checker.tagged(FOOTER_TAG, WHOLE, &footer);
        footer.put_u32(check);
        footer.put(END_MAGIC);
        body.update(&footer);
        self.bytes.put(&footer);
        let meta = BlockMeta {
            id: self.identity.id,
            time: totals.time,
            lsns: self.lsns,
            level: self.level,
            age: self.age,
            series: totals.series,
            rows: totals.rows,
            bytes: self.bytes.len() as u64,
            check: body.finalize(),
        };
        EncodedBlock { bytes: self.bytes, meta }
    }
}
