//! REINFORCE: its identity, its estimator, the past that drops out and the factor that does not.

use super::{
    coin, episodic, finite_gradient, listed, objective, path_return, regretted, score, seen, softmax,
    tempting, to_go, weight,
};
use crate::generators::{Mdp, Policy, Roll, normals, roll, tiny_and_policy, unit};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_STAT, Worst, require};
use crate::oracles::{derivative, gradient, jacobian, trajectories};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array2, Array3, array};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::End;
use rederive_math::policy_gradient::exact::share;
use rederive_math::policy_gradient::score::add_score;
use rederive_math::policy_gradient::trajectories::{
    Sample, Weighting, estimate, gradient as reinforce, moments, path_weights,
};
use rederive_math::policy_gradient::weights::{discount_by_time, episode_step, reward_to_go, total_return};

pub(super) fn checks() -> Vec<Check> {
    vec![
        random("pg.reinforce-identity", "gradient", TOL_FD, rewarded(), identity).at_most(96),
        random("pg.reinforce-identity", "bandit", TOL_ID, tiny_and_policy(), bandit),
        random("pg.reinforce-identity", "total-return", TOL_ID, roll(), total_on_rollouts),
        fixed("pg.reinforce-identity", "closed", TOL_STAT, |_| identity_closed()),
        random("pg.sample-estimator", "pairs", TOL_ID, pair_case(), pairs).at_most(64),
        random("pg.sample-estimator", "definition", TOL_ID, pair_case(), single).at_most(96),
        fixed("pg.sample-estimator", "closed", TOL_ID, |_| forms_on_one_sample()),
        fixed("pg.sample-estimator", "edges", EXACT, |_| estimate_edges()),
        random("pg.reward-to-go", "gradient", TOL_FD, tiny_and_policy(), to_go_gradient).at_most(96),
        random("pg.reward-to-go", "past", TOL_ID, tiny_and_policy(), past).at_most(96),
        random("pg.reward-to-go", "rollout", TOL_ID, roll(), to_go_on_rollouts),
        random("pg.discount-factor", "gradient", TOL_FD, shared_case(), factor_gradient).at_most(96),
        random("pg.discount-factor", "without", TOL_ID, shared_case(), without_factor).at_most(96),
        random("pg.discount-factor", "layered", TOL_ID, layered(), layered_rescales).at_most(96),
        random("pg.discount-factor", "rollout", TOL_ID, (roll(), unit()), factor_on_rollouts),
        random("pg.discount-factor", "no-gradient", TOL_FD, curl_case(), no_gradient),
        fixed("pg.discount-factor", "closed", TOL_STAT, |_| factor_closed()),
    ]
}

/// MDP-tiny with a policy; the rewards are those drawn, one and the same number, or a step in the action's index.
fn rewarded() -> impl Strategy<Value = (Mdp, usize, Policy)> + Clone + Send + Sync {
    (tiny_and_policy(), 0..5u8, -3.0..=3.0f64).prop_map(|((mut mdp, horizon, policy), kind, constant)| {
        match kind {
            0 => mdp.r.fill(constant),
            1 => mdp.r = Array3::from_shape_fn(mdp.r.dim(), |(_, a, _)| if a > 0 { constant } else { 0.0 }),
            _ => {}
        }
        (mdp, horizon, policy)
    })
}

// pg.reinforce-identity

fn identity((mdp, horizon, policy): (Mdp, usize, Policy)) -> Measured {
    let mut out = Array2::from_elem(policy.dim(), f64::NAN);
    reinforce(&episodic(&mdp, horizon), &policy, &mut out);
    let mut worst = Worst::new();
    let got: Vec<f64> = out.iter().copied().collect();
    worst.gradient(&got, &finite_gradient(&mdp, &policy, horizon));
    if mdp.r.iter().all(|&r| r == mdp.r[[0, 0, 0]]) {
        // A constant reward moves nothing.
        worst.all(&out, &vec![0.0; out.len()]);
    }
    worst.done()
}

/// One decision is a contextual bandit: `mu(s) pi(a | s) (r(s, a) - r(s))`.
fn bandit((mdp, _, policy): (Mdp, usize, Policy)) -> Measured {
    let mut out = Array2::from_elem(policy.dim(), f64::NAN);
    reinforce(&episodic(&mdp, 1), &policy, &mut out);
    let mean =
        |s: usize, a: usize| -> f64 { (0..mdp.states()).map(|k| mdp.p[[s, a, k]] * mdp.r[[s, a, k]]).sum() };
    let mut worst = Worst::new();
    for ((s, a), &got) in out.indexed_iter() {
        let value: f64 = (0..2).map(|b| policy[[s, b]] * mean(s, b)).sum();
        worst.same(got, mdp.mu[s] * policy[[s, a]] * (mean(s, a) - value));
    }
    worst.done()
}

