//! Operators: on numbers, on a vector and a number, and on two vectors whose series meet by their labels.
//!
//! Labels are matched once per series. Series of one *signature* (the labels that must agree) form a cell of lefts
//! and rights; within a cell each step is looked at alone, because which series are there can change from step to
//! step, and only what meets at one step can be ambiguous.

use std::sync::Arc;

use annals_model::{Histogram, LabelSet};
use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::column::{
    ABSENT, Charge, Column, Grid, Scalar, Vector, histogram_at, histogram_bytes, is_absent, set_histogram,
};
use super::groups::{Grouping, Groups};
use super::labels::{LabelMap, Labels, is_metadata, with_label, without_name};
use super::{Evaluator, merged, native};
use crate::promql::ast::{Binary, BinaryOp, Expr, ExprKind, Matching};
use crate::promql::error::{PromqlError, QueryError};
use crate::promql::signature::ValueType;

/// The result of an operator on two numbers; comparisons give 1 and 0.
fn apply(op: BinaryOp, a: f64, b: f64) -> f64 {
    let truth = |is: bool| if is { 1.0 } else { 0.0 };
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        BinaryOp::Equal => truth(a == b),
        BinaryOp::NotEqual => truth(a != b),
        BinaryOp::Less => truth(a < b),
        BinaryOp::LessEqual => truth(a <= b),
        BinaryOp::Greater => truth(a > b),
        BinaryOp::GreaterEqual => truth(a >= b),
        // Set operators have no numbers, trims are refused before.
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::TrimUpper | BinaryOp::TrimLower => ABSENT,
    }
}

/// What an operator leaves of `kept` and the other operand: a comparison without `bool` filters.
fn outcome(binary: &Binary, a: f64, b: f64, kept: f64) -> f64 {
    let result = apply(binary.op, a, b);
    if !binary.op.is_comparison() || binary.return_bool {
        result
    } else if result == 1.0 {
        kept
    } else {
        ABSENT
    }
}

/// An operand of one step.
#[derive(Clone)]
enum Operand {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Operand {
    fn type_name(&self) -> &'static str {
        match self {
            Operand::Float(_) => "float",
            Operand::Histogram(_) => "histogram",
        }
    }
}

fn operand(column: &Column<'_>, step: usize) -> Option<Operand> {
    match histogram_at(&column.histograms, step) {
        Some(own) => Some(Operand::Histogram(Arc::clone(own))),
        None => column.values.get(step).copied().filter(|value| !is_absent(*value)).map(Operand::Float),
    }
}

fn store(column: &mut Column<'_>, step: usize, result: Option<Operand>) {
    let steps = column.values.len();
    column.clear(step);
    match result {
        None => {}
        Some(Operand::Float(float)) => {
            if let Some(value) = column.values.get_mut(step) {
                *value = float;
            }
        }
        Some(Operand::Histogram(own)) => set_histogram(&mut column.histograms, steps, step, Some(own)),
    }
}

/// At which steps there is any series of a signature, by the signature's number.
struct There {
    steps: Vec<bool>,
    count: usize,
}

impl There {
    fn new(count: usize) -> There {
        There { steps: Vec::new(), count }
    }

    fn add(
        &mut self,
        signature: usize,
        column: &Column<'_>,
        charge: &mut Charge<'_>,
    ) -> Result<(), QueryError> {
        let places = signature * self.count..(signature + 1) * self.count;
        if self.steps.len() < places.end {
            charge.add(places.end - self.steps.len())?;
            self.steps.resize(places.end, false);
        }
        let steps = self.steps.get_mut(places).unwrap_or_default();
        for (step, there) in steps.iter_mut().enumerate() {
            *there |= column.holds(step);
        }
        Ok(())
    }

    fn get(&self, signature: usize) -> Option<&[bool]> {
        self.steps.get(signature * self.count..(signature + 1) * self.count)
    }
}

/// The series of both sides that share a signature, by index.
#[derive(Default)]
struct Cell {
    lefts: Vec<usize>,
    rights: Vec<usize>,
}

