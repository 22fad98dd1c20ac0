//! Doors to single decoders, and a repair of damaged blocks, for fuzz targets.
//!
//! A mutation of a block nearly always breaks a check, and what lies behind the check is never reached. A repair makes
//! the frame fit what is there again: a hostile writer would have done the same.

mod frame;

use annals_model::bytes::Cursor;
use annals_model::{BlockContent, ChunkAge, Day, HistogramSample, MatchOp, Matcher};
use annals_vfs::Sealed;

use self::frame::Frame;
use crate::BlockIdentity;
use crate::aggregates::{PAGE_CHUNKS, Page, parse_pages};
use crate::codec::ints::{self, Decoding, Effort, IntEncoder};
use crate::codec::kernel::Level;
use crate::codec::values::{self, ValueEncoder};
use crate::columns::{CHUNK_SAMPLES_MAX, Held, parse_columns};
use crate::container::{Container, Part, SectionKind};
use crate::groups::parse_groups;
use crate::histograms;
use crate::labels::LabelIndex;
use crate::metric_writer::effort;
use crate::row_reader::RowReader;
use crate::schemas::parse_schemas;
use crate::series::SeriesTable;
use crate::symbols::Symbols;
use crate::windows;

/// The values of a chunk, where these bytes are one of `count` values.
#[must_use]
pub fn decode_values(bytes: &[u8], count: usize) -> Option<Vec<f64>> {
    let mut out = Vec::new();
    let count = count.min(CHUNK_SAMPLES_MAX);
    values::decode(bytes, count, Level::widest(), &mut Decoding::default(), 0..count, &mut out)?;
    Some(out)
}

/// A chunk of values.
#[must_use]
pub fn encode_values(values: &[f64], age: ChunkAge) -> Vec<u8> {
    let mut out = Vec::new();
    ValueEncoder::new().encode(values, effort(age), &mut out);
    out
}

/// The numbers of a run, where these bytes start with one of `count` numbers; and how many bytes are left.
#[must_use]
pub fn decode_numbers(bytes: &[u8], count: usize) -> Option<(Vec<i64>, usize)> {
    let (mut cursor, mut out) = (Cursor::new(bytes), Vec::new());
    ints::decode_into(&mut cursor, count.min(CHUNK_SAMPLES_MAX), &mut Decoding::default(), &mut out)?;
    Some((out, cursor.remaining()))
}

/// A run of numbers.
#[must_use]
pub fn encode_numbers(numbers: &[i64], age: ChunkAge) -> Vec<u8> {
    let mut out = Vec::new();
    IntEncoder::new().encode(numbers, effort(age), &mut out);
    out
}

/// Decodes a chunk of histograms.
#[must_use]
pub fn decode_histograms(bytes: &[u8], count: usize) -> Option<Vec<HistogramSample>> {
    let mut out = Vec::new();
    histograms::decode(bytes, count, 0..count, &mut Decoding::default(), &mut out)?;
    Some(out)
}

/// Encodes histograms as one chunk; `None` where a writer makes several of them.
#[must_use]
pub fn encode_histograms(samples: &[HistogramSample]) -> Option<Vec<u8>> {
    if histograms::chunk_length(samples) < samples.len() {
        return None;
    }
    let mut out = Vec::new();
    histograms::encode(samples, &mut ValueEncoder::new(), Effort::Hot, &mut out);
    Some(out)
}