/// What a step of a segment is followed by, summed up and discounted from there.
fn segment_return(reward: &[f64], bootstrap: f64, gamma: f64) -> f64 {
    let sum: f64 = reward.iter().enumerate().map(|(k, r)| gamma.powi(k as i32) * r).sum();
    sum + gamma.powi(reward.len() as i32) * bootstrap
}

fn total_on_rollouts(roll: Roll) -> Measured {
    let mut out = Array2::from_elem(roll.reward.dim(), f64::NAN);
    total_return(&roll.reward, &roll.next_value, &roll.end(), roll.gamma, &mut out);
    let mut worst = Worst::new();
    for segment in roll.segments() {
        let want = segment_return(&segment.reward, segment.bootstrap, roll.gamma);
        for t in 0..segment.len() {
            worst.same(out[[segment.first + t, segment.n]], want);
        }
    }
    worst.done()
}

fn identity_closed() -> Measured {
    let mut worst = Worst::new();
    // One decision, p = 0.8, rewards 1 and 0: the gradient in the first logit, beside the number that comes out if nobody differentiates.
    let bandit = listed(1, 2, &[1.0], 1.0, &[(0, 0, 0, 1.0, 1.0), (0, 1, 0, 1.0, 0.0)]);
    let mut out = array![[f64::NAN, f64::NAN]];
    reinforce(&episodic(&bandit, 1), &coin(1, 0.8), &mut out);
    worst.printed(out[[0, 0]], 0.16, 12).printed(out[[0, 1]], -0.16, 12);
    let without: f64 = 0.8 * 0.8f64.ln() * (1.0 - 0.8) + 0.2 * 0.2f64.ln() * (0.0 - 0.8);
    worst.printed(without, 0.221_81, 5);
    // J = p - 5 p^2 is smooth; the gradient in the shared logit is p (1 - p) (1 - 10 p).
    let mdp = tempting();
    for p in [0.09, 0.3, 0.5] {
        let mut out = Array2::zeros((3, 2));
        reinforce(&episodic(&mdp, 2), &coin(3, p), &mut out);
        let mut shared = array![[f64::NAN, f64::NAN]];
        share(&[0, 0, 0], &out, &mut shared);
        worst.printed(shared[[0, 0]], p * (1.0 - p) * (1.0 - 10.0 * p), 12);
        let slope = derivative(|p| objective(&mdp, &coin(3, p), 2), p);
        worst.printed(slope, 1.0 - 10.0 * p, 9);
    }
    worst.printed(objective(&mdp, &coin(3, 0.09), 2), 0.0495, 12);
    // Both actions worth 10: what is sampled moves, what is expected does not.
    let equal = listed(1, 2, &[1.0], 1.0, &[(0, 0, 0, 1.0, 10.0), (0, 1, 0, 1.0, 10.0)]);
    let mut step = array![[0.0, 0.0]];
    estimate(&coin(1, 0.5), &[Sample { states: &[0], actions: &[0], weight: &[10.0] }], &mut step);
    let moved = softmax(&[0.1 * step[[0, 0]], 0.1 * step[[0, 1]]], 2);
    worst.printed(moved[[0, 0]], 0.731_059, 6).printed(moved[[0, 1]], 0.268_941, 6);
    reinforce(&episodic(&equal, 1), &coin(1, 0.5), &mut step);
    worst.printed(step[[0, 0]], 0.0, 12).done()
}

// pg.sample-estimator

#[derive(Clone, Debug)]
struct PairCase {
    mdp: Mdp,
    horizon: usize,
    policy: Policy,
    weighting: Weighting,
    /// `[T, S]`, if any.
    baseline: Option<Array2<f64>>,
}

fn pair_case() -> impl Strategy<Value = PairCase> + Clone + Send + Sync {
    let weighting =
        prop_oneof![Just(Weighting::TotalReturn), Just(Weighting::RewardToGo), Just(Weighting::Undiscounted)];
    (tiny_and_policy(), 1..=2usize, weighting, normals(6), any::<bool>()).prop_map(
        |((mdp, _, policy), horizon, weighting, b, with)| {
            let baseline = Array2::from_shape_fn((horizon, mdp.states()), |(t, s)| b[t * 3 + s]);
            PairCase { mdp, horizon, policy, weighting, baseline: with.then_some(baseline) }
        },
    )
}

