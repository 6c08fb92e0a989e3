//! The gradient without samples: occupancies with action values, advantages, a critic's errors; and small steps along it.

use super::{coin, episodic, finite_gradient, finite_values, listed, logits, score, softmax, tempting};
use crate::generators::{Mdp, Policy, gamma, mdp_and_policy, mdp_of, normals, policy, tiny_and_policy};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_SOLVE, TOL_STAT, Worst, require};
use crate::oracles::{
    action_value, chain, derivative, gradient, identity_minus, policy_value, solve, trajectories, transpose,
};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array2, array};
use proptest::prelude::*;
use rederive_math::End;
use rederive_math::policy_gradient::exact::{
    self, actor_critic, advantage_gradient, ascend, critic_bias, q_gradient,
};
use rederive_math::policy_gradient::trajectories::{self as listing, Sample, Weighting, estimate, moments};
use rederive_math::policy_gradient::weights::discount_by_time;
use rederive_math::returns::td_error;

pub(super) fn checks() -> Vec<Check> {
    vec![
        random("pg.q-occupancy", "gradient", TOL_FD, mdp_and_policy(0.95), occupancy_gradient),
        random("pg.q-occupancy", "from-the-model", TOL_SOLVE, mdp_and_policy(0.95), from_the_model),
        fixed("pg.q-occupancy", "closed", TOL_STAT, |_| occupancy_closed()),
        fixed("pg.q-occupancy", "edges", EXACT, |_| occupancy_edges()),
        random("pg.advantage-form", "gradient", TOL_FD, mdp_and_policy(0.95), advantage_form),
        random("pg.advantage-form", "returns", TOL_FD, tiny_and_policy(), less_the_value).at_most(96),
        random("pg.advantage-form", "zero-mean", TOL_FD, mdp_and_policy(0.95), zero_mean_weights),
        random("pg.advantage-form", "sure", TOL_ID, mdp_and_policy(0.9), sure_limit).at_most(96),
        random("pg.step-ascent", "limit", 2.0, steps(), first_order).at_most(96),
        random("pg.step-ascent", "trajectory", 2.0, path_steps(), along_a_path).at_most(96),
        fixed("pg.step-ascent", "closed", TOL_STAT, |_| ascent_closed()),
        random("ac.one-step", "gradient", TOL_FD, (mdp_and_policy(0.95), normals(8)), with_a_critic),
        random("ac.one-step", "constant", TOL_FD, (mdp_and_policy(0.95), -5.0..=5.0f64), constant_error),
        random(
            "ac.one-step",
            "action-critic",
            TOL_FD,
            (mdp_and_policy(0.95), normals(32), normals(8)),
            q_critic,
        ),
        random("ac.one-step", "rollout", TOL_FD, (tiny_and_policy(), normals(12)), critic_on_rollouts)
            .at_most(96),
        random("ac.one-step", "undiscounted", TOL_ID, (no_future(), normals(8)), nothing_ahead),
    ]
}

/// `J` of the infinite horizon.
fn value_objective(mdp: &Mdp, policy: &Policy) -> f64 {
    policy_value(mdp, policy).iter().zip(&mdp.mu).map(|(v, m)| v * m).sum()
}

fn differences(mdp: &Mdp, policy: &Policy) -> Vec<f64> {
    gradient(|z| value_objective(mdp, &softmax(z, mdp.actions())), &logits(policy))
}

/// `d = (1 - gamma) mu (I - gamma P)^-1`, by elimination.
fn occupancy(mdp: &Mdp, policy: &Policy) -> Vec<f64> {
    let start: Vec<f64> = mdp.mu.iter().map(|m| (1.0 - mdp.gamma) * m).collect();
    solve(transpose(&identity_minus(mdp.gamma, &chain(mdp, policy))), start)
}

fn table(rows: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(s, a)| rows[s][a])
}

fn advantages(mdp: &Mdp, policy: &Policy) -> Array2<f64> {
    let (q, v) = (action_value(mdp, policy), policy_value(mdp, policy));
    Array2::from_shape_fn(policy.dim(), |(s, a)| q[s][a] - v[s])
}

