//! Plans of an operator's own, from TOML: the whole file is checked before any of it is used.
//!
//! ```
//! let plan = annals_model::Plan::from_toml(r#"
//! name = "silver"              # [a-z0-9_-], not that of a built-in plan
//! late_window = "6h"           # after a day's end data for it is taken so long; "open": for ever, with the right backfill
//! rights = ["export"]          # of: export, open_metrics, backfill; default: none
//!
//! [keep]                       # in whole days, which is what one block spans, or "forever"; finer is never kept longer
//! signals = "3d"
//! raw = "30d"
//! 5m = "90d"                   # the two coarser tiers may be left out
//! 1h = "400d"
//! cancelled = "30d"            # how long a tenant that was cancelled is kept, at most; the default
//!
//! [limits]                     # each has a default
//! series = 200_000
//! batch_records = 50_000
//! future = "10m"
//! "#)?;
//! assert_eq!((plan.name.as_str(), plan.tiers.len()), ("silver", 3));
//!
//! let error = annals_model::Plan::from_toml("name = \"gold\"\nlate_windw = \"2h\"").unwrap_err();
//! assert_eq!(error.to_string(), "plan, `late_windw`: there is no such key; did you mean `late_window`?");
//! # Ok::<(), annals_model::PlanError>(())
//! ```

use toml::{Table, Value};

use crate::nearest::nearest;
use crate::plan::{CANCELLED_KEEP_DAYS, Keep, Limits, Plan, Resolution, Rights, Tier};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};

/// The largest plan file.
const PLAN_BYTES_MAX: usize = 16 << 10;
const NAME_BYTES_MAX: usize = 64;
/// What is kept longer is kept for ever.
const KEEP_DAYS_MAX: u32 = 36_500;
/// A stamp further ahead is a wrong clock.
const FUTURE_MAX_MS: i64 = DAY_MS;

/// Why a plan is refused as a whole, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plan{}: {fault}", if key.is_empty() { String::new() } else { format!(", `{key}`") })]
pub struct PlanError {
    /// The key at fault, with its table; empty where it is the file.
    pub key: String,
    /// What is wrong there, and what to do.
    pub fault: PlanFault,
}

/// What can be wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanFault {
    /// It is not TOML.
    #[error("{0}")]
    Toml(String),
    /// The file is too large.
    #[error("the file has {bytes} bytes, at most {PLAN_BYTES_MAX} are allowed")]
    FileTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A key that no plan has.
    #[error("there is no such key; {}", match nearest { Some(near) => format!("did you mean `{near}`?"), None => format!("there are {known}") })]
    UnknownKey {
        /// The known key that is nearest, where one is near.
        nearest: Option<&'static str>,
        /// All of them.
        known: String,
    },
    /// A key that every plan has.
    #[error("it is not there; give it")]
    MissingKey,
    /// A value that is not of the key's form.
    #[error("it must be {wanted}")]
    WrongForm {
        /// The form.
        wanted: &'static str,
    },
    /// A name of another alphabet or length, or of a built-in plan.
    #[error("use 1 to {NAME_BYTES_MAX} of [a-z0-9_-], and not the name of a built-in plan")]
    InvalidName,
    /// Less than what one block spans: it could not be removed in time.
    #[error("it is shorter than the day that one block spans; use whole days, 1d or more")]
    ShorterThanBlock,
    /// Longer than anybody lives.
    #[error("it is longer than {KEEP_DAYS_MAX}d; write \"forever\"")]
    TooLong,
    /// A finer tier would outlive a coarser one.
    #[error(
        "tiers do not nest: it is kept {kept}, and `{finer}`, which is finer, {finer_kept}; keep it at least as long"
    )]
    NotNested {
        /// How long.
        kept: Keep,
        /// The finer tier.
        finer: &'static str,
        /// How long that is.
        finer_kept: Keep,
    },
    /// The tiers do not begin with raw, or come twice or out of order.
    #[error("tiers must be raw first, then 5m, then 1h, each at most once")]
    TierOrder,
    /// A day would expire before it is complete.
    #[error("data would be taken for longer than raw metrics are kept; make it shorter than `keep.raw`")]
    LateWindowTooLong,
    /// Old data may come for ever into sealed days, or into days that are never sealed: one needs the other.
    #[error("the right backfill and late_window = \"open\" go together; give both or neither")]
    BackfillNeedsOpenWindow,
    /// A limit of zero, or one that bounds nothing.
    #[error("it is {found}; use {least} to {most}")]
    LimitOutOfBounds {
        /// What it is.
        found: i64,
        /// The least.
        least: i64,
        /// The most.
        most: i64,
    },
}

