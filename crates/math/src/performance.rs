//! How much better one policy is than another, in terms of the advantages of the other.
//!
//! Policies are `pi(a | s)` `[S, A]`, advantages those of the *old* policy `[S, A]` (see [`crate::bellman::advantage`]), occupancies
//! laws over states `[S]` (see [`mdp::occupancy`]). Only [`performance_difference`] and its finite form look at transitions.

use crate::Real;
use crate::mdp::{self, NotAnMdp};
use ndarray::{Array2, ArrayRef2, ArrayRef3, Axis};

#[track_caller]
fn check_pairs<F>(policy: &ArrayRef2<F>, advantage: &ArrayRef2<F>) {
    assert!(
        policy.dim() == advantage.dim(),
        "policy has shape {:?} but advantage has shape {:?}",
        policy.dim(),
        advantage.dim()
    );
}

#[track_caller]
fn check_states<F>(occupancy: &[F], policy: &ArrayRef2<F>) {
    assert!(
        occupancy.len() == policy.nrows(),
        "occupancy has {} entries but policy has shape {:?}",
        occupancy.len(),
        policy.dim()
    );
}

/// The sum of the discounted differences of values along a path.
///
/// ID `trpo.telescoping`: `sum_{t<T} gamma^t (gamma V(s_{t+1}) - V(s_t)) = gamma^T V(s_T) - V(s_0)`: every value but the first and the last
/// appears twice, with opposite signs. The infinite sum is `-V(s_0)` exactly if `gamma^T V(s_T) -> 0`, as for bounded values and
/// `gamma < 1`; at `gamma = 1` and a constant `V` every sum is 0.
///
/// Shapes: `value` `[T + 1]`, the last entry being that of the final state (0 if it is terminal).
///
/// # Panics
/// If there is no value.
///
/// Source: A. Y. Ng, D. Harada, S. Russell (1999), Policy Invariance under Reward Transformations.
// ANCHOR: trpo.telescoping
pub fn telescoped<F: Real>(value: &[F], gamma: F) -> F {
    assert!(!value.is_empty(), "a path has at least one state");
    let steps = value.len() - 1;
    gamma.powi(steps as i32) * value[steps] - value[0]
}
// ANCHOR_END: trpo.telescoping

/// The mean advantage in every state, if the actions are another policy's.
///
/// ID `trpo.pointwise`: `sum_a pi'(a | s) A(s, a)`. It is 0 for the policy that the advantages belong to.
///
/// Shapes: `policy` and `advantage` `[S, A]`, `out` `[S]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. A. Howard (1960), Dynamic Programming and Markov Processes.
// ANCHOR: trpo.pointwise
pub fn mean_advantage<F: Real>(policy: &ArrayRef2<F>, advantage: &ArrayRef2<F>, out: &mut [F]) {
    check_pairs(policy, advantage);
    check_states(out, policy);
    for ((out, pi), a) in out.iter_mut().zip(policy.rows()).zip(advantage.rows()) {
        *out = pi.iter().zip(a).map(|(&pi, &a)| pi * a).sum();
    }
}

/// Whether a policy gains in every single state, which makes every value at least as large as before.
///
/// ID `trpo.pointwise`: if `sum_a pi'(a | s) A(s, a) >= 0` in *every* state, then `V_pi' >= V_pi`, however far apart the policies are.
/// On average over the visits of `pi` it says nothing. `slack` is what counts as rounding (0 for none).
///
/// Shapes: both `[S, A]`.
///
/// # Panics
/// If the shapes differ.
///
/// Source: R. A. Howard (1960), Dynamic Programming and Markov Processes.
pub fn improves_everywhere<F: Real>(policy: &ArrayRef2<F>, advantage: &ArrayRef2<F>, slack: F) -> bool {
    let mut mean = vec![F::zero(); policy.nrows()];
    mean_advantage(policy, advantage, &mut mean);
    mean.iter().all(|&m| m >= -slack)
}

