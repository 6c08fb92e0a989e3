use super::bellman::{
    all_solved, backup, best_backup, exact, few_policies, look_ahead, until_rounding, value_iteration,
};
use crate::generators::{Mdp, Policy, gamma, mdp, mdp_and_policy, normals, policy};
use crate::measure::{EXACT, TOL_ID, TOL_INEQ, TOL_SOLVE, TOL_STAT, Worst, relative, require};
use crate::oracles::{
    best_stationary, chain, deterministic, mean_reward, optimal_value, policy_value, tuples,
};
use crate::{Check, Measured, fixed, random};
use ndarray::{Array1, Array2, Array3, Axis, array, concatenate};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_env::grid_world::{GridWorld, NOTES_MAP};
use rederive_env::{FiniteModel, FiniteTable};
use rederive_math::bellman;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("dp.q-vi", "definition", TOL_ID, with_start(), q_vi_definition),
        random("dp.policy-evaluation", "definition", TOL_ID, sweeps_case(), evaluation_definition),
        random("dp.policy-evaluation", "rate", TOL_INEQ, sweeps_case(), evaluation_rate),
        random("dp.policy-evaluation", "edges", TOL_SOLVE, sweeps_case(), evaluation_edges),
        random("dp.contraction", "contraction", TOL_INEQ, two_values(), contraction),
        random("dp.contraction", "monotone", TOL_INEQ, two_values(), monotone),
        random("dp.contraction", "shift", TOL_ID, (two_values(), -10.0..=10.0f64), shift),
        fixed("dp.contraction", "closed", TOL_STAT, |_| contraction_closed()),
        random("dp.vi-rate", "rate", TOL_INEQ, with_start(), vi_rate),
        random("dp.vi-rate", "stopping", TOL_INEQ, with_start(), vi_stopping),
        random("dp.vi-rate", "span", TOL_INEQ, with_start(), vi_span),
        random("dp.vi-rate", "edges", TOL_ID, with_start(), vi_edges),
        fixed("dp.vi-rate", "closed", TOL_ID, |_| vi_rate_closed()),
        random("dp.horizon-tail", "bound", TOL_INEQ, (mdp(0.99), 0..=60usize), horizon_tail),
        random("dp.horizon-tail", "partial-sums", TOL_INEQ, tails(), tail_of_rewards),
        fixed("dp.horizon-tail", "closed", TOL_STAT, |_| horizon_tail_closed()),
        random("dp.greedy-loss", "bound", TOL_SOLVE, perturbed(), greedy_loss),
        fixed("dp.greedy-loss", "closed", TOL_STAT, |_| greedy_loss_closed()),
        random("dp.vi-finite", "definition", TOL_SOLVE, acyclic(), vi_finite),
        random("dp.vi-finite", "structure", EXACT, mdp(0.99), vi_finite_structure),
        fixed("dp.vi-finite", "closed", TOL_STAT, |_| vi_finite_closed()),
        random("dp.deterministic-optimal", "definition", TOL_INEQ, policies_case(), deterministic_optimal)
            .at_most(64),
        random("dp.deterministic-optimal", "attained", TOL_SOLVE, mdp(0.99), optimal_attained),
        random("dp.deterministic-optimal", "edges", TOL_ID, mdp(0.95), optimal_edges),
        fixed("dp.deterministic-optimal", "closed", EXACT, |_| optimal_closed()),
        fixed("dp.gridworld", "closed", TOL_STAT, |_| gridworld()),
        fixed("dp.gridworld", "moves", TOL_ID, |_| gridworld_moves()),
        random("dp.v-needs-model", "definition", TOL_SOLVE, relabelled(), needs_model),
        fixed("dp.v-needs-model", "closed", EXACT, |_| needs_model_closed()),
    ]
}

/// MDP with starting values.
fn with_start() -> impl Strategy<Value = (Mdp, Vec<f64>)> + Clone + Send + Sync {
    (mdp(0.99), normals(8), -1.0..=2.0f64).prop_map(|(mdp, start, power)| {
        let scale = 10f64.powf(power);
        let start = start[..mdp.states()].iter().map(|x| x * scale).collect();
        (mdp, start)
    })
}

/// The sup norm of the difference.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "as many values on the left as on the right");
    a.iter().zip(b).fold(0.0, |m: f64, (x, y)| if (x - y).abs() > m { (x - y).abs() } else { m })
}

fn sup(a: &[f64]) -> f64 {
    a.iter().fold(0.0, |m: f64, x| m.max(x.abs()))
}

// dp.q-vi

