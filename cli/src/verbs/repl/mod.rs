//! `repl`: questions one after another, with a line that can be edited and knows what there is.
//!
//! ```text
//!   editor.rs    the line: completion, colours, whether a question is finished
//!   here         what becomes of it: a question, or a command that begins with a point
//! ```
//!
//! The store is opened anew for each question, so that what a writer adds meanwhile is seen.

mod editor;

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use annals::query::promql::Times;
use annals::{METRIC_NAME, SelectedSeries, SeriesSource, TimeRange, nearest};
use clap::ValueEnum;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use super::query::{Asking, POINTS};
use super::reader::Reader;
use super::watch::Watch;
use super::{explain, questions};
use crate::access::{self, Reading};
use crate::args::{OperatorArgs, ReplArgs, TenantArgs};
use crate::error::{CliError, Outcome};
use crate::output::{AnswerForm, Cell, Grid, ListForm, Screen, words};
use crate::times::{When, parse_span, parse_when, print_span, round_step};
use editor::Line;

/// The commands, what follows them, and what they do.
const COMMANDS: [(&str, &str, &str); 12] = [
    (".help", "", "this list"),
    (".metrics", "[WORD]", "metrics, those with a word in their name"),
    (".labels", "[NAME]", "label names, or the values of one"),
    (".at", "TIME", "ask about one instant: now, now-1d/d, 2015-05-18"),
    (".last", "SPAN [STEP]", "ask about a range that ends there, such as 6h 5m"),
    (".mode", "FORM", "the form of answers, such as table, chart, csv, jsonl"),
    (".timer", "on|off", "how long each answer takes"),
    (".explain", "EXPR", "how a question is answered"),
    (".watch", "[SPAN] EXPR", "draw it every 2s, or every SPAN, until Enter"),
    (".tenant", "[NAME]", "the tenants, or another one"),
    (".tz", "ZONE", "the zone of times"),
    (".quit", "", "end; so does Ctrl-D"),
];

/// What a session remembers between questions.
struct Session {
    tenant: TenantArgs,
    reading: Reading,
    form: Option<AnswerForm>,
    at: When,
    /// Length and step of a range.
    last: Option<(i64, Option<i64>)>,
    timer: bool,
}

/// Asks and answers until the end.
pub(crate) fn repl(args: &ReplArgs, screen: &mut Screen) -> Outcome {
    screen.show_times_in(&args.zone.tz);
    let tenant = TenantArgs { store: args.tenant.store.clone(), tenant: args.tenant.tenant.clone() };
    let reading = access::read(&tenant)?;
    let mut session = Session { tenant, reading, form: args.output, at: When::NOW, last: None, timer: false };
    let interactive = std::io::stdin().is_terminal();
    if !interactive {
        return session.script(screen);
    }
    let config = Config::builder()
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .auto_add_history(true)
        .build();
    let history = history_file();
    let failed = |error: ReadlineError| CliError::failed(format_args!("cannot read lines: {error}"));
    let mut lines: Editor<Line, FileHistory> = Editor::with_config(config).map_err(failed)?;
    lines.set_helper(Some(Line::new(session.reader()?, &session.reading, screen.colour())));
    if let Some(file) = &history {
        // There is none before the first session.
        let _ = lines.load_history(file);
    }
    session.greet(screen)?;
    loop {
        screen.finish()?;
        let prompt = format!("{}> ", session.reading.tenant.id);
        match lines.readline(&prompt) {
            Ok(text) => {
                if !session.lines(&text, screen)? {
                    break;
                }
                if let Ok(reader) = session.reader() {
                    lines.set_helper(Some(Line::new(reader, &session.reading, screen.colour())));
                }
            }
            // Ctrl-C gives up what is being written, and no more.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(failed(error)),
        }
    }
    if let Some(file) = &history {
        let made = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        if made.is_err() || lines.save_history(file).is_err() {
            eprintln!("note: what was asked cannot be kept in {}", file.display());
        }
    }
    Ok(0)
}

/// Where what was asked is kept.
fn history_file() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")))?;
    Some(state.join("annals/history"))
}

