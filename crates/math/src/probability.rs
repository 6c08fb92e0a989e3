//! Expectations over finite laws, their Monte Carlo estimates, and importance sampling.
//!
//! Exact functions take a law `[n]` and validate it ([`NotALaw`]); estimators take what was sampled.

use crate::Real;
use crate::divergence::{NotALaw, chi_squared, validate, validate_entries};
use ndarray::ArrayRef2;
use std::error::Error;
use std::fmt;

#[track_caller]
fn same_length<A, B>(name: &str, a: &[A], other: &str, b: &[B]) {
    assert!(a.len() == b.len(), "{name} has {} entries but {other} has {}", a.len(), b.len());
}

/// The mean of `value` under `prob`.
///
/// ID `prob.expectation-sum`: `E[f(X)] = sum_x p(x) f(x)`, linear in `f`. Outcomes of probability 0 do not count,
/// whatever their value.
///
/// Shapes: both `[n]`.
///
/// # Errors
/// [`NotALaw`].
///
/// # Panics
/// If the lengths differ.
///
/// Source: A. N. Kolmogorov (1933), Grundbegriffe der Wahrscheinlichkeitsrechnung.
// ANCHOR: prob.expectation-sum
pub fn expectation<F: Real>(prob: &[F], value: &[F]) -> Result<F, NotALaw> {
    same_length("prob", prob, "value", value);
    validate(prob)?;
    Ok(weighted_sum(prob, value))
}

/// The law of `f(X)`: each value that occurs, in ascending order, with its probability.
///
/// ID `prob.expectation-sum`: `E[f(X)] = sum_y y Pr(f(X) = y)`.
///
/// Shapes: both `[n]`.
///
/// # Errors
/// [`NotALaw`].
///
/// # Panics
/// If the lengths differ or a value that can occur is NaN.
///
/// Source: A. N. Kolmogorov (1933), Grundbegriffe der Wahrscheinlichkeitsrechnung.
pub fn push_forward<F: Real>(prob: &[F], value: &[F]) -> Result<Vec<(F, F)>, NotALaw> {
    same_length("prob", prob, "value", value);
    validate(prob)?;
    let occurring = prob.iter().zip(value).filter(|(p, _)| **p > F::zero());
    let mut pairs: Vec<(F, F)> = occurring.map(|(&p, &y)| (y, p)).collect();
    pairs.sort_by(|a, b| a.0.partial_cmp(&b.0).expect("no value is NaN"));
    pairs.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    Ok(pairs)
}
// ANCHOR_END: prob.expectation-sum

fn weighted_sum<F: Real>(prob: &[F], value: &[F]) -> F {
    prob.iter().zip(value).filter(|(p, _)| **p > F::zero()).map(|(&p, &f)| p * f).sum()
}

/// Mean and variance of a law.
fn moments<F: Real>(prob: &[F], value: &[F]) -> (F, F) {
    let mean = weighted_sum(prob, value);
    let square = |(&p, &f): (&F, &F)| p * (f - mean) * (f - mean);
    (mean, prob.iter().zip(value).filter(|(p, _)| **p > F::zero()).map(square).sum())
}

/// The moments of `X`, taken apart by what `Y` tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Decomposition<F> {
    /// `E[E[X | Y]] = E[X]`.
    pub mean: F,
    /// `E[Var(X | Y)]`.
    pub within: F,
    /// `Var(E[X | Y])`.
    pub between: F,
}

impl<F: Real> Decomposition<F> {
    /// `Var(X)`.
    pub fn variance(&self) -> F {
        self.within + self.between
    }
}

