//! Rows in columns, written as Parquet in row groups of bounded size.
//!
//! Words are held as runs of numbers into a dictionary: a label costs a series, not each of its samples.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use parquet::basic::{
    Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as PhysicalType, ZstdLevel,
};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type};

use crate::error::ExportError;
use crate::output::Output;

/// A row group is written from so many rows on, or from so many bytes in memory on.
const GROUP_ROWS: usize = 1 << 20;
const GROUP_BYTES: usize = 48 << 20;
/// So many values are handed to the encoder at a time.
const BATCH: usize = 1 << 15;
/// No number of a dictionary.
const NULL: u32 = u32::MAX;

/// A column of a table.
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What a column holds; all but stamps may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Instants, never null.
    Stamp,
    /// Instants.
    Time,
    Integer,
    Float,
    Word,
    Integers,
    Floats,
    Words,
}

/// What a row group holds of a column so far.
pub(super) enum Column {
    Integer(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    Word(Words),
    Integers(Lists<i64>),
    Floats(Lists<f64>),
    Words(Dictionary, Lists<u32>),
}

/// Words, each for a run of rows.
#[derive(Default)]
pub(super) struct Words {
    dictionary: Dictionary,
    runs: Vec<(u32, usize)>,
}

#[derive(Default)]
pub(super) struct Dictionary {
    numbers: HashMap<Box<str>, u32>,
    words: Vec<ByteArray>,
    bytes: usize,
}

/// Lists, each of a row; `None` is null.
pub(super) struct Lists<T> {
    lengths: Vec<Option<usize>>,
    values: Vec<T>,
}

/// A table that is being written.
pub(super) struct Table {
    writer: SerializedFileWriter<Output>,
    kinds: Vec<Kind>,
    columns: Vec<Column>,
    rows: usize,
}

impl Spec {
    pub(super) fn new(name: &str, kind: Kind) -> Spec {
        Spec { name: name.to_owned(), kind }
    }

    fn field(&self) -> Result<Type, ParquetError> {
        let (physical, logical) = match self.kind {
            Kind::Stamp | Kind::Time => {
                (PhysicalType::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS)))
            }
            Kind::Integer | Kind::Integers => (PhysicalType::INT64, None),
            Kind::Float | Kind::Floats => (PhysicalType::DOUBLE, None),
            Kind::Word | Kind::Words => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let primitive = |name: &str, repetition| {
            let builder = Type::primitive_type_builder(name, physical).with_logical_type(logical.clone());
            builder.with_repetition(repetition).build()
        };
        match self.kind {
            Kind::Stamp => primitive(&self.name, Repetition::REQUIRED),
            Kind::Integers | Kind::Floats | Kind::Words => {
                let element = Arc::new(primitive("element", Repetition::REQUIRED)?);
                let list = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
                let list = Arc::new(list.with_fields(vec![element]).build()?);
                let own = Type::group_type_builder(&self.name).with_repetition(Repetition::OPTIONAL);
                own.with_logical_type(Some(LogicalType::List)).with_fields(vec![list]).build()
            }
            _ => primitive(&self.name, Repetition::OPTIONAL),
        }
    }
}

impl Column {
    fn new(kind: Kind) -> Column {
        match kind {
            Kind::Stamp | Kind::Time | Kind::Integer => Column::Integer(Vec::new()),
            Kind::Float => Column::Float(Vec::new()),
            Kind::Word => Column::Word(Words::default()),
            Kind::Integers => Column::Integers(Lists::default()),
            Kind::Floats => Column::Floats(Lists::default()),
            Kind::Words => Column::Words(Dictionary::default(), Lists::default()),
        }
    }

    /// Adds whole numbers or instants.
    pub(super) fn integers(&mut self, values: impl IntoIterator<Item = Option<i64>>) {
        let Column::Integer(own) = self else { unreachable!("a column of whole numbers") };
        own.extend(values);
    }

    /// Adds numbers.
    pub(super) fn floats(&mut self, values: impl IntoIterator<Item = Option<f64>>) {
        let Column::Float(own) = self else { unreachable!("a column of numbers") };
        own.extend(values);
    }

