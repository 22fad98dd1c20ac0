//! One tenant's batches and what is known of each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use annals::{Acknowledgement, BlockContent, MatchOp, Matcher, Plan, Timestamp, WriteError};

use super::batch::{Bounds, Content, Effects, Works};
use super::deletions::Taken;
use super::held::{Held, Names, Numbered, Place};
use super::kinds::Kinds;
use super::plans::Plans;
use super::shown::Shown;
use super::{Beside, State, Violation, is_buffered};

/// A batch that was tried.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) content: Content,
    pub(super) state: State,
    /// Where in the log it may be, and with which effects; the last is the latest attempt.
    attempts: Vec<Attempt>,
    /// What it adds, where it is present.
    counted: Option<Attempt>,
    /// It was acknowledged, and a power cut may take it nevertheless.
    buffered: bool,
    /// It lies in blocks, or an open has made it durable.
    settled: bool,
    /// A reader beside the writer has shown it.
    seen: bool,
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq)]
struct Attempt {
    order: u64,
    bounds: Bounds,
    /// Those that the bounds leave open; with one, none are.
    effects: Vec<(Numbered, Vec<usize>)>,
    /// Whether it may be found by an open though nobody was told so.
    doubtful: bool,
}

/// A tenant's batches.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) plans: Plans,
    pub(super) kinds: Kinds,
    pub(super) state: State,
    pub(super) damaged: bool,
    /// It was to be erased, and whether it is shows at the next open.
    pub(super) erasing: bool,
    /// How often it was erased.
    pub(super) erased: usize,
    /// When it ends, where it is or may be cancelled.
    pub(super) ends: Option<Timestamp>,
    pub(super) tried: Vec<Batch>,
    pub(super) acknowledged: u64,
    /// What was deleted, in the order in which that happened.
    pub(super) deletions: Vec<Taken>,
    /// The deletion that is being made, or of which the next open shows whether it was.
    pub(super) deleting: Option<Taken>,
    /// Windows that stood for samples and were compared.
    pub(super) windows: u64,
    names: Names,
    /// How many batches use a place.
    uses: HashMap<Place, u32>,
    row_uses: HashMap<i64, u32>,
    held: Held,
    /// The order of the last batch in `held`; `None` where it has to be worked out again.
    held_through: Option<u64>,
}

impl Account {
    pub(super) fn new(plan: Plan) -> Account {
        Account {
            plans: Plans::new(plan),
            kinds: Kinds::default(),
            state: State::Absent,
            damaged: false,
            erasing: false,
            erased: 0,
            ends: None,
            tried: Vec::new(),
            acknowledged: 0,
            deletions: Vec::new(),
            deleting: None,
            windows: 0,
            names: Names::default(),
            uses: HashMap::new(),
            row_uses: HashMap::new(),
            held: Held::default(),
            held_through: Some(0),
        }
    }

    /// Whether it may be gone: it was to be erased, or it is cancelled and its time is over.
    pub(super) fn may_be_erased(&self, latest: Timestamp) -> bool {
        self.erasing || self.ends.is_some_and(|ends| ends <= latest)
    }

    /// Forgets all that it was.
    pub(super) fn erase(&mut self) {
        let (acknowledged, windows, erased) = (self.acknowledged, self.windows, self.erased + 1);
        *self = Account { acknowledged, windows, erased, ..Account::new(self.plans.plan.clone()) };
    }

    /// Adds a batch and its first attempt.
    pub(super) fn add(
        &mut self,
        works: &mut Works,
        content: Content,
        order: u64,
        now: Timestamp,
        latest: Timestamp,
    ) -> usize {
        // Refused or not: a record that is refused once may be taken by a retry at another time.
        let whole = works.effects(&self.plans.plan, &BTreeSet::new(), &content, &Bounds::none(), i64::MIN);
        let whole = Numbered::new(&mut self.names, whole);
        let mut places: Vec<Place> = whole.cells.iter().map(|(place, _)| *place).collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().for_each(|place| *self.uses.entry(place).or_default() += 1);
        let mut times: Vec<i64> = whole.rows.iter().map(|row| row.time.0).collect();
        times.sort_unstable();
        times.dedup();
        times.into_iter().for_each(|time| *self.row_uses.entry(time).or_default() += 1);
        self.tried.push(Batch {
            content,
            state: State::Absent,
            attempts: Vec::new(),
            counted: None,
            buffered: false,
            settled: false,
            seen: false,
        });
        let index = self.tried.len() - 1;
        self.attempt(works, index, order, now, latest);
        index
    }