/// The policy tilted towards its advantages.
///
/// ID `trpo.pointwise`: `pi'(a | s) = pi(a | s) e^{A(s, a) / beta} / Z(s)`. It improves every value at every temperature `beta > 0`: the tilt
/// gives more weight to what is above average. It is also the natural gradient step of a tabular softmax, see
/// [`crate::natural_gradient::tabular_softmax`]. The maximum is subtracted first, so that no exponential overflows.
///
/// Shapes: all `[S, A]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Kakade (2001), A Natural Policy Gradient.
pub fn tilt<F: Real>(policy: &ArrayRef2<F>, advantage: &ArrayRef2<F>, beta: F, out: &mut ArrayRef2<F>) {
    check_pairs(policy, advantage);
    check_pairs(policy, out);
    for ((mut out, pi), advantage) in out.rows_mut().into_iter().zip(policy.rows()).zip(advantage.rows()) {
        for ((z, &p), &a) in out.iter_mut().zip(pi).zip(advantage) {
            *z = p.ln() + a / beta;
        }
        let largest = out.iter().fold(F::neg_infinity(), |m, &z| m.max(z));
        out.mapv_inplace(|z| (z - largest).exp());
        let total = out.sum();
        out.mapv_inplace(|w| w / total);
    }
}
// ANCHOR_END: trpo.pointwise

/// How much better a new policy is, to first order.
///
/// ID `trpo.surrogate`: `L(pi') = 1 / (1 - gamma) E_{s ~ d_pi, a ~ pi'}[A_pi(s, a)]`, with the *old* policy's states. It approximates the
/// difference `J(pi') - J(pi)`, not `J(pi')`: it is 0 at `pi' = pi`, has the gradient of `J` there, and is wrong by the square of the
/// distance. With the new policy's occupancy in place of the old one's it is the difference itself ([`performance_difference`]).
///
/// Shapes: `occupancy` `[S]`, `policy` (the new one) and `advantage` (of the old one) `[S, A]`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Kakade, J. Langford (2002), Approximately Optimal Approximate Reinforcement Learning.
// ANCHOR: trpo.surrogate
pub fn surrogate<F: Real>(occupancy: &[F], policy: &ArrayRef2<F>, advantage: &ArrayRef2<F>, gamma: F) -> F {
    check_states(occupancy, policy);
    let mut mean = vec![F::zero(); occupancy.len()];
    mean_advantage(policy, advantage, &mut mean);
    occupancy.iter().zip(&mean).map(|(&d, &m)| d * m).sum::<F>() / (F::one() - gamma)
}

/// The same with the old policy's actions and a ratio, as samples of the old policy estimate it.
///
/// ID `trpo.surrogate`: `L(pi') = 1 / (1 - gamma) E_{s ~ d_pi, a ~ pi}[pi'(a | s) / pi(a | s) A_pi(s, a)]`. Equal only if `pi > 0` wherever
/// `pi' > 0`: an action that the old policy never takes is never seen, and counts nothing.
///
/// Shapes: `occupancy` `[S]`, `old`, `policy` and `advantage` `[S, A]`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: J. Schulman, S. Levine, P. Moritz, M. Jordan, P. Abbeel (2015), Trust Region Policy Optimization, equation 14.
pub fn surrogate_by_ratio<F: Real>(
    occupancy: &[F],
    old: &ArrayRef2<F>,
    policy: &ArrayRef2<F>,
    advantage: &ArrayRef2<F>,
    gamma: F,
) -> F {
    check_states(occupancy, old);
    check_pairs(old, policy);
    check_pairs(old, advantage);
    let terms = old.indexed_iter().filter(|(_, pi)| **pi > F::zero());
    let sum: F =
        terms.map(|((s, a), &pi)| occupancy[s] * pi * (policy[[s, a]] / pi) * advantage[[s, a]]).sum();
    sum / (F::one() - gamma)
}
// ANCHOR_END: trpo.surrogate

