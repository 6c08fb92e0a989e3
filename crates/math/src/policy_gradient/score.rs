//! The score, `grad log pi`, and what makes it useful: it turns derivatives of expectations into expectations.

use crate::Real;
use ndarray::{ArrayRef1, ArrayRef2};

/// Adds `scale * d log pi(action) / d theta = scale * (e_action - pi)` to `grad`: the score of a row of softmax logits, from its
/// probabilities.
///
/// Shapes: `prob` and `grad` `[A]`.
///
/// # Panics
/// If the lengths differ or there is no such action.
pub fn add_score<F: Real>(prob: &ArrayRef1<F>, action: usize, scale: F, grad: &mut ArrayRef1<F>) {
    assert!(prob.len() == grad.len(), "prob has {} entries but grad has {}", prob.len(), grad.len());
    grad.scaled_add(-scale, prob);
    grad[action] += scale;
}

/// Adds `scale * sum_a pi(a) w(a) d log pi(a) / d theta` to `grad`: the mean score, each action weighted.
///
/// ID `pg.score-zero-mean`: a weight that is the same for all actions leaves nothing, `sum_a pi(a) grad log pi(a) = 0`, because probabilities
/// keep adding up to 1. A weight that depends on the action leaves its covariance with the score.
///
/// Shapes: `prob`, `weight` and `grad` `[A]`.
///
/// # Panics
/// If two lengths differ.
///
/// Source: R. J. Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning.
// ANCHOR: pg.score-zero-mean
pub fn add_mean_score<F: Real>(
    prob: &ArrayRef1<F>,
    weight: &ArrayRef1<F>,
    scale: F,
    grad: &mut ArrayRef1<F>,
) {
    assert!(prob.len() == weight.len(), "prob has {} entries but weight has {}", prob.len(), weight.len());
    for (action, (&p, &w)) in prob.iter().zip(weight).enumerate() {
        add_score(prob, action, scale * p * w, grad);
    }
}
// ANCHOR_END: pg.score-zero-mean

/// The gradient of `E_p[g]` as an expectation: the log-derivative trick.
///
/// ID `pg.log-derivative`: `grad E_p[g] = E_p[g grad log p] + E_p[grad g]`, for `p > 0` on a fixed support; the second term is there only if `g`
/// depends on the parameters itself.
///
/// Shapes: `prob` and `value` `[n]`; `score` (`d log p(x) / d theta_k`) and `d_value` (`d g(x) / d theta_k`, if `g` moves) `[K, n]`; `out`
/// `[K]`, overwritten. What has probability 0 is never read into a product.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: P. W. Glynn (1990), Likelihood Ratio Gradient Estimation for Stochastic Systems; R. J. Williams (1992), Simple
/// Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning.
// ANCHOR: pg.log-derivative
pub fn d_expectation<F: Real>(
    prob: &[F],
    score: &ArrayRef2<F>,
    value: &[F],
    d_value: Option<&ArrayRef2<F>>,
    out: &mut [F],
) {
    check_table("score", score, out, prob);
    assert!(prob.len() == value.len(), "prob has {} entries but value has {}", prob.len(), value.len());
    if let Some(d_value) = d_value {
        check_table("d_value", d_value, out, prob);
    }
    for (k, out) in out.iter_mut().enumerate() {
        *out = F::zero();
        for (x, &p) in prob.iter().enumerate().filter(|(_, p)| **p > F::zero()) {
            let moved = d_value.map_or(F::zero(), |d_value| d_value[[k, x]]);
            *out += p * (value[x] * score[[k, x]] + moved);
        }
    }
}
// ANCHOR_END: pg.log-derivative

#[track_caller]
fn check_table<F>(name: &str, table: &ArrayRef2<F>, out: &[F], prob: &[F]) {
    assert!(
        table.dim() == (out.len(), prob.len()),
        "{name} has shape {:?} but out has {} entries and prob {}",
        table.dim(),
        out.len(),
        prob.len()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_constant_weight_leaves_nothing() {
        let (prob, mut grad) = (array![0.5, 0.25, 0.25], array![1.0, 1.0, 1.0]);
        add_mean_score(&prob, &array![7.0, 7.0, 7.0], 2.0, &mut grad);
        assert_eq!(grad, array![1.0, 1.0, 1.0]);
        add_mean_score(&prob, &array![4.0, 0.0, 0.0], 1.0, &mut grad);
        assert_eq!(grad, array![2.0, 0.5, 0.5]);
    }

    #[test]
    fn a_value_that_moves_adds_its_own_derivative() {
        let (prob, score) = ([0.5, 0.5, 0.0], array![[1.0, -1.0, f64::NAN]]);
        let mut out = [f64::NAN];
        d_expectation(&prob, &score, &[3.0, 1.0, f64::NAN], None, &mut out);
        assert_eq!(out, [1.0]);
        let moves = array![[1.0, 5.0, f64::NAN]];
        d_expectation(&prob, &score, &[3.0, 1.0, f64::NAN], Some(&*moves), &mut out);
        assert_eq!(out, [4.0]);
    }
}
