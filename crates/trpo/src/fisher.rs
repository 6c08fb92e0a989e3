//! Products with the Fisher matrix of a policy, without the matrix (`cg.fisher-product`).
//!
//! A policy maps its parameters to the outputs `y` of a network (logits or means) and those to a distribution. By the chain
//! rule its Fisher matrix is `F = 1/B sum_s J_s^T F_s J_s`, with `J_s` the Jacobian of the outputs in state `s` and `F_s` the
//! small Fisher matrix of the distribution in its own parameters. So a product needs one directional derivative through the
//! network, one small matrix per state, and one backward pass; nothing is differentiated twice.

use ndarray::{Array2, ArrayRef2};
use rederive_math::{Real, Stream, categorical, multiversion};
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

/// The distributions of a batch of states, as far as their Fisher matrices depend on them.
#[derive(Clone, Copy, Debug)]
pub enum Law<'a, F> {
    /// Categorical over logits, with probabilities `[B, A]`: `F_s = diag(pi) - pi pi^T`.
    Categorical(&'a [F]),
    /// Gaussian over means, with log standard deviations `[D]` that are parameters themselves and lie behind those of the
    /// network: `F_s = diag(e^(-2 log_std))` in the means, 2 in each `log_std`, and nothing between.
    Gaussian(&'a [F]),
}

impl<F: Real> Law<'_, F> {
    /// How many of the parameters are log standard deviations.
    fn own_params(&self) -> usize {
        match self {
            Law::Categorical(_) => 0,
            Law::Gaussian(log_std) => log_std.len(),
        }
    }
}

// ANCHOR: cg.fisher-product
/// `out = F v + damping v` for the mean Fisher matrix of a policy over a batch of states.
///
/// ID `cg.fisher-product`: `F v = 1/B sum_s J_s^T F_s J_s v`, which is the derivative of the gradient of
/// `mean KL(pi_old || pi_theta)` along `v` at `theta = theta_old`, and `E[score score^T] v`. `F` is positive semidefinite; its null
/// space holds, for instance, whatever moves all logits together, so `damping > 0` makes the matrix definite.
///
/// Shapes: `v` and `out` hold the network's parameters and then those of the law; `tangent` `[B, A]` is room.
///
/// # Panics
/// If a shape does not fit, or there is no state.
///
/// Source: N. N. Schraudolph (2002), Fast Curvature Matrix-Vector Products for Second-Order Gradient Descent; J. Schulman,
/// S. Levine, P. Moritz, M. Jordan, P. Abbeel (2015), Trust Region Policy Optimization, appendix C.
pub fn product<F: Real>(
    law: Law<'_, F>,
    jacobian: &mut impl Jacobian<F>,
    v: &[F],
    damping: F,
    tangent: &mut ArrayRef2<F>,
    out: &mut [F],
) {
    assert_eq!(v.len(), out.len(), "v against out");
    assert!(v.len() >= law.own_params(), "v against the parameters of the law");
    let (rows, network) = (tangent.nrows(), v.len() - law.own_params());
    assert!(rows > 0, "a mean over no states");
    jacobian.jvp(&v[..network], tangent);
    output_product(law, tangent.as_slice_mut().expect("tangent must be contiguous"), rows);
    for (out, &v) in out.iter_mut().zip(v) {
        *out = damping * v;
    }
    jacobian.vjp(tangent, &mut out[..network]);
    for (out, &v) in out[network..].iter_mut().zip(&v[network..]) {
        *out += F::of(2.0) * v;
    }
}

/// Replaces each row `t` of the tangents by `F_s t / rows`.
fn output_product<F: Real>(law: Law<'_, F>, tangent: &mut [F], rows: usize) {
    let scale = F::of(rows as f64).recip();
    match law {
        Law::Categorical(probability) => {
            assert_eq!(probability.len(), tangent.len(), "probabilities against the outputs");
            categorical_rows(probability, probability.len() / rows, scale, tangent);
        }
        Law::Gaussian(log_std) => {
            assert_eq!(rows * log_std.len(), tangent.len(), "log_std against the outputs");
            for row in tangent.chunks_exact_mut(log_std.len()) {
                for (t, &s) in row.iter_mut().zip(log_std) {
                    *t *= scale * (F::of(-2.0) * s).exp();
                }
            }
        }
    }
}

multiversion! {
    /// `t <- scale (pi t - pi (pi^T t))`
    fn categorical_rows<F: Real>(probability: &[F], num_actions: usize, scale: F, tangent: &mut [F]) {
        for (p, t) in probability.chunks_exact(num_actions).zip(tangent.chunks_exact_mut(num_actions)) {
            let mut mean = F::zero();
            for (&p, &t) in p.iter().zip(&*t) {
                mean += p * t;
            }
            for (&p, t) in p.iter().zip(t) {
                *t = scale * p * (*t - mean);
            }
        }
    }
}
// ANCHOR_END: cg.fisher-product

/// An estimate of the diagonal of `F` `[P]`, positive and unbiased, for the price of one and a half products.
///
/// The scores of freshly drawn actions are independent with mean zero, so the sum of those of a block of states has the sum of their Fisher
/// matrices for covariance; the square of that sum is one sample of the diagonal, and the blocks' mean is the estimate.
///
/// `score(rows, d_out, grad)` runs the network forward on a range of states and adds `J^T d_out` to `grad`; `room` `[block, A]` sets the
/// size of a block.
///
/// # Panics
/// If a shape does not fit.
pub fn diagonal<F: Real>(
    law: Law<'_, F>,
    rows: usize,
    mut score: impl FnMut(Range<usize>, &ArrayRef2<F>, &mut [F]),
    rng: &mut Stream,
    room: &mut Array2<F>,
    grad: &mut [F],
    out: &mut [F],
) {
    assert_eq!(grad.len(), out.len(), "grad against out");
    let (block, outputs) = room.dim();
    let network = out.len() - law.own_params();
    let per_row = F::of(rows as f64).recip();
    out.fill(F::zero());
    for from in (0..rows).step_by(block) {
        let to = (from + block).min(rows);
        let mut d_out = room.slice_mut(ndarray::s![..to - from, ..]);
        grad.fill(F::zero());
        for (i, mut row) in d_out.rows_mut().into_iter().enumerate() {
            let row = row.as_slice_mut().expect("rows are contiguous");
            match law {
                Law::Categorical(probability) => {
                    let p = &probability[(from + i) * outputs..][..outputs];
                    for (d, &p) in row.iter_mut().zip(p) {
                        *d = -p;
                    }
                    row[draw(p, F::of(rng.unit()))] += F::one();
                }
                Law::Gaussian(log_std) => {
                    for ((d, &s), g) in row.iter_mut().zip(log_std).zip(&mut grad[network..]) {
                        let z = F::of(rng.normal());
                        *d = z * (-s).exp();
                        *g += z * z - F::one();
                    }
                }
            }
        }
        score(from..to, &d_out, &mut grad[..network]);
        for (out, &g) in out.iter_mut().zip(&*grad) {
            *out += per_row * g * g;
        }
    }
}

/// The action whose slice of the probabilities contains `u`.
fn draw<F: Real>(probability: &[F], u: F) -> usize {
    let mut left = u;
    probability
        .iter()
        .position(|&p| {
            left -= p;
            left < F::zero()
        })
        .unwrap_or_else(|| categorical::mode(probability))
}