impl<'a> Evaluator<'a> {
    pub(super) fn scalar_binary(&self, binary: &Binary, grid: Grid) -> Result<Scalar<'a>, QueryError> {
        let mut left = self.scalar(&binary.left, grid)?;
        let right = self.scalar(&binary.right, grid)?;
        for (a, b) in left.values.iter_mut().zip(&right.values) {
            *a = apply(binary.op, *a, *b);
        }
        Ok(left)
    }

    pub(super) fn vector_binary(
        &self,
        expr: &Expr,
        binary: &Binary,
        grid: Grid,
    ) -> Result<Vector<'a>, QueryError> {
        match (binary.left.value_type(), binary.right.value_type()) {
            (ValueType::Scalar, _) => {
                let scalar = self.scalar(&binary.left, grid)?;
                let vector = self.vector(&binary.right, grid)?;
                self.with_scalar(expr, binary, vector, &scalar.values, false)
            }
            (_, ValueType::Scalar) => {
                let vector = self.vector(&binary.left, grid)?;
                let scalar = self.scalar(&binary.right, grid)?;
                self.with_scalar(expr, binary, vector, &scalar.values, true)
            }
            _ if binary.op == BinaryOp::Or => self.either(expr, binary, grid),
            _ => {
                let left = self.vector(&binary.left, grid)?;
                let right = self.vector(&binary.right, grid)?;
                if binary.op.is_set() {
                    self.sets(binary, left, &right, grid)
                } else {
                    self.joined(expr, binary, &left, &right, grid)
                }
            }
        }
    }

    /// `or`, and all that are chained by it: at each step, what is on the left, and of what follows those series that no
    /// other one with the same labels is there for.
    fn either(&self, expr: &Expr, binary: &Binary, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let (mut rights, mut first) = (vec![&binary.right], &binary.left);
        while let ExprKind::Binary(inner) = &first.unparen().kind
            && inner.op == BinaryOp::Or
            && inner.matching == binary.matching
        {
            rights.push(&inner.right);
            first = &inner.left;
        }
        let mut signatures = Groups::new(binary.matching.signatures());
        let mut out = self.vector(first, grid)?;
        let mut there = There::new(grid.count);
        for column in &out.columns {
            there.add(signatures.of(&column.labels), column, &mut out.charge)?;
        }
        while let Some(right) = rights.pop() {
            let mut right = self.vector(right, grid)?;
            for column in &mut right.columns {
                if let Some(there) = there.get(signatures.of(&column.labels)) {
                    let there = there.iter().enumerate().filter(|(_, there)| **there);
                    there.for_each(|(step, _)| column.clear(step));
                }
            }
            if !rights.is_empty() {
                for column in &right.columns {
                    there.add(signatures.of(&column.labels), column, &mut out.charge)?;
                }
            }
            right.columns.retain(|column| !column.is_empty());
            out.columns.append(&mut right.columns);
            out.charge.absorb(right.charge);
        }
        // One series can come from the left at one step and from the right at another. A name that is still to be dropped
        // is part of what it is.
        out.columns = merged(out.columns, expr.span)?;
        Ok(out)
    }

    /// `and` and `unless`: of the left what the right has too, or has not.
    fn sets(
        &self,
        binary: &Binary,
        mut left: Vector<'a>,
        right: &Vector<'a>,
        grid: Grid,
    ) -> Result<Vector<'a>, QueryError> {
        let mut signatures = Groups::new(binary.matching.signatures());
        let mut there = There::new(grid.count);
        for column in &right.columns {
            there.add(signatures.of(&column.labels), column, &mut left.charge)?;
        }
        let keep_matched = binary.op == BinaryOp::And;
        for column in &mut left.columns {
            match there.get(signatures.of(&column.labels)) {
                None if keep_matched => (0..grid.count).for_each(|step| column.clear(step)),
                None => {}
                Some(there) => {
                    for (step, there) in there.iter().enumerate() {
                        if *there != keep_matched {
                            column.clear(step);
                        }
                    }
                }
            }
        }
        left.columns.retain(|column| !column.is_empty());
        Ok(left)
    }

    /// Arithmetic and comparisons of two vectors.
    fn joined(
        &self,
        expr: &Expr,
        binary: &Binary,
        left: &Vector<'a>,
        right: &Vector<'a>,
        grid: Grid,
    ) -> Result<Vector<'a>, QueryError> {
        let mut signatures = Groups::new(binary.matching.signatures());
        let many_left = binary.matching.many_left();
        let mut cells: Vec<Cell> = Vec::new();
        for (at, column) in left.columns.iter().enumerate() {
            cell_of(&mut cells, signatures.of(&column.labels), |cell| cell.lefts.push(at));
        }
        for (at, column) in right.columns.iter().enumerate() {
            cell_of(&mut cells, signatures.of(&column.labels), |cell| cell.rights.push(at));
        }
        let mut join = Join {
            evaluator: self,
            expr,
            binary,
            left: &left.columns,
            right: &right.columns,
            out: Vector::new(self.budget),
            by_labels: HashMap::with_hasher(FixedState::default()),
            by_pair: HashMap::with_hasher(FixedState::default()),
            steps: grid.count,
            some_many: some_many(if many_left { left } else { right }, grid.count),
            present: (Vec::new(), Vec::new()),
            shared: None,
            metadata_matters: signatures.any(|labels| labels.iter().any(|(name, _)| is_metadata(name))),
        };
        for (number, cell) in cells.iter().enumerate() {
            self.budget.poll()?;
            if !join.can_meet(cell) {
                continue;
            }
            let signature = signatures.labels(number);
            join.shared = None;
            if let Some((many, one)) = join.whole_columns(cell) {
                for &at in many {
                    join.meet_at_all_steps(&signature, if many_left { (at, one) } else { (one, at) })?;
                }
                continue;
            }
            for step in 0..grid.count {
                join.step(&signature, cell, step)?;
            }
            join.by_pair.clear();
        }
        join.out.columns.retain(|column| !column.is_empty());
        Ok(join.out)
    }

    /// A vector and a number per step.
    fn with_scalar(
        &self,
        expr: &Expr,
        binary: &Binary,
        mut vector: Vector<'a>,
        scalar: &[f64],
        vector_left: bool,
    ) -> Result<Vector<'a>, QueryError> {
        for column in &mut vector.columns {
            if column.histograms.is_empty() && !is_trim(binary.op) {
                for (value, &number) in column.values.iter_mut().zip(scalar) {
                    if !is_absent(*value) {
                        let (a, b) = if vector_left { (*value, number) } else { (number, *value) };
                        *value = outcome(binary, a, b, *value);
                    }
                }
            } else {
                for (step, &number) in scalar.iter().enumerate() {
                    let Some(own) = operand(column, step) else { continue };
                    let number = Operand::Float(number);
                    let (a, b) = if vector_left { (&own, &number) } else { (&number, &own) };
                    let result = self.on_operands(expr, binary, a, b, &own);
                    if let Some(Operand::Histogram(own)) = &result {
                        vector.charge.add(histogram_bytes(own))?;
                    }
                    store(column, step, result);
                }
            }
            column.drop_name |= drops_name(binary);
        }
        vector.columns.retain(|column| !column.is_empty());
        Ok(vector)
    }

    /// An operator on two operands of any types; `kept` is what a comparison leaves.
    fn on_operands(
        &self,
        expr: &Expr,
        binary: &Binary,
        a: &Operand,
        b: &Operand,
        kept: &Operand,
    ) -> Option<Operand> {
        let op = binary.op;
        let histogram = |own: Histogram| Some(Operand::Histogram(Arc::new(own)));
        let filtered = |holds: bool| {
            if binary.return_bool {
                Some(Operand::Float(if holds { 1.0 } else { 0.0 }))
            } else {
                holds.then(|| kept.clone())
            }
        };
        match (a, b) {
            (Operand::Float(x), Operand::Float(y)) if !is_trim(op) => {
                if op.is_comparison() {
                    return filtered(apply(op, *x, *y) == 1.0);
                }
                return Some(Operand::Float(apply(op, *x, *y)));
            }
            (Operand::Float(factor), Operand::Histogram(own))
            | (Operand::Histogram(own), Operand::Float(factor))
                if op == BinaryOp::Mul =>
            {
                return histogram(own.scaled(*factor));
            }
            (Operand::Histogram(own), Operand::Float(number)) => match op {
                BinaryOp::Div => return histogram(own.divided(*number)),
                BinaryOp::TrimUpper | BinaryOp::TrimLower => {
                    return histogram(native::trimmed(op, own, *number));
                }
                _ => {}
            },
            (Operand::Histogram(x), Operand::Histogram(y)) => match op {
                BinaryOp::Equal => return filtered(x.equals(y)),
                BinaryOp::NotEqual => return filtered(!x.equals(y)),
                BinaryOp::Add | BinaryOp::Sub => {
                    let (name, result) = if op == BinaryOp::Add {
                        ("addition", x.plus(y))
                    } else {
                        ("subtraction", x.minus(y))
                    };
                    return match result {
                        Ok((own, added)) => {
                            self.remark_added(added, name, expr.span);
                            histogram(own)
                        }
                        Err(_) => {
                            let symbol = op.symbol();
                            let text = format!(
                                "incompatible bucket layout encountered for binary operator {symbol}"
                            );
                            self.warn(Some(expr.span), text);
                            None
                        }
                    };
                }
                _ => {}
            },
            _ => {}
        }
        let symbol = op.symbol();
        self.inform(
            expr.span,
            format!(
                "incompatible sample types encountered for binary operator {symbol:?}: {} {symbol} {}",
                a.type_name(),
                b.type_name()
            ),
        );
        None
    }
}