    /// Adds an attempt of a batch.
    pub(super) fn attempt(
        &mut self,
        works: &mut Works,
        index: usize,
        order: u64,
        now: Timestamp,
        latest: Timestamp,
    ) {
        let Batch { content, attempts, .. } = &mut self.tried[index];
        let bounds = Bounds::new(&self.plans, now, latest);
        let effects = bounds
            .thresholds(content)
            .into_iter()
            .map(|threshold| {
                let Effects { cells, rows, refused } =
                    works.effects(&self.plans.plan, &self.kinds.off, content, &bounds, threshold);
                let effects = Effects { cells, rows, refused: Vec::new() };
                (Numbered::new(&mut self.names, effects), refused)
            })
            .collect();
        attempts.retain(|attempt| attempt.doubtful);
        attempts.push(Attempt { order, bounds, effects, doubtful: false });
    }

    /// What was answered to the last attempt of a batch.
    pub(super) fn learn(
        &mut self,
        index: usize,
        answer: &Result<Acknowledgement, WriteError>,
    ) -> Result<(), Violation> {
        let batch = &mut self.tried[index];
        match answer {
            Ok(acknowledgement) if acknowledgement.duplicate => {
                let doubtful = batch.attempts.iter().find(|attempt| attempt.doubtful).cloned();
                match (batch.state, doubtful) {
                    (State::Present, _) => {}
                    (State::Doubtful, Some(attempt)) => {
                        batch.buffered = is_buffered(acknowledgement);
                        self.count(index, attempt, true);
                    }
                    _ => {
                        let what = "it was never counted and is taken for a duplicate";
                        return Err(Violation::new("I1", what));
                    }
                }
            }
            Ok(acknowledgement) => {
                if acknowledgement.records != batch.content.len() {
                    return Err(Violation::new("I3", "it is answered for another number of records"));
                }
                let attempt = batch.attempts.last().cloned().expect("an answer follows an attempt");
                let refused: Vec<usize> = acknowledgement.refused.iter().map(|(at, _)| *at).collect();
                let Some(taken) = attempt.effects.iter().find(|(_, expected)| *expected == refused) else {
                    let expected: Vec<_> = attempt.effects.iter().map(|(_, refused)| refused).collect();
                    let what = format!("{refused:?} were refused, expected was one of {expected:?}");
                    return Err(Violation::new("I3", what));
                };
                if acknowledgement.accepted() == 0 {
                    return Ok(());
                }
                if batch.state == State::Present {
                    return Err(Violation::new("I2", "it was counted before and is counted again"));
                }
                let attempt = Attempt { effects: vec![taken.clone()], ..attempt };
                let uncertain = batch.attempts.iter().any(|attempt| attempt.doubtful);
                batch.buffered = is_buffered(acknowledgement);
                self.count(index, attempt, uncertain);
            }
            Err(WriteError::Indeterminate(_)) => {
                let last = batch.attempts.last_mut().expect("an answer follows an attempt");
                let counts = last.effects.iter().any(|(effects, _)| *effects != Numbered::default());
                if batch.state != State::Present && counts {
                    last.doubtful = true;
                    batch.state = State::Doubtful;
                }
            }
            // Nothing was written, says the answer.
            Err(_) => {}
        }
        Ok(())
    }

