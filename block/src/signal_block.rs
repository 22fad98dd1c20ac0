//! Reads a block of raw signals: groups of rows that overlap a range, copied out, checked and decoded.

use std::sync::{Arc, OnceLock};

use annals_model::schema::KindSchema;
use annals_model::{BlockContent, BlockMeta, DataKeys, KeyId, SignalRow, SiteName, TimeRange, Timestamp};
use annals_vfs::Sealed;

use crate::container::{Container, SectionKind};
use crate::error::{BlockError, BlockIdentity, Damage, Findings, SectionInfo};
use crate::rows::{Group, RowDecoder};
use crate::schemas::parse_schemas;
use crate::scratch::{Scratch, with_scratch};
use crate::signal_writer::{GroupEntry, parse_groups};
use crate::symbols::Symbols;

/// An opened block of raw signals.
#[derive(Debug)]
pub struct SignalBlock {
    container: Container,
    index: OnceLock<Index>,
}

#[derive(Debug)]
struct Index {
    kinds: Vec<Arc<KindSchema>>,
    symbols: Vec<Arc<str>>,
    groups: Vec<GroupEntry>,
}

impl SignalBlock {
    /// Opens a block from its file's bytes; `name` is the file's, for errors.
    pub fn open(bytes: Sealed, identity: BlockIdentity, name: &str) -> Result<SignalBlock, BlockError> {
        let container = Container::open(bytes, identity, BlockContent::RawSignals, name)?;
        Ok(SignalBlock { container, index: OnceLock::new() })
    }

    /// Gives it the keys of its tenant and content; none where the tenant's blocks are not sealed. Until then nothing of a
    /// sealed block can be read but what its footer says.
    pub fn unlock(self, keys: Option<&dyn DataKeys>) -> Result<SignalBlock, BlockError> {
        Ok(SignalBlock { container: self.container.unlock(keys)?, ..self })
    }

    /// The key that it is sealed with; `None` where it is not.
    #[must_use]
    pub fn key(&self) -> Option<KeyId> {
        self.container.key()
    }

    /// What the manifest should know of the block.
    #[must_use]
    pub fn meta(&self) -> &BlockMeta {
        self.container.meta()
    }

