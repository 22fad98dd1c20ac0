//! `watch`: draws an answer anew every few seconds, beside a live writer.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use annals::Timestamp;
use annals::query::promql::Times;

use super::query::{Asking, POINTS, say};
use super::reader::Reader;
use crate::access;
use crate::args::{OperatorArgs, TenantArgs, WatchArgs};
use crate::error::{CliError, Outcome};
use crate::output::{AnswerForm, Screen, answer, words};
use crate::times::{print_span, round_step};

/// To the upper left, and nothing below.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";
/// So often it is looked whether to end.
const BLINK: Duration = Duration::from_millis(50);

/// Watches.
pub(crate) fn watch(args: &WatchArgs, screen: &mut Screen) -> Outcome {
    screen.show_times_in(&args.zone.tz);
    let watch = Watch {
        expression: &args.expression,
        last_ms: args.last,
        step_ms: args.step.unwrap_or_else(|| round_step(args.last, POINTS)),
        every_ms: args.every,
        frames: args.frames,
    };
    watch.run(&args.tenant, &args.operator, &AtomicBool::new(false), screen)?;
    Ok(0)
}

/// What is drawn, and how often.
pub(crate) struct Watch<'a> {
    pub(crate) expression: &'a str,
    pub(crate) last_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) every_ms: i64,
    pub(crate) frames: Option<u64>,
}

impl Watch<'_> {
    /// Draws until it is told to end.
    pub(crate) fn run(
        &self,
        tenant: &TenantArgs,
        who: &OperatorArgs,
        end: &AtomicBool,
        screen: &mut Screen,
    ) -> Result<(), CliError> {
        let mut drawn = 0;
        while self.frames.is_none_or(|frames| drawn < frames) && !end.load(Ordering::Relaxed) {
            let next = Instant::now() + Duration::from_millis(self.every_ms.unsigned_abs());
            self.frame(tenant, who, screen)?;
            drawn += 1;
            if self.frames == Some(drawn) {
                break;
            }
            while Instant::now() < next && !end.load(Ordering::Relaxed) {
                std::thread::sleep(BLINK.min(next.saturating_duration_since(Instant::now())));
            }
        }
        Ok(())
    }

    fn frame(&self, tenant: &TenantArgs, who: &OperatorArgs, screen: &mut Screen) -> Result<(), CliError> {
        let since = Instant::now();
        let reading = access::read(tenant)?;
        let reader = Reader::of(&reading, who)?;
        // On round times, so that points stay where they are from frame to frame.
        let now = access::now();
        let end = Timestamp(now.0.div_euclid(self.step_ms).saturating_mul(self.step_ms));
        let times = Times::Range { start: end.saturating_add(-self.last_ms), end, step_ms: self.step_ms };
        let asking = Asking { times, form: AnswerForm::Chart };
        let found = reader.ask(self.expression, times)?;
        let took = since.elapsed().as_secs_f64() * 1e3;
        let at = words::time(Timestamp(now.0 / 1000 * 1000), &screen.look().zone);
        let (every, name) = (print_span(self.every_ms), &reading.tenant.id);
        let clear = if screen.terminal() { CLEAR } else { "" };
        screen.people(&format!("{clear}{name}  {at}  every {every}, {took:.0} ms\n\n"))?;
        say(&found, self.expression);
        if answer::is_empty(&found.value) {
            screen.people(&format!("{}: no data\n", words::one_line(self.expression)))?;
        } else {
            let asked = answer::Asked { question: self.expression, range: asking.axis() };
            answer::write(screen, &found, asking.form, asked)?;
        }
        if !screen.terminal() {
            writeln!(screen)?;
        }
        Ok(screen.finish()?)
    }
}
