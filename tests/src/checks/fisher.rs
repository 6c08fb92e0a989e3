use crate::generators::{Mdp, Policy, mdp_and_policy, normal, normals};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_INEQ, TOL_QUAD, TOL_SOLVE, TOL_STAT, Worst};
use crate::oracles::{
    action_value, chain, gaussian_integral, gradient, hessian, identity_minus, policy_value, solve,
    transpose, unit_integral,
};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array1, Array2, s};
use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::natural_gradient::{self, NoMaximum};
use rederive_math::{Stream, fisher};

/// Second differences agree to this.
const TOL_HESSIAN: f64 = 1e-5;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("fisher.forms", "softmax-scores", TOL_ID, logits(), softmax_scores),
        random("fisher.forms", "softmax-curvature", TOL_HESSIAN, logits(), softmax_curvature),
        random("fisher.forms", "gaussian-scores", TOL_QUAD, gaussians(), gaussian_scores).at_most(64),
        random("fisher.forms", "gaussian-curvature", TOL_HESSIAN, gaussians(), gaussian_curvature)
            .at_most(64),
        random("fisher.forms", "beta-scores", TOL_QUAD, betas(), beta_scores).at_most(64),
        random("fisher.forms", "beta-curvature", TOL_HESSIAN, betas(), beta_curvature).at_most(64),
        random("fisher.forms", "policy", TOL_ID, mdp_and_policy(0.99), policy_fisher),
        random("fisher.forms", "products", TOL_ID, rows(), products),
        random("fisher.forms", "single-precision", 1e-5, rows(), products_single_precision),
        random("fisher.forms", "edges", TOL_INEQ, (logits(), normals(6)), forms_edges),
        random("fisher.kl-hessian", "hessian", TOL_HESSIAN, logits(), kl_hessian),
        random("fisher.kl-hessian", "remainder", 1.0, small_steps(), kl_remainder),
        random("fisher.kl-hessian", "terms", TOL_ID, logits_and_step(), kl_terms),
        random("fisher.kl-hessian", "constant-step", TOL_ID, (logits(), normal()), kl_constant_step),
        random("ng.direction", "maximum", TOL_ID, definite(), direction_maximum).at_most(64),
        random("ng.direction", "solve", 1e-8, definite(), direction_solve),
        random("ng.direction", "singular", TOL_ID, singular(), direction_singular),
        random("ng.direction", "ill-conditioned", 2e-14, ill_conditioned(), direction_ill_conditioned),
        fixed("ng.direction", "edges", EXACT, |_| direction_edges()),
        random("ng.reparametrisation", "policy-change", TOL_ID, coordinates(), same_policy_change),
        random("ng.reparametrisation", "plain-gradient", TOL_INEQ, coordinates(), plain_gradient_differs),
        random("ng.reparametrisation", "orthogonal", TOL_ID, coordinates(), orthogonal_coordinates),
        random("ng.softmax-advantage", "pseudo-inverse", TOL_SOLVE, well_visited(), softmax_pseudo_inverse),
        random("ng.softmax-advantage", "any-policy", TOL_SOLVE, mdp_and_policy(0.99), softmax_any_policy),
        random("ng.softmax-advantage", "gradient", TOL_FD, mdp_and_policy(0.95), softmax_gradient),
        fixed("ng.softmax-advantage", "bandit", TOL_STAT, |_| softmax_bandit()),
    ]
}

// The other side

/// The probabilities of logits up to 40 in size, straight from the definition.
fn naive_softmax(z: &[f64]) -> Vec<f64> {
    let total: f64 = z.iter().map(|z| z.exp()).sum();
    z.iter().map(|z| z.exp() / total).collect()
}

fn naive_log_prob(z: &[f64], a: usize) -> f64 {
    z[a] - z.iter().map(|z| z.exp()).sum::<f64>().ln()
}

