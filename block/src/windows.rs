//! A chunk of rollups: as many windows as its column has stamps, which are the windows' ends.
//!
//! | bytes | field     | notes                                                                              |
//! |------:|-----------|------------------------------------------------------------------------------------|
//! |     2 | `present` | bit i: column i below follows                                                       |
//! |     2 | `same`    | bit i: column i does not follow and holds the same as another: 3 as 1, 4 and 5 as 3, |
//! |       |           | 6 as 5, 8 as 7. Of a column that is neither, all values are zero                     |
//! |     - | runs      | of each column that follows, or of the joined ones among them one after another: a |
//! |       |           | length (varint) and a chunk of values as `codec/values.rs` encodes them             |
//!
//! Columns: 0 `count`, 1 `sum`, 2 `sum_low`, 3 `min`, 4 `max`, 5 `first`, 6 `last`, 7 and 8 the times of first and last,
//! 9 `resets`, 10 `correction`, 11 the time of the marker that the series has ended, 12 and 13 the starts of first and last
//! in milliseconds, 14 whether starts overlap (1, else 0). Times are milliseconds after the
//! window's start, 1 to its length; 0 where there is none. A window of markers only has a count of zero, and zeros.
//! What a counter alone needs takes nothing of other kinds, and times of regular samples a few bytes. Where each window has
//! one sample, as of events that are rare, it is stored once. Columns 3 to 6 are joined: they are values of the series, so
//! that one code serves them all.

use std::ops::Range;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{Aggregate, Rollup, START_MAX};

use crate::codec::ints::{Decoding, Effort};
use crate::codec::kernel::Level;
use crate::codec::values::{self, ValueEncoder};

const FIELDS: usize = 15;
/// The columns that are encoded as one run, as far as they follow.
const JOINED: Range<usize> = 3..7;
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
    let columns = columns(windows, window_ms);
    let (mut present, mut same) = (0u16, 0u16);
    for (field, column) in columns.iter().enumerate() {
        let of_twin = twin(field).and_then(|twin| columns.get(twin));
        let mut of_twin = of_twin.map(|of_twin| column.iter().zip(of_twin));
        if of_twin.as_mut().is_some_and(|pairs| pairs.all(|(one, other)| one.to_bits() == other.to_bits())) {
            same |= 1 << field;
        } else if column.iter().any(|value| value.to_bits() != 0) {
            present |= 1 << field;
        }
    }
    out.put_u16(present);
    out.put_u16(same);
    let (mut joined, mut bytes) = (Vec::new(), Vec::new());
    for run in runs(present) {
        let fields = columns.get(run.clone()).unwrap_or_default();
        joined.clear();
        fields
            .iter()
            .zip(run)
            .filter(|&(_, field)| follows(present, field))
            .for_each(|(column, _)| joined.extend(column));
        bytes.clear();
        encoder.encode(&joined, effort, &mut bytes);
        out.put_blob(&bytes);
    }
}

/// Whether a column follows.
fn follows(present: u16, field: usize) -> bool {
    present >> field & 1 == 1
}

/// The runs of columns that follow, each as the columns that it may hold.
fn runs(present: u16) -> impl Iterator<Item = Range<usize>> {
    let alone = |field: usize| field..field + 1;
    let all = (0..JOINED.start).map(alone).chain([JOINED]).chain((JOINED.end..FIELDS).map(alone));
    all.filter(move |run| run.clone().any(|field| follows(present, field)))
}

fn columns(windows: &[Rollup], window_ms: i64) -> [Vec<f64>; FIELDS] {
    // Within a window, so far below 2^53.
    let offset = |window: &Rollup, time: i64| (time - (window.end - window_ms)) as f64;
    // What no double holds was not let in.
    let start = |start: i64| if start.unsigned_abs() <= START_MAX { start as f64 } else { 0.0 };
    [
        column(windows, |_, all| all.count as f64),
        column(windows, |_, all| all.sum),
        column(windows, |_, all| all.sum_low),
        column(windows, |_, all| all.min),
        column(windows, |_, all| all.max),
        column(windows, |_, all| all.first),
        column(windows, |_, all| all.last),
        column(windows, |window, all| offset(window, all.first_time)),
        column(windows, |window, all| offset(window, all.last_time)),
        column(windows, |_, all| all.resets as f64),
        column(windows, |_, all| all.correction),
        windows.iter().map(|window| window.stale_at.map_or(0.0, |at| offset(window, at))).collect(),
        column(windows, |_, all| start(all.first_start)),
        column(windows, |_, all| start(all.last_start)),
        column(windows, |_, all| f64::from(u8::from(all.overlaps))),
    ]
}

/// A number of each window; 0 where it has markers only.
fn column(windows: &[Rollup], of: impl Fn(&Rollup, &Aggregate) -> f64) -> Vec<f64> {
    windows.iter().map(|window| window.all.as_ref().map_or(0.0, |all| of(window, all))).collect()
}

/// Columns while they are decoded, and a run of them; kept so that decoding allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct WindowColumns([Vec<f64>; FIELDS], Vec<f64>);

/// Appends the windows of a chunk that end at these stamps; `None` where the bytes are not that.
pub(crate) fn decode(
    bytes: &[u8],
    ends: &[i64],
    window_ms: i64,
    (decoding, columns): (&mut Decoding, &mut WindowColumns),
    into: &mut Vec<Rollup>,
) -> Option<()> {
    let WindowColumns(columns, joined) = columns;
    columns.iter_mut().for_each(Vec::clear);
    let mut cursor = Cursor::new(bytes);
    let present = cursor.u16().filter(|present| present >> FIELDS == 0)?;
    let same = cursor.u16().filter(|same| same & present == 0)?;
    let with_twin = (0..FIELDS).filter(|&field| twin(field).is_some());
    if same & !with_twin.fold(0u16, |all, field| all | 1 << field) != 0 {
        return None;
    }
    for run in runs(present) {
        let count = run.clone().filter(|&field| follows(present, field)).count() * ends.len();
        joined.clear();
        values::decode(cursor.blob()?, count, Level::widest(), decoding, 0..count, joined)?;
        let mut rest = joined.as_slice();
        for (column, _) in
            columns.iter_mut().zip(0..).filter(|&(_, field)| run.contains(&field) && follows(present, field))
        {
            let (own, later) = rest.split_at_checked(ends.len())?;
            column.extend_from_slice(own);
            rest = later;
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
