//! PPO's objective on plain vectors: no network in sight, scalars and gradients out.

use rederive_math::estimators::should_stop;
use rederive_math::surrogate::{self, Direction};
use rederive_math::{Real, value_loss};

/// One minibatch, all vectors `[B]`. `old_log_prob`, `advantage`, `old_value` and `return_` are constants.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, F> {
    /// Of the actions taken, under the present policy.
    pub log_prob: &'a [F],
    /// The same under the policy that took them.
    pub old_log_prob: &'a [F],
    /// Advantage estimates.
    pub advantage: &'a [F],
    /// Entropy of the present policy in each state, nats.
    pub entropy: &'a [F],
    /// Present values.
    pub value: &'a [F],
    /// Values when the actions were taken.
    pub old_value: &'a [F],
    /// Regression targets of the values.
    pub return_: &'a [F],
}

/// Which surrogate, with its parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Surrogate<F> {
    /// `ppo.clip-form`
    Clip {
        /// Half-width of the interval.
        clip_eps: F,
    },
    /// `ppo.penalty`
    Penalty {
        /// Weight of KL(old || new).
        kl_coef: F,
    },
}

/// Weights of the terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients<F> {
    /// The policy's term.
    pub surrogate: Surrogate<F>,
    /// Clips the value loss around the old value, if set.
    pub clip_value: Option<F>,
    /// Weight of the value loss, >= 0.
    pub vf_coef: F,
    /// Weight of the entropy, >= 0.
    pub ent_coef: F,
}

/// Where [`total`] writes the gradient of the loss, all `[B]`.
#[derive(Debug)]
pub struct Gradients<'a, F> {
    /// At `log_prob`.
    pub log_prob: &'a mut [F],
    /// At `entropy`.
    pub entropy: &'a mut [F],
    /// At `value`.
    pub value: &'a mut [F],
}

/// The loss and its parts, means over the minibatch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms<F> {
    /// `policy + vf_coef * value - ent_coef * entropy`
    pub loss: F,
    /// The surrogate's loss.
    pub policy: F,
    /// Half the mean squared error, clipped if configured.
    pub value: F,
    /// Mean entropy.
    pub entropy: F,
    /// Mean of `ratio - 1 - log ratio`, an estimate of KL(old || new) that is never negative.
    pub approx_kl: F,
    /// Share of ratios outside the clip interval; 0 for the penalty.
    pub clip_fraction: F,
}

// ANCHOR: ppo.total-loss
/// `loss = -L_surrogate + c_V * MSE / 2 - c_H * H` (`ppo.total-loss`) and its gradient (Schulman et al., 2017, equation 9).
///
/// The signs: a larger surrogate and a larger entropy are good, a larger error is bad, and the loss is minimised. The factor
/// one half in the value loss only rescales `c_V`; CleanRL has it too.
///
/// # Panics
/// If a length differs from that of `log_prob`.
pub fn total<F: Real>(
    batch: &Batch<'_, F>,
    weights: &Coefficients<F>,
    grad: &mut Gradients<'_, F>,
) -> Terms<F> {
    let n = batch.log_prob.len();
    assert_eq!(batch.entropy.len(), n, "entropy against log_prob");
    assert_eq!(batch.value.len(), n, "value against log_prob");
    assert_eq!(grad.entropy.len(), n, "the gradient at entropy against log_prob");
    let (new, old, advantage) = (batch.log_prob, batch.old_log_prob, batch.advantage);
    let (policy, approx_kl, clip_fraction) = match weights.surrogate {
        Surrogate::Clip { clip_eps } => {
            let stats = surrogate::clip_loss(new, old, advantage, clip_eps, grad.log_prob);
            (stats.loss, stats.approx_kl, stats.clip_fraction)
        }
        Surrogate::Penalty { kl_coef } => {
            let stats =
                surrogate::penalty_loss(new, old, advantage, kl_coef, Direction::OldNew, grad.log_prob);
            (stats.loss, stats.kl, F::zero())
        }
    };
    let value = match weights.clip_value {
        Some(eps) => value_loss::clipped(batch.value, batch.old_value, batch.return_, eps, grad.value),
        None => value_loss::mse(batch.value, batch.return_, grad.value),
    };
    grad.value.iter_mut().for_each(|d| *d *= weights.vf_coef);
    let per_sample = F::of(n as f64).recip();
    let entropy = batch.entropy.iter().copied().sum::<F>() * per_sample;
    grad.entropy.fill(-weights.ent_coef * per_sample);
    let loss = policy + weights.vf_coef * value - weights.ent_coef * entropy;
    Terms { loss, policy, value, entropy, approx_kl, clip_fraction }
}
// ANCHOR_END: ppo.total-loss

/// Whether the epochs of a rollout end after one whose estimated KL(old || new) was `approx_kl` (`ppo.early-stop`). The step
/// that crossed the target is not undone; without a target nothing stops.
pub fn stops_early(approx_kl: f64, target_kl: Option<f64>) -> bool {
    target_kl.is_some_and(|target| should_stop(approx_kl, target))
}