/// `e_a - pi`.
fn score(pi: &[f64], a: usize) -> Vec<f64> {
    pi.iter().enumerate().map(|(b, p)| f64::from(u8::from(a == b)) - p).collect()
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn times(matrix: &Array2<f64>, x: &[f64]) -> Vec<f64> {
    matrix.rows().into_iter().map(|row| dot(&row.to_vec(), x)).collect()
}

fn rows_of(matrix: &Array2<f64>) -> Vec<Vec<f64>> {
    matrix.rows().into_iter().map(|row| row.to_vec()).collect()
}

/// Logits of POL: standard normal, and with probability 0.1 eight times as large.
fn logits() -> impl Strategy<Value = Vec<f64>> + Clone + Send + Sync {
    (normals(2..=6), weighted(0.1)).prop_map(|(z, sharp)| scaled(z, if sharp { 8.0 } else { 1.0 }))
}

fn scaled(mut x: Vec<f64>, factor: f64) -> Vec<f64> {
    x.iter_mut().for_each(|x| *x *= factor);
    x
}

fn softmax_fisher(z: &[f64]) -> Array2<f64> {
    let mut f = Array2::from_elem((z.len(), z.len()), f64::NAN);
    fisher::softmax(&naive_softmax(z), &mut f);
    f
}

// fisher.forms

fn softmax_scores(z: Vec<f64>) -> Measured {
    let pi = naive_softmax(&z);
    let mut outer = Array2::zeros((z.len(), z.len()));
    for (a, p) in pi.iter().enumerate() {
        let score = Array1::from(score(&pi, a));
        for ((i, k), sum) in outer.indexed_iter_mut() {
            *sum += p * score[i] * score[k];
        }
    }
    Worst::new().all(&softmax_fisher(&z), &outer).done()
}

fn softmax_curvature(z: Vec<f64>) -> Measured {
    let pi = naive_softmax(&z);
    let mut mean = Array2::zeros((z.len(), z.len()));
    for (a, p) in pi.iter().enumerate() {
        let second = hessian(|z| naive_log_prob(z, a), &z);
        for ((i, k), sum) in mean.indexed_iter_mut() {
            *sum -= p * second[i][k];
        }
    }
    Worst::new().all(&softmax_fisher(&z), &mean).done()
}

type Pairs = Vec<(f64, f64)>;

/// Means and log standard deviations of one to three dimensions.
fn gaussians() -> impl Strategy<Value = Pairs> + Clone + Send + Sync {
    vec((-2.0..=2.0f64, -1.0..=1.0f64), 1..=3)
}

/// Shapes of one to three dimensions, many near 1.
fn betas() -> impl Strategy<Value = Pairs> + Clone + Send + Sync {
    let shape = prop_oneof![1.0..=1.1f64, 1.0..=3.0f64, 1.0..=30.0f64];
    vec((shape.clone(), shape), 1..=3)
}

fn gaussian_fisher(law: &Pairs) -> Array2<f64> {
    let log_std: Vec<f64> = law.iter().map(|l| l.1).collect();
    let mut f = Array2::from_elem((2 * law.len(), 2 * law.len()), f64::NAN);
    fisher::gaussian(&log_std, &mut f);
    f
}

fn beta_fisher(law: &Pairs) -> Array2<f64> {
    let (a, b): (Vec<f64>, Vec<f64>) = law.iter().copied().unzip();
    let mut f = Array2::from_elem((2 * law.len(), 2 * law.len()), f64::NAN);
    fisher::beta(&a, &b, &mut f);
    f
}

/// The matrix over all dimensions from the blocks of single ones: different dimensions are independent.
fn blocks(dims: usize, block: impl Fn(usize, usize, usize) -> f64) -> Array2<f64> {
    Array2::from_shape_fn((2 * dims, 2 * dims), |(i, k)| {
        if i % dims == k % dims { block(i % dims, i / dims, k / dims) } else { 0.0 }
    })
}

fn gaussian_density(x: f64, m: f64, s: f64) -> f64 {
    gaussian_log(x, m, s).exp()
}

fn gaussian_log(x: f64, m: f64, s: f64) -> f64 {
    let variance = (2.0 * s).exp();
    -(x - m) * (x - m) / (2.0 * variance) - 0.5 * (2.0 * std::f64::consts::PI * variance).ln()
}

fn gaussian_scores(law: Pairs) -> Measured {
    let score = |d: usize, i: usize, x: f64| {
        let (m, s) = law[d];
        if i == 0 { (x - m) / (2.0 * s).exp() } else { (x - m) * (x - m) / (2.0 * s).exp() - 1.0 }
    };
    let mean = |d: usize, f: &dyn Fn(f64) -> f64| {
        let (m, s) = law[d];
        gaussian_integral(m, s.exp(), |x| gaussian_density(x, m, s) * f(x))
    };
    let outer = blocks(law.len(), |d, i, k| mean(d, &|x| score(d, i, x) * score(d, k, x)));
    let mut worst = Worst::new();
    worst.all(&gaussian_fisher(&law), &outer);
    // That the blocks beside the diagonal vanish is the zero mean of the scores.
    for d in 0..law.len() {
        for i in 0..2 {
            worst.add(mean(d, &|x| score(d, i, x)).abs());
        }
    }
    worst.done()
}

fn gaussian_curvature(law: Pairs) -> Measured {
    let curvature = blocks(law.len(), |d, i, k| {
        let (m, s) = law[d];
        // The Hessian of the mean, with the law held fixed: integral and differences commute.
        let mean = |at: &[f64]| {
            gaussian_integral(m, s.exp(), |x| gaussian_density(x, m, s) * gaussian_log(x, at[0], at[1]))
        };
        -hessian(mean, &[m, s])[i][k]
    });
    Worst::new().all(&gaussian_fisher(&law), &curvature).done()
}

/// `log B(a, b)` by quadrature.
fn log_beta(a: f64, b: f64) -> f64 {
    unit_integral(|u, v| u.powf(a - 1.0) * v.powf(b - 1.0)).ln()
}

/// The scores are `log u` and `log (1 - u)` less their means, whatever these are.
fn beta_scores(law: Pairs) -> Measured {
    let mean = |d: usize, f: &dyn Fn(f64, f64) -> f64| {
        let (a, b) = law[d];
        let normaliser = log_beta(a, b);
        unit_integral(|u, v| ((a - 1.0) * u.ln() + (b - 1.0) * v.ln() - normaliser).exp() * f(u, v))
    };
    let part = |i: usize, u: f64, v: f64| if i == 0 { u.ln() } else { v.ln() };
    let covariance = blocks(law.len(), |d, i, k| {
        let (left, right) = (mean(d, &|u, v| part(i, u, v)), mean(d, &|u, v| part(k, u, v)));
        mean(d, &|u, v| (part(i, u, v) - left) * (part(k, u, v) - right))
    });
    Worst::new().all(&beta_fisher(&law), &covariance).done()
}

/// The log-density is linear in the shapes but for `-log B`, so that its curvature does not depend on the action.
fn beta_curvature(law: Pairs) -> Measured {
    let curvature =
        blocks(law.len(), |d, i, k| hessian(|at| log_beta(at[0], at[1]), &[law[d].0, law[d].1])[i][k]);
    Worst::new().all(&beta_fisher(&law), &curvature).done()
}

/// `d_pi` by elimination.
pub(super) fn occupancy(mdp: &Mdp, policy: &Policy) -> Vec<f64> {
    let start: Vec<f64> = mdp.mu.iter().map(|m| (1.0 - mdp.gamma) * m).collect();
    solve(identity_minus(mdp.gamma, &transpose(&chain(mdp, policy))), start)
}

/// `A_pi` by elimination.
pub(super) fn advantage(mdp: &Mdp, policy: &Policy) -> Array2<f64> {
    let (v, q) = (policy_value(mdp, policy), action_value(mdp, policy));
    Array2::from_shape_fn(policy.dim(), |(s, a)| q[s][a] - v[s])
}

fn policy_fisher((mdp, policy): (Mdp, Policy)) -> Measured {
    let (states, actions) = policy.dim();
    let n = states * actions;
    let mut visits = occupancy(&mdp, &policy);
    visits[0] = 0.0;
    let (mut left, mut right) = (Array2::from_elem((n, n), f64::NAN), Array2::zeros((n, n)));
    fisher::tabular(&visits, &policy, &mut left);
    for state in 0..states {
        let pi = policy.row(state).to_vec();
        for a in 0..actions {
            // The score in all logits: zero but in the rows of the state.
            let mut all = vec![0.0; n];
            all[state * actions..(state + 1) * actions].copy_from_slice(&score(&pi, a));
            for ((i, k), sum) in right.indexed_iter_mut() {
                *sum += visits[state] * pi[a] * all[i] * all[k];
            }
        }
    }
    let mut worst = Worst::new();
    worst.all(&left, &right);
    worst.holds(left.slice(s![..actions, ..]).iter().all(|&f| f == 0.0));
    worst.done()
}

/// A batch of rows with tangents.
#[derive(Clone, Debug)]
struct Rows {
    columns: usize,
    logits: Vec<f64>,
    v: Vec<f64>,
    w: Vec<f64>,
    log_std: Vec<f64>,
    scale: f64,
}

fn rows() -> impl Strategy<Value = Rows> + Clone + Send + Sync {
    (1..=9usize, vec((normal(), normal(), normal()), 9..=200), vec(-1.0..=1.0f64, 9), 0.01..=2.0f64).prop_map(
        |(columns, entries, log_std, scale)| {
            let n = entries.len() / columns * columns;
            Rows {
                columns,
                logits: entries[..n].iter().map(|e| e.0).collect(),
                v: entries[..n].iter().map(|e| e.1).collect(),
                w: entries[..n].iter().map(|e| e.2).collect(),
                log_std: log_std[..columns].to_vec(),
                scale,
            }
        },
    )
}

impl Rows {
    fn probability(&self) -> Vec<f64> {
        self.logits.chunks_exact(self.columns).flat_map(naive_softmax).collect()
    }

    /// Products with the sum over outcomes of `score score^T`, which nothing assembles either.
    fn softmax(&self) -> Vec<f64> {
        let rows = self.logits.chunks_exact(self.columns).zip(self.v.chunks_exact(self.columns));
        rows.flat_map(|(z, v)| {
            let pi = naive_softmax(z);
            let mut product = vec![0.0; z.len()];
            for (a, p) in pi.iter().enumerate() {
                let score = score(&pi, a);
                let along = dot(&score, v);
                product.iter_mut().zip(&score).for_each(|(sum, s)| *sum += self.scale * p * along * s);
            }
            product
        })
        .collect()
    }

    /// Shapes above 1 from the logits, two lists of them.
    fn shapes(&self) -> (Vec<f64>, Vec<f64>) {
        let shape = |z: &f64| 1.0 + z * z;
        (self.logits.iter().map(shape).collect(), self.w.iter().map(shape).collect())
    }
}

fn products(rows: Rows) -> Measured {
    let (columns, scale) = (rows.columns, rows.scale);
    let mut worst = Worst::new();
    let mut v = rows.v.clone();
    fisher::softmax_product(&rows.probability(), columns, scale, &mut v);
    worst.all(&v, &rows.softmax());
    // Gaussian: the log standard deviation is every row's.
    let (mut mean, mut log_std) = (rows.v.clone(), rows.w[..columns].to_vec());
    fisher::gaussian_product(&rows.log_std, scale, &mut mean, &mut log_std);
    let mut want_log_std = vec![0.0; columns];
    for (row, v) in mean.chunks_exact(columns).zip(rows.v.chunks_exact(columns)) {
        let pairs: Pairs = rows.log_std.iter().map(|&s| (0.0, s)).collect();
        let want = times(&gaussian_fisher(&pairs), &[v, &rows.w[..columns]].concat());
        worst.all(row, &scaled(want[..columns].to_vec(), scale));
        want_log_std.iter_mut().zip(&want[columns..]).for_each(|(sum, f)| *sum += scale * f);
    }
    worst.all(&log_std, &want_log_std);
    let (a, b) = rows.shapes();
    let (mut v_a, mut v_b) = (rows.v.clone(), rows.w.clone());
    fisher::beta_product(&a, &b, scale, &mut v_a, &mut v_b);
    for i in 0..a.len() {
        let want = times(&beta_fisher(&vec![(a[i], b[i])]), &[rows.v[i], rows.w[i]]);
        worst.all(&[v_a[i], v_b[i]], &scaled(want, scale));
    }
    worst.done()
}

fn products_single_precision(rows: Rows) -> Measured {
    let narrow = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    let widen = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let mut worst = Worst::new();
    let mut v = narrow(&rows.v);
    fisher::softmax_product(&narrow(&rows.probability()), rows.columns, rows.scale as f32, &mut v);
    worst.all(&widen(&v), &rows.softmax());
    let (mut mean, mut log_std) = (narrow(&rows.v), narrow(&rows.w[..rows.columns]));
    fisher::gaussian_product(&narrow(&rows.log_std), rows.scale as f32, &mut mean, &mut log_std);
    let count = (rows.v.len() / rows.columns) as f64;
    let want: Vec<f64> = rows
        .v
        .iter()
        .enumerate()
        .map(|(i, v)| rows.scale * v / (2.0 * rows.log_std[i % rows.columns]).exp())
        .collect();
    let want_log_std: Vec<f64> =
        rows.w[..rows.columns].iter().map(|w| 2.0 * rows.scale * count * w).collect();
    worst.all(&widen(&mean), &want).all(&widen(&log_std), &want_log_std);
    worst.done()
}

/// Nothing in a constant, nothing negative, also where one action is all but sure; other lengths are refused.
fn forms_edges((z, x): (Vec<f64>, Vec<f64>)) -> Measured {
    let mut worst = Worst::new();
    for sharp in [1.0, 30.0] {
        let z = scaled(z.clone(), sharp / z.iter().fold(1.0, |m: f64, z| m.max(z.abs())));
        let f = softmax_fisher(&z);
        for entry in times(&f, &vec![1.0; z.len()]) {
            worst.same(entry, 0.0);
        }
        worst.at_most(0.0, dot(&x[..z.len()], &times(&f, &x[..z.len()])));
    }
    let pi = naive_softmax(&z);
    worst.holds(panics(|| fisher::softmax_product(&pi, z.len(), 1.0, &mut vec![0.0; z.len() + 1])));
    worst.holds(panics(|| fisher::softmax(&pi, &mut Array2::zeros((z.len() + 1, z.len() + 1)))));
    worst.done()
}

// fisher.kl-hessian

fn naive_kl(z: &[f64], y: &[f64]) -> f64 {
    let (p, lse) = (naive_softmax(z), |z: &[f64]| z.iter().map(|z| z.exp()).sum::<f64>().ln());
    let (lse_z, lse_y) = (lse(z), lse(y));
    p.iter().zip(z).zip(y).map(|((p, z), y)| p * ((z - lse_z) - (y - lse_y))).sum()
}

fn kl_hessian(z: Vec<f64>) -> Measured {
    let f = softmax_fisher(&z);
    let mut worst = Worst::new();
    let forward = |y: &[f64]| naive_kl(&z, y);
    let backward = |y: &[f64]| naive_kl(y, &z);
    for second in [hessian(forward, &z), hessian(backward, &z)] {
        worst.all(&f, &Array2::from_shape_fn(f.dim(), |(i, k)| second[i][k]));
    }
    for slope in [gradient(forward, &z), gradient(backward, &z)] {
        worst.gradient(&vec![0.0; z.len()], &slope);
    }
    worst.same(forward(&z), 0.0);
    worst.done()
}

fn central_moment(pi: &[f64], d: &[f64], k: i32) -> f64 {
    let mean = dot(pi, d);
    pi.iter().zip(d).map(|(p, d)| p * (d - mean).powi(k)).sum()
}

/// Logits and a step of length 1e-2, such that the third cumulant does not vanish along it.
fn small_steps() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> + Clone + Send + Sync {
    (logits(), normals(6))
        .prop_map(|(z, mut d)| {
            d.truncate(z.len());
            let norm = dot(&d, &d).sqrt();
            let d = scaled(d, 1e-2 / norm);
            (z, d)
        })
        .prop_filter("the cubic term is too small", |(z, d)| {
            let pi = naive_softmax(z);
            let (second, third) = (central_moment(&pi, d, 2), central_moment(&pi, d, 3));
            third.abs() >= 0.3 * second.powf(1.5) && second >= 1e-2 * 1e-4
        })
}

/// Half the step leaves an eighth of what the quadratic term misses.
fn kl_remainder((z, d): (Vec<f64>, Vec<f64>)) -> Measured {
    let f = softmax_fisher(&z);
    let remainder = |factor: f64| {
        let d = scaled(d.clone(), factor);
        let there: Vec<f64> = z.iter().zip(&d).map(|(z, d)| z + d).collect();
        naive_kl(&z, &there) - fisher::quadratic_kl(&f, &d)
    };
    Worst::new().add((remainder(1.0) / remainder(0.5) - 8.0).abs()).done()
}

fn logits_and_step() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> + Clone + Send + Sync {
    (logits(), normals(6)).prop_map(|(z, d)| {
        let d = d[..z.len()].to_vec();
        (z, d)
    })
}

/// Cumulants from differences of independent draws, by listing all pairs and triples: `kappa_2 = E(X - Y)^2 / 2` and
/// `kappa_3 = E(X - Y)^2 (X + Y - 2 Z) / 2`.
fn kl_terms((z, d): (Vec<f64>, Vec<f64>)) -> Measured {
    let pi = naive_softmax(&z);
    let (mut second, mut third) = (0.0, 0.0);
    for (p, x) in pi.iter().zip(&d) {
        for (q, y) in pi.iter().zip(&d) {
            second += p * q * (x - y) * (x - y) / 2.0;
            for (r, w) in pi.iter().zip(&d) {
                third += p * q * r * (x - y) * (x - y) * (x + y - 2.0 * w) / 2.0;
            }
        }
    }
    let (quadratic, cubic) = fisher::softmax_kl_terms(&pi, &d);
    let mut worst = Worst::new();
    worst.same(quadratic, second / 2.0).same(cubic, third / 6.0);
    worst.same(fisher::quadratic_kl(&softmax_fisher(&z), &d), second / 2.0);
    worst.done()
}

fn kl_constant_step((z, shift): (Vec<f64>, f64)) -> Measured {
    let d = vec![shift; z.len()];
    let pi = naive_softmax(&z);
    let (quadratic, cubic) = fisher::softmax_kl_terms(&pi, &d);
    let mut worst = Worst::new();
    worst.same(fisher::quadratic_kl(&softmax_fisher(&z), &d), 0.0).same(quadratic, 0.0).same(cubic, 0.0);
    let there: Vec<f64> = z.iter().map(|z| z + shift).collect();
    worst.same(naive_kl(&z, &there), 0.0);
    worst.done()
}

// ng.direction

/// A matrix, a gradient and a radius.
#[derive(Clone, Debug)]
struct Ball {
    fisher: Array2<f64>,
    gradient: Vec<f64>,
    radius: f64,
}

/// `B B^T + ridge I` with a normal `B` of `rank` columns.
fn ball(n: usize, rank: usize, ridge: f64, entries: &[f64], gradient: &[f64], radius: f64) -> Ball {
    let b = Array2::from_shape_fn((n, rank), |(i, k)| entries[i * 6 + k]);
    let fisher = b.dot(&b.t()) + Array2::<f64>::eye(n) * ridge;
    Ball { fisher, gradient: gradient[..n].to_vec(), radius }
}

fn definite() -> impl Strategy<Value = Ball> + Clone + Send + Sync {
    (1..=6usize, 0.1..=1.0f64, normals(36), normals(6), 1e-4..=1.0f64)
        .prop_map(|(n, ridge, b, g, radius)| ball(n, n, ridge, &b, &g, radius))
}

/// A matrix of rank below n, with a gradient in its range.
fn singular() -> impl Strategy<Value = (Ball, Vec<f64>)> + Clone + Send + Sync {
    (2..=6usize, 1..=5usize, normals(36), normals(6), normals(6), 1e-4..=1.0f64).prop_map(
        |(n, rank, b, y, other, radius)| {
            let mut case = ball(n, rank.min(n - 1), 0.0, &b, &y, radius);
            case.gradient = times(&case.fisher, &case.gradient);
            (case, other[..n].to_vec())
        },
    )
}

/// Eigenvalues from 1 down to 1e-8, in directions that have nothing to do with the coordinates; and the ratio of the largest and
/// the smallest.
fn ill_conditioned() -> impl Strategy<Value = (Ball, f64)> + Clone + Send + Sync {
    (2..=6usize, normals(36), normals(6), vec(0.0..=8.0f64, 6), 1e-4..=1.0f64).prop_map(
        |(n, entries, g, power, radius)| {
            let q = orthogonal(n, &entries);
            let mut fisher = Array2::zeros((n, n));
            for (column, power) in q.columns().into_iter().zip(&power) {
                for ((i, k), f) in fisher.indexed_iter_mut() {
                    *f += 10f64.powf(-power) * column[i] * column[k];
                }
            }
            let (low, high) = power[..n].iter().fold((8.0f64, 0.0f64), |(l, h), &p| (l.min(p), h.max(p)));
            (Ball { fisher, gradient: g[..n].to_vec(), radius }, 10f64.powf(high - low))
        },
    )
}

/// An orthogonal matrix from normal entries, by Gram and Schmidt, twice.
fn orthogonal(n: usize, entries: &[f64]) -> Array2<f64> {
    let mut q = Array2::from_shape_fn((n, n), |(i, k)| entries[i * 6 + k]);
    for k in 0..n {
        for _ in 0..2 {
            for before in 0..k {
                let along = q.column(before).dot(&q.column(k));
                let other = q.column(before).to_owned();
                q.column_mut(k).scaled_add(-along, &other);
            }
            let norm = q.column(k).dot(&q.column(k)).sqrt();
            q.column_mut(k).mapv_inplace(|x| x / norm);
        }
    }
    q
}

impl Ball {
    fn step(&self) -> (Vec<f64>, f64) {
        let mut out = vec![f64::NAN; self.gradient.len()];
        let gain = natural_gradient::steepest_step(&self.fisher, &self.gradient, self.radius, &mut out)
            .expect("a maximum");
        (out, gain)
    }

    /// `x^T F x / 2`.
    fn model(&self, x: &[f64]) -> f64 {
        0.5 * dot(x, &times(&self.fisher, x))
    }
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// On the boundary, a multiple of `F d` equal to the gradient, and not below any of 2000 other points of the ball.
fn direction_maximum(case: Ball) -> Measured {
    let (d, gain) = case.step();
    let mut worst = Worst::new();
    worst.add((case.model(&d) / case.radius - 1.0).abs());
    worst.same(gain, dot(&case.gradient, &d));
    // Karush, Kuhn, Tucker: g = nu F d with nu = g^T d / (2 radius) >= 0.
    let multiplier = dot(&case.gradient, &d) / (2.0 * case.radius);
    let residual: Vec<f64> =
        times(&case.fisher, &d).iter().zip(&case.gradient).map(|(f, g)| g - multiplier * f).collect();
    worst.add(norm(&residual) / norm(&case.gradient)).holds(multiplier >= 0.0);
    let mut rng = Stream::new(7, "feasible steps", case.gradient.len() as u64);
    for draw in 0..2000 {
        // Half of them anywhere, half of them near the step that claims to be the best.
        let spread = if draw % 2 == 0 { 1.0 } else { 10f64.powf(-4.0 * rng.unit()) };
        let point: Vec<f64> = d
            .iter()
            .map(|x| if draw % 2 == 0 { rng.normal() } else { x + spread * norm(&d) * rng.normal() })
            .collect();
        let shrink = if draw % 4 < 2 { 1.0 } else { rng.unit() };
        let point = scaled(point.clone(), shrink * (case.radius / case.model(&point)).sqrt());
        worst.at_most(dot(&case.gradient, &point), gain);
    }
    worst.done()
}

/// The same from an elimination.
fn direction_solve(case: Ball) -> Measured {
    let x = solve(rows_of(&case.fisher), case.gradient.clone());
    let squared = dot(&case.gradient, &x);
    let (d, gain) = case.step();
    let mut worst = Worst::new();
    worst.same(gain, (2.0 * case.radius * squared).sqrt());
    worst.all(&d, &scaled(x.clone(), (2.0 * case.radius / squared).sqrt()));
    let mut natural = vec![f64::NAN; x.len()];
    let returned = natural_gradient::natural_gradient(&case.fisher, &case.gradient, &mut natural);
    worst.all(&natural, &x).same(returned.expect("a maximum"), squared);
    worst.done()
}

fn direction_singular((case, other): (Ball, Vec<f64>)) -> Measured {
    let (d, gain) = case.step();
    let mut worst = Worst::new();
    worst.add((case.model(&d) / case.radius - 1.0).abs());
    let back = scaled(times(&case.fisher, &d), gain / (2.0 * case.radius));
    worst.all(&back, &case.gradient);
    // The shortest of all solutions: nothing of it lies where the matrix is zero. That part of any vector is what is left after the
    // projection on the range.
    let range = times(&case.fisher, &other);
    let mut x = vec![f64::NAN; d.len()];
    natural_gradient::natural_gradient(&case.fisher, &range, &mut x).expect("in the range");
    let null: Vec<f64> = other.iter().zip(&x).map(|(o, x)| o - x).collect();
    worst.add(norm(&times(&case.fisher, &null))).add(dot(&null, &d).abs());
    // A gradient with such a part has no best step.
    if norm(&null) > 1e-3 {
        let beyond: Vec<f64> = case.gradient.iter().zip(&null).map(|(g, n)| g + n).collect();
        let refused = natural_gradient::natural_gradient(&case.fisher, &beyond, &mut x);
        worst.holds(
            matches!(refused, Err(NoMaximum::Unbounded { share }) if share > 0.0 && share <= 1.0 + 1e-9),
        );
    }
    worst.done()
}

/// Condition numbers up to 1e8: the boundary is still met, to what rounding leaves of it.
fn direction_ill_conditioned((case, condition): (Ball, f64)) -> Measured {
    let (d, gain) = case.step();
    let mut worst = Worst::new();
    worst.add((case.model(&d) / case.radius - 1.0).abs() / condition);
    let back = scaled(times(&case.fisher, &d), gain / (2.0 * case.radius));
    let residual: Vec<f64> = back.iter().zip(&case.gradient).map(|(b, g)| b - g).collect();
    worst.add(norm(&residual) / norm(&case.gradient) / condition).done()
}

fn direction_edges() -> Measured {
    let mut worst = Worst::new();
    let f = ndarray::array![[4.0, 0.0], [0.0, 1.0]];
    let mut d = [f64::NAN; 2];
    worst.holds(natural_gradient::steepest_step(&f, &[0.0, 0.0], 1.0, &mut d) == Ok(0.0) && d == [0.0; 2]);
    let negative = ndarray::array![[1.0, 0.0], [0.0, -1.0]];
    let refused = natural_gradient::steepest_step(&negative, &[1.0, 0.0], 1.0, &mut d);
    worst.holds(matches!(refused, Err(NoMaximum::Indefinite { eigenvalue }) if eigenvalue == -1.0));
    let lost = natural_gradient::steepest_step(&Array2::zeros((2, 2)), &[1.0, 0.0], 1.0, &mut d);
    worst.holds(lost == Err(NoMaximum::Unbounded { share: 1.0 }));
    worst.holds(panics(|| natural_gradient::steepest_step(&f, &[1.0; 3], 1.0, &mut [0.0; 3])));
    worst.done()
}

// ng.reparametrisation

/// A softmax with rewards, and a map of its logits with condition number up to 100.
#[derive(Clone, Debug)]
struct Coordinates {
    logits: Vec<f64>,
    reward: Vec<f64>,
    jacobian: Array2<f64>,
    rotation: Array2<f64>,
}

fn coordinates() -> impl Strategy<Value = Coordinates> + Clone + Send + Sync {
    (3..=6usize, normals(6), normals(6), normals(36), normals(36), vec(-1.0..=1.0f64, 6)).prop_map(
        |(n, z, r, left, right, power)| {
            let (u, v) = (orthogonal(n, &left), orthogonal(n, &right));
            let mut power = power;
            // Never nearly a rotation.
            (power[0], power[1]) = (-0.5, 0.5);
            let stretched = Array2::from_shape_fn((n, n), |(i, k)| u[[i, k]] * 10f64.powf(power[k]));
            Coordinates {
                logits: z[..n].to_vec(),
                reward: r[..n].to_vec(),
                jacobian: stretched.dot(&v.t()),
                rotation: u,
            }
        },
    )
}

impl Coordinates {
    /// The gradient of the mean reward in the logits.
    fn gradient(&self) -> Vec<f64> {
        let pi = naive_softmax(&self.logits);
        let mean = dot(&pi, &self.reward);
        pi.iter().zip(&self.reward).map(|(p, r)| p * (r - mean)).collect()
    }

    /// What a change of the logits does to the probabilities, to first order.
    fn policy_change(&self, d: &[f64]) -> Vec<f64> {
        let pi = naive_softmax(&self.logits);
        let mean = dot(&pi, d);
        pi.iter().zip(d).map(|(p, d)| p * (d - mean)).collect()
    }

    fn through(&self, jacobian: &Array2<f64>) -> Vec<f64> {
        let mut out = vec![f64::NAN; self.logits.len()];
        let f = softmax_fisher(&self.logits);
        natural_gradient::through_coordinates(jacobian, &f, &self.gradient(), &mut out)
            .expect("in the range");
        out
    }

    fn plain_through(&self, jacobian: &Array2<f64>) -> Vec<f64> {
        let omega = times(&jacobian.t().to_owned(), &self.gradient());
        times(jacobian, &omega)
    }
}

fn same_policy_change(case: Coordinates) -> Measured {
    let mut direct = vec![f64::NAN; case.logits.len()];
    let f = softmax_fisher(&case.logits);
    natural_gradient::natural_gradient(&f, &case.gradient(), &mut direct).expect("in the range");
    let (left, right) = (case.policy_change(&case.through(&case.jacobian)), case.policy_change(&direct));
    let mut worst = Worst::new();
    worst.all(&left, &right);
    // A softmax's probabilities change by F d, and F F^+ g is g.
    worst.all(&left, &case.gradient());
    worst.done()
}

fn cosine(x: &[f64], y: &[f64]) -> f64 {
    dot(x, y) / (norm(x) * norm(y))
}

/// The plain gradient of other coordinates moves the policy elsewhere.
fn plain_gradient_differs(case: Coordinates) -> Measured {
    let here = case.policy_change(&case.gradient());
    let there = case.policy_change(&case.plain_through(&case.jacobian));
    let difference: Vec<f64> = here.iter().zip(&there).map(|(x, y)| x - y).collect();
    let mut worst = Worst::new();
    worst.holds(norm(&difference) > 1e-9 * norm(&here) && cosine(&here, &there) < 1.0 - 1e-13);
    // Twice the logits: the plain gradient is four times as large, the natural one the same.
    let double = Array2::<f64>::eye(case.logits.len()) * 2.0;
    worst.all(&case.plain_through(&double), &scaled(case.gradient(), 4.0));
    worst.all(&case.policy_change(&case.through(&double)), &case.gradient());
    worst.done()
}

fn orthogonal_coordinates(case: Coordinates) -> Measured {
    let mut worst = Worst::new();
    worst.all(&case.plain_through(&case.rotation), &case.gradient());
    worst.all(&case.policy_change(&case.through(&case.rotation)), &case.gradient());
    worst.done()
}

// ng.softmax-advantage

/// A process and a policy that visits every state and takes every action often enough for a pseudo-inverse.
fn well_visited() -> impl Strategy<Value = (Mdp, Policy)> + Clone + Send + Sync {
    mdp_and_policy(0.99).prop_filter(
        "a state is hardly visited or an action hardly taken",
        |(mdp, policy)| {
            occupancy(mdp, policy).iter().all(|&d| d >= 1e-3) && policy.iter().all(|&pi| pi >= 1e-3)
        },
    )
}

fn closed_form(mdp: &Mdp, policy: &Policy) -> Array2<f64> {
    let mut out = Array2::from_elem(policy.dim(), f64::NAN);
    natural_gradient::tabular_softmax(&advantage(mdp, policy), mdp.gamma, &mut out);
    out
}

/// `d(s) pi(a | s) A(s, a) / (1 - gamma)`.
fn exact_gradient(mdp: &Mdp, policy: &Policy) -> Array2<f64> {
    let (d, a) = (occupancy(mdp, policy), advantage(mdp, policy));
    Array2::from_shape_fn(policy.dim(), |(s, j)| d[s] * policy[[s, j]] * a[[s, j]] / (1.0 - mdp.gamma))
}

fn assembled(mdp: &Mdp, policy: &Policy) -> Array2<f64> {
    let mut f = Array2::from_elem((policy.len(), policy.len()), f64::NAN);
    fisher::tabular(&occupancy(mdp, policy), policy, &mut f);
    f
}

fn softmax_pseudo_inverse((mdp, policy): (Mdp, Policy)) -> Measured {
    let gradient: Vec<f64> = exact_gradient(&mdp, &policy).into_iter().collect();
    let mut left = vec![f64::NAN; policy.len()];
    natural_gradient::natural_gradient(&assembled(&mdp, &policy), &gradient, &mut left)
        .map_err(|refused| refused.to_string())?;
    let right: Vec<f64> = closed_form(&mdp, &policy).into_iter().collect();
    let mut worst = Worst::new();
    super::bellman::all_solved(&mut worst, &left, &right, mdp.gamma);
    worst.done()
}

fn softmax_any_policy((mdp, policy): (Mdp, Policy)) -> Measured {
    let x = closed_form(&mdp, &policy);
    let gradient: Vec<f64> = exact_gradient(&mdp, &policy).into_iter().collect();
    let product = times(&assembled(&mdp, &policy), &x.iter().copied().collect::<Vec<f64>>());
    let mut worst = Worst::new();
    super::bellman::all_solved(&mut worst, &product, &gradient, mdp.gamma);
    let scale = x.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
    for row in x.rows() {
        worst.scaled(row.sum(), 0.0, scale);
    }
    worst.done()
}

fn softmax_gradient((mdp, policy): (Mdp, Policy)) -> Measured {
    let x: Vec<f64> = closed_form(&mdp, &policy).into_iter().collect();
    let product = times(&assembled(&mdp, &policy), &x);
    let logits: Vec<f64> = policy.iter().map(|pi| pi.ln()).collect();
    let actions = mdp.actions();
    let objective = |z: &[f64]| {
        let pi: Vec<f64> = z.chunks_exact(actions).flat_map(naive_softmax).collect();
        let policy = Array2::from_shape_vec(policy.dim(), pi).expect("S rows");
        dot(&policy_value(&mdp, &policy), &mdp.mu.to_vec())
    };
    Worst::new().gradient(&product, &gradient(objective, &logits)).done()
}

/// One state, two actions with probabilities 0.8 and 0.2 that pay 1 and 0.
fn softmax_bandit() -> Measured {
    let mut out = Array2::zeros((1, 2));
    natural_gradient::tabular_softmax(&ndarray::array![[0.2, -0.8]], 0.0, &mut out);
    let mut f = Array2::zeros((2, 2));
    fisher::softmax(&[0.8, 0.2], &mut f);
    let mut x = [0.0; 2];
    natural_gradient::natural_gradient(&f, &[0.16, -0.16], &mut x).map_err(|refused| refused.to_string())?;
    let mut worst = Worst::new();
    worst.printed(out[[0, 0]], 0.5, 10).printed(out[[0, 1]], -0.5, 10);
    worst.printed(x[0], 0.5, 10).printed(x[1], -0.5, 10);
    worst.done()
}
