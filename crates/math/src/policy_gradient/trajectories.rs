//! Policy gradients of a finite process by listing all of its trajectories.
//!
//! The number of paths grows as `S (A S)^T`: for processes that fit on a page, where mean and covariance of an estimator are wanted
//! without sampling error.

use super::score::add_score;
use super::{baselines, weights};
use crate::{End, Real};
use ndarray::{Array2, ArrayRef2, ArrayRef3};

/// A finite process with a first state, a discount and a number of decisions.
#[derive(Clone, Copy, Debug)]
pub struct Episodic<'a, F> {
    /// `P(s' | s, a)`, `[S, A, S]`.
    pub p: &'a ArrayRef3<F>,
    /// `R(s, a, s')`, `[S, A, S]`.
    pub r: &'a ArrayRef3<F>,
    /// The law of the first state, `[S]`.
    pub mu: &'a [F],
    /// The discount, in `[0, 1]`.
    pub gamma: F,
    /// T, the number of decisions.
    pub horizon: usize,
}

/// One path: `T + 1` states and `T` actions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path<'a, F> {
    /// `s_0 .. s_T`.
    pub states: &'a [usize],
    /// `a_0 .. a_{T-1}`.
    pub actions: &'a [usize],
    /// Its probability.
    pub prob: F,
}

