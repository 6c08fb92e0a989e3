//! Temporal differences: the targets of one sampled transition, and their exact means over a known process.
//!
//! A target never reads the value of what follows a terminal state, so that a stale number or NaN there does no harm. The
//! dense operators take a process as [`crate::mdp`] writes it: `p` is `P(s' | s, a)` and `r` is `R(s, a, s')`, both
//! `[S, A, S]`, a policy is `[S, A]`; a terminal state is one that leads to itself without reward.

use crate::returns::bootstrap;
use crate::{End, Real};
use ndarray::{ArrayRef2, ArrayRef3};

/// The action of the largest value; the first of several.
///
/// Shape: `value` `[A]`.
///
/// # Panics
/// If there is no action.
#[inline]
pub fn argmax<F: Real>(value: &[F]) -> usize {
    assert!(!value.is_empty(), "there is no action to choose");
    let (mut best, mut at) = (value[0], 0);
    for (a, &x) in value.iter().enumerate() {
        if x > best {
            (best, at) = (x, a);
        }
    }
    at
}

/// The largest of at least one value.
#[inline]
fn largest<F: Real>(value: &[F]) -> F {
    assert!(!value.is_empty(), "there is no action to choose");
    let mut best = value[0];
    for &x in value {
        best = if x > best { x } else { best };
    }
    best
}

/// The mean of `value` under `prob`.
#[inline]
fn mean<F: Real>(prob: &[F], value: &[F]) -> F {
    assert!(prob.len() == value.len(), "policy has {} entries but next_q has {}", prob.len(), value.len());
    let mut sum = F::zero();
    for (&p, &x) in prob.iter().zip(value) {
        sum += p * x;
    }
    sum
}

/// A reward and the discounted value of what follows it, which is nothing after a terminal state.
#[inline]
fn target<F: Real>(reward: F, terminated: bool, gamma: F, follows: impl FnOnce() -> F) -> F {
    if terminated { reward } else { reward + gamma * follows() }
}

/// The target of Q-learning for one transition.
///
/// ID `qlearn.terminal`: `r + gamma (1 - terminated) max_a' Q(s', a')`. A time limit is not a terminal state: pass
/// `terminated = false` there, and the bootstrap stays.
///
/// Shape: `next_q` `[A]`, the action values of the next state.
///
/// # Panics
/// If the transition did not terminate and there is no action.
///
/// Source: C. J. C. H. Watkins (1989), Learning from Delayed Rewards.
// ANCHOR: qlearn.terminal
#[inline]
pub fn q_target<F: Real>(reward: F, terminated: bool, next_q: &[F], gamma: F) -> F {
    target(reward, terminated, gamma, || largest(next_q))
}
// ANCHOR_END: qlearn.terminal

/// One tabular step of Q-learning; returns the error of the entry before the step.
///
/// ID `qlearn.convergence`: `Q(s, a) += alpha (target - Q(s, a))`, no other entry changes. It tends to `Q*` with
/// probability 1 if `gamma < 1`, rewards have bounded variance, every pair is updated infinitely often, and the step sizes
/// of each pair satisfy `sum alpha = inf` and `sum alpha^2 < inf` (see [`crate::monte_carlo::step_size`]).
///
/// Shape: `q` `[S * A]`, the actions of one state side by side; `next` is the next state, none after termination.
///
/// # Panics
/// If a state or the action lies outside of the table.
///
/// Source: T. Jaakkola, M. I. Jordan, S. P. Singh (1994), On the Convergence of Stochastic Iterative Dynamic Programming
/// Algorithms.
// ANCHOR: qlearn.convergence
#[inline]
pub fn q_update<F: Real>(
    q: &mut [F],
    actions: usize,
    (state, action): (usize, usize),
    reward: F,
    next: Option<usize>,
    alpha: F,
    gamma: F,
) -> F {
    let next_q = next.map_or(&[][..], |next| &q[next * actions..][..actions]);
    let target = q_target(reward, next.is_none(), next_q, gamma);
    let entry = &mut q[state * actions..][..actions][action];
    let delta = target - *entry;
    *entry += alpha * delta;
    delta
}
// ANCHOR_END: qlearn.convergence