/// Mean and variance of `X` by way of its conditional moments.
///
/// ID `prob.total-expectation`: `E[X] = sum_y Pr(y) E[X | y]` and `Var X = E[Var(X | Y)] + Var(E[X | Y])`, over the `y`
/// that can occur.
///
/// Shapes: `joint` `[m, n]` holds `Pr(Y = y, X = value_x)`, `value` is `[n]`.
///
/// # Errors
/// [`NotALaw`].
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: A. N. Kolmogorov (1933), Grundbegriffe der Wahrscheinlichkeitsrechnung.
// ANCHOR: prob.total-expectation
pub fn total_expectation<F: Real>(joint: &ArrayRef2<F>, value: &[F]) -> Result<Decomposition<F>, NotALaw> {
    let (rows, n) = joint.dim();
    assert!(n == value.len(), "joint has {n} columns but value has {} entries", value.len());
    validate_entries(joint.iter().copied())?;
    let mut marginal = Vec::with_capacity(rows);
    let mut conditional_mean = Vec::with_capacity(rows);
    let mut within = F::zero();
    for row in joint.rows() {
        let prob_y = row.sum();
        if prob_y > F::zero() {
            let conditional: Vec<F> = row.iter().map(|&p| p / prob_y).collect();
            let (mean, variance) = moments(&conditional, value);
            within += prob_y * variance;
            marginal.push(prob_y);
            conditional_mean.push(mean);
        }
    }
    let (mean, between) = moments(&marginal, &conditional_mean);
    Ok(Decomposition { mean, within, between })
}
// ANCHOR_END: prob.total-expectation

/// Why a derivative does not pass through a sum over outcomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoSwap {
    /// The probabilities are no law.
    Law(NotALaw),
    /// An outcome of probability 0 is about to get some: the support depends on the parameter.
    Outcome {
        /// Which outcome.
        index: usize,
        /// Which parameter.
        parameter: usize,
    },
    /// The derivatives of the probabilities do not add up to 0: mass leaves the support.
    Mass {
        /// Which parameter.
        parameter: usize,
        /// What they add up to.
        sum: f64,
    },
}

impl fmt::Display for NoSwap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoSwap::Law(fault) => write!(f, "{fault}"),
            NoSwap::Outcome { index, parameter } => {
                write!(f, "outcome {index} has probability 0 but a slope in parameter {parameter}")
            }
            NoSwap::Mass { parameter, sum } => {
                write!(f, "the slopes in parameter {parameter} add up to {sum}: mass leaves the support")
            }
        }
    }
}

impl Error for NoSwap {}

/// The gradient of an expectation, as the sum of the gradients of its terms.
///
/// ID `prob.grad-sum-swap`: `d/dtheta sum_x p_theta(x) f(x) = sum_x (d p_theta(x) / dtheta) f(x)` for a finite support
/// that does not depend on `theta`. That it does not is tested: on a fixed support the slopes of the probabilities add
/// up to 0, and an outcome of probability 0 has none. The uniform law on `[0, theta]` fails this test, and the swap
/// would even get the sign of its mean's derivative wrong.
///
/// Shapes: `prob` and `value` `[n]`, `d_prob` `[k, n]` (row `j` the derivative in parameter `j`), `out` `[k]`,
/// overwritten.
///
/// # Errors
/// [`NoSwap`].
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: P. L'Ecuyer (1990), A Unified View of the IPA, SF, and LR Gradient Estimation Techniques.
// ANCHOR: prob.grad-sum-swap
pub fn d_expectation<F: Real>(
    prob: &[F],
    d_prob: &ArrayRef2<F>,
    value: &[F],
    out: &mut [F],
) -> Result<(), NoSwap> {
    same_length("prob", prob, "value", value);
    let (k, n) = d_prob.dim();
    assert!(n == prob.len(), "d_prob has {n} columns but prob has {} entries", prob.len());
    assert!(k == out.len(), "d_prob has {k} rows but out has {} entries", out.len());
    validate(prob).map_err(NoSwap::Law)?;
    for (parameter, (slope, out)) in d_prob.rows().into_iter().zip(out).enumerate() {
        let moving = |i: &usize| prob[*i] == F::zero() && slope[*i] != F::zero();
        if let Some(index) = (0..n).find(moving) {
            return Err(NoSwap::Outcome { index, parameter });
        }
        let (sum, size) = (slope.sum(), slope.iter().map(|d| d.abs()).sum::<F>());
        // Written so that NaN is refused.
        let epsilon = F::of(32.0) * F::epsilon();
        let conserved = sum.abs() <= F::of(1e-9).max(epsilon) * size + epsilon;
        if !conserved {
            return Err(NoSwap::Mass { parameter, sum: Real::to_f64(sum) });
        }
        *out = slope.iter().zip(value).filter(|(d, _)| **d != F::zero()).map(|(&d, &f)| d * f).sum();
    }
    Ok(())
}

