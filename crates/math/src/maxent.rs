//! Rewards plus entropy: soft maxima, soft Bellman backups, and the policies that belong to them.
//!
//! The temperature `eta > 0` weighs the entropy (in nats) against the reward; every state that a policy acts in counts, the
//! first one included, with the discount of its time. Arrays are as in [`crate::bellman`].

use crate::Real;
use crate::bellman::{self, look_ahead};
use crate::mdp::NotAnMdp;
use ndarray::{Array2, Array3, ArrayRef1, ArrayRef2, ArrayRef3};

#[track_caller]
fn check_temperature<F: Real>(temperature: F) {
    // Written so that NaN is refused.
    assert!(
        temperature > F::zero() && temperature < F::infinity(),
        "temperature is {temperature} but must be positive and finite"
    );
}

/// `eta log sum_a exp(x_a / eta)`, with the largest entry taken out first.
#[inline(always)]
fn soft_maximum<F: Real>(x: impl Iterator<Item = F> + Clone, temperature: F) -> F {
    let max = x.clone().fold(F::neg_infinity(), |m, x| if x > m || x.is_nan() { x } else { m });
    max + temperature * x.map(|x| ((x - max) / temperature).exp()).sum::<F>().ln()
}

/// The largest reward plus entropy that one choice can have.
///
/// ID `maxent.one-step`: `max_pi <pi, r> + eta H(pi) = eta log sum_a exp(r_a / eta)`, attained by [`soft_policy`] alone; any other
/// policy misses it by `eta KL(pi || pi*)`.
///
/// Shape: `reward` `[A]`.
///
/// # Panics
/// If there is no action, or the temperature is not positive and finite.
///
/// Source: E. T. Jaynes (1957), Information Theory and Statistical Mechanics.
// ANCHOR: maxent.one-step
// ANCHOR: maxent.limits
pub fn soft_max<F: Real>(reward: &[F], temperature: F) -> F {
    assert!(!reward.is_empty(), "reward has no entry");
    check_temperature(temperature);
    soft_maximum(reward.iter().copied(), temperature)
}

/// The policy with the largest reward plus entropy.
///
/// ID `maxent.one-step`: `pi*(a) = exp(r_a / eta) / sum_b exp(r_b / eta)`.
///
/// ID `maxent.limits`: for `eta -> 0` it tends to the uniform law on the best actions, for `eta -> inf` to the uniform law on all. Its
/// entropy never falls and its mean reward never rises as `eta` grows.
///
/// Shapes: `reward` and `out` `[A]`; `out` is overwritten.
///
/// # Panics
/// If the lengths differ, there is no action, or the temperature is not positive and finite.
///
/// Source: E. T. Jaynes (1957), Information Theory and Statistical Mechanics.
pub fn soft_policy<F: Real>(reward: &[F], temperature: F, out: &mut [F]) {
    assert!(reward.len() == out.len(), "reward has {} entries but out has {}", reward.len(), out.len());
    let value = soft_max(reward, temperature);
    for (pi, &r) in out.iter_mut().zip(reward) {
        *pi = ((r - value) / temperature).exp();
    }
}

/// Between which two numbers the soft maximum lies.
///
/// ID `maxent.limits`: `max r <= eta log sum_a exp(r_a / eta) <= max r + eta log n`.
///
/// Shape: `reward` `[A]`.
///
/// Source: S. Boyd, L. Vandenberghe (2004), Convex Optimization, section 3.1.5.
pub fn soft_max_bounds<F: Real>(reward: &[F], temperature: F) -> (F, F) {
    let max = reward.iter().copied().fold(F::neg_infinity(), F::max);
    (max, max + temperature * F::of(reward.len() as f64).ln())
}
// ANCHOR_END: maxent.limits

/// Mean reward plus entropy of one choice: `<pi, r> + eta H(pi)`.
///
/// ID `maxent.one-step`.
///
/// Shapes: `policy` and `reward` `[A]`.
///
/// # Panics
/// If the lengths differ.
///
/// Source: E. T. Jaynes (1957), Information Theory and Statistical Mechanics.
pub fn objective<F: Real>(policy: &[F], reward: &[F], temperature: F) -> F {
    assert!(
        policy.len() == reward.len(),
        "policy has {} entries but reward has {}",
        policy.len(),
        reward.len()
    );
    soft_mean(policy.iter().copied().zip(reward.iter().copied()), temperature)
}
// ANCHOR_END: maxent.one-step

/// `sum_a pi_a (x_a - eta log pi_a)` with `0 log 0 = 0`.
#[inline(always)]
fn soft_mean<F: Real>(pairs: impl Iterator<Item = (F, F)>, temperature: F) -> F {
    let term = |pi: F, x: F| {
        if pi > F::zero() { pi * (x - temperature * pi.ln()) } else { pi * x }
    };
    pairs.map(|(pi, x)| term(pi, x)).sum()
}

