use crate::generators::{
    Mdp, Policy, gamma, mdp_and_policies, mdp_and_policy, mdp_of, normals, policy, tiny_and_policies,
};
use crate::measure::{EXACT, TOL_ID, TOL_INEQ, TOL_SOLVE, TOL_STAT, Worst, require};
use crate::oracles::{
    action_value, best_stationary, chain, deterministic, identity_minus, mean_reward, optimal_value,
    policy_value, solve, trajectories_from,
};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array2, Array3, array, s};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::bellman;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("bellman.v", "definition", TOL_SOLVE, mdp_and_policy(0.99), v_definition),
        random("bellman.v", "fixed-point", TOL_ID, mdp_and_policy(0.99), v_fixed_point),
        random("bellman.v", "enumeration", TOL_ID, tiny_discounted(), v_enumeration),
        random("bellman.v", "truncation", TOL_INEQ, tiny_discounted(), v_truncation),
        // Rows longer than a vector register, with any remainder.
        random("bellman.v", "wide", TOL_ID, wide(), v_wide).at_most(64),
        random("bellman.v", "single-precision", 1e-5, wide(), v_single_precision).at_most(64),
        random("bellman.v", "edges", TOL_ID, mdp_and_policy(0.99), v_edges),
        fixed("bellman.v", "closed", TOL_ID, |_| v_closed()),
        random("bellman.q", "definition", TOL_SOLVE, mdp_and_policy(0.99), q_definition),
        random("bellman.q", "fixed-point", TOL_ID, mdp_and_policy(0.99), q_fixed_point),
        random("bellman.q", "zero-probability", TOL_SOLVE, mdp_and_choice(0.99), q_zero_probability),
        random("bellman.q", "edges", TOL_ID, mdp_and_policy(0.0), q_edges),
        random("bellman.advantage", "definition", TOL_SOLVE, mdp_and_policy(0.99), advantage_definition),
        random("bellman.advantage", "deterministic", TOL_SOLVE, mdp_and_choice(0.99), advantage_choice),
        random("bellman.advantage", "optimal", TOL_SOLVE, mdp_and_policies(0.99), advantage_optimal),
        random("bellman.deterministic", "definition", TOL_SOLVE, moves(), moves_definition).at_most(128),
        fixed("bellman.deterministic", "closed", TOL_ID, |_| moves_closed()),
        random("bellman.time-index", "enumeration", TOL_ID, tiny_and_policies(), time_enumeration),
        random("bellman.time-index", "augmented", TOL_ID, tiny_and_policies(), time_augmented),
        fixed("bellman.time-index", "closed", EXACT, |_| time_closed()),
        random("bellman.optimality", "definition", TOL_SOLVE, few_policies(), optimality_definition),
        random("bellman.optimality", "residuals", TOL_ID, few_policies(), optimality_residuals),
        random("bellman.optimality", "edges", TOL_ID, mdp_and_policy(0.99), optimality_edges),
        fixed("bellman.optimality", "closed", TOL_STAT, |_| optimality_closed()),
    ]
}

/// MDP-tiny without `gamma = 1`.
fn tiny_discounted() -> impl Strategy<Value = (Mdp, usize, Policy)> + Clone + Send + Sync {
    (mdp_of(2..=3, 2..=2, gamma(0.99)), 1..=4usize, policy(3, 2)).prop_map(|(mdp, horizon, policy)| {
        let policy = policy.slice(s![..mdp.states(), ..]).to_owned();
        (mdp, horizon, policy)
    })
}

/// Processes of up to 40 states.
pub(super) fn wide() -> impl Strategy<Value = (Mdp, Policy, Vec<f64>)> + Clone + Send + Sync {
    (mdp_of(14..=40, 2..=3, gamma(0.99)), policy(40, 3), normals(40)).prop_map(|(mdp, policy, value)| {
        let (s, a) = (mdp.states(), mdp.actions());
        let mut policy = policy.slice(s![..s, ..a]).to_owned();
        for mut row in policy.rows_mut() {
            let sum = row.sum();
            row /= sum;
        }
        (mdp, policy, value[..s].to_vec())
    })
}