fn cell_of(cells: &mut Vec<Cell>, number: usize, add: impl FnOnce(&mut Cell)) {
    if cells.len() <= number {
        cells.resize_with(number + 1, Cell::default);
    }
    cells.get_mut(number).map(add);
}

impl Matching {
    /// The labels that must agree.
    fn signatures(&self) -> Grouping<'_> {
        match &self.labels {
            None => Grouping::without([]),
            Some((true, labels)) => Grouping::by(labels),
            Some((false, labels)) => Grouping::without(labels),
        }
    }
}

fn is_trim(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower)
}

fn drops_name(binary: &Binary) -> bool {
    !(binary.op.is_comparison() || is_trim(binary.op)) || binary.return_bool
}

/// A join in progress.
struct Join<'j, 'a> {
    evaluator: &'j Evaluator<'a>,
    expr: &'j Expr,
    binary: &'j Binary,
    left: &'j [Column<'a>],
    right: &'j [Column<'a>],
    out: Vector<'a>,
    by_labels: LabelMap<usize>,
    /// Columns of the result by the pair of series that meet; `None` where a side is filled.
    by_pair: HashMap<(Option<usize>, Option<usize>), usize, FixedState>,
    steps: usize,
    /// At which steps the many side has any series at all; where it has none, nothing can be ambiguous.
    some_many: Vec<bool>,
    /// The lefts and rights of the cell and step at hand; kept for their memory.
    present: (Vec<usize>, Vec<usize>),
    /// The column of all that meets in the cell at hand, where its signature is all that is left of its series: no other
    /// cell gives these labels.
    shared: Option<usize>,
    /// Whether signatures may differ in what goes with the metric's name alone.
    metadata_matters: bool,
}

