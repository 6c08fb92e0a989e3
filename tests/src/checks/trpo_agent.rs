//! What a trust-region agent computes: `cg.*`, `trpo.step`, `trpo.line-search`.
//!
//! Conjugate gradients are compared with Gaussian elimination. Fisher products run through the flat network with its jvp and
//! backward passes; the other side is one loop per sum, central differences, and the explicit matrix. Steps and line searches
//! are compared with the conditions recomputed from the definition.

mod training;

use crate::generators::{normal, normals};
use crate::measure::{EXACT, TOL_ID, TOL_INEQ, TOL_STAT, Worst};
use crate::oracles::{gradient, jacobian, solve, transpose};
use crate::{Check, fixed, random};
use ndarray::{Array2, ArrayRef2, s};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::{Real, Stream, beta};
use rederive_nn::{Activation, Mlp};
use rederive_trpo::Law;
use rederive_trpo::conjugate_gradient::{ConjugateGradient, Limits, Solved, Stop};
use rederive_trpo::fisher::{self, MlpJacobian};
use rederive_trpo::line_search::{Backtracking, Trial, line_search};
use rederive_trpo::step;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    let mut checks = vec![
        random("cg.solve", "definition", 1e-8, system(30.0), |system| cg_definition(system, 0)),
        // Here rounding takes a step more: of 100,000 systems of eight unknowns, two miss 1e-6 after eight steps, and
        // none misses 2e-9 after nine.
        random("cg.solve", "one-more-step", 1e-8, system(100.0), |system| cg_definition(system, 1)),
        random("cg.solve", "ill-conditioned", 1e-6, system(1e4), cg_ill_conditioned),
        random("cg.solve", "monotone", TOL_INEQ, system(1e4), cg_monotone),
        random("cg.solve", "orthogonal-residuals", 1e-6, system(100.0), cg_orthogonal),
        random("cg.solve", "preconditioned", 1e-6, (system(30.0), vec(0.3..=3.0f64, 8)), cg_preconditioned),
        random("cg.solve", "early-stop", 1e-9, (system(100.0), 1e-6..=0.9f64), cg_early_stop),
        random("cg.solve", "singular", 1e-6, (system(30.0), 1..=7usize, any::<bool>()), cg_singular),
        random("cg.solve", "single-precision", 2e-3, system(100.0), cg_single_precision),
        fixed("cg.solve", "edges", EXACT, cg_edges),
        random("cg.fisher-product", "explicit", 1e-5, policy(), product_explicit),
        random("cg.fisher-product", "divergence", 1e-5, policy(), product_divergence),
        random("cg.fisher-product", "damping", TOL_ID, (policy(), 0.0..=2.0f64), product_damping),
        random("cg.fisher-product", "semidefinite", TOL_ID, policy(), product_semidefinite),
        random("cg.fisher-product", "single-precision", 1e-4, policy(), product_single_precision),
        fixed("cg.fisher-product", "diagonal", TOL_STAT, diagonal_estimate),
        fixed("cg.fisher-product", "diagonal-continuous", TOL_STAT, diagonal_of_continuous),
        random("trpo.step", "model", TOL_ID, (system(100.0), 1e-4..=0.5f64), step_model),
        random("trpo.step", "remainder", TOL_STAT, biased_softmax(), step_remainder),
        fixed("trpo.step", "closed", TOL_STAT, step_closed),
        random("trpo.step", "abort", EXACT, (normals(4), -9.0..=0.0f64, 1e-3..=0.1f64), step_abort),
        random("trpo.line-search", "definition", EXACT, search(), search_definition),
        random("trpo.line-search", "natural-step", TOL_INEQ, search(), search_natural_step),
        fixed("trpo.line-search", "overshoot", TOL_STAT, search_overshoot),
        random("trpo.line-search", "edges", EXACT, search(), search_edges),
    ];
    checks.extend(training::checks());
    checks
}

// cg.solve

/// A symmetric positive definite matrix with known eigenvectors, and a right side.
#[derive(Clone, Debug)]
struct System {
    eigenvalues: Vec<f64>,
    /// Orthonormal, one per row.
    vectors: Vec<Vec<f64>>,
    b: Vec<f64>,
}

fn system(condition: f64) -> impl Strategy<Value = System> + Clone + Send + Sync {
    (1..=8usize, vec(0.0..=1.0f64, 8), -2.0..=2.0f64, normals(64), normals(8)).prop_map(
        move |(n, logs, scale, entries, b)| {
            let mut vectors: Vec<Vec<f64>> = Vec::new();
            for i in 0..n {
                let mut v = entries[8 * i..8 * i + n].to_vec();
                // Keeps a degenerate draw from being a zero vector; twice, against what rounding leaves of the others.
                v[i] += 4.0;
                for _ in 0..2 {
                    for u in &vectors {
                        let along = dot(u, &v);
                        v.iter_mut().zip(u).for_each(|(v, u)| *v -= along * u);
                    }
                }
                let norm = dot(&v, &v).sqrt();
                v.iter_mut().for_each(|x| *x /= norm);
                vectors.push(v);
            }
            let eigenvalues = logs[..n].iter().map(|l| 10f64.powf(scale) * condition.powf(*l)).collect();
            System { eigenvalues, vectors, b: b[..n].to_vec() }
        },
    )
}

impl System {
    fn n(&self) -> usize {
        self.b.len()
    }

    fn matrix(&self) -> Vec<Vec<f64>> {
        let entry = |i: usize, j: usize| {
            self.eigenvalues.iter().zip(&self.vectors).map(|(l, v)| l * v[i] * v[j]).sum::<f64>()
        };
        (0..self.n()).map(|i| (0..self.n()).map(|j| entry(i, j)).collect()).collect()
    }