/// The soft backup: the look ahead of every pair, and the soft maximum of every state.
///
/// ID `maxent.soft-bellman`: `Q(s, a) = r(s, a) + gamma sum_s' P(s' | s, a) V(s')` and `(T V)(s) = eta log sum_a exp(Q(s, a) / eta)`, a
/// monotone `gamma`-contraction in the sup norm. Its fixed point `V_eta` is the largest mean of
/// `sum_t gamma^t (r_t + eta H(pi(. | s_t)))` that a policy can have, attained by `exp((Q_eta - V_eta) / eta)`.
///
/// Shapes: `p` and `r` `[S, A, S]`, `value` and `out` `[S]`, `q` `[S, A]`; `q` and `out` are overwritten.
///
/// # Panics
/// If the shapes do not belong together, or the temperature is not positive and finite.
///
/// Source: B. D. Ziebart, J. A. Bagnell, A. K. Dey (2010), Modeling Interaction via the Principle of Maximum Causal Entropy.
// ANCHOR: maxent.soft-bellman
pub fn soft_backup<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    gamma: F,
    temperature: F,
    value: &[F],
    q: &mut ArrayRef2<F>,
    out: &mut [F],
) {
    check_temperature(temperature);
    assert!(out.len() == value.len(), "out has {} entries but value has {}", out.len(), value.len());
    look_ahead(p, r, gamma, value, q);
    for (v, q) in out.iter_mut().zip(q.rows()) {
        *v = soft_maximum(q.iter().copied(), temperature);
    }
}

/// By how much the soft optimal value can exceed the optimal value, at most.
///
/// ID `maxent.soft-bellman`: `V* <= V_eta <= V* + eta log A / (1 - gamma)`.
///
/// Source: T. Haarnoja, H. Tang, P. Abbeel, S. Levine (2017), Reinforcement Learning with Deep Energy-Based Policies.
pub fn soft_gap<F: Real>(gamma: F, temperature: F, actions: usize) -> F {
    temperature * F::of(actions as f64).ln() / (F::one() - gamma)
}
// ANCHOR_END: maxent.soft-bellman

/// Soft values with a number of decisions left, and the policies that attain them.
///
/// ID `maxent.soft-vi`: `V_0 = 0` and `V_k(s) = eta log sum_a exp((r + gamma P V_{k-1})(s, a) / eta)`, the largest mean of
/// `sum_{t<k} gamma^t (r_t + eta H(pi_t(. | s_t)))`. The soft maximum is over actions; over next states there is a plain mean (a soft
/// one would seek risk).
///
/// Shapes: `p` and `r` `[S, A, S]`; `value` `[K + 1, S]` and `policy` `[K, S, A]` are overwritten: `policy[k]` is the one with
/// `k + 1` decisions left, and `value[k + 1]` its value.
///
/// # Panics
/// If the shapes do not belong together, or the temperature is not positive and finite.
///
/// Source: B. D. Ziebart, J. A. Bagnell, A. K. Dey (2010), Modeling Interaction via the Principle of Maximum Causal Entropy.
// ANCHOR: maxent.soft-vi
pub fn soft_value_iteration<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    gamma: F,
    temperature: F,
    value: &mut ArrayRef2<F>,
    policy: &mut ArrayRef3<F>,
) {
    let (states, actions, _) = p.dim();
    let horizon = policy.dim().0;
    assert!(
        policy.dim() == (horizon, states, actions),
        "policy has shape {:?} but p has shape {:?}",
        policy.dim(),
        p.dim()
    );
    assert!(
        value.dim() == (horizon + 1, states),
        "value has shape {:?} but policy has shape {:?}",
        value.dim(),
        policy.dim()
    );
    let mut q = Array2::zeros((states, actions));
    let mut ahead = vec![F::zero(); states];
    let mut now = ahead.clone();
    value.row_mut(0).fill(F::zero());
    for (k, mut policy) in policy.outer_iter_mut().enumerate() {
        soft_backup(p, r, gamma, temperature, &ahead, &mut q, &mut now);
        soft_greedy(&q, temperature, &mut policy);
        std::mem::swap(&mut ahead, &mut now);
        value.row_mut(k + 1).iter_mut().zip(&ahead).for_each(|(out, &v)| *out = v);
    }
}
// ANCHOR_END: maxent.soft-vi

/// The soft greedy policy of action values, `softmax(Q(s, .) / eta)` in every state.
///
/// ID `maxent.soft-improvement`: for the soft action values of a policy it is a policy whose soft value is at least as large in every
/// state.
///
/// Shapes: `q` and `out` `[S, A]`; `out` is overwritten.
///
/// # Panics
/// If the shapes differ, or the temperature is not positive and finite.
///
/// Source: T. Haarnoja, A. Zhou, P. Abbeel, S. Levine (2018), Soft Actor-Critic, lemma 2.
// ANCHOR: maxent.soft-improvement
pub fn soft_greedy<F: Real>(q: &ArrayRef2<F>, temperature: F, out: &mut ArrayRef2<F>) {
    check_temperature(temperature);
    assert!(out.dim() == q.dim(), "out has shape {:?} but q has shape {:?}", out.dim(), q.dim());
    for (mut policy, q) in out.rows_mut().into_iter().zip(q.rows()) {
        let value = soft_maximum(q.iter().copied(), temperature);
        for (pi, &q) in policy.iter_mut().zip(q) {
            *pi = ((q - value) / temperature).exp();
        }
    }
}

