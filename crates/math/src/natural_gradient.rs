//! The natural gradient: the direction that changes the objective most for a given change of the *policy*.
//!
//! Dense forms for small numbers of parameters; agents solve the same system by conjugate gradients.

use crate::Real;
use crate::symmetric::{self, Eigen};
use ndarray::{Array1, Array2, ArrayRef2, ArrayView1};
use std::error::Error;
use std::fmt;

/// Why a gradient has no largest product within a Fisher ball.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoMaximum {
    /// This share of the gradient's length lies where the matrix is zero: the objective changes and the policy does not, so
    /// that a step could be of any size. No gradient of a function of the policy does this.
    Unbounded {
        /// In `(0, 1]`.
        share: f64,
    },
    /// The matrix has a negative eigenvalue (or no eigenvalues that are numbers), and bounds nothing.
    Indefinite {
        /// The smallest.
        eigenvalue: f64,
    },
}

impl fmt::Display for NoMaximum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoMaximum::Unbounded { share } => {
                write!(f, "{share} of the gradient lies where the Fisher matrix is zero: no step is too long")
            }
            NoMaximum::Indefinite { eigenvalue } => {
                write!(f, "the Fisher matrix has the eigenvalue {eigenvalue}, and bounds no step")
            }
        }
    }
}

impl Error for NoMaximum {}

/// Eigenvalues up to this many units of rounding of the largest count as zero: 1e-12 in `f64`.
const CUT_OFF: f64 = 4500.0;

#[track_caller]
fn check<F>(fisher: &ArrayRef2<F>, gradient: &[F], out: &[F]) {
    let n = gradient.len();
    assert!(fisher.dim() == (n, n), "fisher has shape {:?} but gradient has {n} entries", fisher.dim());
    assert!(out.len() == n, "gradient has {n} entries but out has {}", out.len());
}

// ANCHOR: ng.direction
/// The natural gradient, and the square of its length.
///
/// ID `ng.direction`: `x = F^+ g`, and `g^T F^+ g = x^T F x` is returned. Where `F` is singular, as for a softmax, `x` is the shortest
/// solution of `F x = g`. Eigenvalues below 1e-12 of the largest (`f64`; 5e-4 in `f32`) count as zero.
///
/// Shapes: `fisher` `[n, n]` symmetric, `gradient` and `out` `[n]`; `out` is overwritten (if an error is returned, too).
///
/// # Errors
/// [`NoMaximum`].
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Amari (1998), Natural Gradient Works Efficiently in Learning; S. Kakade (2001), A Natural Policy Gradient.
pub fn natural_gradient<F: Real>(
    fisher: &ArrayRef2<F>,
    gradient: &[F],
    out: &mut [F],
) -> Result<F, NoMaximum> {
    check(fisher, gradient, out);
    out.fill(F::zero());
    let Eigen { values, vectors } = symmetric::eigen(fisher);
    let largest = values.iter().fold(F::zero(), |m, &x| m.max(x.abs()));
    let cut = F::of(CUT_OFF) * F::epsilon() * largest;
    if let Some(bad) = values.iter().find(|x| x.is_nan() || **x < -cut) {
        return Err(NoMaximum::Indefinite { eigenvalue: Real::to_f64(*bad) });
    }
    let gradient = ArrayView1::from(gradient);
    let (mut squared, mut lost) = (F::zero(), F::zero());
    for (&value, vector) in values.iter().zip(vectors.columns()) {
        let along = vector.dot(&gradient);
        if value > cut {
            squared += along * along / value;
            for (x, &v) in out.iter_mut().zip(vector) {
                *x += along / value * v;
            }
        } else {
            lost += along * along;
        }
    }
    let share = (lost / gradient.dot(&gradient)).sqrt();
    // A zero gradient loses 0/0 of itself: nothing.
    if share > F::epsilon().sqrt() {
        return Err(NoMaximum::Unbounded { share: Real::to_f64(share) });
    }
    Ok(squared)
}

/// The steepest step within a Fisher ball, and what the objective gains by it to first order.
///
/// ID `ng.direction`: `max_d { g^T d : d^T F d / 2 <= radius }` is attained at `d = sqrt(2 radius / g^T F^-1 g) F^-1 g`, which lies on
/// the boundary and gains `sqrt(2 radius g^T F^-1 g)`. A zero gradient gives a zero step.
///
/// Shapes: `fisher` `[n, n]` symmetric, `gradient` and `out` `[n]`, `out` overwritten; `radius` positive.
///
/// # Errors
/// [`NoMaximum`].
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Kakade (2001), A Natural Policy Gradient; J. Schulman, S. Levine, P. Moritz, M. Jordan, P. Abbeel (2015), Trust Region
/// Policy Optimization, appendix C.
pub fn steepest_step<F: Real>(
    fisher: &ArrayRef2<F>,
    gradient: &[F],
    radius: F,
    out: &mut [F],
) -> Result<F, NoMaximum> {
    let squared = natural_gradient(fisher, gradient, out)?;
    if squared == F::zero() {
        return Ok(F::zero());
    }
    let scale = (F::of(2.0) * radius / squared).sqrt();
    out.iter_mut().for_each(|x| *x *= scale);
    Ok(scale * squared)
}
// ANCHOR_END: ng.direction