/// The target of SARSA for one transition.
///
/// ID `sarsa.expected-update`: `r + gamma (1 - terminated) Q(s', a')` with the action `a'` that is really taken next.
///
/// Source: G. A. Rummery, M. Niranjan (1994), On-Line Q-Learning Using Connectionist Systems.
// ANCHOR: sarsa.expected-update
#[inline]
pub fn sarsa_target<F: Real>(reward: F, terminated: bool, next_q_taken: F, gamma: F) -> F {
    target(reward, terminated, gamma, || next_q_taken)
}

/// The target of expected SARSA for one transition: that of SARSA, averaged over the next action.
///
/// ID `sarsa.expected-update`: `r + gamma (1 - terminated) sum_a' pi(a' | s') Q(s', a')`.
///
/// Shapes: `next_q` and `policy` `[A]`, both of the next state.
///
/// # Panics
/// If the transition did not terminate and the lengths differ.
///
/// Source: H. van Seijen, H. van Hasselt, S. Whiteson, M. Wiering (2009), A Theoretical and Empirical Analysis of Expected
/// Sarsa.
#[inline]
pub fn expected_sarsa_target<F: Real>(
    reward: F,
    terminated: bool,
    next_q: &[F],
    policy: &[F],
    gamma: F,
) -> F {
    target(reward, terminated, gamma, || mean(policy, next_q))
}

/// The mean step of SARSA in every pair.
///
/// ID `sarsa.expected-update`: `E[r + gamma Q(s', a') - Q(s, a) | s, a] = (T^pi Q - Q)(s, a)` for `a' ~ pi(. | s')`.
/// Sampling `a'` changes nothing here: it adds variance ([`sarsa_extra_variance`]) and no bias.
///
/// Shapes: `p` and `r` `[S, A, S]`, `policy` and `q` `[S, A]`, `out` `[S, A]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, section 6.6.
pub fn expected_sarsa_update<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    policy: &ArrayRef2<F>,
    q: &ArrayRef2<F>,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    check_table("policy", policy.dim(), p);
    check_table("q", q.dim(), p);
    mean_step(p, r, |next| mean_row(policy, q, next), q, gamma, out);
}

/// What drawing the next action adds to the variance of SARSA's target, against expected SARSA's.
///
/// ID `sarsa.expected-update`: `gamma^2 E[Var_{a' ~ pi}(Q(s', a')) | s, a]`.
///
/// Shapes: `p` `[S, A, S]`, `policy` and `q` `[S, A]`, `out` `[S, A]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: H. van Seijen, H. van Hasselt, S. Whiteson, M. Wiering (2009), A Theoretical and Empirical Analysis of Expected
/// Sarsa.
pub fn sarsa_extra_variance<F: Real>(
    p: &ArrayRef3<F>,
    policy: &ArrayRef2<F>,
    q: &ArrayRef2<F>,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    check_table("policy", policy.dim(), p);
    check_table("q", q.dim(), p);
    check_table("out", out.dim(), p);
    out.fill(F::zero());
    for ((s, a, next), &prob) in p.indexed_iter() {
        let mean = mean_row(policy, q, next);
        let squares =
            policy.row(next).iter().zip(q.row(next)).map(|(&p, &x)| p * (x - mean) * (x - mean)).sum::<F>();
        out[[s, a]] += gamma * gamma * prob * squares;
    }
}
// ANCHOR_END: sarsa.expected-update

/// One application of the operator that SARSA follows when its policy is epsilon-greedy in the current table.
///
/// ID `sarsa.fixed-point`: `r + gamma P [(1 - eps) max_a' Q + eps mean_a' Q]`. It contracts by `gamma`; its fixed point is
/// `Q` of the best of all policies that explore with probability `eps`, which is at most `Q*` and equals it for `eps = 0`.
/// With a policy that stays the same the fixed point is `Q` of that policy ([`expected_sarsa_update`]).
///
/// Shapes: `p` and `r` `[S, A, S]`, `q` and `out` `[S, A]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Singh, T. Jaakkola, M. L. Littman, C. Szepesvari (2000), Convergence Results for Single-Step On-Policy
/// Reinforcement-Learning Algorithms.
// ANCHOR: sarsa.fixed-point
pub fn soft_greedy_backup<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    q: &ArrayRef2<F>,
    epsilon: F,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    check_table("q", q.dim(), p);
    let share = epsilon / F::of(q.ncols() as f64);
    let soft = |next: usize| (F::one() - epsilon) * largest_row(q, next) + share * q.row(next).sum();
    mean_target(p, r, soft, gamma, out);
}
// ANCHOR_END: sarsa.fixed-point

