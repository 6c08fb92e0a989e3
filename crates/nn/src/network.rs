//! Networks for vectors and images: convolutions, then dense layers, then, if asked for, a dueling head.
//!
//! A network without convolutions and without a dueling head is an [`Mlp`] and costs no more than one.

use crate::conv::{Conv, ConvSpec, ConvWorkspace};
use crate::dueling::{dueling, dueling_gradient};
use crate::{Activation, Layout, Mlp, Workspace, init};
use ndarray::{ArrayRef2, ArrayView2, ArrayViewMut2};
use rederive_math::{Real, Stream};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What a network looks at; one row of a batch holds one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    /// So many numbers.
    Flat(usize),
    /// `[height, width, channels]`, channels innermost.
    Image([usize; 3]),
}

impl Input {
    /// Numbers per input.
    pub fn len(self) -> usize {
        match self {
            Input::Flat(n) => n,
            Input::Image(shape) => shape.iter().product(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// The shape of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// What it looks at.
    pub input: Input,
    /// Convolutions, first to last, each followed by the activation; needs images.
    #[serde(default)]
    pub conv: Vec<ConvSpec>,
    /// Units of the hidden layers, each followed by the activation.
    pub hidden: Vec<usize>,
    /// Values per output row.
    pub outputs: usize,
    /// The non-linearity between layers.
    #[serde(default)]
    pub activation: Activation,
    /// Whether the last layer is a state value and an advantage per output, put together by [`dueling`].
    #[serde(default)]
    pub dueling: bool,
}

/// A network built from a [`NetworkSpec`]. Its parameters are a flat slice that the caller owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    conv: Vec<ConvLayer>,
    mlp: Mlp,
    layout: Layout,
    activation: Activation,
    outputs: usize,
    dueling: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct ConvLayer {
    conv: Conv,
    w: Range<usize>,
    b: Range<usize>,
}

/// Room for the activations and gradients of batches up to a fixed size; nothing is allocated in a pass.
#[derive(Clone, Debug)]
pub struct NetworkWorkspace<F> {
    conv: Vec<ConvWorkspace<F>>,
    /// Output of each convolution `[capacity, its outputs]`.
    images: Vec<Vec<F>>,
    /// Gradients or tangents of the last convolution's output `[capacity, its outputs]`.
    features: Vec<F>,
    /// Gradients or tangents of two neighbouring convolutions' outputs, for one block of images.
    delta: Vec<F>,
    next_delta: Vec<F>,
    mlp: Workspace<F>,
    /// Action values `[capacity, outputs]` behind a dueling head.
    q: Vec<F>,
    /// Gradients or tangents at its two heads `[capacity, 1 + outputs]`.
    heads: Vec<F>,
}

/// Images go through all convolutions in blocks of this size, so that what lies between two layers stays in the cache.
const BLOCK: usize = 4;

impl Network {
    /// Lays out a network.
    ///
    /// # Errors
    /// Why the shapes do not fit, in words that name the sizes.
    pub fn new(spec: &NetworkSpec) -> Result<Self, String> {
        if spec.input.is_empty() {
            return Err(format!("a network cannot look at {:?}, which is empty", spec.input));
        }
        if let Some(l) = spec.hidden.iter().position(|&units| units == 0) {
            return Err(format!("hidden layer {l} has 0 units, at least 1 is needed"));
        }
        if spec.outputs == 0 {
            return Err("a network with 0 outputs, at least 1 is needed".into());
        }
        let mut layout = Layout::default();
        let mut conv = Vec::with_capacity(spec.conv.len());
        let mut features = spec.input;
        for (l, &layer) in spec.conv.iter().enumerate() {
            let Input::Image(shape) = features else {
                return Err(format!(
                    "convolutions need images [height, width, channels], not {} numbers",
                    features.len()
                ));
            };
            let layer = Conv::new(shape, layer).map_err(|why| format!("convolution {l}: {why}"))?;
            features = Input::Image(layer.output());
            let (window, channels) = (layer.window(), layer.spec().channels);
            conv.push(ConvLayer {
                w: layout.push(format!("conv{l}.w"), &[window, channels]),
                b: layout.push(format!("conv{l}.b"), &[channels]),
                conv: layer,
            });
        }
        let mut sizes = vec![features.len()];
        sizes.extend(&spec.hidden);
        sizes.push(spec.outputs + usize::from(spec.dueling));
        let mlp = Mlp::new(&sizes, spec.activation);
        for view in mlp.layout().views() {
            layout.push(view.name.clone(), &view.shape);
        }
        Ok(Network {
            conv,
            mlp,
            layout,
            activation: spec.activation,
            outputs: spec.outputs,
            dueling: spec.dueling,
        })
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
        self.conv.first().map_or(self.mlp.inputs(), |layer| layer.conv.inputs())
    }

    /// Values per output row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Room for batches of up to `capacity` rows.
    pub fn workspace<F: Real>(&self, capacity: usize) -> NetworkWorkspace<F> {
        let zeros = |len: usize| vec![F::zero(); len];
        let rows = if self.dueling { capacity } else { 0 };
        let block = capacity.min(BLOCK);
        let widest = self.conv.iter().map(|layer| layer.conv.outputs()).max().unwrap_or(0);
        NetworkWorkspace {
            conv: self.conv.iter().map(|layer| layer.conv.workspace(block)).collect(),
            images: self.conv.iter().map(|layer| zeros(capacity * layer.conv.outputs())).collect(),
            features: zeros(self.conv.last().map_or(0, |layer| capacity * layer.conv.outputs())),
            delta: zeros(block * widest),
            next_delta: zeros(block * widest),
            mlp: self.mlp.workspace_for(capacity, !self.conv.is_empty()),
            q: zeros(rows * self.outputs),
            heads: zeros(rows * (1 + self.outputs)),
        }
    }

    /// Orthogonal weights with `gain` for all layers but the last, which gets `output_gain`; zero biases.
    pub fn init_orthogonal<F: Real>(&self, params: &mut [F], gain: f64, output_gain: f64, rng: &mut Stream) {
        self.fill(params, |inputs, outputs| init::orthogonal(rng, inputs, outputs, gain));
        self.mlp.init_orthogonal(&mut params[self.convolved()..], gain, output_gain, rng);
    }

    /// Weights uniform in `±1/sqrt(in)`, zero biases.
    pub fn init_uniform<F: Real>(&self, params: &mut [F], rng: &mut Stream) {
        self.fill(params, |inputs, outputs| {
            init::uniform(rng, inputs, outputs, (inputs as f64).sqrt().recip())
        });
        self.mlp.init_uniform(&mut params[self.convolved()..], rng);
    }

    /// The weights of the convolutions from `draw(inputs, outputs)`, and zero biases.
    fn fill<F: Real>(&self, params: &mut [F], mut draw: impl FnMut(usize, usize) -> ndarray::Array2<f64>) {
        assert_eq!(params.len(), self.num_params(), "params against the network's layout");
        for layer in &self.conv {
            let weights = draw(layer.conv.window(), layer.conv.spec().channels);
            params[layer.w.clone()].iter_mut().zip(&weights).for_each(|(p, &w)| *p = F::of(w));
            params[layer.b.clone()].fill(F::zero());
        }
    }

    /// How many parameters belong to convolutions; they come first.
    fn convolved(&self) -> usize {
        self.conv.last().map_or(0, |layer| layer.b.end)
    }

    /// Computes the outputs `[B, out]` for `x` `[B, in]` and keeps what [`backward`](Self::backward) and [`jvp`](Self::jvp)
    /// need in `ws`. The order of every sum is the same for every B.
    ///
    /// # Panics
    /// If a shape does not fit, the batch exceeds the workspace, or `x` is not contiguous.
    #[inline]
    pub fn forward<'w, F: Real>(
        &self,
        params: &[F],
        x: &ArrayRef2<F>,
        ws: &'w mut NetworkWorkspace<F>,
    ) -> ArrayView2<'w, F> {
        let heads = if self.conv.is_empty() {
            self.mlp.forward(params, x, &mut ws.mlp)
        } else {
            self.convolve(params, x, ws);
            let features = self.features(x.nrows(), &ws.images);
            self.mlp.forward(&params[self.convolved()..], &features, &mut ws.mlp)
        };
        if !self.dueling {
            return heads;
        }
        let q = &mut ws.q[..x.nrows() * self.outputs];
        dueling(heads.as_slice().expect("the output is contiguous"), self.outputs, q);
        ArrayView2::from_shape((x.nrows(), self.outputs), q).expect("the output is contiguous")
    }

    /// Runs the convolutions.
    fn convolve<F: Real>(&self, params: &[F], x: &ArrayRef2<F>, ws: &mut NetworkWorkspace<F>) {
        self.check(params, x, ws);
        let x = x.as_slice().expect("x must be contiguous");
        for (from, to) in blocks(x.len() / self.inputs()) {
            for (l, layer) in self.conv.iter().enumerate() {
                let (before, after) = ws.images.split_at_mut(l);
                let (inputs, outputs) = (layer.conv.inputs(), layer.conv.outputs());
                let input = &before.last().map_or(x, Vec::as_slice)[from * inputs..to * inputs];
                let output = &mut after[0][from * outputs..to * outputs];
                let (w, b) = (&params[layer.w.clone()], &params[layer.b.clone()]);
                layer.conv.forward(w, b, input, &mut ws.conv[l], output);
                self.activation.apply(output);
            }
        }
    }

    /// What the dense layers look at.
    fn features<'w, F>(&self, batch: usize, images: &'w [Vec<F>]) -> ArrayView2<'w, F> {
        let inputs = self.mlp.inputs();
        ArrayView2::from_shape((batch, inputs), &images[images.len() - 1][..batch * inputs])
            .expect("the features are contiguous")
    }

    /// Adds the gradient of a loss to `grad`, given `d_out` `[B, out]`, the loss's gradient at the outputs of the last
    /// [`forward`](Self::forward), which must have been run on the same `params` and `x`.
    ///
    /// # Panics
    /// If a shape does not fit.
    #[inline]
    pub fn backward<F: Real>(
        &self,
        params: &[F],
        x: &ArrayRef2<F>,
        d_out: &ArrayRef2<F>,
        ws: &mut NetworkWorkspace<F>,
        grad: &mut [F],
    ) {
        if !self.dueling {
            return self.backward_heads(params, x, d_out, ws, grad);
        }
        assert_eq!(d_out.dim(), (x.nrows(), self.outputs), "d_out against the outputs");
        let mut heads = std::mem::take(&mut ws.heads);
        let used = &mut heads[..x.nrows() * (1 + self.outputs)];
        dueling_gradient(d_out.as_slice().expect("d_out must be contiguous"), self.outputs, used);
        let d_heads =
            ArrayView2::from_shape((x.nrows(), 1 + self.outputs), &*used).expect("the heads are contiguous");
        self.backward_heads(params, x, &d_heads, ws, grad);
        ws.heads = heads;
    }

    /// The same without a dueling head.
    #[inline]
    fn backward_heads<F: Real>(
        &self,
        params: &[F],
        x: &ArrayRef2<F>,
        d_out: &ArrayRef2<F>,
        ws: &mut NetworkWorkspace<F>,
        grad: &mut [F],
    ) {
        if self.conv.is_empty() {
            return self.mlp.backward(params, x, d_out, &mut ws.mlp, grad);
        }
        self.check(params, x, ws);
        assert_eq!(grad.len(), params.len(), "grad against params");
        let features = self.features(x.nrows(), &ws.images);
        let (grad, mlp_grad) = grad.split_at_mut(self.convolved());
        let params_of_mlp = &params[self.convolved()..];
        self.mlp.backward_to(params_of_mlp, &features, d_out, &mut ws.mlp, mlp_grad, Some(&mut ws.features));
        let x = x.as_slice().expect("x must be contiguous");
        let columns = self.mlp.inputs();
        for (from, to) in blocks(x.len() / self.inputs()) {
            ws.delta[..(to - from) * columns].copy_from_slice(&ws.features[from * columns..to * columns]);
            for (l, layer) in self.conv.iter().enumerate().rev() {
                let (inputs, outputs) = (layer.conv.inputs(), layer.conv.outputs());
                let delta = &mut ws.delta[..(to - from) * outputs];
                self.activation.chain(&ws.images[l][from * outputs..to * outputs], delta);
                let input = if l == 0 { x } else { &ws.images[l - 1] };
                let (d_w, d_b) = grad[layer.w.start..layer.b.end].split_at_mut(layer.w.len());
                // Nobody asks for the gradient at the images themselves.
                let d_x = (l > 0).then(|| &mut ws.next_delta[..(to - from) * inputs]);
                let input = &input[from * inputs..to * inputs];
                layer.conv.backward(&params[layer.w.clone()], input, delta, &mut ws.conv[l], d_w, d_b, d_x);
                std::mem::swap(&mut ws.delta, &mut ws.next_delta);
            }
        }
    }

    /// The directional derivative of the outputs along `tangent` (a direction in parameter space), at the `params` and `x`
    /// of the last [`forward`](Self::forward): `J tangent`, `[B, out]`, written to `out`.
    ///
    /// # Panics
    /// If a shape does not fit.
    #[inline]
    pub fn jvp<F: Real>(
        &self,
        params: &[F],
        x: &ArrayRef2<F>,
        tangent: &[F],
        ws: &mut NetworkWorkspace<F>,
        out: &mut ArrayRef2<F>,
    ) {
        if !self.dueling {
            return self.jvp_heads(params, x, tangent, ws, out);
        }
        assert_eq!(out.dim(), (x.nrows(), self.outputs), "out against the outputs");
        let mut heads = std::mem::take(&mut ws.heads);
        let used = &mut heads[..x.nrows() * (1 + self.outputs)];
        let mut view = ArrayViewMut2::from_shape((x.nrows(), 1 + self.outputs), &mut *used)
            .expect("the heads are contiguous");
        self.jvp_heads(params, x, tangent, ws, &mut view);
        dueling(used, self.outputs, out.as_slice_mut().expect("out must be contiguous"));
        ws.heads = heads;
    }

    /// The same without a dueling head.
    #[inline]
    fn jvp_heads<F: Real>(
        &self,
        params: &[F],
        x: &ArrayRef2<F>,
        tangent: &[F],
        ws: &mut NetworkWorkspace<F>,
        out: &mut ArrayRef2<F>,
    ) {
        if self.conv.is_empty() {
            return self.mlp.jvp(params, x, tangent, &mut ws.mlp, out);
        }
        self.check(params, x, ws);
        assert_eq!(tangent.len(), params.len(), "tangent against params");
        let batch = x.nrows();
        let x = x.as_slice().expect("x must be contiguous");
        let columns = self.mlp.inputs();
        for (from, to) in blocks(batch) {
            for (l, layer) in self.conv.iter().enumerate() {
                let (inputs, outputs) = (layer.conv.inputs(), layer.conv.outputs());
                let input = &if l == 0 { x } else { &ws.images[l - 1] }[from * inputs..to * inputs];
                let carried = (l > 0).then(|| &ws.delta[..(to - from) * inputs]);
                let next = &mut ws.next_delta[..(to - from) * outputs];
                let (w, d_w, d_b) =
                    (&params[layer.w.clone()], &tangent[layer.w.clone()], &tangent[layer.b.clone()]);
                layer.conv.jvp(w, input, d_w, d_b, carried, &mut ws.conv[l], next);
                self.activation.chain(&ws.images[l][from * outputs..to * outputs], next);
                std::mem::swap(&mut ws.delta, &mut ws.next_delta);
            }
            ws.features[from * columns..to * columns].copy_from_slice(&ws.delta[..(to - from) * columns]);
        }
        let features = self.features(batch, &ws.images);
        let (params, tangent) = (&params[self.convolved()..], &tangent[self.convolved()..]);
        let d_features = Some(&ws.features[..batch * columns]);
        self.mlp.jvp_from(params, &features, tangent, d_features, &mut ws.mlp, out);
    }

    fn check<F: Real>(&self, params: &[F], x: &ArrayRef2<F>, ws: &NetworkWorkspace<F>) {
        assert_eq!(params.len(), self.num_params(), "params against the network's layout");
        assert_eq!(x.ncols(), self.inputs(), "columns of x against the network's inputs");
        assert!(
            x.nrows() <= ws.capacity(),
            "batch of {} rows in a workspace for {}",
            x.nrows(),
            ws.capacity()
        );
    }
}

impl<F: Real> NetworkWorkspace<F> {
    /// How many rows fit.
    pub fn capacity(&self) -> usize {
        self.mlp.capacity()
    }
}

/// The blocks of images `from..to` that cover a batch.
fn blocks(batch: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..batch).step_by(BLOCK).map(move |from| (from, (from + BLOCK).min(batch)))
}