/// MDP with a deterministic policy.
fn mdp_and_choice(max_gamma: f64) -> impl Strategy<Value = (Mdp, Vec<usize>)> + Clone + Send + Sync {
    (mdp_and_policy(max_gamma), vec(0..12usize, 8)).prop_map(|((mdp, _), choice)| {
        let choice = choice[..mdp.states()].iter().map(|c| c % mdp.actions()).collect();
        (mdp, choice)
    })
}

/// MDP with at most 256 deterministic policies.
pub(super) fn few_policies() -> impl Strategy<Value = Mdp> + Clone + Send + Sync {
    mdp_of(2..=4, 2..=4, gamma(0.99))
}

pub(super) fn backup(mdp: &Mdp, policy: &Policy, value: &[f64]) -> Vec<f64> {
    let mut out = vec![f64::NAN; mdp.states()];
    bellman::expectation_backup_v(&mdp.p, &mdp.r, policy, mdp.gamma, value, &mut out);
    out
}

pub(super) fn best_backup(mdp: &Mdp, value: &[f64]) -> Vec<f64> {
    let mut out = vec![f64::NAN; mdp.states()];
    bellman::optimality_backup_v(&mdp.p, &mdp.r, mdp.gamma, value, &mut out);
    out
}

pub(super) fn look_ahead(mdp: &Mdp, value: &[f64]) -> Array2<f64> {
    let mut out = Array2::from_elem((mdp.states(), mdp.actions()), f64::NAN);
    bellman::look_ahead(&mdp.p, &mdp.r, mdp.gamma, value, &mut out);
    out
}

pub(super) fn exact(mdp: &Mdp, policy: &Policy) -> Vec<f64> {
    let mut out = vec![f64::NAN; mdp.states()];
    bellman::solve_v(&mdp.p, &mdp.r, policy, mdp.gamma, &mut out).expect("gamma below 1");
    out
}

pub(super) fn value_iteration(mdp: &Mdp, sweeps: usize, start: &[f64]) -> Vec<f64> {
    let mut value = start.to_vec();
    bellman::value_iteration(&mdp.p, &mdp.r, mdp.gamma, sweeps, &mut value);
    value
}

/// Every entry agrees, up to what a solve with this discount can lose.
pub(super) fn all_solved(worst: &mut Worst, left: &[f64], right: &[f64], gamma: f64) {
    assert_eq!(left.len(), right.len(), "as many values on the left as on the right");
    let scale = left.iter().chain(right).fold(1.0, |m: f64, x| m.max(x.abs()));
    for (&l, &r) in left.iter().zip(right) {
        worst.add(crate::measure::relative(l, r, scale) * (1.0 - gamma));
    }
}

/// The number of sweeps after which `gamma^k` is below rounding.
pub(super) fn until_rounding(gamma: f64) -> usize {
    if gamma == 0.0 { 1 } else { (-37.0 / gamma.ln()).ceil() as usize + 1 }
}

// bellman.v

fn v_definition((mdp, policy): (Mdp, Policy)) -> Measured {
    let left = exact(&mdp, &policy);
    let mut worst = Worst::new();
    all_solved(&mut worst, &left, &policy_value(&mdp, &policy), mdp.gamma);
    // The sum over time, term by term.
    let (p, reward) = (chain(&mdp, &policy), mean_reward(&mdp));
    let dot = |row: &[f64], x: &[f64]| row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
    let mut term: Vec<f64> = reward.iter().zip(policy.rows()).map(|(r, pi)| dot(r, &pi.to_vec())).collect();
    let mut sum = vec![0.0; mdp.states()];
    for _ in 0..until_rounding(mdp.gamma) {
        sum.iter_mut().zip(&term).for_each(|(sum, t)| *sum += t);
        term = p.iter().map(|row| mdp.gamma * dot(row, &term)).collect();
    }
    all_solved(&mut worst, &left, &sum, mdp.gamma);
    worst.done()
}

