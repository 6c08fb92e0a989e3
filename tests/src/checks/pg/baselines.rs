//! Baselines: which are unbiased, which is best, and what the mean of a batch is.

use super::{coin, episodic, finite_gradient, finite_values, listed, path_return, score, softmax, weight};
use crate::generators::{Mdp, Policy, gamma, normals, policy, simplex, tiny_and_policy};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_INEQ, TOL_STAT, Worst, require};
use crate::oracles::{Trajectory, derivative, gradient, samples, trajectories, tuples};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array2, Array3, array};
use proptest::prelude::*;
use rederive_math::policy_gradient::baselines::{
    self, TimeBaseline, center, excess_variance, leave_one_out, optimal,
};
use rederive_math::policy_gradient::score::add_score;
use rederive_math::policy_gradient::trajectories::{
    Weighting, action_baseline_bias, moments, optimal_baseline,
};

pub(super) fn checks() -> Vec<Check> {
    vec![
        random("pg.baseline", "gradient", TOL_FD, (tiny_and_policy(), normals(12)), unbiased).at_most(96),
        random("pg.baseline", "history", TOL_FD, (tiny_and_policy(), normals(3)), history).at_most(96),
        random("pg.baseline", "action", TOL_FD, (tiny_and_policy(), normals(24)), action).at_most(96),
        random("pg.baseline", "own-value", TOL_ID, tiny_and_policy(), own_value).at_most(96),
        random("pg.baseline", "own-return", TOL_ID, tiny_and_policy(), own_return).at_most(96),
        random("pg.baseline", "time", TOL_ID, returns_by_time(), time_definition),
        random(
            "pg.baseline",
            "time-unbiased",
            TOL_FD,
            (0.05..=0.95f64, gamma(1.0), 1..=4usize),
            time_unbiased,
        ),
        fixed("pg.baseline", "edges", EXACT, |_| edges()),
        random("pg.baseline-optimal", "bandit", TOL_INEQ, bandit(), best_constant),
        random("pg.baseline-optimal", "steps", 1e-9, (tiny_and_policy(), normals(12)), best_of_groups)
            .at_most(48),
        fixed("pg.baseline-optimal", "closed", TOL_STAT, |_| optimal_closed()),
        random("pg.batch-mean-baseline", "gradient", TOL_FD, batch_case(), batch_mean),
        random("pg.batch-mean-baseline", "definition", TOL_ID, normals(1..=40), batch_definition),
        fixed("pg.batch-mean-baseline", "states", TOL_STAT, |_| between_states()),
    ]
}

// pg.baseline

fn flat(table: &Array2<f64>) -> Vec<f64> {
    table.iter().copied().collect()
}

fn unbiased(((mdp, horizon, policy), b): ((Mdp, usize, Policy), Vec<f64>)) -> Measured {
    let baseline = Array2::from_shape_fn((horizon, mdp.states()), |(t, s)| b[3 * t + s]);
    let truth = finite_gradient(&mdp, &policy, horizon);
    let mut worst = Worst::new();
    for weighting in [Weighting::RewardToGo, Weighting::TotalReturn] {
        let got = moments(&episodic(&mdp, horizon), &policy, weighting, Some(&baseline)).mean;
        worst.gradient(&flat(&got), &truth);
    }
    worst.done()
}

/// The mean of the estimate whose weights `w` gives, by listing.
fn listed_mean(
    mdp: &Mdp,
    policy: &Policy,
    horizon: usize,
    w: impl Fn(&Trajectory<'_>, usize) -> f64,
) -> Vec<f64> {
    let mut mean = Array2::zeros(policy.dim());
    trajectories(mdp, policy, horizon, &mut |path| {
        for t in 0..horizon {
            let s = path.states[t];
            add_score(&policy.row(s), path.actions[t], path.prob * w(&path, t), &mut mean.row_mut(s));
        }
    });
    flat(&mean)
}

/// A baseline that knows all that came before the action.
fn history(((mdp, horizon, policy), c): ((Mdp, usize, Policy), Vec<f64>)) -> Measured {
    let b = |path: &Trajectory<'_>, t: usize| {
        let past = (0..t).fold(c[0], |f, k| {
            (1.7 * f + c[1] * path.states[k] as f64 + path.actions[k] as f64 + path.reward(&mdp, k)).sin()
        });
        2.0 * past + c[2] * path.states[t] as f64
    };
    let w = |path: &Trajectory<'_>, t: usize| weight(&mdp, path, Weighting::RewardToGo, |t| b(path, t), t);
    let got = listed_mean(&mdp, &policy, horizon, w);
    Worst::new().gradient(&got, &finite_gradient(&mdp, &policy, horizon)).done()
}

