//! Merges what was found of series in blocks and heads into one list in label order.
//!
//! Each part is in label order. Parts are merged pair by pair, and a series that both of a pair have is one from then on: a
//! series costs one comparison for each part that has it, however many there are, where sorting all places would cost their
//! logarithm.

use std::cmp::Ordering;

use super::Place;

/// What merging takes for each place besides its result.
pub(super) const BYTES_A_PLACE: usize = 2 * size_of::<u32>() + size_of::<Place>();

/// No place comes after it.
const END: u32 = u32::MAX;

/// The places of each series, series by series in label order, those of one in the order of their parts; and where each
/// series starts and the last one ends. `ends` is where each part ends.
pub(super) fn merge(
    places: &[Place],
    ends: &[u32],
    mut compare: impl FnMut(Place, Place) -> Ordering,
) -> (Vec<Place>, Vec<u32>) {
    let place = |at: u32| places.get(at as usize).copied();
    // A series is named by its first place. The places of one are a chain, of which the first knows the last.
    let mut next = vec![END; places.len()];
    let mut last: Vec<u32> = (0..places.len() as u32).collect();
    let starts = [0].into_iter().chain(ends.iter().copied());
    let mut runs: Vec<Vec<u32>> = starts.zip(ends).map(|(start, &end)| (start..end).collect()).collect();
    while runs.len() > 1 {
        let mut merged = Vec::with_capacity(runs.len().div_ceil(2));
        let mut left = runs.into_iter();
        while let Some(older) = left.next() {
            let Some(newer) = left.next() else {
                merged.push(older);
                break;
            };
            let mut run = Vec::with_capacity(older.len().max(newer.len()));
            let (mut older, mut newer) = (older.into_iter().peekable(), newer.into_iter().peekable());
            while let (Some(&a), Some(&b)) = (older.peek(), newer.peek()) {
                let order = match (place(a), place(b)) {
                    (Some(a), Some(b)) => compare(a, b),
                    _ => Ordering::Equal,
                };
                if order.is_eq() {
                    chain(&mut next, &mut last, a, b);
                }
                run.extend(if order.is_le() { older.next() } else { newer.next() });
                if order.is_eq() {
                    newer.next();
                }
            }
            run.extend(older);
            run.extend(newer);
            merged.push(run);
        }
        runs = merged;
    }
    let (mut sorted, mut starts) = (Vec::with_capacity(places.len()), vec![0]);
    for first in runs.into_iter().flatten() {
        let mut at = first;
        while let Some(found) = place(at) {
            sorted.push(found);
            at = next.get(at as usize).copied().unwrap_or(END);
        }
        starts.push(sorted.len() as u32);
    }
    (sorted, starts)
}

/// Appends the chain of `b` to that of `a`.
fn chain(next: &mut [u32], last: &mut [u32], a: u32, b: u32) {
    let end_of = |last: &[u32], of: u32| last.get(of as usize).copied();
    if let (Some(end), Some(new_end)) = (end_of(last, a), end_of(last, b))
        && let (Some(next), Some(last)) = (next.get_mut(end as usize), last.get_mut(a as usize))
    {
        *next = b;
        *last = new_end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts that hold numbers, as places whose ordinal is the number.
    fn merged(parts: &[&[u32]]) -> Vec<(u32, Vec<u32>)> {
        let (mut places, mut ends) = (Vec::new(), Vec::new());
        for (block, part) in (0..).zip(parts) {
            places.extend(part.iter().map(|&ordinal| Place::Block { block, ordinal }));
            ends.push(places.len() as u32);
        }
        let told = |place: &Place| match place {
            Place::Block { block, ordinal } => (*block, *ordinal),
            Place::Head(_) => unreachable!("there is none"),
        };
        let (places, starts) = merge(&places, &ends, |a, b| told(&a).1.cmp(&told(&b).1));
        let series = starts.windows(2).map(|edges| &places[edges[0] as usize..edges[1] as usize]);
        series.map(|of| (told(&of[0]).1, of.iter().map(|place| told(place).0).collect())).collect()
    }

    #[test]
    fn a_series_of_several_parts_is_one_and_its_parts_stay_in_order() {
        assert_eq!(
            merged(&[&[1, 3, 5], &[2, 3], &[0, 3, 5, 9], &[], &[3]]),
            [(0, vec![2]), (1, vec![0]), (2, vec![1]), (3, vec![0, 1, 2, 4]), (5, vec![0, 2]), (9, vec![2])]
        );
        assert_eq!(merged(&[]), []);
        assert_eq!(merged(&[&[7]]), [(7, vec![0])]);
        assert_eq!(merged(&[&[1, 2], &[1, 2], &[1, 2]]), [(1, vec![0, 1, 2]), (2, vec![0, 1, 2])]);
    }

    #[test]
    fn parts_of_the_same_series_cost_a_comparison_for_each_place() {
        let (series, parts) = (100, 64);
        let places: Vec<Place> = (0..parts)
            .flat_map(|block| (0..series).map(move |ordinal| Place::Block { block, ordinal }))
            .collect();
        let ends: Vec<u32> = (1..=parts).map(|part| part * series).collect();
        let mut compared = 0;
        let (_, starts) = merge(&places, &ends, |a, b| {
            compared += 1;
            let (Place::Block { ordinal: a, .. }, Place::Block { ordinal: b, .. }) = (a, b) else {
                unreachable!("all are in blocks")
            };
            a.cmp(&b)
        });
        assert_eq!((starts.len() as u32, compared), (series + 1, (parts - 1) * series));
    }
}
