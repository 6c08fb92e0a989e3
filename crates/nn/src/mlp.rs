//! The multi-layer perceptron (`nn.mlp`) with handwritten forward, backward and jvp passes.
//!
//! A layer computes `y = act(x W + b)` with `W` `[in, out]` row-major; the last layer has no activation.
//! The gradients follow from the chain rule: with `D` the gradient at the layer's pre-activation,
//! `dW = x^T D`, `db = 1^T D`, `dx = D W^T`.

use crate::product::{Finish, Matrix, Start, product, product_then};
use crate::transpose::transpose;
use crate::{Activation, Layout, init};
use ndarray::{ArrayRef2, ArrayView2};
use rederive_math::{Real, Stream};
use std::ops::Range;

/// The shape of a network. Its parameters are a flat slice that the caller owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    layers: Vec<Layer>,
    layout: Layout,
    activation: Activation,
}

#[derive(Clone, Debug, PartialEq)]
struct Layer {
    inputs: usize,
    outputs: usize,
    w: Range<usize>,
    b: Range<usize>,
}

impl Layer {
    /// Whether the weight gradient is computed transposed, because a row of 16 lanes would be mostly empty.
    fn narrow(&self) -> bool {
        self.outputs <= 8 && self.inputs > self.outputs
    }
}

/// Room for the activations and gradients of batches up to a fixed size; nothing is allocated in a pass.
#[derive(Clone, Debug)]
pub struct Workspace<F> {
    capacity: usize,
    batch: usize,
    /// Output of each layer `[batch, out]`.
    outputs: Vec<Vec<F>>,
    /// Gradient or tangent of the present layer's output, and of the one before it, for one block of rows.
    delta: Vec<F>,
    next_delta: Vec<F>,
    /// The transposed weights of each layer but the first.
    transposed: Vec<Vec<F>>,
    /// The transposed weight gradient of each narrow layer; empty for the others.
    narrow: Vec<Vec<F>>,
    /// The transposed gradients of the first layer's outputs and inputs, for one block of rows; empty unless the gradient at
    /// the network's input is wanted.
    flipped: Option<[Vec<F>; 2]>,
}

/// Rows are processed in blocks of this size through all layers, so that a block's activations stay in the L1 cache.
const BLOCK: usize = 48;

impl Mlp {
    /// A network with layers of these sizes, `[inputs, hidden..., outputs]`.
    ///
    /// # Panics
    /// If there are fewer than two sizes, or one of them is 0.
    pub fn new(sizes: &[usize], activation: Activation) -> Self {
        assert!(
            sizes.len() >= 2 && !sizes.contains(&0),
            "a network needs at least two positive sizes, not {sizes:?}"
        );
        let mut layout = Layout::default();
        let layers = sizes
            .windows(2)
            .enumerate()
            .map(|(l, s)| Layer {
                inputs: s[0],
                outputs: s[1],
                w: layout.push(format!("w{l}"), s),
                b: layout.push(format!("b{l}"), &s[1..]),
            })
            .collect();
        Mlp { layers, layout, activation }
    }

    /// Names, shapes and places of the parameters.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How many parameters there are.
    pub fn num_params(&self) -> usize {
        self.layout.len()
    }