/// A baseline that looks at the action is off by exactly its own mean with the score.
fn action(((mdp, horizon, policy), b): ((Mdp, usize, Policy), Vec<f64>)) -> Measured {
    let baseline = Array3::from_shape_fn((horizon, mdp.states(), 2), |(t, s, a)| b[6 * t + 2 * s + a]);
    let looked = |path: &Trajectory<'_>, t: usize| baseline[[t, path.states[t], path.actions[t]]];
    let w =
        |path: &Trajectory<'_>, t: usize| weight(&mdp, path, Weighting::RewardToGo, |t| looked(path, t), t);
    let got = listed_mean(&mdp, &policy, horizon, w);
    let mut bias = Array2::from_elem(policy.dim(), f64::NAN);
    action_baseline_bias(&episodic(&mdp, horizon), &policy, &baseline, &mut bias);
    let truth = finite_gradient(&mdp, &policy, horizon);
    let want: Vec<f64> = truth.iter().zip(&bias).map(|(g, b)| g + b).collect();
    let mut worst = Worst::new();
    worst.gradient(&got, &want);
    // The bias alone, to the last digit.
    let alone = |path: &Trajectory<'_>, t: usize| -mdp.gamma.powi(t as i32) * looked(path, t);
    let direct = listed_mean(&mdp, &policy, horizon, alone);
    worst.add(Worst::new().all(&direct, &bias).error() * TOL_FD / TOL_ID).done()
}

/// The action's own value leaves nothing, whatever the gradient is.
fn own_value((mdp, horizon, policy): (Mdp, usize, Policy)) -> Measured {
    let (_, q) = finite_values(&mdp, &policy, horizon);
    let b = |path: &Trajectory<'_>, t: usize| q[[t, path.states[t], path.actions[t]]];
    let w = |path: &Trajectory<'_>, t: usize| weight(&mdp, path, Weighting::RewardToGo, |t| b(path, t), t);
    let mut bias = Array2::from_elem(policy.dim(), f64::NAN);
    action_baseline_bias(&episodic(&mdp, horizon), &policy, &q, &mut bias);
    let minus_gradient = moments(&episodic(&mdp, horizon), &policy, Weighting::RewardToGo, None).mean * -1.0;
    let mut worst = Worst::new();
    worst.all(&listed_mean(&mdp, &policy, horizon, w), &vec![0.0; policy.len()]);
    worst.all(&bias, &minus_gradient).done()
}

/// So does the trajectory's own return: it depends on the actions, and is no baseline.
fn own_return((mdp, horizon, policy): (Mdp, usize, Policy)) -> Measured {
    let w = |path: &Trajectory<'_>, t: usize| {
        weight(&mdp, path, Weighting::TotalReturn, |_| path_return(&mdp, path), t)
    };
    let gone = listed_mean(&mdp, &policy, horizon, w);
    // Half of the own return leaves half of the gradient, not all of it.
    let half = listed_mean(&mdp, &policy, horizon, |path, t| {
        weight(&mdp, path, Weighting::TotalReturn, |_| 0.5 * path_return(&mdp, path), t)
    });
    let all = moments(&episodic(&mdp, horizon), &policy, Weighting::TotalReturn, None).mean;
    let mut worst = Worst::new();
    worst.all(&gone, &vec![0.0; policy.len()]).all(&half, &(all / 2.0)).done()
}

