//! Estimators of a Kullback-Leibler divergence from samples.
//!
//! A sample `x ~ pi` enters by its log-ratio `log r = log q(x) - log pi(x)`: the other policy over the one that was sampled.
//! For PPO's `KL(old || new)` that is `log_prob - old_log_prob`, since the samples are the old policy's.

use crate::sum::{BLOCK, Sums};
use crate::{Real, multiversion};

/// `-log r`: unbiased for `KL(pi || q)`, of either sign on a sample.
///
/// ID `kl.k123`; the mean over `x ~ pi` is the divergence.
///
/// Source: J. Schulman (2020), Approximating KL Divergence.
// ANCHOR: kl.k123
#[inline(always)]
pub fn k1<F: Real>(log_ratio: F) -> F {
    -log_ratio
}

/// `(log r)^2 / 2`: never negative, biased to either side, right to second order in the distance of the policies.
///
/// ID `kl.k123`.
///
/// Source: J. Schulman (2020), Approximating KL Divergence.
#[inline(always)]
pub fn k2<F: Real>(log_ratio: F) -> F {
    F::of(0.5) * log_ratio * log_ratio
}

/// `r - 1 - log r`: never negative; its mean is `KL(pi || q) - q({pi = 0})`, so it is unbiased where `pi` covers `q`.
///
/// ID `kl.k123`.
///
/// Source: J. Schulman (2020), Approximating KL Divergence.
#[inline(always)]
pub fn k3<F: Real>(log_ratio: F) -> F {
    exp_minus_tangent(log_ratio, log_ratio.exp())
}
// ANCHOR_END: kl.k123

/// `e^x - 1 - x`, without the cancellation of that formula near 0, in arithmetic that vectorises; `exp` is `e^x`.
#[inline(always)]
pub(crate) fn exp_minus_tangent<F: Real>(x: F, exp: F) -> F {
    // The series up to x^10; at the bound the first term left out is below 1e-12 of the sum.
    const SERIES: [f64; 9] = [
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        1.0 / 2.0,
    ];
    let series = SERIES.iter().fold(F::zero(), |sum, &c| sum * x + F::of(c)) * x * x;
    if x.abs() < F::of(0.25) { series } else { exp - F::one() - x }
}

/// Which of the three estimators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Estimator {
    /// [`k1`]
    K1,
    /// [`k2`]
    K2,
    /// [`k3`]
    K3,
}

impl Estimator {
    /// The estimate of one sample from its log-ratio.
    #[inline(always)]
    pub fn value<F: Real>(self, log_ratio: F) -> F {
        match self {
            Estimator::K1 => k1(log_ratio),
            Estimator::K2 => k2(log_ratio),
            Estimator::K3 => k3(log_ratio),
        }
    }

    /// The derivative of the estimate in `log pi(x)`, with the sample held fixed.
    ///
    /// ID `kl.estimator-gradients`: 1 for k1, `-log r` for k2, `1 - r` for k3. On average over `x ~ pi` the gradient is 0 for
    /// k1, that of `KL(pi || q)` for k2, and that of the other direction `KL(q || pi)` for k3: a good estimate of the value
    /// need not be a good loss. Weighted by a live ratio `pi / pi_old`, k3 has the gradient of `KL(pi || q)`.
    ///
    /// Source: J. Schulman (2020), Approximating KL Divergence (the estimators).
    // ANCHOR: kl.estimator-gradients
    #[inline(always)]
    pub fn grad<F: Real>(self, log_ratio: F) -> F {
        match self {
            Estimator::K1 => F::one(),
            Estimator::K2 => -log_ratio,
            Estimator::K3 => -log_ratio.exp_m1(),
        }
    }
    // ANCHOR_END: kl.estimator-gradients

    /// The exact mean and variance of the estimate under `x ~ pi`.
    ///
    /// ID `kl.k3-variance`: near `pi = q` the variance of k3 is of fourth order in their distance and that of k1 of second;
    /// far away the order can turn round, since k3 holds `r` itself.
    ///
    /// Shapes: `prob` and `other` are `[A]`, probabilities of `pi` and of `q`. Where `prob` is 0 nothing is sampled.
    ///
    /// # Panics
    /// If the lengths differ.
    // ANCHOR: kl.k3-variance
    pub fn moments<F: Real>(self, prob: &[F], other: &[F]) -> (F, F) {
        assert!(prob.len() == other.len(), "prob has {} entries but other has {}", prob.len(), other.len());
        let sampled = || prob.iter().zip(other).filter(|(p, _)| **p > F::zero());
        let value = |p: F, q: F| self.value(q.ln() - p.ln());
        let mean = sampled().map(|(&p, &q)| p * value(p, q)).sum::<F>();
        let variance = sampled().map(|(&p, &q)| p * (value(p, q) - mean) * (value(p, q) - mean)).sum::<F>();
        (mean, variance)
    }
    // ANCHOR_END: kl.k3-variance
}

/// `KL(old || new)` of a batch of the old policy's samples, by two estimators.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ApproxKl<F> {
    /// The mean of `-log rho`; may be negative on a batch.
    pub k1: F,
    /// The mean of `rho - 1 - log rho`; never negative.
    pub k3: F,
}

