//! Policy gradients: `pg.*` and `ac.one-step`.
//!
//! One side is the function under test; the other lists every trajectory with a recursion of its own, solves for values, or takes
//! central differences of an objective that was written without any gradient.

mod baselines;
mod estimators;
mod exact;
mod loss;
mod scores;
mod training;

use crate::Check;
use crate::generators::{Mdp, Policy};
use crate::oracles::{Trajectory, gradient, trajectories};
use ndarray::{Array2, Array3};
use rederive_math::policy_gradient::trajectories::{Episodic, Weighting};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    [
        scores::checks(),
        estimators::checks(),
        baselines::checks(),
        loss::checks(),
        exact::checks(),
        training::checks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The process as the functions under test take it.
fn episodic(mdp: &Mdp, horizon: usize) -> Episodic<'_, f64> {
    Episodic { p: &mdp.p, r: &mdp.r, mu: mdp.mu.as_slice().unwrap_or_default(), gamma: mdp.gamma, horizon }
}

/// The policy of a table of logits.
fn softmax(logits: &[f64], actions: usize) -> Policy {
    let rows = logits.chunks(actions).flat_map(|row| {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = row.iter().map(|z| (z - max).exp()).sum();
        row.iter().map(move |z| (z - max).exp() / total).collect::<Vec<_>>()
    });
    Policy::from_shape_vec((logits.len() / actions, actions), rows.collect()).expect("whole rows")
}

/// Logits of a policy.
fn logits(policy: &Policy) -> Vec<f64> {
    policy.iter().map(|p| p.ln()).collect()
}

/// The policy over states where each state takes the row that it sees.
fn seen(observation: &[usize], rows: &Policy) -> Policy {
    Policy::from_shape_fn((observation.len(), rows.ncols()), |(s, a)| rows[[observation[s], a]])
}

/// `d log pi(a | s) / d theta(s, b)`.
fn score(policy: &Policy, s: usize, a: usize, b: usize) -> f64 {
    f64::from(u8::from(a == b)) - policy[[s, b]]
}

/// `sum_t gamma^t r_t` of a path.
fn path_return(mdp: &Mdp, path: &Trajectory<'_>) -> f64 {
    (0..path.actions.len()).map(|t| mdp.gamma.powi(t as i32) * path.reward(mdp, t)).sum()
}

/// `G_t` of a path.
fn to_go(mdp: &Mdp, path: &Trajectory<'_>, t: usize) -> f64 {
    (t..path.actions.len()).map(|k| mdp.gamma.powi((k - t) as i32) * path.reward(mdp, k)).sum()
}

/// The weight of the score of step `t`, with a baseline for every step.
fn weight(
    mdp: &Mdp,
    path: &Trajectory<'_>,
    weighting: Weighting,
    baseline: impl Fn(usize) -> f64,
    t: usize,
) -> f64 {
    match weighting {
        Weighting::TotalReturn => path_return(mdp, path) - baseline(t),
        Weighting::RewardToGo => mdp.gamma.powi(t as i32) * (to_go(mdp, path, t) - baseline(t)),
        Weighting::Undiscounted => to_go(mdp, path, t) - baseline(t),
    }
}

/// `J` of a finite horizon.
fn objective(mdp: &Mdp, policy: &Policy, horizon: usize) -> f64 {
    let mut mean = 0.0;
    trajectories(mdp, policy, horizon, &mut |path| mean += path.prob * path_return(mdp, &path));
    mean
}

/// The gradient of `J` in the logits, by central differences.
fn finite_gradient(mdp: &Mdp, policy: &Policy, horizon: usize) -> Vec<f64> {
    let actions = mdp.actions();
    gradient(|z| objective(mdp, &softmax(z, actions), horizon), &logits(policy))
}

/// `V_t(s)` and `Q_t(s, a)` of a finite horizon, backwards; `V_T` is left out.
fn finite_values(mdp: &Mdp, policy: &Policy, horizon: usize) -> (Array2<f64>, Array3<f64>) {
    let (states, actions) = policy.dim();
    let (mut v, mut q) = (Array2::zeros((horizon, states)), Array3::zeros((horizon, states, actions)));
    let mut next = vec![0.0; states];
    for t in (0..horizon).rev() {
        for s in 0..states {
            for a in 0..actions {
                q[[t, s, a]] =
                    (0..states).map(|k| mdp.p[[s, a, k]] * (mdp.r[[s, a, k]] + mdp.gamma * next[k])).sum();
            }
            v[[t, s]] = (0..actions).map(|a| policy[[s, a]] * q[[t, s, a]]).sum();
        }
        next = v.row(t).to_vec();
    }
    (v, q)
}

/// A process from a list of `(s, a, s', P, R)`; what is left of a row stays in `s` without reward.
fn listed(
    states: usize,
    actions: usize,
    mu: &[f64],
    gamma: f64,
    moves: &[(usize, usize, usize, f64, f64)],
) -> Mdp {
    let (mut p, mut r) = (Array3::zeros((states, actions, states)), Array3::zeros((states, actions, states)));
    for &(s, a, next, prob, reward) in moves {
        p[[s, a, next]] = prob;
        r[[s, a, next]] = reward;
    }
    for s in 0..states {
        for a in 0..actions {
            let left = 1.0 - (0..states).map(|next| p[[s, a, next]]).sum::<f64>();
            p[[s, a, s]] += left;
        }
    }
    Mdp { p, r, mu: mu.to_vec().into(), gamma }
}

/// Two decisions that share the probability of the first action: at first it pays 1, then it costs 1.5; the other pays nothing.
fn regretted(gamma: f64) -> Mdp {
    let moves = [(0, 0, 1, 1.0, 1.0), (0, 1, 1, 1.0, 0.0), (1, 0, 2, 1.0, -1.5), (1, 1, 2, 1.0, 0.0)];
    listed(3, 2, &[1.0, 0.0, 0.0], gamma, &moves)
}

/// `J = p - 5 p^2` where both states share `p = Pr(a)`: first `a` pays 1 and goes on, `b` ends; then `a` costs 5.
fn tempting() -> Mdp {
    let moves = [(0, 0, 1, 1.0, 1.0), (0, 1, 2, 1.0, 0.0), (1, 0, 2, 1.0, -5.0), (1, 1, 2, 1.0, 0.0)];
    listed(3, 2, &[1.0, 0.0, 0.0], 1.0, &moves)
}

/// The same law of two actions in every state.
fn coin(states: usize, p: f64) -> Policy {
    Policy::from_shape_fn((states, 2), |(_, a)| if a == 0 { p } else { 1.0 - p })
}