fn returns_by_time() -> impl Strategy<Value = Vec<(usize, f64)>> + Clone + Send + Sync {
    proptest::collection::vec((0..5usize, -4.0..=4.0f64), 0..=20)
}

fn time_definition(samples: Vec<(usize, f64)>) -> Measured {
    let (step, return_): (Vec<usize>, Vec<f64>) = samples.iter().copied().unzip();
    let mut out = vec![f64::NAN; samples.len()];
    let mut baseline = TimeBaseline::new(2);
    // What an earlier batch left must not matter.
    baseline.leave_one_out(&[0, 7], &[5.0, 5.0], &mut [0.0, 0.0]);
    baseline.leave_one_out(&step, &return_, &mut out);
    let mut worst = Worst::new();
    for (i, &(t, _)) in samples.iter().enumerate() {
        let others: Vec<f64> =
            samples.iter().enumerate().filter(|(k, s)| *k != i && s.0 == t).map(|(_, s)| s.1).collect();
        let mean = if others.is_empty() { 0.0 } else { others.iter().sum::<f64>() / others.len() as f64 };
        worst.same(out[i], mean);
    }
    worst.done()
}

/// Episodes of one or two steps: the first action ends it with reward 1, the second pays nothing and goes on once.
fn time_unbiased((p, gamma, n): (f64, f64, usize)) -> Measured {
    let episodes = [
        (p, vec![1.0 - p], vec![1.0]),
        ((1.0 - p) * p, vec![-p, 1.0 - p], vec![gamma, 1.0]),
        ((1.0 - p) * (1.0 - p), vec![-p, -p], vec![0.0, 0.0]),
    ];
    let law: Vec<f64> = episodes.iter().map(|e| e.0).collect();
    let mut baseline = TimeBaseline::new(2);
    let mut mean = 0.0;
    samples(&law, n, &mut |batch, prob| {
        let steps = || batch.iter().flat_map(|&e| (0..episodes[e].1.len()).map(move |t| (e, t)));
        let step: Vec<usize> = steps().map(|(_, t)| t).collect();
        let return_: Vec<f64> = steps().map(|(e, t)| episodes[e].2[t]).collect();
        let mut b = vec![f64::NAN; step.len()];
        baseline.leave_one_out(&step, &return_, &mut b);
        for (i, (e, t)) in steps().enumerate() {
            mean += prob / n as f64 * gamma.powi(t as i32) * (return_[i] - b[i]) * episodes[e].1[t];
        }
    });
    let objective = |z: f64| {
        let p = 1.0 / (1.0 + (-z).exp());
        p + gamma * (1.0 - p) * p
    };
    Worst::new().gradient(&[mean], &[derivative(objective, (p / (1.0 - p)).ln())]).done()
}

fn edges() -> Measured {
    let mut weight = array![[1.0, 2.0]];
    require(panics(|| baselines::subtract(&mut array![[1.0]], &array![[1.0, 2.0]])), || {
        "shapes that differ are accepted".to_owned()
    })?;
    baselines::subtract(&mut weight, &array![[1.0, 5.0]]);
    require(weight == array![[0.0, -3.0]], || format!("{weight}"))?;
    require(panics(|| TimeBaseline::new(1).leave_one_out(&[0], &[1.0, 2.0], &mut [0.0, 0.0])), || {
        "lengths that differ are accepted".to_owned()
    })?;
    TimeBaseline::<f64>::new(0).leave_one_out(&[], &[], &mut []);
    Ok(0.0)
}

// pg.baseline-optimal

/// A law over outcomes, rewards, and how far from the best baseline to look.
fn bandit() -> impl Strategy<Value = (Vec<f64>, Vec<f64>, f64)> + Clone + Send + Sync {
    (simplex(2..=5), normals(5), 0.01..=3.0f64)
}

/// The trace of the covariance of `(R - b) score`, written out.
fn trace(p: &[f64], reward: &[f64], b: f64) -> f64 {
    (0..p.len())
        .map(|k| {
            let term = |a: usize| (reward[a] - b) * (f64::from(u8::from(a == k)) - p[k]);
            let mean: f64 = (0..p.len()).map(|a| p[a] * term(a)).sum();
            (0..p.len()).map(|a| p[a] * (term(a) - mean).powi(2)).sum::<f64>()
        })
        .sum()
}