/// The slopes of softmax probabilities in their logits, for [`d_expectation`].
///
/// ID `prob.grad-sum-swap`: `d p_a / d z_b = p_a (1[a = b] - p_b)` in row `b`, column `a`.
///
/// Shapes: `prob` `[n]`, `out` `[n, n]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: J. S. Bridle (1990), Probabilistic Interpretation of Feedforward Classification Network Outputs.
pub fn softmax_slopes<F: Real>(prob: &[F], out: &mut ArrayRef2<F>) {
    let n = prob.len();
    assert!(out.dim() == (n, n), "prob has {n} entries but out has shape {:?}", out.dim());
    for ((b, a), out) in out.indexed_iter_mut() {
        *out = if a == b { prob[a] * (F::one() - prob[a]) } else { -prob[a] * prob[b] };
    }
}
// ANCHOR_END: prob.grad-sum-swap

/// A sample mean and how far it may be off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate<F> {
    /// The mean of the samples.
    pub mean: F,
    /// The estimated standard deviation of that mean: `sqrt(s^2 / N)` with `s^2 = sum_i (f_i - mean)^2 / (N - 1)`.
    /// Infinite for one sample, which says nothing about its spread.
    pub standard_error: F,
}

/// The Monte Carlo estimate of an expectation from independent samples.
///
/// ID `prob.mc-mean`: `mean = (1/N) sum_i f(x_i)` is unbiased, with variance `Var(f) / N`.
///
/// Shape: `[N]`, one value per sample. Two passes, so that a large mean does not swallow a small spread.
///
/// # Panics
/// If there is no sample.
///
/// Source: N. Metropolis, S. Ulam (1949), The Monte Carlo Method.
// ANCHOR: prob.mc-mean
pub fn mc_mean<F: Real>(sample: &[F]) -> Estimate<F> {
    assert!(!sample.is_empty(), "a mean needs at least one sample");
    let n = F::of(sample.len() as f64);
    let mean = sample.iter().copied().sum::<F>() / n;
    if sample.len() == 1 {
        return Estimate { mean, standard_error: F::infinity() };
    }
    let variance = sample.iter().map(|&f| (f - mean) * (f - mean)).sum::<F>() / (n - F::one());
    Estimate { mean, standard_error: (variance / n).sqrt() }
}

/// The exact mean and variance of the Monte Carlo estimate from `samples` independent draws.
///
/// ID `prob.mc-mean`: `E f` and `Var(f) / N`.
///
/// Shapes: both `[n]`.
///
/// # Errors
/// [`NotALaw`].
///
/// # Panics
/// If the lengths differ or `samples` is 0.
///
/// Source: N. Metropolis, S. Ulam (1949), The Monte Carlo Method.
pub fn mc_moments<F: Real>(prob: &[F], value: &[F], samples: usize) -> Result<(F, F), NotALaw> {
    same_length("prob", prob, "value", value);
    assert!(samples > 0, "a mean needs at least one sample");
    validate(prob)?;
    let (mean, variance) = moments(prob, value);
    Ok((mean, variance / F::of(samples as f64)))
}
// ANCHOR_END: prob.mc-mean

/// What importance sampling gives with infinitely many samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reweighted<F> {
    /// `E_q[(p / q) f]`.
    pub value: F,
    /// `E_q[p / q] = Pr_p(q > 0)`: 1 exactly where `q` covers `p`. Less than 1 is the sign of a missing outcome, which
    /// `value` alone does not show.
    pub weight_mean: F,
    /// Whether `q > 0` wherever `p f` is not 0, so that `value` is `E_p[f]`.
    pub covered: bool,
}

