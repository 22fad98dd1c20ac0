//! Parts of a query that stand in it more than once: they are evaluated once for the same steps.
//!
//! Only what is held as a whole is kept: a stream under an aggregation is cheaper to make again than to hold. What an
//! evaluation remarks is said of the first place.

use std::cell::RefCell;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::column::{Column, Grid, Vector};
use super::{Evaluator, Hints};
use crate::promql::ast::{Expr, ExprKind};
use crate::promql::error::QueryError;
use crate::promql::tree::each_inner;

/// A part, by its number, and what it was evaluated for.
type Key = (usize, (i64, i64, usize), Hints);

/// Parts that are written longer than this are not compared: printing all of those that lie in each other would take time
/// that grows with the square of a query's length.
const PART_BYTES_MAX: usize = 4096;

/// The parts that are repeated.
#[derive(Default)]
pub(super) struct Repeated<'a> {
    /// By where they are in memory: the number of their text.
    numbers: HashMap<usize, usize, FixedState>,
    results: RefCell<HashMap<Key, Vec<Column<'a>>, FixedState>>,
}

fn address(expr: &Expr) -> usize {
    std::ptr::from_ref(expr).addr()
}

impl Repeated<'_> {
    /// Finds them.
    pub(super) fn of(expr: &Expr) -> Self {
        let mut seen: HashMap<String, Vec<usize>, FixedState> = HashMap::default();
        collect(expr, &mut seen);
        let mut repeated = Repeated::default();
        for (number, places) in seen.into_values().filter(|places| places.len() > 1).enumerate() {
            repeated.numbers.extend(places.into_iter().map(|place| (place, number)));
        }
        repeated
    }
}

/// Collects the places of each text. What is within a repeated part is only looked at the first time.
fn collect(expr: &Expr, seen: &mut HashMap<String, Vec<usize>, FixedState>) {
    let is_short = expr.span.end - expr.span.start <= PART_BYTES_MAX;
    if is_short && matches!(expr.kind, ExprKind::Aggregate(_) | ExprKind::Call(..) | ExprKind::Binary(_)) {
        let places = seen.entry(expr.to_string()).or_default();
        places.push(address(expr));
        if places.len() > 1 {
            return;
        }
    }
    each_inner(expr, &mut |inner| collect(inner, seen));
}

impl<'a> Evaluator<'a> {
    /// A vector, as it was evaluated before for the same steps where it was.
    pub(super) fn once(
        &self,
        expr: &Expr,
        grid: Grid,
        evaluate: impl FnOnce() -> Result<Vector<'a>, QueryError>,
    ) -> Result<Vector<'a>, QueryError> {
        let Some(&number) = self.repeated.numbers.get(&address(expr)) else { return evaluate() };
        let key = (number, (grid.start, grid.step, grid.count), self.hints.get());
        let held = self.results_of(&key);
        if let Some(columns) = held {
            let mut vector = Vector::new(self.budget);
            columns.into_iter().try_for_each(|column| vector.push(column))?;
            return Ok(vector);
        }
        let vector = evaluate()?;
        let mut kept = Vector::new(self.budget);
        vector.columns.iter().try_for_each(|column| kept.push(column.clone()))?;
        self.kept.borrow_mut().absorb(kept.charge);
        self.repeated.results.borrow_mut().insert(key, kept.columns);
        Ok(vector)
    }

    fn results_of(&self, key: &Key) -> Option<Vec<Column<'a>>> {
        self.repeated.results.borrow().get(key).cloned()
    }
}
