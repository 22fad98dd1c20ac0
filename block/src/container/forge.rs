//! Blocks as a hostile writer would make them, for tests and fuzzing.

#[cfg(test)]
use super::PACKING_ZSTD;
use super::{Container, ContainerWriter, SectionKind, Totals};
use crate::error::BlockIdentity;
#[cfg(test)]
use crate::sealing::{FOOTER_TAG, WHOLE};

impl Container {
    /// The same block with one section replaced by what `change` makes of it, all checks made to fit: damage
    /// that no check can see, as a hostile writer would make it.
    pub(crate) fn forge(&self, kind: SectionKind, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let identity = BlockIdentity { tenant: self.tenant, id: self.meta.id };
        let mut writer = ContainerWriter::new(identity, self.meta.lsns, self.meta.level, self.meta.age);
        let mut change = Some(change);
        for section in &self.sections {
            let mut bytes = self.section(section.kind).expect("undamaged");
            if section.kind == kind {
                change.take().expect("sections are distinct")(&mut bytes);
            }
            writer.put_data(section.kind, &bytes);
        }
        let (time, series, rows) = (self.meta.time, self.meta.series, self.meta.rows);
        writer.finish(Totals { time, series, rows }).bytes
    }

    /// The same block with one section replaced by a zstd frame that is said to hold so many bytes.
    #[cfg(test)]
    pub(crate) fn forge_packed(&self, kind: SectionKind, frame: &[u8], plain_bytes: usize) -> Vec<u8> {
        let identity = BlockIdentity { tenant: self.tenant, id: self.meta.id };
        let mut writer = ContainerWriter::new(identity, self.meta.lsns, self.meta.level, self.meta.age);
        for section in &self.sections {
            if section.kind == kind {
                writer.put_section(kind, PACKING_ZSTD, frame, plain_bytes);
            } else {
                writer.put_data(section.kind, &self.section(section.kind).expect("undamaged"));
            }
        }
        let (time, series, rows) = (self.meta.time, self.meta.series, self.meta.rows);
        writer.finish(Totals { time, series, rows }).bytes
    }

    #[cfg(test)]
    pub(crate) fn footer_check(&self, checked: &[u8]) -> u32 {
        self.checker.tagged(FOOTER_TAG, WHOLE, checked)
    }

    #[cfg(test)]
    pub(crate) fn part_check(&self, kind: SectionKind, ordinal: u64, bytes: &[u8]) -> u32 {
        self.checker.part(kind, ordinal, bytes)
    }
}