fn flat(table: &Array2<f64>) -> Vec<f64> {
    table.iter().copied().collect()
}

fn with_weight(mdp: &Mdp, policy: &Policy, weight: &Array2<f64>) -> Vec<f64> {
    let mut out = Array2::from_elem(policy.dim(), f64::NAN);
    q_gradient(&occupancy(mdp, policy), policy, weight, mdp.gamma, &mut out);
    flat(&out)
}

// pg.q-occupancy

fn occupancy_gradient((mdp, policy): (Mdp, Policy)) -> Measured {
    let got = with_weight(&mdp, &policy, &table(&action_value(&mdp, &policy)));
    Worst::new().gradient(&got, &differences(&mdp, &policy)).done()
}

/// Occupancy, values and advantages by the functions that a program would call; against the same sum from the oracles.
fn from_the_model((mdp, policy): (Mdp, Policy)) -> Measured {
    let mut out = Array2::from_elem(policy.dim(), f64::NAN);
    let mu = mdp.mu.as_slice().unwrap_or_default();
    let j = exact::gradient(&mdp.p, &mdp.r, mu, &policy, mdp.gamma, &mut out).map_err(|e| e.to_string())?;
    let mut worst = Worst::new();
    worst.solved(j, value_objective(&mdp, &policy), mdp.gamma);
    let (d, q) = (occupancy(&mdp, &policy), action_value(&mdp, &policy));
    for ((s, b), &got) in out.indexed_iter() {
        let terms = (0..mdp.actions()).map(|a| policy[[s, a]] * q[s][a] * score(&policy, s, a, b));
        worst.solved(got, d[s] / (1.0 - mdp.gamma) * terms.sum::<f64>(), mdp.gamma);
    }
    worst.done()
}

/// The first action pays 1 and nothing after; the second pays nothing now and 0.1 for ever.
fn patience() -> Mdp {
    let moves = [(0, 0, 1, 1.0, 1.0), (0, 1, 2, 1.0, 0.0), (2, 0, 2, 1.0, 0.1), (2, 1, 2, 1.0, 0.1)];
    listed(3, 2, &[1.0, 0.0, 0.0], 0.9, &moves)
}

fn occupancy_closed() -> Measured {
    let mdp = patience();
    let mut worst = Worst::new();
    for p in [0.2, 0.5, 0.8] {
        let policy = coin(3, p);
        let got = with_weight(&mdp, &policy, &table(&action_value(&mdp, &policy)));
        worst.printed(got[0] / (p * (1.0 - p)), 0.1, 10);
        // The mean of Q over visited states is another objective, with a slope of the other sign.
        let visited = |p: f64| {
            let policy = coin(3, p);
            let (d, q) = (occupancy(&mdp, &policy), action_value(&mdp, &policy));
            (0..3).map(|s| d[s] * (p * q[s][0] + (1.0 - p) * q[s][1])).sum::<f64>()
        };
        worst.printed(derivative(visited, p), -0.89, 8);
        let start = |p: f64| value_objective(&mdp, &coin(3, p));
        worst.printed(derivative(start, p), 0.1, 8);
        // Without the prefactor a law of states gives a tenth.
        let d = occupancy(&mdp, &policy);
        let q = action_value(&mdp, &policy);
        let law: f64 = (0..2).map(|a| d[0] * policy[[0, a]] * q[0][a] * score(&policy, 0, a, 0)).sum();
        worst.printed(got[0] / law, 10.0, 10);
    }
    worst.done()
}

