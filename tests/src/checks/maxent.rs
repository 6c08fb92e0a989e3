use super::bellman::{all_solved, until_rounding};
use crate::generators::{Mdp, Policy, mdp, mdp_and_policy, normals, simplex, tiny_and_policy};
use crate::measure::{TOL_FD, TOL_ID, TOL_INEQ, TOL_SOLVE, TOL_STAT, Worst};
use crate::oracles::{
    chain, deterministic, gradient, identity_minus, mean_reward, optimal_value, policy_value, solve,
};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array1, Array2, Array3, Axis, array};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::maxent;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("maxent.one-step", "gap", TOL_ID, (choice(), simplex(6)), one_step_gap),
        random("maxent.one-step", "stationary", TOL_FD, choice(), one_step_stationary),
        random("maxent.one-step", "lagrangian", TOL_ID, choice(), one_step_lagrangian),
        fixed("maxent.one-step", "edges", TOL_ID, |_| one_step_edges()),
        random("maxent.limits", "bounds", TOL_INEQ, choice(), limits_bounds),
        random("maxent.limits", "monotone", TOL_INEQ, choice(), limits_monotone),
        random("maxent.limits", "ends", 1e-6, ties(), limits_ends),
        fixed("maxent.limits", "closed", TOL_STAT, |_| limits_closed()),
        random("maxent.soft-bellman", "optimum", TOL_SOLVE, soft_case(), soft_optimum),
        random("maxent.soft-bellman", "perturbed", TOL_INEQ, (soft_case(), normals(3200)), soft_perturbed)
            .at_most(64),
        random("maxent.soft-bellman", "contraction", TOL_INEQ, two_values(), soft_contraction),
        random("maxent.soft-bellman", "bounds", TOL_INEQ, soft_case(), soft_bounds),
        random("maxent.soft-bellman", "edges", 1e-6, mdp(0.95), soft_edges),
        fixed("maxent.soft-bellman", "closed", TOL_STAT, |_| soft_closed()),
        random("maxent.soft-vi", "enumeration", TOL_ID, finite_case(), soft_vi_enumeration),
        random("maxent.soft-vi", "paths", TOL_ID, paths_case(), soft_vi_paths),
        random("maxent.soft-vi", "one-step", TOL_ID, finite_case(), soft_vi_one_step),
        fixed("maxent.soft-vi", "closed", TOL_STAT, |_| soft_vi_closed()),
        random("maxent.soft-improvement", "improvement", TOL_INEQ, policy_case(), improvement),
        random("maxent.soft-improvement", "definition", TOL_SOLVE, policy_case(), improvement_definition),
        random("maxent.soft-improvement", "optimal", TOL_SOLVE, soft_case(), improvement_optimal),
    ]
}

/// Rewards of one choice and a temperature.
fn choice() -> impl Strategy<Value = (Vec<f64>, f64)> + Clone + Send + Sync {
    (vec(-3.0..=3.0f64, 1..=6), temperature(5.0))
}

/// From 0.05 to `max`, on a logarithmic scale.
fn temperature(max: f64) -> impl Strategy<Value = f64> + Clone + Send + Sync {
    (0.0..=1.0f64).prop_map(move |u| 0.05 * (max / 0.05).powf(u))
}

fn soft_policy(reward: &[f64], eta: f64) -> Vec<f64> {
    let mut out = vec![f64::NAN; reward.len()];
    maxent::soft_policy(reward, eta, &mut out);
    out
}