/// The expectation of importance sampling.
///
/// ID `prob.importance-sampling`: `E_p[f] = E_q[(p / q) f]` if `q > 0` wherever `p f` is not 0. The sum runs over what
/// `q` can draw.
///
/// Shapes: all `[n]`.
///
/// # Errors
/// [`NotALaw`].
///
/// # Panics
/// If two lengths differ.
///
/// Source: H. Kahn, A. W. Marshall (1953), Methods of Reducing Sample Size in Monte Carlo Computations.
// ANCHOR: prob.importance-sampling
pub fn reweighted<F: Real>(p: &[F], q: &[F], value: &[F]) -> Result<Reweighted<F>, NotALaw> {
    same_length("p", p, "q", q);
    same_length("p", p, "value", value);
    validate(p)?;
    validate(q)?;
    let mut out = Reweighted { value: F::zero(), weight_mean: F::zero(), covered: true };
    for ((&p, &q), &f) in p.iter().zip(q).zip(value) {
        if q > F::zero() && p > F::zero() {
            let weight = p / q;
            out.value += q * weight * f;
            out.weight_mean += q * weight;
        } else if p > F::zero() && f != F::zero() {
            out.covered = false;
        }
    }
    Ok(out)
}

/// The estimates of `E_p[f]` from samples of `q`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImportanceSampling<F> {
    /// `(1/N) sum_i w_i f_i`: unbiased.
    pub plain: Estimate<F>,
    /// `sum_i w_i f_i / sum_i w_i`: biased by `O(1/N)`, and indifferent to the scale of the weights. NaN if all weights
    /// are 0.
    pub self_normalised: F,
    /// `(sum_i w_i)^2 / sum_i w_i^2`, from 1 to `N`: how many samples of `p` itself would be worth as much. 0 if all
    /// weights are 0.
    pub effective_sample_size: F,
    /// `(1/N) sum_i w_i`, whose expectation is `Pr_p(q > 0)`: far from 1 where `q` misses a part of `p`.
    pub weight: Estimate<F>,
}

/// Importance sampling: `weight_i = p(x_i) / q(x_i)` and `value_i = f(x_i)` of samples `x_i` from `q`.
///
/// ID `prob.importance-sampling`: see [`ImportanceSampling`].
///
/// Shapes: both `[N]`.
///
/// # Panics
/// If the lengths differ or there is no sample.
///
/// Source: H. Kahn, A. W. Marshall (1953), Methods of Reducing Sample Size in Monte Carlo Computations; A. Kong (1992),
/// A Note on Importance Sampling using Standardized Weights (the effective sample size).
pub fn importance_sampling<F: Real>(weight: &[F], value: &[F]) -> ImportanceSampling<F> {
    same_length("weight", weight, "value", value);
    let product: Vec<F> = weight.iter().zip(value).map(|(&w, &f)| w * f).collect();
    let total = weight.iter().copied().sum::<F>();
    ImportanceSampling {
        plain: mc_mean(&product),
        self_normalised: product.iter().copied().sum::<F>() / total,
        effective_sample_size: effective_sample_size(weight),
        weight: mc_mean(weight),
    }
}

/// `(sum_i w_i)^2 / sum_i w_i^2` (Kong 1992), 0 if all weights `[N]` are 0; not changed by their scale.
pub fn effective_sample_size<F: Real>(weight: &[F]) -> F {
    let largest = weight.iter().fold(F::zero(), |m, &w| if m > w { m } else { w });
    if largest == F::zero() {
        return F::zero();
    }
    // Divided by the largest, no square overflows.
    let scaled = || weight.iter().map(|&w| w / largest);
    let total = scaled().sum::<F>();
    total * total / scaled().map(|w| w * w).sum::<F>()
}
// ANCHOR_END: prob.importance-sampling

/// The second moment of an importance weight.
///
/// ID `prob.is-variance`: `E_q[(p / q)^2] = 1 + chi2(p || q)`; `+inf` where `q` misses an outcome of `p`, although a
/// sampler of `q` would never notice.
///
/// Shapes: both `[n]`.
///
/// # Errors
/// [`NotALaw`].
///
/// # Panics
/// If the lengths differ.
///
/// Source: A. Kong (1992), A Note on Importance Sampling using Standardized Weights.
// ANCHOR: prob.is-variance
pub fn second_moment<F: Real>(p: &[F], q: &[F]) -> Result<F, NotALaw> {
    Ok(F::one() + chi_squared(p, q)?)
}

