//! The rule by which a brute-force wave stands out from the background.
//!
//! An hour stands out where at least [`HOUR_MIN`] sign-ins were refused and at least [`TIMES`] times the
//! background. The background belongs to the hour of the day: the count that a third of the days with data
//! stay at or under, of all days that the report has in hours: two weeks or more, the period among them. Quiet weekends
//! do not make busy weekdays stand out, and a wave of up to nine days of fourteen does not become its own background. Hours that stand out, no more than
//! [`PAUSE_HOURS`] apart, are one wave; under [`WAVE_MIN`] refused sign-ins it is not worth a line.

/// The fewest refused sign-ins of an hour that stands out.
pub(crate) const HOUR_MIN: u64 = 10;
/// How many times the background an hour must have.
pub(crate) const TIMES: u64 = 5;
/// The fewest refused sign-ins of a wave.
pub(crate) const WAVE_MIN: u64 = 50;
/// The most hours between two that stand out in one wave.
pub(crate) const PAUSE_HOURS: usize = 3;
/// With fewer days of data than this, the background is taken over all hours.
const DAYS_MIN: usize = 3;

/// One hour as the rule sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hour {
    /// What the clock shows, 0 to 23.
    pub(crate) clock: usize,
    /// Sign-ins refused; none where the hour has no data.
    pub(crate) refused: Option<u64>,
}

/// Hours `first..=last`, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wave {
    /// The first hour that stands out.
    pub(crate) first: usize,
    /// The last one.
    pub(crate) last: usize,
}

/// The waves of consecutive hours, ascending.
pub(crate) fn waves(hours: &[Hour]) -> Vec<Wave> {
    let background = backgrounds(hours);
    let stands_out = |hour: &Hour| {
        let refused = hour.refused.unwrap_or(0);
        let background = background.get(hour.clock).copied().unwrap_or(0);
        refused >= HOUR_MIN && refused >= background.saturating_mul(TIMES)
    };
    let mut waves: Vec<Wave> = Vec::new();
    for (index, _) in hours.iter().enumerate().filter(|(_, hour)| stands_out(hour)) {
        match waves.last_mut() {
            Some(wave) if index - wave.last <= PAUSE_HOURS + 1 => wave.last = index,
            _ => waves.push(Wave { first: index, last: index }),
        }
    }
    waves.retain(|wave| wave.refused(hours) >= WAVE_MIN);
    waves
}

impl Wave {
    /// The sign-ins refused from its first hour to its last.
    pub(crate) fn refused(&self, hours: &[Hour]) -> u64 {
        let hours = hours.get(self.first..=self.last).unwrap_or_default();
        hours.iter().map(|hour| hour.refused.unwrap_or(0)).sum()
    }
}

/// The background by hour of the day.
pub(crate) fn backgrounds(hours: &[Hour]) -> [u64; 24] {
    let overall = third(hours.iter().filter_map(|hour| hour.refused).collect());
    std::array::from_fn(|clock| {
        let days: Vec<u64> =
            hours.iter().filter(|hour| hour.clock == clock).filter_map(|hour| hour.refused).collect();
        if days.len() < DAYS_MIN { overall } else { third(days) }
    })
}

/// The value that a third of the values stay at or under; zero where there is none.
fn third(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 3).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hours(count: impl Fn(usize, usize) -> u64) -> Vec<Hour> {
        (0..14 * 24)
            .map(|hour| Hour { clock: hour % 24, refused: Some(count(hour / 24, hour % 24)) })
            .collect()
    }

    /// A small generator, so that noise is the same in every run.
    fn noise(seed: u64, below: u64) -> u64 {
        let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_planted_wave_is_found_whole(
            seed in any::<u64>(), first in 0usize..336, length in 1usize..120, size in 50u64..500,
        ) {
            let last = (first + length - 1).min(335);
            let found = waves(&hours(|day, clock| {
                let hour = day * 24 + clock;
                noise(seed ^ hour as u64, 4) + if (first..=last).contains(&hour) { size } else { 0 }
            }));
            prop_assert_eq!(found, vec![Wave { first, last }]);
        }

        #[test]
        fn steady_traffic_has_no_wave(seed in any::<u64>(), level in 0u64..2000) {
            let noisy = hours(|day, clock| level + noise(seed ^ (day * 24 + clock) as u64, level / 2 + 4));
            prop_assert_eq!(waves(&noisy), vec![]);
        }

        #[test]
        fn office_hours_are_no_wave(seed in any::<u64>(), level in 0u64..500) {
            let office = hours(|day, clock| {
                let busy = day % 7 < 5 && (8..18).contains(&clock);
                noise(seed ^ (day * 24 + clock) as u64, 3) + if busy { level + noise(seed ^ day as u64, level / 2) } else { 0 }
            });
            prop_assert_eq!(waves(&office), vec![]);
        }
    }

    #[test]
    fn an_attack_that_dies_down_to_one_a_day_is_a_wave_of_nine_days() {
        let found = waves(&hours(|day, clock| if day < 9 { 102 } else { u64::from(clock == 7) }));
        assert_eq!(found, [Wave { first: 0, last: 9 * 24 - 1 }]);
    }

    #[test]
    fn a_site_in_its_first_day_still_sees_a_wave() {
        let mut first_day: Vec<Hour> = hours(|_, _| 0);
        for (index, hour) in first_day.iter_mut().enumerate() {
            hour.refused = (index >= 312).then_some(if (320..324).contains(&index) { 200 } else { 1 });
        }
        assert_eq!(waves(&first_day), [Wave { first: 320, last: 323 }]);
    }
}
