//! The probability of a trajectory, its score, and what scores do to expectations.

use super::{coin, episodic, listed, logits, objective, score, softmax};
use crate::generators::{Mdp, Policy, normal, normals, policy, tiny_and_policy};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_QUAD, Worst, require};
use crate::oracles::{gaussian_integral, gradient, trajectories, tuples, unit_integral};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array1, Array2, array};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::beta::{self, Interval};
use rederive_math::gaussian;
use rederive_math::policy_gradient::score::{add_mean_score, add_score, d_expectation};
use rederive_math::policy_gradient::trajectories as under_test;
use rederive_math::special::ln_beta;

pub(super) fn checks() -> Vec<Check> {
    vec![
        random("pg.trajectory-prob", "gradient", TOL_FD, tiny_and_policy(), path_gradient).at_most(48),
        random("pg.trajectory-prob", "mass", TOL_ID, tiny_and_policy(), mass).at_most(96),
        fixed("pg.trajectory-prob", "closed", TOL_ID, |_| path_closed()),
        fixed("pg.trajectory-prob", "edges", EXACT, |_| path_edges()),
        random("pg.log-derivative", "gradient", TOL_FD, (vec(-6.0..=6.0f64, 1..=5), normals(5)), fixed_value),
        random(
            "pg.log-derivative",
            "moving-value",
            TOL_FD,
            (vec(-3.0..=3.0f64, 1..=5), normals(5)),
            moving_value,
        ),
        fixed("pg.log-derivative", "edges", TOL_ID, |_| log_derivative_edges()),
        random("pg.score-zero-mean", "definition", TOL_ID, rows(), zero_mean),
        random("pg.score-zero-mean", "history", TOL_ID, (tiny_and_policy(), normals(3)), history).at_most(96),
        random("pg.score-zero-mean", "own-action", TOL_ID, (tiny_and_policy(), normals(2)), own_action)
            .at_most(96),
        random(
            "pg.score-zero-mean",
            "densities",
            TOL_QUAD,
            ((normal(), -2.0..=1.0f64), (1.05..=20.0f64, 1.05..=20.0f64)),
            densities,
        ),
    ]
}

// pg.trajectory-prob

/// `log p(tau)` as the product of everything that happened.
fn log_product(mdp: &Mdp, policy: &Policy, states: &[usize], actions: &[usize]) -> f64 {
    let mut prob = mdp.mu[states[0]];
    for (t, &a) in actions.iter().enumerate() {
        prob *= policy[[states[t], a]] * mdp.p[[states[t], a, states[t + 1]]];
    }
    prob.ln()
}

fn path_gradient((mdp, horizon, policy): (Mdp, usize, Policy)) -> Measured {
    let actions = mdp.actions();
    let mut listed = Vec::new();
    trajectories(&mdp, &policy, horizon, &mut |path| {
        listed.push((path.states.to_vec(), path.actions.to_vec()))
    });
    let mut worst = Worst::new();
    let mut out = Array2::from_elem(policy.dim(), f64::NAN);
    // Some 60 paths of each process, spread over the list.
    for (states, taken) in listed.iter().step_by(listed.len() / 60 + 1) {
        under_test::score(&policy, states, taken, &mut out);
        let log = |z: &[f64]| log_product(&mdp, &softmax(z, actions), states, taken);
        let got: Vec<f64> = out.iter().copied().collect();
        worst.gradient(&got, &gradient(log, &logits(&policy)));
        let prob = under_test::log_prob(&episodic(&mdp, horizon), &policy, states, taken);
        worst.same(prob, log_product(&mdp, &policy, states, taken));
    }
    worst.done()
}

