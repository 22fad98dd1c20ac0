//! `promql test`, `parse` and `format`: PromQL without a store.

use std::io::Write;
use std::path::PathBuf;

use annals::query::promql::{self, script};

use crate::args::PromqlVerb;
use crate::error::{CliError, Outcome};
use crate::output::Screen;

/// Does what was asked.
pub(crate) fn run(verb: &PromqlVerb, screen: &mut Screen) -> Outcome {
    match verb {
        PromqlVerb::Test { files } => test(files, screen),
        PromqlVerb::Parse { expression } => parse(expression, screen),
        PromqlVerb::Format { expression } => format(expression, screen),
    }
}

/// Runs scripts: a line per file, the first difference of each, and the sums on the last line.
fn test(files: &[PathBuf], screen: &mut Screen) -> Outcome {
    let (mut passed, mut failed) = (0, 0);
    for file in files {
        let name = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|error| CliError::failed(format_args!("cannot read {name}: {error}")))?;
        let report = script::run(&text).map_err(|error| CliError::failed(format_args!("{name}: {error}")))?;
        writeln!(screen, "{name}: {} passed, {} failed", report.passed, report.failures.len())?;
        if let Some(first) = report.failures.first() {
            writeln!(screen, "  {first}")?;
        }
        passed += report.passed;
        failed += report.failures.len();
    }
    writeln!(screen, "{passed} passed, {failed} failed")?;
    Ok(if failed > 0 { 3 } else { 0 })
}

/// Shows the tree of a query.
fn parse(expression: &str, screen: &mut Screen) -> Outcome {
    let expr = parsed(expression)?;
    write!(screen, "{}", promql::tree(&expr, expression))?;
    Ok(0)
}

/// Writes a query as one writes it.
fn format(expression: &str, screen: &mut Screen) -> Outcome {
    let expr = parsed(expression)?;
    writeln!(screen, "{}", promql::format(&expr))?;
    Ok(0)
}

fn parsed(expression: &str) -> Result<promql::Expr, CliError> {
    promql::parse(expression).map_err(|error| CliError::Rendered(error.render(expression)))
}