fn fault(key: &str, fault: PlanFault) -> PlanError {
    PlanError { key: key.to_owned(), fault }
}

impl Plan {
    /// Reads a plan and checks all of it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its key.
    pub fn from_toml(text: &str) -> Result<Plan, PlanError> {
        if text.len() > PLAN_BYTES_MAX {
            return Err(fault("", PlanFault::FileTooLarge { bytes: text.len() }));
        }
        let file: Table = text
            .parse()
            .map_err(|error: toml::de::Error| fault("", PlanFault::Toml(toml_error(text, &error))))?;
        known_keys("", &file, &["name", "late_window", "rights", "keep", "limits"])?;
        let keep = table(&file, "keep")?.ok_or_else(|| fault("keep", PlanFault::MissingKey))?;
        known_keys("keep.", keep, &["signals", "raw", "5m", "1h", "cancelled"])?;
        let needed =
            |key| keep_of(keep, key)?.ok_or_else(|| fault(&format!("keep.{key}"), PlanFault::MissingKey));
        let mut tiers = vec![Tier { resolution: Resolution::Raw, keep: needed("raw")? }];
        for resolution in [Resolution::FiveMinutes, Resolution::Hour] {
            tiers.extend(keep_of(keep, resolution.word())?.map(|keep| Tier { resolution, keep }));
        }
        let plan = Plan {
            name: text_of(&file, "name", "name", "a text")?.to_owned(),
            signals_keep: needed("signals")?,
            tiers,
            cancelled_keep_days: match keep_of(keep, "cancelled")? {
                None => CANCELLED_KEEP_DAYS,
                Some(Keep::Days(days)) => days,
                Some(Keep::Forever) => return Err(fault("keep.cancelled", WRONG_CANCELLED)),
            },
            late_window_ms: match text_of(&file, "late_window", "late_window", SPAN)? {
                "open" => None,
                span => Some(span_ms(span).ok_or_else(|| fault("late_window", WRONG_SPAN))?),
            },
            limits: limits(&file)?,
            rights: rights(&file)?,
        };
        if Plan::BUILT_IN.contains(&plan.name.as_str()) {
            return Err(fault("name", PlanFault::InvalidName));
        }
        plan.check()?;
        Ok(plan)
    }

    /// Whether a plan makes sense as a whole.
    ///
    /// # Errors
    /// The first thing that is wrong, with the key that a file would have it under.
    pub fn check(&self) -> Result<(), PlanError> {
        let name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if !(1..=NAME_BYTES_MAX).contains(&self.name.len()) || !self.name.bytes().all(name) {
            return Err(fault("name", PlanFault::InvalidName));
        }
        let starts_raw = self.tiers.first().is_some_and(|tier| tier.resolution == Resolution::Raw);
        if !starts_raw || !self.tiers.is_sorted_by(|a, b| a.resolution < b.resolution) {
            return Err(fault("keep", PlanFault::TierOrder));
        }
        let kept = self.tiers.iter().map(|tier| (tier.resolution.word(), tier.keep));
        let mut finer = ("signals", self.signals_keep);
        check_keep(finer)?;
        for (word, keep) in kept {
            check_keep((word, keep))?;
            if keep < finer.1 {
                let not_nested = PlanFault::NotNested { kept: keep, finer: finer.0, finer_kept: finer.1 };
                return Err(fault(&format!("keep.{word}"), not_nested));
            }
            finer = (word, keep);
        }
        check_keep(("cancelled", Keep::Days(self.cancelled_keep_days)))?;
        if self.late_window_ms.is_none() != self.rights.backfill {
            return Err(fault("late_window", PlanFault::BackfillNeedsOpenWindow));
        }
        let raw_ms = match self.raw_keep() {
            Keep::Days(days) => i64::from(days) * DAY_MS,
            Keep::Forever => i64::MAX,
        };
        if self.late_window_ms.is_some_and(|window| window < 0 || window >= raw_ms) {
            return Err(fault("late_window", PlanFault::LateWindowTooLong));
        }
        let Limits { series_max, batch_records_max, future_max_ms } = self.limits;
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (key, found, least, most) in [
            ("limits.series", count(series_max), 1, i64::from(u32::MAX)),
            ("limits.batch_records", count(batch_records_max), 1, 10_000_000),
            ("limits.future", future_max_ms, 0, FUTURE_MAX_MS),
        ] {
            if !(least..=most).contains(&found) {
                return Err(fault(key, PlanFault::LimitOutOfBounds { found, least, most }));
            }
        }
        Ok(())
    }
}