/// Q-values are swept and state values are swept, each by itself, from one start.
fn q_vi_definition((mdp, start): (Mdp, Vec<f64>)) -> Measured {
    let (s, a) = (mdp.states(), mdp.actions());
    let reward = mean_reward(&mdp);
    let mut q = Array2::from_shape_fn((s, a), |(i, _)| start[i]);
    let mut v = start;
    let mut value = vec![f64::NAN; s];
    let mut worst = Worst::new();
    for _ in 0..20 {
        let mut next_q = Array2::from_elem((s, a), f64::NAN);
        bellman::optimality_backup_q(&mdp.p, &mdp.r, mdp.gamma, &q, &mut value, &mut next_q);
        worst.all(&value, &v);
        let plain = Array2::from_shape_fn((s, a), |(i, j)| {
            reward[i][j] + mdp.gamma * (0..s).map(|k| mdp.p[[i, j, k]] * v[k]).sum::<f64>()
        });
        worst.all(&next_q, &plain);
        v = plain.rows().into_iter().map(|row| row.fold(f64::NEG_INFINITY, |m, &x| m.max(x))).collect();
        q = next_q;
    }
    worst.done()
}

// dp.policy-evaluation

#[derive(Clone, Debug)]
struct Sweeps {
    mdp: Mdp,
    policy: Policy,
    start: Vec<f64>,
    count: usize,
}

fn sweeps_case() -> impl Strategy<Value = Sweeps> + Clone + Send + Sync {
    (with_start(), policy(8, 4), 0..=60usize).prop_map(|((mdp, start), policy, count)| {
        let mut policy = policy.slice(ndarray::s![..mdp.states(), ..mdp.actions()]).to_owned();
        for mut row in policy.rows_mut() {
            let sum = row.sum();
            row /= sum;
        }
        Sweeps { mdp, policy, start, count }
    })
}

impl Sweeps {
    fn run(&self, count: usize) -> Vec<f64> {
        let mut value = self.start.clone();
        bellman::evaluate(&self.mdp.p, &self.mdp.r, &self.policy, self.mdp.gamma, count, &mut value);
        value
    }
}

fn evaluation_definition(case: Sweeps) -> Measured {
    let Sweeps { mdp, policy, start, count } = &case;
    let (kernel, reward) = (chain(mdp, policy), mean_reward(mdp));
    let mean: Vec<f64> =
        reward.iter().zip(policy.rows()).map(|(r, pi)| r.iter().zip(pi).map(|(r, p)| r * p).sum()).collect();
    let (mut v, mut by_backup) = (start.clone(), start.clone());
    for _ in 0..*count {
        let ahead = |row: &[f64]| row.iter().zip(&v).map(|(p, v)| p * v).sum::<f64>();
        v = kernel.iter().zip(&mean).map(|(row, r)| r + mdp.gamma * ahead(row)).collect();
        by_backup = backup(mdp, policy, &by_backup);
    }
    let mut worst = Worst::new();
    worst.all(&case.run(*count), &v).all(&by_backup, &v);
    worst.done()
}

fn evaluation_rate(case: Sweeps) -> Measured {
    let exact = policy_value(&case.mdp, &case.policy);
    let scale = sup(&exact).max(sup(&case.start)).max(1.0) / (1.0 - case.mdp.gamma);
    let bound = case.mdp.gamma.powi(case.count as i32) * distance(&case.start, &exact);
    let mut worst = Worst::new();
    worst.at_most(distance(&case.run(case.count), &exact) / scale, bound / scale);
    worst.done()
}

fn evaluation_edges(case: Sweeps) -> Measured {
    let exact = policy_value(&case.mdp, &case.policy);
    let still = Sweeps { start: exact.clone(), ..case.clone() };
    let mut worst = Worst::new();
    all_solved(&mut worst, &still.run(case.count), &exact, case.mdp.gamma);
    // In the limit, the exact values; without discount for the future, after one sweep.
    all_solved(&mut worst, &case.run(until_rounding(case.mdp.gamma) + 200), &exact, case.mdp.gamma);
    let myopic = Sweeps { mdp: Mdp { gamma: 0.0, ..case.mdp.clone() }, ..case.clone() };
    all_solved(&mut worst, &myopic.run(1), &policy_value(&myopic.mdp, &case.policy), 0.0);
    worst.holds(case.run(0) == case.start);
    worst.done()
}

// dp.contraction

#[derive(Clone, Debug)]
struct TwoValues {
    mdp: Mdp,
    policy: Policy,
    u: Vec<f64>,
    w: Vec<f64>,
}

fn two_values() -> impl Strategy<Value = TwoValues> + Clone + Send + Sync {
    let values = || vec(-10.0..=10.0f64, 8);
    (mdp_and_policy(0.99), values(), values(), 0..8u8).prop_map(|((mdp, policy), u, w, kind)| {
        let u = u[..mdp.states()].to_vec();
        let w = match kind {
            0 => u.clone(),
            1 => u.iter().map(|x| x - w[0]).collect(),
            _ => w[..mdp.states()].to_vec(),
        };
        TwoValues { mdp, policy, u, w }
    })
}