fn square_norms(p: &[f64]) -> Vec<f64> {
    (0..p.len()).map(|a| (0..p.len()).map(|k| (f64::from(u8::from(a == k)) - p[k]).powi(2)).sum()).collect()
}

fn best_constant((p, reward, width): (Vec<f64>, Vec<f64>, f64)) -> Measured {
    let reward = &reward[..p.len()];
    let squares = square_norms(&p);
    let best = optimal(&p, &squares, reward);
    let least = trace(&p, reward, best);
    let mut worst = Worst::new();
    for step in -8..=8 {
        let b = best + width * f64::from(step) / 8.0;
        worst.at_most(least, trace(&p, reward, b));
        worst.same(trace(&p, reward, b) - least, excess_variance(&p, &squares, reward, b));
    }
    // Strictly: half a step to either side costs what the parabola says.
    let curvature: f64 = p.iter().zip(&squares).map(|(p, s)| p * s).sum();
    worst.holds(curvature < 1e-9 || trace(&p, reward, best + width) > least);
    // A uniform policy has scores of one length, and the mean reward is best.
    let n = p.len();
    let uniform = vec![1.0 / n as f64; n];
    let mean = reward.iter().sum::<f64>() / n as f64;
    worst.same(optimal(&uniform, &square_norms(&uniform), reward), mean).done()
}

/// Over several steps: nothing of the same shape is better, and more freedom is never worse.
fn best_of_groups(((mdp, horizon, policy), shift): ((Mdp, usize, Policy), Vec<f64>)) -> Measured {
    let (process, states) = (episodic(&mdp, horizon), mdp.states());
    let variance = |b: &Array2<f64>| moments(&process, &policy, Weighting::RewardToGo, Some(b)).variance();
    let groupings: [fn(usize, usize) -> usize; 3] = [|_, _| 0, |t, _| t, |t, s| 3 * t + s];
    let mut worst = Worst::new();
    let mut before = variance(&Array2::zeros((horizon, states)));
    for group in groupings {
        let group = Array2::from_shape_fn((horizon, states), |(t, s)| group(t, s));
        let mut best = Array2::from_elem((horizon, states), f64::NAN);
        optimal_baseline(&process, &policy, &group, &mut best);
        let least = variance(&best);
        worst.at_most(least, before);
        for scale in [-1.0, 0.3, 1.0] {
            let off = Array2::from_shape_fn((horizon, states), |at| best[at] + scale * shift[group[at]]);
            worst.at_most(least, variance(&off));
        }
        before = least;
    }
    let (value, _) = finite_values(&mdp, &policy, horizon);
    worst.at_most(before, variance(&value)).done()
}

fn optimal_closed() -> Measured {
    let mut worst = Worst::new();
    // Two actions, one logit: scores 0.1 and -0.9. Without a baseline, with the value, and with the best.
    let (p, squares, reward) = ([0.9, 0.1], [0.01, 0.81], [1.0, 0.0]);
    let best: f64 = optimal(&p, &squares, &reward);
    worst.printed(best, 0.1, 12);
    let scalar = |b: f64| {
        let second: f64 = (0..2).map(|a| p[a] * squares[a] * (reward[a] - b).powi(2)).sum();
        second - 0.09 * 0.09
    };
    for (b, variance) in [(0.0, 0.0009), (0.9, 0.0576), (0.1, 0.0)] {
        worst.printed(scalar(b), variance, 12);
        worst.printed(excess_variance(&p, &squares, &reward, b), variance, 12);
    }
    // The same with a logit for each action: twice the trace, the same baseline, and the same order.
    let mdp = listed(1, 2, &[1.0], 1.0, &[(0, 0, 0, 1.0, 1.0), (0, 1, 0, 1.0, 0.0)]);
    for (b, variance) in [(0.0, 0.0018), (0.9, 0.1152), (0.1, 0.0)] {
        let baseline = array![[b]];
        let got = moments(&episodic(&mdp, 1), &coin(1, 0.9), Weighting::RewardToGo, Some(&baseline));
        worst.printed(got.variance(), variance, 12);
    }
    worst.done()
}