fn v_fixed_point((mdp, policy): (Mdp, Policy)) -> Measured {
    let v = policy_value(&mdp, &policy);
    let q: Vec<f64> = action_value(&mdp, &policy).concat();
    let q = Array2::from_shape_vec((mdp.states(), mdp.actions()), q).expect("S rows");
    let mut mean = vec![f64::NAN; mdp.states()];
    bellman::mean_value(&policy, &q, &mut mean);
    let mut worst = Worst::new();
    worst.all(&backup(&mdp, &policy, &v), &v).all(&mean, &v);
    worst.done()
}

/// Mean return over `horizon` steps from each state, by listing every path.
fn enumerated(mdp: &Mdp, policy: &Policy, horizon: usize) -> Vec<f64> {
    (0..mdp.states())
        .map(|start| {
            let mut mean = 0.0;
            trajectories_from(mdp, policy, start, horizon, &mut |path| {
                let return_: f64 = (0..horizon).map(|t| mdp.gamma.powi(t as i32) * path.reward(mdp, t)).sum();
                mean += path.prob * return_;
            });
            mean
        })
        .collect()
}

fn v_enumeration((mdp, horizon, policy): (Mdp, usize, Policy)) -> Measured {
    let mut v = vec![0.0; mdp.states()];
    for _ in 0..horizon {
        v = backup(&mdp, &policy, &v);
    }
    let mut worst = Worst::new();
    worst.all(&v, &enumerated(&mdp, &policy, horizon));
    worst.done()
}

fn v_truncation((mdp, horizon, policy): (Mdp, usize, Policy)) -> Measured {
    let max_reward = mdp.r.iter().fold(0.0, |m: f64, r| m.max(r.abs()));
    let bound = mdp.gamma.powi(horizon as i32) * max_reward / (1.0 - mdp.gamma);
    let scale = max_reward.max(1.0) / (1.0 - mdp.gamma);
    let mut worst = Worst::new();
    for (v, part) in exact(&mdp, &policy).iter().zip(enumerated(&mdp, &policy, horizon)) {
        worst.at_most((v - part).abs() / scale, bound / scale);
    }
    worst.done()
}

/// One backup of every kind, by plain sums.
struct Plain {
    v: Vec<f64>,
    best: Vec<f64>,
    q: Vec<f64>,
}

fn plain(mdp: &Mdp, policy: &Policy, value: &[f64]) -> Plain {
    let (s, a) = (mdp.states(), mdp.actions());
    let pair = |i: usize, j: usize| -> f64 {
        (0..s).map(|k| mdp.p[[i, j, k]] * (mdp.r[[i, j, k]] + mdp.gamma * value[k])).sum()
    };
    Plain {
        v: (0..s).map(|i| (0..a).map(|j| policy[[i, j]] * pair(i, j)).sum()).collect(),
        best: (0..s).map(|i| (0..a).map(|j| pair(i, j)).fold(f64::NEG_INFINITY, f64::max)).collect(),
        q: (0..s).flat_map(|i| (0..a).map(move |j| (i, j))).map(|(i, j)| pair(i, j)).collect(),
    }
}

fn v_wide((mdp, policy, value): (Mdp, Policy, Vec<f64>)) -> Measured {
    let right = plain(&mdp, &policy, &value);
    let mut worst = Worst::new();
    worst
        .all(&backup(&mdp, &policy, &value), &right.v)
        .all(&best_backup(&mdp, &value), &right.best)
        .all(&look_ahead(&mdp, &value), &right.q);
    let mut one = value.clone();
    let state = value.len() / 2;
    let change = bellman::backup_state(&mdp.p, &mdp.r, mdp.gamma, &mut one, state);
    worst.same(one[state], right.best[state]).same(change, right.best[state] - value[state]);
    worst.done()
}