    /// Values per input row.
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// Values per output row.
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs
    }

    /// Room for batches of up to `capacity` rows.
    pub fn workspace<F: Real>(&self, capacity: usize) -> Workspace<F> {
        self.workspace_for(capacity, false)
    }

    /// The same, with room for the gradient at the input if that is wanted.
    pub(crate) fn workspace_for<F: Real>(&self, capacity: usize, input_gradient: bool) -> Workspace<F> {
        let widest = self.layers.iter().map(|l| l.inputs.max(l.outputs)).max().unwrap_or(0);
        let block = capacity.min(BLOCK);
        Workspace {
            capacity,
            batch: 0,
            outputs: self.layers.iter().map(|l| vec![F::zero(); capacity * l.outputs]).collect(),
            delta: vec![F::zero(); block * widest],
            next_delta: vec![F::zero(); block * widest],
            transposed: self.layers[1..].iter().map(|l| vec![F::zero(); l.w.len()]).collect(),
            narrow: self
                .layers
                .iter()
                .map(|l| vec![F::zero(); if l.narrow() { l.w.len() } else { 0 }])
                .collect(),
            flipped: input_gradient.then(|| {
                let first = &self.layers[0];
                [vec![F::zero(); block * first.outputs], vec![F::zero(); block * first.inputs]]
            }),
        }
    }

    /// Orthogonal weights with `gain` for the hidden layers and `output_gain` for the last, zero biases.
    pub fn init_orthogonal<F: Real>(&self, params: &mut [F], gain: f64, output_gain: f64, rng: &mut Stream) {
        self.fill(params, |layer, is_last| {
            init::orthogonal(rng, layer.inputs, layer.outputs, if is_last { output_gain } else { gain })
        });
    }

    /// Weights uniform in `±1/sqrt(in)`, zero biases.
    pub fn init_uniform<F: Real>(&self, params: &mut [F], rng: &mut Stream) {
        self.fill(params, |layer, _| {
            init::uniform(rng, layer.inputs, layer.outputs, (layer.inputs as f64).sqrt().recip())
        });
    }

    fn fill<F: Real>(&self, params: &mut [F], mut draw: impl FnMut(&Layer, bool) -> ndarray::Array2<f64>) {
        assert_eq!(params.len(), self.num_params(), "params against the network's layout");
        params.fill(F::zero());
        for (l, layer) in self.layers.iter().enumerate() {
            let weights = draw(layer, l + 1 == self.layers.len());
            for (p, w) in params[layer.w.clone()].iter_mut().zip(&weights) {
                *p = F::of(*w);
            }
        }
    }

    // ANCHOR: nn.mlp
    /// Computes the outputs `[B, out]` for `x` `[B, in]` and keeps what [`backward`](Self::backward) and [`jvp`](Self::jvp)
    /// need in `ws`. The order of every sum is the same for every B.
    ///
    /// # Panics
    /// If a shape does not fit, the batch exceeds the workspace, or `x` is not contiguous.
    pub fn forward<'w, F: Real>(
        &self,
        params: &[F],
        x: &ArrayRef2<F>,
        ws: &'w mut Workspace<F>,
    ) -> ArrayView2<'w, F> {
        let batch = self.check(params, x, ws);
        ws.batch = batch;
        let x = x.as_slice().expect("x must be contiguous");
        for (from, to) in blocks(batch) {
            for (l, layer) in self.layers.iter().enumerate() {
                let (before, after) = ws.outputs.split_at_mut(l);
                let input = before.last().map_or(x, Vec::as_slice);
                let input = Matrix::rows(&input[from * layer.inputs..to * layer.inputs], layer.inputs);
                let output = &mut after[0][from * layer.outputs..to * layer.outputs];
                let (w, b) = (&params[layer.w.clone()], &params[layer.b.clone()]);
                let (hidden, start) = (l + 1 < self.layers.len(), Start::Bias(b));
                let finish = if hidden && self.relu() { Finish::Relu } else { Finish::Keep };
                product_then(to - from, layer.inputs, layer.outputs, input, w, start, finish, output);
                if hidden && !self.relu() {
                    self.activation.apply(output);
                }
            }
        }
        ws.output(self)
    }

    /// Adds the gradient of a loss to `grad`, given `d_out` `[B, out]`, the loss's gradient at the outputs of the last
    /// [`forward`](Self::forward), which must have been run on the same `params` and `x`.
    ///
    /// # Panics
    /// If a shape does not fit.
    pub fn backward<F: Real>(
        &self,
        params: &[F],
        x: &ArrayRef2<F>,
        d_out: &ArrayRef2<F>,
        ws: &mut Workspace<F>,
        grad: &mut [F],
    ) {
        self.backward_to(params, x, d_out, ws, grad, None);
    }

    /// The same; the gradient at `x` is written to `d_x`, if that is wanted.
    pub(crate) fn backward_to<F: Real>(
        &self,
        params: &[F],
        x: &ArrayRef2<F>,
        d_out: &ArrayRef2<F>,
        ws: &mut Workspace<F>,
        grad: &mut [F],
        mut d_x: Option<&mut [F]>,
    ) {
        let batch = self.check(params, x, ws);
        assert_eq!(batch, ws.batch, "x against the batch of the last forward");
        assert_eq!(d_out.dim(), (batch, self.outputs()), "d_out against the outputs");
        assert_eq!(grad.len(), params.len(), "grad against params");
        let x = x.as_slice().expect("x must be contiguous");
        let d_out = d_out.as_slice().expect("d_out must be contiguous");
        for (layer, transposed) in self.layers[1..].iter().zip(&mut ws.transposed) {
            transpose(&params[layer.w.clone()], layer.inputs, layer.outputs, transposed);
        }
        for (from, to) in blocks(batch) {
            let rows = to - from;
            let d_out = &d_out[from * self.outputs()..to * self.outputs()];
            ws.delta[..d_out.len()].copy_from_slice(d_out);
            for (l, layer) in self.layers.iter().enumerate().rev() {
                let (inputs, outputs) = (layer.inputs, layer.outputs);
                let delta = &mut ws.delta[..rows * outputs];
                if l + 1 < self.layers.len() && !self.relu() {
                    self.activation.chain(&ws.outputs[l][from * outputs..to * outputs], delta);
                }
                let input = if l == 0 { x } else { &ws.outputs[l - 1] };
                let input = &input[from * inputs..to * inputs];
                if layer.narrow() {
                    let start = if from == 0 { Start::Zero } else { Start::Accumulate };
                    let delta = Matrix::rows(delta, outputs).t();
                    product(outputs, rows, inputs, delta, input, start, &mut ws.narrow[l]);
                } else {
                    let input = Matrix::rows(input, inputs).t();
                    product(
                        inputs,
                        rows,
                        outputs,
                        input,
                        delta,
                        Start::Accumulate,
                        &mut grad[layer.w.clone()],
                    );
                }
                add_column_sums(delta, &mut grad[layer.b.clone()]);
                if l > 0 {
                    let next = &mut ws.next_delta[..rows * inputs];
                    let (delta, w) = (Matrix::rows(delta, outputs), &ws.transposed[l - 1]);
                    let finish = if self.relu() { Finish::WherePositive(input) } else { Finish::Keep };
                    product_then(rows, outputs, inputs, delta, w, Start::Zero, finish, next);
                    std::mem::swap(&mut ws.delta, &mut ws.next_delta);
                } else if let Some(d_x) = &mut d_x {
                    // dx^T = W D^T: the first layer is the largest by far behind a convolution, and turning two blocks of
                    // rows round takes less time than turning its weights.
                    let [delta_t, d_x_t] =
                        ws.flipped.as_mut().expect("a workspace with room for the input's gradient");
                    let (delta_t, d_x_t) = (&mut delta_t[..rows * outputs], &mut d_x_t[..rows * inputs]);
                    transpose(&ws.delta[..rows * outputs], rows, outputs, delta_t);
                    let w = Matrix::rows(&params[layer.w.clone()], outputs);
                    product(inputs, outputs, rows, w, delta_t, Start::Zero, d_x_t);
                    transpose(d_x_t, inputs, rows, &mut d_x[from * inputs..to * inputs]);
                }
            }
        }
        for (layer, transposed) in self.layers.iter().zip(&ws.narrow).filter(|(layer, _)| layer.narrow()) {
            for (i, row) in grad[layer.w.clone()].chunks_exact_mut(layer.outputs).enumerate() {
                for (o, g) in row.iter_mut().enumerate() {
                    *g += transposed[o * layer.inputs + i];
                }
            }
        }
    }
    // ANCHOR_END: nn.mlp

    /// The directional derivative of the outputs along `tangent` (a direction in parameter space), at the `params` and `x`
    /// of the last [`forward`](Self::forward): `J tangent`, `[B, out]`, written to `out`.
    ///
    /// # Panics
    /// If a shape does not fit.
    pub fn jvp<F: Real>(
        &self,
        params: &[F],
        x: &ArrayRef2<F>,
        tangent: &[F],
        ws: &mut Workspace<F>,
        out: &mut ArrayRef2<F>,
    ) {
        self.jvp_from(params, x, tangent, None, ws, out);
    }

    /// The same, with `d_x` the tangent of `x`, unless that is constant.
    pub(crate) fn jvp_from<F: Real>(
        &self,
        params: &[F],
        x: &ArrayRef2<F>,
        tangent: &[F],
        d_x: Option<&[F]>,
        ws: &mut Workspace<F>,
        out: &mut ArrayRef2<F>,
    ) {
        let batch = self.check(params, x, ws);
        assert_eq!(batch, ws.batch, "x against the batch of the last forward");
        assert_eq!(tangent.len(), params.len(), "tangent against params");
        assert_eq!(out.dim(), (batch, self.outputs()), "out against the outputs");
        let x = x.as_slice().expect("x must be contiguous");
        let out = out.as_slice_mut().expect("out must be contiguous");
        for (from, to) in blocks(batch) {
            let rows = to - from;
            for (l, layer) in self.layers.iter().enumerate() {
                let (inputs, outputs) = (layer.inputs, layer.outputs);
                let input = if l == 0 { x } else { &ws.outputs[l - 1] };
                let input = Matrix::rows(&input[from * inputs..to * inputs], inputs);
                let (dw, db) = (&tangent[layer.w.clone()], &tangent[layer.b.clone()]);
                let next = &mut ws.next_delta[..rows * outputs];
                product(rows, inputs, outputs, input, dw, Start::Bias(db), next);
                let carried = match d_x {
                    _ if l > 0 => Some(&ws.delta[..rows * inputs]),
                    d_x => d_x.map(|d_x| &d_x[from * inputs..to * inputs]),
                };
                if let Some(carried) = carried {
                    let (carried, w) = (Matrix::rows(carried, inputs), &params[layer.w.clone()]);
                    product(rows, inputs, outputs, carried, w, Start::Accumulate, next);
                }
                if l + 1 < self.layers.len() {
                    self.activation.chain(&ws.outputs[l][from * outputs..to * outputs], next);
                }
                std::mem::swap(&mut ws.delta, &mut ws.next_delta);
            }
            let columns = self.outputs();
            out[from * columns..to * columns].copy_from_slice(&ws.delta[..rows * columns]);
        }
    }

    /// Whether the activation is done by the products.
    fn relu(&self) -> bool {
        self.activation == Activation::Relu
    }

    fn check<F: Real>(&self, params: &[F], x: &ArrayRef2<F>, ws: &Workspace<F>) -> usize {
        assert_eq!(params.len(), self.num_params(), "params against the network's layout");
        assert_eq!(x.ncols(), self.inputs(), "columns of x against the network's inputs");
        assert!(x.nrows() <= ws.capacity, "batch of {} rows in a workspace for {}", x.nrows(), ws.capacity);
        x.nrows()
    }
}