// pg.batch-mean-baseline

/// The law of two states, a policy, rewards of both actions in both, and a number of samples.
fn batch_case() -> impl Strategy<Value = (Vec<f64>, Policy, Vec<f64>, usize)> + Clone + Send + Sync {
    (simplex(2..=2usize), policy(2, 2), normals(4), 1..=3usize)
}

fn batch_mean((mu, policy, reward, n): (Vec<f64>, Policy, Vec<f64>, usize)) -> Measured {
    let law: Vec<f64> = (0..4).map(|i| mu[i / 2] * policy[[i / 2, i % 2]]).collect();
    let (mut own, mut others) = (vec![0.0; 4], vec![0.0; 4]);
    tuples(4, n, &mut |batch| {
        let prob: f64 = batch.iter().map(|&i| law[i]).product();
        let return_: Vec<f64> = batch.iter().map(|&i| reward[i]).collect();
        let (mut centred, mut left_out) = (vec![f64::NAN; n], vec![f64::NAN; n]);
        center(&return_, &mut centred);
        leave_one_out(&return_, &mut left_out);
        for (k, &i) in batch.iter().enumerate() {
            for b in 0..2 {
                let term = prob / n as f64 * score(&policy, i / 2, i % 2, b);
                own[i / 2 * 2 + b] += term * centred[k];
                others[i / 2 * 2 + b] += term * left_out[k];
            }
        }
    });
    let objective = |z: &[f64]| {
        let policy = softmax(z, 2);
        (0..4).map(|i| mu[i / 2] * policy[[i / 2, i % 2]] * reward[i]).sum()
    };
    let truth = gradient(objective, &super::logits(&policy));
    let shrunk: Vec<f64> = truth.iter().map(|g| g * (n as f64 - 1.0) / n as f64).collect();
    let mut worst = Worst::new();
    worst.gradient(&own, &shrunk).gradient(&others, &truth);
    if n == 1 {
        worst.holds(own.iter().all(|&g| g == 0.0));
    }
    worst.done()
}

fn batch_definition(return_: Vec<f64>) -> Measured {
    let n = return_.len();
    let (mut centred, mut left_out) = (vec![f64::NAN; n], vec![f64::NAN; n]);
    center(&return_, &mut centred);
    leave_one_out(&return_, &mut left_out);
    let total: f64 = return_.iter().sum();
    let mut worst = Worst::new();
    for i in 0..n {
        worst.same(centred[i], return_[i] - total / n as f64);
        let others = if n == 1 { 0.0 } else { (total - return_[i]) / (n as f64 - 1.0) };
        worst.same(left_out[i], return_[i] - others);
    }
    worst.done()
}

fn between_states() -> Measured {
    let moves = [(0, 0, 0, 1.0, 0.0), (0, 1, 0, 1.0, 1.0), (1, 0, 1, 1.0, 10.0), (1, 1, 1, 1.0, 11.0)];
    let mdp = listed(2, 2, &[0.5, 0.5], 1.0, &moves);
    let variance = |b: [f64; 2]| {
        let baseline = array![b];
        moments(&episodic(&mdp, 1), &coin(2, 0.5), Weighting::RewardToGo, Some(&baseline)).variance()
    };
    let mut worst = Worst::new();
    worst.printed(variance([0.0, 0.0]), 27.69, 2);
    worst.printed(variance([5.5, 5.5]), 12.56, 2);
    worst.printed(variance([0.5, 10.5]), 0.0625, 12);
    // One sample of each kind: the better action of the poor state looks bad, the worse one of the rich state good.
    let mut out = [f64::NAN; 4];
    center(&[0.0, 1.0, 10.0, 11.0], &mut out);
    worst.printed(out[1], -4.5, 12).printed(out[2], 4.5, 12).done()
}