/// The mean step of Q-learning in every pair, whatever policy chooses the actions.
///
/// ID `qlearn.expected-update`: `E[r + gamma max_a' Q(s', a') - Q(s, a) | s, a] = (T* Q - Q)(s, a)`. The mean over `s'`
/// stands outside of the maximum.
///
/// Shapes: `p` and `r` `[S, A, S]`, `q` and `out` `[S, A]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: C. J. C. H. Watkins, P. Dayan (1992), Q-Learning.
// ANCHOR: qlearn.expected-update
pub fn expected_q_update<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    q: &ArrayRef2<F>,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    check_table("q", q.dim(), p);
    mean_step(p, r, |next| largest_row(q, next), q, gamma, out);
}
// ANCHOR_END: qlearn.expected-update

/// The target of double Q-learning for one transition: one table selects the next action, the other one values it.
///
/// ID `qlearn.max-bias`: `r + gamma (1 - terminated) evaluate(s', argmax_a' select(s', a'))`. With independent tables the
/// value is unbiased for the selected action, and so never too large on average for the best one.
///
/// Shapes: `select` and `evaluate` `[A]`, both of the next state.
///
/// # Panics
/// If the transition did not terminate and the lengths differ, or there is no action.
///
/// Source: H. van Hasselt (2010), Double Q-learning.
// ANCHOR: qlearn.max-bias
#[inline]
pub fn double_q_target<F: Real>(reward: F, terminated: bool, select: &[F], evaluate: &[F], gamma: F) -> F {
    target(reward, terminated, gamma, || {
        assert!(
            select.len() == evaluate.len(),
            "select has {} entries but evaluate has {}",
            select.len(),
            evaluate.len()
        );
        evaluate[argmax(select)]
    })
}

/// The mean of the largest of independent estimates.
///
/// ID `qlearn.max-bias`: `E[max_a Q_a] >= max_a E[Q_a]`, with equality only if one action is the largest almost surely. Computed
/// from `Pr(max <= x) = prod_a Pr(Q_a <= x)`, step by step over the values that occur.
///
/// Shapes: `value[a]` and `prob[a]` hold the values that the estimate of action `a` can take, and their probabilities.
///
/// # Panics
/// If the shapes do not belong together, there is no action, or an action has no value.
///
/// Source: J. E. Smith, R. L. Winkler (2006), The Optimizer's Curse.
pub fn expected_max<F: Real>(value: &[Vec<F>], prob: &[Vec<F>]) -> F {
    assert!(value.len() == prob.len(), "value has {} actions but prob has {}", value.len(), prob.len());
    assert!(!value.is_empty(), "there is no action to choose");
    for (a, (v, p)) in value.iter().zip(prob).enumerate() {
        assert!(v.len() == p.len(), "value[{a}] has {} entries but prob[{a}] has {}", v.len(), p.len());
        assert!(!v.is_empty(), "value[{a}] is empty");
    }
    let mut steps: Vec<F> = value.iter().flatten().copied().collect();
    steps.sort_by(|a, b| a.partial_cmp(b).expect("estimates are numbers"));
    let at_most = |x: F| {
        let share = |v: &[F], p: &[F]| v.iter().zip(p).filter(|(v, _)| **v <= x).map(|(_, &p)| p).sum::<F>();
        value.iter().zip(prob).fold(F::one(), |product, (v, p)| product * share(v, p))
    };
    // E[max] = largest value - integral of the distribution function up to it.
    let gaps = steps.windows(2).map(|w| (w[1] - w[0]) * at_most(w[0])).sum::<F>();
    steps[steps.len() - 1] - gaps
}

/// The mean of the larger of two independent normal estimates of the same value: how much too large it is.
///
/// ID `qlearn.max-bias`: `std / sqrt(pi)`.
///
/// Source: C. E. Clark (1961), The Greatest of a Finite Set of Random Variables.
pub fn gaussian_max_bias<F: Real>(std: F) -> F {
    std / F::PI().sqrt()
}
// ANCHOR_END: qlearn.max-bias

