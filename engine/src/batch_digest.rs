//! What a batch is known by: the bytes that its digest is made of, so that the same id with other content is refused.

use annals_model::{METRIC_NAME, SampleBatch, Signal, SignalValue, Timestamp};

use crate::refs::RefBatch;

/// Samples or series that a digest is fed at once.
const FED_AT_ONCE: usize = 1024;
/// Bytes of signals that a digest is fed at once.
const FED_BYTES: usize = 16 << 10;

/// Feeds everything that makes a batch of samples what it is, unambiguously.
pub(crate) fn digest_samples(batch: &SampleBatch, feed: &mut dyn FnMut(&[u8])) {
    feed(b"samples");
    if !batch.histograms.is_empty() {
        feed(b"histograms");
        feed(&(batch.samples.len() as u64).to_le_bytes());
    }
    for (labels, kind) in &batch.series {
        feed(&[kind.tag()]);
        feed(&(labels.as_bytes().len() as u64).to_le_bytes());
        feed(labels.as_bytes());
    }
    feed(METRIC_NAME.as_bytes());
    digest_values(&batch.samples, feed);
    let mut bytes = Vec::new();
    for (series, time, histogram) in &batch.histograms {
        bytes.clear();
        histogram.put(&mut bytes);
        feed(&series.to_le_bytes());
        feed(&time.0.to_le_bytes());
        feed(&bytes);
    }
    for (what, starts) in
        [(&b"starts"[..], &batch.sample_starts), (b"histogram starts", &batch.histogram_starts)]
    {
        if !starts.is_empty() {
            feed(what);
            feed(&(starts.len() as u64).to_le_bytes());
            feed(&starts.iter().flat_map(|start| start.to_le_bytes()).collect::<Vec<u8>>());
        }
    }
}

/// The same for a batch by reference: a keyed digest stands for each series.
pub(crate) fn digest_refs(batch: &RefBatch<'_>, feed: &mut dyn FnMut(&[u8])) {
    feed(b"references");
    feed(&(batch.series.len() as u64).to_le_bytes());
    let mut buffer = Vec::with_capacity(16 * batch.series.len().min(FED_AT_ONCE));
    for series in batch.series.chunks(FED_AT_ONCE) {
        buffer.clear();
        series.iter().for_each(|series| buffer.extend_from_slice(series.digest()));
        feed(&buffer);
    }
    digest_values(batch.samples, feed);
}

fn digest_values(samples: &[(u32, Timestamp, f64)], feed: &mut dyn FnMut(&[u8])) {
    let mut buffer = Vec::with_capacity(20 * samples.len().min(FED_AT_ONCE));
    for samples in samples.chunks(FED_AT_ONCE) {
        buffer.clear();
        for (series, time, value) in samples {
            buffer.extend_from_slice(&series.to_le_bytes());
            buffer.extend_from_slice(&time.0.to_le_bytes());
            buffer.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        feed(&buffer);
    }
}

pub(crate) fn digest_signals(signals: &[Signal], feed: &mut dyn FnMut(&[u8])) {
    feed(b"signals");
    // A digest that is fed a few bytes at a time spends most of its time on being fed.
    let mut buffer = Vec::with_capacity(FED_BYTES);
    for signal in signals {
        if buffer.len() >= FED_BYTES {
            feed(&buffer);
            buffer.clear();
        }
        put_signal(signal, &mut buffer);
    }
    feed(&buffer);
}

fn put_signal(signal: &Signal, into: &mut Vec<u8>) {
    let text = |into: &mut Vec<u8>, tag: u8, text: &str| {
        into.push(tag);
        into.extend_from_slice(&(text.len() as u64).to_le_bytes());
        into.extend_from_slice(text.as_bytes());
    };
    text(into, 0, &signal.kind);
    into.extend_from_slice(&signal.time.0.to_le_bytes());
    into.extend_from_slice(&(signal.fields.len() as u64).to_le_bytes());
    for (name, value) in &signal.fields {
        text(into, 1, name);
        match value {
            SignalValue::Text(value) => text(into, 2, value),
            SignalValue::Integer(number) => {
                into.push(3);
                into.extend_from_slice(&number.to_le_bytes());
            }
            SignalValue::Flags(flags) => {
                into.push(4);
                into.extend_from_slice(&(flags.len() as u64).to_le_bytes());
                flags.iter().for_each(|flag| text(into, 5, flag));
            }
            SignalValue::Change { before, after } => {
                text(into, 6, before);
                text(into, 7, after);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use annals_model::{BatchId, LabelSet, SeriesKind, SiteName};

    use super::*;

    fn fed(signals: &[Signal]) -> Vec<u8> {
        let mut all = Vec::new();
        digest_signals(signals, &mut |piece| all.extend_from_slice(piece));
        all
    }

    /// Stores on disk remember digests of these very bytes: a batch that is retried after an upgrade must be known.
    #[test]
    fn the_bytes_that_a_batch_of_signals_is_known_by_never_change() {
        let change = SignalValue::Change { before: "x".into(), after: "".into() };
        let signal = Signal::new("wp.cron", Timestamp(-2))
            .with("hook", "purge")
            .with("lateness", 258i64)
            .with("flags", SignalValue::Flags(vec!["new".into()]))
            .with("change", change);
        let expected = b"signals\
            \x00\x07\0\0\0\0\0\0\0wp.cron\xfe\xff\xff\xff\xff\xff\xff\xff\x04\0\0\0\0\0\0\0\
            \x01\x04\0\0\0\0\0\0\0hook\x02\x05\0\0\0\0\0\0\0purge\
            \x01\x08\0\0\0\0\0\0\0lateness\x03\x02\x01\0\0\0\0\0\0\
            \x01\x05\0\0\0\0\0\0\0flags\x04\x01\0\0\0\0\0\0\0\x05\x03\0\0\0\0\0\0\0new\
            \x01\x06\0\0\0\0\0\0\0change\x06\x01\0\0\0\0\0\0\0x\x07\0\0\0\0\0\0\0\0";
        assert_eq!(fed(std::slice::from_ref(&signal)), expected);
        // However many pieces they are fed in.
        let many = vec![signal; 1000];
        let one = expected.strip_prefix(b"signals").expect("it starts so");
        assert_eq!(fed(&many), [&b"signals"[..], &one.repeat(1000)].concat());
    }

    #[test]
    fn the_bytes_that_a_batch_of_samples_is_known_by_never_change() {
        let site = SiteName::new("s").expect("a name");
        let mut batch = SampleBatch::new(BatchId([0; 16]), site);
        batch.series = vec![(LabelSet::from_pairs([("__name__", "m")]).expect("labels"), SeriesKind::Gauge)];
        batch.samples = vec![(0, Timestamp(1), 1.0)];
        let labels = batch.series[0].0.as_bytes();
        let mut all = Vec::new();
        digest_samples(&batch, &mut |piece| all.extend_from_slice(piece));
        let expected = [
            &b"samples"[..],
            &[SeriesKind::Gauge.tag()],
            &(labels.len() as u64).to_le_bytes(),
            labels,
            b"__name__",
            &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
        ];
        assert_eq!(all, expected.concat());
    }
}