/// Reads `bytes` as each section of an index that they can be.
pub fn read_index(bytes: &[u8], count: u32) {
    let _ = parse_schemas(bytes);
    let _ = parse_groups(bytes, Day(0), bytes.len() as u64, count as usize, count as usize);
    let _ = parse_pages(bytes, count as usize, bytes.len() as u64);
    let _ = Page::default().decode(bytes, (count as usize).min(PAGE_CHUNKS), &mut Decoding::default());
    let ends: Vec<i64> = (1..=i64::from(count.min(1024))).map(|window| window * 300_000).collect();
    let _ = windows::decode(
        bytes,
        &ends,
        300_000,
        (&mut Decoding::default(), &mut Default::default()),
        &mut Vec::new(),
    );
    if let Ok(symbols) = Symbols::parse(bytes, bytes.len() * 64) {
        assert!(
            (0..symbols.len() as u32)
                .all(|rank| symbols.get(rank).and_then(|s| symbols.rank(s)) == Some(rank))
        );
    }
    // One byte says where the symbols end; what follows are labels.
    if let Some((&at, rest)) = bytes.split_first()
        && let Some((symbols, labels)) = rest.split_at_checked(usize::from(at))
        && let Ok(symbols) = Symbols::parse(symbols, symbols.len() * 64)
        && let Ok(index) = LabelIndex::parse(labels.to_vec(), symbols, count)
    {
        let _ = index.verify();
        for name in index.names() {
            let _ = (index.values(name), index.pair(0));
            let _ = index.find(&[Matcher::equal(name, "")]);
        }
    }
    if let Some((&at, rest)) = bytes.split_first()
        && let Some((columns, series)) = rest.split_at_checked(usize::from(at))
        && let starts = parse_columns(columns, Held::Starts, u64::from(count)).unwrap_or_default()
        && let Ok(columns) = parse_columns(columns, Held::Stamps(Day(0)), u64::from(count))
    {
        let (checks, columns) = (vec![0; columns.len() * 4], (columns, starts));
        if let Ok(table) =
            SeriesTable::parse(series.to_vec(), BlockContent::RawMetrics, checks, columns, u64::from(count))
        {
            let chunks = (0..table.len() as u32).filter_map(|ordinal| table.chunks(ordinal)).flatten();
            assert!(chunks.map(|chunk| chunk.part.bytes as u64).sum::<u64>() <= u64::from(count));
        }
    }
}

/// Reads `bytes` as a group of `rows` rows of kinds whose schemas stand before it, after a length of two bytes.
pub fn read_group(bytes: &[u8], rows: u16) {
    let Some((&[low, high], rest)) = bytes.split_first_chunk::<2>() else { return };
    let Some((schemas, group)) = rest.split_at_checked(usize::from(u16::from_le_bytes([low, high]))) else {
        return;
    };
    let Ok(kinds) = parse_schemas(schemas) else { return };
    let symbols = ["", "a", "shop.example"].map(std::sync::Arc::from);
    let mut decoding = Decoding::default();
    let mut reader = RowReader {
        rows: usize::from(rows),
        day_start: 0,
        kinds: &kinds,
        symbols: &symbols,
        decoding: &mut decoding,
    };
    let Some(group) = reader.group(group) else { return };
    assert_eq!(group.times.len(), usize::from(rows));
    let any = Matcher::new("field", MatchOp::NotRegex, "[a-f0-3].*").expect("a fixed expression");
    for (kind, (rows, fields)) in kinds.iter().zip(&group.of_kind) {
        for (field, bytes) in kind.fields.iter().zip(fields) {
            let Some(column) = reader.column(bytes, *rows, &field.field_type) else { continue };
            let mut kept = vec![true; *rows];
            column.keep_matching(&any, &field.field_type, &symbols, &mut kept);
            for (rank, kept) in column.ranks().zip(kept) {
                let value =
                    rank.map(|rank| column.value(rank, &symbols).expect("a value for each that is there"));
                let text = value.as_ref().map(|value| field.field_type.text(value));
                assert_eq!(kept, any.matches(text.as_deref().unwrap_or_default()));
            }
        }
    }
}

/// Makes a damaged block's sizes and checks fit what it holds, as far as it can be recognised. Its length stays.
pub fn repair(bytes: &mut [u8]) {
    if let Some(frame) = Frame::refit(bytes) {
        let _ = put_part_checks(bytes, &frame);
        let _ = frame.put_checks(bytes);
    }
}

/// Whose block these bytes say that they are.
#[must_use]
pub fn identity(bytes: &[u8]) -> Option<BlockIdentity> {
    frame::identity(bytes)
}

/// The sections of a sound block, by name, decompressed.
///
/// # Panics
/// Where it is not sound.
#[must_use]
pub fn sections(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    const KINDS: [SectionKind; 8] = [
        SectionKind::Columns,
        SectionKind::Begun,
        SectionKind::Symbols,
        SectionKind::Labels,
        SectionKind::Series,
        SectionKind::Schemas,
        SectionKind::Groups,
        SectionKind::Rows,
    ];
    let container = open(bytes);
    KINDS.iter().filter_map(|&kind| Some((kind.name(), container.section(kind).ok()?))).collect()
}

/// The same block with no section compressed.
///
/// # Panics
/// Where it is not sound.
#[must_use]
pub fn unpacked(bytes: &[u8]) -> Vec<u8> {
    open(bytes).forge(SectionKind::Symbols, |_| {})
}