impl TwoValues {
    /// Both operators on both values.
    fn backups(&self, u: &[f64], w: &[f64]) -> [(Vec<f64>, Vec<f64>); 2] {
        [
            (backup(&self.mdp, &self.policy, u), backup(&self.mdp, &self.policy, w)),
            (best_backup(&self.mdp, u), best_backup(&self.mdp, w)),
        ]
    }
}

fn contraction(case: TwoValues) -> Measured {
    let mut worst = Worst::new();
    let before = distance(&case.u, &case.w);
    for (u, w) in case.backups(&case.u, &case.w) {
        worst.at_most(distance(&u, &w), case.mdp.gamma * before);
    }
    // Equality where the two differ by a constant.
    let difference = case.u[0] - case.w[0];
    if case.u.iter().zip(&case.w).all(|(u, w)| (u - w - difference).abs() < 1e-12) {
        for (u, w) in case.backups(&case.u, &case.w) {
            worst.same(distance(&u, &w), case.mdp.gamma * before);
        }
    }
    worst.done()
}

fn monotone(case: TwoValues) -> Measured {
    let above: Vec<f64> = case.u.iter().zip(&case.w).map(|(u, w)| u.max(*w)).collect();
    let mut worst = Worst::new();
    for (u, w) in case.backups(&case.u, &above) {
        for (u, w) in u.iter().zip(&w) {
            worst.at_most(*u, *w);
        }
    }
    worst.done()
}

fn shift((case, c): (TwoValues, f64)) -> Measured {
    let shifted: Vec<f64> = case.u.iter().map(|u| u + c).collect();
    let mut worst = Worst::new();
    for (u, w) in case.backups(&case.u, &shifted) {
        let expected: Vec<f64> = u.iter().map(|u| u + case.mdp.gamma * c).collect();
        worst.all(&w, &expected);
    }
    worst.done()
}

fn contraction_closed() -> Measured {
    // V(s) = max gamma V(s') without a reward or a fixed terminal value: only 0 solves it.
    let p = Array3::from_shape_fn((3, 2, 3), |(s, a, k)| f64::from(u8::from(k == (s + a) % 3)));
    let mut v = [1.0; 3];
    bellman::value_iteration(&p, &Array3::zeros((3, 2, 3)), 0.9, 100, &mut v);
    let mut worst = Worst::new();
    for v in v {
        worst.printed(v, 2.656e-5, 8);
    }
    worst.done()
}

// dp.vi-rate

/// The first 50 sweeps: what was before and what came out.
fn sweeps(mdp: &Mdp, start: &[f64], mut f: impl FnMut(usize, &[f64], &[f64])) {
    let mut before = start.to_vec();
    for k in 1..=50 {
        let after = value_iteration(mdp, 1, &before);
        f(k, &before, &after);
        before = after;
    }
}

/// By what errors are divided: values of this size are computed from sums of terms of that size.
fn scale_of(mdp: &Mdp, start: &[f64], best: &[f64]) -> f64 {
    sup(best).max(sup(start)).max(1.0) / (1.0 - mdp.gamma)
}

fn vi_rate((mdp, start): (Mdp, Vec<f64>)) -> Measured {
    let best = optimal_value(&mdp);
    let scale = scale_of(&mdp, &start, &best);
    let first = distance(&start, &best);
    let mut worst = Worst::new();
    sweeps(&mdp, &start, |k, _, after| {
        let bound = bellman::rate_bound(mdp.gamma, k, first);
        worst.same(bound, mdp.gamma.powi(k as i32) * first);
        worst.at_most(distance(after, &best) / scale, bound / scale);
    });
    worst.done()
}

fn vi_stopping((mdp, start): (Mdp, Vec<f64>)) -> Measured {
    let best = optimal_value(&mdp);
    let scale = scale_of(&mdp, &start, &best);
    let mut worst = Worst::new();
    sweeps(&mdp, &start, |_, before, after| {
        let bound = bellman::change_bound(mdp.gamma, distance(before, after));
        worst.at_most(distance(after, &best) / scale, bound / scale);
    });
    worst.done()
}

fn vi_span((mdp, start): (Mdp, Vec<f64>)) -> Measured {
    let best = optimal_value(&mdp);
    let scale = scale_of(&mdp, &start, &best);
    let mut worst = Worst::new();
    sweeps(&mdp, &start, |_, before, after| {
        let change: Vec<f64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
        let (low, high) = bellman::span_bounds(mdp.gamma, &change);
        for (v, b) in after.iter().zip(&best) {
            worst.at_most((v + low) / scale, b / scale).at_most(b / scale, (v + high) / scale);
        }
        // The middle is at most half the span away, and the span is never wider than the change allows.
        let middle: Vec<f64> = after.iter().map(|v| v + 0.5 * (low + high)).collect();
        worst.at_most(distance(&middle, &best) / scale, 0.5 * (high - low) / scale);
        let change_bound = bellman::change_bound(mdp.gamma, distance(before, after));
        worst.at_most(0.5 * (high - low) / scale, change_bound / scale);
    });
    worst.done()
}

