//! The table, and the one rule by which every method moves an entry towards a target.

use crate::config::Config;
use crate::states::Layout;
use rederive_math::{monte_carlo, td};

/// Step sizes `alpha n^-p` up to this many updates are looked up.
const KEPT: usize = 1024;

/// The action of the largest value, the first of several: `td::argmax` as a tournament, whose rounds wait for each other
/// less often than comparisons one by one do. `A` is the number of values, or 0 to look it up.
#[inline(always)]
pub(crate) fn best<const A: usize>(value: &[f32]) -> u32 {
    let Ok(mut left) = <[f32; A]>::try_from(value) else { return td::argmax(value) as u32 };
    if A == 0 {
        return td::argmax(value) as u32;
    }
    let mut action = std::array::from_fn::<u32, A, _>(|a| a as u32);
    let mut apart = 1;
    while apart < A {
        let mut a = 0;
        while a + apart < A {
            let wins = left[a + apart] > left[a];
            left[a] = if wins { left[a + apart] } else { left[a] };
            action[a] = if wins { action[a + apart] } else { action[a] };
            a += 2 * apart;
        }
        apart *= 2;
    }
    action[0]
}

/// The step size of the n-th update of an entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Steps {
    alpha: f32,
    power: f32,
    first: Vec<f32>,
}

impl Steps {
    pub fn new(alpha: f64, power: f64) -> Self {
        let step = |n: u32| (alpha * monte_carlo::step_size(n.into(), power)) as f32;
        Steps { alpha: alpha as f32, power: power as f32, first: (1..=KEPT as u32).map(step).collect() }
    }

    /// Of an entry that has been updated `n - 1` times before.
    #[inline(always)]
    pub fn at(&self, n: u32) -> f32 {
        match self.first.get(n as usize - 1) {
            Some(&alpha) => alpha,
            None => self.alpha * monte_carlo::step_size(n.into(), self.power),
        }
    }

    /// The one step size of all updates.
    pub fn constant(&self) -> f32 {
        self.alpha
    }
}

/// Values by row and action `[S, A]`, and how often each was updated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tables {
    /// A in control; in prediction, where values are those of states, 1.
    pub width: usize,
    pub q: Vec<f32>,
    /// The second table of double Q-learning, else empty.
    pub second: Vec<f32>,
    pub visits: Vec<u32>,
    pub steps: Steps,
    /// The best action of each row, for loops that keep it up to date; else empty.
    pub best: Vec<u32>,
}

impl Tables {
    pub fn new(config: &Config, layout: &Layout, width: usize, double: bool) -> Self {
        let entries = layout.states * width;
        let fresh = vec![config.init as f32; entries];
        Tables {
            width,
            second: if double { fresh.clone() } else { Vec::new() },
            q: fresh,
            visits: vec![0; entries],
            steps: Steps::new(config.alpha, config.alpha_power),
            best: Vec::new(),
        }
    }

    /// Looks up the best action of each row, unless it is known.
    pub fn find_best(&mut self) {
        if self.best.is_empty() {
            self.best = self.q.chunks_exact(self.width).map(|row| td::argmax(row) as u32).collect();
        }
    }

    /// The values of a row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.q[row * self.width..][..self.width]
    }

    /// How often the entries of a row were updated.
    #[inline(always)]
    pub fn visits(&self, row: usize) -> &[u32] {
        &self.visits[row * self.width..][..self.width]
    }

    /// Moves an entry towards a target; returns by how much it was off.
    #[inline]
    pub fn update(&mut self, entry: usize, target: f32) -> f32 {
        let visits = &mut self.visits[entry];
        *visits = visits.saturating_add(1);
        monte_carlo::average_step(&mut self.q[entry], target, self.steps.at(*visits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rederive_env::Stream;

    #[test]
    fn the_tournament_has_the_winner_of_one_by_one_comparison() {
        let mut rng = Stream::new(1, "test", 0);
        for _ in 0..5000 {
            let value: [f32; 6] = std::array::from_fn(|_| rng.below(4) as f32 - 1.5);
            assert_eq!(best::<6>(&value), td::argmax(&value) as u32);
            assert_eq!(best::<4>(&value[..4]), td::argmax(&value[..4]) as u32);
            assert_eq!(best::<2>(&value[..2]), td::argmax(&value[..2]) as u32);
            assert_eq!(best::<0>(&value[..5]), td::argmax(&value[..5]) as u32);
        }
        assert_eq!((best::<4>(&[-0.0, 0.0, -1.0, 0.0]), best::<2>(&[0.0, -0.0])), (0, 0));
    }

    #[test]
    fn step_sizes_fall_by_their_power() {
        let steps = Steps::new(0.5, 0.7);
        for n in [1u32, 2, 100, 1024, 1025, 1_000_000] {
            let expected = 0.5 * f64::from(n).powf(-0.7);
            assert!((f64::from(steps.at(n)) / expected - 1.0).abs() < 1e-5, "{n}");
        }
        assert_eq!(Steps::new(0.25, 0.0).at(5000), 0.25);
    }
}