    /// What is kept in memory of its index, in bytes: nothing before it was first used.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        self.index.get().map_or(0, |index| {
            let symbols = index.symbols.iter().map(|symbol| symbol.len() + 32).sum::<usize>();
            symbols + size_of_val(index.groups.as_slice())
        })
    }

    /// The schemas of the kinds that rows may be of.
    pub fn kinds(&self) -> Result<&[Arc<KindSchema>], BlockError> {
        self.index().map(|index| index.kinds.as_slice())
    }

    /// Hands over the rows in a range, by time, rows of one instant in order of arrival; only those of a kind
    /// and of a site where these are given. Returns how many. Stops at the first damaged group.
    pub fn scan(
        &self,
        range: TimeRange,
        kind: Option<&str>,
        site: Option<&SiteName>,
        each: &mut dyn FnMut(&SignalRow),
    ) -> Result<u64, BlockError> {
        let index = self.index()?;
        let Some(only) = index.kind(kind) else { return Ok(0) };
        let mut rows = 0;
        for group in index.groups.iter().filter(|group| group.range.overlaps(range)) {
            rows += self.scan_group(index, group, range, only, site, each)?;
        }
        Ok(rows)
    }

    /// Like [`SignalBlock::scan`], but goes on after a damaged group, which it names with its times within the
    /// range.
    pub fn scan_lossy(
        &self,
        range: TimeRange,
        kind: Option<&str>,
        site: Option<&SiteName>,
        each: &mut dyn FnMut(&SignalRow),
        on_damage: &mut dyn FnMut(TimeRange, BlockError),
    ) -> u64 {
        let index = match self.index() {
            Ok(index) => index,
            Err(error) => {
                on_damage(self.meta().time.intersect(range), error);
                return 0;
            }
        };
        let Some(only) = index.kind(kind) else { return 0 };
        let mut rows = 0;
        for group in index.groups.iter().filter(|group| group.range.overlaps(range)) {
            match self.scan_group(index, group, range, only, site, each) {
                Ok(count) => rows += count,
                Err(error) => on_damage(group.range.intersect(range), error),
            }
        }
        rows
    }

    /// How many rows scanning a range decodes: at least as many as there are, known without decoding.
    pub fn rows_in(&self, range: TimeRange) -> Result<u64, BlockError> {
        let groups = self.index()?.groups.iter().filter(|group| group.range.overlaps(range));
        Ok(groups.map(|group| group.rows as u64).sum())
    }

    /// Checks everything: the whole file, every section, every group decoded. Without keys, the file and its sections.
    #[must_use]
    pub fn verify(&self) -> Vec<Damage> {
        let mut found = Findings::default();
        if self.container.is_locked() {
            return found.finish(self.container.verify());
        }
        match self.index() {
            Err(error) => found.add(Damage::of(&error, Some(self.meta().time))),
            Ok(index) => {
                for group in &index.groups {
                    if let Err(error) = self.scan_group(index, group, TimeRange::ALL, None, None, &mut |_| ())
                    {
                        let rows = Some(group.rows as u64);
                        found.add(Damage { rows, ..Damage::of(&error, Some(group.range)) });
                    }
                }
            }
        }
        found.finish(self.container.verify())
    }

    /// The sections and their sizes, header and footer included.
    #[must_use]
    pub fn sections(&self) -> Vec<SectionInfo> {
        self.container.sections()
    }

    fn scan_group(
        &self,
        index: &Index,
        entry: &GroupEntry,
        range: TimeRange,
        only: Option<usize>,
        site: Option<&SiteName>,
        each: &mut dyn FnMut(&SignalRow),
    ) -> Result<u64, BlockError> {
        let group = with_scratch(|scratch| self.decode_group(index, entry, only, scratch))?;
        let corrupt = |what| self.container.corrupt(SectionKind::Rows, Some(entry.part.ordinal), what);
        let sites: Option<Vec<SiteName>> =
            group.site_symbols.iter().map(|&symbol| index.site(symbol)).collect();
        let sites = sites.ok_or_else(|| corrupt("a site that is no site's name"))?;
        let wanted: Vec<bool> = sites.iter().map(|one| site.is_none_or(|site| site == one)).collect();
        let mut fields: Vec<_> = group
            .fields
            .into_iter()
            .map(|columns| columns.map(|columns| columns.into_iter().map(Vec::into_iter).collect::<Vec<_>>()))
            .collect();
        let mut rows = 0;
        for ((&time, &kind), &at) in group.times.iter().zip(&group.kinds).zip(&group.sites) {
            let (kind, at) = (kind as usize, at as usize);
            // The columns of a kind that was not asked for are not there.
            let Some(columns) = fields.get_mut(kind).and_then(Option::as_mut) else { continue };
            let values = columns.iter_mut().map(|column| column.next().flatten());
            let time = Timestamp(time);
            if !range.contains(time) || wanted.get(at) != Some(&true) {
                values.for_each(drop);
                continue;
            }
            let (Some(schema), Some(site)) = (index.kinds.get(kind), sites.get(at)) else { continue };
            each(&SignalRow {
                kind: Arc::clone(&schema.name),
                site: site.clone(),
                time,
                fields: values.collect(),
            });
            rows += 1;
        }
        Ok(rows)
    }

    fn decode_group(
        &self,
        index: &Index,
        entry: &GroupEntry,
        only: Option<usize>,
        scratch: &mut Scratch,
    ) -> Result<Group, BlockError> {
        let corrupt = |what| self.container.corrupt(SectionKind::Rows, Some(entry.part.ordinal), what);
        let Scratch { copy, decoding, .. } = scratch;
        self.container.copy_part(entry.part, copy)?;
        let mut decoder = RowDecoder {
            rows: entry.rows,
            day_start: self.meta().id.day.range().start.0,
            kinds: &index.kinds,
            symbols: &index.symbols,
            decoding,
        };
        let group = decoder.decode(copy, only).ok_or_else(|| corrupt("it is not a group of rows"))?;
        let ends = group.times.first().copied().zip(group.times.last().copied());
        if ends != Some((entry.range.start.0 + 1, entry.range.end.0)) || !group.times.is_sorted() {
            return Err(corrupt("its rows are not in the times of the groups section"));
        }
        Ok(group)
    }

    fn index(&self) -> Result<&Index, BlockError> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let container = &self.container;
        let corrupt = |kind, what| container.corrupt(kind, None, what);
        let kinds = parse_schemas(&container.section(SectionKind::Schemas)?)
            .map_err(|what| corrupt(SectionKind::Schemas, what))?;
        if kinds.len() as u64 != container.meta().series {
            return Err(corrupt(SectionKind::Schemas, "not as many kinds as the footer says"));
        }
        let symbols =
            Symbols::parse(&container.section(SectionKind::Symbols)?, container.unfolded_bytes_max())
                .map_err(|what| corrupt(SectionKind::Symbols, what))?;
        let symbols = (0..symbols.len() as u32).filter_map(|rank| symbols.get(rank)).map(Arc::from).collect();
        let rows_bytes = container.section_bytes(SectionKind::Rows)?;
        let day = container.meta().id.day;
        let groups = parse_groups(&container.section(SectionKind::Groups)?, day, rows_bytes)
            .map_err(|what| corrupt(SectionKind::Groups, what))?;
        if groups.iter().map(|group| group.rows as u64).sum::<u64>() != container.meta().rows {
            return Err(corrupt(SectionKind::Groups, "not as many rows as the footer says"));
        }
        Ok(self.index.get_or_init(|| Index { kinds, symbols, groups }))
    }
}

impl Index {
    /// The position of the kind that is asked for: `Some(None)` where none is, `None` where it is not here.
    fn kind(&self, name: Option<&str>) -> Option<Option<usize>> {
        match name {
            None => Some(None),
            Some(name) => self.kinds.iter().position(|kind| &*kind.name == name).map(Some),
        }
    }

    fn site(&self, symbol: i64) -> Option<SiteName> {
        SiteName::new(self.symbols.get(usize::try_from(symbol).ok()?)?).ok()
    }
}
