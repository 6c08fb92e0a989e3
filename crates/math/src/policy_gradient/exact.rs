//! The policy gradient of an infinite horizon, from occupancies and values.
//!
//! All gradients are those of `J = sum_s mu(s) V(s)` in a table of softmax logits `[S, A]`; `occupancy` is the law
//! `d(s) = (1 - gamma) sum_t gamma^t Pr(s_t = s)` of [`crate::mdp::occupancy`], hence the factor `1 / (1 - gamma)`.

use super::score::add_mean_score;
use crate::mdp::{self, NotAnMdp};
use crate::{Real, bellman, td};
use ndarray::{Array2, ArrayRef2, ArrayRef3};

/// The policy gradient theorem.
///
/// ID `pg.q-occupancy`: `grad J = 1 / (1 - gamma) sum_s d(s) sum_a pi(a | s) Q(s, a) grad log pi(a | s)`. How the policy changes which states are
/// visited needs no term of its own: it is in `Q`. The states are weighted by their *discounted* visits. With a critic's `Q` in
/// the place of the true one it is exact only if their difference is orthogonal to the scores (`ac.one-step`).
///
/// Shapes: `occupancy` `[S]`, `policy`, `q` and `out` `[S, A]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together or `gamma` is not below 1.
///
/// Source: R. S. Sutton, D. McAllester, S. Singh, Y. Mansour (2000), Policy Gradient Methods for Reinforcement Learning with
/// Function Approximation, theorem 1.
// ANCHOR: pg.q-occupancy
pub fn q_gradient<F: Real>(
    occupancy: &[F],
    policy: &ArrayRef2<F>,
    q: &ArrayRef2<F>,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    check(occupancy, policy, "q", q, gamma, out);
    out.fill(F::zero());
    for (s, &d) in occupancy.iter().enumerate() {
        add_mean_score(&policy.row(s), &q.row(s), d / (F::one() - gamma), &mut out.row_mut(s));
    }
}
// ANCHOR_END: pg.q-occupancy

/// The policy gradient with advantages, component by component.
///
/// ID `pg.advantage-form`: `dJ / d theta(s, a) = 1 / (1 - gamma) d(s) pi(a | s) A(s, a)`. `A = Q - V` may stand for `Q` because
/// `sum_a pi(a | s) V(s) grad log pi(a | s) = 0`, and not because its mean is 0: `2 A` has mean 0 too, and doubles the gradient. This short form
/// takes an advantage, `sum_a pi(a | s) A(s, a) = 0`.
///
/// Shapes: `occupancy` `[S]`, `policy`, `advantage` and `out` `[S, A]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together or `gamma` is not below 1.
///
/// Source: A. Agarwal, S. M. Kakade, J. D. Lee, G. Mahajan (2021), On the Theory of Policy Gradient Methods: Optimality,
/// Approximation, and Distribution Shift.
// ANCHOR: pg.advantage-form
pub fn advantage_gradient<F: Real>(
    occupancy: &[F],
    policy: &ArrayRef2<F>,
    advantage: &ArrayRef2<F>,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    check(occupancy, policy, "advantage", advantage, gamma, out);
    for ((s, a), out) in out.indexed_iter_mut() {
        *out = occupancy[s] / (F::one() - gamma) * policy[[s, a]] * advantage[[s, a]];
    }
}
// ANCHOR_END: pg.advantage-form

#[track_caller]
fn check<F: Real>(
    occupancy: &[F],
    policy: &ArrayRef2<F>,
    name: &str,
    weight: &ArrayRef2<F>,
    gamma: F,
    out: &ArrayRef2<F>,
) {
    let shape = policy.dim();
    assert!(
        occupancy.len() == shape.0,
        "occupancy has {} entries but policy has shape {shape:?}",
        occupancy.len()
    );
    assert!(weight.dim() == shape, "{name} has shape {:?} but policy has shape {shape:?}", weight.dim());
    assert!(out.dim() == shape, "out has shape {:?} but policy has shape {shape:?}", out.dim());
    assert!(gamma >= F::zero() && gamma < F::one(), "gamma is {gamma} but must be in [0, 1)");
}