fn entropy(p: &[f64]) -> f64 {
    -p.iter().filter(|&&p| p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

// maxent.one-step

fn one_step_gap(((reward, eta), other): ((Vec<f64>, f64), Vec<f64>)) -> Measured {
    let n = reward.len();
    let sum: f64 = other[..n].iter().sum();
    let pi: Vec<f64> = other[..n].iter().map(|p| p / sum).collect();
    let best = soft_policy(&reward, eta);
    let objective = dot(&pi, &reward) + eta * entropy(&pi);
    let kl: f64 = pi.iter().zip(&best).map(|(p, q)| p * (p / q).ln()).sum();
    let mut worst = Worst::new();
    worst.same(maxent::soft_max(&reward, eta) - objective, eta * kl);
    worst.same(maxent::objective(&pi, &reward, eta), objective);
    worst.same(maxent::objective(&best, &reward, eta), maxent::soft_max(&reward, eta));
    worst.same(best.iter().sum(), 1.0);
    worst.done()
}

/// The objective as a function of logits, without the formulas: its gradient vanishes at the claimed optimum.
fn one_step_stationary((reward, eta): (Vec<f64>, f64)) -> Measured {
    let objective = |logits: &[f64]| {
        let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logits.iter().map(|z| (z - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let pi: Vec<f64> = weights.iter().map(|w| w / sum).collect();
        dot(&pi, &reward) + eta * entropy(&pi)
    };
    let logits: Vec<f64> = soft_policy(&reward, eta).iter().map(|p| p.max(1e-300).ln()).collect();
    let slope = gradient(objective, &logits);
    let mut worst = Worst::new();
    worst.gradient(&vec![0.0; slope.len()], &slope);
    worst.done()
}

/// `r_a - eta (log pi_a + 1)` is the same number for all actions.
fn one_step_lagrangian((reward, eta): (Vec<f64>, f64)) -> Measured {
    let multiplier: Vec<f64> =
        soft_policy(&reward, eta).iter().zip(&reward).map(|(p, r)| r - eta * (p.ln() + 1.0)).collect();
    let mut worst = Worst::new();
    for m in &multiplier {
        worst.same(*m, multiplier[0]);
    }
    worst.done()
}

fn one_step_edges() -> Measured {
    let mut worst = Worst::new();
    // Reward over temperature as large as 1000 either way.
    worst.same(maxent::soft_max(&[1000.0, -1000.0], 1.0), 1000.0);
    worst.same(maxent::soft_max(&[-1000.0, -1000.0], 1.0), -1000.0 + 2f64.ln());
    worst.all(&soft_policy(&[1000.0, -1000.0], 1.0), &[1.0, 0.0]);
    worst.all(&soft_policy(&[-50.0, -50.0, -50.0, -50.0], 0.05), &[0.25; 4]);
    worst.same(maxent::soft_max(&[-7.0], 3.0), -7.0).all(&soft_policy(&[-7.0], 3.0), &[1.0]);
    worst.same(maxent::objective(&[1.0, 0.0], &[2.0, -5.0], 4.0), 2.0);
    // The added term is the entropy of the policy, not the largest entropy there is.
    worst.scaled(maxent::objective(&[0.9, 0.1], &[0.0, 0.0], 1.0), 0.325_082_973_391_448, 1.0);
    for eta in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        worst.holds(panics(|| maxent::soft_max(&[1.0, 2.0], eta)));
    }
    worst.holds(panics(|| maxent::soft_max::<f64>(&[], 1.0)));
    worst.done()
}

// maxent.limits

fn limits_bounds((reward, eta): (Vec<f64>, f64)) -> Measured {
    let max = reward.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = maxent::soft_max_bounds(&reward, eta);
    let value = maxent::soft_max(&reward, eta);
    let mut worst = Worst::new();
    worst.same(low, max).same(high, max + eta * (reward.len() as f64).ln());
    worst.at_most(low, value).at_most(value, high);
    // Equal rewards reach the upper bound, a single one both.
    let equal = vec![max; reward.len()];
    worst.same(maxent::soft_max(&equal, eta), high);
    worst.done()
}

fn limits_monotone((reward, _): (Vec<f64>, f64)) -> Measured {
    let (mut spread, mut earned) = (f64::NEG_INFINITY, f64::INFINITY);
    let mut worst = Worst::new();
    for i in 0..40 {
        let pi = soft_policy(&reward, 0.05 * 100f64.powf(f64::from(i) / 39.0));
        worst.at_most(spread, entropy(&pi)).at_most(dot(&pi, &reward), earned);
        (spread, earned) = (entropy(&pi), dot(&pi, &reward));
    }
    worst.done()
}

/// Rewards from a coarse grid, so that several are largest.
fn ties() -> impl Strategy<Value = Vec<f64>> + Clone + Send + Sync {
    vec((0..=3u8).prop_map(|r| f64::from(r) - 1.0), 1..=6)
}

fn limits_ends(reward: Vec<f64>) -> Measured {
    let max = reward.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let count = reward.iter().filter(|&&r| r == max).count() as f64;
    let cold: Vec<f64> = reward.iter().map(|&r| if r == max { 1.0 / count } else { 0.0 }).collect();
    let hot = vec![1.0 / reward.len() as f64; reward.len()];
    let mut worst = Worst::new();
    worst.all(&soft_policy(&reward, 1e-3), &cold).all(&soft_policy(&reward, 1e8), &hot);
    worst.done()
}

fn limits_closed() -> Measured {
    let mut worst = Worst::new();
    for (eta, spread, earned) in
        [(0.1, 0.000_499, 0.999_955), (1.0, 0.582_203, 0.731_059), (10.0, 0.691_899, 0.524_979)]
    {
        let pi = soft_policy(&[1.0, 0.0], eta);
        worst.printed(entropy(&pi), spread, 6).printed(pi[0], earned, 6);
    }
    worst.done()
}

// maxent.soft-bellman

#[derive(Clone, Debug)]
struct SoftCase {
    mdp: Mdp,
    eta: f64,
}

fn soft_case() -> impl Strategy<Value = SoftCase> + Clone + Send + Sync {
    (mdp(0.99), temperature(2.0)).prop_map(|(mdp, eta)| SoftCase { mdp, eta })
}

fn soft_backup(mdp: &Mdp, eta: f64, value: &[f64]) -> (Vec<f64>, Array2<f64>) {
    let mut q = Array2::from_elem((mdp.states(), mdp.actions()), f64::NAN);
    let mut out = vec![f64::NAN; mdp.states()];
    maxent::soft_backup(&mdp.p, &mdp.r, mdp.gamma, eta, value, &mut q, &mut out);
    (out, q)
}

impl SoftCase {
    /// The fixed point of the soft backup with its action values, and the policy that belongs to it.
    fn fixed_point(&self) -> (Vec<f64>, Array2<f64>, Policy) {
        let mut v = vec![0.0; self.mdp.states()];
        for _ in 0..until_rounding(self.mdp.gamma) {
            v = soft_backup(&self.mdp, self.eta, &v).0;
        }
        let (_, q) = soft_backup(&self.mdp, self.eta, &v);
        let mut policy = q.clone();
        maxent::soft_greedy(&q, self.eta, &mut policy);
        (v, q, policy)
    }

    /// The soft value of a policy: its reward and entropy over time, by elimination.
    fn value_of(&self, policy: &Policy) -> Vec<f64> {
        soft_value(&self.mdp, self.eta, policy)
    }

    fn scale(&self) -> f64 {
        (2.0 + self.eta * (self.mdp.actions() as f64).ln()) / (1.0 - self.mdp.gamma).powi(2)
    }
}

fn soft_value(mdp: &Mdp, eta: f64, policy: &Policy) -> Vec<f64> {
    let reward = mean_reward(mdp);
    let paid: Vec<f64> = reward
        .iter()
        .zip(policy.rows())
        .map(|(r, pi)| {
            let pi = pi.to_vec();
            dot(&pi, r) + eta * entropy(&pi)
        })
        .collect();
    solve(identity_minus(mdp.gamma, &chain(mdp, policy)), paid)
}

fn soft_optimum(case: SoftCase) -> Measured {
    let (v, q, policy) = case.fixed_point();
    let mut worst = Worst::new();
    all_solved(&mut worst, &v, &case.value_of(&policy), case.mdp.gamma);
    // The policy is exp((Q - V) / eta).
    for ((s, a), &pi) in policy.indexed_iter() {
        worst.add((pi - ((q[[s, a]] - v[s]) / case.eta).exp()).abs() * (1.0 - case.mdp.gamma) * case.eta);
    }
    worst.done()
}

fn soft_perturbed((case, noise): (SoftCase, Vec<f64>)) -> Measured {
    let (v, q, _) = case.fixed_point();
    let scale = case.scale();
    let mut worst = Worst::new();
    for round in 0..100 {
        let mut logits = q.mapv(|q| q / case.eta);
        // From hardly anything to a policy that has little to do with the optimal one.
        let size = 1e-3 * 1e4f64.powf(f64::from(round) / 99.0);
        for (i, z) in logits.iter_mut().enumerate() {
            *z += size * noise[round as usize * 32 + i];
        }
        let policy = softmax_rows(logits);
        for (other, best) in case.value_of(&policy).iter().zip(&v) {
            worst.at_most(other / scale, best / scale);
        }
    }
    worst.done()
}

fn softmax_rows(mut logits: Array2<f64>) -> Policy {
    for mut row in logits.rows_mut() {
        let max = row.fold(f64::NEG_INFINITY, |m, &x| m.max(x));
        row.mapv_inplace(|z| (z - max).exp());
        let sum = row.sum();
        row /= sum;
    }
    logits
}

fn two_values() -> impl Strategy<Value = (SoftCase, Vec<f64>, Vec<f64>, f64)> + Clone + Send + Sync {
    (soft_case(), vec(-10.0..=10.0f64, 8), vec(-10.0..=10.0f64, 8), -10.0..=10.0f64)
}

fn soft_contraction((case, u, w, c): (SoftCase, Vec<f64>, Vec<f64>, f64)) -> Measured {
    let n = case.mdp.states();
    let (u, w) = (&u[..n], &w[..n]);
    let backup = |v: &[f64]| soft_backup(&case.mdp, case.eta, v).0;
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).fold(0.0, |m: f64, (x, y)| m.max((x - y).abs()));
    let mut worst = Worst::new();
    worst.at_most(distance(&backup(u), &backup(w)), case.mdp.gamma * distance(u, w));
    let above: Vec<f64> = u.iter().zip(w).map(|(u, w)| u.max(*w)).collect();
    for (low, high) in backup(u).iter().zip(&backup(&above)) {
        worst.at_most(*low, *high);
    }
    let shifted: Vec<f64> = u.iter().map(|u| u + c).collect();
    let expected: Vec<f64> = backup(u).iter().map(|v| v + case.mdp.gamma * c).collect();
    worst.all(&backup(&shifted), &expected);
    worst.done()
}

fn soft_bounds(case: SoftCase) -> Measured {
    let (v, _, _) = case.fixed_point();
    let gap = case.eta * (case.mdp.actions() as f64).ln() / (1.0 - case.mdp.gamma);
    let scale = case.scale();
    let mut worst = Worst::new();
    worst.same(maxent::soft_gap(case.mdp.gamma, case.eta, case.mdp.actions()), gap);
    for (soft, best) in v.iter().zip(optimal_value(&case.mdp)) {
        worst.at_most(best / scale, soft / scale).at_most(soft / scale, (best + gap) / scale);
    }
    worst.done()
}

fn soft_edges(mdp: Mdp) -> Measured {
    let mut worst = Worst::new();
    // Hardly any temperature: the optimal values.
    let cold = SoftCase { mdp: mdp.clone(), eta: 1e-9 };
    worst.all(&cold.fixed_point().0, &optimal_value(&mdp));
    // A single action: no entropy at any temperature.
    let only = Mdp {
        p: mdp.p.slice(ndarray::s![.., ..1, ..]).to_owned(),
        r: mdp.r.slice(ndarray::s![.., ..1, ..]).to_owned(),
        ..mdp.clone()
    };
    let v = policy_value(&only, &Array2::ones((only.states(), 1)));
    worst.all(&SoftCase { mdp: only, eta: 1.7 }.fixed_point().0, &v);
    // A choice between equal actions is worth eta log 2 more at every step.
    let pair = |a: &Array3<f64>| {
        let first = a.slice(ndarray::s![.., ..1, ..]);
        ndarray::concatenate(Axis(1), &[first, first]).expect("same shape")
    };
    let twins = Mdp { p: pair(&mdp.p), r: pair(&mdp.r), ..mdp };
    let expected: Vec<f64> = v.iter().map(|v| v + 0.3 * 2f64.ln() / (1.0 - twins.gamma)).collect();
    worst.all(&SoftCase { mdp: twins, eta: 0.3 }.fixed_point().0, &expected);
    worst.done()
}

fn soft_closed() -> Measured {
    // One state, rewards 1 and 0 at temperature 1: a policy that is random and optimal.
    let (p, r) = (Array3::ones((1, 2, 1)), array![[[1.0], [0.0]]]);
    let case = SoftCase { mdp: Mdp { p, r, mu: Array1::ones(1), gamma: 0.5 }, eta: 1.0 };
    let (v, _, policy) = case.fixed_point();
    let mut worst = Worst::new();
    worst.printed(policy[[0, 0]], 0.731, 3).printed(policy[[0, 1]], 0.269, 3);
    worst.printed(v[0], 2.0 * (1f64.exp() + 1.0).ln(), 10);
    worst.done()
}

// maxent.soft-vi

fn finite_case() -> impl Strategy<Value = (Mdp, usize, Policy, f64)> + Clone + Send + Sync {
    (tiny_and_policy(), temperature(2.0))
        .prop_map(|((mdp, horizon, policy), eta)| (mdp, horizon, policy, eta))
}

fn soft_vi(mdp: &Mdp, horizon: usize, eta: f64) -> (Array2<f64>, Array3<f64>) {
    let mut value = Array2::from_elem((horizon + 1, mdp.states()), f64::NAN);
    let mut policy = Array3::from_elem((horizon, mdp.states(), mdp.actions()), f64::NAN);
    maxent::soft_value_iteration(&mdp.p, &mdp.r, mdp.gamma, eta, &mut value, &mut policy);
    (value, policy)
}

/// The mean of rewards and entropies over every path from `s` with `left` decisions to go; `policy[k]` is for `k + 1` left.
fn soft_list(mdp: &Mdp, policy: &dyn Fn(usize) -> Policy, eta: f64, s: usize, left: usize) -> f64 {
    if left == 0 {
        return 0.0;
    }
    let pi = policy(left - 1);
    let mut sum = eta * entropy(&pi.row(s).to_vec());
    for a in 0..mdp.actions() {
        for k in (0..mdp.states()).filter(|&k| mdp.p[[s, a, k]] > 0.0) {
            let ahead = mdp.gamma * soft_list(mdp, policy, eta, k, left - 1);
            sum += pi[[s, a]] * mdp.p[[s, a, k]] * (mdp.r[[s, a, k]] + ahead);
        }
    }
    sum
}

fn soft_vi_enumeration((mdp, horizon, other, eta): (Mdp, usize, Policy, f64)) -> Measured {
    let (value, policy) = soft_vi(&mdp, horizon, eta);
    let mut worst = Worst::new();
    for s in 0..mdp.states() {
        for left in 0..=horizon {
            let own = |k: usize| policy.index_axis(Axis(0), k).to_owned();
            worst.same(value[[left, s]], soft_list(&mdp, &own, eta, s, left));
            let fixed = |_: usize| other.clone();
            worst.at_most(soft_list(&mdp, &fixed, eta, s, left), value[[left, s]]);
        }
    }
    worst.done()
}

/// Deterministic moves, no discount.
fn paths_case() -> impl Strategy<Value = (Mdp, usize, f64)> + Clone + Send + Sync {
    (tiny_and_policy(), vec(0..6usize, 6), temperature(2.0)).prop_map(|((mut mdp, horizon, _), next, eta)| {
        mdp.gamma = 1.0;
        mdp.p = Array3::from_shape_fn(mdp.p.dim(), |(s, a, k)| {
            f64::from(u8::from(k == next[2 * s + a] % mdp.states()))
        });
        (mdp, horizon, eta)
    })
}

/// The returns of all paths of `left` actions from `s`.
fn returns_from(mdp: &Mdp, s: usize, left: usize, sum: f64, all: &mut Vec<f64>) {
    if left == 0 {
        return all.push(sum);
    }
    for a in 0..mdp.actions() {
        for k in (0..mdp.states()).filter(|&k| mdp.p[[s, a, k]] > 0.0) {
            returns_from(mdp, k, left - 1, sum + mdp.r[[s, a, k]], all);
        }
    }
}

fn soft_vi_paths((mdp, horizon, eta): (Mdp, usize, f64)) -> Measured {
    let (value, _) = soft_vi(&mdp, horizon, eta);
    let mut worst = Worst::new();
    for s in 0..mdp.states() {
        let mut returns = Vec::new();
        returns_from(&mdp, s, horizon, 0.0, &mut returns);
        let max = returns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = returns.iter().map(|g| ((g - max) / eta).exp()).sum();
        worst.same(value[[horizon, s]], max + eta * sum.ln());
    }
    worst.done()
}

fn soft_vi_one_step((mdp, horizon, _, eta): (Mdp, usize, Policy, f64)) -> Measured {
    let (value, policy) = soft_vi(&mdp, horizon, eta);
    let mut worst = Worst::new();
    for (s, reward) in mean_reward(&mdp).iter().enumerate() {
        worst.same(value[[0, s]], 0.0).same(value[[1, s]], maxent::soft_max(reward, eta));
        worst.all(policy.slice(ndarray::s![0, s, ..]), &soft_policy(reward, eta));
    }
    worst.done()
}

fn soft_vi_closed() -> Measured {
    // One action, reward 0 or 1 with equal chances: worth a half, whatever the temperature. Paths summed as if their outcomes
    // could be chosen give more.
    let p = array![[[0.0, 0.5, 0.5]], [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]];
    let r = array![[[0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]];
    let mdp = Mdp { p, r, mu: array![1.0, 0.0, 0.0], gamma: 1.0 };
    let (value, _) = soft_vi(&mdp, 1, 0.5);
    let mut worst = Worst::new();
    worst.printed(value[[1, 0]], 0.5, 10);
    let risk = |weight: f64| 0.5 * (weight * (1.0 + (1f64 / 0.5).exp())).ln();
    worst.printed(risk(0.5), 0.716_89, 5).printed(risk(1.0), 1.063_46, 5);
    worst.done()
}

// maxent.soft-improvement

fn policy_case() -> impl Strategy<Value = (Mdp, Policy, f64)> + Clone + Send + Sync {
    (mdp_and_policy(0.99), temperature(2.0), any::<bool>(), vec(0..12usize, 8)).prop_map(
        |((mdp, mut policy), eta, sure, choice)| {
            if sure {
                // Probabilities that are 0 are allowed: 0 log 0 = 0.
                let choice: Vec<usize> = choice[..mdp.states()].iter().map(|c| c % mdp.actions()).collect();
                policy = deterministic(&choice, mdp.actions());
            }
            (mdp, policy, eta)
        },
    )
}

fn soft_solve(mdp: &Mdp, eta: f64, policy: &Policy) -> (Vec<f64>, Array2<f64>) {
    let (mut v, mut q) = (vec![f64::NAN; mdp.states()], Array2::from_elem(policy.dim(), f64::NAN));
    maxent::soft_solve(&mdp.p, &mdp.r, policy, mdp.gamma, eta, &mut v, &mut q).expect("gamma below 1");
    (v, q)
}

fn improvement((mdp, policy, eta): (Mdp, Policy, f64)) -> Measured {
    let (_, q) = soft_solve(&mdp, eta, &policy);
    let mut better = Array2::from_elem(q.dim(), f64::NAN);
    maxent::soft_greedy(&q, eta, &mut better);
    let scale = SoftCase { mdp: mdp.clone(), eta }.scale();
    let mut worst = Worst::new();
    for (old, new) in soft_value(&mdp, eta, &policy).iter().zip(soft_value(&mdp, eta, &better)) {
        worst.at_most(old / scale, new / scale);
    }
    for row in better.rows() {
        worst.same(row.sum(), 1.0);
    }
    worst.done()
}

fn improvement_definition((mdp, policy, eta): (Mdp, Policy, f64)) -> Measured {
    let (v, q) = soft_solve(&mdp, eta, &policy);
    let exact = soft_value(&mdp, eta, &policy);
    let mut worst = Worst::new();
    all_solved(&mut worst, &v, &exact, mdp.gamma);
    let reward = mean_reward(&mdp);
    let right = Array2::from_shape_fn(q.dim(), |(s, a)| {
        reward[s][a] + mdp.gamma * (0..mdp.states()).map(|k| mdp.p[[s, a, k]] * exact[k]).sum::<f64>()
    });
    all_solved(&mut worst, q.as_slice().expect("row-major"), right.as_slice().expect("row-major"), mdp.gamma);
    let mut mean = vec![f64::NAN; v.len()];
    maxent::soft_mean_value(&policy, &q, eta, &mut mean);
    all_solved(&mut worst, &mean, &exact, mdp.gamma);
    worst.holds(maxent::soft_solve(&mdp.p, &mdp.r, &policy, 1.0, eta, &mut mean, &mut q.clone()).is_err());
    worst.done()
}

/// The soft optimal policy is as good as the one that improves it.
fn improvement_optimal(case: SoftCase) -> Measured {
    let (v, _, policy) = case.fixed_point();
    let (of_policy, q) = soft_solve(&case.mdp, case.eta, &policy);
    let mut again = policy.clone();
    maxent::soft_greedy(&q, case.eta, &mut again);
    let mut worst = Worst::new();
    all_solved(&mut worst, &of_policy, &v, case.mdp.gamma);
    all_solved(&mut worst, &case.value_of(&again), &v, case.mdp.gamma);
    worst.done()
}
