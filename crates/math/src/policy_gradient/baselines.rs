//! What is subtracted from a return to make its product with the score less noisy.
//!
//! Whatever does not depend on the action of the step leaves the mean of the estimate alone. What contains the step's own return
//! does not qualify: the mean of a batch shrinks the gradient by `(N - 1) / N`, and leaving the sample itself out mends that.

use crate::Real;
use crate::returns::same_shape;
use ndarray::ArrayRef2;

/// Subtracts a baseline from the weights.
///
/// ID `pg.baseline`: `E[sum_t gamma^t (G_t - b_t) grad log pi(a_t | s_t)] = grad J` for every `b_t` that is fixed before `a_t` is drawn. Before
/// [`super::weights::discount_by_time`], which then multiplies the difference.
///
/// Shapes: `weight` and `baseline` `[T,N]`.
///
/// # Panics
/// If the shapes differ.
///
/// Source: R. J. Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning;
/// E. Greensmith, P. L. Bartlett, J. Baxter (2004), Variance Reduction Techniques for Gradient Estimates in Reinforcement
/// Learning.
// ANCHOR: pg.baseline
pub fn subtract<F: Real>(weight: &mut ArrayRef2<F>, baseline: &ArrayRef2<F>) {
    same_shape("weight", weight, "baseline", baseline);
    weight.zip_mut_with(baseline, |w, &b| *w -= b);
}
// ANCHOR_END: pg.baseline

/// Returns less their mean over the batch.
///
/// ID `pg.batch-mean-baseline`: `out_i = R_i - mean(R)`. The mean contains `R_i`, so that the expected estimate is `(N - 1) / N` of the gradient, and
/// 0 for a single sample. Samples from different states share one number, which is no baseline per state: the variance
/// between states stays.
///
/// Shapes: `return_` and `out` `[N]`; `out` is overwritten.
///
/// # Panics
/// If the lengths differ.
///
/// Source: R. J. Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning.
// ANCHOR: pg.batch-mean-baseline
pub fn center<F: Real>(return_: &[F], out: &mut [F]) {
    same_length(return_, out);
    let mean = return_.iter().copied().sum::<F>() / F::of(return_.len() as f64);
    for (out, &r) in out.iter_mut().zip(return_) {
        *out = r - mean;
    }
}

/// Returns less the mean of the *others* in the batch.
///
/// ID `pg.batch-mean-baseline`: `out_i = R_i - sum_{j != i} R_j / (N - 1) = N / (N - 1) (R_i - mean(R))`: unbiased. A single sample has no others
/// and keeps its return.
///
/// Shapes: `return_` and `out` `[N]`; `out` is overwritten.
///
/// # Panics
/// If the lengths differ.
///
/// Source: W. Kool, H. van Hoof, M. Welling (2019), Buy 4 REINFORCE Samples, Get a Baseline for Free!
pub fn leave_one_out<F: Real>(return_: &[F], out: &mut [F]) {
    same_length(return_, out);
    if return_.len() < 2 {
        out.copy_from_slice(return_);
        return;
    }
    center(return_, out);
    let n = F::of(return_.len() as f64);
    for out in out {
        *out *= n / (n - F::one());
    }
}
// ANCHOR_END: pg.batch-mean-baseline

#[track_caller]
fn same_length<F>(return_: &[F], out: &[F]) {
    assert!(return_.len() == out.len(), "return_ has {} entries but out has {}", return_.len(), out.len());
}

/// Means of the returns by the number of the step within its episode, each without the sample itself.
///
/// A baseline `b_t` that knows the time and nothing else; every episode gets that of the other episodes, so it is unbiased whatever
/// their lengths. Reuses its buffers.
#[derive(Clone, Debug, Default)]
pub struct TimeBaseline<F> {
    sum: Vec<F>,
    count: Vec<usize>,
}

impl<F: Real> TimeBaseline<F> {
    /// For episodes of at most `max_steps` steps without allocating; longer ones grow the buffers.
    pub fn new(max_steps: usize) -> Self {
        TimeBaseline { sum: vec![F::zero(); max_steps], count: vec![0; max_steps] }
    }

    /// Writes the baseline of every sample: the mean of the other returns at the same step, 0 where there is none.
    ///
    /// ID `pg.baseline`.
    ///
    /// Shapes: `step`, `return_` and `out` `[B]`; `step` counts from the start of the episode
    /// ([`super::weights::episode_step`]); `out` is overwritten.
    ///
    /// # Panics
    /// If two lengths differ.
    ///
    /// Source: E. Greensmith, P. L. Bartlett, J. Baxter (2004), Variance Reduction Techniques for Gradient Estimates in
    /// Reinforcement Learning.
    pub fn leave_one_out(&mut self, step: &[usize], return_: &[F], out: &mut [F]) {
        same_length(return_, out);
        assert!(
            step.len() == return_.len(),
            "step has {} entries but return_ has {}",
            step.len(),
            return_.len()
        );
        let needed = step.iter().max().map_or(0, |&t| t + 1).max(self.sum.len());
        self.sum.resize(needed, F::zero());
        self.count.resize(needed, 0);
        self.sum.fill(F::zero());
        self.count.fill(0);
        for (&t, &g) in step.iter().zip(return_) {
            self.sum[t] += g;
            self.count[t] += 1;
        }
        for ((out, &t), &g) in out.iter_mut().zip(step).zip(return_) {
            let others = self.count[t] - 1;
            *out = if others == 0 { F::zero() } else { (self.sum[t] - g) / F::of(others as f64) };
        }
    }
}