    /// A batch counts from now on. `uncertain` where its place in the log is not known.
    fn count(&mut self, index: usize, attempt: Attempt, uncertain: bool) {
        self.acknowledged += 1;
        let batch = &mut self.tried[index];
        batch.state = State::Present;
        batch.settled = false;
        batch.counted = Some(attempt.clone());
        if uncertain {
            self.loosen_contested(&attempt);
        }
        match self.held_through {
            Some(through) if attempt.order > through => {
                attempt.effects.iter().take(1).for_each(|(effects, _)| self.held.add(&self.names, effects));
                self.held_through = Some(attempt.order);
            }
            _ => self.held_through = None,
        }
    }

    /// Values of places that another batch uses too depend on an order that is not known.
    fn loosen_contested(&mut self, attempt: &Attempt) {
        for (place, _) in attempt.effects.iter().flat_map(|(effects, _)| &effects.cells) {
            let adds = self.names.kind(place.0).is_delta();
            if !adds && self.uses.get(place).is_some_and(|&uses| uses > 1) {
                self.held.loose.insert(*place);
            }
        }
    }

    pub(super) fn settle(&mut self) {
        for batch in self.tried.iter_mut().filter(|batch| batch.state == State::Present) {
            batch.settled = true;
            batch.buffered = false;
        }
    }

    pub(super) fn power_cut(&mut self) {
        for batch in self.tried.iter_mut().filter(|batch| batch.buffered && !batch.settled) {
            if let Some(attempt) = batch.counted.take() {
                // Its log number is known: nothing else of it can be found.
                batch.attempts = vec![Attempt { doubtful: true, ..attempt }];
                batch.state = State::Doubtful;
                self.held_through = None;
            }
        }
    }

    /// Holds what was in doubt to what an open found.
    pub(super) fn resolve(
        &mut self,
        shown: &Shown,
        now: Timestamp,
        latest: Timestamp,
    ) -> Result<(), Violation> {
        let mut lost_buffered: Option<usize> = None;
        let mut order: Vec<usize> =
            (0..self.tried.len()).filter(|&n| self.tried[n].state == State::Doubtful).collect();
        order.sort_by_key(|&n| self.tried[n].attempts.first().map(|attempt| attempt.order));
        for index in order {
            let found = self.look(index, shown, now, latest)?;
            let batch = &mut self.tried[index];
            let buffered = std::mem::take(&mut batch.buffered);
            let attempts: Vec<Attempt> = batch.attempts.drain(..).filter(|a| a.doubtful).collect();
            match found {
                Look::Found(attempt) => {
                    if let Some(hole) = lost_buffered.filter(|_| buffered) {
                        let what = format!("batch {hole} is gone and the later batch {index} is there");
                        return Err(Violation::new("I4", what));
                    }
                    self.count(index, attempt, attempts.len() > 1);
                }
                Look::Absent if batch.seen => {
                    let what = format!("a reader saw batch {index}, and it is gone");
                    return Err(Violation::new("I16", what));
                }
                Look::Absent => {
                    batch.state = State::Absent;
                    if buffered {
                        lost_buffered = lost_buffered.or(Some(index));
                    }
                }
                // All that could tell has expired: what is left of it, if anything, shows nothing by itself.
                Look::Unknown => {
                    attempts
                        .iter()
                        .for_each(|attempt| self.held.loosen(attempt.effects.iter().map(|e| &e.0)));
                    self.tried[index].attempts = attempts;
                }
            }
        }
        self.resolve_deletion(shown, now, latest);
        self.settle();
        Ok(())
    }

