//! The surrogate objective of one large step, on vectors.

use rederive_math::{Real, multiversion};

/// How much a policy gains on the old one in the surrogate `mean(rho A)`, `rho = pi / pi_old`: the mean of `(rho - 1) A`.
///
/// At the old policy it is 0, and its gradient at `log_prob` is `A / B` ([`gradient`]). Summed in `f64`.
///
/// Shapes: all `[B]`.
///
/// # Panics
/// If a length differs.
///
/// Source: J. Schulman, S. Levine, P. Moritz, M. Jordan, P. Abbeel (2015), Trust Region Policy Optimization, equation 14.
pub fn gain<F: Real>(log_prob: &[F], old_log_prob: &[F], advantage: &[F]) -> f64 {
    assert_eq!(log_prob.len(), old_log_prob.len(), "log_prob against old_log_prob");
    assert_eq!(log_prob.len(), advantage.len(), "log_prob against advantage");
    weighted_ratios(log_prob, old_log_prob, advantage) / log_prob.len() as f64
}

multiversion! {
    fn weighted_ratios<F: Real>(log_prob: &[F], old_log_prob: &[F], advantage: &[F]) -> f64 {
        let mut partial = [0.0f64; 16];
        for ((new, old), advantage) in log_prob.chunks(16).zip(old_log_prob.chunks(16)).zip(advantage.chunks(16)) {
            for (((s, &new), &old), &a) in partial.iter_mut().zip(new).zip(old).zip(advantage) {
                *s += Real::to_f64(((new - old).vexp() - F::one()) * a);
            }
        }
        let mut total = 0.0;
        for s in partial {
            total += s;
        }
        total
    }
}

/// The gradient of [`gain`] at the log-probabilities, at the old policy: `A / B`.
///
/// # Panics
/// If the lengths differ.
pub fn gradient<F: Real>(advantage: &[F], d_log_prob: &mut [F]) {
    assert_eq!(advantage.len(), d_log_prob.len(), "advantage against d_log_prob");
    let per_sample = F::of(advantage.len() as f64).recip();
    for (d, &a) in d_log_prob.iter_mut().zip(advantage) {
        *d = a * per_sample;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gain_of_two_samples() {
        let (old, new) = ([0.5f64.ln(), 0.25f64.ln()], [0.75f64.ln(), 0.125f64.ln()]);
        // Ratios 1.5 and 0.5.
        assert!((gain(&new, &old, &[2.0, -1.0]) - 0.5 * (1.0 + 0.5)).abs() < 1e-15);
        assert_eq!(gain(&old, &old, &[2.0, -1.0]), 0.0);
        let mut d = [0.0; 2];
        gradient(&[2.0, -1.0], &mut d);
        assert_eq!(d, [1.0, -0.5]);
    }
}