/// The second moment of the product of independent weights: the product of their second moments.
///
/// ID `prob.is-variance`: with the same two laws in each of `T` steps it is the `T`-th power, exponential in the
/// horizon.
///
/// Shape: `[T]`, one second moment per step.
///
/// Source: A. B. Owen (2013), Monte Carlo Theory, Methods and Examples, chapter 9.
pub fn product_second_moment<F: Real>(step: &[F]) -> F {
    step.iter().fold(F::one(), |product, &m| product * m)
}

/// The variance of one weighted sample.
///
/// ID `prob.is-variance`: `Var_q((p / q) f) = sum_x p^2 f^2 / q - (E_p f)^2`; `+inf` where `q` misses an outcome with
/// `p f` not 0.
///
/// Shapes: all `[n]`.
///
/// # Errors
/// [`NotALaw`].
///
/// # Panics
/// If two lengths differ.
///
/// Source: H. Kahn, A. W. Marshall (1953), Methods of Reducing Sample Size in Monte Carlo Computations.
pub fn weighted_variance<F: Real>(p: &[F], q: &[F], value: &[F]) -> Result<F, NotALaw> {
    same_length("p", p, "q", q);
    validate(q)?;
    let mean = expectation(p, value)?;
    let mut variance = F::zero();
    for ((&p, &q), &f) in p.iter().zip(q).zip(value) {
        if q > F::zero() {
            // Centred: the same sum, without the cancellation.
            let deviation = p / q * f - mean;
            variance += q * deviation * deviation;
        } else if p > F::zero() && f != F::zero() {
            return Ok(F::infinity());
        }
    }
    Ok(variance)
}
// ANCHOR_END: prob.is-variance