/// The mean TD error of every state under a policy.
///
/// ID `td.expected-update`: `E[delta | s] = (T^pi V - V)(s)`: the residual of Bellman's equation. It vanishes everywhere only
/// at `V = V^pi` (for `gamma < 1`).
///
/// Shapes: `p` and `r` `[S, A, S]`, `policy` `[S, A]`, `value` and `out` `[S]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton (1988), Learning to Predict by the Methods of Temporal Differences.
// ANCHOR: td.expected-update
pub fn expected_td_update<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    policy: &ArrayRef2<F>,
    value: &[F],
    gamma: F,
    out: &mut [F],
) {
    check_table("policy", policy.dim(), p);
    check_states("value", value.len(), p);
    check_states("out", out.len(), p);
    check_reward(p, r);
    out.fill(F::zero());
    for ((s, a, next), &prob) in p.indexed_iter() {
        out[s] += policy[[s, a]] * prob * (r[[s, a, next]] + gamma * value[next] - value[s]);
    }
}
// ANCHOR_END: td.expected-update

/// The mean TD error of every state and action.
///
/// ID `td.error-advantage`: `E[delta | s, a] = sum_s' P(s' | s, a) (R + gamma V(s')) - V(s)`, which is the advantage at
/// `V = V^pi`.
///
/// Shapes: `p` and `r` `[S, A, S]`, `value` `[S]`, `out` `[S, A]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton, D. McAllester, S. Singh, Y. Mansour (2000), Policy Gradient Methods for Reinforcement Learning
/// with Function Approximation.
// ANCHOR: td.error-advantage
pub fn expected_td_error<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    value: &[F],
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    check_states("value", value.len(), p);
    mean_target(p, r, |next| value[next], gamma, out);
    for ((s, _), error) in out.indexed_iter_mut() {
        *error -= value[s];
    }
}

/// How far the mean TD error is from the advantage when the values are wrong.
///
/// ID `td.error-advantage`: `gamma E[x(s') | s, a] - x(s)` for the error `x = V - V^pi`; a constant error `c` leaves
/// `(gamma - 1) c`.
///
/// Shapes: `p` `[S, A, S]`, `value_error` `[S]`, `out` `[S, A]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: J. Schulman, P. Moritz, S. Levine, M. Jordan, P. Abbeel (2016), High-Dimensional Continuous Control Using
/// Generalized Advantage Estimation.
pub fn td_error_bias<F: Real>(p: &ArrayRef3<F>, value_error: &[F], gamma: F, out: &mut ArrayRef2<F>) {
    check_states("value_error", value_error.len(), p);
    check_table("out", out.dim(), p);
    for ((s, _), bias) in out.indexed_iter_mut() {
        *bias = -value_error[s];
    }
    for ((s, a, next), &prob) in p.indexed_iter() {
        out[[s, a]] += gamma * prob * value_error[next];
    }
}
// ANCHOR_END: td.error-advantage

/// The exact mean and variance of the n-step return from every state.
///
/// ID `td.nstep-variance`: backwards over the first two moments,
/// `E[G^2] = E[(r + gamma G')^2]` with `G^(0) = V`. At `V = V^pi` the variance does not fall with `n`; for any other `V` it may.
///
/// Shapes: `p` and `r` `[S, A, S]`, `policy` `[S, A]`, `value`, `out_mean` and `out_variance` `[S]`; the last two are
/// overwritten. Allocates.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: M. J. Sobel (1982), The Variance of Discounted Markov Decision Processes.
// ANCHOR: td.nstep-variance
pub fn nstep_moments<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    policy: &ArrayRef2<F>,
    value: &[F],
    gamma: F,
    n: usize,
    (out_mean, out_variance): (&mut [F], &mut [F]),
) {
    check_table("policy", policy.dim(), p);
    check_reward(p, r);
    check_states("value", value.len(), p);
    check_states("out_mean", out_mean.len(), p);
    check_states("out_variance", out_variance.len(), p);
    out_mean.copy_from_slice(value);
    out_variance.fill(F::zero());
    let (mut next_mean, mut next_variance) = (value.to_vec(), vec![F::zero(); value.len()]);
    for _ in 0..n {
        next_mean.copy_from_slice(out_mean);
        next_variance.copy_from_slice(out_variance);
        out_mean.fill(F::zero());
        out_variance.fill(F::zero());
        let branch = |(s, a, next): (usize, usize, usize), prob: F| {
            (policy[[s, a]] * prob, r[[s, a, next]] + gamma * next_mean[next])
        };
        for (at, &prob) in p.indexed_iter() {
            let (weight, target) = branch(at, prob);
            out_mean[at.0] += weight * target;
        }
        // Around the mean, so that a small variance of large returns keeps its digits.
        for (at, &prob) in p.indexed_iter() {
            let (weight, target) = branch(at, prob);
            let off = target - out_mean[at.0];
            out_variance[at.0] += weight * (off * off + gamma * gamma * next_variance[at.2]);
        }
    }
}
// ANCHOR_END: td.nstep-variance

