//! Fisher information of policies: the curvature of the divergence, `F = E[score score^T] = -E[d^2 log pi]`.
//!
//! The matrices are those in the numbers that a policy's distribution takes: logits; mean and log standard deviation; the two
//! shapes of a Beta. Through a network with Jacobian `J` from parameters to these numbers the information is the mean of
//! `J^T F J` over the batch, and a product with it is three steps: tangents `J v` forwards, [`softmax_product`],
//! [`gaussian_product`] or [`beta_product`] on them, and `J^T` backwards. No step needs a matrix, or the actions taken.

use crate::special::trigamma;
use crate::{Real, beta, multiversion};
use ndarray::{ArrayRef2, s};

#[track_caller]
fn check_square<F>(name: &str, matrix: &ArrayRef2<F>, n: usize) {
    assert!(matrix.dim() == (n, n), "{name} has shape {:?} but there are {n} numbers", matrix.dim());
}

#[track_caller]
fn check_rows(name: &str, len: usize, columns: usize) {
    assert!(columns > 0, "a row needs at least one number");
    assert!(len.is_multiple_of(columns), "{name} has {len} entries, no multiple of {columns}");
}

// ANCHOR: fisher.forms
/// The Fisher information of a softmax in its logits.
///
/// ID `fisher.forms`: `F = diag(pi) - pi pi^T`, positive semidefinite; `F 1 = 0`, since a constant added to all logits
/// changes nothing. Where all probabilities are positive nothing else is lost.
///
/// Shapes: `probability` `[A]`, `out` `[A, A]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Amari (1998), Natural Gradient Works Efficiently in Learning.
pub fn softmax<F: Real>(probability: &[F], out: &mut ArrayRef2<F>) {
    check_square("out", out, probability.len());
    for ((a, b), f) in out.indexed_iter_mut() {
        let diagonal = if a == b { probability[a] } else { F::zero() };
        *f = diagonal - probability[a] * probability[b];
    }
}

/// The Fisher information of a diagonal Gaussian in its means and log standard deviations.
///
/// ID `fisher.forms`: `diag(e^(-2 s), 2)`: a mean counts in units of its standard deviation, and the means do not matter.
///
/// Shapes: `log_std` `[D]`, `out` `[2 D, 2 D]`, the means first, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Amari (1998), Natural Gradient Works Efficiently in Learning.
pub fn gaussian<F: Real>(log_std: &[F], out: &mut ArrayRef2<F>) {
    let dims = log_std.len();
    check_square("out", out, 2 * dims);
    out.fill(F::zero());
    for (d, &s) in log_std.iter().enumerate() {
        out[[d, d]] = (F::of(-2.0) * s).exp();
        out[[dims + d, dims + d]] = F::of(2.0);
    }
}

/// The Fisher information of independent Beta laws in their shapes.
///
/// ID `fisher.forms`: per dimension [`beta::fisher`].
///
/// Shapes: `a` and `b` `[D]`, `out` `[2 D, 2 D]`, the `a` first, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. J. Beckman, G. L. Tietjen (1978), Maximum Likelihood Estimation for the Beta Distribution.
pub fn beta<F: Real>(a: &[F], b: &[F], out: &mut ArrayRef2<F>) {
    let dims = a.len();
    assert!(b.len() == dims, "a has {dims} entries but b has {}", b.len());
    check_square("out", out, 2 * dims);
    out.fill(F::zero());
    for d in 0..dims {
        let block = beta::fisher(a[d], b[d]);
        for (i, row) in block.iter().enumerate() {
            for (k, &f) in row.iter().enumerate() {
                out[[i * dims + d, k * dims + d]] = f;
            }
        }
    }
}

/// The Fisher information of a tabular softmax policy in its logits `[S, A]`.
///
/// ID `fisher.forms`: `F = E_{s ~ d}[F_s]`, block by block `d(s) (diag(pi_s) - pi_s pi_s^T)`. A state that is never visited has
/// a block of zeros.
///
/// Shapes: `occupancy` `[S]` (see [`crate::mdp::occupancy`]), `policy` `[S, A]`, `out` `[S A, S A]` (see
/// [`crate::mdp::pair_index`]), overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Kakade (2001), A Natural Policy Gradient.
pub fn tabular<F: Real>(occupancy: &[F], policy: &ArrayRef2<F>, out: &mut ArrayRef2<F>) {
    let (states, actions) = policy.dim();
    assert!(
        occupancy.len() == states,
        "occupancy has {} entries but policy has shape {:?}",
        occupancy.len(),
        policy.dim()
    );
    check_square("out", out, states * actions);
    out.fill(F::zero());
    for (state, (&d, pi)) in occupancy.iter().zip(policy.rows()).enumerate() {
        let pairs = state * actions..(state + 1) * actions;
        let mut block = out.slice_mut(s![pairs.clone(), pairs]);
        softmax(&pi.to_vec(), &mut block);
        block.mapv_inplace(|f| d * f);
    }
}

