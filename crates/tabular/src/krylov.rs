//! GMRES for `(I - gamma P) x = b`, without the matrix.

use crate::backup::Rows;
use crate::workers::Workers;
use rederive_math::Real;
use std::ops::Range;

/// How many basis vectors are kept before a restart, at most.
const MOST: usize = 60;

/// How many numbers all basis vectors may have together: 1 GiB.
const BASIS: usize = 1 << 27;

/// Solves `(I - gamma P) x = b`, from the `x` that is given, until the root mean square of the residual is at most `enough` or
/// `max_products` products have been spent; returns how many were.
///
/// The eigenvalues of `gamma P` fill a disc, and most of them lie close to 0; those near the rim (slow mixing, cycles) are few. That
/// is where Krylov methods pay: each costs GMRES about one product, and sweeps `1 / (1 - gamma)`.
///
/// Source: Y. Saad and M. Schultz (1986), GMRES: a generalized minimal residual algorithm for solving nonsymmetric linear systems.
pub fn gmres<P: Real>(
    rows: Rows<'_, P>,
    gamma: f64,
    b: &[f64],
    x: &mut [f64],
    enough: f64,
    max_products: u64,
    workers: &Workers,
) -> u64 {
    let n = b.len();
    let target = enough * (n as f64).sqrt();
    let most = MOST.min(BASIS / n).clamp(2, n.max(2));
    // Vectors cost as much as products do once there are about as many as a row has entries.
    let mut size = (4 * rows.prob.len() / n.max(1)).clamp(10, most.max(10)).min(most);
    let mut last = f64::INFINITY;
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let mut products = 0;
    loop {
        // The residual b - x + gamma P x becomes the first basis vector.
        let mut r = vec![0.0; n];
        apply(rows, gamma, x, &mut r, workers);
        products += 1;
        combine(workers, &mut r, |i| b[i], -1.0);
        let norm = norm(workers, &r);
        if norm <= target || products >= max_products || !norm.is_finite() {
            return products;
        }
        if norm > 0.3 * last {
            // Too short a memory: restarts lose what was learnt of the slow modes.
            size = (2 * size).min(most);
        }
        last = norm;
        scale(workers, &mut r, 1.0 / norm);
        basis.clear();
        basis.push(r);
        // The least squares problem: columns of the Hessenberg matrix, turned upper triangular by Givens rotations.
        let mut columns: Vec<Vec<f64>> = Vec::new();
        let mut rotations: Vec<(f64, f64)> = Vec::new();
        let mut g = vec![norm];
        while columns.len() < size {
            let k = columns.len();
            let mut w = vec![0.0; n];
            apply(rows, gamma, &basis[k], &mut w, workers);
            products += 1;
            let mut column = Vec::with_capacity(k + 2);
            for v in &basis {
                let h = workers.sum(n, |range| product(&w[range.clone()], &v[range]));
                combine(workers, &mut w, |i| h * v[i], 1.0);
                column.push(h);
            }
            let below = self::norm(workers, &w);
            for (i, &(c, s)) in rotations.iter().enumerate() {
                let (a, b) = (column[i], column[i + 1]);
                (column[i], column[i + 1]) = (c * a + s * b, c * b - s * a);
            }
            let length = column[k].hypot(below);
            let (c, s) = if length > 0.0 { (column[k] / length, below / length) } else { (1.0, 0.0) };
            column[k] = length;
            rotations.push((c, s));
            columns.push(column);
            g.push(-s * g[k]);
            g[k] *= c;
            // Nothing below the diagonal: the solution lies in the space.
            if g[k + 1].abs() <= target || products >= max_products || below <= 1e-14 * length {
                break;
            }
            scale(workers, &mut w, 1.0 / below);
            basis.push(w);
        }
        let mut y = g;
        for i in (0..columns.len()).rev() {
            for j in i + 1..columns.len() {
                y[i] -= columns[j][i] * y[j];
            }
            y[i] /= columns[i][i];
        }
        for (v, y) in basis.iter().zip(&y).take(columns.len()) {
            combine(workers, x, |i| -y * v[i], 1.0);
        }
    }
}

/// `out = x - gamma P x`
fn apply<P: Real>(rows: Rows<'_, P>, gamma: f64, x: &[f64], out: &mut [f64], workers: &Workers) {
    let part = |range: Range<usize>, out: &mut [f64], _: &mut [()]| {
        rows.product(range.clone(), x, gamma, out);
        for (out, x) in out.iter_mut().zip(&x[range]) {
            *out = x - *out;
        }
    };
    workers.split(x.len(), out, &mut [], part, |(), ()| ());
}

/// `w[i] = (w[i] - f(i)) sign`
fn combine(workers: &Workers, w: &mut [f64], f: impl Fn(usize) -> f64 + Sync, sign: f64) {
    let part = |range: Range<usize>, w: &mut [f64], _: &mut [()]| {
        for (w, i) in w.iter_mut().zip(range) {
            *w = (*w - f(i)) * sign;
        }
    };
    workers.split(w.len(), w, &mut [], part, |(), ()| ());
}

fn scale(workers: &Workers, w: &mut [f64], factor: f64) {
    let part = |_: Range<usize>, w: &mut [f64], _: &mut [()]| w.iter_mut().for_each(|w| *w *= factor);
    workers.split(w.len(), w, &mut [], part, |(), ()| ());
}

/// The inner product, in eight running sums that the compiler keeps in one register.
fn product(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

fn norm(workers: &Workers, v: &[f64]) -> f64 {
    workers.sum(v.len(), |range| product(&v[range.clone()], &v[range])).sqrt()
}
