//! Slow and plain computations to compare with: enumeration, elimination, brute force, differences and quadrature.

use crate::generators::{Mdp, Policy};
use std::f64::consts::PI;
use std::sync::OnceLock;

// ENUM

/// One path of a finite horizon, as [`trajectories`] lists it.
#[derive(Clone, Copy, Debug)]
pub struct Trajectory<'a> {
    /// `s_0 .. s_T`.
    pub states: &'a [usize],
    /// `a_0 .. a_{T-1}`.
    pub actions: &'a [usize],
    /// Its probability.
    pub prob: f64,
}

impl Trajectory<'_> {
    /// `r_t = R(s_t, a_t, s_{t+1})`.
    pub fn reward(&self, mdp: &Mdp, t: usize) -> f64 {
        mdp.r[[self.states[t], self.actions[t], self.states[t + 1]]]
    }
}

/// Calls `f` with every path of `horizon` steps that has positive probability.
pub fn trajectories(mdp: &Mdp, policy: &Policy, horizon: usize, f: &mut dyn FnMut(Trajectory<'_>)) {
    for s in 0..mdp.states() {
        if mdp.mu[s] > 0.0 {
            extend(mdp, policy, horizon, &mut vec![s], &mut Vec::new(), mdp.mu[s], f);
        }
    }
}

/// Calls `f` with every path of `horizon` steps from `start`; the probabilities sum to 1.
pub fn trajectories_from(
    mdp: &Mdp,
    policy: &Policy,
    start: usize,
    horizon: usize,
    f: &mut dyn FnMut(Trajectory<'_>),
) {
    extend(mdp, policy, horizon, &mut vec![start], &mut Vec::new(), 1.0, f);
}

fn extend(
    mdp: &Mdp,
    policy: &Policy,
    horizon: usize,
    states: &mut Vec<usize>,
    actions: &mut Vec<usize>,
    prob: f64,
    f: &mut dyn FnMut(Trajectory<'_>),
) {
    if actions.len() == horizon {
        return f(Trajectory { states, actions, prob });
    }
    let s = states[actions.len()];
    for a in 0..mdp.actions() {
        for next in 0..mdp.states() {
            let p = policy[[s, a]] * mdp.p[[s, a, next]];
            if p > 0.0 {
                actions.push(a);
                states.push(next);
                extend(mdp, policy, horizon, states, actions, prob * p, f);
                actions.pop();
                states.pop();
            }
        }
    }
}

/// Calls `f` with each of the `n^k` tuples of numbers below `n`.
pub fn tuples(n: usize, k: usize, f: &mut dyn FnMut(&[usize])) {
    fn go(n: usize, tuple: &mut Vec<usize>, left: usize, f: &mut dyn FnMut(&[usize])) {
        if left == 0 {
            return f(tuple);
        }
        for i in 0..n {
            tuple.push(i);
            go(n, tuple, left - 1, f);
            tuple.pop();
        }
    }
    go(n, &mut Vec::new(), k, f);
}

/// Calls `f` with each `k`-tuple of independent draws from `p` and its probability.
pub fn samples(p: &[f64], k: usize, f: &mut dyn FnMut(&[usize], f64)) {
    tuples(p.len(), k, &mut |tuple| {
        let prob = tuple.iter().map(|&i| p[i]).product();
        if prob > 0.0 {
            f(tuple, prob);
        }
    });
}

// SOLVE

/// Solves `a x = b` by Gaussian elimination with partial pivoting; `a` holds rows.
///
/// # Panics
/// If `a` is not square, `b` does not fit, or a pivot is zero.
pub fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    assert!(a.len() == n && a.iter().all(|row| row.len() == n), "a is square and fits b");
    for col in 0..n {
        let pivot = (col..n).max_by(|&i, &j| a[i][col].abs().total_cmp(&a[j][col].abs())).unwrap_or(col);
        a.swap(col, pivot);
        b.swap(col, pivot);
        assert!(a[col][col] != 0.0, "a is not singular");
        let above = a[col].clone();
        for row in col + 1..n {
            let factor = a[row][col] / above[col];
            if factor != 0.0 {
                for (x, y) in a[row].iter_mut().zip(&above).skip(col) {
                    *x -= factor * y;
                }
                b[row] -= factor * b[col];
            }
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|k| a[row][k] * b[k]).sum();
        b[row] = (b[row] - known) / a[row][row];
    }
    b
}

/// `P^pi(s'|s)` as rows.
pub fn chain(mdp: &Mdp, policy: &Policy) -> Vec<Vec<f64>> {
    let (s, a) = (mdp.states(), mdp.actions());
    let entry = |i: usize, k: usize| (0..a).map(|j| policy[[i, j]] * mdp.p[[i, j, k]]).sum();
    (0..s).map(|i| (0..s).map(|k| entry(i, k)).collect()).collect()
}

/// The expected reward `r(s,a)` as rows.
pub fn mean_reward(mdp: &Mdp) -> Vec<Vec<f64>> {
    let (s, a) = (mdp.states(), mdp.actions());
    let entry = |i: usize, j: usize| (0..s).map(|k| mdp.p[[i, j, k]] * mdp.r[[i, j, k]]).sum();
    (0..s).map(|i| (0..a).map(|j| entry(i, j)).collect()).collect()
}

/// `V^pi` of the infinite horizon, from `(I - gamma P^pi) V = r^pi`.
pub fn policy_value(mdp: &Mdp, policy: &Policy) -> Vec<f64> {
    let reward = mean_reward(mdp);
    let b: Vec<f64> = reward
        .iter()
        .enumerate()
        .map(|(i, row)| row.iter().enumerate().map(|(j, r)| policy[[i, j]] * r).sum())
        .collect();
    solve(identity_minus(mdp.gamma, &chain(mdp, policy)), b)
}

/// `Q^pi` of the infinite horizon as rows.
pub fn action_value(mdp: &Mdp, policy: &Policy) -> Vec<Vec<f64>> {
    let v = policy_value(mdp, policy);
    let (s, a) = (mdp.states(), mdp.actions());
    let next = |i: usize, j: usize| (0..s).map(|k| mdp.p[[i, j, k]] * v[k]).sum::<f64>();
    mean_reward(mdp)
        .into_iter()
        .enumerate()
        .map(|(i, row)| (0..a).map(|j| row[j] + mdp.gamma * next(i, j)).collect())
        .collect()
}

/// `I - factor m`.
pub fn identity_minus(factor: f64, m: &[Vec<f64>]) -> Vec<Vec<f64>> {
    m.iter()
        .enumerate()
        .map(|(i, row)| {
            row.iter().enumerate().map(|(k, x)| f64::from(u8::from(i == k)) - factor * x).collect()
        })
        .collect()
}

/// The transpose.
pub fn transpose(m: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..m.first().map_or(0, Vec::len)).map(|k| m.iter().map(|row| row[k]).collect()).collect()
}

// BRUTE

/// The largest expected discounted return from each state over `horizon` steps, among all deterministic policies that
/// may depend on time.
pub fn best_finite_horizon(mdp: &Mdp, horizon: usize) -> Vec<f64> {
    let (s, a) = (mdp.states(), mdp.actions());
    let mut best = vec![f64::NEG_INFINITY; s];
    tuples(a, s * horizon, &mut |choice| {
        for (start, best) in best.iter_mut().enumerate() {
            *best = best.max(follow(mdp, choice, horizon, start, 0));
        }
    });
    best
}

fn follow(mdp: &Mdp, choice: &[usize], horizon: usize, s: usize, t: usize) -> f64 {
    if t == horizon {
        return 0.0;
    }
    let a = choice[t * mdp.states() + s];
    (0..mdp.states())
        .filter(|&next| mdp.p[[s, a, next]] > 0.0)
        .map(|next| {
            mdp.p[[s, a, next]]
                * (mdp.r[[s, a, next]] + mdp.gamma * follow(mdp, choice, horizon, next, t + 1))
        })
        .sum()
}

/// The largest value of each state in the infinite horizon, among all stationary deterministic policies.
pub fn best_stationary(mdp: &Mdp) -> Vec<f64> {
    let (s, a) = (mdp.states(), mdp.actions());
    let mut best = vec![f64::NEG_INFINITY; s];
    tuples(a, s, &mut |choice| {
        for (best, v) in best.iter_mut().zip(policy_value(mdp, &deterministic(choice, a))) {
            *best = best.max(v);
        }
    });
    best
}

/// The optimal values of the infinite horizon, by policy iteration with elimination. An action stays unless another one is
/// better by more than rounding.
pub fn optimal_value(mdp: &Mdp) -> Vec<f64> {
    let (s, a) = (mdp.states(), mdp.actions());
    let mut choice = vec![0; s];
    loop {
        let policy = deterministic(&choice, a);
        let v = policy_value(mdp, &policy);
        let q = action_value(mdp, &policy);
        let mut changed = false;
        for i in 0..s {
            let margin = 1e-12 * v[i].abs().max(1.0) / (1.0 - mdp.gamma);
            for j in 0..a {
                if q[i][j] > q[i][choice[i]] + margin {
                    (choice[i], changed) = (j, true);
                }
            }
        }
        if !changed {
            return v;
        }
    }
}

/// The policy that takes `choice[s]` in state `s` for sure.
pub fn deterministic(choice: &[usize], actions: usize) -> Policy {
    Policy::from_shape_fn((choice.len(), actions), |(i, j)| f64::from(u8::from(choice[i] == j)))
}

/// A finite process as lists: what every action of every state pays on average, and where it leads.
///
/// Probabilities of a list need not sum to 1: what is missing ends the episode.
#[derive(Clone, Debug)]
pub struct Lists {
    /// The mean reward, by state and action.
    pub reward: Vec<Vec<f64>>,
    /// Next states with their probabilities, by state and action.
    pub next: Vec<Vec<Vec<(usize, f64)>>>,
}

impl Lists {
    /// One look ahead.
    pub fn q(&self, s: usize, a: usize, gamma: f64, v: &[f64]) -> f64 {
        self.reward[s][a] + gamma * self.next[s][a].iter().map(|&(k, p)| p * v[k]).sum::<f64>()
    }

    /// The value of the policy that takes `choice[s]` in `s`, by elimination.
    pub fn policy_value(&self, choice: &[usize], gamma: f64) -> Vec<f64> {
        let n = self.reward.len();
        let mut matrix = vec![vec![0.0; n]; n];
        let mut reward = vec![0.0; n];
        for (s, &a) in choice.iter().enumerate() {
            matrix[s][s] = 1.0;
            reward[s] = self.reward[s][a];
            for &(k, p) in &self.next[s][a] {
                matrix[s][k] -= gamma * p;
            }
        }
        solve(matrix, reward)
    }

    /// The optimal values, by policy iteration with elimination. An action stays unless another one is better by more than
    /// rounding.
    pub fn optimal_value(&self, gamma: f64) -> Vec<f64> {
        let mut choice = vec![0; self.reward.len()];
        loop {
            let v = self.policy_value(&choice, gamma);
            let scale = v.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
            let mut changed = false;
            for (s, choice) in choice.iter_mut().enumerate() {
                for a in 0..self.reward[s].len() {
                    if self.q(s, a, gamma, &v) > self.q(s, *choice, gamma, &v) + 1e-12 * scale {
                        (*choice, changed) = (a, true);
                    }
                }
            }
            if !changed {
                return v;
            }
        }
    }
}

// FD

/// The step of central differences.
pub const FD_STEP: f64 = 1e-5;

/// `f'(x)` by a central difference.
pub fn derivative(f: impl Fn(f64) -> f64, x: f64) -> f64 {
    (f(x + FD_STEP) - f(x - FD_STEP)) / (2.0 * FD_STEP)
}

/// The gradient of `f` at `x` by central differences.
pub fn gradient(f: impl Fn(&[f64]) -> f64, x: &[f64]) -> Vec<f64> {
    let mut at = x.to_vec();
    (0..x.len())
        .map(|i| {
            at[i] = x[i] + FD_STEP;
            let above = f(&at);
            at[i] = x[i] - FD_STEP;
            let below = f(&at);
            at[i] = x[i];
            (above - below) / (2.0 * FD_STEP)
        })
        .collect()
}

/// The Jacobian of `f` at `x` by central differences: `[i][k]` is the derivative of output `i` in `x[k]`.
pub fn jacobian(f: impl Fn(&[f64]) -> Vec<f64>, x: &[f64]) -> Vec<Vec<f64>> {
    let mut at = x.to_vec();
    let columns: Vec<Vec<f64>> = (0..x.len())
        .map(|k| {
            at[k] = x[k] + FD_STEP;
            let above = f(&at);
            at[k] = x[k] - FD_STEP;
            let below = f(&at);
            at[k] = x[k];
            above.iter().zip(&below).map(|(a, b)| (a - b) / (2.0 * FD_STEP)).collect()
        })
        .collect();
    transpose(&columns)
}

/// The step of second differences: at [`FD_STEP`] rounding alone would reach 1e-5.
pub const HESSIAN_STEP: f64 = 1e-4;

/// The Hessian of `f` at `x` by second differences.
pub fn hessian(f: impl Fn(&[f64]) -> f64, x: &[f64]) -> Vec<Vec<f64>> {
    let h = HESSIAN_STEP;
    let moved = |steps: [(usize, f64); 2]| {
        let mut at = x.to_vec();
        steps.iter().for_each(|&(i, step)| at[i] += step);
        f(&at)
    };
    let entry = |i: usize, k: usize| {
        if i == k {
            return (moved([(i, h), (i, 0.0)]) - 2.0 * f(x) + moved([(i, -h), (i, 0.0)])) / (h * h);
        }
        let same = moved([(i, h), (k, h)]) + moved([(i, -h), (k, -h)]);
        (same - moved([(i, h), (k, -h)]) - moved([(i, -h), (k, h)])) / (4.0 * h * h)
    };
    (0..x.len()).map(|i| (0..x.len()).map(|k| entry(i, k)).collect()).collect()
}

// QUAD

/// Nodes of a quadrature.
pub const QUAD_NODES: usize = 400;

/// Nodes and weights of Gauss-Legendre quadrature on `[-1, 1]`, from Newton's method on the Legendre polynomial.
pub fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    (0..n)
        .map(|i| {
            let mut x = (PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (p, d) = legendre(n, x);
                slope = d;
                let step = p / d;
                x -= step;
                if step.abs() < 1e-16 {
                    break;
                }
            }
            (x, 2.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

/// The Legendre polynomial of degree `n` and its derivative.
fn legendre(n: usize, x: f64) -> (f64, f64) {
    let (mut before, mut p) = (1.0, x);
    for k in 2..=n {
        let k = k as f64;
        (before, p) = (p, ((2.0 * k - 1.0) * x * p - (k - 1.0) * before) / k);
    }
    (p, n as f64 * (x * p - before) / (x * x - 1.0))
}

/// The integral of `f` over `[low, high]` with [`QUAD_NODES`] nodes.
pub fn integral(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    static RULE: OnceLock<Vec<(f64, f64)>> = OnceLock::new();
    let rule = RULE.get_or_init(|| gauss_legendre(QUAD_NODES));
    let (half, middle) = (0.5 * (high - low), 0.5 * (high + low));
    half * rule.iter().map(|&(x, w)| w * f(middle + half * x)).sum::<f64>()
}

/// The integral of `f` over twelve standard deviations to either side of the mean: for integrands with a Gaussian factor.
pub fn gaussian_integral(mean: f64, std: f64, f: impl Fn(f64) -> f64) -> f64 {
    integral(mean - 12.0 * std, mean + 12.0 * std, f)
}

/// The integral over `u` in `(0, 1)` of `f(u, 1 - u)`, for integrands with powers of `u` and `1 - u` as in a Beta density.
///
/// Substitutes `u = s^3 (10 - 15 s + 6 s^2)`, which flattens both ends; `1 - u` comes from the same polynomial in `1 - s`, so
/// that it keeps its digits near `u = 1`.
pub fn unit_integral(f: impl Fn(f64, f64) -> f64) -> f64 {
    let smooth = |s: f64| s * s * s * (10.0 - 15.0 * s + 6.0 * s * s);
    integral(0.0, 1.0, |s| {
        let c = 1.0 - s;
        30.0 * (s * c) * (s * c) * f(smooth(s), smooth(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array2, Array3};

    fn two_states() -> Mdp {
        // From state 0, action 0 stays and pays 1, action 1 moves on and pays nothing; state 1 absorbs.
        let mut p = Array3::zeros((2, 2, 2));
        let mut r = Array3::zeros((2, 2, 2));
        p[[0, 0, 0]] = 1.0;
        r[[0, 0, 0]] = 1.0;
        p[[0, 1, 1]] = 1.0;
        p[[1, 0, 1]] = 1.0;
        p[[1, 1, 1]] = 1.0;
        Mdp { p, r, mu: Array1::from(vec![1.0, 0.0]), gamma: 0.9 }
    }

    #[test]
    fn enumeration_covers_all_probability() {
        let policy = Array2::from_elem((2, 2), 0.5);
        let (mut mass, mut mean, mut count) = (0.0, 0.0, 0);
        trajectories(&two_states(), &policy, 3, &mut |path| {
            mass += path.prob;
            count += 1;
            mean += path.prob * (0..3).map(|t| path.reward(&two_states(), t)).sum::<f64>();
        });
        assert!((mass - 1.0f64).abs() < 1e-15 && (mean - 0.875f64).abs() < 1e-15);
        // Leaving after one, two, three steps or never, with a free choice of action after leaving.
        assert_eq!(count, 4 + 2 + 1 + 1);
        let mut tuple_count = 0;
        samples(&[0.5, 0.5, 0.0], 3, &mut |_, prob| tuple_count += u32::from(prob == 0.125));
        assert_eq!(tuple_count, 8);
    }

    #[test]
    fn elimination_solves_and_pivots() {
        let x = solve(vec![vec![0.0, 2.0], vec![4.0, 1.0]], vec![2.0, 9.0]);
        assert_eq!(x, [2.0, 1.0]);
        let policy = Array2::from_elem((2, 2), 0.5);
        let v = policy_value(&two_states(), &policy);
        assert!((v[0] - 0.5 / 0.55).abs() < 1e-14 && v[1] == 0.0);
        let q = action_value(&two_states(), &policy);
        assert!((0.5 * (q[0][0] + q[0][1]) - v[0]).abs() < 1e-14);
    }

    #[test]
    fn brute_force_finds_the_best_plan() {
        let mdp = two_states();
        let finite = best_finite_horizon(&mdp, 3);
        assert!((finite[0] - 2.71).abs() < 1e-14 && finite[1] == 0.0);
        assert!((best_stationary(&mdp)[0] - 10.0).abs() < 1e-12);
        assert!((optimal_value(&mdp)[0] - 10.0).abs() < 1e-12);
    }

    #[test]
    fn differences_are_accurate_to_the_tolerance_of_gradients() {
        assert!((derivative(f64::exp, 1.0) - 1f64.exp()).abs() < 1e-9);
        let g = gradient(|x| x[0] * x[0] * x[1], &[3.0, 2.0]);
        assert!((g[0] - 12.0).abs() < 1e-8 && (g[1] - 9.0).abs() < 1e-8);
        let j = jacobian(|x| vec![x[0] * x[1], x[1], 1.0], &[3.0, 2.0]);
        assert!((j[0][1] - 3.0).abs() < 1e-8 && (j[1][1] - 1.0).abs() < 1e-8 && j[2] == [0.0, 0.0]);
        let h = hessian(|x| x[0] * x[0] * x[1], &[3.0, 2.0]);
        for (row, want) in h.iter().zip([[4.0, 6.0], [6.0, 0.0]]) {
            assert!(row.iter().zip(want).all(|(h, w)| (h - w).abs() < 1e-6), "{h:?}");
        }
    }

    #[test]
    fn quadrature_is_accurate_to_its_tolerance() {
        let total: f64 = gauss_legendre(5).iter().map(|n| n.1).sum();
        assert!((total - 2.0).abs() < 1e-14);
        assert!((integral(0.0, 2.0, |x| x.powi(9)) - 102.4).abs() < 1e-10);
        let mass = gaussian_integral(1.0, 0.5, |x| (-(x - 1.0).powi(2) / 0.5).exp());
        assert!((mass - (0.5 * PI).sqrt()).abs() < 1e-12);
        // B(1.01, 1.01), whose integrand has an infinite slope at both ends; and B(50, 2) = 1 / (50 * 51).
        let beta = unit_integral(|u, v| (u * v).powf(0.01));
        assert!((beta - 0.980_233_222_136_696_3).abs() < 1e-9, "{beta:.14}");
        assert!((unit_integral(|u, v| u.powi(49) * v) - 1.0 / 2550.0).abs() < 1e-14);
    }
}