/// How much better a new policy is, exactly.
///
/// ID `trpo.pdl`: `J(pi') - J(pi) = 1 / (1 - gamma) E_{s ~ d_pi', a ~ pi'}[A_pi(s, a)]`, the performance difference lemma. The visits are those
/// of the *new* policy; both policies start from `mu`.
///
/// Shapes: `p` `[S, A, S]`, `policy` (the new one) and `advantage` (of the old one) `[S, A]`, `mu` `[S]`.
///
/// # Errors
/// [`NotAnMdp::Discount`] for a `gamma` outside of `[0, 1)`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Kakade, J. Langford (2002), Approximately Optimal Approximate Reinforcement Learning, lemma 6.1.
// ANCHOR: trpo.pdl
pub fn performance_difference<F: Real>(
    p: &ArrayRef3<F>,
    policy: &ArrayRef2<F>,
    advantage: &ArrayRef2<F>,
    mu: &[F],
    gamma: F,
) -> Result<F, NotAnMdp> {
    let mut kernel = Array2::zeros((mu.len(), mu.len()));
    mdp::policy_kernel(p, policy, &mut kernel);
    let mut visits = vec![F::zero(); mu.len()];
    mdp::occupancy(&kernel, mu, gamma, &mut visits)?;
    Ok(surrogate(&visits, policy, advantage, gamma))
}

/// The same over a finite horizon, where advantages depend on time.
///
/// ID `trpo.pdl`: `sum_{t<T} gamma^t E_{pi'}[A_t(s_t, a_t)]` with the advantages of the old policy with `T - t` steps left. Any `gamma`.
///
/// Shapes: `p` `[S, A, S]`, `policy` `[S, A]`, `advantage` `[T, S, A]`, `mu` `[S]`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Kakade, J. Langford (2002), Approximately Optimal Approximate Reinforcement Learning, lemma 6.1.
pub fn finite_performance_difference<F: Real>(
    p: &ArrayRef3<F>,
    policy: &ArrayRef2<F>,
    advantage: &ArrayRef3<F>,
    mu: &[F],
    gamma: F,
) -> F {
    let mut kernel = Array2::zeros((mu.len(), mu.len()));
    mdp::policy_kernel(p, policy, &mut kernel);
    let mut law = vec![F::zero(); mu.len()];
    let mut mean = law.clone();
    let (mut sum, mut discount) = (F::zero(), F::one());
    for (t, advantage) in advantage.axis_iter(Axis(0)).enumerate() {
        mdp::state_law(&kernel, mu, t, &mut law);
        mean_advantage(policy, &advantage, &mut mean);
        sum += discount * law.iter().zip(&mean).map(|(&l, &m)| l * m).sum();
        discount *= gamma;
    }
    sum
}
// ANCHOR_END: trpo.pdl

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bellman;
    use ndarray::{Array3, array};

    #[test]
    fn only_the_ends_of_a_path_count() {
        assert_eq!(telescoped(&[3.0], 0.5), 0.0);
        assert_eq!(telescoped(&[3.0, 100.0, 8.0], 0.5), -1.0);
        assert_eq!(telescoped(&[7.0; 9], 1.0), 0.0);
    }

    #[test]
    fn a_tilt_improves_and_the_difference_is_exact() {
        // Two states; action 1 of the first leads to the second, which pays; nothing leads back but action 0 of the second.
        let mut p = Array3::zeros((2, 2, 2));
        for (s, a, next) in [(0, 0, 0), (0, 1, 1), (1, 0, 0), (1, 1, 1)] {
            p[[s, a, next]] = 1.0;
        }
        let mut r = Array3::zeros((2, 2, 2));
        r[[1, 1, 1]] = 1.0;
        let (old, gamma, mu) = (array![[0.5, 0.5], [0.75, 0.25]], 0.9, [1.0, 0.0]);
        let (mut value, mut q, mut advantage) = ([0.0; 2], Array2::zeros((2, 2)), Array2::zeros((2, 2)));
        bellman::solve_v(&p, &r, &old, gamma, &mut value).unwrap();
        bellman::look_ahead(&p, &r, gamma, &value, &mut q);
        bellman::advantage(&q, &value, &mut advantage);
        let mut new = old.clone();
        tilt(&old, &advantage, 0.5, &mut new);
        assert!(improves_everywhere(&new, &advantage, 0.0) && new[[1, 1]] > old[[1, 1]]);
        let mut after = [0.0f64; 2];
        bellman::solve_v(&p, &r, &new, gamma, &mut after).unwrap();
        let difference = performance_difference(&p, &new, &advantage, &mu, gamma).unwrap();
        assert!((difference - (after[0] - value[0])).abs() < 1e-13);
        assert!(performance_difference(&p, &new, &advantage, &mu, 1.0).is_err());
    }
}