fn v_single_precision((mdp, policy, value): (Mdp, Policy, Vec<f64>)) -> Measured {
    let right = plain(&mdp, &policy, &value);
    let narrow = |a: &Array3<f64>| a.mapv(|x| x as f32);
    let (p, r) = (narrow(&mdp.p), narrow(&mdp.r));
    let v: Vec<f32> = value.iter().map(|&x| x as f32).collect();
    let gamma = mdp.gamma as f32;
    let (mut mean, mut best) = (vec![f32::NAN; v.len()], vec![f32::NAN; v.len()]);
    bellman::expectation_backup_v(&p, &r, &policy.mapv(|x| x as f32), gamma, &v, &mut mean);
    bellman::optimality_backup_v(&p, &r, gamma, &v, &mut best);
    let widen = |x: Vec<f32>| x.into_iter().map(f64::from).collect::<Vec<_>>();
    let mut worst = Worst::new();
    worst.all(&widen(mean), &right.v).all(&widen(best), &right.best);
    worst.done()
}

fn v_edges((mdp, policy): (Mdp, Policy)) -> Measured {
    let mut worst = Worst::new();
    // Without discount for the future a value is the mean reward.
    let myopic = Mdp { gamma: 0.0, ..mdp.clone() };
    let reward = mean_reward(&mdp);
    let mean: Vec<f64> =
        reward.iter().zip(policy.rows()).map(|(r, pi)| r.iter().zip(pi).map(|(r, p)| r * p).sum()).collect();
    worst.all(&exact(&myopic, &policy), &mean);
    // An absorbing state that pays nothing is worth nothing.
    let mut absorbing = mdp.clone();
    let last = mdp.states() - 1;
    absorbing.p.slice_mut(s![last, .., ..]).fill(0.0);
    absorbing.p.slice_mut(s![last, .., last]).fill(1.0);
    absorbing.r.slice_mut(s![last, .., ..]).fill(0.0);
    worst.same(exact(&absorbing, &policy)[last], 0.0);
    // Discounts without a value are refused, whatever the process.
    for gamma in [1.0, -0.1, 1.5, f64::NAN] {
        let mut out = vec![0.0; mdp.states()];
        worst.holds(bellman::solve_v(&mdp.p, &mdp.r, &policy, gamma, &mut out).is_err());
    }
    worst.done()
}

fn v_closed() -> Measured {
    // A chain 0 -> 1 -> 2 that pays 0, 1 and then nothing; and a state that pays 1 for ever.
    let mut p = Array3::zeros((4, 1, 4));
    let mut r = Array3::zeros((4, 1, 4));
    for (s, next, reward) in [(0, 1, 0.0), (1, 2, 1.0), (2, 2, 0.0), (3, 3, 1.0)] {
        p[[s, 0, next]] = 1.0;
        r[[s, 0, next]] = reward;
    }
    let mut v = [f64::NAN; 4];
    let policy = Array2::ones((4, 1));
    bellman::solve_v(&p, &r, &policy, 0.9, &mut v).map_err(|e| e.to_string())?;
    let mut worst = Worst::new();
    worst.all(&v, &[0.9, 1.0, 0.0, 10.0]);
    // Shapes that do not belong together are refused.
    let wrong = Array2::ones((3, 1));
    worst.holds(panics(|| bellman::expectation_backup_v(&p, &r, &wrong, 0.9, &v, &mut [0.0; 4])));
    worst.holds(panics(|| bellman::expectation_backup_v(&p, &r, &policy, 0.9, &v, &mut [0.0; 3])));
    worst.done()
}

// bellman.q

/// `Q_pi` from the system of all pairs.
fn pair_system(mdp: &Mdp, policy: &Policy) -> Vec<f64> {
    let (s, a) = (mdp.states(), mdp.actions());
    let pairs: Vec<(usize, usize)> = (0..s).flat_map(|i| (0..a).map(move |j| (i, j))).collect();
    let matrix: Vec<Vec<f64>> = pairs
        .iter()
        .map(|&(i, j)| pairs.iter().map(|&(k, l)| mdp.p[[i, j, k]] * policy[[k, l]]).collect())
        .collect();
    solve(identity_minus(mdp.gamma, &matrix), mean_reward(mdp).concat())
}

