//! Version 2: each text is there once, and series name theirs by number.

use annals::SeriesKind;
use annals::signals::read::{SampleSink, by_itself, kind_by_suffix};

use super::super::series::Samples;
use super::histogram::{histogram, take_histogram};
use super::{Extras, LABELS_LOOKED_AT, began, metric_of, sample};
use crate::wire::{Broken, Message};

/// The most texts of a body, ten times what senders put into one, and the most references of a series.
const SYMBOLS_MAX: usize = 1 << 20;

/// Takes the samples of an `io.prometheus.write.v2.Request`.
pub(super) fn decode(body: &[u8], samples: &mut Samples<'_>) -> Result<Extras, Broken> {
    let mut symbols = Vec::new();
    let mut request = Message::new(body);
    while let Some((number, field)) = request.next()? {
        if number == 4 {
            let symbol = field.message(&request)?;
            if symbols.len() == SYMBOLS_MAX {
                return Err(symbol.broken());
            }
            symbols.push(symbol);
        }
    }
    let mut extras = Extras::default();
    let (mut refs, mut key) = (Vec::new(), Vec::new());
    let mut request = Message::new(body);
    while let Some((number, field)) = request.next()? {
        if number == 5 {
            let of = field.message(&request)?;
            series(of, &symbols, &mut refs, &mut key, samples, &mut extras)?;
        }
    }
    Ok(extras)
}

/// An `io.prometheus.write.v2.TimeSeries`; `refs` and `key` are there to be used again.
fn series(
    message: Message<'_>,
    symbols: &[Message<'_>],
    refs: &mut Vec<u64>,
    key: &mut Vec<u8>,
    samples: &mut Samples<'_>,
    extras: &mut Extras,
) -> Result<(), Broken> {
    refs.clear();
    let (mut told, mut created) = (0, 0);
    let mut all = message;
    while let Some((number, field)) = all.next()? {
        match number {
            1 => field.varints(&all, SYMBOLS_MAX, refs)?,
            5 => {
                let mut metadata = field.message(&all)?;
                while let Some((number, field)) = metadata.next()? {
                    if number == 1 {
                        told = field.varint(&metadata)?;
                    }
                }
            }
            6 => created = field.varint(&all)? as i64,
            _ => {}
        }
    }
    refs.truncate(2 * LABELS_LOOKED_AT);
    let symbol = |at: &u64| usize::try_from(*at).ok().and_then(|at| symbols.get(at)).ok_or(message.broken());
    key.clear();
    for at in refs.iter() {
        let text = symbol(at)?.bytes();
        key.extend_from_slice(&(text.len() as u64).to_le_bytes());
        key.extend_from_slice(text);
    }
    let of_kind = |samples: &mut Samples<'_>, within: SeriesKind| {
        if let Some(known) = samples.find(by_itself(within), key) {
            return Ok(known);
        }
        let (pairs, rest) = refs.as_chunks::<2>();
        let mut labels = Vec::with_capacity(pairs.len());
        for [name, value] in pairs {
            labels.push((symbol(name)?.text()?, symbol(value)?.text()?));
        }
        if !rest.is_empty() {
            // A name without a value: such a series cannot be.
            labels.clear();
        }
        let kind = match (within, told) {
            // Not told, or parts of classic histograms and summaries.
            (SeriesKind::Gauge, 0 | 3 | 5) => kind_by_suffix(metric_of(&labels)),
            (within, _) => within,
        };
        Ok(samples.series(by_itself(within), key, &labels, kind))
    };
    let number_kind = if told == 1 { SeriesKind::Counter } else { SeriesKind::Gauge };
    let (mut numbers, mut natives) = (None, None);
    let mut rest = message;
    while let Some((number, field)) = rest.next()? {
        match number {
            2 => {
                let (time, value, start) = sample(field.message(&rest)?)?;
                let series = match numbers {
                    Some(series) => series,
                    None => *numbers.insert(of_kind(samples, number_kind)?),
                };
                samples.sample_since(series, Some(time), value, began(start, created));
            }
            3 => {
                let histogram = histogram(field.message(&rest)?)?;
                let series = match natives {
                    Some(series) => series,
                    None => *natives.insert(of_kind(samples, SeriesKind::Histogram)?),
                };
                take_histogram(samples, series, histogram, created);
            }
            4 => extras.exemplars += 1,
            _ => {}
        }
    }
    Ok(())
}