/// A path with its probability, the weights of its scores, and the estimate that they give.
struct Listed {
    states: Vec<usize>,
    actions: Vec<usize>,
    prob: f64,
    weight: Vec<f64>,
    estimate: Vec<f64>,
}

/// All paths, worked out by hand.
fn by_hand(case: &PairCase) -> Vec<Listed> {
    let PairCase { mdp, horizon, policy, weighting, baseline } = case;
    let mut all = Vec::new();
    trajectories(mdp, policy, *horizon, &mut |path| {
        let b = |t: usize| baseline.as_ref().map_or(0.0, |b| b[[t, path.states[t]]]);
        let weight: Vec<f64> = (0..*horizon).map(|t| weight(mdp, &path, *weighting, b, t)).collect();
        let mut estimate = vec![0.0; policy.len()];
        for t in 0..*horizon {
            for k in 0..2 {
                estimate[2 * path.states[t] + k] +=
                    weight[t] * score(policy, path.states[t], path.actions[t], k);
            }
        }
        let (states, actions) = (path.states.to_vec(), path.actions.to_vec());
        all.push(Listed { states, actions, prob: path.prob, weight, estimate });
    });
    all
}

/// Mean and covariance of numbers with probabilities.
fn mean_and_covariance(n: usize, law: &[(f64, Vec<f64>)]) -> (Vec<f64>, Array2<f64>) {
    let mut mean = vec![0.0; n];
    for (prob, x) in law {
        x.iter().zip(&mut mean).for_each(|(x, m)| *m += prob * x);
    }
    let covariance = Array2::from_shape_fn((n, n), |(i, k)| {
        law.iter().map(|(prob, x)| prob * (x[i] - mean[i]) * (x[k] - mean[k])).sum()
    });
    (mean, covariance)
}

fn single(case: PairCase) -> Measured {
    let PairCase { mdp, horizon, policy, weighting, baseline } = &case;
    let paths = by_hand(&case);
    let law: Vec<_> = paths.iter().map(|path| (path.prob, path.estimate.clone())).collect();
    let (mean, covariance) = mean_and_covariance(policy.len(), &law);
    let process = episodic(mdp, *horizon);
    let got = moments(&process, policy, *weighting, baseline.as_deref());
    let mut worst = Worst::new();
    worst.all(&got.mean, &mean).all(&got.covariance, &covariance);
    worst.same(got.variance(), (0..policy.len()).map(|i| covariance[[i, i]]).sum());
    let mut weight = Array2::from_elem((*horizon, 1), f64::NAN);
    let mut at = 0;
    process.for_each_path(policy, |path| {
        path_weights(&process, path, *weighting, baseline.as_deref(), &mut weight);
        worst.all(&weight, &paths[at].weight);
        at += 1;
    });
    worst.done()
}

/// Two trajectories: the mean of one, half the covariance of one.
fn pairs(case: PairCase) -> Measured {
    let policy = &case.policy;
    let paths = by_hand(&case);
    let sample = |path: &'_ Listed| -> (Vec<usize>, Vec<usize>, Vec<f64>) {
        (path.states.clone(), path.actions.clone(), path.weight.clone())
    };
    let samples: Vec<_> = paths.iter().map(sample).collect();
    let view = |i: usize| Sample { states: &samples[i].0, actions: &samples[i].1, weight: &samples[i].2 };
    let mut out = Array2::from_elem(policy.dim(), f64::NAN);
    let mut law = Vec::new();
    for (i, one) in paths.iter().enumerate() {
        for (k, two) in paths.iter().enumerate() {
            estimate(policy, &[view(i), view(k)], &mut out);
            law.push((one.prob * two.prob, out.iter().copied().collect()));
        }
    }
    let (mean, covariance) = mean_and_covariance(policy.len(), &law);
    let one: Vec<_> = paths.iter().map(|path| (path.prob, path.estimate.clone())).collect();
    let (mean_of_one, covariance_of_one) = mean_and_covariance(policy.len(), &one);
    let mut worst = Worst::new();
    worst.all(&mean, &mean_of_one).all(&covariance, &(covariance_of_one / 2.0)).done()
}