fn occupancy_edges() -> Measured {
    let (policy, q) = (coin(1, 0.5), array![[1.0, 0.0]]);
    let mut out = array![[f64::NAN, f64::NAN]];
    q_gradient(&[1.0], &policy, &q, 0.0, &mut out);
    require(out == array![[0.25, -0.25]], || format!("{out} at gamma 0"))?;
    for refused in [
        panics(|| q_gradient(&[1.0], &policy, &q, 1.0, &mut array![[0.0, 0.0]])),
        panics(|| q_gradient(&[1.0, 0.0], &policy, &q, 0.5, &mut array![[0.0, 0.0]])),
        panics(|| advantage_gradient(&[1.0], &policy, &array![[1.0]], 0.5, &mut array![[0.0, 0.0]])),
        panics(|| q_gradient(&[1.0], &policy, &q, 0.5, &mut array![[0.0]])),
    ] {
        require(refused, || "shapes that do not fit, or a discount of 1, are accepted".to_owned())?;
    }
    let mdp = patience();
    let mu = [1.0, 0.0, 0.0];
    let endless = exact::gradient(&mdp.p, &mdp.r, &mu, &coin(3, 0.5), 1.0, &mut Array2::zeros((3, 2)));
    require(endless.is_err(), || "a discount of 1 is accepted".to_owned())?;
    Ok(0.0)
}

// pg.advantage-form

fn advantage_form((mdp, policy): (Mdp, Policy)) -> Measured {
    let advantage = advantages(&mdp, &policy);
    let mut out = Array2::from_elem(policy.dim(), f64::NAN);
    advantage_gradient(&occupancy(&mdp, &policy), &policy, &advantage, mdp.gamma, &mut out);
    let truth = differences(&mdp, &policy);
    let mut worst = Worst::new();
    worst.gradient(&flat(&out), &truth);
    worst.gradient(&with_weight(&mdp, &policy, &advantage), &truth).done()
}

/// Returns less the value of state and time.
fn less_the_value((mdp, horizon, policy): (Mdp, usize, Policy)) -> Measured {
    let (value, _) = finite_values(&mdp, &policy, horizon);
    let got = moments(&episodic(&mdp, horizon), &policy, Weighting::RewardToGo, Some(&value)).mean;
    Worst::new().gradient(&flat(&got), &finite_gradient(&mdp, &policy, horizon)).done()
}

/// Weights of mean 0 that are no advantages.
fn zero_mean_weights((mdp, policy): (Mdp, Policy)) -> Measured {
    let advantage = advantages(&mdp, &policy);
    let truth = differences(&mdp, &policy);
    let norm = truth.iter().map(|g| g * g).sum::<f64>().sqrt();
    let mut worst = Worst::new();
    for factor in [2.0, -1.0] {
        let weight = factor * &advantage;
        for (s, row) in weight.rows().into_iter().enumerate() {
            let mean: f64 = row.iter().zip(policy.row(s)).map(|(w, p)| w * p).sum();
            worst.holds(mean.abs() < 1e-9 / (1.0 - mdp.gamma));
        }
        let got = with_weight(&mdp, &policy, &weight);
        let want: Vec<f64> = truth.iter().map(|g| factor * g).collect();
        worst.gradient(&got, &want);
        let off = got.iter().zip(&truth).map(|(g, t)| (g - t).powi(2)).sum::<f64>().sqrt();
        worst.holds(norm < 1e-6 || off > 0.5 * norm);
    }
    worst.done()
}

/// Policies that all but choose: greedy for their own values there is nothing left to gain, and no slope.
fn sure_limit((mdp, _): (Mdp, Policy)) -> Measured {
    let (states, actions) = (mdp.states(), mdp.actions());
    let best = crate::oracles::optimal_value(&mdp);
    let look = |s: usize, a: usize| -> f64 {
        (0..states).map(|k| mdp.p[[s, a, k]] * (mdp.r[[s, a, k]] + mdp.gamma * best[k])).sum()
    };
    let mut z = vec![0.0; states * actions];
    for s in 0..states {
        let choice = (0..actions).max_by(|&a, &b| look(s, a).total_cmp(&look(s, b))).unwrap_or(0);
        z[s * actions + choice] = 45.0;
    }
    let policy = softmax(&z, actions);
    let mut out = Array2::from_elem(policy.dim(), f64::NAN);
    let mu = mdp.mu.as_slice().unwrap_or_default();
    exact::gradient(&mdp.p, &mdp.r, mu, &policy, mdp.gamma, &mut out).map_err(|e| e.to_string())?;
    let mut worst = Worst::new();
    worst.all(&out, &vec![0.0; out.len()]).done()
}

// pg.step-ascent

