//! Policy gradients: what is sampled, what is subtracted, what is minimised, and what all of it estimates.
//!
//! [`weights`] turns a rollout into one number per step, [`baselines`] subtracts what does not depend on the action, and [`loss`]
//! is what a learning loop minimises: they work on rollouts `[T,N]` or flat batches `[B]` and run in training.

pub mod baselines;
pub mod loss;
pub mod weights;

use crate::Real;

/// Adds `scale * d log pi(action) / d theta = scale * (e_action - pi)` to `grad`: the score of a row of softmax logits, from its
/// probabilities.
///
/// Shapes: `prob` and `grad` `[A]`.
///
/// # Panics
/// If the lengths differ or there is no such action.
#[inline]
pub fn add_score<F: Real>(prob: &[F], action: usize, scale: F, grad: &mut [F]) {
    assert!(prob.len() == grad.len(), "prob has {} entries but grad has {}", prob.len(), grad.len());
    for (g, &p) in grad.iter_mut().zip(prob) {
        *g -= scale * p;
    }
    grad[action] += scale;
}