/// Rewards 1 and -1 and scores of 1: the whole return says 0, the return to go says -1.
fn forms_on_one_sample() -> Measured {
    let reward = array![[1.0], [-1.0]];
    let end = array![[End::No], [End::Terminated]];
    let unused = Array2::from_elem((2, 1), f64::NAN);
    let (mut total, mut to_go) = (Array2::from_elem((2, 1), f64::NAN), Array2::from_elem((2, 1), f64::NAN));
    total_return(&reward, &unused, &end, 1.0, &mut total);
    reward_to_go(&reward, &unused, &end, 1.0, &mut to_go);
    Worst::new().same(total.sum(), 0.0).same(to_go.sum(), -1.0).done()
}

fn estimate_edges() -> Measured {
    let (policy, mut out) = (coin(1, 0.5), array![[7.0, 7.0]]);
    estimate(&policy, &[], &mut out);
    require(out == array![[0.0, 0.0]], || format!("{out} from no samples"))?;
    let bad = Sample { states: &[0, 0], actions: &[0], weight: &[1.0, 2.0] };
    require(panics(|| estimate(&policy, &[bad], &mut array![[0.0, 0.0]])), || {
        "more weights than actions are accepted".to_owned()
    })?;
    Ok(0.0)
}

// pg.reward-to-go

fn to_go_gradient((mdp, horizon, policy): (Mdp, usize, Policy)) -> Measured {
    let got = moments(&episodic(&mdp, horizon), &policy, Weighting::RewardToGo, None).mean;
    let got: Vec<f64> = got.iter().copied().collect();
    Worst::new().gradient(&got, &finite_gradient(&mdp, &policy, horizon)).done()
}

/// Every reward from before an action has mean 0 with its score, one by one and all together.
fn past((mdp, horizon, policy): (Mdp, usize, Policy)) -> Measured {
    let process = episodic(&mdp, horizon);
    let mut worst = Worst::new();
    let mut term = Array2::<f64>::zeros(policy.dim());
    let zero = vec![0.0; policy.len()];
    for t in 0..horizon {
        for k in 0..t {
            term.fill(0.0);
            trajectories(&mdp, &policy, horizon, &mut |path| {
                let s = path.states[t];
                let scale = path.prob * path.reward(&mdp, k);
                add_score(&policy.row(s), path.actions[t], scale, &mut term.row_mut(s));
            });
            worst.all(&term, &zero);
        }
        // What one weight holds and the other does not.
        term.fill(0.0);
        let mut total = Array2::from_elem((horizon, 1), f64::NAN);
        let mut to_go = total.clone();
        process.for_each_path(&policy, |path| {
            path_weights(&process, path, Weighting::TotalReturn, None, &mut total);
            path_weights(&process, path, Weighting::RewardToGo, None, &mut to_go);
            let (s, dropped) = (path.states[t], total[[t, 0]] - to_go[[t, 0]]);
            add_score(&policy.row(s), path.actions[t], path.prob * dropped, &mut term.row_mut(s));
        });
        worst.all(&term, &zero);
    }
    worst.done()
}

fn to_go_on_rollouts(roll: Roll) -> Measured {
    let mut out = Array2::from_elem(roll.reward.dim(), f64::NAN);
    // What follows a terminal state is not read.
    let mut next_value = roll.next_value.clone();
    next_value.zip_mut_with(&roll.terminated, |v, &terminated| *v = if terminated { f64::NAN } else { *v });
    reward_to_go(&roll.reward, &next_value, &roll.end(), roll.gamma, &mut out);
    let mut worst = Worst::new();
    for segment in roll.segments() {
        for t in 0..segment.len() {
            let want = segment_return(&segment.reward[t..], segment.bootstrap, roll.gamma);
            worst.same(out[[segment.first + t, segment.n]], want);
        }
    }
    worst.done()
}

// pg.discount-factor

/// MDP-tiny with a policy over two observations.
type SharedCase = (Mdp, usize, Vec<usize>, Policy);

fn shared_case() -> impl Strategy<Value = SharedCase> + Clone + Send + Sync {
    (tiny_and_policy(), vec(0..2usize, 3), crate::generators::policy(2, 2)).prop_map(
        |((mdp, horizon, _), mut observation, rows)| {
            observation.truncate(mdp.states());
            (mdp, horizon, observation, rows)
        },
    )
}