    /// Adds a word, or null, so many times.
    pub(super) fn words(&mut self, word: Option<&str>, rows: usize) {
        let Column::Word(own) = self else { unreachable!("a column of words") };
        let number = word.map_or(NULL, |word| own.dictionary.number(word));
        match own.runs.last_mut() {
            Some((last, run)) if *last == number => *run += rows,
            _ => own.runs.push((number, rows)),
        }
    }

    /// Adds a list of whole numbers, or null.
    pub(super) fn integer_list(&mut self, values: Option<impl IntoIterator<Item = i64>>) {
        let Column::Integers(own) = self else { unreachable!("a column of lists of whole numbers") };
        own.push(values);
    }

    /// Adds a list of numbers, or null.
    pub(super) fn float_list(&mut self, values: Option<impl IntoIterator<Item = f64>>) {
        let Column::Floats(own) = self else { unreachable!("a column of lists of numbers") };
        own.push(values);
    }

    /// Adds a list of words, or null.
    pub(super) fn word_list<'a>(&mut self, values: Option<impl IntoIterator<Item = &'a str>>) {
        let Column::Words(dictionary, own) = self else { unreachable!("a column of lists of words") };
        own.push(
            values.map(|words| words.into_iter().map(|word| dictionary.number(word)).collect::<Vec<_>>()),
        );
    }

    /// Memory that it takes.
    fn bytes(&self) -> usize {
        match self {
            Column::Integer(own) => size_of_val(own.as_slice()),
            Column::Float(own) => size_of_val(own.as_slice()),
            Column::Word(own) => own.dictionary.bytes + size_of_val(own.runs.as_slice()),
            Column::Integers(own) => own.bytes(),
            Column::Floats(own) => own.bytes(),
            Column::Words(dictionary, own) => dictionary.bytes + own.bytes(),
        }
    }

    fn write(
        &self,
        kind: Kind,
        group: &mut SerializedRowGroupWriter<'_, Output>,
    ) -> Result<(), ParquetError> {
        match self {
            Column::Integer(own) if kind == Kind::Stamp => {
                let batches =
                    own.chunks(BATCH).map(|batch| (batch.iter().flatten().copied().collect(), None));
                write::<Int64Type>(group, batches)
            }
            Column::Integer(own) => write::<Int64Type>(group, own.chunks(BATCH).map(nullable)),
            Column::Float(own) => write::<DoubleType>(group, own.chunks(BATCH).map(nullable)),
            Column::Word(own) => write::<ByteArrayType>(group, own.batches()),
            Column::Integers(own) => write_lists::<Int64Type, _>(group, own, |value| *value),
            Column::Floats(own) => write_lists::<DoubleType, _>(group, own, |value| *value),
            Column::Words(dictionary, own) => {
                write_lists::<ByteArrayType, _>(group, own, |number| dictionary.word(*number))
            }
        }
    }
}

impl Dictionary {
    fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        // A row group has far fewer words than rows, and those are few.
        let number = self.words.len() as u32;
        self.words.push(ByteArray::from(word));
        self.numbers.insert(word.into(), number);
        self.bytes += word.len() * 2 + 96;
        number
    }

    fn word(&self, number: u32) -> ByteArray {
        self.words.get(number as usize).cloned().unwrap_or_default()
    }
}

impl Words {
    /// The rows in batches: words, and which rows have one.
    fn batches(&self) -> impl Iterator<Item = (Vec<ByteArray>, Option<Vec<i16>>)> + '_ {
        let mut runs = self.runs.iter().copied();
        let mut rest = (NULL, 0);
        std::iter::from_fn(move || {
            let (mut words, mut levels) = (Vec::new(), Vec::new());
            while levels.len() < BATCH {
                if rest.1 == 0 {
                    match runs.next() {
                        Some(run) => rest = run,
                        None => break,
                    }
                }
                let taken = rest.1.min(BATCH - levels.len());
                let is_word = rest.0 != NULL;
                levels.resize(levels.len() + taken, i16::from(is_word));
                if is_word {
                    words.resize(words.len() + taken, self.dictionary.word(rest.0));
                }
                rest.1 -= taken;
            }
            (!levels.is_empty()).then_some((words, Some(levels)))
        })
    }
}

impl<T> Default for Lists<T> {
    fn default() -> Lists<T> {
        Lists { lengths: Vec::new(), values: Vec::new() }
    }
}

