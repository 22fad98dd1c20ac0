//! Version 1: each series carries its labels.

use annals::SeriesKind;
use annals::signals::read::{SampleSink, by_itself, kind_by_suffix};

use super::super::series::Samples;
use super::histogram::{histogram, take_histogram};
use super::{Extras, LABELS_LOOKED_AT, metric_of, sample};
use crate::wire::{Broken, Message};

/// Takes the samples of a `prometheus.WriteRequest`.
pub(super) fn decode(body: &[u8], samples: &mut Samples<'_>) -> Result<Extras, Broken> {
    let mut extras = Extras::default();
    let mut request = Message::new(body);
    while let Some((number, field)) = request.next()? {
        match number {
            1 => series(field.message(&request)?, samples, &mut extras)?,
            // Types and help come apart from series, in requests of their own.
            3 => drop(field.message(&request)?),
            _ => {}
        }
    }
    Ok(extras)
}

/// A `prometheus.TimeSeries`.
fn series(message: Message<'_>, samples: &mut Samples<'_>, extras: &mut Extras) -> Result<(), Broken> {
    let mut gathered = Vec::new();
    let (mut numbers, mut natives) = (None, None);
    let (key, mut rest) = match guessed(message, samples)? {
        Some((number, split)) => {
            numbers = Some(number);
            split
        }
        None => match leading_labels(message)? {
            Some(split) => split,
            None => {
                // Labels between other fields: none of the known senders does that.
                let mut all = message;
                while let Some((number, field)) = all.next()? {
                    if number == 1 {
                        let label = field.message(&all)?.bytes();
                        gathered.extend_from_slice(&(label.len() as u64).to_le_bytes());
                        gathered.extend_from_slice(label);
                    }
                }
                (&gathered[..], message)
            }
        },
    };
    while let Some((number, field)) = rest.next()? {
        match number {
            2 => {
                let (time, value, _) = sample(field.message(&rest)?)?;
                let series = match numbers {
                    Some(series) => series,
                    None => *numbers.insert(number_of(samples, SeriesKind::Gauge, key, message)?),
                };
                samples.sample(series, Some(time), value);
            }
            3 => extras.exemplars += 1,
            4 => {
                let histogram = histogram(field.message(&rest)?)?;
                let series = match natives {
                    Some(series) => series,
                    None => *natives.insert(number_of(samples, SeriesKind::Histogram, key, message)?),
                };
                take_histogram(samples, series, histogram, 0);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The bytes of a series' labels, and the rest.
type Split<'a> = (&'a [u8], Message<'a>);

/// A series of numbers that begins with the labels of the one that came next the last time: its number and its
/// parts.
fn guessed<'a>(message: Message<'a>, samples: &mut Samples<'_>) -> Result<Option<(u32, Split<'a>)>, Broken> {
    let Some((number, key)) = samples.guess(by_itself(SeriesKind::Gauge), message.bytes()) else {
        return Ok(None);
    };
    let Some(split) = message.split(key) else { return Ok(None) };
    Ok((!has_labels(split.1)?).then_some((number, split)))
}

/// The bytes of the labels that a series begins with, and the rest; `None` where there are labels in the rest.
fn leading_labels(message: Message<'_>) -> Result<Option<Split<'_>>, Broken> {
    let mut rest = message;
    let after = loop {
        let before = rest;
        match rest.next()? {
            Some((1, field)) => drop(field.message(&before)?),
            _ => break before,
        }
    };
    if has_labels(after)? {
        return Ok(None);
    }
    Ok(message.split(message.bytes().len() - after.bytes().len()))
}

fn has_labels(mut rest: Message<'_>) -> Result<bool, Broken> {
    while let Some((number, _)) = rest.next()? {
        if number == 1 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The number of a series of version 1.
fn number_of(
    samples: &mut Samples<'_>,
    within: SeriesKind,
    key: &[u8],
    message: Message<'_>,
) -> Result<u32, Broken> {
    if let Some(known) = samples.find(by_itself(within), key) {
        return Ok(known);
    }
    let mut labels = Vec::new();
    let mut all = message;
    while let Some((number, field)) = all.next()? {
        if number != 1 || labels.len() == LABELS_LOOKED_AT {
            continue;
        }
        let (mut name, mut value) = ("", "");
        let mut label = field.message(&all)?;
        while let Some((number, field)) = label.next()? {
            match number {
                1 => name = field.message(&label)?.text()?,
                2 => value = field.message(&label)?.text()?,
                _ => {}
            }
        }
        labels.push((name, value));
    }
    let kind = if within == SeriesKind::Gauge { kind_by_suffix(metric_of(&labels)) } else { within };
    Ok(samples.series(by_itself(within), key, &labels, kind))
}