/// A process and a policy whose gradient is not small, and whose objective bends along it.
fn steps() -> impl Strategy<Value = (Mdp, Policy)> + Clone + Send + Sync {
    mdp_and_policy(0.9).prop_filter("the gradient is small or the objective straight", |(mdp, policy)| {
        let g = exact_gradient(mdp, policy);
        bends(&g, |z| value_objective(mdp, &softmax(z, mdp.actions())), &logits(policy))
    })
}

/// Whether the leading error of a first-order step along `g` is there to be seen.
fn bends(g: &[f64], f: impl Fn(&[f64]) -> f64, z: &[f64]) -> bool {
    let square: f64 = g.iter().map(|g| g * g).sum();
    let at = |h: f64| f(&z.iter().zip(g).map(|(z, g)| z + h * g).collect::<Vec<_>>());
    let h = 1e-3;
    let curvature = (at(h) - 2.0 * at(0.0) + at(-h)) / (h * h);
    square >= 1e-2 && curvature.abs() >= 0.02 * square
}

fn exact_gradient(mdp: &Mdp, policy: &Policy) -> Vec<f64> {
    with_weight(mdp, policy, &table(&action_value(mdp, policy)))
}

/// How far the ratio of two errors, of steps ten times as long, is from ten.
fn error_ratio(f: impl Fn(&[f64]) -> f64, z: &[f64], g: &[f64], slope: f64) -> Measured {
    let error = |alpha: f64| {
        let mut moved = z.to_vec();
        let promised = ascend(&mut moved, g, alpha);
        // The promise is the slope times the step, and the step went along the gradient.
        (promised - alpha * slope).abs() / alpha + ((f(&moved) - f(z)) / alpha - slope).abs()
    };
    Worst::new().add((error(1e-3) / error(1e-4) - 10.0).abs()).done()
}

fn first_order((mdp, policy): (Mdp, Policy)) -> Measured {
    let g = exact_gradient(&mdp, &policy);
    let slope = g.iter().map(|g| g * g).sum();
    error_ratio(|z| value_objective(&mdp, &softmax(z, mdp.actions())), &logits(&policy), &g, slope)
}

/// A path of a policy with three actions in two states, and its return.
fn path_steps() -> impl Strategy<Value = (Policy, Vec<(usize, usize)>, f64)> + Clone + Send + Sync {
    let path = proptest::collection::vec((0..2usize, 0..3usize), 1..=5);
    (policy(2, 3), path, 0.3..=3.0f64, any::<bool>())
        .prop_map(|(policy, path, size, negative)| (policy, path, if negative { -size } else { size }))
        .prop_filter("the score is small or the logarithm straight", |(policy, path, return_)| {
            let g = path_gradient(policy, path, *return_);
            bends(&g, |z| return_ * path_log(z, path), &logits(policy))
        })
}

fn path_log(z: &[f64], path: &[(usize, usize)]) -> f64 {
    let policy = softmax(z, 3);
    path.iter().map(|&(s, a)| policy[[s, a]].ln()).sum()
}

fn path_gradient(policy: &Policy, path: &[(usize, usize)], return_: f64) -> Vec<f64> {
    let (states, actions): (Vec<usize>, Vec<usize>) = path.iter().copied().unzip();
    let mut out = Array2::zeros(policy.dim());
    let weight = vec![return_; path.len()];
    estimate(policy, &[Sample { states: &states, actions: &actions, weight: &weight }], &mut out);
    flat(&out)
}

/// A step for one trajectory: `G log p(tau)` rises by `alpha G^2 |score|^2`.
fn along_a_path((policy, path, return_): (Policy, Vec<(usize, usize)>, f64)) -> Measured {
    let g = path_gradient(&policy, &path, return_);
    let (mut states, actions): (Vec<usize>, Vec<usize>) = path.iter().copied().unzip();
    states.push(0);
    let mut out = Array2::zeros(policy.dim());
    listing::score(&policy, &states, &actions, &mut out);
    let slope = return_ * return_ * out.iter().map(|x| x * x).sum::<f64>();
    error_ratio(|z| return_ * path_log(z, &path), &logits(&policy), &g, slope)
}

