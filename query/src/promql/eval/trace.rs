//! What evaluation of each part of a query took, for `explain`.
//!
//! Streams are measured without what their takers do: each part's time holds that of the parts within it, and not that of
//! those around it.

use std::cell::{Cell, RefCell};

use annals_model::{ReadPlan, Resolution, SelectedSeries, TimeRange, Whole};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::promql::ast::Expr;

/// What one part took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartCost {
    /// Nanoseconds, those of the parts within it included.
    pub nanoseconds: u64,
    /// Series that came out.
    pub series: u64,
    /// Bytes of memory that were charged when it was done, beyond those before.
    pub memory_bytes: u64,
}

/// What one selector finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorCost {
    /// The time in which samples are looked for.
    pub range: TimeRange,
    /// The parts of it of which only a coarser tier is left, oldest first.
    pub coarser: Vec<(TimeRange, Resolution)>,
    /// Series that were found.
    pub series: u64,
    /// What reading them takes.
    pub read: ReadPlan,
}

/// Collects costs by part.
pub(in crate::promql) struct Trace<'t> {
    /// Tells nanoseconds.
    clock: &'t dyn Fn() -> u64,
    /// Nothing is read, only found.
    only_plan: bool,
    parts: RefCell<HashMap<usize, PartCost, FixedState>>,
    selectors: RefCell<HashMap<usize, SelectorCost, FixedState>>,
    /// Parts that are being measured, innermost last.
    open: RefCell<Vec<usize>>,
    /// The selector whose series are being read.
    selector: Cell<usize>,
}

/// Stands for a part as long as its query lives.
fn key(expr: &Expr) -> usize {
    std::ptr::from_ref(expr.unparen()).addr()
}

impl<'t> Trace<'t> {
    pub(in crate::promql) fn new(clock: &'t dyn Fn() -> u64, only_plan: bool) -> Trace<'t> {
        Trace {
            clock,
            only_plan,
            parts: RefCell::default(),
            selectors: RefCell::default(),
            open: RefCell::default(),
            selector: Cell::new(0),
        }
    }

    pub(super) fn now(&self) -> u64 {
        (self.clock)()
    }

    /// Begins to measure a part; false where that is done already.
    pub(super) fn open(&self, expr: &Expr) -> bool {
        let mut open = self.open.borrow_mut();
        let own = key(expr);
        if open.last() == Some(&own) {
            return false;
        }
        open.push(own);
        true
    }

    /// Ends the part that was opened last. A part that is evaluated several times adds up.
    pub(super) fn close(&self, cost: PartCost) {
        if let Some(own) = self.open.borrow_mut().pop() {
            let mut parts = self.parts.borrow_mut();
            let part = parts.entry(own).or_default();
            part.nanoseconds += cost.nanoseconds;
            part.series = part.series.max(cost.series);
            part.memory_bytes = part.memory_bytes.max(cost.memory_bytes);
        }
    }

    /// Notes what a selector finds.
    pub(super) fn found(&self, place: usize, range: TimeRange, selected: &dyn SelectedSeries) {
        let found = SelectorCost {
            range,
            coarser: selected.coverage().coarser.clone(),
            series: selected.len() as u64,
            read: ReadPlan::default(),
        };
        self.selectors.borrow_mut().insert(place, found);
        self.selector.set(place);
    }

    /// Adds what reading a series of the selector that was found last takes; says whether it is to be read.
    pub(super) fn reads(&self, selected: &dyn SelectedSeries, index: usize, whole: Whole<'_>) -> bool {
        if let Some(cost) = self.selectors.borrow_mut().get_mut(&self.selector.get()) {
            cost.read = cost.read.plus(selected.plan(index, whole));
        }
        !self.only_plan
    }

    /// What a part took.
    pub(in crate::promql) fn part(&self, expr: &Expr) -> Option<PartCost> {
        self.parts.borrow().get(&key(expr)).copied()
    }

    /// What a selector found, by where it stands in the query.
    pub(in crate::promql) fn selector(&self, place: usize) -> Option<SelectorCost> {
        self.selectors.borrow().get(&place).cloned()
    }
}
