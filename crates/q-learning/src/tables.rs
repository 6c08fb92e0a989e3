//! The table, and the one rule by which every method moves an entry towards a target.

use crate::config::Config;
use crate::states::Layout;
use rederive_math::monte_carlo;

/// Step sizes `alpha n^-p` up to this many updates are looked up.
const KEPT: usize = 1024;

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