/// The constant that minimises the variance of one-step estimates `(R - b) grad log pi`.
///
/// ID `pg.baseline-optimal`: `b* = E[|score|^2 R] / E[|score|^2]`, the mean reward weighted by how long the score is. The value `E[R]` is
/// best only where reward and squared length are uncorrelated, and may be worse than no baseline at all.
///
/// Shapes: `prob`, `square_norm` and `reward` `[n]`, one entry per outcome. Without any score (a sure policy) it is 0.
///
/// # Panics
/// If two lengths differ.
///
/// Source: E. Greensmith, P. L. Bartlett, J. Baxter (2004), Variance Reduction Techniques for Gradient Estimates in
/// Reinforcement Learning; L. Weaver, N. Tao (2001), The Optimal Reward Baseline for Gradient-Based
/// Reinforcement Learning.
// ANCHOR: pg.baseline-optimal
pub fn optimal<F: Real>(prob: &[F], square_norm: &[F], reward: &[F]) -> F {
    same_outcomes(prob, square_norm, reward);
    let (mut weighted, mut total) = (F::zero(), F::zero());
    for ((&p, &square), &r) in prob.iter().zip(square_norm).zip(reward) {
        weighted += p * square * r;
        total += p * square;
    }
    if total > F::zero() { weighted / total } else { F::zero() }
}

/// How much more variance the one-step estimate has with another constant than with the best one.
///
/// ID `pg.baseline-optimal`: `tr Cov` is a parabola, `tr Cov(b) - tr Cov(b*) = E[|score|^2] (b - b*)^2`.
///
/// Shapes: `prob`, `square_norm` and `reward` `[n]`.
///
/// # Panics
/// If two lengths differ.
///
/// Source: E. Greensmith, P. L. Bartlett, J. Baxter (2004), Variance Reduction Techniques for Gradient Estimates in
/// Reinforcement Learning.
pub fn excess_variance<F: Real>(prob: &[F], square_norm: &[F], reward: &[F], baseline: F) -> F {
    let off = baseline - optimal(prob, square_norm, reward);
    prob.iter().zip(square_norm).map(|(&p, &square)| p * square).sum::<F>() * off * off
}
// ANCHOR_END: pg.baseline-optimal

#[track_caller]
fn same_outcomes<F>(prob: &[F], square_norm: &[F], reward: &[F]) {
    let n = prob.len();
    assert!(n == square_norm.len(), "prob has {n} entries but square_norm has {}", square_norm.len());
    assert!(n == reward.len(), "prob has {n} entries but reward has {}", reward.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn others_are_compared_with_and_oneself_is_not() {
        let mut out = [f64::NAN; 3];
        center(&[1.0, 2.0, 6.0], &mut out);
        assert_eq!(out, [-2.0, -1.0, 3.0]);
        leave_one_out(&[1.0, 2.0, 6.0], &mut out);
        assert_eq!(out, [-3.0, -1.5, 4.5]);
        let mut one = [f64::NAN];
        center(&[7.0], &mut one);
        assert_eq!(one, [0.0]);
        leave_one_out(&[7.0], &mut one);
        assert_eq!(one, [7.0]);
    }

    #[test]
    fn times_are_kept_apart() {
        let mut out = [f64::NAN; 5];
        let mut baseline = TimeBaseline::new(1);
        baseline.leave_one_out(&[0, 1, 0, 0, 2], &[1.0, 9.0, 2.0, 6.0, 3.0], &mut out);
        assert_eq!(out, [4.0, 0.0, 3.5, 1.5, 0.0]);
        baseline.leave_one_out(&[0, 0], &[1.0, 9.0], &mut out[..2]);
        assert_eq!(out[..2], [9.0, 1.0]);
        let mut weight = array![[1.0, 2.0]];
        subtract(&mut weight, &array![[0.5, 4.0]]);
        assert_eq!(weight, array![[0.5, -2.0]]);
    }

    #[test]
    fn the_value_may_be_a_worse_baseline_than_none() {
        // Two actions, p = 0.9, scalar logit: scores 0.1 and -0.9.
        let (prob, square, reward) = ([0.9, 0.1], [0.01, 0.81], [1.0, 0.0]);
        assert!((optimal(&prob, &square, &reward) - 0.1f64).abs() < 1e-15);
        let excess = |b: f64| excess_variance(&prob, &square, &reward, b);
        assert!((excess(0.0) - 0.0009).abs() < 1e-15 && (excess(0.9) - 0.0576).abs() < 1e-15);
        assert_eq!(optimal(&[1.0], &[0.0], &[3.0]), 0.0);
    }
}