fn q_definition((mdp, policy): (Mdp, Policy)) -> Measured {
    let left = pair_system(&mdp, &policy);
    let right = look_ahead(&mdp, &exact(&mdp, &policy));
    let mut worst = Worst::new();
    all_solved(&mut worst, &left, right.as_slice().expect("row-major"), mdp.gamma);
    worst.done()
}

fn backup_q(mdp: &Mdp, policy: &Policy, q: &Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    let (mut value, mut out) = (vec![f64::NAN; mdp.states()], Array2::from_elem(q.dim(), f64::NAN));
    bellman::expectation_backup_q(&mdp.p, &mdp.r, policy, mdp.gamma, q, &mut value, &mut out);
    (value, out)
}

fn q_fixed_point((mdp, policy): (Mdp, Policy)) -> Measured {
    let q = Array2::from_shape_vec(policy.dim(), pair_system(&mdp, &policy)).expect("S rows");
    let (value, again) = backup_q(&mdp, &policy, &q);
    let mut worst = Worst::new();
    worst.all(&again, &q).all(&value, &policy_value(&mdp, &policy));
    worst.done()
}

/// Actions that the policy never takes have values too.
fn q_zero_probability((mdp, choice): (Mdp, Vec<usize>)) -> Measured {
    let policy = deterministic(&choice, mdp.actions());
    let left = pair_system(&mdp, &policy);
    let right = look_ahead(&mdp, &exact(&mdp, &policy));
    let mut worst = Worst::new();
    all_solved(&mut worst, &left, right.as_slice().expect("row-major"), mdp.gamma);
    worst.done()
}

fn q_edges((mdp, policy): (Mdp, Policy)) -> Measured {
    let q = Array2::from_shape_fn(policy.dim(), |(s, a)| (3 * s + a) as f64);
    let mut worst = Worst::new();
    worst.all(&backup_q(&mdp, &policy, &q).1, &mean_reward(&mdp).concat());
    worst.done()
}

// bellman.advantage

fn advantage(q: &Array2<f64>, value: &[f64]) -> Array2<f64> {
    let mut out = Array2::from_elem(q.dim(), f64::NAN);
    bellman::advantage(q, value, &mut out);
    out
}

fn advantage_definition((mdp, policy): (Mdp, Policy)) -> Measured {
    let v = exact(&mdp, &policy);
    let q = Array2::from_shape_vec(policy.dim(), pair_system(&mdp, &policy)).expect("S rows");
    let left = advantage(&q, &v);
    let exact_v = policy_value(&mdp, &policy);
    let mut worst = Worst::new();
    for ((i, j), &a) in left.indexed_iter() {
        // The mean TD error of the pair.
        let td_error: f64 = (0..mdp.states())
            .map(|k| mdp.p[[i, j, k]] * (mdp.r[[i, j, k]] + mdp.gamma * exact_v[k] - exact_v[i]))
            .sum();
        worst.solved(a, td_error, mdp.gamma);
    }
    for (i, (row, pi)) in left.rows().into_iter().zip(policy.rows()).enumerate() {
        let scale = q.row(i).iter().fold(1.0, |m: f64, x| m.max(x.abs()));
        let mean: f64 = row.iter().zip(pi).map(|(a, p)| a * p).sum();
        worst.add(mean.abs() / scale * (1.0 - mdp.gamma));
        let best = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        worst.add((-best).max(0.0) / scale * (1.0 - mdp.gamma));
    }
    worst.done()
}

fn advantage_choice((mdp, choice): (Mdp, Vec<usize>)) -> Measured {
    let policy = deterministic(&choice, mdp.actions());
    let v = exact(&mdp, &policy);
    let a = advantage(&look_ahead(&mdp, &v), &v);
    let mut worst = Worst::new();
    for (i, &j) in choice.iter().enumerate() {
        worst.add(a[[i, j]].abs() / v[i].abs().max(1.0) * (1.0 - mdp.gamma));
    }
    worst.done()
}

