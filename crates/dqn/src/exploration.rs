//! The share of random actions over the environment's steps.

use serde::{Deserialize, Serialize};

/// How the share of random actions falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EpsilonSchedule {
    /// In a straight line from `epsilon` to `epsilon_final` over `epsilon_steps`, and constant from there on.
    #[default]
    Linear,
    /// `epsilon_final + (epsilon - epsilon_final) e^(-step / epsilon_steps)`.
    Exponential,
    /// `epsilon` throughout.
    Constant,
}

impl EpsilonSchedule {
    /// Epsilon at a step, counted from 0.
    ///
    /// ```
    /// use rederive_dqn::EpsilonSchedule;
    ///
    /// assert_eq!(EpsilonSchedule::Linear.at(1.0, 0.1, 1000, 500), 0.55);
    /// assert_eq!(EpsilonSchedule::Linear.at(1.0, 0.1, 1000, 5000), 0.1);
    /// ```
    #[inline]
    pub fn at(self, start: f64, end: f64, steps: u64, step: u64) -> f64 {
        match self {
            EpsilonSchedule::Constant => start,
            EpsilonSchedule::Linear if step >= steps => end,
            EpsilonSchedule::Linear => start + (end - start) * (step as f64 / steps as f64),
            EpsilonSchedule::Exponential => end + (start - end) * (-(step as f64) / steps as f64).exp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_begin_at_the_start_and_tend_to_the_end() {
        use EpsilonSchedule::{Constant, Exponential, Linear};
        for schedule in [Linear, Exponential, Constant] {
            assert_eq!(schedule.at(0.9, 0.05, 100, 0), 0.9);
        }
        assert_eq!(Constant.at(0.9, 0.05, 100, 1 << 40), 0.9);
        assert_eq!(Exponential.at(0.9, 0.05, 100, 1 << 40), 0.05);
        assert!((Exponential.at(1.0, 0.0, 100, 100) - (-1f64).exp()).abs() < 1e-15);
        // Without a ramp there is no division by its length.
        assert_eq!(Linear.at(0.9, 0.05, 0, 0), 0.05);
        assert!((0..200).all(|t| Linear.at(1.0, 0.1, 100, t + 1) <= Linear.at(1.0, 0.1, 100, t)));
    }
}