impl Session {
    fn greet(&self, screen: &mut Screen) -> Result<(), CliError> {
        let tenant = &self.reading.tenant;
        writeln!(
            screen,
            "annals {}, tenant {}. `.help` lists the commands.",
            env!("CARGO_PKG_VERSION"),
            tenant.id
        )?;
        if let (Some(first), Some(last)) = (tenant.earliest, tenant.latest) {
            let zone = screen.look().zone.clone();
            let (first, last) = (words::time(first, &zone), words::time(last, &zone));
            writeln!(screen, "Metrics from {first} to {last}.")?;
        }
        for finding in self.reading.store.findings() {
            eprintln!("warning: {finding}");
        }
        Ok(())
    }

    /// What comes through a pipe: commands and questions with `;` or a line's end between them, up to the first error.
    fn script(&mut self, screen: &mut Screen) -> Outcome {
        let mut pending = String::new();
        for line in std::io::stdin().lock().lines() {
            let line =
                line.map_err(|error| CliError::failed(format_args!("cannot read standard input: {error}")))?;
            pending.push_str(&line);
            pending.push('\n');
            if editor::is_finished(&pending) {
                let text = std::mem::take(&mut pending);
                if !self.each(&text, screen, &mut Err)? {
                    return Ok(0);
                }
            }
        }
        self.each(&pending, screen, &mut Err)?;
        Ok(0)
    }

    /// What was typed. An error is told, and the session goes on.
    fn lines(&mut self, text: &str, screen: &mut Screen) -> Result<bool, CliError> {
        self.each(text, screen, &mut |error| match error {
            CliError::Gone => Err(CliError::Gone),
            error => {
                eprintln!("{error}");
                Ok(())
            }
        })
    }

