//! `query` and `range`: PromQL answers, and where the data is when there is none.

use std::io::Write;

use annals::query::promql::{Answer, Times};
use annals::{TenantSummary, TimeRange, Timestamp};

use super::questions;
use super::reader::Reader;
use crate::access::{self, Reading};
use crate::args::{OperatorArgs, QueryArgs, Question, RangeArgs, RangeOfTime};
use crate::error::{CliError, Outcome};
use crate::output::{AnswerForm, Screen, answer, words};
use crate::times::{print_span, round_step};

/// How far back an instant query looks, as in Prometheus.
const LOOKBACK_MS: i64 = 5 * annals::MINUTE_MS;
/// The range where none is given.
pub(crate) const LAST_MS: i64 = annals::HOUR_MS;
/// About as many points as a chart can show.
pub(crate) const POINTS: i64 = 250;

/// Answers for one instant.
pub(crate) fn instant(args: &QueryArgs, screen: &mut Screen) -> Outcome {
    screen.show_times_in(&args.zone.tz);
    let at = args.at.resolve(access::now(), &args.zone.tz);
    let asking = Asking { times: Times::Instant(at), form: screen.answer_form(args.output) };
    asking.all(&args.question, &access::read(&args.tenant)?, &args.operator, screen)
}

/// Answers for every step of a range.
pub(crate) fn range(args: &RangeArgs, screen: &mut Screen) -> Outcome {
    screen.show_times_in(&args.time.zone.tz);
    let times = steps(&args.time, args.step)?;
    let asking = Asking { times, form: screen.answer_form(args.output) };
    if let (None, true, Times::Range { step_ms, .. }) = (args.step, screen.terminal(), times) {
        eprintln!("note: a point every {}; another with --step", print_span(step_ms));
    }
    asking.all(&args.question, &access::read(&args.tenant)?, &args.operator, screen)
}

/// The steps of a range. Those that nobody chose fall on round times, so that two calls show the same points.
pub(crate) fn steps(time: &RangeOfTime, step: Option<i64>) -> Result<Times, CliError> {
    let (start, end) = time.resolve(access::now(), LAST_MS);
    if start > end {
        return Err(CliError::usage(format_args!("the range ends before it starts: {start} to {end}"))
            .help("swap --start and --end"));
    }
    let step_ms = step.unwrap_or_else(|| round_step(end.0.saturating_sub(start.0), POINTS));
    let start = match step {
        Some(_) => start,
        None => Timestamp(start.0.saturating_add(step_ms - 1).div_euclid(step_ms).saturating_mul(step_ms))
            .min(end),
    };
    Ok(Times::Range { start, end, step_ms })
}

/// For when, and in which form, questions are answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking {
    pub(crate) times: Times,
    pub(crate) form: AnswerForm,
}

impl Asking {
    /// Answers the questions of a command line.
    fn all(
        &self,
        question: &Question,
        reading: &Reading,
        who: &OperatorArgs,
        screen: &mut Screen,
    ) -> Outcome {
        let questions = questions::read(question)?;
        if questions.len() > 1 && !self.form.takes_several() {
            let form = self.form.word();
            return Err(CliError::usage(format_args!(
                "{form} holds one answer, and there are {} questions",
                questions.len()
            ))
            .help("ask them one by one, or in another form"));
        }
        let reader = Reader::of(reading, who)?;
        for finding in reading.store.findings() {
            eprintln!("warning: {finding}");
        }
        for (number, expression) in questions.iter().enumerate() {
            if questions.len() > 1 {
                self.heading(number, expression, screen)?;
            }
            self.one(expression, reading, &reader, screen)?;
        }
        Ok(0)
    }

    /// Answers one question.
    pub(crate) fn one(
        &self,
        expression: &str,
        reading: &Reading,
        reader: &Reader,
        screen: &mut Screen,
    ) -> Result<(), CliError> {
        let found = reader.ask(expression, self.times)?;
        say(&found, expression);
        if answer::is_empty(&found.value) {
            let helper = reader.helper().filter(|_| reading.tenant.latest.is_some());
            let unknown = helper.and_then(|helper| questions::unknown_name(helper, expression));
            match unknown {
                Some(unknown) => eprintln!("note: {}", words::harmless(&unknown)),
                None => note_where_data_is(&reading.tenant, self.seen(), self.flag()),
            }
        }
        let asked = answer::Asked { question: expression, range: self.axis() };
        answer::write(screen, &found, self.form, asked)
    }

    /// What stands before one of several answers, for people.
    fn heading(&self, number: usize, expression: &str, screen: &mut Screen) -> Result<(), CliError> {
        if number > 0 && !matches!(self.form, AnswerForm::Json | AnswerForm::Jsonl | AnswerForm::Prom) {
            writeln!(screen)?;
        }
        if let AnswerForm::Table | AnswerForm::Chart | AnswerForm::Markdown = self.form {
            screen.people(&format!("{}\n\n", words::one_line(expression)))?;
        }
        Ok(())
    }

    /// The times of which samples are seen.
    fn seen(&self) -> TimeRange {
        match self.times {
            Times::Instant(at) => TimeRange::new(at.saturating_add(-LOOKBACK_MS), at),
            Times::Range { start, end, .. } => TimeRange::new(start.saturating_add(-LOOKBACK_MS), end),
        }
    }

    /// The times of a chart.
    pub(crate) fn axis(&self) -> TimeRange {
        match self.times {
            Times::Instant(_) => self.seen(),
            Times::Range { start, end, .. } => TimeRange::new(start, end),
        }
    }

    /// What leads to other times.
    fn flag(&self) -> &'static str {
        match self.times {
            Times::Instant(_) => "--at",
            Times::Range { .. } => "--end",
        }
    }
}

/// Says what an answer lacks, on standard error.
pub(crate) fn say(answer: &Answer, expression: &str) {
    for warning in &answer.warnings {
        eprintln!("warning: {}", warning.render(expression));
    }
    for info in &answer.infos {
        eprintln!("note: {}", info.render(expression));
    }
}

/// Where an answer is empty: says where the tenant's data is, and which flag leads there.
pub(crate) fn note_where_data_is(tenant: &TenantSummary, seen: TimeRange, flag: &str) {
    let name = &tenant.id;
    match (tenant.earliest, tenant.latest) {
        (Some(_), Some(latest)) if latest <= seen.start => {
            // The next full minute is easier to type and misses nothing.
            let minute = annals::MINUTE_MS;
            let round =
                Timestamp(latest.0.saturating_add(minute - 1).div_euclid(minute).saturating_mul(minute));
            eprintln!(
                "note: nothing there: the data of tenant `{name}` ends at {latest}; try {flag} {round}"
            );
        }
        (Some(earliest), Some(_)) if earliest > seen.end => {
            eprintln!(
                "note: nothing there: the data of tenant `{name}` starts at {earliest}; try a later {flag}"
            );
        }
        (Some(earliest), Some(latest)) => {
            eprintln!(
                "note: no series there satisfies the query; tenant `{name}` has data from {earliest} to {latest}, \
                 and `annals series` lists it"
            );
        }
        _ => eprintln!(
            "note: tenant `{name}` has no metrics yet; `annals import --help` shows how to get some"
        ),
    }
}