fn some_many(vector: &Vector<'_>, steps: usize) -> Vec<bool> {
    let mut some = vec![false; steps];
    for column in &vector.columns {
        for (step, some) in some.iter_mut().enumerate() {
            *some |= column.holds(step);
        }
    }
    some
}

fn fill_present(columns: &[Column<'_>], list: &[usize], step: usize, present: &mut Vec<usize>) {
    present.clear();
    present
        .extend(list.iter().copied().filter(|&at| columns.get(at).is_some_and(|column| column.holds(step))));
}

impl Join<'_, '_> {
    /// Whether anything can come of a cell at any step.
    fn can_meet(&self, cell: &Cell) -> bool {
        let matching = &self.binary.matching;
        let lefts = !cell.lefts.is_empty() || matching.fill_left.is_some();
        let rights = !cell.rights.is_empty() || matching.fill_right.is_some();
        let ones = if matching.many_left() { &cell.rights } else { &cell.lefts };
        (lefts && rights) || ones.len() > 1
    }

    /// The many and the one of a cell in which no step can be ambiguous, so that whole columns can meet.
    fn whole_columns<'c>(&self, cell: &'c Cell) -> Option<(&'c [usize], usize)> {
        let matching = &self.binary.matching;
        let (many, ones) =
            if matching.many_left() { (&cell.lefts, &cell.rights) } else { (&cell.rights, &cell.lefts) };
        let &[one] = ones.as_slice() else { return None };
        let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
        (!filled && (many.len() == 1 || matching.group.is_some())).then_some((many, one))
    }

    /// Two series meet wherever both are there.
    fn meet_at_all_steps(
        &mut self,
        signature: &LabelSet,
        (left, right): (usize, usize),
    ) -> Result<(), QueryError> {
        let (Some(a), Some(b)) = (self.left.get(left), self.right.get(right)) else { return Ok(()) };
        let pair = (Some(left), Some(right));
        if is_trim(self.binary.op) || !a.histograms.is_empty() || !b.histograms.is_empty() {
            let both = (0..self.steps).filter(|&step| a.holds(step) && b.holds(step));
            return both.into_iter().try_for_each(|step| self.meet(signature, pair, step));
        }
        let binary = self.binary;
        let meeting = a
            .values
            .iter()
            .zip(&b.values)
            .map(|(&a, &b)| if is_absent(a) || is_absent(b) { ABSENT } else { outcome(binary, a, b, a) });
        let column = self.column_of(signature, pair)?;
        let Some(into) = self.out.columns.get_mut(column) else { return Ok(()) };
        for (step, value) in meeting.enumerate() {
            if is_absent(value) {
                continue;
            }
            if into.holds(step) {
                return Err(self.not_unique());
            }
            if let Some(into) = into.values.get_mut(step) {
                *into = value;
            }
        }
        Ok(())
    }

    /// The series of one cell at one step.
    fn step(&mut self, signature: &LabelSet, cell: &Cell, step: usize) -> Result<(), QueryError> {
        let mut present = std::mem::take(&mut self.present);
        fill_present(self.left, &cell.lefts, step, &mut present.0);
        fill_present(self.right, &cell.rights, step, &mut present.1);
        let result = self.present_step(signature, &present, step);
        self.present = present;
        result
    }

    fn present_step(
        &mut self,
        signature: &LabelSet,
        (lefts, rights): &(Vec<usize>, Vec<usize>),
        step: usize,
    ) -> Result<(), QueryError> {
        let matching = &self.binary.matching;
        let many_left = matching.many_left();
        let (many, ones) = if many_left { (lefts, rights) } else { (rights, lefts) };
        if ones.len() > 1 && self.some_many.get(step).copied().unwrap_or_default() {
            return Err(self.ambiguous(signature, ones, many_left));
        }
        if matching.group.is_none() && many.len() > 1 && (!ones.is_empty() || matching.fill_right.is_some()) {
            return Err(self.error(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
            ));
        }
        let one = ones.first().copied();
        let (fill_many, fill_one) = if many_left {
            (matching.fill_left, matching.fill_right)
        } else {
            (matching.fill_right, matching.fill_left)
        };
        let pair =
            |many: Option<usize>, one: Option<usize>| if many_left { (many, one) } else { (one, many) };
        if many.is_empty() {
            return match (one, fill_many) {
                (Some(_), Some(_)) => self.meet(signature, pair(None, one), step),
                _ => Ok(()),
            };
        }
        if one.is_none() && fill_one.is_none() {
            return Ok(());
        }
        for &at in many {
            self.meet(signature, pair(Some(at), one), step)?;
        }
        Ok(())
    }

    fn error(&self, message: impl Into<String>) -> QueryError {
        PromqlError::new(self.binary.op_span.span, message).into()
    }

    fn ambiguous(&self, signature: &LabelSet, ones: &[usize], many_left: bool) -> QueryError {
        let (side, columns) = if many_left { ("right", self.right) } else { ("left", self.left) };
        let mut names: Vec<String> = ones
            .iter()
            .filter_map(|&at| columns.get(at).map(|column| column.labels.get().to_string()))
            .collect();
        names.sort_unstable();
        names.truncate(2);
        self.error(format!(
            "found duplicate series for the match group {signature} on the {side} hand-side of the operation: [{}];\
             many-to-many matching not allowed: matching labels must be unique on one side",
            names.join(", ")
        ))
    }

    /// Two series (or one and a stand-in) meet at a step.
    fn meet(
        &mut self,
        signature: &LabelSet,
        pair: (Option<usize>, Option<usize>),
        step: usize,
    ) -> Result<(), QueryError> {
        let matching = &self.binary.matching;
        let value =
            |columns: &[Column<'_>], at: Option<usize>, fill: Option<crate::promql::ast::Number>| match at {
                Some(at) => columns.get(at).and_then(|column| operand(column, step)),
                None => fill.map(|number| Operand::Float(number.value)),
            };
        let (Some(a), Some(b)) =
            (value(self.left, pair.0, matching.fill_left), value(self.right, pair.1, matching.fill_right))
        else {
            return Ok(());
        };
        let result = self.evaluator.on_operands(self.expr, self.binary, &a, &b, &a);
        let column = match self.by_pair.get(&pair) {
            Some(&column) => column,
            None => {
                let column = self.column_of(signature, pair)?;
                self.by_pair.insert(pair, column);
                column
            }
        };
        let Some(into) = self.out.columns.get_mut(column) else { return Ok(()) };
        match result {
            None => Ok(()),
            Some(_) if into.holds(step) => Err(self.not_unique()),
            result => {
                if let Some(Operand::Histogram(own)) = &result {
                    self.out.charge.add(histogram_bytes(own))?;
                }
                store(into, step, result);
                Ok(())
            }
        }
    }

    fn not_unique(&self) -> QueryError {
        self.error("multiple matches for labels: grouping labels must ensure unique matches")
    }

    /// The column of what two series give.
    fn column_of(
        &mut self,
        signature: &LabelSet,
        pair: (Option<usize>, Option<usize>),
    ) -> Result<usize, QueryError> {
        if let Some(column) = self.shared {
            return Ok(column);
        }
        let labels = self.result_labels(signature, pair)?;
        if self.signature_is_left() && !self.metadata_matters {
            let column = self.out.push_absent(Labels::Own(labels), self.drop_name(pair), self.steps)?;
            self.shared = Some(column);
            return Ok(column);
        }
        if let Some(&column) = self.by_labels.get(&labels) {
            return Ok(column);
        }
        let column = self.out.push_absent(Labels::Own(labels.clone()), self.drop_name(pair), self.steps)?;
        self.by_labels.insert(labels, column);
        Ok(column)
    }

    /// Whether the metric's name and what belongs to it are no part of the result.
    fn is_bare(&self) -> bool {
        drops_name(self.binary) && !self.binary.return_bool
    }

    /// Whether of the labels of two series only those are left by which they met.
    fn signature_is_left(&self) -> bool {
        self.binary.matching.group.is_none() && self.is_bare()
    }

    fn drop_name(&self, (left, right): (Option<usize>, Option<usize>)) -> bool {
        let pending = |columns: &[Column<'_>], at: Option<usize>| {
            at.and_then(|at| columns.get(at)).is_some_and(|column| column.drop_name)
        };
        let many_left = self.binary.matching.many_left();
        drops_name(self.binary)
            || if many_left { pending(self.left, left) } else { pending(self.right, right) }
    }

    /// The labels of what two series give: those of the many side, or of the left where both are one.
    fn result_labels(
        &self,
        signature: &LabelSet,
        (left, right): (Option<usize>, Option<usize>),
    ) -> Result<LabelSet, QueryError> {
        let matching = &self.binary.matching;
        if self.signature_is_left() {
            return Ok(without_name(signature));
        }
        let bare = self.is_bare();
        let labels = |columns: &[Column<'_>], at: Option<usize>| {
            at.and_then(|at| columns.get(at)).map_or_else(|| signature.clone(), |column| column.labels.get())
        };
        let many_left = matching.many_left();
        let many = if many_left { labels(self.left, left) } else { labels(self.right, right) };
        let mut result = if bare { without_name(&many) } else { many };
        match &matching.group {
            None => {
                let (on, listed) =
                    matching.labels.as_ref().map_or((false, &[][..]), |(on, l)| (*on, l.as_slice()));
                result = result.filtered(|name| listed.iter().any(|own| own == name) == on);
            }
            Some(group) if !group.include.is_empty() => {
                let one = if many_left { labels(self.right, right) } else { labels(self.left, left) };
                for name in &group.include {
                    result = with_label(&result, name, one.get(name))
                        .map_err(|error| self.error(error.to_string()))?;
                }
            }
            Some(_) => {}
        }
        Ok(result)
    }
}