/// Over all tuples of states and actions, possible or not, the probabilities add up to 1; the list of paths leaves out nothing but the
/// impossible.
fn mass((mdp, horizon, policy): (Mdp, usize, Policy)) -> Measured {
    let process = episodic(&mdp, horizon);
    let (mut total, mut possible) = (0.0, 0);
    tuples(mdp.states(), horizon + 1, &mut |states| {
        tuples(mdp.actions(), horizon, &mut |actions| {
            let prob = under_test::log_prob(&process, &policy, states, actions).exp();
            total += prob;
            possible += usize::from(log_product(&mdp, &policy, states, actions) > f64::NEG_INFINITY);
        });
    });
    let (mut listed, mut worst) = (0, Worst::new());
    let mut list_total = 0.0;
    process.for_each_path(&policy, |path| {
        listed += 1;
        list_total += path.prob;
        worst.same(path.prob, log_product(&mdp, &policy, path.states, path.actions).exp());
    });
    require(listed == possible, || format!("{listed} paths are listed but {possible} are possible"))?;
    let mut mean = 0.0;
    process.for_each_path(&policy, |path| mean += path.prob * process.return_(path));
    worst.same(mean, objective(&mdp, &policy, horizon));
    worst.same(total, 1.0).same(list_total, 1.0).done()
}

fn path_closed() -> Measured {
    let mut worst = Worst::new();
    // A state that goes on for ever, two actions, a fair coin: the same action twice has the score (1, -1), not half of it.
    let mut out = array![[f64::NAN, f64::NAN]];
    under_test::score(&coin(1, 0.5), &[0, 0, 0], &[0, 0], &mut out);
    worst.same(out[[0, 0]], 1.0).same(out[[0, 1]], -1.0);
    // Two first states: without their law the mass would be 2.
    let two = listed(2, 1, &[0.3, 0.7], 1.0, &[(0, 0, 0, 1.0, 1.0), (1, 0, 1, 1.0, 2.0)]);
    let one_action = Policy::ones((2, 1));
    let process = episodic(&two, 1);
    let mass: f64 =
        [0, 1].map(|s| under_test::log_prob(&process, &one_action, &[s, s], &[0]).exp()).iter().sum();
    worst.same(mass, 1.0);
    // The objective is a sum over trajectories: 0.3 * 1 + 0.7 * 2.
    let mut mean = 0.0;
    process.for_each_path(&one_action, |path| mean += path.prob * process.return_(path));
    worst.same(mean, 1.7).done()
}

fn path_edges() -> Measured {
    let mdp = listed(2, 1, &[1.0, 0.0], 1.0, &[(0, 0, 1, 1.0, 0.0)]);
    let (process, policy) = (episodic(&mdp, 1), Policy::ones((2, 1)));
    for states in [[0, 0], [1, 1]] {
        let impossible = under_test::log_prob(&process, &policy, &states, &[0]) == f64::NEG_INFINITY;
        require(impossible, || format!("{states:?} cannot occur"))?;
    }
    let mut count = 0;
    process.for_each_path(&policy, |_| count += 1);
    require(count == 1, || format!("{count} paths instead of 1"))?;
    require(panics(|| under_test::log_prob(&process, &policy, &[0], &[0])), || {
        "a path without its last state is accepted".to_owned()
    })?;
    let refused = panics(|| under_test::score(&policy, &[0, 1], &[0], &mut Array2::zeros((1, 1))));
    require(refused, || "an output of another shape is accepted".to_owned())?;
    Ok(0.0)
}

// pg.log-derivative

/// `d log p(x) / d theta_k` of a softmax, `[K, n]`.
fn score_table(p: &[f64]) -> Array2<f64> {
    Array2::from_shape_fn((p.len(), p.len()), |(k, x)| f64::from(u8::from(k == x)) - p[k])
}

fn row_softmax(z: &[f64]) -> Vec<f64> {
    softmax(z, z.len()).into_raw_vec_and_offset().0
}

fn fixed_value((z, g): (Vec<f64>, Vec<f64>)) -> Measured {
    let p = row_softmax(&z);
    let g = &g[..z.len()];
    let mut out = vec![f64::NAN; z.len()];
    d_expectation(&p, &score_table(&p), g, None, &mut out);
    let mean = |z: &[f64]| row_softmax(z).iter().zip(g).map(|(p, g)| p * g).sum();
    Worst::new().gradient(&out, &gradient(mean, &z)).done()
}