    /// Looks for a batch by places that only it uses.
    fn look(
        &self,
        index: usize,
        shown: &Shown,
        now: Timestamp,
        latest: Timestamp,
    ) -> Result<Look, Violation> {
        let metrics_floor = match &shown.failed {
            Some(_) => i64::MAX,
            None => {
                self.metrics_floor(shown, now, latest)?;
                // In a window no single cell shows.
                shown.raw_floor().map_or(i64::MIN, |floor| floor.0)
            }
        };
        let (_, signals_floor) = self.plans.floors(BlockContent::RawSignals, now, latest);
        let batch = &self.tried[index];
        let mut whole = Vec::new();
        let mut marks_seen = 0;
        let mut some_seen = false;
        let candidates = batch.counted.iter().chain(batch.attempts.iter().filter(|attempt| attempt.doubtful));
        for attempt in candidates {
            for (effects, refused) in &attempt.effects {
                let marks = effects
                    .cells
                    .iter()
                    .map(|(place, _)| *place)
                    .filter(|place| place.1 > metrics_floor && self.uses.get(place) == Some(&1))
                    .filter(|&(number, time)| {
                        let labels = self.names.labels(number);
                        !self.is_taken(attempt.order, |taken| taken.takes_cell(labels, time))
                    })
                    .filter_map(|place| shown.has_cell(&self.names, place));
                let rows = effects
                    .rows
                    .iter()
                    .filter(|row| !self.is_taken(attempt.order, |taken| taken.takes_row(row)))
                    .map(|row| row.time.0)
                    .filter(|&time| time > signals_floor && self.row_uses.get(&time) == Some(&1))
                    .filter_map(|time| shown.has_row(time));
                let marks: Vec<bool> = marks.chain(rows).collect();
                marks_seen += marks.len();
                some_seen |= marks.contains(&true);
                if !marks.is_empty() && !marks.contains(&false) {
                    // Places that others use too tell apart what differs in nothing else: what is not shown was refused.
                    let contested = effects.cells.iter().map(|(place, _)| *place);
                    let is_gone = |place: &Place| shown.has_cell(&self.names, *place) == Some(false);
                    let gone = contested.filter(|place| place.1 > metrics_floor).filter(is_gone).count();
                    let taken = vec![(effects.clone(), refused.clone())];
                    whole.push((marks.len(), gone, Attempt { effects: taken, ..attempt.clone() }));
                }
            }
        }
        // Of several that fit, the one with the most marks: the others are parts of it.
        whole.sort_by_key(|(marks, gone, _)| (std::cmp::Reverse(*marks), *gone));
        match whole.into_iter().next() {
            Some((.., attempt)) => Ok(Look::Found(attempt)),
            None if marks_seen == 0 => Ok(Look::Unknown),
            None if some_seen && !self.damaged => {
                Err(Violation::new("I3", format!("batch {index} is there in part")))
            }
            None => Ok(Look::Absent),
        }
    }

    /// Where metrics begin to be shown. Each tier begins between what the plan says now and what it said at the latest time
    /// seen.
    fn metrics_floor(&self, shown: &Shown, now: Timestamp, latest: Timestamp) -> Result<i64, Violation> {
        let check = |(least, most): (i64, i64), floor: i64, what: &str| {
            if (least..=most).contains(&floor) {
                return Ok(());
            }
            let what = format!("{what} are shown after {floor}, expected from {least} to {most}");
            Err(Violation::new("I9", what))
        };
        let plans = &self.plans;
        let floor_of = |floor: Option<Timestamp>| floor.map_or(i64::MIN, |floor| floor.0);
        let floors = |content| plans.floors(content, now, latest);
        check(floors(BlockContent::RawMetrics), floor_of(shown.raw_floor()), "raw metrics")?;
        for (range, resolution) in &shown.coarser {
            if !plans.plan.tiers.iter().any(|tier| tier.resolution == *resolution) {
                let what =
                    format!("rollups of {} are shown, which the plan does not have", resolution.word());
                return Err(Violation::new("I9", what));
            }
            check(floors(BlockContent::of_tier(*resolution)), range.start.0, resolution.word())?;
        }
        let floor = floor_of(shown.expired_through);
        check(plans.metrics_floors(now, latest), floor, "metrics")?;
        Ok(floor)
    }

    /// The same of raw signals, which do not say where they begin: the day before the first that is shown.
    fn signals_floor(&self, shown: &Shown, now: Timestamp, latest: Timestamp) -> i64 {
        let (least, most) = self.plans.floors(BlockContent::RawSignals, now, latest);
        match shown.rows.first() {
            Some(first) if first.time.0 > least && first.time.0 <= most => {
                first.time.day().range().start.0.max(least)
            }
            _ => most,
        }
    }