fn check_keep((word, keep): (&str, Keep)) -> Result<(), PlanError> {
    match keep {
        Keep::Days(0) => Err(fault(&format!("keep.{word}"), PlanFault::ShorterThanBlock)),
        Keep::Days(days) if days > KEEP_DAYS_MAX => Err(fault(&format!("keep.{word}"), PlanFault::TooLong)),
        _ => Ok(()),
    }
}

const WRONG_CANCELLED: PlanFault = PlanFault::WrongForm { wanted: "a span such as \"30d\": it ends" };
const SPAN: &str = "a span such as \"30m\", \"6h\" or \"2d\", or \"open\"";
const WRONG_SPAN: PlanFault = PlanFault::WrongForm { wanted: SPAN };

fn limits(file: &Table) -> Result<Limits, PlanError> {
    let mut limits = Limits::default();
    let Some(given) = table(file, "limits")? else { return Ok(limits) };
    known_keys("limits.", given, &["series", "batch_records", "future"])?;
    for (key, slot) in [("series", &mut limits.series_max), ("batch_records", &mut limits.batch_records_max)]
    {
        let key_path = format!("limits.{key}");
        match given.get(key) {
            None => {}
            Some(Value::Integer(number)) => {
                let most = i64::from(u32::MAX);
                let out_of_bounds = PlanFault::LimitOutOfBounds { found: *number, least: 1, most };
                *slot = usize::try_from(*number).map_err(|_| fault(&key_path, out_of_bounds))?;
            }
            Some(_) => return Err(fault(&key_path, PlanFault::WrongForm { wanted: "a whole number" })),
        }
    }
    if given.contains_key("future") {
        let span = text_of(given, "future", "limits.future", SPAN)?;
        limits.future_max_ms = span_ms(span).ok_or_else(|| fault("limits.future", WRONG_SPAN))?;
    }
    Ok(limits)
}

fn rights(file: &Table) -> Result<Rights, PlanError> {
    const WANTED: PlanFault = PlanFault::WrongForm { wanted: "a list of texts" };
    let mut rights = Rights::default();
    let Some(given) = file.get("rights") else { return Ok(rights) };
    for right in given.as_array().ok_or_else(|| fault("rights", WANTED))? {
        let right = right.as_str().ok_or_else(|| fault("rights", WANTED))?;
        match right {
            "export" => rights.export = true,
            "open_metrics" => rights.open_metrics = true,
            "backfill" => rights.backfill = true,
            unknown => {
                let known = ["export", "open_metrics", "backfill"];
                let (nearest, known) = (nearest(unknown, known), known.join(", "));
                return Err(fault(&format!("rights.{unknown}"), PlanFault::UnknownKey { nearest, known }));
            }
        }
    }
    Ok(rights)
}

fn table<'a>(file: &'a Table, key: &str) -> Result<Option<&'a Table>, PlanError> {
    let Some(value) = file.get(key) else { return Ok(None) };
    let wanted = PlanFault::WrongForm { wanted: "a table" };
    value.as_table().map(Some).ok_or_else(|| fault(key, wanted))
}

fn text_of<'a>(table: &'a Table, key: &str, path: &str, wanted: &'static str) -> Result<&'a str, PlanError> {
    let value = table.get(key).ok_or_else(|| fault(path, PlanFault::MissingKey))?;
    value.as_str().ok_or_else(|| fault(path, PlanFault::WrongForm { wanted }))
}

fn known_keys(prefix: &str, table: &Table, known: &[&'static str]) -> Result<(), PlanError> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let fault_of = PlanFault::UnknownKey {
                nearest: nearest(unknown, known.iter().copied()),
                known: known.join(", "),
            };
            Err(fault(&format!("{prefix}{unknown}"), fault_of))
        }
    }
}

fn keep_of(table: &Table, key: &str) -> Result<Option<Keep>, PlanError> {
    if !table.contains_key(key) {
        return Ok(None);
    }
    let path = format!("keep.{key}");
    let wanted = "a span such as \"30d\", or \"forever\"";
    let text = text_of(table, key, &path, wanted)?;
    if text == "forever" {
        return Ok(Some(Keep::Forever));
    }
    let ms = span_ms(text).ok_or_else(|| fault(&path, PlanFault::WrongForm { wanted }))?;
    if ms < DAY_MS || ms % DAY_MS != 0 {
        return Err(fault(&path, PlanFault::ShorterThanBlock));
    }
    let days = u32::try_from(ms / DAY_MS).map_err(|_| fault(&path, PlanFault::TooLong))?;
    Ok(Some(Keep::Days(days)))
}