/// The probability ratios of all beginnings of a trajectory under two policies.
///
/// ID `prob.is-trajectory`: `out[t] = prod_{k <= t} pi(a_k | s_k) / pi_old(a_k | s_k)`. Dynamics and initial law
/// cancel, so the last entry is the ratio of the whole trajectory, and `E_old[out[t] f(s_t, a_t)] = E_pi[f(s_t, a_t)]`.
/// The ratio of step `t` alone does not correct the law of `s_t`.
///
/// Shapes: all `[T]`; `out` is overwritten. Sums of logarithms, so that only the result can overflow.
///
/// # Panics
/// If two lengths differ.
///
/// Source: D. Precup, R. S. Sutton, S. Singh (2000), Eligibility Traces for Off-Policy Policy Evaluation.
// ANCHOR: prob.is-trajectory
pub fn trajectory_ratios<F: Real>(log_prob: &[F], old_log_prob: &[F], out: &mut [F]) {
    same_length("log_prob", log_prob, "old_log_prob", old_log_prob);
    same_length("log_prob", log_prob, "out", out);
    let mut log_ratio = F::zero();
    for ((out, &new), &old) in out.iter_mut().zip(log_prob).zip(old_log_prob) {
        log_ratio += new - old;
        *out = log_ratio.exp();
    }
}
// ANCHOR_END: prob.is-trajectory

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn values_that_coincide_are_one_outcome() {
        let (p, f) = ([0.25f64, 0.5, 0.25, 0.0], [3.0, -1.0, 3.0, f64::INFINITY]);
        assert_eq!(push_forward(&p, &f), Ok(vec![(-1.0, 0.5), (3.0, 0.5)]));
        assert_eq!(expectation(&p, &f), Ok(1.0));
    }

    #[test]
    fn conditional_means_count_by_their_probability() {
        let law = total_expectation(&array![[0.2, 0.0], [0.0, 0.8], [0.0, 0.0]], &[1.0f64, 2.0]).unwrap();
        assert!((law.mean - 1.8).abs() < 1e-15 && law.within == 0.0 && (law.variance() - 0.16).abs() < 1e-15);
    }

    #[test]
    fn a_moving_support_is_refused() {
        // U[0, theta] on a grid of its own support, theta = 1: p = 1 / (n theta), slope -1 / (n theta^2).
        let n = 100;
        let x: Vec<f64> = (0..n).map(|i| (f64::from(i) + 0.5) / f64::from(n)).collect();
        let (p, slope) = (vec![0.01; 100], Array2::from_elem((1, 100), -0.01));
        let mut out = [0.0];
        assert!(matches!(d_expectation(&p, &slope, &x, &mut out), Err(NoSwap::Mass { parameter: 0, .. })));
        let swapped: f64 = slope.iter().zip(&x).map(|(d, x)| d * x).sum();
        assert!((swapped + 0.5).abs() < 1e-12);
        let fault = d_expectation(&[1.0, 0.0], &array![[-1.0, 1.0]], &[0.0, 1.0], &mut out);
        assert_eq!(fault, Err(NoSwap::Outcome { index: 1, parameter: 0 }));
        d_expectation(&[0.5, 0.5], &array![[0.25, -0.25]], &[4.0, 0.0], &mut out).unwrap();
        assert_eq!(out, [1.0]);
        let (p, mut slopes, mut grad) = ([0.25, 0.75], Array2::zeros((2, 2)), [0.0; 2]);
        softmax_slopes(&p, &mut slopes);
        d_expectation(&p, &slopes, &[4.0, 0.0], &mut grad).unwrap();
        assert_eq!(grad, [0.75, -0.75]);
        let nearly_sure = [1.0 - 1e-13, 1e-13];
        softmax_slopes(&nearly_sure, &mut slopes);
        assert!(d_expectation(&nearly_sure, &slopes, &[4.0, 0.0], &mut grad).is_ok());
    }

    #[test]
    fn the_standard_error_falls_with_the_root_of_the_number() {
        let got = mc_mean(&[1.0f64, 2.0, 3.0, 6.0]);
        assert_eq!(got.mean, 3.0);
        assert!((got.standard_error - (14.0f64 / 12.0).sqrt()).abs() < 1e-15);
        assert_eq!(mc_mean(&[2.0f32]), Estimate { mean: 2.0, standard_error: f32::INFINITY });
        assert_eq!(mc_moments(&[0.5f64, 0.5], &[0.0, 2.0], 4), Ok((1.0, 0.25)));
    }

    #[test]
    fn a_missing_outcome_shows_in_the_mean_weight() {
        let (p, q, f) = ([0.5f64, 0.5], [1.0, 0.0], [1.0, 3.0]);
        let got = reweighted(&p, &q, &f).unwrap();
        assert_eq!(got, Reweighted { value: 0.5, weight_mean: 0.5, covered: false });
        assert_eq!(second_moment(&p, &q), Ok(f64::INFINITY));
        assert_eq!(weighted_variance(&p, &q, &f), Ok(f64::INFINITY));
        assert!(reweighted(&p, &q, &[1.0, 0.0]).unwrap().covered);
    }

    #[test]
    fn estimates_of_four_weighted_samples() {
        let got = importance_sampling(&[0.5f64, 0.5, 1.0, 2.0], &[1.0, 3.0, 2.0, 1.0]);
        assert_eq!((got.plain.mean, got.self_normalised, got.weight.mean), (1.5, 1.5, 1.0));
        assert!((got.effective_sample_size - 16.0 / 5.5).abs() < 1e-15);
        assert_eq!(effective_sample_size(&[3e38f32; 5]), 5.0);
        assert_eq!(effective_sample_size(&[0.0f32; 5]), 0.0);
    }

    #[test]
    fn weights_spread_exponentially_with_the_horizon() {
        let step = second_moment(&[0.6f64, 0.4], &[0.5, 0.5]).unwrap();
        assert!((step - 1.04).abs() < 1e-15);
        assert!((product_second_moment(&[step; 50]) - 7.107).abs() < 1e-3);
        let (p, f) = ([0.25f64, 0.75], [1.0, 5.0]);
        assert!((weighted_variance(&p, &p, &f).unwrap() - 3.0).abs() < 1e-15);
    }

    #[test]
    fn the_ratio_of_a_trajectory_is_the_product_of_its_steps() {
        let mut out = [0.0; 3];
        let log = |x: [f64; 3]| x.map(f64::ln);
        trajectory_ratios(&log([0.5, 0.2, 0.9]), &log([0.25, 0.4, 0.6]), &mut out);
        for (got, want) in out.iter().zip([2.0, 1.0, 1.5]) {
            assert!((got - want).abs() < 1e-14);
        }
    }
}