/// The change of `theta` that the natural gradient in other coordinates makes.
///
/// ID `ng.reparametrisation`: for `theta = h(omega)` with the Jacobian `J`, `F_omega = J^T F J` and `g_omega = J^T g`; the returned
/// direction `J F_omega^+ g_omega` changes the policy as `F^+ g` does, `F J F_omega^+ g_omega = F F^+ g`. The plain gradient becomes
/// `J J^T g`, another direction.
///
/// Shapes: `jacobian` `[n, n]` (row: a number of `theta`), invertible; `fisher` `[n, n]`, `gradient` and `out` `[n]`, `out` overwritten.
///
/// # Errors
/// [`NoMaximum`].
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: S. Amari (1998), Natural Gradient Works Efficiently in Learning.
// ANCHOR: ng.reparametrisation
pub fn through_coordinates<F: Real>(
    jacobian: &ArrayRef2<F>,
    fisher: &ArrayRef2<F>,
    gradient: &[F],
    out: &mut [F],
) -> Result<(), NoMaximum> {
    check(fisher, gradient, out);
    assert!(
        jacobian.dim() == fisher.dim(),
        "jacobian has shape {:?} but fisher has shape {:?}",
        jacobian.dim(),
        fisher.dim()
    );
    let jacobian = jacobian.view();
    let fisher_omega: Array2<F> = jacobian.t().dot(&fisher.view()).dot(&jacobian);
    let gradient_omega: Array1<F> = jacobian.t().dot(&ArrayView1::from(gradient));
    let mut omega = vec![F::zero(); out.len()];
    natural_gradient(&fisher_omega, &gradient_omega.to_vec(), &mut omega)?;
    for (x, row) in out.iter_mut().zip(jacobian.rows()) {
        *x = row.iter().zip(&omega).map(|(&j, &d)| j * d).sum();
    }
    Ok(())
}
// ANCHOR_END: ng.reparametrisation

/// The natural gradient of a tabular softmax policy, without a matrix.
///
/// ID `ng.softmax-advantage`: `(F^+ grad J)(s, a) = (A(s, a) - sum_b A(s, b) / |A|) / (1 - gamma)` wherever the state is visited: the
/// advantage, shifted in each state so that its entries sum to 0. How often a state is visited cancels. A step `alpha` along it turns
/// `pi` into `pi e^{alpha A / (1 - gamma)}`, normalised.
///
/// Shapes: `advantage` and `out` `[S, A]`; `out` is overwritten.
///
/// # Panics
/// If the shapes differ.
///
/// Source: S. Kakade (2001), A Natural Policy Gradient; A. Agarwal, S. Kakade, J. Lee, G. Mahajan (2021), On the Theory of Policy
/// Gradient Methods.
// ANCHOR: ng.softmax-advantage
pub fn tabular_softmax<F: Real>(advantage: &ArrayRef2<F>, gamma: F, out: &mut ArrayRef2<F>) {
    assert!(
        advantage.dim() == out.dim(),
        "advantage has shape {:?} but out has shape {:?}",
        advantage.dim(),
        out.dim()
    );
    let actions = F::of(advantage.ncols() as f64);
    for (mut out, advantage) in out.rows_mut().into_iter().zip(advantage.rows()) {
        let mean = advantage.sum() / actions;
        for (x, &a) in out.iter_mut().zip(advantage) {
            *x = (a - mean) / (F::one() - gamma);
        }
    }
}
// ANCHOR_END: ng.softmax-advantage

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fisher;
    use ndarray::array;

    #[test]
    fn the_step_is_longest_where_the_policy_changes_least() {
        let mut step = [0.0f64; 2];
        let gain = steepest_step(&array![[4.0, 0.0], [0.0, 1.0]], &[2.0, 1.0], 1.0, &mut step).unwrap();
        // F^-1 g = (1/2, 1), g^T F^-1 g = 2, scale 1.
        assert!((step[0] - 0.5).abs() < 1e-15 && (step[1] - 1.0).abs() < 1e-15 && (gain - 2.0).abs() < 1e-15);
        assert_eq!(steepest_step(&array![[4.0, 0.0], [0.0, 1.0]], &[0.0, 0.0], 1.0, &mut step), Ok(0.0));
        assert_eq!(step, [0.0; 2]);
    }

    #[test]
    fn a_singular_matrix_serves_gradients_in_its_range_alone() {
        let mut f = Array2::zeros((2, 2));
        fisher::softmax(&[0.2, 0.8], &mut f);
        let mut x = [0.0f64; 2];
        let squared = natural_gradient(&f, &[0.16, -0.16], &mut x).unwrap();
        assert!((x[0] - 0.5).abs() < 1e-15 && (x[1] + 0.5).abs() < 1e-15 && (squared - 0.16).abs() < 1e-15);
        let lost = natural_gradient(&f, &[1.0, 1.0], &mut x).unwrap_err();
        assert!(matches!(lost, NoMaximum::Unbounded { share } if (share - 1.0).abs() < 1e-12), "{lost}");
        let bad = natural_gradient(&array![[1.0, 2.0], [2.0, 1.0]], &[1.0, 0.0], &mut x).unwrap_err();
        assert!(
            matches!(bad, NoMaximum::Indefinite { eigenvalue } if (eigenvalue + 1.0).abs() < 1e-12),
            "{bad}"
        );
        let nan = natural_gradient(&array![[f64::NAN, 0.0], [0.0, 1.0]], &[1.0, 0.0], &mut x);
        assert!(matches!(nan, Err(NoMaximum::Indefinite { .. })));
    }
}