/// The weight of an action that was drawn from another policy: `pi(a | s) / b(a | s)`.
///
/// ID `td.offpolicy`. An action that the behaviour never takes has no weight: it asks for `b > 0` wherever `pi > 0`.
///
/// Source: D. Precup, R. S. Sutton, S. Singh (2000), Eligibility Traces for Off-Policy Policy Evaluation.
// ANCHOR: td.offpolicy
#[inline]
pub fn action_ratio<F: Real>(policy: F, behaviour: F) -> F {
    policy / behaviour
}

/// One tabular TD(0) step from a transition whose action was drawn from another policy; returns the weighted TD error.
///
/// ID `td.offpolicy`: `V(s) += alpha rho delta` with `rho =` [`action_ratio`] of the action taken in `s`. Without the weight
/// (`rho = 1`) the values tend to those of the behaviour.
///
/// # Panics
/// If `state` or `next_state` is outside of the table.
///
/// Source: D. Precup, R. S. Sutton, S. Singh (2000), Eligibility Traces for Off-Policy Policy Evaluation.
#[inline]
pub fn offpolicy_td_update<F: Real>(
    value: &mut [F],
    (state, next_state): (usize, usize),
    reward: F,
    end: End,
    ratio: F,
    alpha: F,
    gamma: F,
) -> F {
    let delta = ratio * (reward + gamma * bootstrap(end, value[next_state]) - value[state]);
    value[state] += alpha * delta;
    delta
}

/// The mean of the weighted TD error when another policy chooses the actions.
///
/// ID `td.offpolicy`: `sum_a b(a | s) (pi / b)(a | s) E[delta | s, a] = (T^pi V - V)(s)` where the behaviour takes every
/// action that the policy takes. Actions that the behaviour never takes contribute nothing, whatever the policy.
///
/// Shapes: `p` and `r` `[S, A, S]`, `policy` and `behaviour` `[S, A]`, `value` and `out` `[S]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: D. Precup, R. S. Sutton, S. Singh (2000), Eligibility Traces for Off-Policy Policy Evaluation.
pub fn expected_offpolicy_td_update<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    (policy, behaviour): (&ArrayRef2<F>, &ArrayRef2<F>),
    value: &[F],
    gamma: F,
    out: &mut [F],
) {
    check_table("policy", policy.dim(), p);
    check_table("behaviour", behaviour.dim(), p);
    check_states("value", value.len(), p);
    check_states("out", out.len(), p);
    check_reward(p, r);
    out.fill(F::zero());
    for ((s, a, next), &prob) in p.indexed_iter() {
        let taken = behaviour[[s, a]];
        if taken > F::zero() {
            let delta = r[[s, a, next]] + gamma * value[next] - value[s];
            out[s] += taken * prob * action_ratio(policy[[s, a]], taken) * delta;
        }
    }
}
// ANCHOR_END: td.offpolicy

/// `sum_s' P(s' | s, a) (R(s, a, s') + gamma follows(s'))` of every pair.
fn mean_target<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    follows: impl Fn(usize) -> F,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    check_table("out", out.dim(), p);
    check_reward(p, r);
    out.fill(F::zero());
    for ((s, a, next), &prob) in p.indexed_iter() {
        out[[s, a]] += prob * (r[[s, a, next]] + gamma * follows(next));
    }
}

/// [`mean_target`] less the current entry.
fn mean_step<F: Real>(
    p: &ArrayRef3<F>,
    r: &ArrayRef3<F>,
    follows: impl Fn(usize) -> F,
    q: &ArrayRef2<F>,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    mean_target(p, r, follows, gamma, out);
    for (at, step) in out.indexed_iter_mut() {
        *step -= q[at];
    }
}