/// Objective and gradient of a policy, solved from the model; returns `J`.
///
/// IDs `pg.q-occupancy` and `pg.advantage-form`.
///
/// Shapes: `p` and `r` `[S, A, S]`, `mu` `[S]`, `policy` and `out` `[S, A]`; `out` is overwritten. Allocates.
///
/// # Errors
/// [`NotAnMdp::Discount`] for a `gamma` outside of `[0, 1)`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton, D. McAllester, S. Singh, Y. Mansour (2000), Policy Gradient Methods for Reinforcement Learning with
/// Function Approximation.
pub fn gradient<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    mu: &[F],
    policy: &ArrayRef2<F>,
    gamma: F,
    out: &mut ArrayRef2<F>,
) -> Result<F, NotAnMdp> {
    let states = mu.len();
    let (mut occupancy, mut value) = (vec![F::zero(); states], vec![F::zero(); states]);
    let mut kernel = Array2::zeros((states, states));
    let mut advantage = Array2::zeros(policy.dim());
    mdp::policy_kernel(p, policy, &mut kernel);
    mdp::occupancy(&kernel, mu, gamma, &mut occupancy)?;
    bellman::solve_v(p, r, policy, gamma, &mut value)?;
    // Q - V is the mean TD error of the policy's own values.
    td::expected_td_error(p, r, &value, gamma, &mut advantage);
    advantage_gradient(&occupancy, policy, &advantage, gamma, out);
    Ok(mu.iter().zip(&value).map(|(&m, &v)| m * v).sum())
}

/// What one-step actor-critic follows on average.
///
/// ID `ac.one-step`: `1 / (1 - gamma) E[delta grad log pi(a | s)]` over the discounted visits, with `delta = r + gamma U(s') - U(s)` of a critic `U`. It is
/// `grad J` plus [`critic_bias`]. On a rollout the weights are [`crate::returns::td_error`], times `gamma^t`.
///
/// Shapes: `p` and `r` `[S, A, S]`, `occupancy` and `critic` `[S]`, `policy` and `out` `[S, A]`; `out` is overwritten. Allocates.
///
/// # Panics
/// If the shapes do not belong together or `gamma` is not below 1.
///
/// Source: V. R. Konda, J. N. Tsitsiklis (2000), Actor-Critic Algorithms; R. S. Sutton, A. G. Barto (2018), Reinforcement
/// Learning: An Introduction, section 13.5.
// ANCHOR: ac.one-step
pub fn actor_critic<F: Real>(
    (p, r): (&ArrayRef3<F>, &ArrayRef3<F>),
    occupancy: &[F],
    policy: &ArrayRef2<F>,
    critic: &[F],
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    let mut delta = Array2::zeros(policy.dim());
    td::expected_td_error(p, r, critic, gamma, &mut delta);
    q_gradient(occupancy, policy, &delta, gamma, out);
}

/// What the critic's error adds to the mean of one-step actor-critic.
///
/// ID `ac.one-step`: `gamma / (1 - gamma) E[grad log pi(a | s) (U - V)(s')]` over the discounted visits. Only the error at the *next* state matters; the one
/// at `s` is a baseline. It vanishes if the error is a constant, or does not depend on the action taken.
///
/// Shapes: `p` `[S, A, S]`, `occupancy` and `error` (`U - V`) `[S]`, `policy` and `out` `[S, A]`; `out` is overwritten. Allocates.
///
/// # Panics
/// If the shapes do not belong together or `gamma` is not below 1.
///
/// Source: V. R. Konda, J. N. Tsitsiklis (2000), Actor-Critic Algorithms.
pub fn critic_bias<F: Real>(
    p: &ArrayRef3<F>,
    occupancy: &[F],
    policy: &ArrayRef2<F>,
    error: &[F],
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    let states = error.len();
    assert!(p.dim().2 == states, "error has {states} entries but p has shape {:?}", p.dim());
    let mut ahead = Array2::zeros(policy.dim());
    for ((s, a, next), &prob) in p.indexed_iter() {
        ahead[[s, a]] += gamma * prob * error[next];
    }
    q_gradient(occupancy, policy, &ahead, gamma, out);
}
// ANCHOR_END: ac.one-step

