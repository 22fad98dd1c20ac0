//! `explain`: how a query is answered, as a tree, and with `--analyze` what each part took.

use std::io::Write;

use annals::query::promql::{Explained, PartCost, SelectorCost, Times};

use super::questions;
use super::reader::Reader;
use crate::access;
use crate::args::ExplainArgs;
use crate::error::{CliError, Outcome};
use crate::output::Screen;
use crate::output::words::{count, plural, size};

/// Writes the tree of a query.
pub(crate) fn explain(args: &ExplainArgs, screen: &mut Screen) -> Outcome {
    let questions = questions::read(&args.question)?;
    let reading = access::read(&args.tenant)?;
    let reader = Reader::of(&reading, &args.operator)?;
    let times = times(args)?;
    for (number, expression) in questions.iter().enumerate() {
        if number > 0 {
            writeln!(screen)?;
        }
        one(expression, times, args.analyze, &reader, screen)?;
    }
    Ok(0)
}

/// Writes the tree of one query.
pub(crate) fn one(
    expression: &str,
    times: Times,
    analyze: bool,
    reader: &Reader,
    screen: &mut Screen,
) -> Result<(), CliError> {
    let found = reader.explain(expression, times, analyze)?;
    match times {
        Times::Instant(at) => writeln!(screen, "at {at}")?,
        Times::Range { start, end, step_ms } => {
            let steps = (end.0.saturating_sub(start.0)) / step_ms.max(1) + 1;
            let step = crate::times::print_span(step_ms);
            writeln!(screen, "{steps} steps of {step} from {start} to {end}")?;
        }
    }
    for part in &found.parts {
        let indent = "  ".repeat(part.depth);
        writeln!(screen, "{indent}{}{}", part.what, cost(part))?;
        if let Some(selector) = &part.selector {
            for line in reads(selector) {
                writeln!(screen, "{indent}    {line}")?;
            }
        }
    }
    if let Some(answer) = &found.answer {
        writeln!(screen, "{} of memory at most", size(found.memory_bytes_peak))?;
        for warning in &answer.warnings {
            eprintln!("warning: {}", warning.render(expression));
        }
    }
    Ok(())
}

fn times(args: &ExplainArgs) -> Result<Times, CliError> {
    let now = access::now();
    if let Some(at) = args.at {
        return Ok(Times::Instant(at.resolve(now, &args.time.zone.tz)));
    }
    if !args.time.given() {
        return Ok(Times::Instant(now));
    }
    super::query::steps(&args.time, args.step)
}

/// What a part took, behind what it is.
fn cost(part: &Explained) -> String {
    let Some(PartCost { nanoseconds, series, memory_bytes }) = part.cost else { return String::new() };
    let series = plural(series, "series", "series");
    format!("  [{}, {series}, {}]", duration(nanoseconds), size(memory_bytes))
}

fn duration(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1} us", nanoseconds as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", nanoseconds as f64 / 1e6),
        _ => format!("{:.2} s", nanoseconds as f64 / 1e9),
    }
}

/// What a selector finds, and what of it is read.
fn reads(selector: &SelectorCost) -> Vec<String> {
    let SelectorCost { range, coarser, series, read } = selector;
    let mut lines = vec![format!(
        "{} with samples after {} up to {}",
        plural(*series, "series", "series"),
        range.start,
        range.end
    )];
    for (part, resolution) in coarser {
        lines.push(format!("after {} up to {} from the {} tier", part.start, part.end, resolution.word()));
    }
    if read.windows > 0 {
        lines.push(format!("{} of rollups", plural(read.windows, "window", "windows")));
    }
    if read.chunks_skipped > 0 {
        lines.push(format!("{} by their aggregates", plural(read.chunks_skipped, "chunk", "chunks")));
    }
    if read.chunks_decoded > 0 {
        let chunks = plural(read.chunks_decoded, "chunk", "chunks");
        lines.push(format!("{chunks} decoded: {} samples, {}", count(read.samples), size(read.bytes)));
    } else if read.samples > 0 {
        lines.push(format!("{} samples of the head", count(read.samples)));
    }
    lines
}
