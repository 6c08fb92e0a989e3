//! The diagonal Gaussian over `D` independent dimensions, with parameters mean `m` and log standard deviation `s` `[D]`:
//! `log pi(x) = sum_d -(x - m)^2 / (2 e^(2s)) - s - log(2 pi) / 2`.

use crate::{Real, Stream};

/// `log(2 pi) / 2`, the normaliser of one dimension.
fn half_log_two_pi<F: Real>() -> F {
    F::of(0.5 * (2.0 * std::f64::consts::PI).ln())
}

/// Asserts that the three parts of a row have the same length.
fn check<F: Real>(mean: &[F], log_std: &[F], other: &[F], name: &str) {
    assert_eq!(mean.len(), log_std.len(), "mean against log_std");
    assert_eq!(mean.len(), other.len(), "mean against {name}");
}

// ANCHOR: policy.gaussian
/// The log-density of `action` (`policy.gaussian`), summed over dimensions; all slices are `[D]`.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub fn log_prob<F: Real>(mean: &[F], log_std: &[F], action: &[F]) -> F {
    check(mean, log_std, action, "action");
    let half = F::of(0.5);
    mean.iter()
        .zip(log_std)
        .zip(action)
        .map(|((&m, &s), &x)| {
            let z = (x - m) * (-s).exp();
            -half * z * z - s - half_log_two_pi::<F>()
        })
        .sum()
}

/// Adds `scale` times the score to `d_mean` and `d_log_std` `[D]`: `(x - m) / sigma^2` and `(x - m)^2 / sigma^2 - 1`.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub fn add_d_log_prob<F: Real>(
    mean: &[F],
    log_std: &[F],
    action: &[F],
    scale: F,
    d_mean: &mut [F],
    d_log_std: &mut [F],
) {
    check(mean, log_std, action, "action");
    check(mean, log_std, d_mean, "d_mean");
    check(mean, log_std, d_log_std, "d_log_std");
    for d in 0..mean.len() {
        let precision = (-log_std[d]).exp();
        let z = (action[d] - mean[d]) * precision;
        d_mean[d] += scale * z * precision;
        d_log_std[d] += scale * (z * z - F::one());
    }
}

/// `H = sum_d s + log(2 pi e) / 2`, nats. Its derivative is 0 at the mean and 1 at every `log_std`.
pub fn entropy<F: Real>(log_std: &[F]) -> F {
    log_std.iter().map(|&s| s + half_log_two_pi::<F>() + F::of(0.5)).sum()
}

/// `KL(1 || 2) = sum_d s2 - s1 + (sigma1^2 + (m1 - m2)^2) / (2 sigma2^2) - 1/2`, nats.
///
/// # Panics
/// If the lengths differ.
pub fn kl<F: Real>(mean_1: &[F], log_std_1: &[F], mean_2: &[F], log_std_2: &[F]) -> F {
    check(mean_1, log_std_1, mean_2, "mean_2");
    check(mean_2, log_std_2, mean_1, "mean_1");
    let half = F::of(0.5);
    (0..mean_1.len())
        .map(|d| {
            let ratio = (log_std_1[d] - log_std_2[d]).exp();
            let shift = (mean_1[d] - mean_2[d]) * (-log_std_2[d]).exp();
            log_std_2[d] - log_std_1[d] + half * (ratio * ratio + shift * shift - F::one())
        })
        .sum()
}
// ANCHOR_END: policy.gaussian

/// Adds `scale * d KL(1 || 2) / d (m2, s2)` to `d_mean` and `d_log_std` `[D]`.
///
/// # Panics
/// If the lengths differ.
#[allow(clippy::too_many_arguments)] // two distributions of two parameters each, a scale and two gradients
pub fn add_d_kl_second<F: Real>(
    mean_1: &[F],
    log_std_1: &[F],
    mean_2: &[F],
    log_std_2: &[F],
    scale: F,
    d_mean: &mut [F],
    d_log_std: &mut [F],
) {
    check(mean_1, log_std_1, mean_2, "mean_2");
    check(mean_2, log_std_2, d_mean, "d_mean");
    check(mean_2, log_std_2, d_log_std, "d_log_std");
    for d in 0..mean_1.len() {
        let precision = (-log_std_2[d]).exp();
        let ratio = (log_std_1[d] - log_std_2[d]).exp();
        let shift = (mean_2[d] - mean_1[d]) * precision;
        d_mean[d] += scale * shift * precision;
        d_log_std[d] += scale * (F::one() - ratio * ratio - shift * shift);
    }
}