/// The mean of action values plus the entropy of the present choice.
///
/// ID `maxent.soft-improvement`: `V(s) = sum_a pi(a | s) (Q(s, a) - eta log pi(a | s))`. The entropy of the present state belongs to `V`,
/// not to `Q`.
///
/// Shapes: `policy` and `q` `[S, A]`, `out` `[S]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: T. Haarnoja, A. Zhou, P. Abbeel, S. Levine (2018), Soft Actor-Critic, equation 3.
pub fn soft_mean_value<F: Real>(policy: &ArrayRef2<F>, q: &ArrayRef2<F>, temperature: F, out: &mut [F]) {
    assert!(q.dim() == policy.dim(), "q has shape {:?} but policy has shape {:?}", q.dim(), policy.dim());
    assert!(out.len() == q.nrows(), "out has {} entries but q has shape {:?}", out.len(), q.dim());
    let mix = |policy: &ArrayRef1<F>, q: &ArrayRef1<F>| {
        soft_mean(policy.iter().copied().zip(q.iter().copied()), temperature)
    };
    for ((v, policy), q) in out.iter_mut().zip(policy.rows()).zip(q.rows()) {
        *v = mix(&policy, &q);
    }
}

/// The exact soft values of a policy over the infinite horizon.
///
/// ID `maxent.soft-improvement`: the solution of `V = r_pi + eta H_pi + gamma P_pi V` and `Q = r + gamma P V`, where `H_pi(s)` is the entropy
/// of `pi(. | s)`.
///
/// Shapes: `p` and `r` `[S, A, S]`, `policy` and `q` `[S, A]`, `value` `[S]`; `value` and `q` are overwritten.
///
/// # Errors
/// [`NotAnMdp::Discount`] for a `gamma` outside of `[0, 1)`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: T. Haarnoja, A. Zhou, P. Abbeel, S. Levine (2018), Soft Actor-Critic, lemma 1.
#[allow(clippy::too_many_arguments)]
pub fn soft_solve<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    policy: &ArrayRef2<F>,
    gamma: F,
    temperature: F,
    value: &mut [F],
    q: &mut ArrayRef2<F>,
) -> Result<(), NotAnMdp> {
    // The entropy of a state, paid with every transition out of it.
    let zeros = std::iter::repeat(F::zero());
    let bonus: Vec<F> = policy
        .rows()
        .into_iter()
        .map(|pi| soft_mean(pi.iter().copied().zip(zeros.clone()), temperature))
        .collect();
    let paid = Array3::from_shape_fn(r.dim(), |(s, a, next)| r[[s, a, next]] + bonus[s]);
    bellman::solve_v(p, &paid, policy, gamma, value)?;
    look_ahead(p, r, gamma, value, q);
    Ok(())
}
// ANCHOR_END: maxent.soft-improvement

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn soft_maxima_by_hand() {
        let mut pi = [0.0; 2];
        for (eta, entropy, reward) in
            [(0.1, 0.000_499, 0.999_955), (1.0, 0.582_203, 0.731_059), (10.0, 0.691_899, 0.524_979)]
        {
            soft_policy(&[1.0, 0.0], eta, &mut pi);
            let h = -pi.iter().map(|p: &f64| p * p.ln()).sum::<f64>();
            assert!((h - entropy).abs() < 1e-6 && (pi[0] - reward).abs() < 1e-6);
            assert!((objective(&pi, &[1.0, 0.0], eta) - soft_max(&[1.0, 0.0], eta)).abs() < 1e-14);
        }
        assert_eq!(soft_max(&[1e4, -1e4], 0.1), 1e4);
        soft_policy(&[-1e4f32, -2e4], 1.0, &mut [0.0; 2]);
    }

    #[test]
    fn a_state_that_pays_entropy_alone() {
        // One state, two actions without reward: ln 2 per step for ever.
        let (p, r) = (Array3::from_elem((1, 2, 1), 1.0), Array3::zeros((1, 2, 1)));
        let (mut v, mut q) = ([0.0f64], Array2::<f64>::zeros((1, 2)));
        soft_solve(&p, &r, &array![[0.5, 0.5]], 0.5, 3.0, &mut v, &mut q).unwrap();
        assert!((v[0] - soft_gap(0.5, 3.0, 2)).abs() < 1e-14);
        assert!((q[[0, 0]] - 0.5 * v[0]).abs() < 1e-14);
        let (mut value, mut policy) = (Array2::zeros((3, 1)), Array3::zeros((2, 1, 2)));
        soft_value_iteration(&p, &r, 1.0, 1.0, &mut value, &mut policy);
        assert!(
            (value[[2, 0]] - 2.0 * 2f64.ln()).abs() < 1e-14 && policy == array![[[0.5, 0.5]], [[0.5, 0.5]]]
        );
    }

    #[test]
    #[should_panic(expected = "temperature is 0")]
    fn a_temperature_of_zero_is_refused() {
        soft_max(&[1.0], 0.0);
    }
}