multiversion! {
    /// `v <- scale F v` for every row of logits: `F v = pi (v - sum_b pi_b v_b)`.
    ///
    /// ID `fisher.forms`: the product of [`softmax`] with a vector, without the matrix.
    ///
    /// Shapes: `probability` and `v` `[B, A]`, with `actions` the number A of columns; `v` is overwritten.
    ///
    /// # Panics
    /// If the lengths do not belong together.
    ///
    /// Source: S. Amari (1998), Natural Gradient Works Efficiently in Learning.
    pub fn softmax_product<F: Real>(probability: &[F], actions: usize, scale: F, v: &mut [F]) {
        assert!(
            probability.len() == v.len(),
            "probability has {} entries but v has {}",
            probability.len(),
            v.len()
        );
        check_rows("probability", probability.len(), actions);
        for (pi, v) in probability.chunks_exact(actions).zip(v.chunks_exact_mut(actions)) {
            let mut mean = F::zero();
            for a in 0..actions {
                mean = pi[a].mul_add(v[a], mean);
            }
            for a in 0..actions {
                v[a] = scale * (pi[a] * (v[a] - mean));
            }
        }
    }
}

multiversion! {
    /// `v <- scale F v` for every row of means, with one `log_std` for all rows.
    ///
    /// ID `fisher.forms`: `e^(-2 s) v` at a mean and `2 v` at a log standard deviation, which every row takes part in: `scale` times
    /// the number of rows.
    ///
    /// Shapes: `log_std` and `v_log_std` `[D]`, `v_mean` `[B, D]`; both tangents are overwritten.
    ///
    /// # Panics
    /// If the lengths do not belong together.
    ///
    /// Source: S. Amari (1998), Natural Gradient Works Efficiently in Learning.
    pub fn gaussian_product<F: Real>(log_std: &[F], scale: F, v_mean: &mut [F], v_log_std: &mut [F]) {
        let dims = log_std.len();
        check_rows("v_mean", v_mean.len(), dims);
        assert!(
            v_log_std.len() == dims,
            "log_std has {dims} entries but v_log_std has {}",
            v_log_std.len()
        );
        let rows = F::of((v_mean.len() / dims) as f64);
        for v in v_log_std.iter_mut() {
            *v *= F::of(2.0) * scale * rows;
        }
        for row in v_mean.chunks_exact_mut(dims) {
            for d in 0..dims {
                row[d] *= scale * (F::of(-2.0) * log_std[d]).vexp();
            }
        }
    }
}

/// `v <- scale F v` for every pair of Beta shapes.
///
/// ID `fisher.forms`: `psi'(a) v_a - psi'(a + b) (v_a + v_b)`, and the same at `b`.
///
/// Shapes: all of one length, `[B, D]`; the tangents are overwritten.
///
/// # Panics
/// If the lengths differ.
///
/// Source: R. J. Beckman, G. L. Tietjen (1978), Maximum Likelihood Estimation for the Beta Distribution.
pub fn beta_product<F: Real>(a: &[F], b: &[F], scale: F, v_a: &mut [F], v_b: &mut [F]) {
    let n = a.len();
    assert!(b.len() == n, "a has {n} entries but b has {}", b.len());
    assert!(
        v_a.len() == n && v_b.len() == n,
        "a has {n} entries but v_a {} and v_b {}",
        v_a.len(),
        v_b.len()
    );
    for i in 0..n {
        let shared = trigamma(a[i] + b[i]) * (v_a[i] + v_b[i]);
        v_a[i] = scale * (trigamma(a[i]) * v_a[i] - shared);
        v_b[i] = scale * (trigamma(b[i]) * v_b[i] - shared);
    }
}
// ANCHOR_END: fisher.forms

// ANCHOR: fisher.kl-hessian
/// The divergence of a small step, to second order.
///
/// ID `fisher.kl-hessian`: `KL(theta || theta + d) = d^T F d / 2 + O(|d|^3)`, and the same in the other direction: the Hessian of
/// both at `d = 0` *is* `F`, while value and gradient are 0.
///
/// Shapes: `fisher` `[n, n]`, `d` `[n]`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Kullback, R. A. Leibler (1951), On Information and Sufficiency; S. Amari (1998), Natural Gradient Works Efficiently in
/// Learning.
pub fn quadratic_kl<F: Real>(fisher: &ArrayRef2<F>, d: &[F]) -> F {
    check_square("fisher", fisher, d.len());
    let twice: F = fisher.indexed_iter().map(|((i, k), &f)| d[i] * f * d[k]).sum();
    F::of(0.5) * twice
}