/// One step of gradient ascent; returns by how much it changes the objective, to first order.
///
/// ID `pg.step-ascent`: `J(theta + alpha grad J) = J + alpha |grad J|^2 + O(alpha^2)`: a small step ascends, a large one may not. For the gradient `G grad log p(tau)` of
/// one trajectory the same holds of `G log p(tau)`, while single probabilities in it may fall.
///
/// Shapes: `theta` and `gradient` of one length.
///
/// # Panics
/// If the lengths differ.
///
/// Source: R. J. Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning.
// ANCHOR: pg.step-ascent
pub fn ascend<F: Real>(theta: &mut [F], gradient: &[F], alpha: F) -> F {
    assert!(
        theta.len() == gradient.len(),
        "theta has {} entries but gradient has {}",
        theta.len(),
        gradient.len()
    );
    for (theta, &g) in theta.iter_mut().zip(gradient) {
        *theta += alpha * g;
    }
    alpha * gradient.iter().map(|&g| g * g).sum::<F>()
}
// ANCHOR_END: pg.step-ascent

/// The gradient in rows of logits that several states share: each row adds up its states. Undoes [`crate::aliasing::lift`] for
/// derivatives.
///
/// Shapes: `observation` `[S]` (the row of each state), `grad` `[S, A]`, `out` `[O, A]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together, or a row does not exist.
pub fn share<F: Real>(observation: &[usize], grad: &ArrayRef2<F>, out: &mut ArrayRef2<F>) {
    assert!(
        grad.dim() == (observation.len(), out.ncols()),
        "grad has shape {:?} but observation has {} entries and out shape {:?}",
        grad.dim(),
        observation.len(),
        out.dim()
    );
    out.fill(F::zero());
    for (grad, &seen) in grad.rows().into_iter().zip(observation) {
        let mut row = out.row_mut(seen);
        row += &grad;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};

    #[test]
    fn a_bandit_has_its_closed_form() {
        // One state, rewards 1 and 0, p = 0.8: J = p / (1 - gamma).
        let (p, r) = (Array3::ones((1, 2, 1)), array![[[1.0], [0.0]]]);
        let mut out = Array2::zeros((1, 2));
        let j = gradient(&p, &r, &[1.0], &array![[0.8, 0.2]], 0.5, &mut out).unwrap();
        assert!((j - 1.6f64).abs() < 1e-14);
        assert!((out[[0, 0]] - 0.32).abs() < 1e-14 && (out[[0, 1]] + 0.32).abs() < 1e-14);
        assert!(gradient(&p, &r, &[1.0], &array![[0.8, 0.2]], 1.0, &mut out).is_err());
        // Any constant critic is as good as the true one.
        actor_critic((&p, &r), &[1.0], &array![[0.8, 0.2]], &[-9.0], 0.5, &mut out);
        assert!((out[[0, 0]] - 0.32).abs() < 1e-14);
        critic_bias(&p, &[1.0], &array![[0.8, 0.2]], &[5.0], 0.5, &mut out);
        assert!(out.iter().all(|x| x.abs() < 1e-15));
    }

    #[test]
    fn a_step_promises_its_square() {
        let mut theta = [1.0, 2.0];
        assert_eq!(ascend(&mut theta, &[3.0, -4.0], 0.5), 12.5);
        assert_eq!(theta, [2.5, 0.0]);
        let mut shared = array![[f64::NAN, f64::NAN]];
        share(&[0, 0], &array![[1.0, 2.0], [3.0, 4.0]], &mut shared);
        assert_eq!(shared, array![[4.0, 6.0]]);
    }
}