/// At most `BLOCK` samples: their terms of the two sums.
#[inline(always)]
fn approx_kl_block<F: Real>(log_prob: &[F], old_log_prob: &[F], Sums([k1, k3]): &mut Sums<F, 2>) {
    let n = log_prob.len().min(BLOCK);
    let (log_prob, old_log_prob) = (&log_prob[..n], &old_log_prob[..n]);
    for i in 0..n {
        let log_ratio = log_prob[i] - old_log_prob[i];
        k1[i] -= log_ratio;
        k3[i] += exp_minus_tangent(log_ratio, log_ratio.vexp());
    }
}

multiversion! {
    fn approx_kl_body<F: Real>(log_prob: &[F], old_log_prob: &[F]) -> ApproxKl<F> {
        let mut sums = Sums::<F, 2>::new();
        for (new, old) in log_prob.chunks(BLOCK).zip(old_log_prob.chunks(BLOCK)) {
            approx_kl_block(new, old, &mut sums);
        }
        let [k1, k3] = sums.totals();
        let scale = F::one() / F::of(log_prob.len() as f64);
        ApproxKl { k1: scale * k1, k3: scale * k3 }
    }
}

/// How far the policy has moved from the one that acted, from that one's samples.
///
/// ID `ppo.early-stop`: the mean of `rho - 1 - log rho` or of `-log rho` over the batch estimates `KL(old || new)`.
///
/// Shapes: both `[B]`. An empty batch gives zeros.
///
/// # Panics
/// If the lengths differ.
///
/// Source: J. Schulman (2020), Approximating KL Divergence.
// ANCHOR: ppo.early-stop
pub fn approx_kl<F: Real>(log_prob: &[F], old_log_prob: &[F]) -> ApproxKl<F> {
    let n = log_prob.len();
    assert!(n == old_log_prob.len(), "log_prob has {n} entries but old_log_prob has {}", old_log_prob.len());
    if n == 0 {
        return ApproxKl::default();
    }
    approx_kl_body(log_prob, old_log_prob)
}

/// Whether to stop updating: the measured divergence exceeds the threshold, or is not a number.
///
/// ID `ppo.early-stop`. The step that crossed is not undone.
///
/// Source: J. Achiam (2018), Spinning Up in Deep Reinforcement Learning.
#[inline]
pub fn should_stop<F: Real>(kl: F, threshold: F) -> bool {
    kl > threshold || kl.is_nan()
}
// ANCHOR_END: ppo.early-stop

multiversion! {
    fn estimates_body<F: Real>(log_ratio: &[F], k1: &mut [F], k2: &mut [F], k3: &mut [F]) {
        let n = log_ratio.len();
        let (k1, k2, k3) = (&mut k1[..n], &mut k2[..n], &mut k3[..n]);
        for i in 0..n {
            let x = log_ratio[i];
            k1[i] = -x;
            k2[i] = F::of(0.5) * x * x;
            k3[i] = exp_minus_tangent(x, x.vexp());
        }
    }
}

/// [`k1`], [`k2`] and [`k3`] of every sample of a batch.
///
/// Shapes: all `[B]`; the outputs are overwritten.
///
/// # Panics
/// If two lengths differ.
pub fn estimates<F: Real>(log_ratio: &[F], k1: &mut [F], k2: &mut [F], k3: &mut [F]) {
    let n = log_ratio.len();
    assert!(n == k1.len(), "log_ratio has {n} entries but k1 has {}", k1.len());
    assert!(n == k2.len(), "log_ratio has {n} entries but k2 has {}", k2.len());
    assert!(n == k3.len(), "log_ratio has {n} entries but k3 has {}", k3.len());
    estimates_body(log_ratio, k1, k2, k3);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_means_of_two_policies() {
        let (mean, _) = Estimator::K1.moments(&[0.6f64, 0.4], &[0.5, 0.5]);
        assert!((mean - 0.020136).abs() < 1e-6);
        assert!((Estimator::K2.moments(&[0.6f64, 0.4], &[0.5, 0.5]).0 - 0.019931).abs() < 1e-6);
        assert!((Estimator::K3.moments(&[0.6f64, 0.4], &[0.5, 0.5]).0 - mean).abs() < 1e-15);
        assert!((Estimator::K3.moments(&[1.0f64, 0.0], &[0.5, 0.5]).0 - 0.193147).abs() < 1e-6);
        assert!((Estimator::K3.moments(&[0.99f64, 0.01], &[0.5, 0.5]).1 - 19.958).abs() < 1e-3);
        assert!((Estimator::K1.moments(&[0.99f64, 0.01], &[0.5, 0.5]).1 - 0.20904).abs() < 1e-5);
    }

    #[test]
    fn a_batch_is_the_mean_of_its_samples() {
        let log_ratio: Vec<f64> = (0..40).map(|i| 1.5 * (i as f64).sin()).collect();
        let zeros = vec![0.0; 40];
        let kl = approx_kl(&log_ratio, &zeros);
        let mean = |k: fn(f64) -> f64| log_ratio.iter().map(|&x| k(x)).sum::<f64>() / 40.0;
        assert!((kl.k1 - mean(k1)).abs() < 1e-14 && (kl.k3 - mean(k3)).abs() < 1e-13);
        let (mut a, mut b, mut c) = (zeros.clone(), zeros.clone(), zeros);
        estimates(&log_ratio, &mut a, &mut b, &mut c);
        for (i, &x) in log_ratio.iter().enumerate() {
            assert!(a[i] == k1(x) && b[i] == k2(x) && (c[i] - k3(x)).abs() < 1e-12);
        }
    }

    #[test]
    fn a_crossing_stops() {
        assert!(should_stop(0.02, 0.01) && should_stop(f64::NAN, 0.01) && !should_stop(0.01, 0.01));
    }
}
