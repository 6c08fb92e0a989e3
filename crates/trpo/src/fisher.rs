//! Products with the Fisher matrix of a policy, without the matrix (`cg.fisher-product`).
//!
//! A policy maps its parameters to the outputs of a network and those to a distribution. By the chain rule its Fisher matrix
//! is `F = 1/B sum_s J_s^T F_s J_s`, with `J_s` the Jacobian of the outputs in state `s` and `F_s` the small Fisher matrix of the
//! distribution in these outputs. So a product takes one directional derivative through the network, one small matrix per
//! state and one backward pass; nothing is differentiated twice.

use crate::Law;
use ndarray::{Array2, ArrayRef2, s};
use rederive_math::{Real, Stream};
use rederive_nn::{Mlp, Workspace};
use std::ops::Range;

/// The derivative of a network's outputs in its parameters, at the batch of its last forward pass.
pub trait Jacobian<F> {
    /// `out = J v`, `[B, A]`.
    fn jvp(&mut self, v: &[F], out: &mut ArrayRef2<F>);

    /// `grad += J^T d_out`.
    fn vjp(&mut self, d_out: &ArrayRef2<F>, grad: &mut [F]);
}

/// A perceptron with all that belongs to it, after a forward pass of `x`.
#[derive(Debug)]
pub struct MlpJacobian<'a, F> {
    /// The shape.
    pub mlp: &'a Mlp,
    /// Its parameters.
    pub params: &'a [F],
    /// The states `[B, in]`.
    pub x: &'a ArrayRef2<F>,
    /// What the forward pass kept.
    pub workspace: &'a mut Workspace<F>,
}

impl<F: Real> Jacobian<F> for MlpJacobian<'_, F> {
    fn jvp(&mut self, v: &[F], out: &mut ArrayRef2<F>) {
        self.mlp.jvp(self.params, self.x, v, self.workspace, out);
    }

    fn vjp(&mut self, d_out: &ArrayRef2<F>, grad: &mut [F]) {
        self.mlp.backward(self.params, self.x, d_out, self.workspace, grad);
    }
}

// ANCHOR: cg.fisher-product
/// `out = F v + damping v` for the mean Fisher matrix of a policy over a batch of states.
///
/// ID `cg.fisher-product`: `F v = 1/B sum_s J_s^T F_s J_s v`, which is the derivative of the gradient of
/// `mean KL(pi_old || pi_theta)` along `v` at `theta = theta_old`, and `E[score score^T] v`. `F` is positive semidefinite; its null
/// space holds, for instance, whatever moves all logits together, so `damping > 0` is what makes the matrix definite.
///
/// Shapes: `v` and `out` hold the network's parameters and then those of the law itself; `tangent` `[B, A]` is room.
///
/// # Panics
/// If a shape does not fit, or there is no state.
///
/// Source: N. N. Schraudolph (2002), Fast Curvature Matrix-Vector Products for Second-Order Gradient Descent; J. Schulman,
/// S. Levine, P. Moritz, M. Jordan, P. Abbeel (2015), Trust Region Policy Optimization, appendix C.
pub fn product<F: Real>(
    law: &Law<F>,
    jacobian: &mut impl Jacobian<F>,
    v: &[F],
    damping: F,
    tangent: &mut ArrayRef2<F>,
    out: &mut [F],
) {
    assert_eq!(v.len(), out.len(), "v against out");
    assert!(v.len() >= law.own_params(), "v against the parameters of the law");
    assert!(tangent.nrows() > 0, "a mean over no states");
    let (network, per_row) = (v.len() - law.own_params(), F::of(tangent.nrows() as f64).recip());
    out.copy_from_slice(v);
    jacobian.jvp(&v[..network], tangent);
    law.fisher(per_row, tangent.as_slice_mut().expect("tangent must be contiguous"), &mut out[network..]);
    out[..network].fill(F::zero());
    jacobian.vjp(tangent, &mut out[..network]);
    for (out, &v) in out.iter_mut().zip(v) {
        *out += damping * v;
    }
}
// ANCHOR_END: cg.fisher-product

/// An estimate of the diagonal of `F` `[P]`, unbiased and never negative, for the price of one or two products.
///
/// The scores of freshly drawn actions have mean zero and are independent, so the covariance of their sum over a block of states is the sum
/// of the states' Fisher matrices. The square of that sum is one sample of the block's diagonal, and the sum over the blocks,
/// divided by the number of states, is the estimate.
///
/// `vjp(rows, d_out, grad)` runs the network forward on a range of states and adds `J^T d_out` to `grad`; the rows of `room`
/// `[block, A]` are the size of a block; `grad` `[P]` is room.
///
/// # Panics
/// If a shape does not fit.
pub fn diagonal<F: Real>(
    law: &Law<F>,
    rows: usize,
    mut vjp: impl FnMut(Range<usize>, &ArrayRef2<F>, &mut [F]),
    rng: &mut Stream,
    room: &mut Array2<F>,
    grad: &mut [F],
    out: &mut [F],
) {
    assert_eq!(grad.len(), out.len(), "grad against out");
    let network = out.len() - law.own_params();
    let per_row = F::of(rows as f64).recip();
    out.fill(F::zero());
    for from in (0..rows).step_by(room.nrows()) {
        let to = (from + room.nrows()).min(rows);
        let mut d_out = room.slice_mut(s![..to - from, ..]);
        grad.fill(F::zero());
        law.scores(from, rng, &mut d_out, &mut grad[network..]);
        vjp(from..to, &d_out, &mut grad[..network]);
        for (out, &g) in out.iter_mut().zip(&*grad) {
            *out += per_row * g * g;
        }
    }
}
