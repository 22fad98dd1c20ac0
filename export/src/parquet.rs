//! Parquet: a table per content. Long ones: a row per sample, window or signal, a column per label or field, so that a
//! query needs neither maps nor joins; one set of label columns for all files of an export, so that they are read together.
//!
//! | table      | columns                                                                                            |
//! |------------|----------------------------------------------------------------------------------------------------|
//! | all metrics | `timestamp` (ms, UTC), `metric`, one per label (null where a series does not have it), `series_kind` |
//! | samples    | `value`; null is the mark of a series' end; `start_time`, null where it is not known               |
//! | histograms | `count`, `sum`, `bucket_schema`, `zero_threshold`, `zero_count`, `reset`, lists `positive_index`,         |
//! |            | `positive_count`, `negative_index`, `negative_count`, `custom_bounds`; all null: the series' end; `start_time` |
//! | windows    | `timestamp` is the window's end; `count`, `sum`, `sum_low`, `min`, `max`, `first`, `last`,         |
//! |            | `first_time`, `last_time`, `resets`, `correction`, `ended_at`, `first_start`, `last_start`         |
//! | signals    | `timestamp`, `kind`, `site`, one or more per field                                                 |
//!
//! A label or field that has the name of a column before it, but for case, gets `label_` or `field_` in front.

mod labels;
mod metrics;
mod signals;
mod table;

use annals::ResetHint;

pub(crate) use labels::LabelColumns;
pub(crate) use metrics::{HistogramTable, SampleTable, WindowTable};
pub(crate) use signals::{Cell, SignalTable, cells, field_names};

/// What is known of a histogram's counters since the one before.
pub(crate) fn reset_word(hint: ResetHint) -> &'static str {
    match hint {
        ResetHint::Unknown => "unknown",
        ResetHint::Reset => "reset",
        ResetHint::NotReset => "not_reset",
        ResetHint::Gauge => "gauge",
    }
}

/// Columns for names, none like another or like those that are taken: readers do not tell upper from lower case.
pub(crate) fn distinct<'a>(
    taken: &[&str],
    prefix: &str,
    names: impl Iterator<Item = &'a str>,
) -> Vec<String> {
    let mut known: Vec<String> = taken.iter().map(|name| name.to_lowercase()).collect();
    let mut columns = Vec::new();
    for name in names {
        let mut column = name.to_owned();
        while known.contains(&column.to_lowercase()) {
            column.insert_str(0, prefix);
        }
        known.push(column.to_lowercase());
        columns.push(column);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_names_that_are_taken_get_others() {
        let columns =
            distinct(&["timestamp", "value"], "label_", ["Host", "host", "value", "label_value"].into_iter());
        assert_eq!(columns, ["Host", "label_host", "label_value", "label_label_value"]);
    }
}