impl<F: Real> Episodic<'_, F> {
    #[track_caller]
    fn check(&self, policy: &ArrayRef2<F>) {
        let (states, actions, next) = self.p.dim();
        assert!(states == next, "p has shape {:?} but must go from S states to S states", self.p.dim());
        assert!(
            self.r.dim() == self.p.dim(),
            "r has shape {:?} but p has shape {:?}",
            self.r.dim(),
            self.p.dim()
        );
        assert!(
            self.mu.len() == states,
            "mu has {} entries but p has shape {:?}",
            self.mu.len(),
            self.p.dim()
        );
        assert!(
            policy.dim() == (states, actions),
            "policy has shape {:?} but p has shape {:?}",
            policy.dim(),
            self.p.dim()
        );
    }

    /// The reward of step `t` of a path.
    pub fn reward(&self, path: &Path<'_, F>, t: usize) -> F {
        self.r[[path.states[t], path.actions[t], path.states[t + 1]]]
    }

    /// `G(tau) = sum_{t<T} gamma^t r_t`.
    pub fn return_(&self, path: &Path<'_, F>) -> F {
        (0..self.horizon).rev().fold(F::zero(), |after, t| self.reward(path, t) + self.gamma * after)
    }

    /// Calls `f` with every path that the policy can take.
    ///
    /// # Panics
    /// If the shapes do not belong together.
    pub fn for_each_path(&self, policy: &ArrayRef2<F>, mut f: impl FnMut(&Path<'_, F>)) {
        self.check(policy);
        let mut path = (Vec::with_capacity(self.horizon + 1), Vec::with_capacity(self.horizon));
        for (s, &prob) in self.mu.iter().enumerate().filter(|(_, prob)| **prob > F::zero()) {
            path.0.push(s);
            self.extend(policy, &mut path, prob, &mut f);
            path.0.pop();
        }
    }

    fn extend(
        &self,
        policy: &ArrayRef2<F>,
        path: &mut (Vec<usize>, Vec<usize>),
        prob: F,
        f: &mut impl FnMut(&Path<'_, F>),
    ) {
        if path.1.len() == self.horizon {
            return f(&Path { states: &path.0, actions: &path.1, prob });
        }
        let s = path.0[path.1.len()];
        for (action, &pi) in policy.row(s).iter().enumerate() {
            for next in 0..self.mu.len() {
                let step = pi * self.p[[s, action, next]];
                if step > F::zero() {
                    path.0.push(next);
                    path.1.push(action);
                    self.extend(policy, path, prob * step, f);
                    path.0.pop();
                    path.1.pop();
                }
            }
        }
    }
}

/// The logarithm of a path's probability.
///
/// ID `pg.trajectory-prob`: `log p(tau) = log mu(s_0) + sum_{t<T} (log pi(a_t | s_t) + log P(s_{t+1} | s_t, a_t))`; the probabilities of all paths
/// add up to 1. A path that cannot occur has `-inf`.
///
/// Shapes: `policy` `[S, A]`; `states` `[T+1]` and `actions` `[T]`, of any length T.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning: An Introduction, section 5.5.
// ANCHOR: pg.trajectory-prob
pub fn log_prob<F: Real>(
    process: &Episodic<'_, F>,
    policy: &ArrayRef2<F>,
    states: &[usize],
    actions: &[usize],
) -> F {
    process.check(policy);
    check_path(states, actions);
    let mut sum = process.mu[states[0]].ln();
    for (t, &action) in actions.iter().enumerate() {
        sum += policy[[states[t], action]].ln() + process.p[[states[t], action, states[t + 1]]].ln();
    }
    sum
}

/// The gradient of [`log_prob`] in a table of softmax logits.
///
/// ID `pg.trajectory-prob`: `grad log p(tau) = sum_{t<T} grad log pi(a_t | s_t)`: neither `mu` nor `P` depends on the parameters, so both drop out
/// and nobody has to know them.
///
/// Shapes: `policy` and `out` `[S, A]`; `states` `[T+1]` and `actions` `[T]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. J. Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning.
pub fn score<F: Real>(policy: &ArrayRef2<F>, states: &[usize], actions: &[usize], out: &mut ArrayRef2<F>) {
    check_path(states, actions);
    check_out(policy, out);
    out.fill(F::zero());
    for (&s, &action) in states.iter().zip(actions) {
        add_score(&policy.row(s), action, F::one(), &mut out.row_mut(s));
    }
}
// ANCHOR_END: pg.trajectory-prob

#[track_caller]
fn check_path(states: &[usize], actions: &[usize]) {
    assert!(
        states.len() == actions.len() + 1,
        "states has {} entries but actions has {}: one state more is needed",
        states.len(),
        actions.len()
    );
}

#[track_caller]
fn check_out<F>(policy: &ArrayRef2<F>, out: &ArrayRef2<F>) {
    assert!(
        out.dim() == policy.dim(),
        "out has shape {:?} but policy has shape {:?}",
        out.dim(),
        policy.dim()
    );
}

/// The gradient of `J = E[G(tau)]` in a table of softmax logits: the mean, over all trajectories, of the return times the score.
///
/// ID `pg.reinforce-identity`: `grad J = E[G(tau) sum_{t<T} grad log pi(a_t | s_t)]`. Neither rewards nor transitions are differentiated, so they
/// may be steps.
///
/// Shapes: `policy` and `out` `[S, A]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. J. Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning.
// ANCHOR: pg.reinforce-identity
pub fn gradient<F: Real>(process: &Episodic<'_, F>, policy: &ArrayRef2<F>, out: &mut ArrayRef2<F>) {
    check_out(policy, out);
    out.fill(F::zero());
    process.for_each_path(policy, |path| {
        let weight = path.prob * process.return_(path);
        for (&s, &action) in path.states.iter().zip(path.actions) {
            add_score(&policy.row(s), action, weight, &mut out.row_mut(s));
        }
    });
}
// ANCHOR_END: pg.reinforce-identity

/// A sampled trajectory with the weight of each of its scores.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a, F> {
    /// `s_0 .. s_{T-1}`; a last state may follow.
    pub states: &'a [usize],
    /// `a_0 .. a_{T-1}`.
    pub actions: &'a [usize],
    /// `w_0 .. w_{T-1}`.
    pub weight: &'a [F],
}

/// The sample policy gradient of a table of softmax logits.
///
/// ID `pg.sample-estimator`: `(1/N) sum_i sum_t w_t^i grad log pi(a_t^i | s_t^i)`, with the covariance of one term divided by N. Unbiased for the
/// total return, for `gamma^t G_t`, and for either less a baseline; on one and the same sample these differ.
///
/// Shapes: `policy` and `out` `[S, A]`; `out` is overwritten. Without samples it is 0.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. J. Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning.
// ANCHOR: pg.sample-estimator
pub fn estimate<F: Real>(policy: &ArrayRef2<F>, samples: &[Sample<'_, F>], out: &mut ArrayRef2<F>) {
    check_out(policy, out);
    out.fill(F::zero());
    let share = F::one() / F::of(samples.len() as f64);
    for Sample { states, actions, weight } in samples {
        assert!(
            actions.len() == weight.len(),
            "actions has {} entries but weight has {}",
            actions.len(),
            weight.len()
        );
        for ((&s, &action), &w) in states.iter().zip(*actions).zip(*weight) {
            add_score(&policy.row(s), action, share * w, &mut out.row_mut(s));
        }
    }
}
// ANCHOR_END: pg.sample-estimator

/// Which weights an estimator gives to the scores of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weighting {
    /// `G(tau) - b_t`.
    TotalReturn,
    /// `gamma^t (G_t - b_t)`.
    RewardToGo,
    /// `G_t - b_t`, without the factor `gamma^t`.
    Undiscounted,
}