fn vi_edges((mdp, start): (Mdp, Vec<f64>)) -> Measured {
    let mut worst = Worst::new();
    let myopic = Mdp { gamma: 0.0, ..mdp.clone() };
    let once = value_iteration(&myopic, 1, &start);
    worst.all(&once, &optimal_value(&myopic));
    worst.same(bellman::change_bound(0.0, distance(&once, &start)), 0.0);
    let best = optimal_value(&mdp);
    worst.all(&value_iteration(&mdp, 3, &best), &best);
    worst.done()
}

fn vi_rate_closed() -> Measured {
    // One state that pays 1 for ever at gamma 0.99: the error is exactly the bound, 99 times the change.
    let (p, r) = (Array3::ones((1, 1, 1)), Array3::ones((1, 1, 1)));
    let mut worst = Worst::new();
    let mut v = [0.0];
    for _ in 0..200 {
        let before = v[0];
        bellman::value_iteration(&p, &r, 0.99, 1, &mut v);
        let (change, error) = (v[0] - before, 100.0 - v[0]);
        worst.same(bellman::change_bound(0.99, change), error);
        let (low, high) = bellman::span_bounds(0.99, &[change]);
        // All change is shift: the middle of the span is right after one sweep.
        worst.same(v[0] + low, 100.0).same(high, low);
    }
    // After 200 sweeps nothing moves by more than 0.14, and the value is off by more than 13.
    worst.holds(100.0 - v[0] > 13.0);
    worst.done()
}

// dp.horizon-tail

fn horizon_tail((mdp, steps): (Mdp, usize)) -> Measured {
    let best = optimal_value(&mdp);
    let v = value_iteration(&mdp, steps, &vec![0.0; mdp.states()]);
    let max_reward = sup(mdp.r.as_slice().expect("row-major"));
    let scale = max_reward.max(1.0) / (1.0 - mdp.gamma);
    let bound = bellman::horizon_tail(mdp.gamma, steps, max_reward);
    let mut worst = Worst::new();
    worst.at_most(distance(&best, &v) / scale, bound / scale);
    worst.done()
}

fn tails() -> impl Strategy<Value = (Vec<f64>, f64, usize)> + Clone + Send + Sync {
    (vec(-2.0..=2.0f64, 1..=80), gamma(0.99), 0..=80usize)
}

fn tail_of_rewards((rewards, gamma, steps): (Vec<f64>, f64, usize)) -> Measured {
    let tail: f64 = rewards.iter().enumerate().skip(steps).map(|(t, r)| gamma.powi(t as i32) * r).sum();
    let mut worst = Worst::new();
    worst.at_most(tail.abs(), bellman::horizon_tail(gamma, steps, sup(&rewards)));
    worst.done()
}

fn horizon_tail_closed() -> Measured {
    let mut worst = Worst::new();
    worst.printed(bellman::horizon_tail(0.9, 11, 1.0), 3.13811, 5);
    // Equality for a reward of 1 for ever, and twice the negative tail for one of -5.
    for (reward, missing, digits) in [(1.0, 3.13811, 5), (-5.0, -15.69, 2)] {
        let (p, r) = (Array3::ones((1, 1, 1)), Array3::from_elem((1, 1, 1), reward));
        let mut v = [0.0];
        bellman::value_iteration(&p, &r, 0.9, 11, &mut v);
        worst.printed(reward / 0.1 - v[0], missing, digits);
        worst.printed((reward / 0.1 - v[0]).abs(), bellman::horizon_tail(0.9, 11, reward.abs()), 10);
    }
    worst.printed(bellman::horizon_tail(0.9, 0, 1.0), 10.0, 10);
    worst.done()
}

// dp.greedy-loss

/// Values that are off by at most a given amount: nothing, a little, or very much.
fn perturbed() -> impl Strategy<Value = (Mdp, Vec<f64>, f64)> + Clone + Send + Sync {
    let size = prop::sample::select(vec![0.0, 1e-2, 10.0]);
    (mdp(0.99), vec(-1.0..=1.0f64, 8), size)
}

fn greedy_loss((mdp, noise, size): (Mdp, Vec<f64>, f64)) -> Measured {
    let best = optimal_value(&mdp);
    let value: Vec<f64> = best.iter().zip(&noise).map(|(v, e)| v + size * e).collect();
    let mut choice = vec![0; mdp.states()];
    bellman::greedy_v(&mdp.p, &mdp.r, mdp.gamma, &value, &mut choice);
    let of_greedy = policy_value(&mdp, &deterministic(&choice, mdp.actions()));
    let bound = bellman::greedy_loss(mdp.gamma, distance(&value, &best));
    let scale = sup(&best).max(1.0);
    let mut worst = Worst::new();
    let excess = distance(&of_greedy, &best) - bound;
    worst.add(if excess <= 0.0 { 0.0 } else { excess / scale * (1.0 - mdp.gamma) });
    worst.done()
}