fn open(bytes: &[u8]) -> Container {
    let identity = identity(bytes).expect("a block's header");
    Container::open(Sealed::new(bytes.to_vec()), identity, identity.id.content, "seed")
        .expect("a sound block")
}

/// Writes the checks of chunks, columns and groups, where the tables that say where they are can be read.
fn put_part_checks(bytes: &mut [u8], frame: &Frame) -> Option<()> {
    let range = |kind: SectionKind| {
        frame.sections.iter().find(|section| section.kind == kind as u8).map(|section| section.range.clone())
    };
    let day = frame.identity.id.day;
    let put = |bytes: &mut [u8], first: usize, data: usize, parts: &[Part]| {
        for (position, part) in parts.iter().enumerate() {
            let start = data.checked_add(usize::try_from(part.offset).ok()?)?;
            let check = frame.check(part.kind as u8, part.ordinal, bytes.get(start..start + part.bytes)?);
            frame::put(bytes, first + position * 4, &check.to_le_bytes())?;
        }
        Some(())
    };
    if frame.identity.id.content == BlockContent::RawSignals {
        let (groups, rows) = (range(SectionKind::Groups)?, range(SectionKind::Rows)?);
        let parsed =
            parse_groups(bytes.get(groups.clone())?, day, rows.len() as u64, usize::MAX, usize::MAX).ok()?;
        let parts: Vec<Part> = parsed.iter().map(|group| group.part).collect();
        return put(bytes, groups.end - parts.len() * 4, rows.start, &parts);
    }
    let put_columns = |bytes: &mut [u8], held, directory: SectionKind, data: SectionKind| {
        let (directory, data) = (range(directory)?, range(data)?);
        let columns = parse_columns(bytes.get(directory.clone())?, held, data.len() as u64).ok()?;
        let parts: Vec<Part> = columns.iter().map(|column| column.part).collect();
        put(bytes, directory.end - parts.len() * 4, data.start, &parts)?;
        Some(columns)
    };
    let columns = put_columns(bytes, Held::Stamps(day), SectionKind::Columns, SectionKind::Stamps)?;
    let starts = match range(SectionKind::Begun) {
        None => Vec::new(),
        Some(_) => put_columns(bytes, Held::Starts, SectionKind::Begun, SectionKind::Starts)?,
    };
    let (series, checks) = (range(SectionKind::Series)?, range(SectionKind::Checks)?);
    let values = range(SectionKind::Values)?;
    let (series, stored) = (bytes.get(series)?.to_vec(), bytes.get(checks.clone())?.to_vec());
    let table =
        SeriesTable::parse(series, frame.identity.id.content, stored, (columns, starts), values.len() as u64)
            .ok()?;
    let chunks = (0..table.len() as u32).filter_map(|ordinal| table.chunks(ordinal)).flatten();
    let parts: Vec<Part> = chunks.map(|chunk| chunk.part).collect();
    put(bytes, checks.start, values.start, &parts)?;
    let (directory, aggregates) = (range(SectionKind::Pages)?, range(SectionKind::Aggregates)?);
    let stored = bytes.get(directory.clone())?;
    let pages = parse_pages(stored, table.chunk_count(), aggregates.len() as u64).ok()?;
    put(bytes, directory.end - pages.len() * 4, aggregates.start, &pages)
}

/// The names of the vector levels that this machine has, widest last.
#[must_use]
pub fn levels() -> Vec<String> {
    Level::all().map(|level| format!("{level:?}").to_lowercase()).collect()
}

/// Appends the values of a chunk, decoded on one of [`levels`]; false where it is not one.
#[must_use]
pub fn decode_values_on(
    level: usize,
    bytes: &[u8],
    count: usize,
    reused: &mut Reused,
    out: &mut Vec<f64>,
) -> bool {
    let Some(level) = Level::all().nth(level) else { return false };
    values::decode(bytes, count.min(CHUNK_SAMPLES_MAX), level, &mut reused.0, 0..count, out).is_some()
}

/// What decoding keeps from chunk to chunk.
#[derive(Default)]
pub struct Reused(Decoding);

/// Encodes chunk after chunk with one encoder.
pub struct Encoder(ValueEncoder);

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder(ValueEncoder::new())
    }
}

impl Encoder {
    /// Appends a chunk of values.
    pub fn encode(&mut self, values: &[f64], age: ChunkAge, out: &mut Vec<u8>) {
        self.0.encode(values, effort(age), out);
    }
}