/// `g(x) = f(x) log p(x)` moves with the parameters.
fn moving_value((z, f): (Vec<f64>, Vec<f64>)) -> Measured {
    let (n, p) = (z.len(), row_softmax(&z));
    let scores = score_table(&p);
    let value: Vec<f64> = (0..n).map(|x| f[x] * p[x].ln()).collect();
    let d_value = Array2::from_shape_fn((n, n), |(k, x)| f[x] * scores[[k, x]]);
    let mut out = vec![f64::NAN; n];
    d_expectation(&p, &scores, &value, Some(&d_value), &mut out);
    let mean = |z: &[f64]| row_softmax(z).iter().zip(&f).map(|(p, f)| p * f * p.ln()).sum();
    let mut worst = Worst::new();
    worst.gradient(&out, &gradient(mean, &z));
    // The term in question is the covariance of f with the score.
    let mut frozen = vec![f64::NAN; n];
    d_expectation(&p, &scores, &value, None, &mut frozen);
    let f_mean: f64 = p.iter().zip(&f).map(|(p, f)| p * f).sum();
    for k in 0..n {
        worst.same(out[k] - frozen[k], p[k] * (f[k] - f_mean));
    }
    worst.done()
}

fn log_derivative_edges() -> Measured {
    let mut worst = Worst::new();
    // Probabilities of e^-60: nothing overflows, and what they carry is as small.
    let p = row_softmax(&[0.0, -60.0, -60.0]);
    let mut out = [f64::NAN; 3];
    d_expectation(&p, &score_table(&p), &[1.0, 2.0, 3.0], None, &mut out);
    worst.same(out[0], 0.0).same(out[1] / p[1], 1.0).same(out[2] / p[2], 2.0);
    // f = 1: the extra term is the mean score, 0, so that forgetting it goes unseen.
    let p = row_softmax(&[0.3, -1.0]);
    let (scores, value) = (score_table(&p), [p[0].ln(), p[1].ln()]);
    let (mut with, mut without) = ([f64::NAN; 2], [f64::NAN; 2]);
    d_expectation(&p, &scores, &value, Some(&scores), &mut with);
    d_expectation(&p, &scores, &value, None, &mut without);
    worst.all(&with, &without);
    // What cannot occur is not read.
    let nan = f64::NAN;
    let (scores, moves) = (array![[0.5, -0.5, nan]], array![[1.0, 1.0, nan]]);
    let mut out = [nan];
    d_expectation(&[0.5, 0.5, 0.0], &scores, &[4.0, 2.0, nan], Some(&moves), &mut out);
    worst.same(out[0], 1.5).done()
}

// pg.score-zero-mean

/// A row of a policy, weights of its actions, a constant, and a scale.
fn rows() -> impl Strategy<Value = (Policy, Vec<f64>, f64, f64)> + Clone + Send + Sync {
    (2..=4usize, policy(1, 2), policy(1, 3), policy(1, 4), normals(4), -9.0..=9.0f64, -3.0..=3.0f64).prop_map(
        |(n, two, three, four, weight, constant, scale)| {
            let policy = [two, three, four][n - 2].clone();
            (policy, weight[..n].to_vec(), constant, scale)
        },
    )
}

fn zero_mean((policy, weight, constant, scale): (Policy, Vec<f64>, f64, f64)) -> Measured {
    let n = weight.len();
    let (prob, mut worst) = (policy.row(0), Worst::new());
    // What was in the gradient before stays.
    let mut grad = Array1::from_elem(n, 0.25);
    add_mean_score(&prob, &Array1::from_elem(n, constant), scale, &mut grad);
    worst.all(&grad, &[0.25; 4][..n]);
    add_mean_score(&prob, &Array1::from(weight.clone()), scale, &mut grad);
    let mean: f64 = prob.iter().zip(&weight).map(|(p, w)| p * w).sum();
    for b in 0..n {
        worst.same(grad[b] - 0.25, scale * prob[b] * (weight[b] - mean));
    }
    worst.done()
}