impl<T> Lists<T> {
    fn push(&mut self, values: Option<impl IntoIterator<Item = T>>) {
        let before = self.values.len();
        let is_there = values.is_some();
        self.values.extend(values.into_iter().flatten());
        self.lengths.push(is_there.then(|| self.values.len() - before));
    }

    fn bytes(&self) -> usize {
        size_of_val(self.lengths.as_slice()) + size_of_val(self.values.as_slice())
    }
}

/// The values that are there, and which rows have one.
fn nullable<T: Copy>(batch: &[Option<T>]) -> (Vec<T>, Option<Vec<i16>>) {
    let levels = batch.iter().map(|value| i16::from(value.is_some())).collect();
    (batch.iter().flatten().copied().collect(), Some(levels))
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Output>,
    batches: impl Iterator<Item = (Vec<T::T>, Option<Vec<i16>>)>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    for (values, levels) in batches {
        column.typed::<T>().write_batch(&values, levels.as_deref(), None)?;
    }
    column.close()
}

fn write_lists<T: DataType, V>(
    group: &mut SerializedRowGroupWriter<'_, Output>,
    lists: &Lists<V>,
    value: impl Fn(&V) -> T::T,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    let mut rest = lists.values.iter();
    for lengths in lists.lengths.chunks(BATCH) {
        let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
        for length in lengths {
            match length {
                // Level 0: there is no list; 1: an empty one; 2: an element.
                None | Some(0) => {
                    defined.push(i16::from(length.is_some()));
                    repeated.push(0);
                }
                Some(length) => {
                    values.extend(rest.by_ref().take(*length).map(&value));
                    defined.resize(defined.len() + length, 2);
                    repeated.push(0);
                    repeated.resize(defined.len(), 1);
                }
            }
        }
        column.typed::<T>().write_batch(&values, Some(&defined), Some(&repeated))?;
    }
    column.close()
}

impl Table {
    /// Starts a file.
    pub(super) fn new(output: Output, specs: &[Spec]) -> Result<Table, ExportError> {
        let draft = output.draft().to_owned();
        Table::start(output, specs).map_err(|error| failed(&draft, error))
    }

    fn start(output: Output, specs: &[Spec]) -> Result<Table, ParquetError> {
        let fields = specs.iter().map(|spec| spec.field().map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
        let schema = Type::group_type_builder("annals").with_fields(fields).build()?;
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("annals ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_max_row_group_row_count(None);
        for spec in specs.iter().filter(|spec| matches!(spec.kind, Kind::Stamp | Kind::Time)) {
            // Regular stamps take next to nothing this way.
            let path = ColumnPath::from(spec.name.as_str());
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
        let writer = SerializedFileWriter::new(output, Arc::new(schema), Arc::new(properties.build()))?;
        let kinds: Vec<Kind> = specs.iter().map(|spec| spec.kind).collect();
        let columns = kinds.iter().map(|kind| Column::new(*kind)).collect();
        Ok(Table { writer, kinds, columns, rows: 0 })
    }

    /// The columns, in the order of their specs: each is to get the same number of rows.
    pub(super) fn columns(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    /// Ends rows that all columns got; writes a row group where there are enough.
    pub(super) fn end_rows(&mut self, rows: usize) -> Result<(), ExportError> {
        self.rows += rows;
        let bytes: usize = self.columns.iter().map(Column::bytes).sum();
        if self.rows < GROUP_ROWS && bytes < GROUP_BYTES {
            return Ok(());
        }
        self.end_group()
    }

    fn end_group(&mut self) -> Result<(), ExportError> {
        self.write_group().map_err(|error| failed(self.writer.inner().draft(), error))
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for (column, kind) in self.columns.iter_mut().zip(&self.kinds) {
            column.write(*kind, &mut group)?;
            *column = Column::new(*kind);
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    /// Writes the rest.
    pub(super) fn finish(mut self) -> Result<Output, ExportError> {
        self.end_group()?;
        let draft = self.writer.inner().draft().to_owned();
        self.writer.into_inner().map_err(|error| failed(&draft, error))
    }
}

fn failed(draft: &std::path::Path, error: ParquetError) -> ExportError {
    let source = match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    };
    ExportError::io("write", draft)(source)
}