fn greedy_loss_closed() -> Measured {
    // In state 0, action 0 stays and costs 1, action 1 leaves for state 1, which pays nothing for ever: V* = 0. Values off by 1,
    // too high in 0 and too low in 1, make both look worth -0.5 at gamma 0.5; the first one costs 2, all that the bound allows.
    let p = array![[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]];
    let r = array![[[-1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]];
    let mdp = Mdp { p, r, mu: array![1.0, 0.0], gamma: 0.5 };
    let mut worst = Worst::new();
    for (value, choice, loss) in [([0.0, 0.0], 1, 0.0), ([0.9, -0.9], 1, 0.0), ([1.0, -1.0], 0, 2.0)] {
        let mut greedy = [9; 2];
        bellman::greedy_v(&mdp.p, &mdp.r, mdp.gamma, &value, &mut greedy);
        let v = exact(&mdp, &deterministic(&greedy, 2));
        worst.holds(greedy[0] == choice).printed(v[0], -loss, 10);
        worst.holds(-v[0] <= bellman::greedy_loss(mdp.gamma, sup(&value)));
    }
    worst.printed(bellman::greedy_loss(0.5, 1.0), 2.0, 10).printed(bellman::greedy_loss(0.0, 7.0), 0.0, 10);
    worst.done()
}

// dp.vi-finite

/// MDP whose states are layered.
fn acyclic() -> impl Strategy<Value = Mdp> + Clone + Send + Sync {
    (mdp(0.99), vec((0.0..1.0f64, any::<bool>()), 8 * 4 * 8)).prop_map(|(mut mdp, weights)| {
        let (s, a) = (mdp.states(), mdp.actions());
        for i in 0..s {
            for j in 0..a {
                let weight = |k: usize| {
                    let (u, used) = weights[(i * 4 + j) * 8 + k];
                    if k > i && used { u } else { 0.0 }
                };
                let sum: f64 = (0..s).map(weight).sum();
                for k in 0..s {
                    let stay = f64::from(u8::from(k == if i + 1 < s { i + 1 } else { i }));
                    mdp.p[[i, j, k]] = if sum > 1e-3 { weight(k) / sum } else { stay };
                }
            }
        }
        mdp.r.slice_mut(ndarray::s![s - 1, .., ..]).fill(0.0);
        mdp
    })
}

/// The longest path by listing: the most steps that any sequence of possible transitions takes to the last state.
fn longest_path(mdp: &Mdp, s: usize) -> usize {
    let last = mdp.states() - 1;
    if s == last {
        return 0;
    }
    let possible = |k: &usize| (0..mdp.actions()).any(|a| mdp.p[[s, a, *k]] > 0.0);
    1 + (0..=last).filter(possible).map(|k| longest_path(mdp, k)).max().unwrap_or(0)
}

fn vi_finite(mdp: Mdp) -> Measured {
    let longest = (0..mdp.states()).map(|s| longest_path(&mdp, s)).max().unwrap_or(0);
    let claimed = bellman::sweeps_to_exact(&mdp.p, &mdp.r);
    require(claimed == Some(longest), || format!("{claimed:?} instead of {longest} sweeps"))?;
    let zero = vec![0.0; mdp.states()];
    let v = value_iteration(&mdp, longest, &zero);
    let again = value_iteration(&mdp, 1, &v);
    require(v == again, || format!("sweep {} still changes {v:?} to {again:?}", longest + 1))?;
    let mut worst = Worst::new();
    all_solved(&mut worst, &v, &optimal_value(&mdp), mdp.gamma);
    // A value that is not 0 on the absorbing state dies out like gamma^k.
    let last = mdp.states() - 1;
    let mut start = zero;
    start[last] = 1.0;
    worst.same(value_iteration(&mdp, longest, &start)[last], mdp.gamma.powi(longest as i32));
    worst.done()
}

/// A number of sweeps is claimed exactly where no state can come back to itself, absorbing ones without reward aside.
fn vi_finite_structure(mdp: Mdp) -> Measured {
    let s = mdp.states();
    let leads = |i: usize, k: usize| (0..mdp.actions()).any(|a| mdp.p[[i, a, k]] > 0.0);
    let absorbs = |i: usize| {
        (0..s).all(|k| k == i || !leads(i, k)) && (0..mdp.actions()).all(|a| mdp.r[[i, a, i]] == 0.0)
    };
    let mut reach: Vec<Vec<bool>> =
        (0..s).map(|i| (0..s).map(|k| leads(i, k) && !absorbs(i)).collect()).collect();
    for via in 0..s {
        for i in 0..s {
            for k in 0..s {
                reach[i][k] |= reach[i][via] && reach[via][k];
            }
        }
    }
    let acyclic = (0..s).all(|i| !reach[i][i]);
    let claimed = bellman::sweeps_to_exact(&mdp.p, &mdp.r);
    require(claimed.is_some() == acyclic, || format!("{claimed:?} where acyclic is {acyclic}"))?;
    Ok(0.0)
}

fn vi_finite_closed() -> Measured {
    let mut worst = Worst::new();
    let (p, r) = (Array3::ones((1, 1, 1)), Array3::ones((1, 1, 1)));
    let mut v = [0.0];
    let mut before = 0.0;
    for k in 1..=300 {
        bellman::value_iteration(&p, &r, 0.9, 1, &mut v);
        worst.holds(v[0] > before);
        before = v[0];
        if k == 10 {
            worst.printed(v[0], 6.51322, 5);
        }
        if k == 100 {
            worst.printed(v[0], 9.99973, 5);
        }
    }
    worst.holds(bellman::sweeps_to_exact(&p, &r).is_none());
    // A single absorbing state without reward needs no sweep.
    worst.holds(bellman::sweeps_to_exact(&p, &Array3::<f64>::zeros((1, 1, 1))) == Some(0));
    worst.done()
}

// dp.deterministic-optimal

/// At most 256 deterministic policies, and 100 random ones.
fn policies_case() -> impl Strategy<Value = (Mdp, Vec<Policy>)> + Clone + Send + Sync {
    (few_policies(), vec(policy(4, 4), 100)).prop_map(|(mdp, policies)| {
        let crop = |policy: Policy| {
            let mut policy = policy.slice(ndarray::s![..mdp.states(), ..mdp.actions()]).to_owned();
            for mut row in policy.rows_mut() {
                let sum = row.sum();
                row /= sum;
            }
            policy
        };
        let policies = policies.into_iter().map(crop).collect();
        (mdp, policies)
    })
}

/// The optimal values by sweeps, and the policy that is greedy for their action values.
fn solved(mdp: &Mdp) -> (Vec<f64>, Vec<usize>) {
    let v = value_iteration(mdp, until_rounding(mdp.gamma), &vec![0.0; mdp.states()]);
    let mut choice = vec![0; mdp.states()];
    bellman::greedy_q(&look_ahead(mdp, &v), &mut choice);
    (v, choice)
}

fn deterministic_optimal((mdp, policies): (Mdp, Vec<Policy>)) -> Measured {
    let (best, choice) = solved(&mdp);
    let objective = |v: &[f64]| mdp.mu.iter().zip(v).map(|(m, v)| m * v).sum::<f64>();
    let optimum = objective(&best);
    let scale = sup(&best).max(1.0) / (1.0 - mdp.gamma);
    let mut worst = Worst::new();
    let mut below = |policy: &Policy| {
        worst.at_most(objective(&policy_value(&mdp, policy)) / scale, optimum / scale);
    };
    policies.iter().for_each(&mut below);
    tuples(mdp.actions(), mdp.states(), &mut |choice| below(&deterministic(choice, mdp.actions())));
    let greedy = objective(&policy_value(&mdp, &deterministic(&choice, mdp.actions())));
    worst.same(greedy / scale, optimum / scale);
    worst.done()
}

fn optimal_attained(mdp: Mdp) -> Measured {
    let (_, choice) = solved(&mdp);
    let greedy = policy_value(&mdp, &deterministic(&choice, mdp.actions()));
    let mut worst = Worst::new();
    all_solved(&mut worst, &greedy, &optimal_value(&mdp), mdp.gamma);
    worst.done()
}

/// Ties: any choice among equal actions is optimal, and the first one is taken; a single action leaves no choice.
fn optimal_edges(mdp: Mdp) -> Measured {
    let twice = Mdp {
        p: concatenate(Axis(1), &[mdp.p.view(), mdp.p.view()]).expect("same shape"),
        r: concatenate(Axis(1), &[mdp.r.view(), mdp.r.view()]).expect("same shape"),
        ..mdp.clone()
    };
    let (best, choice) = solved(&twice);
    require(choice.iter().all(|&a| a < mdp.actions()), || format!("{choice:?} takes a later copy"))?;
    let second: Vec<usize> = choice.iter().map(|a| a + mdp.actions()).collect();
    let mut worst = Worst::new();
    all_solved(
        &mut worst,
        &policy_value(&twice, &deterministic(&second, 2 * mdp.actions())),
        &best,
        mdp.gamma,
    );
    let only = Mdp {
        p: mdp.p.slice(ndarray::s![.., ..1, ..]).to_owned(),
        r: mdp.r.slice(ndarray::s![.., ..1, ..]).to_owned(),
        ..mdp
    };
    let (best, choice) = solved(&only);
    worst.holds(choice.iter().all(|&a| a == 0));
    all_solved(&mut worst, &exact(&only, &Array2::ones((only.states(), 1))), &best, only.gamma);
    worst.done()
}

fn optimal_closed() -> Measured {
    // s0: a leads to s1 for nothing, b ends and pays 0.5. s1: c ends and pays 1, d ends and pays nothing. The policy takes d.
    let mut p = Array3::zeros((3, 2, 3));
    let mut r = Array3::zeros((3, 2, 3));
    for (s, a, next, reward) in
        [(0, 0, 1, 0.0), (0, 1, 2, 0.5), (1, 0, 2, 1.0), (1, 1, 2, 0.0), (2, 0, 2, 0.0), (2, 1, 2, 0.0)]
    {
        p[[s, a, next]] = 1.0;
        r[[s, a, next]] = reward;
    }
    let of_policy = |choice: [usize; 3]| {
        let mut v = [0.0; 3];
        bellman::evaluate(&p, &r, &deterministic(&choice, 2), 1.0, 3, &mut v);
        v
    };
    let greedy = |v: &[f64]| {
        let (mut q, mut choice) = (Array2::zeros((3, 2)), [9; 3]);
        bellman::look_ahead(&p, &r, 1.0, v, &mut q);
        bellman::greedy_q(&q, &mut choice);
        choice
    };
    let first = greedy(&of_policy([0, 1, 0]));
    require(first[0] == 1 && first[1] == 0, || format!("{first:?} instead of b and c"))?;
    require(of_policy([1, 1, 0])[0] == 0.5, || "b is not worth 0.5".to_owned())?;
    // Improving once more finds the optimum.
    let second = greedy(&of_policy(first));
    require(second[0] == 0 && of_policy(second)[0] == 1.0, || format!("{second:?} instead of a and c"))?;
    Ok(0.0)
}

// dp.gridworld

/// The table as dense arrays, with one more state in which everything ends.
pub(super) fn dense(table: &FiniteTable) -> (Array3<f64>, Array3<f64>) {
    let (s, a) = (table.num_states(), table.num_actions());
    let mut p = Array3::zeros((s + 1, a, s + 1));
    let mut r = Array3::zeros((s + 1, a, s + 1));
    for i in 0..s {
        for j in 0..a {
            for outcome in table.row(i, j) {
                let next = if outcome.terminated { s } else { outcome.next as usize };
                p[[i, j, next]] += outcome.prob;
                r[[i, j, next]] += outcome.prob * outcome.reward;
            }
        }
    }
    p.slice_mut(ndarray::s![s, .., s]).fill(1.0);
    r.zip_mut_with(&p, |r, &p| *r = if p > 0.0 { *r / p } else { 0.0 });
    (p, r)
}

fn gridworld() -> Measured {
    let mut worst = Worst::new();
    let solve = |noise: f64, gamma: f64, sweeps: usize| {
        let grid = GridWorld::from_map(NOTES_MAP, noise, 0.0).expect("the notes' map");
        let (p, r) = dense(grid.table());
        let mut v = vec![0.0; p.dim().0];
        bellman::value_iteration(&p, &r, gamma, sweeps, &mut v);
        move |column: usize, row: usize| v[grid.state(column, row) as usize]
    };
    let sure = solve(0.0, 0.9, 100);
    for (column, row, worth) in [(4, 3, 1.0), (3, 3, 0.9), (2, 3, 0.81), (1, 1, 0.590_49), (4, 2, -1.0)] {
        worst.printed(sure(column, row), worth, 6);
    }
    worst.printed(solve(0.0, 0.9, 5)(1, 1), 0.0, 6).printed(solve(0.0, 0.9, 6)(1, 1), 0.590_49, 6);
    let noisy = solve(0.2, 0.9, 400);
    for (column, row, worth) in [(3, 3, 0.847_766), (3, 2, 0.571_859), (1, 1, 0.490_684)] {
        worst.printed(noisy(column, row), worth, 6);
    }
    // The equation of one cell, written out.
    worst.printed(noisy(3, 3), 0.72 * noisy(4, 3) + 0.09 * noisy(3, 3) + 0.09 * noisy(3, 2), 6);
    let undiscounted = solve(0.0, 1.0, 100);
    for column in 1..=4 {
        for row in 1..=3 {
            if (column, row) != (2, 2) {
                worst.printed(undiscounted(column, row), if (column, row) == (4, 2) { -1.0 } else { 1.0 }, 6);
            }
        }
    }
    worst.done()
}

/// Every cell and action against moves worked out in the notes' coordinates.
fn gridworld_moves() -> Measured {
    let grid = GridWorld::from_map(NOTES_MAP, 0.2, 0.0).expect("the notes' map");
    // Up, right, down, left in columns and rows, row 1 at the bottom.
    let directions = [(0i32, 1i32), (1, 0), (0, -1), (-1, 0)];
    let mut worst = Worst::new();
    for column in 1..=4i32 {
        for row in 1..=3i32 {
            let exit = match (column, row) {
                (2, 2) => continue,
                (4, 3) => Some(1.0),
                (4, 2) => Some(-1.0),
                _ => None,
            };
            let state = grid.state(column as usize, row as usize);
            for a in 0..4 {
                let mut law = [0.0; 13];
                let mut reward = 0.0;
                for outcome in grid.table().row(state as usize, a) {
                    reward += outcome.prob * outcome.reward;
                    law[if outcome.terminated { 12 } else { outcome.next as usize }] += outcome.prob;
                }
                let mut expected = [0.0; 13];
                match exit {
                    Some(_) => expected[12] = 1.0,
                    None => {
                        for (turn, prob) in [(0, 0.8), (1, 0.1), (3, 0.1)] {
                            let (dx, dy) = directions[(a + turn) % 4];
                            let (x, y) = (column + dx, row + dy);
                            let free = (1..=4).contains(&x) && (1..=3).contains(&y) && (x, y) != (2, 2);
                            let to = if free { grid.state(x as usize, y as usize) } else { state };
                            expected[to as usize] += prob;
                        }
                    }
                }
                worst.all(&law, &expected).same(reward, exit.unwrap_or(0.0));
            }
        }
    }
    worst.done()
}

// dp.v-needs-model

/// MDP and an order of the actions for every state.
fn relabelled() -> impl Strategy<Value = (Mdp, Vec<usize>)> + Clone + Send + Sync {
    (mdp(0.99), vec(0..4usize, 8))
}

fn needs_model((mdp, turn): (Mdp, Vec<usize>)) -> Measured {
    let (s, a) = (mdp.states(), mdp.actions());
    let original = |i: usize, j: usize| (j + turn[i]) % a;
    let other = Mdp {
        p: Array3::from_shape_fn((s, a, s), |(i, j, k)| mdp.p[[i, original(i, j), k]]),
        r: Array3::from_shape_fn((s, a, s), |(i, j, k)| mdp.r[[i, original(i, j), k]]),
        ..mdp.clone()
    };
    let (one, two) = (optimal_value(&mdp), optimal_value(&other));
    let mut worst = Worst::new();
    all_solved(&mut worst, &one, &two, mdp.gamma);
    let scale = sup(&one).max(1.0);
    let mut greedy = vec![0; s];
    for (case, relabel) in [(&mdp, false), (&other, true)] {
        let q = look_ahead(case, &one);
        bellman::greedy_v(&case.p, &case.r, case.gamma, &one, &mut greedy);
        for i in 0..s {
            // The action that is chosen is as good as the best of the original process, whatever it is called.
            let (mut best, mut chosen) = (f64::NEG_INFINITY, f64::NAN);
            for j in 0..a {
                let reward: f64 = (0..s).map(|k| mdp.p[[i, j, k]] * mdp.r[[i, j, k]]).sum();
                let ahead: f64 = (0..s).map(|k| mdp.p[[i, j, k]] * one[k]).sum();
                let label = if relabel { (j + a - turn[i] % a) % a } else { j };
                worst.add(relative(q[[i, label]], reward + mdp.gamma * ahead, scale) * (1.0 - mdp.gamma));
                best = best.max(reward + mdp.gamma * ahead);
                if greedy[i] == label {
                    chosen = reward + mdp.gamma * ahead;
                }
            }
            worst.add(relative(chosen, best, scale) * (1.0 - mdp.gamma));
        }
    }
    worst.done()
}

fn needs_model_closed() -> Measured {
    // From s, one action pays 5 and ends, the other pays nothing and leads to a state worth 1: rewards count, not successors alone.
    let process = |swap: bool| {
        let mut p = Array3::zeros((3, 2, 3));
        let mut r = Array3::zeros((3, 2, 3));
        let name = |a: usize| if swap { 1 - a } else { a };
        for (s, a, next, reward) in
            [(0, 0, 2, 5.0), (0, 1, 1, 0.0), (1, 0, 2, 1.0), (1, 1, 2, 1.0), (2, 0, 2, 0.0), (2, 1, 2, 0.0)]
        {
            p[[s, name(a), next]] = 1.0;
            r[[s, name(a), next]] = reward;
        }
        Mdp { p, r, mu: Array1::from(vec![1.0, 0.0, 0.0]), gamma: 0.9 }
    };
    for (swap, expected) in [(false, 0), (true, 1)] {
        let mdp = process(swap);
        let v = best_stationary(&mdp);
        require(v == [5.0, 1.0, 0.0], || format!("{v:?} instead of 5, 1, 0"))?;
        let mut choice = [9; 3];
        bellman::greedy_v(&mdp.p, &mdp.r, mdp.gamma, &v, &mut choice);
        require(choice[0] == expected, || format!("action {} where {expected} pays 5", choice[0]))?;
    }
    Ok(0.0)
}