fn ascent_closed() -> Measured {
    let mut worst = Worst::new();
    // One state, visited twice: both returns are positive, and the second action still loses.
    let policy = coin(1, 0.5);
    let mut out = array![[f64::NAN, f64::NAN]];
    estimate(&policy, &[Sample { states: &[0, 0], actions: &[0, 1], weight: &[3.0, 1.0] }], &mut out);
    worst.printed(out[[0, 0]], 1.0, 12).printed(out[[0, 1]], -1.0, 12);
    let mut z = [0.0, 0.0];
    worst.printed(ascend(&mut z, &flat(&out), 0.1), 0.2, 12);
    worst.holds(softmax(&z, 2)[[0, 1]] < 0.5);
    // J = p - 5 p^2 rises at 0.09, and a step to 0.135879 takes it down.
    let j = |p: f64| super::objective(&tempting(), &coin(3, p), 2);
    worst.printed(j(0.09), 0.0495, 12).printed(j(0.135_879), 0.043_563, 6);
    worst.holds(derivative(j, 0.09) > 0.0 && j(0.0901) > j(0.09));
    // Where there is no slope nothing moves.
    let same = listed(1, 2, &[1.0], 0.5, &[(0, 0, 0, 1.0, 2.0), (0, 1, 0, 1.0, 2.0)]);
    let g = exact_gradient(&same, &coin(1, 0.3));
    let mut z = [1.0, 2.0];
    worst.printed(ascend(&mut z, &g, 100.0), 0.0, 12).printed(z[0], 1.0, 10).printed(z[1], 2.0, 10);
    let refused = panics(|| ascend(&mut [0.0], &[1.0, 2.0], 0.1));
    worst.holds(refused).done()
}

// ac.one-step

fn critic_gradient(mdp: &Mdp, policy: &Policy, critic: &[f64]) -> Vec<f64> {
    let mut out = Array2::from_elem(policy.dim(), f64::NAN);
    actor_critic((&mdp.p, &mdp.r), &occupancy(mdp, policy), policy, critic, mdp.gamma, &mut out);
    flat(&out)
}

fn with_a_critic(((mdp, policy), noise): ((Mdp, Policy), Vec<f64>)) -> Measured {
    let error = &noise[..mdp.states()];
    let critic: Vec<f64> = policy_value(&mdp, &policy).iter().zip(error).map(|(v, e)| v + e).collect();
    let mut bias = Array2::from_elem(policy.dim(), f64::NAN);
    critic_bias(&mdp.p, &occupancy(&mdp, &policy), &policy, error, mdp.gamma, &mut bias);
    let truth = differences(&mdp, &policy);
    let want: Vec<f64> = truth.iter().zip(&bias).map(|(g, b)| g + b).collect();
    Worst::new().gradient(&critic_gradient(&mdp, &policy, &critic), &want).done()
}

/// A critic that is off by a constant, or by nothing.
fn constant_error(((mdp, policy), off): ((Mdp, Policy), f64)) -> Measured {
    let truth = differences(&mdp, &policy);
    let value = policy_value(&mdp, &policy);
    let mut worst = Worst::new();
    for off in [0.0, off] {
        let critic: Vec<f64> = value.iter().map(|v| v + off).collect();
        worst.gradient(&critic_gradient(&mdp, &policy, &critic), &truth);
    }
    let mut bias = Array2::from_elem(policy.dim(), f64::NAN);
    let error = vec![off; mdp.states()];
    critic_bias(&mdp.p, &occupancy(&mdp, &policy), &policy, &error, mdp.gamma, &mut bias);
    worst.gradient(&flat(&bias), &vec![0.0; policy.len()]).done()
}

