//! A block of raw signals that is opened for reading; `signal_scan.rs` finds rows in it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, OnceLock};

use annals_model::schema::KindSchema;
use annals_model::{BlockContent, BlockMeta, DataKeys, KeyId, Matcher, SiteName, TimeRange};
use annals_vfs::Sealed;

use crate::container::{Container, SectionKind};
use crate::error::{BlockError, BlockIdentity, Damage, Findings, SectionInfo};
use crate::groups::{GroupEntry, KindCount, parse_groups};
use crate::schemas::parse_schemas;
use crate::signal_scan::{Search, SignalCounts, SignalScan};
use crate::symbols::Symbols;

/// An opened block of raw signals.
#[derive(Debug)]
pub struct SignalBlock {
    pub(crate) container: Container,
    index: OnceLock<Index>,
}

#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) kinds: Vec<Arc<KindSchema>>,
    pub(crate) symbols: Vec<Arc<str>>,
    pub(crate) groups: Vec<GroupEntry>,
    /// The sites of the groups, by symbol.
    pub(crate) sites: BTreeMap<usize, SiteName>,
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
            let counts = index.groups.iter().map(|group| size_of_val(&*group.counts)).sum::<usize>();
            symbols + counts + size_of_val(index.groups.as_slice())
        })
    }

    /// The schemas of the kinds that rows may be of.
    pub fn kinds(&self) -> Result<&[Arc<KindSchema>], BlockError> {
        self.index().map(|index| index.kinds.as_slice())
    }

    /// The rows in a range that satisfy all matchers, each as [`annals_model::SignalRow::matches`] has it.
    pub fn scan<'a>(
        &'a self,
        range: TimeRange,
        matchers: &'a [Matcher],
    ) -> Result<SignalScan<'a>, BlockError> {
        let index = self.index()?;
        let search = Search::new(self, index, range, matchers);
        Ok(SignalScan { search, groups: index.groups.iter(), rows: Vec::new().into_iter() })
    }

    /// Counts the same rows, by kind and site, and adds them to `counts`. Only groups that times or fields divide are
    /// decoded.
    pub fn count(
        &self,
        range: TimeRange,
        matchers: &[Matcher],
        counts: &mut SignalCounts,
    ) -> Result<(), BlockError> {
        Search::new(self, self.index()?, range, matchers).count(counts);
        Ok(())
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
                let search = Search::new(self, index, TimeRange::ALL, &[]);
                for lost in index.groups.iter().filter_map(|group| search.verify(group).err()) {
                    let rows = Some(lost.rows);
                    found.add(Damage { rows, ..Damage::of(&lost.error, Some(lost.range)) });
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
        let symbols: Vec<Arc<str>> =
            (0..symbols.len() as u32).filter_map(|rank| symbols.get(rank)).map(Arc::from).collect();
        let rows_bytes = container.section_bytes(SectionKind::Rows)?;
        let day = container.meta().id.day;
        let groups = container.section(SectionKind::Groups)?;
        let groups = parse_groups(&groups, day, rows_bytes, kinds.len(), symbols.len())
            .map_err(|what| corrupt(SectionKind::Groups, what))?;
        if groups.iter().map(|group| group.rows as u64).sum::<u64>() != container.meta().rows {
            return Err(corrupt(SectionKind::Groups, "not as many rows as the footer says"));
        }
        let mut sites = BTreeMap::new();
        for &KindCount { site, .. } in groups.iter().flat_map(|group| &group.counts) {
            if let Entry::Vacant(vacant) = sites.entry(site) {
                let name = symbols.get(site).and_then(|name| SiteName::new(name).ok());
                vacant.insert(
                    name.ok_or_else(|| corrupt(SectionKind::Groups, "a site that is no site's name"))?,
                );
            }
        }
        Ok(self.index.get_or_init(|| Index { kinds, symbols, groups, sites }))
    }
}