    /// Does each command and answers each question; false at the end of the session.
    fn each(
        &mut self,
        text: &str,
        screen: &mut Screen,
        wrong: &mut dyn FnMut(CliError) -> Result<(), CliError>,
    ) -> Result<bool, CliError> {
        for one in questions::split(text) {
            if matches!(one.as_str(), ".quit" | ".exit") {
                return Ok(false);
            }
            let since = Instant::now();
            let done = match one.strip_prefix('.') {
                // A number may begin with a point.
                Some(rest) if rest.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                    self.command(&one, screen)
                }
                _ => self.ask(&one, screen),
            };
            // What was answered stands before what is told of it.
            screen.finish()?;
            if let Err(error) = done {
                wrong(error)?;
            } else if self.timer {
                writeln!(screen, "took {:.1} ms", since.elapsed().as_secs_f64() * 1e3)?;
                screen.finish()?;
            }
        }
        Ok(true)
    }

    fn reader(&self) -> Result<Reader, CliError> {
        Reader::of(&self.reading, &OperatorArgs::default())
    }

    /// Looks at the store as it is now.
    fn refresh(&mut self) -> Result<(), CliError> {
        self.reading = access::read(&self.tenant)?;
        Ok(())
    }

    fn times(&self, screen: &Screen) -> Times {
        let end = self.at.resolve(access::now(), &screen.look().zone);
        match self.last {
            None => Times::Instant(end),
            Some((last_ms, step)) => {
                let step_ms = step.unwrap_or_else(|| round_step(last_ms, POINTS));
                Times::Range { start: end.saturating_add(-last_ms), end, step_ms }
            }
        }
    }

    fn ask(&mut self, expression: &str, screen: &mut Screen) -> Result<(), CliError> {
        self.refresh()?;
        let asking = Asking { times: self.times(screen), form: screen.answer_form(self.form) };
        asking.one(expression, &self.reading, &self.reader()?, screen)
    }

    fn command(&mut self, text: &str, screen: &mut Screen) -> Result<(), CliError> {
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let wrong = |error: String| CliError::usage(format_args!("{name}: {error}"));
        match name {
            ".help" => {
                for (name, takes, does) in COMMANDS {
                    writeln!(screen, "{name:9} {takes:12} {does}")?;
                }
            }
            ".metrics" => self.list("metric", METRIC_NAME, rest, screen)?,
            ".labels" if rest.is_empty() => {
                let names = self.of_all(|all| all.label_names())?;
                table("label", names, screen)?;
            }
            ".labels" => self.list("value", rest, "", screen)?,
            ".at" => {
                self.at = parse_when(rest).map_err(wrong)?;
                self.last = None;
            }
            ".last" if rest == "off" => self.last = None,
            ".last" => {
                let (span, step) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                let step = Some(step.trim()).filter(|step| !step.is_empty()).map(parse_span);
                self.last = Some((parse_span(span).map_err(wrong)?, step.transpose().map_err(wrong)?));
            }
            ".mode" => {
                let forms = AnswerForm::value_variants();
                let form = forms.iter().find(|form| form.word() == rest);
                let names: Vec<String> = forms.iter().map(|form| form.word()).collect();
                self.form = Some(*form.ok_or_else(|| unknown("there is no form", rest, &names))?);
            }
            ".timer" => match rest {
                "on" | "" => self.timer = true,
                "off" => self.timer = false,
                _ => return Err(wrong("say on or off".to_owned())),
            },
            ".tz" => screen.show_times_in(&crate::times::parse_zone(rest).map_err(wrong)?),
            ".explain" => {
                self.refresh()?;
                explain::one(rest, self.times(screen), true, &self.reader()?, screen)?;
            }
            ".watch" => self.watch(rest, screen)?,
            ".tenant" if rest.is_empty() => {
                self.refresh()?;
                let names = self.reading.store.tenants().iter().map(|tenant| tenant.id.to_string()).collect();
                table("tenant", names, screen)?;
            }
            ".tenant" => {
                let tenant = TenantArgs { store: self.tenant.store.clone(), tenant: Some(rest.to_owned()) };
                self.reading = access::read(&tenant)?;
                self.tenant = tenant;
            }
            _ => {
                let names: Vec<String> = COMMANDS.iter().map(|(name, ..)| (*name).to_owned()).collect();
                return Err(unknown("there is no command", name, &names));
            }
        }
        Ok(())
    }

    /// Something of all series that there are by now.
    fn of_all<T>(&mut self, of: impl Fn(&dyn SelectedSeries) -> T) -> Result<T, CliError> {
        self.refresh()?;
        let reader = self.reading.store.tenant(&self.reading.tenant.id).map_err(CliError::failed)?;
        let all = reader.select_labels(&[], TimeRange::ALL, &reader.budget()).map_err(CliError::failed)?;
        Ok(of(&*all))
    }

    /// The values of a label with a word in them.
    fn list(&mut self, column: &str, label: &str, word: &str, screen: &mut Screen) -> Result<(), CliError> {
        let found = self.of_all(|all| all.label_values(label))?;
        if found.is_empty() && label != METRIC_NAME {
            let names = self.of_all(|all| all.label_names())?;
            return Err(unknown("no series has the label", label, &names));
        }
        table(column, found.into_iter().filter(|value| value.contains(word)).collect(), screen)
    }

    /// Draws until a line is read.
    fn watch(&mut self, rest: &str, screen: &mut Screen) -> Result<(), CliError> {
        let (first, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let (every_ms, expression) = match parse_span(first) {
            Ok(span) if !after.trim().is_empty() => (span, after.trim()),
            _ => (2_000, rest),
        };
        let (last_ms, step) = self.last.unwrap_or((15 * annals::MINUTE_MS, None));
        let step_ms = step.unwrap_or_else(|| round_step(last_ms, POINTS));
        let interactive = std::io::stdin().is_terminal();
        // A pipe has no Enter that ends it.
        let frames = if interactive { None } else { Some(1) };
        let watch = Watch { expression, last_ms, step_ms, every_ms, frames };
        let end = Arc::new(AtomicBool::new(false));
        if interactive {
            eprintln!("note: every {}; Enter ends it", print_span(every_ms));
            let end = end.clone();
            std::thread::spawn(move || {
                let mut line = String::new();
                let _ = std::io::stdin().read_line(&mut line);
                end.store(true, Ordering::Relaxed);
            });
        }
        watch.run(&self.tenant, &OperatorArgs::default(), &end, screen)
    }
}

fn table(column: &str, rows: Vec<String>, screen: &mut Screen) -> Result<(), CliError> {
    let mut grid = Grid::new([column]);
    rows.into_iter().for_each(|row| grid.row(vec![Cell::text(row)]));
    screen.list(&grid, Some(ListForm::Table))
}

fn unknown(what: &str, wrong: &str, known: &[String]) -> CliError {
    let error = CliError::usage(format_args!("{what} `{}`", words::harmless(wrong)));
    match nearest(wrong, known.iter().map(String::as_str)) {
        Some(near) => error.help(format_args!("did you mean `{near}`?")),
        None => error.help(format_args!("there are {}", known.join(", "))),
    }
}
