//! Native histograms as Protobuf: of remote read (`prometheus.Histogram`) and of scrapes (`io.prometheus.client.Histogram`),
//! which differ in the numbers of their fields alone.
//!
//! Counts that are whole numbers go as such, each bucket as its difference from the one before; others go as floats. Buckets
//! that follow each other make a span, which says how far it lies behind the one before.

use annals::Histogram;

use crate::wire::put;

/// The numbers of a message's fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields {
    /// Where there are two: of whole numbers, and of floats.
    count: [u32; 2],
    sum: u32,
    schema: u32,
    zero_threshold: u32,
    zero_count: [u32; 2],
    /// Spans, differences, floats.
    negative: [u32; 3],
    positive: [u32; 3],
}

/// `prometheus.Histogram`
pub(crate) const REMOTE: Fields = Fields {
    count: [1, 2],
    sum: 3,
    schema: 4,
    zero_threshold: 5,
    zero_count: [6, 7],
    negative: [8, 9, 10],
    positive: [11, 12, 13],
};

/// `io.prometheus.client.Histogram`
pub(crate) const SCRAPED: Fields = Fields {
    count: [1, 4],
    sum: 2,
    schema: 5,
    zero_threshold: 6,
    zero_count: [7, 8],
    negative: [9, 10, 11],
    positive: [12, 13, 14],
};

/// Whole numbers up to here are floats without loss.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Writes what both messages say.
pub(crate) fn put_histogram(out: &mut Vec<u8>, own: &Histogram, fields: &Fields) {
    let buckets = own.positive.iter().chain(&own.negative).map(|(_, count)| *count);
    let is_whole = [own.count, own.zero_count]
        .into_iter()
        .chain(buckets)
        .all(|count| (0.0..=WHOLE_MAX).contains(&count) && count.trunc() == count);
    for ([whole, float], count) in [(fields.count, own.count), (fields.zero_count, own.zero_count)] {
        match is_whole {
            true => put::varint(out, whole, count as u64),
            false => put::double(out, float, count),
        }
    }
    put::double(out, fields.sum, own.sum);
    put::varint(out, fields.schema, put::zigzag(i64::from(own.schema)));
    put::double(out, fields.zero_threshold, own.zero_threshold);
    for (buckets, [spans, differences, floats]) in
        [(&own.negative, fields.negative), (&own.positive, fields.positive)]
    {
        put_spans(out, spans, buckets);
        if is_whole && !buckets.is_empty() {
            let before = std::iter::once(0).chain(buckets.iter().map(|(_, count)| *count as i64));
            let differences_of: Vec<u64> = buckets
                .iter()
                .zip(before)
                .map(|((_, count), before)| put::zigzag(*count as i64 - before))
                .collect();
            put::varints(out, differences, &differences_of);
        } else if !buckets.is_empty() {
            let counts: Vec<f64> = buckets.iter().map(|(_, count)| *count).collect();
            put::doubles(out, floats, &counts);
        }
    }
}

/// Writes the runs of buckets that follow each other: how far behind the end of the one before, how many.
fn put_spans(out: &mut Vec<u8>, number: u32, buckets: &[(i32, f64)]) {
    let mut end = 0_i64;
    for run in buckets.chunk_by(|(index, _), (next, _)| i64::from(*next) == i64::from(*index) + 1) {
        let start = run.first().map_or(end, |(index, _)| i64::from(*index));
        let mut span = Vec::with_capacity(8);
        put::varint(&mut span, 1, put::zigzag(start - end));
        put::varint(&mut span, 2, run.len() as u64);
        put::bytes(out, number, &span);
        end = start + run.len() as i64;
    }
}
