//! The value function's regression losses.
//!
//! Both losses carry the factor 1/2 (`vf = 1/2 mean (V - y)^2`), so that one `vf_coef` fits either; libraries that leave the
//! half out reach the same loss with half the coefficient. Targets are constants: no derivative flows through them.

use crate::sum::{BLOCK, Sums};
use crate::{Real, multiversion};

#[track_caller]
fn same_length<A, B>(reference: &str, a: &[A], other: &str, b: &[B]) {
    assert!(a.len() == b.len(), "{reference} has {} entries but {other} has {}", a.len(), b.len());
}

/// At most `BLOCK` samples: their gradients, and their squares.
// ANCHOR: ppo.value-loss
#[inline(always)]
fn mse_block<F: Real>(
    value: &[F],
    target: &[F],
    scale: F,
    d_value: &mut [F],
    Sums([square]): &mut Sums<F, 1>,
) {
    let n = value.len().min(BLOCK);
    let (value, target, d_value) = (&value[..n], &target[..n], &mut d_value[..n]);
    for i in 0..n {
        let error = value[i] - target[i];
        d_value[i] = scale * error;
        square[i] += error * error;
    }
}

multiversion! {
    fn mse_body<F: Real>(value: &[F], target: &[F], d_value: &mut [F]) -> F {
        let scale = F::one() / F::of(value.len() as f64);
        let mut sums = Sums::new();
        for ((v, y), d) in value.chunks(BLOCK).zip(target.chunks(BLOCK)).zip(d_value.chunks_mut(BLOCK)) {
            mse_block(v, y, scale, d, &mut sums);
        }
        let [square] = sums.totals();
        F::of(0.5) * scale * square
    }
}
// ANCHOR_END: ppo.value-loss

/// Half the mean squared error of a value function, and its gradient.
///
/// ID `ppo.value-loss`: `vf = 1/(2B) sum_i (V_i - y_i)^2`, `d_value_i = (V_i - y_i) / B`. Per state the minimiser is the mean
/// target ([`mean_target`]); the half only rescales.
///
/// Shapes: all `[B]`; `d_value` is overwritten. An empty batch has loss 0.
///
/// # Panics
/// If two lengths differ.
///
/// Source: J. Schulman, F. Wolski, P. Dhariwal, A. Radford, O. Klimov (2017), Proximal Policy Optimization Algorithms,
/// equation 9.
#[doc(alias = "value_loss")]
pub fn mse<F: Real>(value: &[F], target: &[F], d_value: &mut [F]) -> F {
    same_length("value", value, "target", target);
    same_length("value", value, "d_value", d_value);
    if value.is_empty() { F::zero() } else { mse_body(value, target, d_value) }
}

/// At most `BLOCK` samples: their gradients, and the larger of their squares.
#[inline(always)]
fn clipped_block<F: Real>(
    value: &[F],
    old_value: &[F],
    target: &[F],
    clip_eps: F,
    scale: F,
    d_value: &mut [F],
    Sums([larger]): &mut Sums<F, 1>,
) {
    let n = value.len().min(BLOCK);
    let (value, old_value, target, d_value) = (&value[..n], &old_value[..n], &target[..n], &mut d_value[..n]);
    for i in 0..n {
        let moved = value[i] - old_value[i];
        let bound = if moved > F::zero() { clip_eps } else { -clip_eps };
        let error = value[i] - target[i];
        let clipped = old_value[i] + bound - target[i];
        let (square, clipped_square) = (error * error, clipped * clipped);
        // Inside the interval both squares are the plain one.
        let flat = (moved.abs() > clip_eps) & (clipped_square > square);
        d_value[i] = if flat { F::zero() } else { scale * error };
        larger[i] += if flat { clipped_square } else { square };
    }
}

multiversion! {
    fn clipped_body<F: Real>(value: &[F], old_value: &[F], target: &[F], clip_eps: F, d_value: &mut [F]) -> F {
        let scale = F::one() / F::of(value.len() as f64);
        let mut sums = Sums::new();
        let batch = value.chunks(BLOCK).zip(old_value.chunks(BLOCK)).zip(target.chunks(BLOCK));
        for (((v, old), y), d) in batch.zip(d_value.chunks_mut(BLOCK)) {
            clipped_block(v, old, y, clip_eps, scale, d, &mut sums);
        }
        let [larger] = sums.totals();
        F::of(0.5) * scale * larger
    }
}