/// The second and the third term of a softmax's divergence in a step of its logits: `kappa_2 / 2` and `kappa_3 / 6`.
///
/// ID `fisher.kl-hessian`: `KL(pi_z || pi_{z + d}) = log E_pi[e^(d - E d)]` is a cumulant generating function, so its terms are the
/// cumulants of `d(a)` under `pi`: `kappa_2 = Var d = d^T F d` and `kappa_3 = E[(d - E d)^3]`. The sign of `kappa_3` says whether the
/// model under- or overestimates.
///
/// Shapes: both `[A]`.
///
/// # Panics
/// If the lengths differ.
///
/// Source: O. E. Barndorff-Nielsen (1978), Information and Exponential Families.
pub fn softmax_kl_terms<F: Real>(probability: &[F], d: &[F]) -> (F, F) {
    assert!(
        probability.len() == d.len(),
        "probability has {} entries but d has {}",
        probability.len(),
        d.len()
    );
    let mean: F = probability.iter().zip(d).map(|(&p, &d)| p * d).sum();
    let moment = |k: i32| probability.iter().zip(d).map(|(&p, &d)| p * (d - mean).powi(k)).sum::<F>();
    (moment(2) / F::of(2.0), moment(3) / F::of(6.0))
}
// ANCHOR_END: fisher.kl-hessian

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::at_every_level;
    use ndarray::{Array1, Array2, array};

    #[test]
    fn a_constant_in_the_logits_is_lost_and_nothing_else() {
        let mut f = Array2::zeros((3, 3));
        softmax(&[0.5, 0.25, 0.25], &mut f);
        assert_eq!(f, array![[0.25, -0.125, -0.125], [-0.125, 0.1875, -0.0625], [-0.125, -0.0625, 0.1875]]);
        assert_eq!(f.dot(&Array1::<f64>::ones(3)), array![0.0, 0.0, 0.0]);
        // The variance of a step, and its third moment, under a coin: p (1 - p) and p (1 - p) (1 - 2 p).
        let (second, third) = softmax_kl_terms(&[0.25, 0.75], &[1.0, 0.0]);
        assert_eq!((second, third), (0.1875 / 2.0, 0.09375 / 6.0));
    }

    #[test]
    fn products_equal_the_matrices() {
        let (probability, step) = ([0.1f64, 0.6, 0.3], [1.0, -2.0, 0.5]);
        let mut matrix = Array2::zeros((3, 3));
        softmax(&probability, &mut matrix);
        let want = matrix.dot(&Array1::from(step.to_vec())) * 0.5;
        for v in at_every_level(|| {
            let mut v = [step, step].concat();
            softmax_product(&[probability, probability].concat(), 3, 0.5, &mut v);
            v
        }) {
            assert!((0..6).all(|i| (v[i] - want[i % 3]).abs() < 1e-15), "{v:?}");
        }
        let (mut mean, mut log_std) = (vec![1.0f64, 2.0, 3.0, 4.0], vec![5.0, 6.0]);
        gaussian_product(&[0.0, 2.0f64.ln()], 0.5, &mut mean, &mut log_std);
        assert!((mean[1] - 0.25).abs() < 1e-15 && (mean[3] - 0.5).abs() < 1e-15, "{mean:?}");
        assert_eq!((mean[0], mean[2], log_std), (0.5, 1.5, vec![10.0, 12.0]));
        let mut matrix = Array2::zeros((2, 2));
        super::beta(&[2.0f64], &[3.0], &mut matrix);
        let (mut v_a, mut v_b) = ([1.0], [-2.0]);
        beta_product(&[2.0], &[3.0], 2.0, &mut v_a, &mut v_b);
        let want = matrix.dot(&array![1.0, -2.0]) * 2.0;
        assert!((v_a[0] - want[0]).abs() < 1e-15 && (v_b[0] - want[1]).abs() < 1e-15);
    }

    #[test]
    fn states_without_visits_have_no_information() {
        let mut f = Array2::from_elem((4, 4), f64::NAN);
        tabular(&[0.0, 1.0], &array![[0.5, 0.5], [0.5, 0.5]], &mut f);
        assert!(f.slice(s![..2, ..]).iter().all(|&x| x == 0.0));
        assert_eq!(f.slice(s![2.., 2..]), array![[0.25, -0.25], [-0.25, 0.25]]);
    }
}