/// A number for every history up to `s_t`, whatever it is: no two histories of a process need agree.
fn any_function(c: &[f64], states: &[usize], actions: &[usize], reward: impl Fn(usize) -> f64) -> f64 {
    let mut f = c[0];
    for (i, &s) in states.iter().enumerate() {
        f = (1.3 * f + c[1] * (s as f64 + 0.5) + i as f64).sin() * 2.0;
    }
    for (i, &a) in actions.iter().enumerate() {
        f = (0.7 * f + c[2] * (a as f64 - 0.3) + reward(i)).sin() * 3.0;
    }
    f
}

fn history(((mdp, horizon, policy), c): ((Mdp, usize, Policy), Vec<f64>)) -> Measured {
    let mut mean = vec![Array2::<f64>::zeros(policy.dim()); horizon];
    trajectories(&mdp, &policy, horizon, &mut |path| {
        for (t, mean) in mean.iter_mut().enumerate() {
            let f = any_function(&c, &path.states[..=t], &path.actions[..t], |k| path.reward(&mdp, k));
            let s = path.states[t];
            add_score(&policy.row(s), path.actions[t], path.prob * f, &mut mean.row_mut(s));
        }
    });
    let mut worst = Worst::new();
    for mean in mean {
        worst.all(&mean, &vec![0.0; mean.len()]);
    }
    worst.done()
}

/// A function of the action itself leaves its covariance with the score.
fn own_action(((mdp, horizon, policy), f): ((Mdp, usize, Policy), Vec<f64>)) -> Measured {
    let mut mean = Array2::<f64>::zeros(policy.dim());
    let mut visits = vec![0.0; mdp.states()];
    trajectories(&mdp, &policy, horizon, &mut |path| {
        let (s, a) = (path.states[horizon - 1], path.actions[horizon - 1]);
        add_score(&policy.row(s), a, path.prob * f[a], &mut mean.row_mut(s));
        visits[s] += path.prob;
    });
    let mut worst = Worst::new();
    for ((s, b), &mean) in mean.indexed_iter() {
        let left: f64 = (0..2).map(|a| policy[[s, a]] * f[a] * score(&policy, s, a, b)).sum();
        worst.same(mean, visits[s] * left);
    }
    worst.done()
}

fn densities(((mean, log_std), (a, b)): ((f64, f64), (f64, f64))) -> Measured {
    let std = log_std.exp();
    let normal_score = |x: f64| {
        let (mut in_mean, mut in_log_std) = ([0.0], [0.0]);
        gaussian::add_d_log_prob(&[mean], &[log_std], &[x], 1.0, &mut in_mean, &mut in_log_std);
        [in_mean[0], in_log_std[0]]
    };
    let density = |x: f64| (-0.5 * ((x - mean) / std).powi(2)).exp() / (std * std::f64::consts::TAU.sqrt());
    let unit = [Interval::new(0.0, 1.0)];
    // Near 1 the action has lost the digits of its distance from it: score and density from whichever end is nearer.
    let near = |a: f64, b: f64, u: f64| {
        let (mut d_a, mut d_b) = ([0.0], [0.0]);
        beta::add_d_log_prob(&[a], &[b], &unit, &[u], 1.0, &mut d_a, &mut d_b);
        [d_a[0], d_b[0]]
    };
    let beta_score = |u: f64, v: f64| {
        if u < 0.5 {
            near(a, b, u)
        } else {
            let [in_b, in_a] = near(b, a, v);
            [in_a, in_b]
        }
    };
    let beta_density = |u: f64, v: f64| ((a - 1.0) * u.ln() + (b - 1.0) * v.ln() - ln_beta(a, b)).exp();
    let mut worst = Worst::new();
    for i in 0..2 {
        worst.same(gaussian_integral(mean, std, |x| density(x) * normal_score(x)[i]), 0.0);
        worst.same(unit_integral(|u, v| beta_density(u, v) * beta_score(u, v)[i]), 0.0);
    }
    worst.done()
}