/// A critic of actions adds its error's own sum with the scores, and nothing if that error does not depend on the action.
fn q_critic(((mdp, policy), noise, by_state): ((Mdp, Policy), Vec<f64>, Vec<f64>)) -> Measured {
    let (actions, truth) = (mdp.actions(), differences(&mdp, &policy));
    let (d, q) = (occupancy(&mdp, &policy), table(&action_value(&mdp, &policy)));
    let off = |s: usize, a: usize| noise[s * 4 + a];
    let noisy = Array2::from_shape_fn(policy.dim(), |(s, a)| q[[s, a]] + off(s, a));
    let mut want = truth.clone();
    for s in 0..mdp.states() {
        for b in 0..actions {
            let extra: f64 = (0..actions).map(|a| policy[[s, a]] * off(s, a) * score(&policy, s, a, b)).sum();
            want[s * actions + b] += d[s] / (1.0 - mdp.gamma) * extra;
        }
    }
    let mut worst = Worst::new();
    worst.gradient(&with_weight(&mdp, &policy, &noisy), &want);
    let orthogonal = Array2::from_shape_fn(policy.dim(), |(s, a)| q[[s, a]] + by_state[s]);
    worst.gradient(&with_weight(&mdp, &policy, &orthogonal), &truth).done()
}

/// The weights that training uses, over all trajectories of a finite horizon with a critic of time and state.
fn critic_on_rollouts(((mdp, horizon, policy), noise): ((Mdp, usize, Policy), Vec<f64>)) -> Measured {
    let (value, _) = finite_values(&mdp, &policy, horizon);
    let critic = |t: usize, s: usize| if t < horizon { value[[t, s]] + noise[3 * t + s] } else { f64::NAN };
    let end =
        Array2::from_shape_fn((horizon, 1), |(t, _)| if t + 1 < horizon { End::No } else { End::Terminated });
    let mut mean = vec![0.0; policy.len()];
    let mut bias = mean.clone();
    trajectories(&mdp, &policy, horizon, &mut |path| {
        let reward = Array2::from_shape_fn((horizon, 1), |(t, _)| path.reward(&mdp, t));
        let now = Array2::from_shape_fn((horizon, 1), |(t, _)| critic(t, path.states[t]));
        let next = Array2::from_shape_fn((horizon, 1), |(t, _)| critic(t + 1, path.states[t + 1]));
        let mut delta = Array2::from_elem((horizon, 1), f64::NAN);
        td_error(&reward, &now, &next, &end, mdp.gamma, &mut delta);
        discount_by_time(&end, mdp.gamma, &mut [1.0], &mut delta);
        for t in 0..horizon {
            let ahead = if t + 1 < horizon { noise[3 * (t + 1) + path.states[t + 1]] } else { 0.0 };
            for b in 0..2 {
                let term = path.prob * score(&policy, path.states[t], path.actions[t], b);
                mean[2 * path.states[t] + b] += term * delta[[t, 0]];
                bias[2 * path.states[t] + b] += term * mdp.gamma.powi(t as i32 + 1) * ahead;
            }
        }
    });
    let truth = finite_gradient(&mdp, &policy, horizon);
    let want: Vec<f64> = truth.iter().zip(&bias).map(|(g, b)| g + b).collect();
    Worst::new().gradient(&mean, &want).done()
}

/// Processes with a discount of 0.
fn no_future() -> impl Strategy<Value = (Mdp, Policy)> + Clone + Send + Sync {
    (mdp_of(3..=3, 2..=2, gamma(0.0)), policy(3, 2))
}

/// Without a future there is nothing that the critic could be wrong about.
fn nothing_ahead(((mdp, policy), critic): ((Mdp, Policy), Vec<f64>)) -> Measured {
    let got = critic_gradient(&mdp, &policy, &critic[..3]);
    let reward = |s: usize, a: usize| -> f64 { (0..3).map(|k| mdp.p[[s, a, k]] * mdp.r[[s, a, k]]).sum() };
    let mut worst = Worst::new();
    for s in 0..3 {
        let mean: f64 = (0..2).map(|a| policy[[s, a]] * reward(s, a)).sum();
        for a in 0..2 {
            worst.same(got[2 * s + a], mdp.mu[s] * policy[[s, a]] * (reward(s, a) - mean));
        }
    }
    let mut bias = Array2::from_elem((3, 2), f64::NAN);
    critic_bias(&mdp.p, &mdp.mu.to_vec(), &policy, &critic[..3], 0.0, &mut bias);
    worst.all(&bias, &[0.0; 6]).done()
}