/// The mean estimate in the shared rows.
fn shared_mean((mdp, horizon, observation, rows): &SharedCase, weighting: Weighting) -> Vec<f64> {
    let policy = seen(observation, rows);
    let mean = moments(&episodic(mdp, *horizon), &policy, weighting, None).mean;
    let mut out = Array2::from_elem((2, 2), f64::NAN);
    share(observation, &mean, &mut out);
    out.into_raw_vec_and_offset().0
}

/// The gradient of `J` in the shared rows, by central differences.
fn shared_gradient((mdp, horizon, observation, rows): &SharedCase) -> Vec<f64> {
    let z = super::logits(rows);
    gradient(|z| objective(mdp, &seen(observation, &softmax(z, 2)), *horizon), &z)
}

fn factor_gradient(case: SharedCase) -> Measured {
    let truth = shared_gradient(&case);
    let mut worst = Worst::new();
    worst.gradient(&shared_mean(&case, Weighting::RewardToGo), &truth);
    worst.gradient(&shared_mean(&case, Weighting::TotalReturn), &truth);
    if case.0.gamma == 1.0 {
        worst.gradient(&shared_mean(&case, Weighting::Undiscounted), &truth);
    }
    worst.done()
}

/// What is followed without the factor: `sum_t E[G_t score_t]`, each time counted in full.
fn without_factor(case: SharedCase) -> Measured {
    let (mdp, horizon, observation, rows) = &case;
    let policy = seen(observation, rows);
    let (mut want, mut last) = (vec![0.0; 4], vec![0.0; 4]);
    trajectories(mdp, &policy, *horizon, &mut |path| {
        for t in 0..*horizon {
            for k in 0..2 {
                let s = path.states[t];
                let term = path.prob * score(&policy, s, path.actions[t], k);
                want[2 * observation[s] + k] += term * to_go(mdp, &path, t);
                last[2 * observation[s] + k] += term * path_return(mdp, &path);
            }
        }
    });
    let mut worst = Worst::new();
    worst.all(&shared_mean(&case, Weighting::Undiscounted), &want);
    worst.all(&shared_mean(&case, Weighting::TotalReturn), &last).done()
}

/// Processes in which no path comes back: every state but the last belongs to one time.
fn layered() -> impl Strategy<Value = (f64, Vec<f64>, Vec<f64>, Policy)> + Clone + Send + Sync {
    (0.05..=1.0f64, normals(4), normals(4), crate::generators::policy(3, 2))
}

/// Where each state has its own time, dropping the factor divides the rows of the gradient by it.
fn layered_rescales((gamma, go, leave, policy): (f64, Vec<f64>, Vec<f64>, Policy)) -> Measured {
    let moves = [
        (0, 0, 1, 1.0, go[0]),
        (0, 1, 1, 0.5, leave[0]),
        (1, 0, 2, 1.0, go[1]),
        (1, 1, 3, 1.0, leave[1]),
        (2, 0, 3, 1.0, go[2]),
        (2, 1, 3, 1.0, leave[2]),
    ];
    // What is left of the second move of state 0 goes to the end.
    let mut mdp = listed(4, 2, &[1.0, 0.0, 0.0, 0.0], gamma, &moves);
    (mdp.p[[0, 1, 0]], mdp.p[[0, 1, 3]]) = (0.0, 0.5);
    let policy = seen(&[0, 1, 2, 2], &policy);
    let with = moments(&episodic(&mdp, 3), &policy, Weighting::RewardToGo, None).mean;
    let without = moments(&episodic(&mdp, 3), &policy, Weighting::Undiscounted, None).mean;
    let mut worst = Worst::new();
    for s in 0..3 {
        for a in 0..2 {
            worst.same(with[[s, a]], gamma.powi(s as i32) * without[[s, a]]);
        }
    }
    worst.done()
}