/// No action beats an optimal policy; some action beats any policy that is worse somewhere.
fn advantage_optimal((mdp, policy, _): (Mdp, Policy, Policy)) -> Measured {
    let best = optimal_value(&mdp);
    let scale = best.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
    let a = advantage(&look_ahead(&mdp, &best), &best);
    let mut worst = Worst::new();
    for row in a.rows() {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        worst.add(largest.abs() / scale * (1.0 - mdp.gamma));
    }
    let v = exact(&mdp, &policy);
    let behind = best.iter().zip(&v).fold(0.0, |m: f64, (b, v)| m.max(b - v));
    let largest = advantage(&look_ahead(&mdp, &v), &v).iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // If no advantage exceeded x, no value could be behind by more than x / (1 - gamma).
    worst.add(((behind - largest / (1.0 - mdp.gamma)) / scale * (1.0 - mdp.gamma)).max(0.0));
    worst.done()
}

// bellman.deterministic

#[derive(Clone, Debug)]
struct Moves {
    next: Array2<usize>,
    reward: Array2<f64>,
    policy: Policy,
    gamma: f64,
}

fn moves() -> impl Strategy<Value = Moves> + Clone + Send + Sync {
    let kind = prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(2)];
    (2..=6usize, vec(0..60usize, 18), vec(-2.0..=2.0f64, 18), policy(6, 3), gamma(0.97), kind).prop_map(
        |(states, next, reward, policy, gamma, kind)| {
            let target = |(s, a): (usize, usize)| match kind {
                0 => next[3 * s + a] % states,
                1 => s,
                _ => next[0] % states,
            };
            Moves {
                next: Array2::from_shape_fn((states, 3), target),
                reward: Array2::from_shape_fn((states, 3), |(s, a)| reward[3 * s + a]),
                policy: policy.slice(s![..states, ..]).to_owned(),
                gamma,
            }
        },
    )
}

impl Moves {
    /// The same process with a kernel of zeros and ones.
    fn mdp(&self) -> Mdp {
        let (s, a) = self.next.dim();
        let p = Array3::from_shape_fn((s, a, s), |(i, j, k)| f64::from(u8::from(self.next[[i, j]] == k)));
        let r = Array3::from_shape_fn((s, a, s), |(i, j, _)| self.reward[[i, j]]);
        Mdp { p, r, mu: ndarray::Array1::from_elem(s, 1.0 / s as f64), gamma: self.gamma }
    }
}

fn moves_definition(case: Moves) -> Measured {
    let Moves { next, reward, policy, gamma } = &case;
    let mut v = vec![0.0; next.nrows()];
    let mut q = Array2::zeros(next.dim());
    for _ in 0..until_rounding(*gamma) {
        let before = v.clone();
        bellman::deterministic_backup_v(next, reward, policy, *gamma, &before, &mut v);
        let before = q.clone();
        bellman::deterministic_backup_q(next, reward, policy, *gamma, &before, &mut q);
    }
    let mdp = case.mdp();
    let mut worst = Worst::new();
    all_solved(&mut worst, &v, &policy_value(&mdp, policy), *gamma);
    let right = action_value(&mdp, policy).concat();
    all_solved(&mut worst, q.as_slice().expect("row-major"), &right, *gamma);
    worst.done()
}

fn moves_closed() -> Measured {
    let mut worst = Worst::new();
    // A next state worth 1 or 0 with equal chances is worth a half, not the better of the two.
    let p =
        Array3::from_shape_vec((3, 1, 3), vec![0.0, 0.5, 0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]).expect("rows");
    let r = Array3::zeros((3, 1, 3));
    let mut v = [f64::NAN; 3];
    bellman::optimality_backup_v(&p, &r, 1.0, &[0.0, 1.0, 0.0], &mut v);
    worst.same(v[0], 0.5);
    // A next state that does not exist is refused.
    let (one, next) = (Array2::ones((2, 1)), array![[1usize], [2]]);
    worst.holds(panics(|| {
        bellman::deterministic_backup_v(&next, &one, &one, 0.9, &[0.0; 2], &mut [0.0; 2]);
    }));
    worst.done()
}