/// The weights of a path's scores, by the functions that training uses ([`weights`] and [`baselines`]).
///
/// Shapes: `baseline` `[T, S]` (of each time and state, if any), `out` `[T, 1]`, overwritten. Allocates.
///
/// # Panics
/// If the shapes do not belong together.
pub fn path_weights<F: Real>(
    process: &Episodic<'_, F>,
    path: &Path<'_, F>,
    weighting: Weighting,
    baseline: Option<&ArrayRef2<F>>,
    out: &mut ArrayRef2<F>,
) {
    let shape = (process.horizon, 1);
    let reward = Array2::from_shape_fn(shape, |(t, _)| process.reward(path, t));
    let end = Array2::from_shape_fn(
        shape,
        |(t, _)| if t + 1 < process.horizon { End::No } else { End::Terminated },
    );
    let unused = Array2::zeros(shape);
    match weighting {
        Weighting::TotalReturn => weights::total_return(&reward, &unused, &end, process.gamma, out),
        _ => weights::reward_to_go(&reward, &unused, &end, process.gamma, out),
    }
    if let Some(baseline) = baseline {
        assert!(
            baseline.dim() == (process.horizon, process.mu.len()),
            "baseline has shape {:?} but p has shape {:?} and the horizon is {}",
            baseline.dim(),
            process.p.dim(),
            process.horizon
        );
        let along = Array2::from_shape_fn(shape, |(t, _)| baseline[[t, path.states[t]]]);
        baselines::subtract(out, &along);
    }
    if weighting == Weighting::RewardToGo {
        weights::discount_by_time(&end, process.gamma, &mut [F::one()], out);
    }
}

/// Mean and covariance of the estimate from one trajectory.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments<F> {
    /// `[S, A]`.
    pub mean: Array2<F>,
    /// `[S A, S A]`, in the order of [`crate::mdp::pair_index`].
    pub covariance: Array2<F>,
}

impl<F: Real> Moments<F> {
    /// The sum of the variances of all components: the mean squared distance from the mean.
    pub fn variance(&self) -> F {
        self.covariance.diag().sum()
    }
}

/// The exact mean and covariance of [`estimate`] from one trajectory.
///
/// ID `pg.sample-estimator`. Over all paths, twice: the covariance around the mean, so that a small one keeps its digits.
///
/// Shapes: `policy` `[S, A]`, `baseline` `[T, S]`, if any. Allocates.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: E. Greensmith, P. L. Bartlett, J. Baxter (2004), Variance Reduction Techniques for Gradient Estimates in
/// Reinforcement Learning.
pub fn moments<F: Real>(
    process: &Episodic<'_, F>,
    policy: &ArrayRef2<F>,
    weighting: Weighting,
    baseline: Option<&ArrayRef2<F>>,
) -> Moments<F> {
    let mut mean = Array2::zeros(policy.dim());
    for_each_estimate(process, policy, weighting, baseline, |path, estimate| {
        mean.scaled_add(path.prob, estimate);
    });
    let parameters = mean.len();
    let mut covariance = Array2::zeros((parameters, parameters));
    for_each_estimate(process, policy, weighting, baseline, |path, estimate| {
        let off: Vec<F> = estimate.iter().zip(&mean).map(|(&e, &m)| e - m).collect();
        for ((i, k), c) in covariance.indexed_iter_mut() {
            *c += path.prob * off[i] * off[k];
        }
    });
    Moments { mean, covariance }
}