    /// Compares with a store that is open for writing.
    pub(super) fn compare(
        &mut self,
        shown: &Shown,
        now: Timestamp,
        latest: Timestamp,
        partial: bool,
    ) -> Result<(), Violation> {
        if self.held_through.is_none() {
            let Held { loose, loose_rows, .. } = std::mem::take(&mut self.held);
            self.held = Held { loose, loose_rows, ..self.all_worked_out() };
            self.held_through = Some(self.counted_through());
        }
        self.windows += shown.wholes.len() as u64;
        let held = std::mem::take(&mut self.held);
        let compared = self.compare_with(&held, shown, now, latest, partial);
        self.held = held;
        compared
    }

    /// Compares with a store that was opened read-only: a prefix of what was acknowledged since the last open or flush.
    pub(super) fn compare_read_only(
        &mut self,
        shown: &Shown,
        beside: Beside,
        now: Timestamp,
        latest: Timestamp,
        partial: bool,
    ) -> Result<(), Violation> {
        let mut chosen: Vec<Option<Attempt>> = Vec::with_capacity(self.tried.len());
        let mut loose = Held {
            loose: self.held.loose.clone(),
            loose_rows: self.held.loose_rows.clone(),
            ..Held::default()
        };
        let mut hole: Option<(u64, usize)> = None;
        let mut last_there: Option<(u64, usize)> = None;
        for index in 0..self.tried.len() {
            let batch = &self.tried[index];
            let acknowledged = batch.state == State::Present;
            let open = match beside {
                Beside::Writer => batch.state != State::Absent && !(acknowledged && batch.settled),
                Beside::Nobody => batch.state == State::Doubtful,
            };
            let mut taken = batch.counted.clone();
            if open {
                match self.look(index, shown, now, latest)? {
                    Look::Found(attempt) => {
                        if acknowledged {
                            last_there = last_there.max(Some((attempt.order, index)));
                        } else {
                            // Its place among the others is not known.
                            loose.loosen(attempt.effects.iter().map(|(effects, _)| effects));
                        }
                        self.tried[index].seen |= beside == Beside::Writer;
                        taken = Some(attempt);
                    }
                    Look::Absent => {
                        if acknowledged && let Some(attempt) = &batch.counted {
                            let this = Some((attempt.order, index));
                            hole = if hole.is_none() { this } else { hole.min(this) };
                        }
                        taken = None;
                    }
                    Look::Unknown => {
                        let attempts = batch.attempts.iter().chain(&batch.counted);
                        loose.loosen(attempts.flat_map(|a| &a.effects).map(|(effects, _)| effects));
                    }
                }
            }
            chosen.push(taken);
        }
        if let (Some(hole), Some(last)) = (hole, last_there)
            && hole < last
        {
            let what = format!("batch {} is left out and the later batch {} is shown", hole.1, last.1);
            return Err(Violation::new("I4", what));
        }
        let compare = |in_doubt: Option<&Taken>| {
            let mut chosen = chosen.iter().cloned();
            let held = self.worked_out(|_| chosen.next().flatten(), in_doubt);
            let held = Held { loose: loose.loose.clone(), loose_rows: loose.loose_rows.clone(), ..held };
            self.compare_with(&held, shown, now, latest, partial)
        };
        let compared = compare(None);
        match &self.deleting {
            // The manifest that is in doubt may be what it reads.
            Some(taken) if compared.is_err() => compare(Some(taken)),
            _ => compared,
        }
    }

    pub(super) fn compare_with(
        &self,
        held: &Held,
        shown: &Shown,
        now: Timestamp,
        latest: Timestamp,
        partial: bool,
    ) -> Result<(), Violation> {
        if shown.is_partial() && !partial && !self.damaged {
            let first = shown.missing.iter().chain(&shown.rows_missing).next();
            let first =
                first.or_else(|| shown.series.iter().find_map(|(_, samples)| samples.missing.first()));
            let what = format!("something is missing and nothing was damaged: {first:?} {:?}", shown.failed);
            return Err(Violation::new("I7", what));
        }
        if shown.failed.is_some() {
            return Ok(());
        }
        let metrics_floor = self.metrics_floor(shown, now, latest)?;
        let signals_floor = self.signals_floor(shown, now, latest);
        shown.compare(&self.names, held, metrics_floor, signals_floor)
    }