/// Milliseconds of a whole number and a unit.
fn span_ms(text: &str) -> Option<i64> {
    let unit_ms = match text.chars().last()? {
        'm' => MINUTE_MS,
        'h' => HOUR_MS,
        'd' => DAY_MS,
        _ => return None,
    };
    let digits =
        text.get(..text.len() - 1).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse::<i64>().ok()?.checked_mul(unit_ms)
}

/// What the parser says, with the line, on one line.
fn toml_error(text: &str, error: &toml::de::Error) -> String {
    let line =
        error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let what = error.message().replace('\n', " ");
    line.map_or(what.clone(), |line| format!("line {line}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILVER: &str =
        "name = \"silver\"\nlate_window = \"6h\"\n[keep]\nsignals = \"3d\"\nraw = \"30d\"\n1h = \"400d\"\n";

    fn refused(from: &str, to: &str) -> String {
        assert!(SILVER.contains(from), "{from} is there to be replaced");
        Plan::from_toml(&SILVER.replace(from, to)).expect_err("refused").to_string()
    }

    #[test]
    fn every_built_in_plan_passes_its_own_check() {
        for name in Plan::BUILT_IN {
            assert_eq!(Plan::built_in(name).expect("built in").check(), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_plan_file_is_taken_as_it_is_written() {
        let plan = Plan::from_toml(SILVER).expect("a plan");
        assert_eq!((plan.raw_keep(), plan.longest_keep()), (Keep::Days(30), Keep::Days(400)));
        assert_eq!((plan.late_window_ms, plan.limits), (Some(6 * HOUR_MS), Limits::default()));
        let open = SILVER.replace("\"6h\"", "\"open\"\nrights = [\"backfill\"]").replace("400d", "forever");
        let plan = Plan::from_toml(&open).expect("a plan");
        assert_eq!((plan.late_window_ms, plan.longest_keep()), (None, Keep::Forever));
    }

    #[test]
    fn what_is_wrong_is_refused_by_its_name() {
        for (from, to, expected) in [
            ("signals", "singals", "plan, `keep.singals`: there is no such key; did you mean `signals`?"),
            (
                "signals",
                "zebra",
                "plan, `keep.zebra`: there is no such key; there are signals, raw, 5m, 1h, cancelled",
            ),
            (
                "30d",
                "12h",
                "plan, `keep.raw`: it is shorter than the day that one block spans; use whole days, 1d or more",
            ),
            (
                "30d",
                "0d",
                "plan, `keep.raw`: it is shorter than the day that one block spans; use whole days, 1d or more",
            ),
            (
                "400d",
                "20d",
                "plan, `keep.1h`: tiers do not nest: it is kept 20 days, and `raw`, which is finer, 30 days; keep it at \
                 least as long",
            ),
            (
                "\"3d\"",
                "\"forever\"",
                "plan, `keep.raw`: tiers do not nest: it is kept 30 days, and `signals`, which is finer, for ever; keep \
                 it at least as long",
            ),
            (
                "6h",
                "30d",
                "plan, `late_window`: data would be taken for longer than raw metrics are kept; make it shorter than `keep.raw`",
            ),
            (
                "6h",
                "open",
                "plan, `late_window`: the right backfill and late_window = \"open\" go together; give both or neither",
            ),
            (
                "silver",
                "starter",
                "plan, `name`: use 1 to 64 of [a-z0-9_-], and not the name of a built-in plan",
            ),
            ("silver", "a/b", "plan, `name`: use 1 to 64 of [a-z0-9_-], and not the name of a built-in plan"),
            ("\"400d\"", "400", "plan, `keep.1h`: it must be a span such as \"30d\", or \"forever\""),
            ("raw = \"30d\"\n", "", "plan, `keep.raw`: it is not there; give it"),
            ("[keep]", "[limits]\nseries = 0\n[keep]", "plan, `limits.series`: it is 0; use 1 to 4294967295"),
            (
                "[keep]",
                "rights = [\"exprot\"]\n[keep]",
                "plan, `rights.exprot`: there is no such key; did you mean `export`?",
            ),
        ] {
            assert_eq!(refused(from, to), expected);
        }
        assert!(refused("[keep]", "[keep").starts_with("plan: line 3: "));
        assert!(Plan::from_toml(&"#".repeat(20_000)).is_err());
    }
}