/// The value loss that also clips how far the value moves in one phase, and its gradient.
///
/// `vf = 1/(2B) sum_i max((V_i - y_i)^2, (V_old_i + clip(V_i - V_old_i, -eps, eps) - y_i)^2)`. The gradient flows through the
/// larger square: `(V_i - y_i) / B`, or 0 where the clipped square is larger, since that does not depend on `V_i`.
///
/// Shapes: all `[B]`; `d_value` is overwritten. An empty batch has loss 0.
///
/// # Panics
/// If two lengths differ or `clip_eps` is negative.
///
/// Source: S. Huang, R. Dossa, A. Raffin, A. Kanervisto, W. Wang (2022), The 37 Implementation Details of Proximal Policy
/// Optimization, detail 9.
#[doc(alias = "clip_vloss")]
#[doc(alias = "clip_range_vf")]
pub fn clipped<F: Real>(value: &[F], old_value: &[F], target: &[F], clip_eps: F, d_value: &mut [F]) -> F {
    same_length("value", value, "old_value", old_value);
    same_length("value", value, "target", target);
    same_length("value", value, "d_value", d_value);
    assert!(clip_eps >= F::zero(), "clip_eps is {clip_eps} but must not be negative");
    if value.is_empty() { F::zero() } else { clipped_body(value, old_value, target, clip_eps, d_value) }
}

/// The table that minimises the value loss on frozen targets: per state, the weighted mean target.
///
/// ID `ppo.target-reuse`: however many epochs, a fit to targets that stay fixed ends here, which is one application of the
/// targets' operator to the old values and not the value of the policy. States without data keep their value.
///
/// Shapes: `state`, `target`, `weight` are `[B]`, `value` is `[S]`; weights are not negative.
///
/// # Panics
/// If two lengths differ or a state is outside the table.
///
/// Source: D. Ernst, P. Geurts, L. Wehenkel (2005), Tree-Based Batch Mode Reinforcement Learning (fitted targets).
// ANCHOR: ppo.target-reuse
pub fn mean_target<F: Real>(state: &[usize], target: &[F], weight: &[F], value: &mut [F]) {
    same_length("state", state, "target", target);
    same_length("state", state, "weight", weight);
    let mut total = vec![F::zero(); value.len()];
    let mut sum = vec![F::zero(); value.len()];
    for ((&s, &y), &w) in state.iter().zip(target).zip(weight) {
        assert!(s < value.len(), "state {s} is outside value, a table of {} states", value.len());
        total[s] += w;
        sum[s] += w * y;
    }
    for ((v, &w), &y) in value.iter_mut().zip(&total).zip(&sum) {
        if w > F::zero() {
            *v = y / w;
        }
    }
}
// ANCHOR_END: ppo.target-reuse

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_mean_square() {
        let mut d = [0.0; 2];
        assert_eq!(mse(&[1.0, 2.0], &[3.0, 2.0], &mut d), 1.0);
        assert_eq!(d, [-1.0, 0.0]);
    }

    #[test]
    fn the_larger_square_takes_the_gradient() {
        // moved too far towards the target (flat), moved away from it (not flat), inside
        let (value, old, target) = ([0.5, -0.5, 0.1], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]);
        let mut d = [f64::NAN; 3];
        let loss = clipped(&value, &old, &target, 0.2, &mut d);
        assert!((loss - (0.64 + 2.25 + 0.81) / 6.0).abs() < 1e-15);
        assert!((d[1] + 0.5).abs() < 1e-15 && (d[2] + 0.3).abs() < 1e-15 && d[0] == 0.0);
    }

    #[test]
    fn frozen_targets_are_averaged_per_state() {
        let mut value = [7.0, 7.0, 7.0];
        mean_target(&[0, 1, 0], &[1.0, 2.0, 4.0], &[2.0, 1.0, 1.0], &mut value);
        assert_eq!(value, [2.0, 2.0, 7.0]);
    }
}
