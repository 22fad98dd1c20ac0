//! A listing as a Parquet file: a column per column, each of the type that its cells have.
//!
//! | cells                     | column                                |
//! |---------------------------|---------------------------------------|
//! | counts, sizes, whole numbers | 64-bit integers                    |
//! | values                    | doubles                               |
//! | times                     | timestamps in milliseconds, UTC       |
//! | yes and no                | booleans                              |
//! | texts, and a mixture      | strings                               |
//!
//! A cell that is not there is null.

use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::{Cell, Grid};
use crate::error::CliError;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Value,
    Time,
    Flag,
    Text,
}

/// The bytes of the file.
pub(super) fn of(grid: &Grid) -> Result<Vec<u8>, CliError> {
    write(grid).map_err(|error| CliError::failed(format_args!("cannot write it as parquet: {error}")))
}

fn write(grid: &Grid) -> Result<Vec<u8>, ParquetError> {
    let kinds: Vec<Kind> = (0..grid.columns().len()).map(|index| kind(grid, index)).collect();
    let fields = grid.columns().iter().zip(&kinds).map(|(name, kind)| field(name, *kind).map(Arc::new));
    let schema = Type::group_type_builder("annals").with_fields(fields.collect::<Result<_, _>>()?).build()?;
    let properties = WriterProperties::builder()
        .set_created_by(concat!("annals ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?));
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties.build()))?;
    if !grid.rows().is_empty() {
        let mut group = writer.next_row_group()?;
        for (index, kind) in kinds.iter().enumerate() {
            let cells: Vec<&Cell> = grid.cells(index).collect();
            match kind {
                Kind::Integer => column::<Int64Type>(&mut group, &cells, integer)?,
                Kind::Time => column::<Int64Type>(&mut group, &cells, integer)?,
                Kind::Value => column::<DoubleType>(&mut group, &cells, |cell| match cell {
                    Cell::Value(value) => Some(*value),
                    _ => None,
                })?,
                Kind::Flag => column::<BoolType>(&mut group, &cells, |cell| match cell {
                    Cell::Flag(flag) => Some(*flag),
                    _ => None,
                })?,
                Kind::Text => column::<ByteArrayType>(&mut group, &cells, |cell| match cell {
                    Cell::None => None,
                    cell => Some(ByteArray::from(&*cell.exact())),
                })?,
            }
        }
        group.close()?;
    }
    writer.into_inner()
}

/// The type that holds all of a column's cells.
fn kind(grid: &Grid, column: usize) -> Kind {
    let mut kinds = grid.cells(column).filter_map(|cell| match cell {
        Cell::Count(_) | Cell::Integer(_) | Cell::Bytes(_) => Some(Kind::Integer),
        Cell::Value(_) => Some(Kind::Value),
        Cell::Time(_) => Some(Kind::Time),
        Cell::Flag(_) => Some(Kind::Flag),
        Cell::Text(_) => Some(Kind::Text),
        Cell::None => None,
    });
    let Some(first) = kinds.next() else { return Kind::Text };
    if kinds.all(|kind| kind == first) { first } else { Kind::Text }
}

fn field(name: &str, kind: Kind) -> Result<Type, ParquetError> {
    let (physical, logical) = match kind {
        Kind::Integer => (Physical::INT64, None),
        Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
        Kind::Value => (Physical::DOUBLE, None),
        Kind::Flag => (Physical::BOOLEAN, None),
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
    builder.with_logical_type(logical).build()
}

fn integer(cell: &Cell) -> Option<i64> {
    match cell {
        // Counts end far below the largest whole number.
        Cell::Count(count) | Cell::Bytes(count) => Some(i64::try_from(*count).unwrap_or(i64::MAX)),
        Cell::Integer(number) => Some(*number),
        Cell::Time(time) => Some(time.0),
        _ => None,
    }
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    cells: &[&Cell],
    value: impl Fn(&Cell) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    let cells: Vec<Option<T::T>> = cells.iter().map(|cell| value(cell)).collect();
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals::Timestamp;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    #[test]
    fn what_is_written_reads_back_with_its_types() {
        let mut grid = Grid::new(["site", "at", "count", "value", "mixed"]);
        grid.row(vec![
            Cell::text("a"),
            Cell::Time(Timestamp(5)),
            Cell::Count(7),
            Cell::Value(0.5),
            Cell::Count(1),
        ]);
        grid.row(vec![Cell::None, Cell::None, Cell::Integer(-7), Cell::None, Cell::text("x")]);
        let bytes = of(&grid).unwrap_or_else(|error| panic!("{error}"));
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.parquet");
        std::fs::write(&path, bytes).expect("written");
        let reader = SerializedFileReader::new(std::fs::File::open(path).expect("open")).expect("parquet");
        let rows: Vec<String> =
            reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row").to_string()).collect();
        assert_eq!(
            rows,
            [
                r#"{site: "a", at: 1970-01-01 00:00:00.005 +00:00, count: 7, value: 0.5, mixed: "1"}"#,
                r#"{site: null, at: null, count: -7, value: null, mixed: "x"}"#
            ]
        );
    }
}