/// Adds `scale * d KL(1 || 2) / d (m1, s1)` to `d_mean` and `d_log_std` `[D]`.
///
/// # Panics
/// If the lengths differ.
#[allow(clippy::too_many_arguments)] // two distributions of two parameters each, a scale and two gradients
pub fn add_d_kl_first<F: Real>(
    mean_1: &[F],
    log_std_1: &[F],
    mean_2: &[F],
    log_std_2: &[F],
    scale: F,
    d_mean: &mut [F],
    d_log_std: &mut [F],
) {
    check(mean_1, log_std_1, mean_2, "mean_2");
    check(mean_1, log_std_2, d_mean, "d_mean");
    check(mean_1, log_std_2, d_log_std, "d_log_std");
    for d in 0..mean_1.len() {
        let precision = (-log_std_2[d]).exp();
        let ratio = (log_std_1[d] - log_std_2[d]).exp();
        d_mean[d] += scale * (mean_1[d] - mean_2[d]) * precision * precision;
        d_log_std[d] += scale * (ratio * ratio - F::one());
    }
}

/// Draws `m + sigma * noise` into `action` `[D]` and returns its log-density. `noise` `[D]` is standard normal in each
/// component; it need not be independent over time.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub fn sample<F: Real>(mean: &[F], log_std: &[F], noise: &[F], action: &mut [F]) -> F {
    check(mean, log_std, noise, "noise");
    check(mean, log_std, action, "action");
    for d in 0..mean.len() {
        action[d] = mean[d] + log_std[d].exp() * noise[d];
    }
    log_prob(mean, log_std, action)
}

/// Samples one action per row of `mean` `[N, D]`, each row from its own stream, with one `log_std` `[D]` for all; writes the
/// actions `[N, D]` and their log-densities `[N]`.
///
/// # Panics
/// If the lengths do not belong together.
pub fn sample_rows<F: Real>(
    mean: &[F],
    log_std: &[F],
    streams: &mut [Stream],
    action: &mut [F],
    log_prob: &mut [F],
) {
    assert_eq!(mean.len(), action.len(), "mean against action");
    assert_eq!(mean.len(), streams.len() * log_std.len(), "mean against streams times log_std");
    assert_eq!(streams.len(), log_prob.len(), "streams against log_prob");
    let dims = log_std.len();
    for (n, stream) in streams.iter_mut().enumerate() {
        let row = n * dims..(n + 1) * dims;
        for ((x, &m), &s) in action[row.clone()].iter_mut().zip(&mean[row.clone()]).zip(log_std) {
            *x = m + s.exp() * F::of(stream.normal());
        }
        log_prob[n] = self::log_prob(&mean[row.clone()], log_std, &action[row]);
    }
}

/// The log-densities `[B]` of the rows of `action` `[B, D]` under means `[B, D]` and one `log_std` `[D]`.
///
/// # Panics
/// If the lengths do not belong together.
pub fn evaluate<F: Real>(mean: &[F], log_std: &[F], action: &[F], log_prob: &mut [F]) {
    assert_eq!(mean.len(), action.len(), "mean against action");
    assert_eq!(mean.len(), log_prob.len() * log_std.len(), "mean against log_prob times log_std");
    let dims = log_std.len();
    for ((out, m), x) in log_prob.iter_mut().zip(mean.chunks_exact(dims)).zip(action.chunks_exact(dims)) {
        *out = self::log_prob(m, log_std, x);
    }
}

/// The gradient at `mean` (overwritten) and at `log_std` (added to) of a loss with gradient `d_log_prob` `[B]` at the rows'
/// log-densities and `d_entropy` at the one entropy that all rows share.
///
/// # Panics
/// If the lengths do not belong together.
pub fn backward<F: Real>(
    mean: &[F],
    log_std: &[F],
    action: &[F],
    d_log_prob: &[F],
    d_entropy: F,
    d_mean: &mut [F],
    d_log_std: &mut [F],
) {
    assert_eq!(mean.len(), action.len(), "mean against action");
    assert_eq!(mean.len(), d_mean.len(), "mean against d_mean");
    assert_eq!(log_std.len(), d_log_std.len(), "log_std against d_log_std");
    assert_eq!(mean.len(), d_log_prob.len() * log_std.len(), "mean against d_log_prob times log_std");
    d_mean.fill(F::zero());
    let dims = log_std.len();
    for (b, &scale) in d_log_prob.iter().enumerate() {
        let row = b * dims..(b + 1) * dims;
        let (m, x, d) = (&mean[row.clone()], &action[row.clone()], &mut d_mean[row]);
        add_d_log_prob(m, log_std, x, scale, d, d_log_std);
    }
    d_log_std.iter_mut().for_each(|d| *d += d_entropy);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kl_of_two_one_dimensional_gaussians() {
        let got = kl(&[0.3f64], &[0.8f64.ln()], &[-0.5], &[1.3f64.ln()]);
        assert!((got - 0.364206).abs() < 1e-6, "{got}");
    }

    #[test]
    fn dimensions_add_up() {
        let (mean, log_std, x) = ([0.0, 1.0], [0.0, 0.5], [0.3, -1.0]);
        let parts: f64 = (0..2).map(|d| log_prob(&mean[d..=d], &log_std[d..=d], &x[d..=d])).sum();
        assert!((log_prob(&mean, &log_std, &x) - parts).abs() < 1e-15);
        assert!((entropy(&[0.0f64]) - 1.418_938_533_204_672_7).abs() < 1e-15);
    }
}
