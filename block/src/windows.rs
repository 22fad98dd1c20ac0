//! A chunk of rollups: as many windows as its column has stamps, which are the windows' ends.
//!
//! | bytes | field     | notes                                                                              |
//! |------:|-----------|------------------------------------------------------------------------------------|
//! |     2 | `present` | bit i: column i below follows                                                       |
//! |     2 | `same`    | bit i: column i does not follow and holds the same as another: 3 as 1, 4 and 5 as 3, |
//! |       |           | 6 as 5, 8 as 7. Of a column that is neither, all values are zero                     |
//! |     - | columns   | each a length (varint) and a chunk of values as `codec/values.rs` encodes them     |
//!
//! Columns: 0 `count`, 1 `sum`, 2 `sum_low`, 3 `min`, 4 `max`, 5 `first`, 6 `last`, 7 and 8 the times of first and last,
//! 9 `resets`, 10 `correction`, 11 the time of the marker that the series has ended, 12 and 13 the starts of first and last
//! in milliseconds, 14 whether starts overlap (1, else 0). Times are milliseconds after the
//! window's start, 1 to its length; 0 where there is none. A window of markers only has a count of zero, and zeros.
//! What a counter alone needs takes nothing of other kinds, and times of regular samples a few bytes. Where each window has
//! one sample, as of events that are rare, it is stored once.

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{Aggregate, Rollup, START_MAX};

use crate::codec::ints::{Decoding, Effort};
use crate::codec::kernel::Level;
use crate::codec::values::{self, ValueEncoder};

const FIELDS: usize = 15;
/// No chunk has more samples, nor any sum of counts of a day.
const COUNT_MAX: f64 = (1u64 << 53) as f64;

/// The column before it that a column may be the same as.
const fn twin(field: usize) -> Option<usize> {
    match field {
        3 => Some(1),
        4 | 5 => Some(3),
        6 => Some(5),
        8 => Some(7),
        _ => None,
    }
}

/// Whether a window says something of start times.
pub(crate) fn knows_starts(window: &Rollup) -> bool {
    window.all.is_some_and(|all| all.first_start != 0 || all.last_start != 0 || all.overlaps)
}

/// Appends a chunk of windows, each of this length.
pub(crate) fn encode(
    windows: &[Rollup],
    window_ms: i64,
    encoder: &mut ValueEncoder,
    effort: Effort,
    out: &mut Vec<u8>,
) {
    let rows: Vec<[f64; FIELDS]> = windows.iter().map(|window| row(window, window_ms)).collect();
    let (mut present, mut same, mut columns) = (0u16, 0u16, Vec::new());
    let (mut bytes, mut column) = (Vec::new(), Vec::new());
    for field in 0..FIELDS {
        let bits = |row: &[f64; FIELDS], field: usize| row.get(field).map(|value| value.to_bits());
        if twin(field).is_some_and(|twin| rows.iter().all(|row| bits(row, field) == bits(row, twin))) {
            same |= 1 << field;
            continue;
        }
        column.clear();
        column.extend(rows.iter().filter_map(|row| row.get(field).copied()));
        if column.iter().any(|value| value.to_bits() != 0) {
            present |= 1 << field;
            bytes.clear();
            encoder.encode(&column, effort, &mut bytes);
            columns.put_blob(&bytes);
        }
    }
    out.put_u16(present);
    out.put_u16(same);
    out.put(&columns);
}

fn row(window: &Rollup, window_ms: i64) -> [f64; FIELDS] {
    // Within a window, so far below 2^53.
    let offset = |time: i64| (time - (window.end - window_ms)) as f64;
    let stale = window.stale_at.map_or(0.0, offset);
    // What no double holds was not let in.
    let start = |start: i64| if start.unsigned_abs() <= START_MAX { start as f64 } else { 0.0 };
    match &window.all {
        None => [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, stale, 0.0, 0.0, 0.0],
        Some(all) => [
            all.count as f64,
            all.sum,
            all.sum_low,
            all.min,
            all.max,
            all.first,
            all.last,
            offset(all.first_time),
            offset(all.last_time),
            all.resets as f64,
            all.correction,
            stale,
            start(all.first_start),
            start(all.last_start),
            f64::from(u8::from(all.overlaps)),
        ],
    }
}

/// Columns while they are decoded, kept so that decoding allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct WindowColumns([Vec<f64>; FIELDS]);

/// Appends the windows of a chunk that end at these stamps; `None` where the bytes are not that.
pub(crate) fn decode(
    bytes: &[u8],
    ends: &[i64],
    window_ms: i64,
    (decoding, columns): (&mut Decoding, &mut WindowColumns),
    into: &mut Vec<Rollup>,
) -> Option<()> {
    let WindowColumns(columns) = columns;
    columns.iter_mut().for_each(Vec::clear);
    let mut cursor = Cursor::new(bytes);
    let present = cursor.u16().filter(|present| present >> FIELDS == 0)?;
    let same = cursor.u16().filter(|same| same & present == 0)?;
    let with_twin = (0..FIELDS).filter(|&field| twin(field).is_some());
    if same & !with_twin.fold(0u16, |all, field| all | 1 << field) != 0 {
        return None;
    }
    for (field, column) in columns.iter_mut().enumerate() {
        if present >> field & 1 == 1 {
            let all = 0..ends.len();
            values::decode(cursor.blob()?, ends.len(), Level::widest(), decoding, all, column)?;
        }
    }
    if !cursor.is_empty() {
        return None;
    }
    // Ascending, so that what a column is the same as may itself be the same as another.
    for field in (0..FIELDS).filter(|field| same >> field & 1 == 1) {
        if let Some((before, [column, ..])) = columns.split_at_mut_checked(field)
            && let Some(of_twin) = twin(field).and_then(|twin| before.get(twin))
        {
            column.extend_from_slice(of_twin);
        }
    }
    for (at, &end) in ends.iter().enumerate() {
        let [
            count,
            sum,
            sum_low,
            min,
            max,
            first,
            last,
            first_time,
            last_time,
            resets,
            correction,
            stale,
            rest @ ..,
        ] = columns.each_ref().map(|column| column.get(at).copied().unwrap_or(0.0));
        let whole =
            |value: f64, most: f64| (value.fract() == 0.0 && (0.0..=most).contains(&value)).then_some(value);
        let offset = |value: f64| Some(whole(value, window_ms as f64)? as i64);
        let start = end.checked_sub(window_ms)?;
        let [first_start, last_start, overlaps] = rest;
        let begun = |value: f64| Some(whole(value.abs(), START_MAX as f64)?.copysign(value) as i64);
        let (first_start, last_start) = (begun(first_start)?, begun(last_start)?);
        let overlaps = whole(overlaps, 1.0)? > 0.0;
        let (count, resets) = (whole(count, COUNT_MAX)? as u64, whole(resets, COUNT_MAX)? as u64);
        let (first_time, last_time) = (offset(first_time)?, offset(last_time)?);
        let stale_at = Some(offset(stale)?).filter(|&at| at > 0);
        let in_order = 1 <= first_time && first_time <= last_time && stale_at.is_none_or(|at| last_time < at);
        let all = match count {
            0 => None,
            _ if !in_order => return None,
            _ => Some(Aggregate {
                count,
                sum,
                sum_low,
                min,
                max,
                first,
                last,
                first_time: start + first_time,
                last_time: start + last_time,
                resets,
                correction,
                first_start,
                last_start,
                overlaps,
            }),
        };
        if all.is_none() && stale_at.is_none() {
            return None;
        }
        into.push(Rollup { end, all, stale_at: stale_at.map(|at| start + at) });
    }
    Some(())
}
