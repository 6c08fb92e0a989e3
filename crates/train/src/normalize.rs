//! Running normalisation of observations and rewards.

use rederive_math::End;
use serde::{Deserialize, Serialize};

/// Keeps equal advantages from being divided by zero where they are normalised; PyTorch implementations use the same number.
pub const ADVANTAGE_EPSILON: f32 = 1e-8;

/// Mean and variance of a stream of vectors, by component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningMoments {
    count: f64,
    mean: Vec<f64>,
    /// Sum of squared deviations from the mean.
    deviation: Vec<f64>,
}

impl RunningMoments {
    /// Moments of vectors of `len` components, before the first one.
    pub fn new(len: usize) -> Self {
        RunningMoments { count: 0.0, mean: vec![0.0; len], deviation: vec![0.0; len] }
    }

    /// Takes one vector into account (Welford's update).
    ///
    /// # Panics
    /// If it has another length.
    pub fn push(&mut self, x: &[f32]) {
        assert_eq!(x.len(), self.mean.len(), "x against the moments");
        self.count += 1.0;
        for ((mean, deviation), &x) in self.mean.iter_mut().zip(&mut self.deviation).zip(x) {
            let before = f64::from(x) - *mean;
            *mean += before / self.count;
            *deviation += before * (f64::from(x) - *mean);
        }
    }

    /// The mean of component `i`.
    pub fn mean(&self, i: usize) -> f64 {
        self.mean[i]
    }

    /// The population variance of component `i`; 1 before the second vector.
    pub fn variance(&self, i: usize) -> f64 {
        if self.count < 2.0 { 1.0 } else { self.deviation[i] / self.count }
    }

    /// How many components a vector has.
    pub fn len(&self) -> usize {
        self.mean.len()
    }

    /// Whether vectors have no component.
    pub fn is_empty(&self) -> bool {
        self.mean.is_empty()
    }
}

/// Largest magnitude after normalisation.
const CLIP: f64 = 10.0;
/// Keeps a constant component from dividing by zero.
const EPSILON: f64 = 1e-8;

/// Normalises observations to mean 0 and variance 1 over all that were seen, clipped to ±10.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObsNormalizer {
    moments: RunningMoments,
}

impl ObsNormalizer {
    /// For observations of `len` features.
    pub fn new(len: usize) -> Self {
        ObsNormalizer { moments: RunningMoments::new(len) }
    }

    /// Takes an observation into account.
    pub fn observe(&mut self, features: &[f32]) {
        self.moments.push(features);
    }

    /// Normalises `features` in place by what was seen so far.
    pub fn apply(&self, features: &mut [f32]) {
        for (i, x) in features.iter_mut().enumerate() {
            let scaled = (f64::from(*x) - self.moments.mean(i)) / (self.moments.variance(i) + EPSILON).sqrt();
            *x = scaled.clamp(-CLIP, CLIP) as f32;
        }
    }

    /// How many features an observation has.
    pub fn len(&self) -> usize {
        self.moments.len()
    }

    /// Whether an observation has no feature.
    pub fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }
}

/// Divides rewards by the standard deviation of the discounted return so far, clipped to ±10. The mean is left alone: shifting
/// rewards would change which policy is best wherever episodes end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RewardNormalizer {
    moments: RunningMoments,
    running: Vec<f64>,
}

impl RewardNormalizer {
    /// For `num_envs` environments.
    pub fn new(num_envs: usize) -> Self {
        RewardNormalizer { moments: RunningMoments::new(1), running: vec![0.0; num_envs] }
    }

    /// Takes one step of every environment into account and scales its rewards in place.
    ///
    /// # Panics
    /// If a length differs from the number of environments.
    pub fn apply(&mut self, reward: &mut [f32], end: &[End], gamma: f64) {
        assert_eq!(reward.len(), self.running.len(), "reward against the environments");
        assert_eq!(end.len(), self.running.len(), "end against the environments");
        for (running, &r) in self.running.iter_mut().zip(&*reward) {
            *running = *running * gamma + f64::from(r);
            self.moments.push(&[*running as f32]);
        }
        let scale = (self.moments.variance(0) + EPSILON).sqrt().recip();
        for r in reward {
            *r = (f64::from(*r) * scale).clamp(-CLIP, CLIP) as f32;
        }
        for (running, end) in self.running.iter_mut().zip(end) {
            if end.done() {
                *running = 0.0;
            }
        }
    }

    /// Whether it was made for `num_envs` environments.
    pub fn fits(&self, num_envs: usize) -> bool {
        self.running.len() == num_envs && self.moments.len() == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_moments_are_the_moments_of_all_vectors() {
        let data = [[1.0f32, -2.0], [4.0, 0.5], [-3.0, 7.0], [0.25, 0.0]];
        let mut moments = RunningMoments::new(2);
        data.iter().for_each(|x| moments.push(x));
        for i in 0..2 {
            let mean = data.iter().map(|x| f64::from(x[i])).sum::<f64>() / 4.0;
            let variance = data.iter().map(|x| (f64::from(x[i]) - mean).powi(2)).sum::<f64>() / 4.0;
            assert!((moments.mean(i) - mean).abs() < 1e-14);
            assert!((moments.variance(i) - variance).abs() < 1e-14);
        }
    }

    #[test]
    fn a_return_starts_again_after_its_episode() {
        let mut normalizer = RewardNormalizer::new(1);
        let ends = [End::No, End::Terminated, End::No];
        for end in ends {
            normalizer.apply(&mut [1.0], &[end], 0.5);
        }
        // Discounted returns 1, 1.5 and, after the end, 1 again.
        assert!((normalizer.moments.mean(0) - 3.5 / 3.0).abs() < 1e-12);
    }
}