/// Calls `f` with every path and the estimate from it.
fn for_each_estimate<F: Real>(
    process: &Episodic<'_, F>,
    policy: &ArrayRef2<F>,
    weighting: Weighting,
    baseline: Option<&ArrayRef2<F>>,
    mut f: impl FnMut(&Path<'_, F>, &ArrayRef2<F>),
) {
    let mut one = Array2::zeros(policy.dim());
    let mut weight = Array2::zeros((process.horizon, 1));
    process.for_each_path(policy, |path| {
        path_weights(process, path, weighting, baseline, &mut weight);
        let weight = weight.as_slice().unwrap_or_default();
        estimate(policy, &[Sample { states: path.states, actions: path.actions, weight }], &mut one);
        f(path, &one);
    });
}

/// The baseline of least variance among those that are equal within groups of times and states, for the weights `gamma^t (G_t - b_t)`.
///
/// ID `pg.baseline-optimal` over several steps: with `x_g = sum_t 1[(t, s_t) in g] gamma^t score_t` and the estimate `e` without a baseline,
/// `b_g = E[x_g . e] / E[|x_g|^2]`. The groups do not disturb each other, since a later score has mean 0 whatever came before. One group
/// gives the best constant, a group per time the best `b_t`, a group per time and state the best `b_t(s)`.
///
/// Shapes: `policy` `[S, A]`; `group` `[T, S]`, of numbers from 0; `out` `[T, S]`, overwritten (0 in groups that are never visited or where
/// the policy is sure). Allocates.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: E. Greensmith, P. L. Bartlett, J. Baxter (2004), Variance Reduction Techniques for Gradient Estimates in
/// Reinforcement Learning.
pub fn optimal_baseline<F: Real>(
    process: &Episodic<'_, F>,
    policy: &ArrayRef2<F>,
    group: &ArrayRef2<usize>,
    out: &mut ArrayRef2<F>,
) {
    let shape = (process.horizon, process.mu.len());
    assert!(group.dim() == shape, "group has shape {:?} but times and states are {shape:?}", group.dim());
    assert!(out.dim() == shape, "out has shape {:?} but group has shape {:?}", out.dim(), group.dim());
    let groups = group.iter().max().map_or(0, |&g| g + 1);
    let (mut product, mut square) = (vec![F::zero(); groups], vec![F::zero(); groups]);
    let mut scores = vec![Array2::<F>::zeros(policy.dim()); groups];
    for_each_estimate(process, policy, Weighting::RewardToGo, None, |path, estimate| {
        scores.iter_mut().for_each(|score| score.fill(F::zero()));
        let mut discount = F::one();
        for (t, (&s, &action)) in path.states.iter().zip(path.actions).enumerate() {
            add_score(&policy.row(s), action, discount, &mut scores[group[[t, s]]].row_mut(s));
            discount *= process.gamma;
        }
        for (g, score) in scores.iter().enumerate() {
            product[g] += path.prob * score.iter().zip(estimate).map(|(&x, &e)| x * e).sum::<F>();
            square[g] += path.prob * score.iter().map(|&x| x * x).sum::<F>();
        }
    });
    for (b, &g) in out.iter_mut().zip(group) {
        *b = if square[g] > F::zero() { product[g] / square[g] } else { F::zero() };
    }
}

/// What a baseline that looks at the action does to the mean of the estimate.
///
/// ID `pg.baseline`: for `b_t(s, a)` the weights `gamma^t (G_t - b_t)` have the mean `grad J - E[sum_t gamma^t b_t(s_t, a_t) grad log pi(a_t | s_t)]`; this is
/// the second term, with its sign. It is 0 if `b` does not depend on the action, and `-grad J` for the action's own value.
///
/// Shapes: `policy` and `out` `[S, A]`, `baseline` `[T, S, A]`; `out` is overwritten. Allocates.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: G. Tucker, S. Bhupatiraju, S. Gu, R. E. Turner, Z. Ghahramani, S. Levine (2018), The Mirage of Action-Dependent
/// Baselines in Reinforcement Learning.
pub fn action_baseline_bias<F: Real>(
    process: &Episodic<'_, F>,
    policy: &ArrayRef2<F>,
    baseline: &ArrayRef3<F>,
    out: &mut ArrayRef2<F>,
) {
    process.check(policy);
    let (states, actions) = policy.dim();
    assert!(
        baseline.dim() == (process.horizon, states, actions),
        "baseline has shape {:?} but policy has shape {:?} and the horizon is {}",
        baseline.dim(),
        policy.dim(),
        process.horizon
    );
    assert!(
        out.dim() == policy.dim(),
        "out has shape {:?} but policy has shape {:?}",
        out.dim(),
        policy.dim()
    );
    out.fill(F::zero());
    let mut kernel = Array2::zeros((states, states));
    crate::mdp::policy_kernel(process.p, policy, &mut kernel);
    let mut law = process.mu.to_vec();
    let mut discount = F::one();
    for b in baseline.outer_iter() {
        for (s, &prob) in law.iter().enumerate() {
            for a in 0..actions {
                let weight = discount * prob * policy[[s, a]] * b[[s, a]];
                add_score(&policy.row(s), a, -weight, &mut out.row_mut(s));
            }
        }
        let before = law.clone();
        law.fill(F::zero());
        for ((s, next), &prob) in kernel.indexed_iter() {
            law[next] += before[s] * prob;
        }
        discount *= process.gamma;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};

    /// One state that both actions stay in: the first pays 3, the second 1.
    fn one_state() -> (Array3<f64>, Array3<f64>) {
        (Array3::ones((1, 2, 1)), array![[[3.0], [1.0]]])
    }

    #[test]
    fn all_paths_are_listed_once() {
        let (p, r) = one_state();
        let process = Episodic { p: &p, r: &r, mu: &[1.0], gamma: 0.5, horizon: 3 };
        let policy = array![[0.25, 0.75]];
        let (mut count, mut mass, mut mean) = (0, 0.0, 0.0);
        process.for_each_path(&policy, |path| {
            count += 1;
            mass += path.prob;
            mean += path.prob * process.return_(path);
            let log = log_prob(&process, &policy, path.states, path.actions);
            assert!((log.exp() - path.prob).abs() < 1e-15);
        });
        assert!(count == 8 && (mass - 1.0).abs() < 1e-15 && (mean - 1.75 * 1.5).abs() < 1e-15);
    }

    #[test]
    fn forms_differ_on_a_sample_and_agree_on_average() {
        // J = (1 + gamma) (1 + 2 p): dJ / dz = 2 (1 + gamma) p (1 - p).
        let (p, r) = one_state();
        let process = Episodic { p: &p, r: &r, mu: &[1.0], gamma: 0.5, horizon: 2 };
        let policy = array![[0.25, 0.75]];
        let mut out = Array2::zeros((1, 2));
        gradient(&process, &policy, &mut out);
        assert!((out[[0, 0]] - 0.5625).abs() < 1e-15 && (out[[0, 1]] + 0.5625).abs() < 1e-15);
        let total = moments(&process, &policy, Weighting::TotalReturn, None);
        let to_go = moments(&process, &policy, Weighting::RewardToGo, None);
        assert!((&total.mean - &out).iter().chain(&(&to_go.mean - &out)).all(|x: &f64| x.abs() < 1e-15));
        assert!(to_go.variance() < total.variance());
        let plain = moments(&process, &policy, Weighting::Undiscounted, None);
        assert!((plain.mean[[0, 0]] - 0.75).abs() < 1e-15);
    }

    #[test]
    fn the_best_baseline_of_one_step_is_the_weighted_mean() {
        let (p, r) = one_state();
        let process = Episodic { p: &p, r: &r, mu: &[1.0], gamma: 0.5, horizon: 1 };
        let policy = array![[0.9, 0.1]];
        let mut best = array![[f64::NAN]];
        optimal_baseline(&process, &policy, &array![[0]], &mut best);
        // 1 + 2 * 0.1, as for rewards 1 and 0.
        assert!((best[[0, 0]] - 1.2).abs() < 1e-14);
        let moments = moments(&process, &policy, Weighting::RewardToGo, Some(&*best));
        assert!(moments.variance() < 1e-28);
        let mut bias = Array2::zeros((1, 2));
        action_baseline_bias(&process, &policy, &array![[[3.0, 1.0]]], &mut bias);
        assert!((&bias + &moments.mean).iter().all(|x| x.abs() < 1e-15));
    }
}