impl<F: Real> Workspace<F> {
    /// How many rows fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The outputs of the last forward pass `[B, out]`.
    pub fn output(&self, mlp: &Mlp) -> ArrayView2<'_, F> {
        let columns = mlp.outputs();
        let last = &self.outputs[self.outputs.len() - 1];
        ArrayView2::from_shape((self.batch, columns), &last[..self.batch * columns])
            .expect("the output is contiguous")
    }
}

/// The blocks of rows `from..to` that cover a batch.
fn blocks(batch: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..batch).step_by(BLOCK).map(move |from| (from, (from + BLOCK).min(batch)))
}

/// `sums += 1^T rows`, as a product with a matrix of ones, all of which are the same number in memory.
pub(crate) fn add_column_sums<F: Real>(rows: &[F], sums: &mut [F]) {
    let ones = Matrix { data: &[F::one()], row: 0, col: 0 };
    product(1, rows.len() / sums.len(), sums.len(), ones, rows, Start::Accumulate, sums);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn forward_of_a_network_small_enough_to_check_by_hand() {
        let mlp = Mlp::new(&[2, 2, 1], Activation::Relu);
        assert_eq!(mlp.layout().get("w1").map(|v| v.range.clone()), Some(6..8));
        let params = [1.0, 2.0, 3.0, 4.0, -1.0, 1.0, 10.0, 100.0, 0.5];
        let mut ws = mlp.workspace(1);
        let y = mlp.forward(&params, &array![[1.0, -1.0]], &mut ws);
        // Hidden pre-activations (1 - 3 - 1, 2 - 4 + 1) = (-3, -1): both units are off.
        assert_eq!(y, array![[0.5]]);
        let y = mlp.forward(&params, &array![[1.0, 1.0]], &mut ws);
        assert_eq!(y, array![[10.0 * 3.0 + 100.0 * 7.0 + 0.5]]);
    }

    #[test]
    fn a_row_does_not_depend_on_its_batch() {
        for (sizes, activation) in [
            (&[4, 64, 64, 2], Activation::Tanh),
            (&[4, 120, 84, 2], Activation::Relu),
            (&[300, 20, 84, 100], Activation::Relu),
        ] {
            let mlp = Mlp::new(sizes, activation);
            let mut params = vec![0.0f32; mlp.num_params()];
            let mut rng = Stream::new(1, "mlp", 0);
            mlp.init_orthogonal(&mut params, 1.4, 0.5, &mut rng);
            let x = Array2::from_shape_fn((61, mlp.inputs()), |_| rng.normal() as f32);
            let mut ws = mlp.workspace(61);
            let whole = mlp.forward(&params, &x, &mut ws).to_owned();
            for rows in [1, 2, 3, 5, 13] {
                for i in 0..61 - rows {
                    let part = x.slice(ndarray::s![i..i + rows, ..]);
                    assert_eq!(
                        mlp.forward(&params, &part, &mut ws),
                        whole.slice(ndarray::s![i..i + rows, ..])
                    );
                }
            }
        }
    }
}