    /// What the batches add up to, each with the effects that `counted` gives it, in log order; with a deletion that is in
    /// doubt, which is the last one.
    fn worked_out(&self, counted: impl FnMut(&Batch) -> Option<Attempt>, in_doubt: Option<&Taken>) -> Held {
        let mut counted: Vec<Attempt> = self.tried.iter().filter_map(counted).collect();
        counted.sort_by_key(|attempt| attempt.order);
        let (mut held, mut deletions) = (Held::default(), self.deletions.iter().chain(in_doubt).peekable());
        for attempt in &counted {
            while let Some(taken) = deletions.next_if(|taken| taken.order < attempt.order) {
                held.delete(&self.names, taken);
            }
            attempt.effects.iter().take(1).for_each(|(effects, _)| held.add(&self.names, effects));
        }
        deletions.for_each(|taken| held.delete(&self.names, taken));
        held
    }

    /// What all batches that count add up to, with what is loose.
    pub(super) fn all_worked_out(&self) -> Held {
        self.all_worked_out_with(None)
    }

    /// The same where a deletion that is in doubt took place.
    pub(super) fn all_worked_out_with(&self, in_doubt: Option<&Taken>) -> Held {
        let held = self.worked_out(|batch| batch.counted.clone(), in_doubt);
        Held { loose: self.held.loose.clone(), loose_rows: self.held.loose_rows.clone(), ..held }
    }

    pub(super) fn work_out_again(&mut self) {
        self.held_through = None;
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn held_mut(&mut self) -> &mut Held {
        &mut self.held
    }

    /// Batches in doubt may be found, and what a deletion that came after them would have taken with them.
    pub(super) fn loosen_doubtful(&mut self, taken: &Taken) {
        let doubtful = self.tried.iter().flat_map(|batch| &batch.attempts).filter(|attempt| attempt.doubtful);
        for (effects, _) in doubtful.flat_map(|attempt| &attempt.effects) {
            let cells = effects.cells.iter().map(|(place, _)| *place);
            let taken_cell = |&(number, time): &Place| taken.takes_cell(self.names.labels(number), time);
            self.held.loose.extend(cells.filter(taken_cell));
            let rows = effects.rows.iter().filter(|row| taken.takes_row(row));
            self.held.loose_rows.extend(rows.map(|row| row.time.0));
        }
    }

    fn counted_through(&self) -> u64 {
        self.tried.iter().filter_map(|batch| batch.counted.as_ref()).map(|a| a.order).max().unwrap_or(0)
    }

    pub(super) fn is_loose(&self) -> bool {
        !self.held.loose.is_empty()
    }

    pub(super) fn increase(&self, metric: &str, start: Timestamp, end: Timestamp) -> f64 {
        let name =
            Matcher::new(annals::METRIC_NAME, MatchOp::Equal, metric).expect("a name is a valid matcher");
        let held = self.all_worked_out();
        let of_metric = (0..)
            .zip(&held.series)
            .filter(|(number, _)| name.matches(self.names.labels(*number).get(annals::METRIC_NAME)));
        let in_range = |cells: &BTreeMap<i64, u64>| -> f64 {
            let after = start.0.saturating_add(1);
            if after > end.0 {
                0.0
            } else {
                cells.range(after..=end.0).map(|(_, &bits)| f64::from_bits(bits)).sum()
            }
        };
        of_metric.map(|(_, cells)| in_range(cells)).sum()
    }
}

/// What became of a batch in doubt.
enum Look {
    Found(Attempt),
    Absent,
    /// Nothing of it could be seen, were it there.
    Unknown,
}