// bellman.time-index

/// A policy that depends on the time: one of the two, turn by turn.
fn alternate(horizon: usize, one: &Policy, two: &Policy) -> Array3<f64> {
    Array3::from_shape_fn((horizon, one.nrows(), one.ncols()), |(t, s, a)| {
        if t % 2 == 0 { one[[s, a]] } else { two[[s, a]] }
    })
}

/// Adds up probability times discounted rewards over every path from `s` at time `t` to the end.
fn list(mdp: &Mdp, policy: &Array3<f64>, t: usize, s: usize, discount: f64, prob: f64) -> f64 {
    if t == policy.dim().0 {
        return 0.0;
    }
    let mut sum = 0.0;
    for a in 0..mdp.actions() {
        for k in 0..mdp.states() {
            let p = prob * policy[[t, s, a]] * mdp.p[[s, a, k]];
            if p > 0.0 {
                sum += p * discount * mdp.r[[s, a, k]];
                sum += list(mdp, policy, t + 1, k, discount * mdp.gamma, p);
            }
        }
    }
    sum
}

fn over_time(mdp: &Mdp, policy: &Array3<f64>) -> Array2<f64> {
    let mut out = Array2::from_elem((policy.dim().0 + 1, mdp.states()), f64::NAN);
    bellman::finite_horizon_values(&mdp.p, &mdp.r, policy, mdp.gamma, &mut out);
    out
}

fn time_enumeration((mdp, horizon, one, two): (Mdp, usize, Policy, Policy)) -> Measured {
    let policy = alternate(horizon, &one, &two);
    let right =
        Array2::from_shape_fn((horizon + 1, mdp.states()), |(t, s)| list(&mdp, &policy, t, s, 1.0, 1.0));
    let mut worst = Worst::new();
    worst.all(&over_time(&mdp, &policy), &right);
    worst.done()
}

/// With the time as part of the state, the values are those of a stationary policy.
fn time_augmented((mdp, horizon, one, two): (Mdp, usize, Policy, Policy)) -> Measured {
    let policy = alternate(horizon, &one, &two);
    let states = mdp.states();
    let n = states * (horizon + 1);
    let (mut p, mut reward) = (vec![vec![0.0; n]; n], vec![0.0; n]);
    for t in 0..horizon {
        for i in 0..states {
            for j in 0..mdp.actions() {
                for k in 0..states {
                    let prob = policy[[t, i, j]] * mdp.p[[i, j, k]];
                    p[t * states + i][(t + 1) * states + k] += prob;
                    reward[t * states + i] += prob * mdp.r[[i, j, k]];
                }
            }
        }
    }
    let mut worst = Worst::new();
    worst.all(&over_time(&mdp, &policy), &solve(identity_minus(mdp.gamma, &p), reward));
    worst.done()
}

fn time_closed() -> Measured {
    let one = Array3::ones((1, 1, 1));
    let mut v = Array2::from_elem((4, 1), f64::NAN);
    bellman::finite_horizon_values(&one, &one, &Array3::ones((3, 1, 1)), 1.0, &mut v);
    require(v == array![[3.0], [2.0], [1.0], [0.0]], || format!("{v} instead of 3, 2, 1, 0"))?;
    // Rewards 5 and 1 at gamma 0.5: the return from the start is 5.5, the value of the second state is 1.
    let p = Array3::from_shape_fn((3, 1, 3), |(s, _, k)| f64::from(u8::from(k == (s + 1).min(2))));
    let r = Array3::from_shape_fn((3, 1, 3), |(s, _, _)| [5.0, 1.0, 0.0][s]);
    let mut v = Array2::from_elem((3, 3), f64::NAN);
    bellman::finite_horizon_values(&p, &r, &Array3::ones((2, 3, 1)), 0.5, &mut v);
    require(v[[0, 0]] == 5.5 && v[[1, 1]] == 1.0, || format!("{v} instead of 5.5 and 1"))?;
    Ok(0.0)
}

// bellman.optimality

