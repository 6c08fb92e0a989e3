//! The losses on plain vectors: no network in sight, scalars and gradients out.

use rederive_math::policy_gradient::loss::surrogate;
use rederive_math::{Real, value_loss};

/// Steps of one gradient, all vectors `[B]`. `weight` and `return_` are constants.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, F> {
    /// Of the actions taken, under the present policy.
    pub log_prob: &'a [F],
    /// What their log-probabilities are weighted with: returns less a baseline, or advantages.
    pub weight: &'a [F],
    /// Entropy of the present policy in each state, nats.
    pub entropy: &'a [F],
    /// Present values.
    pub value: &'a [F],
    /// Regression targets of the values.
    pub return_: &'a [F],
}

/// Weights of the terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients<F> {
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

/// The loss and its parts, means over the batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms<F> {
    /// `policy + vf_coef * value - ent_coef * entropy`
    pub loss: F,
    /// The policy's surrogate. Its value is not the objective, only its gradient is (`pg.loss-surrogate`).
    pub policy: F,
    /// Half the mean squared error.
    pub value: F,
    /// Mean entropy.
    pub entropy: F,
}

/// The loss of the actor-critics, `-mean(A log pi) + c_V mean((V - G)^2) / 2 - c_H mean(H)`, and its gradient (Mnih et al., 2016,
/// *Asynchronous Methods for Deep Reinforcement Learning*).
///
/// # Panics
/// If a length differs from that of `log_prob`.
pub fn total<F: Real>(
    batch: &Batch<'_, F>,
    weights: &Coefficients<F>,
    grad: &mut Gradients<'_, F>,
) -> Terms<F> {
    let share = F::of(batch.log_prob.len() as f64).recip();
    let (policy, entropy) = policy(batch, share, weights.ent_coef, grad.log_prob, grad.entropy);
    same_length("log_prob", batch.log_prob, "value", batch.value);
    let value = value_loss::mse(batch.value, batch.return_, grad.value);
    grad.value.iter_mut().for_each(|d| *d *= weights.vf_coef);
    let loss = policy + weights.vf_coef * value - weights.ent_coef * entropy;
    Terms { loss, policy, value, entropy }
}

/// The policy's part, `-share sum_b weight_b log_prob_b` (`pg.loss-surrogate`) and `share sum_b H_b` (`ent.bonus`), with the gradient of the first
/// less `ent_coef` times the second. `share` comes from `pg.aggregation`; neither `value` nor `return_` is read.
///
/// # Panics
/// If a length differs from that of `log_prob`.
pub fn policy<F: Real>(
    batch: &Batch<'_, F>,
    share: F,
    ent_coef: F,
    d_log_prob: &mut [F],
    d_entropy: &mut [F],
) -> (F, F) {
    same_length("log_prob", batch.log_prob, "entropy", batch.entropy);
    same_length("log_prob", batch.log_prob, "d_entropy", d_entropy);
    let loss = surrogate(batch.log_prob, batch.weight, share, d_log_prob);
    d_entropy.fill(-ent_coef * share);
    (loss, share * batch.entropy.iter().copied().sum::<F>())
}

#[track_caller]
fn same_length<A, B>(reference: &str, a: &[A], other: &str, b: &[B]) {
    assert!(a.len() == b.len(), "{reference} has {} entries but {other} has {}", a.len(), b.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_those_of_the_loss() {
        let (weight, return_, ent) = ([1.5, -2.0, 0.25], [1.0, 0.0, -1.0], [0.3, 0.6, 0.1]);
        let weights = Coefficients { vf_coef: 0.7, ent_coef: 0.2 };
        let at = [-0.5, -1.5, -0.1, 0.3, 0.6, 0.1, 0.4, -0.3, 0.2];
        let loss = |x: &[f64; 9]| {
            let batch = Batch {
                log_prob: &x[..3],
                weight: &weight,
                entropy: &x[3..6],
                value: &x[6..],
                return_: &return_,
            };
            let mut d = [0.0; 9];
            let (l, rest) = d.split_at_mut(3);
            let (e, v) = rest.split_at_mut(3);
            let terms = total(&batch, &weights, &mut Gradients { log_prob: l, entropy: e, value: v });
            (terms, d)
        };
        let (terms, d) = loss(&at);
        // By hand: -(1.5 * -0.5 + -2 * -1.5 + 0.25 * -0.1) / 3.
        assert!(
            (terms.policy + 2.225 / 3.0).abs() < 1e-15
                && (terms.entropy - ent.iter().sum::<f64>() / 3.0).abs() < 1e-15
        );
        for i in 0..9 {
            let (mut up, mut down) = (at, at);
            (up[i], down[i]) = (at[i] + 1e-5, at[i] - 1e-5);
            let slope = (loss(&up).0.loss - loss(&down).0.loss) / 2e-5;
            assert!((slope - d[i]).abs() < 1e-9, "{i}: {slope} {}", d[i]);
        }
    }
}
