//! Networks for vectors and images: convolutions, then dense layers, then, if asked for, a dueling head.
//!
//! A network without convolutions and without a dueling head is an [`Mlp`] and costs no more than one.

use crate::conv::ConvSpec;
use crate::dueling::{dueling, dueling_gradient};
use crate::{Activation, Layout, Mlp, Workspace};
use ndarray::{ArrayRef2, ArrayView2, ArrayViewMut2};
use rederive_math::{Real, Stream};
use serde::{Deserialize, Serialize};

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
    mlp: Mlp,
    layout: Layout,
    outputs: usize,
    dueling: bool,
}

/// Room for the activations and gradients of batches up to a fixed size; nothing is allocated in a pass.
#[derive(Clone, Debug)]
pub struct NetworkWorkspace<F> {
    mlp: Workspace<F>,
    /// Action values `[capacity, outputs]` behind a dueling head.
    q: Vec<F>,
    /// Gradients or tangents at its two heads `[capacity, 1 + outputs]`.
    d_heads: Vec<F>,
}

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
        if !spec.conv.is_empty() {
            return Err("convolutions are not laid out".into());
        }
        let mut sizes = vec![spec.input.len()];
        sizes.extend(&spec.hidden);
        sizes.push(spec.outputs + usize::from(spec.dueling));
        let mlp = Mlp::new(&sizes, spec.activation);
        Ok(Network { layout: mlp.layout().clone(), mlp, outputs: spec.outputs, dueling: spec.dueling })
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
        self.mlp.inputs()
    }

    /// Values per output row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Room for batches of up to `capacity` rows.
    pub fn workspace<F: Real>(&self, capacity: usize) -> NetworkWorkspace<F> {
        let rows = if self.dueling { capacity } else { 0 };
        NetworkWorkspace {
            mlp: self.mlp.workspace(capacity),
            q: vec![F::zero(); rows * self.outputs],
            d_heads: vec![F::zero(); rows * (1 + self.outputs)],
        }
    }

    /// Orthogonal weights with `gain` for all layers but the last, which gets `output_gain`; zero biases.
    pub fn init_orthogonal<F: Real>(&self, params: &mut [F], gain: f64, output_gain: f64, rng: &mut Stream) {
        self.mlp.init_orthogonal(params, gain, output_gain, rng);
    }

    /// Weights uniform in `±1/sqrt(in)`, zero biases.
    pub fn init_uniform<F: Real>(&self, params: &mut [F], rng: &mut Stream) {
        self.mlp.init_uniform(params, rng);
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
        let heads = self.mlp.forward(params, x, &mut ws.mlp);
        if !self.dueling {
            return heads;
        }
        let q = &mut ws.q[..x.nrows() * self.outputs];
        dueling(heads.as_slice().expect("the output is contiguous"), self.outputs, q);
        ArrayView2::from_shape((x.nrows(), self.outputs), q).expect("the output is contiguous")
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
            return self.mlp.backward(params, x, d_out, &mut ws.mlp, grad);
        }
        assert_eq!(d_out.dim(), (x.nrows(), self.outputs), "d_out against the outputs");
        let d_heads = &mut ws.d_heads[..x.nrows() * (1 + self.outputs)];
        dueling_gradient(d_out.as_slice().expect("d_out must be contiguous"), self.outputs, d_heads);
        let d_heads = ArrayView2::from_shape((x.nrows(), 1 + self.outputs), &*d_heads)
            .expect("the heads are contiguous");
        self.mlp.backward(params, x, &d_heads, &mut ws.mlp, grad);
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
            return self.mlp.jvp(params, x, tangent, &mut ws.mlp, out);
        }
        assert_eq!(out.dim(), (x.nrows(), self.outputs), "out against the outputs");
        let d_heads = &mut ws.d_heads[..x.nrows() * (1 + self.outputs)];
        let mut heads = ArrayViewMut2::from_shape((x.nrows(), 1 + self.outputs), d_heads)
            .expect("the heads are contiguous");
        self.mlp.jvp(params, x, tangent, &mut ws.mlp, &mut heads);
        let d_heads = &ws.d_heads[..x.nrows() * (1 + self.outputs)];
        dueling(d_heads, self.outputs, out.as_slice_mut().expect("out must be contiguous"));
    }
}

impl<F: Real> NetworkWorkspace<F> {
    /// How many rows fit.
    pub fn capacity(&self) -> usize {
        self.mlp.capacity()
    }
}