fn optimality_definition(mdp: Mdp) -> Measured {
    let best = best_stationary(&mdp);
    let sweeps = until_rounding(mdp.gamma);
    let left = value_iteration(&mdp, sweeps, &vec![0.0; mdp.states()]);
    let mut worst = Worst::new();
    all_solved(&mut worst, &left, &best, mdp.gamma);
    let mut q = Array2::zeros((mdp.states(), mdp.actions()));
    let mut value = vec![0.0; mdp.states()];
    for _ in 0..=sweeps {
        let before = q.clone();
        bellman::optimality_backup_q(&mdp.p, &mdp.r, mdp.gamma, &before, &mut value, &mut q);
    }
    all_solved(&mut worst, &value, &best, mdp.gamma);
    worst.done()
}

fn optimality_residuals(mdp: Mdp) -> Measured {
    let best = best_stationary(&mdp);
    let mut worst = Worst::new();
    worst.all(&best_backup(&mdp, &best), &best);
    // The action values of the best policy, by elimination on the pairs.
    let q = look_ahead(&mdp, &best);
    let mut choice = vec![0; mdp.states()];
    bellman::greedy_q(&q, &mut choice);
    let q = Array2::from_shape_vec(q.dim(), pair_system(&mdp, &deterministic(&choice, mdp.actions())))
        .expect("S rows");
    let (mut value, mut again) = (vec![f64::NAN; mdp.states()], Array2::from_elem(q.dim(), f64::NAN));
    bellman::optimality_backup_q(&mdp.p, &mdp.r, mdp.gamma, &q, &mut value, &mut again);
    worst.all(&again, &q).all(&value, &best);
    worst.done()
}

fn optimality_edges((mdp, _): (Mdp, Policy)) -> Measured {
    let mut worst = Worst::new();
    // Tied actions: the second copy of every action changes no value.
    let twice = Mdp {
        p: ndarray::concatenate(ndarray::Axis(1), &[mdp.p.view(), mdp.p.view()]).expect("same shape"),
        r: ndarray::concatenate(ndarray::Axis(1), &[mdp.r.view(), mdp.r.view()]).expect("same shape"),
        ..mdp.clone()
    };
    let start: Vec<f64> = (0..mdp.states()).map(|s| s as f64 - 1.0).collect();
    worst.all(&best_backup(&twice, &start), &best_backup(&mdp, &start));
    let myopic = Mdp { gamma: 0.0, ..mdp };
    let best: Vec<f64> =
        mean_reward(&myopic).iter().map(|r| r.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
    worst.all(&best_backup(&myopic, &start), &best);
    worst.done()
}

fn optimality_closed() -> Measured {
    let mut worst = Worst::new();
    // One state that pays 1 or 0: the uniform policy's value of the first action is 5.5, the best one is 10.
    let p = Array3::ones((1, 2, 1));
    let r = array![[[1.0], [0.0]]];
    let mut v = [f64::NAN];
    bellman::solve_v(&p, &r, &array![[0.5, 0.5]], 0.9, &mut v).map_err(|e| e.to_string())?;
    let mut q = Array2::zeros((1, 2));
    bellman::look_ahead(&p, &r, 0.9, &v, &mut q);
    worst.printed(q[[0, 0]], 5.5, 10).printed(v[0], 5.0, 10);
    let mut v = [0.0];
    bellman::value_iteration(&p, &r, 0.9, 400, &mut v);
    bellman::look_ahead(&p, &r, 0.9, &v, &mut q);
    worst.printed(q[[0, 0]], 10.0, 10);
    // Two next states, each with one good action, the other one: the mean of the maxima is 1, the maximum of the means 0.5.
    let p = array![
        [[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]],
        [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]],
        [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    ];
    let r = Array3::zeros((3, 2, 3));
    let q = array![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
    let (mut value, mut out) = ([0.0; 3], Array2::zeros((3, 2)));
    bellman::optimality_backup_q(&p, &r, 1.0, &q, &mut value, &mut out);
    worst.printed(out[[0, 0]], 1.0, 10);
    worst.done()
}