/// A rollout in one piece and in two, with episodes that began before it.
fn factor_on_rollouts((roll, cut): (Roll, f64)) -> Measured {
    let (steps, columns) = roll.reward.dim();
    let (end, gamma) = (roll.end(), roll.gamma);
    let started: Vec<usize> = (0..columns).map(|n| n * 3 % 4).collect();
    let start: Vec<f64> = started.iter().map(|&k| gamma.powi(k as i32)).collect();
    let (mut discount, mut weight) = (start.clone(), roll.reward.clone());
    discount_by_time(&end, gamma, &mut discount, &mut weight);
    let (mut next, mut step) = (started.clone(), Array2::zeros((steps, columns)));
    episode_step(&end, &mut next, &mut step);
    let mut worst = Worst::new();
    for n in 0..columns {
        let mut k = started[n];
        for t in 0..steps {
            worst.same(weight[[t, n]], gamma.powi(k as i32) * roll.reward[[t, n]]);
            worst.holds(step[[t, n]] == k);
            k = if end[[t, n]].done() { 0 } else { k + 1 };
        }
        worst.same(discount[n], gamma.powi(k as i32)).holds(next[n] == k);
    }
    // In two pieces, and with columns that do not lie side by side.
    let cut = (cut * steps as f64) as usize;
    let mut carried = start;
    let mut pieces = roll.reward.t().to_owned().reversed_axes();
    let (mut first, mut second) = pieces.view_mut().split_at(ndarray::Axis(0), cut);
    let (end_first, end_second) = end.view().split_at(ndarray::Axis(0), cut);
    discount_by_time(&end_first, gamma, &mut carried, &mut first);
    discount_by_time(&end_second, gamma, &mut carried, &mut second);
    worst.all(&pieces, &weight).all(&carried, &discount).done()
}

/// A discount and two logits.
fn curl_case() -> impl Strategy<Value = (f64, f64, f64, f64)> + Clone + Send + Sync {
    (0.3..=0.9f64, -2.0..=2.0f64, -2.0..=2.0f64, -1.0..=1.0f64)
}

/// Two decisions one after the other: going on from the first (else it pays `c`) leads to a second that pays 1 or 0. The derivative of
/// a gradient is symmetric; without the factor it is not, so there is no function behind it.
fn no_gradient((gamma, x, y, c): (f64, f64, f64, f64)) -> Measured {
    let moves = [(0, 0, 1, 1.0, 0.0), (0, 1, 2, 1.0, c), (1, 0, 2, 1.0, 1.0), (1, 1, 2, 1.0, 0.0)];
    let mdp = listed(3, 2, &[1.0, 0.0, 0.0], gamma, &moves);
    let field = |weighting: Weighting, z: &[f64]| {
        let policy = softmax(&[z[0], 0.0, z[1], 0.0, 0.0, 0.0], 2);
        let mean = moments(&episodic(&mdp, 2), &policy, weighting, None).mean;
        vec![mean[[0, 0]], mean[[1, 0]]]
    };
    let slope = |z: f64| 1.0 / ((1.0 + (-z).exp()) * (1.0 + z.exp()));
    let both = slope(x) * slope(y);
    let mut worst = Worst::new();
    for (weighting, below) in [(Weighting::RewardToGo, gamma * both), (Weighting::Undiscounted, both)] {
        let j = jacobian(|z| field(weighting, z), &[x, y]);
        worst.gradient(&[gamma * both, below], &[j[0][1], j[1][0]]);
    }
    worst.done()
}

fn factor_closed() -> Measured {
    let mut worst = Worst::new();
    let slope = |gamma: f64, p: f64, weighting: Weighting| {
        let mdp = regretted(gamma);
        let mean = moments(&episodic(&mdp, 2), &coin(3, p), weighting, None).mean;
        let mut out = array![[f64::NAN, f64::NAN]];
        share(&[0, 0, 0], &mean, &mut out);
        // The slope in the probability instead of the logit.
        out[[0, 0]] / (p * (1.0 - p))
    };
    for p in [0.2, 0.5, 0.7] {
        worst.printed(slope(0.5, p, Weighting::RewardToGo), 0.25, 12);
        worst.printed(slope(0.5, p, Weighting::TotalReturn), 0.25, 12);
        worst.printed(slope(0.5, p, Weighting::Undiscounted), -0.5, 12);
        // The factor twice would give 1 - 0.25 * 1.5.
        worst.holds((slope(0.5, p, Weighting::RewardToGo) - 0.625).abs() > 0.1);
        // At 1 both agree, and at 0 the second decision does not count.
        worst.printed(slope(1.0, p, Weighting::RewardToGo), -0.5, 12);
        worst.printed(slope(1.0, p, Weighting::Undiscounted), -0.5, 12);
        worst.printed(slope(0.0, p, Weighting::RewardToGo), 1.0, 12);
        worst.printed(slope(0.0, p, Weighting::Undiscounted), -0.5, 12);
    }
    let wrong = panics(|| discount_by_time(&array![[End::No]], 0.5, &mut [1.0, 1.0], &mut array![[1.0]]));
    worst.holds(wrong).done()
}