fn largest_row<F: Real>(q: &ArrayRef2<F>, s: usize) -> F {
    q.row(s).fold(F::neg_infinity(), |m, &x| if x > m { x } else { m })
}

fn mean_row<F: Real>(policy: &ArrayRef2<F>, q: &ArrayRef2<F>, s: usize) -> F {
    policy.row(s).iter().zip(q.row(s)).map(|(&p, &x)| p * x).sum()
}

#[track_caller]
fn check_reward<F>(p: &ArrayRef3<F>, r: &ArrayRef3<F>) {
    let (states, _, next) = p.dim();
    assert!(states == next, "p has shape {:?} but must go from S states to S states", p.dim());
    assert!(r.dim() == p.dim(), "r has shape {:?} but p has shape {:?}", r.dim(), p.dim());
}

#[track_caller]
fn check_table<F>(name: &str, dim: (usize, usize), p: &ArrayRef3<F>) {
    let (states, actions, _) = p.dim();
    assert!(dim == (states, actions), "{name} has shape {dim:?} but p has shape {:?}", p.dim());
}

#[track_caller]
fn check_states<F>(name: &str, len: usize, p: &ArrayRef3<F>) {
    assert!(len == p.dim().0, "{name} has {len} entries but p has shape {:?}", p.dim());
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array3};

    #[test]
    fn the_first_of_equal_values_is_taken() {
        assert_eq!(
            (argmax(&[0.0, 2.0, 2.0, -1.0]), argmax(&[f32::NEG_INFINITY; 3]), argmax(&[1.0])),
            (1, 0, 0)
        );
    }

    #[test]
    fn nothing_behind_a_terminal_state_is_read() {
        let nan = [f64::NAN];
        assert_eq!(q_target(1.0, true, &nan, 0.9), 1.0);
        assert_eq!(sarsa_target(1.0, true, f64::NAN, 0.9), 1.0);
        assert_eq!(expected_sarsa_target(1.0, true, &nan, &[], 0.9), 1.0);
        assert_eq!(double_q_target(1.0, true, &nan, &[], 0.9), 1.0);
        assert_eq!(q_target(1.0, false, &[5.0, 2.0], 0.9), 5.5);
    }

    #[test]
    fn the_selecting_table_does_not_value() {
        assert_eq!(double_q_target(0.0, false, &[1.0, 3.0], &[7.0, -2.0], 0.5), -1.0);
        assert_eq!(expected_sarsa_target(1.0, false, &[2.0, 4.0], &[0.25, 0.75], 0.5), 2.75);
    }

    #[test]
    fn coins_and_bells_are_too_large_by_their_closed_form() {
        let coin = || vec![-1.0, 1.0];
        let half = || vec![0.5, 0.5];
        assert_eq!(expected_max(&[coin(), coin()], &[half(), half()]), 0.5);
        assert!((gaussian_max_bias(1.0f64) - 0.564_190).abs() < 1e-6);
    }

    #[test]
    fn one_step_changes_one_entry() {
        let mut q = [0.0, 1.0, 5.0, 2.0];
        assert_eq!(q_update(&mut q, 2, (0, 1), 1.0, Some(1), 0.5, 0.8), 4.0);
        assert_eq!(q, [0.0, 3.0, 5.0, 2.0]);
    }

    #[test]
    fn a_reward_taken_back_has_less_variance_than_its_first_half() {
        // 0 pays +1 and goes to 1, or -1 and goes to 2, which take it back and end in 3.
        let (mut p, mut r) = (Array3::zeros((4, 1, 4)), Array3::zeros((4, 1, 4)));
        for (s, next, prob, reward) in
            [(0, 1, 0.5, 1.0), (0, 2, 0.5, -1.0), (1, 3, 1.0, -1.0), (2, 3, 1.0, 1.0), (3, 3, 1.0, 0.0)]
        {
            p[[s, 0, next]] = prob;
            r[[s, 0, next]] = reward;
        }
        let variance = |n| {
            let (mut mean, mut variance) = ([0.0; 4], [0.0; 4]);
            let policy = Array2::ones((4, 1));
            nstep_moments(&p, &r, &policy, &[0.0; 4], 1.0, n, (&mut mean, &mut variance));
            variance[0]
        };
        assert_eq!([0, 1, 2, 3].map(variance), [0.0, 1.0, 0.0, 0.0]);
    }
}