    /// Conjugate gradients from 0 with at most so many steps.
    fn solve<F: Real>(
        &self,
        matrix: &[Vec<f64>],
        max_iterations: usize,
        tolerance: f64,
        inverse_diagonal: Option<&[F]>,
    ) -> (Vec<F>, Solved) {
        let matrix: Vec<Vec<F>> = matrix.iter().map(|row| cast(row)).collect();
        let mut x = vec![F::of(9.0); self.n()];
        let product = |v: &[F], out: &mut [F]| {
            for (o, row) in out.iter_mut().zip(&matrix) {
                *o = row.iter().zip(v).map(|(&m, &v)| m * v).sum();
            }
        };
        let limits = Limits { max_iterations, tolerance };
        let mut solver = ConjugateGradient::new(self.n());
        let solved = solver.solve(product, &cast(&self.b), inverse_diagonal, limits, &mut x);
        (x, solved)
    }
}

fn cast<F: Real>(x: &[f64]) -> Vec<F> {
    x.iter().map(|&x| F::of(x)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn times(matrix: &[Vec<f64>], v: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| dot(row, v)).collect()
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// `|a - b| / |b|`, 0 for two zeros.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let (d, norm) = (minus(a, b), dot(b, b).sqrt());
    let d = dot(&d, &d).sqrt();
    if d == 0.0 { 0.0 } else { d / norm }
}

/// Against Gaussian elimination after `n` steps.
fn cg_definition(system: System, extra_steps: usize) -> crate::Measured {
    let matrix = system.matrix();
    let steps = system.n() + extra_steps;
    let (x, solved) = system.solve::<f64>(&matrix, steps, 0.0, None);
    let mut worst = Worst::new();
    worst.add(distance(&x, &solve(matrix, system.b.clone())));
    worst.holds(solved.stop != Stop::Breakdown && solved.iterations <= steps);
    worst.done()
}

/// Rounding costs more steps where the condition is worse.
fn cg_ill_conditioned(system: System) -> crate::Measured {
    let matrix = system.matrix();
    let (x, solved) = system.solve::<f64>(&matrix, 3 * system.n(), 1e-14, None);
    let mut worst = Worst::new();
    worst.add(distance(&x, &solve(matrix, system.b.clone())));
    worst.holds(solved.residual <= 1e-14 || solved.iterations == 3 * system.n());
    worst.done()
}

/// The error never grows in the norm of the matrix.
fn cg_monotone(system: System) -> crate::Measured {
    let matrix = system.matrix();
    let exact = solve(matrix.clone(), system.b.clone());
    let scale = dot(&exact, &times(&matrix, &exact)).max(f64::MIN_POSITIVE);
    let mut before = f64::INFINITY;
    let mut worst = Worst::new();
    for k in 0..=system.n() {
        let (x, _) = system.solve::<f64>(&matrix, k, 0.0, None);
        let error = minus(&x, &exact);
        let error = dot(&error, &times(&matrix, &error)) / scale;
        worst.at_most(error, before);
        before = error;
    }
    worst.done()
}

/// Residuals at right angles to each other, as far as rounding lets them: what it leaves of one along another is measured
/// against the first residual, so that the smaller a residual, the less is asked of its direction.
fn cg_orthogonal(system: System) -> crate::Measured {
    let matrix = system.matrix();
    let norm_b = dot(&system.b, &system.b).sqrt();
    let mut worst = Worst::new();
    let mut residuals: Vec<Vec<f64>> = Vec::new();
    for k in 0..system.n() {
        let (x, _) = system.solve::<f64>(&matrix, k, 0.0, None);
        let mut r = minus(&system.b, &times(&matrix, &x));
        for earlier in &residuals {
            worst.add(dot(earlier, &r).abs() / norm_b);
        }
        let norm = dot(&r, &r).sqrt();
        if norm == 0.0 {
            break;
        }
        r.iter_mut().for_each(|r| *r /= norm);
        residuals.push(r);
    }
    worst.done()
}

/// With a diagonal preconditioner `D` the iterates are `D^(1/2) y`, those of `D^(1/2) A D^(1/2) y = D^(1/2) b`.
fn cg_preconditioned((system, diagonal): (System, Vec<f64>)) -> crate::Measured {
    let (matrix, n) = (system.matrix(), system.n());
    let root: Vec<f64> = diagonal[..n].iter().map(|d| d.sqrt()).collect();
    let changed = System { b: system.b.iter().zip(&root).map(|(b, d)| b * d).collect(), ..system.clone() };
    let changed_matrix: Vec<Vec<f64>> =
        (0..n).map(|i| (0..n).map(|j| root[i] * matrix[i][j] * root[j]).collect()).collect();
    let mut worst = Worst::new();
    for k in 0..=n {
        let (x, _) = system.solve::<f64>(&matrix, k, 0.0, Some(&diagonal[..n]));
        let (y, _) = changed.solve::<f64>(&changed_matrix, k, 0.0, None);
        let y: Vec<f64> = y.iter().zip(&root).map(|(y, d)| y * d).collect();
        worst.add(distance(&x, &y));
    }
    let (x, _) = system.solve::<f64>(&matrix, 3 * n, 1e-14, Some(&diagonal[..n]));
    worst.add(distance(&x, &solve(matrix, system.b.clone())));
    worst.done()
}

/// It stops at the first residual that is small enough, and reports the true one.
fn cg_early_stop((system, tolerance): (System, f64)) -> crate::Measured {
    let matrix = system.matrix();
    let (x, solved) = system.solve::<f64>(&matrix, 5 * system.n(), tolerance, None);
    let r = minus(&system.b, &times(&matrix, &x));
    let mut worst = Worst::new();
    worst.holds(solved.stop == Stop::Converged && solved.residual <= tolerance);
    if dot(&system.b, &system.b) > 0.0 {
        worst.same((dot(&r, &r) / dot(&system.b, &system.b)).sqrt(), solved.residual);
    }
    for k in 0..solved.iterations {
        let (_, earlier) = system.solve::<f64>(&matrix, k, tolerance, None);
        worst.holds(earlier.residual > tolerance && earlier.stop == Stop::Limit && earlier.iterations == k);
    }
    worst.done()
}

/// Without full rank: the solution of least norm where there is one; otherwise iterates that only ever lower
/// `x^T A x / 2 - b^T x`, and an end before the part of the right side that can't be reached runs away with them.
fn cg_singular((mut system, rank, in_range): (System, usize, bool)) -> crate::Measured {
    let (n, rank) = (system.n(), rank.min(system.n()));
    system.eigenvalues[rank..].fill(0.0);
    let (mut least_norm, mut inside) = (vec![0.0; n], vec![0.0; n]);
    for (v, l) in system.vectors.iter().zip(&system.eigenvalues).take(rank) {
        let along = dot(v, &system.b);
        for i in 0..n {
            least_norm[i] += along / l * v[i];
            inside[i] += along * v[i];
        }
    }
    let mut worst = Worst::new();
    let square = dot(&system.b, &system.b);
    let reachable = dot(&inside, &inside) / square;
    let matrix = system.matrix();
    if in_range {
        system.b = inside;
        let (x, _) = system.solve::<f64>(&matrix, 3 * n, 1e-12, None);
        worst.add(distance(&x, &least_norm));
    } else if reachable > 0.1 && reachable < 0.9 {
        let mut before = 0.0;
        for k in 1..=3 * n {
            let (x, solved) = system.solve::<f64>(&matrix, k, 1e-12, None);
            // The first step's length; later ones grow as the curvature falls, but not beyond what rounding leaves of it.
            let first = square.sqrt() * square / dot(&system.b, &times(&matrix, &system.b));
            let length = dot(&x, &x).sqrt() / first;
            worst.holds(length <= 1e14);
            if length < 1e5 {
                let value = 0.5 * dot(&x, &times(&matrix, &x)) - dot(&system.b, &x);
                worst.at_most(value, before).at_most(0.0, dot(&system.b, &x));
                before = value;
            }
            worst.holds(k < 3 * n || solved.stop == Stop::Breakdown);
        }
    }
    worst.done()
}

/// The same in `f32`.
fn cg_single_precision(system: System) -> crate::Measured {
    let matrix = system.matrix();
    let (x, _) = system.solve::<f32>(&matrix, 3 * system.n(), 1e-7, None);
    let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let mut worst = Worst::new();
    worst.add(distance(&x, &solve(matrix, system.b.clone())));
    worst.done()
}

fn cg_edges(_: u64) -> crate::Measured {
    let identity = |n: usize| -> Vec<Vec<f64>> {
        (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect()
    };
    let mut worst = Worst::new();
    for n in 1..=8 {
        let system = System {
            eigenvalues: vec![1.0; n],
            vectors: identity(n),
            b: (0..n).map(|i| i as f64 - 2.5).collect(),
        };
        let (x, solved) = system.solve::<f64>(&identity(n), 9, 0.0, None);
        worst.holds(x == system.b && solved.iterations == 1 && solved.stop == Stop::Converged);
        let zero = System { b: vec![0.0; n], ..system };
        let (x, solved) = zero.solve::<f64>(&identity(n), 9, 0.0, None);
        worst.holds(x == zero.b && solved.iterations == 0 && solved.residual == 0.0);
        let (x, solved) = zero.solve::<f64>(&vec![vec![f64::NAN; n]; n], 9, 0.0, None);
        worst.holds(x == zero.b && solved.stop == Stop::Converged);
    }
    // Negative curvature in the second direction: the first step is kept.
    let indefinite = System { eigenvalues: vec![4.0, -1.0], vectors: identity(2), b: vec![2.0, 1.0] };
    let (x, solved) = indefinite.solve::<f64>(&indefinite.matrix(), 9, 0.0, None);
    worst.holds(solved.stop == Stop::Breakdown && solved.iterations == 1 && x == [2.0 / 3.0, 1.0 / 3.0]);
    worst.done()
}

// cg.fisher-product

/// A small policy on a batch of states, and two directions.
#[derive(Clone, Debug)]
struct Policy {
    head: Head,
    sizes: Vec<usize>,
    /// The network's parameters, then the log standard deviations of a Gaussian.
    params: Vec<f64>,
    x: Array2<f64>,
    v: Vec<f64>,
    u: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Head {
    Categorical,
    Gaussian,
    Beta,
}

fn policy() -> impl Strategy<Value = Policy> + Clone + Send + Sync {
    let head = prop_oneof![Just(Head::Categorical), Just(Head::Gaussian), Just(Head::Beta)];
    (head, vec(1..=4usize, 1..=3), 1..=3usize, 1..=6usize, any::<u64>()).prop_map(
        |(head, mut sizes, dims, rows, seed)| {
            let outputs = match head {
                Head::Categorical => dims + 1,
                Head::Gaussian => dims,
                Head::Beta => 2 * dims.min(2),
            };
            sizes.push(outputs);
            let own = if head == Head::Gaussian { dims } else { 0 };
            let count = Mlp::new(&sizes, Activation::Tanh).num_params() + own;
            let mut rng = Stream::new(seed, "policy", 0);
            let mut draw = |n: usize| (0..n).map(|_| 0.7 * rng.normal()).collect::<Vec<f64>>();
            let (params, v, u) = (draw(count), draw(count), draw(count));
            let x = Array2::from_shape_vec((rows, sizes[0]), draw(rows * sizes[0]))
                .expect("as many as the shape");
            Policy { head, sizes, params, x, v, u }
        },
    )
}

impl Policy {
    fn dims(&self) -> usize {
        let outputs = self.sizes[self.sizes.len() - 1];
        if self.head == Head::Beta { outputs / 2 } else { outputs }
    }

    /// The outputs in one state, one loop per sum.
    fn outputs(&self, params: &[f64], row: usize) -> Vec<f64> {
        let mut h = self.x.row(row).to_vec();
        let mut at = 0;
        for (l, s) in self.sizes.windows(2).enumerate() {
            let bias = at + s[0] * s[1];
            let mut next: Vec<f64> = (0..s[1])
                .map(|j| params[bias + j] + (0..s[0]).map(|i| h[i] * params[at + i * s[1] + j]).sum::<f64>())
                .collect();
            if l + 2 < self.sizes.len() {
                next.iter_mut().for_each(|x| *x = x.tanh());
            }
            (h, at) = (next, bias + s[1]);
        }
        h
    }

    /// The numbers that the distribution in one state takes: outputs, then log standard deviations.
    fn distribution(&self, params: &[f64], row: usize) -> Vec<f64> {
        let mut z = self.outputs(params, row);
        if self.head == Head::Gaussian {
            z.extend_from_slice(&params[params.len() - self.dims()..]);
        }
        z
    }

    /// The Fisher matrix in these numbers.
    fn information(&self, z: &[f64]) -> Vec<Vec<f64>> {
        let n = z.len();
        let mut f = vec![vec![0.0; n]; n];
        match self.head {
            Head::Categorical => {
                // The mean over all actions of the scores' outer products.
                let p = softmax(z);
                for (a, &pa) in p.iter().enumerate() {
                    let score: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i == a)) - p[i]).collect();
                    for i in 0..n {
                        for j in 0..n {
                            f[i][j] += pa * score[i] * score[j];
                        }
                    }
                }
            }
            Head::Gaussian => {
                let dims = n / 2;
                for d in 0..dims {
                    f[d][d] = 1.0 / (2.0 * z[dims + d]).exp();
                    f[dims + d][dims + d] = 2.0;
                }
            }
            Head::Beta => {
                let dims = n / 2;
                let slope = |z: f64| 1.0 / (1.0 + (-z).exp());
                for d in 0..dims {
                    let (a, b) = (softplus(z[d]) + 1.0, softplus(z[dims + d]) + 1.0);
                    let at = [d, dims + d];
                    let slopes = [slope(z[d]), slope(z[dims + d])];
                    // E[score score^T] by quadrature: the scores are log u and log (1 - u) less their means.
                    let moment = |g: &dyn Fn(f64, f64) -> f64| {
                        crate::oracles::unit_integral(|u, w| {
                            let weight = ((a - 1.0) * u.ln() + (b - 1.0) * w.ln()).exp();
                            if weight == 0.0 { 0.0 } else { weight * g(u.ln(), w.ln()) }
                        })
                    };
                    let total = moment(&|_, _| 1.0);
                    let means = [moment(&|u, _| u) / total, moment(&|_, w| w) / total];
                    for i in 0..2 {
                        for j in 0..2 {
                            let cross = moment(&|u, w| {
                                let s = [u - means[0], w - means[1]];
                                s[i] * s[j]
                            });
                            f[at[i]][at[j]] = slopes[i] * slopes[j] * cross / total;
                        }
                    }
                }
            }
        }
        f
    }

    /// The explicit Fisher matrix, with the Jacobian by central differences.
    fn fisher(&self) -> Vec<Vec<f64>> {
        let n = self.params.len();
        let mut total = vec![vec![0.0; n]; n];
        for row in 0..self.x.nrows() {
            let j = jacobian(|p| self.distribution(p, row), &self.params);
            let f = self.information(&self.distribution(&self.params, row));
            let fj: Vec<Vec<f64>> = f.iter().map(|f| times(&transpose(&j), f)).collect();
            for a in 0..n {
                for b in 0..n {
                    let entry: f64 = j.iter().zip(&fj).map(|(j, fj)| j[a] * fj[b]).sum();
                    total[a][b] += entry / self.x.nrows() as f64;
                }
            }
        }
        total
    }

    /// `mean KL(policy || policy with other parameters)`.
    fn mean_kl(&self, other: &[f64]) -> f64 {
        let rows = self.x.nrows();
        let kl = |row: usize| {
            let (z, y) = (self.distribution(&self.params, row), self.distribution(other, row));
            let dims = self.dims();
            match self.head {
                Head::Categorical => {
                    let (p, q) = (softmax(&z), softmax(&y));
                    p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum::<f64>()
                }
                Head::Gaussian => (0..dims)
                    .map(|d| {
                        let (s, t) = (z[dims + d], y[dims + d]);
                        t - s + ((2.0 * s).exp() + (z[d] - y[d]).powi(2)) / (2.0 * (2.0 * t).exp()) - 0.5
                    })
                    .sum(),
                Head::Beta => {
                    let shape = |z: &[f64]| z.iter().map(|&z| softplus(z) + 1.0).collect::<Vec<f64>>();
                    let (old, new) = (shape(&z), shape(&y));
                    beta::kl(&old[..dims], &old[dims..], &new[..dims], &new[dims..])
                }
            }
        };
        (0..rows).map(kl).sum::<f64>() / rows as f64
    }

    /// The product under test.
    fn product<F: Real>(&self, v: &[f64], damping: f64) -> Vec<f64> {
        let mut out = vec![F::of(9.0); v.len()];
        self.with_law::<F, _>(|law, jacobian, tangent| {
            fisher::product(law, jacobian, &cast(v), F::of(damping), tangent, &mut out);
        });
        out.iter().map(|&x| Real::to_f64(x)).collect()
    }

    fn with_law<F: Real, T>(
        &self,
        f: impl FnOnce(&Law<F>, &mut MlpJacobian<'_, F>, &mut ArrayRef2<F>) -> T,
    ) -> T {
        let mlp = Mlp::new(&self.sizes, Activation::Tanh);
        let params: Vec<F> = cast(&self.params);
        let (network, log_std) = params.split_at(mlp.num_params());
        let x = self.x.mapv(F::of);
        let mut workspace = mlp.workspace(x.nrows());
        let mut tangent = mlp.forward(network, &x, &mut workspace).to_owned();
        let mut law = match self.head {
            Head::Categorical => Law::categorical(self.dims()),
            Head::Gaussian => Law::gaussian(),
            Head::Beta => Law::beta(self.dims()),
        };
        law.set(tangent.as_slice().expect("contiguous"), log_std);
        let mut jacobian = MlpJacobian { mlp: &mlp, params: network, x: &x, workspace: &mut workspace };
        f(&law, &mut jacobian, &mut tangent)
    }
}

fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

fn softmax(z: &[f64]) -> Vec<f64> {
    let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = z.iter().map(|z| (z - max).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.iter().map(|e| e / sum).collect()
}

/// Against the matrix itself.
fn product_explicit(policy: Policy) -> crate::Measured {
    let mut worst = Worst::new();
    worst.gradient(&policy.product::<f64>(&policy.v, 0.0), &times(&policy.fisher(), &policy.v));
    worst.done()
}

/// Against second differences of the divergence: the derivative of its gradient along `v`.
fn product_divergence(policy: Policy) -> crate::Measured {
    let h = 1e-4;
    let shifted = |along: f64, i: usize, by: f64| {
        let mut p: Vec<f64> = policy.params.iter().zip(&policy.v).map(|(p, v)| p + along * v).collect();
        p[i] += by;
        policy.mean_kl(&p)
    };
    let second: Vec<f64> = (0..policy.params.len())
        .map(|i| {
            (shifted(h, i, h) - shifted(h, i, -h) - shifted(-h, i, h) + shifted(-h, i, -h)) / (4.0 * h * h)
        })
        .collect();
    let mut worst = Worst::new();
    worst.gradient(&policy.product::<f64>(&policy.v, 0.0), &second);
    // The divergence that the line search takes.
    let moved: Vec<f64> = policy.params.iter().zip(&policy.v).map(|(p, v)| p + 0.3 * v).collect();
    let other = Policy { params: moved.clone(), ..policy.clone() };
    let kl = policy.with_law::<f64, _>(|law, _, _| {
        let outputs: Vec<f64> = (0..policy.x.nrows()).flat_map(|row| other.outputs(&moved, row)).collect();
        law.mean_kl(&outputs, &moved[moved.len() - law.own_params()..])
    });
    let scale = policy.mean_kl(&moved);
    worst.add((kl - scale).abs() / (1.0 + scale) * 1e5);
    worst.done()
}

/// Damping adds `c v`, and nothing gives nothing.
fn product_damping((policy, damping): (Policy, f64)) -> crate::Measured {
    let plain = policy.product::<f64>(&policy.v, 0.0);
    let want: Vec<f64> = plain.iter().zip(&policy.v).map(|(f, v)| f + damping * v).collect();
    let mut worst = Worst::new();
    worst.all(&policy.product::<f64>(&policy.v, damping), &want);
    worst.holds(policy.product::<f64>(&vec![0.0; policy.v.len()], damping).iter().all(|&x| x == 0.0));
    worst.done()
}

/// Symmetric, never negative, and blind to what moves all logits together.
fn product_semidefinite(policy: Policy) -> crate::Measured {
    let (fv, fu) = (policy.product::<f64>(&policy.v, 0.0), policy.product::<f64>(&policy.u, 0.0));
    let mut worst = Worst::new();
    worst.scaled(dot(&policy.u, &fv), dot(&policy.v, &fu), dot(&fv, &fv).max(dot(&fu, &fu)));
    worst.at_most(0.0, dot(&policy.v, &fv));
    if policy.head == Head::Categorical {
        let mut shift = vec![0.0; policy.v.len()];
        let biases = shift.len() - policy.dims();
        shift[biases..].fill(1.0);
        let image = policy.product::<f64>(&shift, 0.0);
        worst.all(&image, &vec![0.0; image.len()]);
    }
    worst.done()
}

/// The same in `f32`.
fn product_single_precision(policy: Policy) -> crate::Measured {
    let mut worst = Worst::new();
    worst.gradient(&policy.product::<f32>(&policy.v, 0.1), &policy.product::<f64>(&policy.v, 0.1));
    worst.done()
}

/// The estimate of the diagonal is unbiased: four states in blocks of two, all pairs of actions listed.
fn diagonal_estimate(seed: u64) -> crate::Measured {
    let mut rng = Stream::new(seed, "diagonal", 0);
    let sizes = vec![2, 3, 3];
    let mlp = Mlp::new(&sizes, Activation::Tanh);
    let mut draw = |n: usize| (0..n).map(|_| rng.normal()).collect::<Vec<f64>>();
    let policy = Policy {
        head: Head::Categorical,
        params: draw(mlp.num_params()),
        x: Array2::from_shape_vec((4, 2), draw(8)).expect("as many as the shape"),
        v: Vec::new(),
        u: Vec::new(),
        sizes,
    };
    let n = policy.params.len();
    let repeats = 4000;
    let mut mean = vec![0.0; n];
    let mut probe = Stream::new(seed, "probe", 0);
    let (mut room, mut grad, mut out) = (Array2::zeros((2, 3)), vec![0.0; n], vec![0.0; n]);
    policy.with_law::<f64, _>(|law, jacobian, _| {
        for _ in 0..repeats {
            let vjp = |rows: std::ops::Range<usize>, d_out: &ArrayRef2<f64>, grad: &mut [f64]| {
                let x = jacobian.x.slice(s![rows, ..]);
                jacobian.mlp.forward(jacobian.params, &x, jacobian.workspace);
                jacobian.mlp.backward(jacobian.params, &x, d_out, jacobian.workspace, grad);
            };
            fisher::diagonal(law, 4, vjp, &mut probe, &mut room, &mut grad, &mut out);
            mean.iter_mut().zip(&out).for_each(|(m, o)| *m += o / f64::from(repeats));
        }
    });
    let log_prob = |p: &[f64], row: usize, a: usize| softmax(&policy.outputs(p, row))[a].ln();
    let score = |row: usize, a: usize| gradient(|p| log_prob(p, row, a), &policy.params);
    let scores: Vec<Vec<Vec<f64>>> = (0..4).map(|row| (0..3).map(|a| score(row, a)).collect()).collect();
    let pi: Vec<Vec<f64>> = (0..4).map(|row| softmax(&policy.outputs(&policy.params, row))).collect();
    let fisher = policy.fisher();
    let mut worst = Worst::new();
    for i in 0..n {
        let mut variance = 0.0;
        for block in [0, 2] {
            let moment = |power: i32| -> f64 {
                let pairs = (0..3).flat_map(|a| (0..3).map(move |b| (a, b)));
                pairs
                    .map(|(a, b)| {
                        let u = scores[block][a][i] + scores[block + 1][b][i];
                        pi[block][a] * pi[block + 1][b] * u.powi(power)
                    })
                    .sum()
            };
            variance += (moment(4) - moment(2).powi(2)) / 16.0;
        }
        // Central differences are good to 1e-6, which is far below the statistical error.
        worst.add(
            (mean[i] - fisher[i][i]).abs() / (5.0 * (variance.max(0.0) / f64::from(repeats)).sqrt() + 1e-6),
        );
    }
    worst.done()
}

/// The same for continuous actions. What is drawn there for the network's outputs is a Gaussian vector, so that the square of a
/// block's sum has twice the square of its mean for variance; that of a log standard deviation is a sum of `z^2 - 1`.
fn diagonal_of_continuous(seed: u64) -> crate::Measured {
    let repeats = 4000;
    let mut worst = Worst::new();
    for (head, outputs) in [(Head::Gaussian, 2), (Head::Beta, 4)] {
        let mut rng = Stream::new(seed, "diagonal", outputs as u64);
        let sizes = vec![2, 3, outputs];
        let own = if head == Head::Gaussian { outputs } else { 0 };
        let network = Mlp::new(&sizes, Activation::Tanh).num_params();
        let mut draw = |n: usize| (0..n).map(|_| rng.normal()).collect::<Vec<f64>>();
        let policy = Policy {
            head,
            params: draw(network + own),
            x: Array2::from_shape_vec((4, 2), draw(8)).expect("as many as the shape"),
            v: Vec::new(),
            u: Vec::new(),
            sizes,
        };
        let n = policy.params.len();
        let mut mean = vec![0.0; n];
        let mut probe = Stream::new(seed, "probe", 0);
        let (mut room, mut grad, mut out) = (Array2::zeros((2, outputs)), vec![0.0; n], vec![0.0; n]);
        policy.with_law::<f64, _>(|law, jacobian, _| {
            for _ in 0..repeats {
                let vjp = |rows: std::ops::Range<usize>, d_out: &ArrayRef2<f64>, grad: &mut [f64]| {
                    let x = jacobian.x.slice(s![rows, ..]);
                    jacobian.mlp.forward(jacobian.params, &x, jacobian.workspace);
                    jacobian.mlp.backward(jacobian.params, &x, d_out, jacobian.workspace, grad);
                };
                fisher::diagonal(law, 4, vjp, &mut probe, &mut room, &mut grad, &mut out);
                mean.iter_mut().zip(&out).for_each(|(m, o)| *m += o / f64::from(repeats));
            }
        });
        let block = |from: usize| {
            let x = policy.x.slice(s![from..from + 2, ..]).to_owned();
            Policy { x, ..policy.clone() }.fisher()
        };
        let blocks = [block(0), block(2)];
        for i in 0..n {
            // Each of the two blocks' matrices is a mean over two states of four.
            let (a, b) = (2.0 * blocks[0][i][i], 2.0 * blocks[1][i][i]);
            // E (z^2 - 1)^4 = 60 and E (z^2 - 1)^2 = 2: of the sum of two, 2 60 + 6 2 2 - 4^2.
            let variance = if i < network { 2.0 * (a * a + b * b) } else { 2.0 * 128.0 } / 16.0;
            worst.add(
                (mean[i] - 0.25 * (a + b)).abs() / (5.0 * (variance / f64::from(repeats)).sqrt() + 1e-6),
            );
        }
    }
    worst.done()
}

// trpo.step

/// The model's divergence is the radius, and no other direction on the boundary gains more.
fn step_model((system, target_kl): (System, f64)) -> crate::Measured {
    let matrix = system.matrix();
    let mut worst = Worst::new();
    if dot(&system.b, &system.b) == 0.0 {
        return worst.done();
    }
    let natural = solve(matrix.clone(), system.b.clone());
    let mut d = natural.clone();
    let curvature = dot(&natural, &times(&matrix, &natural));
    let factor = step::trust_region(&mut d, curvature, target_kl);
    worst.holds(factor.is_some());
    worst.add((0.5 * dot(&d, &times(&matrix, &d)) - target_kl).abs() / target_kl);
    worst.add((step::model_kl(curvature, factor.unwrap_or(f64::NAN)) - target_kl).abs() / target_kl);
    let best = (2.0 * target_kl * dot(&system.b, &natural)).sqrt();
    worst.scaled(dot(&system.b, &d), best, best);
    for v in &system.vectors {
        let length = (2.0 * target_kl / dot(v, &times(&matrix, v))).sqrt();
        worst.at_most((length * dot(v, &system.b)).abs() / best, 1.0);
    }
    worst.done()
}

/// Logits and a direction whose third cumulant is not small, so that the cubic term of the divergence is seen.
fn biased_softmax() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> + Clone + Send + Sync {
    (2..=5usize, normals(5), normals(5)).prop_map(|(n, z, d)| (z[..n].to_vec(), d[..n].to_vec())).prop_filter(
        "no cubic term",
        |(z, d)| {
            let p = softmax(z);
            let mean = dot(&p, d);
            let cumulant = |k: i32| p.iter().zip(d).map(|(p, d)| p * (d - mean).powi(k)).sum::<f64>();
            cumulant(2) > 1e-2 * dot(d, d) && cumulant(3).abs() >= 0.3 * cumulant(2).powf(1.5)
        },
    )
}

/// `true KL - Delta` falls with the 3/2-th power: by 8 where the radius falls by 4.
fn step_remainder((z, direction): (Vec<f64>, Vec<f64>)) -> crate::Measured {
    let p = softmax(&z);
    let mean = dot(&p, &direction);
    let curvature: f64 = p.iter().zip(&direction).map(|(p, d)| p * (d - mean).powi(2)).sum();
    let gap = |target_kl: f64| {
        let mut d = direction.clone();
        step::trust_region(&mut d, curvature, target_kl);
        // KL(p || p') = log sum_a p_a e^(d_a - E d), without the cancellation of a sum of logarithms.
        let mean = dot(&p, &d);
        let excess: f64 = p.iter().zip(&d).map(|(p, d)| p * ((d - mean).exp_m1() - (d - mean))).sum();
        excess.ln_1p() - target_kl
    };
    let mut worst = Worst::new();
    worst.add((gap(1e-5) / gap(0.25e-5) - 8.0).abs());
    worst.done()
}

/// One Bernoulli logit: the step of radius 0.01 overshoots at 0.01 and falls short at 0.5.
fn step_closed(_: u64) -> crate::Measured {
    let mut worst = Worst::new();
    for (p, p_after, digits, kl) in [(0.01, Some(0.04016), 5, 0.016730), (0.5, None, 0, 0.009967)] {
        let (p_new, divergence) = bernoulli(p, bernoulli_step(p, 0.01));
        worst.printed(divergence, kl, 6);
        if let Some(want) = p_after {
            worst.printed(p_new, want, digits);
        }
    }
    worst.done()
}

/// The upward step of a Bernoulli logit by conjugate gradients and the step's factor.
fn bernoulli_step(p: f64, target_kl: f64) -> f64 {
    let information = p * (1.0 - p);
    let mut x = [0.0];
    let product = |v: &[f64], out: &mut [f64]| out[0] = information * v[0];
    let limits = Limits { max_iterations: 5, tolerance: 1e-12 };
    ConjugateGradient::new(1).solve(product, &[0.3], None, limits, &mut x);
    let curvature = information * x[0] * x[0];
    step::trust_region(&mut x, curvature, target_kl);
    x[0]
}

/// The probability after a step of the logit, and the divergence from before.
fn bernoulli(p: f64, step: f64) -> (f64, f64) {
    let q = 1.0 / (1.0 + (1.0 - p) / p * (-step).exp());
    (q, p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln())
}

/// Without positive curvature there is no step.
fn step_abort((x, curvature, target_kl): (Vec<f64>, f64, f64)) -> crate::Measured {
    let mut worst = Worst::new();
    for bad in [curvature, 0.0, f64::NAN, f64::INFINITY] {
        let mut d = x.clone();
        worst.holds(step::trust_region(&mut d, bad, target_kl).is_none() && d == x);
    }
    worst.done()
}

// trpo.line-search

/// A table of logits with advantages and weights of the states, and a step.
#[derive(Clone, Debug)]
struct Search {
    logits: Vec<Vec<f64>>,
    weight: Vec<f64>,
    advantage: Vec<Vec<f64>>,
    step: Vec<f64>,
    rule: Backtracking,
}

fn search() -> impl Strategy<Value = Search> + Clone + Send + Sync {
    let rule = (1e-3..=0.1f64, 0.2..=0.95f64, 1..=12usize)
        .prop_map(|(target_kl, shrink, max_trials)| Backtracking { target_kl, shrink, max_trials });
    (1..=4usize, 2..=4usize, vec((normal(), normal(), normal()), 16), vec(0.1..=1.0f64, 4), rule).prop_map(
        |(states, actions, entries, weight, rule)| {
            let table = |f: fn(&(f64, f64, f64)) -> f64| -> Vec<Vec<f64>> {
                (0..states).map(|s| (0..actions).map(|a| f(&entries[4 * s + a])).collect()).collect()
            };
            let total: f64 = weight[..states].iter().sum();
            let logits = table(|e| e.0);
            let mut advantage = table(|e| e.1);
            for (row, z) in advantage.iter_mut().zip(&logits) {
                let mean = dot(&softmax(z), row);
                row.iter_mut().for_each(|a| *a -= mean);
            }
            let step = table(|e| e.2).concat();
            let weight = weight[..states].iter().map(|w| w / total).collect();
            Search { logits, weight, advantage, step, rule }
        },
    )
}

impl Search {
    /// Divergence and gain of other logits, from the definitions.
    fn trial(&self, params: &[f64]) -> Trial {
        let actions = self.logits[0].len();
        let mut trial = Trial::default();
        for (s, z) in self.logits.iter().enumerate() {
            let (p, q) = (softmax(z), softmax(&params[s * actions..(s + 1) * actions]));
            trial.kl += self.weight[s] * p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum::<f64>();
            trial.gain += self.weight[s] * dot(&minus(&q, &p), &self.advantage[s]);
        }
        trial
    }

    fn run(&self, step: &[f64]) -> (Vec<f64>, rederive_trpo::line_search::Found) {
        let mut params = self.logits.concat();
        let mut room = vec![f64::NAN; params.len()];
        let found = line_search(&mut params, step, &mut room, self.rule, |p| self.trial(p));
        (params, found)
    }
}

/// The step returned is the first that meets both conditions; all before it fail one.
fn search_definition(search: Search) -> crate::Measured {
    let (params, found) = search.run(&search.step);
    let old = search.logits.concat();
    let mut worst = Worst::new();
    let mut share = 1.0;
    for k in 0..search.rule.max_trials {
        let candidate: Vec<f64> = old.iter().zip(&search.step).map(|(o, d)| o + share * d).collect();
        let Trial { kl, gain } = search.trial(&candidate);
        if kl <= search.rule.target_kl && gain > 0.0 {
            worst.holds(params == candidate && found.share == Some(share) && found.trials == k + 1);
            worst.holds(found.last == Trial { kl, gain });
            return worst.done();
        }
        share *= search.rule.shrink;
    }
    let same = params.iter().zip(&old).all(|(a, b)| a.to_bits() == b.to_bits());
    worst.holds(same && found.share.is_none() && found.trials == search.rule.max_trials);
    worst.done()
}

/// Along the natural gradient some power is acceptable, and what is accepted keeps both conditions.
fn search_natural_step(mut search: Search) -> crate::Measured {
    search.rule.max_trials = 400;
    let mut step = Vec::new();
    let mut curvature = 0.0;
    for (s, z) in search.logits.iter().enumerate() {
        // Tabular softmax: the natural gradient is the advantage, whatever the state's weight.
        step.extend_from_slice(&search.advantage[s]);
        let p = softmax(z);
        curvature +=
            search.weight[s] * p.iter().zip(&search.advantage[s]).map(|(p, a)| p * a * a).sum::<f64>();
    }
    let mut worst = Worst::new();
    if curvature < 1e-12 {
        return worst.done();
    }
    step::trust_region(&mut step, curvature, search.rule.target_kl);
    let (params, found) = search.run(&step);
    let Trial { kl, gain } = search.trial(&params);
    worst.holds(found.share.is_some() && gain > 0.0);
    worst.at_most(kl, search.rule.target_kl);
    worst.done()
}

/// The Bernoulli step that overshoots: the quadratic model would take it whole, its true divergence is 0.0167.
fn search_overshoot(_: u64) -> crate::Measured {
    let p = 0.01f64;
    let rule = Backtracking { target_kl: 0.01, shrink: 0.8, max_trials: 10 };
    let mut logit = [(p / (1.0 - p)).ln()];
    let old = logit[0];
    let found = line_search(&mut logit, &[bernoulli_step(p, 0.01)], &mut [0.0], rule, |z| {
        let (q, kl) = bernoulli(p, z[0] - old);
        Trial { kl, gain: q - p }
    });
    let mut worst = Worst::new();
    let (_, kl) = bernoulli(p, logit[0] - old);
    worst.holds(found.share == Some(0.8) && found.trials == 2 && found.last.kl <= 0.01);
    worst.add((kl - found.last.kl).abs() * 1e12);
    worst.done()
}

/// A step of nothing, a step the wrong way, and one that is not finite are never taken.
fn search_edges(search: Search) -> crate::Measured {
    let mut worst = Worst::new();
    let old = search.logits.concat();
    let flat = Search {
        advantage: search.advantage.iter().map(|row| vec![0.0; row.len()]).collect(),
        ..search.clone()
    };
    let nowhere = vec![0.0; old.len()];
    let nan = vec![f64::NAN; old.len()];
    for (case, step) in [(&search, &nowhere), (&search, &nan), (&flat, &search.step)] {
        let (params, found) = case.run(step);
        worst.holds(params == old && found.share.is_none() && found.trials == case.rule.max_trials);
    }
    worst.done()
}
