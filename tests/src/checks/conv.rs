//! Convolutions, the dueling head, and the networks made of them: `nn.conv`, `dqn.dueling`.
//!
//! The layers under test unroll windows into matrices, or keep blocks of pixels in registers; the other side is the definition
//! with one loop per index.

use super::nn::{normal_numbers, plain_forward};
use crate::generators::{normal, normals};
use crate::measure::{EXACT, TOL_FD, TOL_ID, Worst};
use crate::oracles::{FD_STEP, gradient, jacobian};
use crate::{Check, fixed, random};
use ndarray::Array2;
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::Real;
use rederive_nn::conv::windows;
use rederive_nn::dueling::{dueling, dueling_gradient};
use rederive_nn::{Activation, Conv, ConvSpec, Input, Network, NetworkSpec};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("nn.conv", "sizes", EXACT, (1..=90usize, 1..=12usize, 1..=14usize, 0..=5usize), sizes),
        fixed("nn.conv", "sizes-of-atari", EXACT, sizes_of_atari),
        random("nn.conv", "definition", TOL_ID, layer(9, 3, 5), definition),
        random("nn.conv", "many-images", TOL_ID, layer(9, 4, 40), definition).at_most(96),
        random("nn.conv", "gradient", TOL_FD, layer(5, 2, 3), layer_gradient).at_most(96),
        random("nn.conv", "adjoint", TOL_ID, layer(9, 4, 40), layer_adjoint),
        random("nn.conv", "shift", EXACT, (layer(9, 3, 2), 0..=3usize, 0..=3usize), shift),
        random("nn.conv", "whole-image", TOL_ID, layer(6, 3, 4), whole_image),
        random("nn.conv", "single-precision", 1e-5, wide_layer(), single_precision),
        random("nn.conv", "network", TOL_ID, network(12, 60), network_definition).at_most(128),
        random("nn.conv", "network-gradient", TOL_FD, smooth(network(3, 6), 1e-3), network_gradient)
            .at_most(96),
        random("nn.conv", "network-jvp", TOL_FD, smooth(network(3, 6), 1e-3), network_jvp),
        random("nn.conv", "network-adjoint", TOL_ID, network(12, 60), network_adjoint),
        random(
            "nn.conv",
            "network-single-precision",
            2e-5,
            smooth(network(20, 40), 1e-5),
            network_single_precision,
        ),
        random("dqn.dueling", "definition", TOL_ID, heads(1..=7, 6), dueling_definition),
        random("dqn.dueling", "gradient", TOL_FD, heads(1..=6, 4), dueling_jacobian),
        random("dqn.dueling", "mean-and-order", TOL_ID, (heads(1..=7, 6), normal()), dueling_mean_and_order),
        random("dqn.dueling", "one-action", TOL_ID, heads(1..=1, 6), dueling_one_action),
        fixed("dqn.dueling", "no-cure-for-overestimation", EXACT, dueling_no_cure),
        fixed("dqn.dueling", "uniform-mean", EXACT, dueling_uniform_mean),
    ]
}

// nn.conv

/// A layer with its parameters, images, the gradient of a loss at the outputs, and a direction.
#[derive(Clone, Debug)]
struct Layer {
    input: [usize; 3],
    spec: ConvSpec,
    w: Vec<f64>,
    b: Vec<f64>,
    x: Vec<f64>,
    d_y: Vec<f64>,
    d_w: Vec<f64>,
    d_b: Vec<f64>,
    d_x: Vec<f64>,
}

/// Images of up to `size` pixels a side and `images` of them, up to `depth` channels in and out, and any kernel, stride and
/// padding that fit.
fn layer(size: usize, depth: usize, images: usize) -> impl Strategy<Value = Layer> + Clone + Send + Sync {
    layer_of((1..=size, 1..=size, 1..=depth), 1..=depth, 1..=images)
}

/// Among them those that have kernels of their own: whole registers of output channels, and rows of every width.
fn wide_layer() -> impl Strategy<Value = Layer> + Clone + Send + Sync {
    let channels = prop_oneof![Just(16usize), Just(32), Just(8), Just(24), 1..=5usize];
    layer_of((1..=13usize, 1..=21usize, 1..=10usize), channels, 1..=6)
}

fn layer_of(
    input: (
        std::ops::RangeInclusive<usize>,
        std::ops::RangeInclusive<usize>,
        std::ops::RangeInclusive<usize>,
    ),
    channels: impl Strategy<Value = usize> + Clone + Send + Sync,
    images: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = Layer> + Clone + Send + Sync {
    (input, channels, 1..=6usize, 1..=5usize, 0..=4usize, images, any::<u64>())
        .prop_filter("a window must fit", |((h, w, _), _, kernel, _, padding, ..)| {
            padding < kernel && h.min(w) + 2 * padding >= *kernel
        })
        .prop_map(|((height, width, depth), channels, kernel, stride, padding, images, seed)| {
            let input = [height, width, depth];
            let spec = ConvSpec { channels, kernel, stride, padding };
            let mut next = normal_numbers(seed);
            let mut draw = |len: usize, scale: f64| (0..len).map(|_| scale * next()).collect::<Vec<f64>>();
            let window = kernel * kernel * depth;
            let inputs = images * height * width * depth;
            let outputs = images * out(height, &spec) * out(width, &spec) * channels;
            Layer {
                input,
                spec,
                w: draw(window * channels, (window as f64).sqrt().recip()),
                b: draw(channels, 0.5),
                x: draw(inputs, 1.0),
                d_y: draw(outputs, 1.0),
                d_w: draw(window * channels, 1.0),
                d_b: draw(channels, 1.0),
                d_x: draw(inputs, 1.0),
            }
        })
}

/// How many windows lie in `n` padded pixels, by putting one after the other.
fn out(n: usize, spec: &ConvSpec) -> usize {
    (0..).take_while(|i| i * spec.stride + spec.kernel <= n + 2 * spec.padding).count()
}

/// The definition: every output is a sum over a window, in which pixels outside the image count as 0.
fn plain_conv(
    [height, width, depth]: [usize; 3],
    spec: &ConvSpec,
    w: &[f64],
    b: &[f64],
    x: &[f64],
) -> Vec<f64> {
    let ConvSpec { channels, kernel, stride, padding } = *spec;
    let pixel = |image: usize, i: usize, j: usize, c: usize| {
        let (i, j) = (i.wrapping_sub(padding), j.wrapping_sub(padding));
        if i < height && j < width { x[((image * height + i) * width + j) * depth + c] } else { 0.0 }
    };
    let mut y = Vec::new();
    for image in 0..x.len() / (height * width * depth) {
        for i in 0..out(height, spec) {
            for j in 0..out(width, spec) {
                for o in 0..channels {
                    let mut sum = b[o];
                    for u in 0..kernel {
                        for v in 0..kernel {
                            for c in 0..depth {
                                let weight = w[((u * kernel + v) * depth + c) * channels + o];
                                sum += weight * pixel(image, i * stride + u, j * stride + v, c);
                            }
                        }
                    }
                    y.push(sum);
                }
            }
        }
    }
    y
}

/// What a layer computes, in the scalar `F`: outputs, gradients at weights, bias and input, and the derivative along the direction.
struct Passes {
    y: Vec<f64>,
    d_w: Vec<f64>,
    d_b: Vec<f64>,
    d_x: Vec<f64>,
    jvp: Vec<f64>,
    jvp_of_constant_input: Vec<f64>,
}

impl Layer {
    fn conv(&self) -> Conv {
        Conv::new(self.input, self.spec).expect("a window fits")
    }

    fn images(&self) -> usize {
        self.x.len() / self.input.iter().product::<usize>()
    }

    fn plain(&self, w: &[f64], b: &[f64], x: &[f64]) -> Vec<f64> {
        plain_conv(self.input, &self.spec, w, b, x)
    }

    fn run<F: Real>(&self) -> Passes {
        let conv = self.conv();
        let narrow = |x: &[f64]| x.iter().map(|&x| F::of(x)).collect::<Vec<F>>();
        let wide = |x: Vec<F>| x.into_iter().map(Real::to_f64).collect::<Vec<f64>>();
        let (w, b, x, d_y) = (narrow(&self.w), narrow(&self.b), narrow(&self.x), narrow(&self.d_y));
        let mut ws = conv.workspace(self.images());
        let mut y = vec![F::nan(); d_y.len()];
        conv.forward(&w, &b, &x, &mut ws, &mut y);
        // The gradients of the parameters are added to what is there; that of the input is not.
        let (mut d_w, mut d_b, mut d_x) =
            (vec![F::one(); w.len()], vec![F::one(); b.len()], vec![F::nan(); x.len()]);
        conv.backward(&w, &x, &d_y, &mut ws, &mut d_w, &mut d_b, Some(&mut d_x));
        let (t_w, t_b, t_x) = (narrow(&self.d_w), narrow(&self.d_b), narrow(&self.d_x));
        let mut jvp = vec![F::nan(); d_y.len()];
        conv.jvp(&w, &x, &t_w, &t_b, Some(&t_x), &mut ws, &mut jvp);
        let mut constant = vec![F::nan(); d_y.len()];
        conv.jvp(&w, &x, &t_w, &t_b, None, &mut ws, &mut constant);
        let less_one = |x: Vec<F>| wide(x).into_iter().map(|x| x - 1.0).collect();
        Passes {
            y: wide(y),
            d_w: less_one(d_w),
            d_b: less_one(d_b),
            d_x: wide(d_x),
            jvp: wide(jvp),
            jvp_of_constant_input: wide(constant),
        }
    }
}

fn sizes((n, kernel, stride, padding): (usize, usize, usize, usize)) -> Result<f64, String> {
    let mut worst = Worst::new();
    let spec = ConvSpec { channels: 1, kernel, stride, padding };
    let fit = out(n, &spec);
    worst.holds(windows(n, kernel, stride, padding) == (fit > 0).then_some(fit));
    // The same by the other reading of the formula: the last window that fits, counted from 0, plus one.
    let last = (0..=n + 2 * padding).rev().find(|i| i * stride + kernel <= n + 2 * padding);
    worst.holds(windows(n, kernel, stride, padding) == last.map(|i| i + 1));
    worst.done()
}

/// 84 x 84 pixels through kernels 8, 4, 3 with strides 4, 2, 1 become 20, 9, 7; a layer says the same.
fn sizes_of_atari(_: u64) -> Result<f64, String> {
    let mut worst = Worst::new();
    let mut shape = [84, 84, 4];
    for (kernel, stride, channels, size) in [(8, 4, 32, 20), (4, 2, 64, 9), (3, 1, 64, 7)] {
        worst.holds(windows(shape[0], kernel, stride, 0) == Some(size));
        let conv = Conv::new(shape, ConvSpec { channels, kernel, stride, padding: 0 })?;
        worst.holds(conv.output() == [size, size, channels]);
        shape = conv.output();
    }
    // The kernel as large as the image, strides larger than the kernel, padding, and what does not fit.
    worst.holds(windows(5, 5, 1, 0) == Some(1) && windows(5, 5, 3, 0) == Some(1));
    worst.holds(
        windows(10, 2, 5, 0) == Some(2) && windows(5, 3, 1, 1) == Some(5) && windows(2, 4, 1, 1) == Some(1),
    );
    worst.holds(
        windows(4, 5, 1, 0).is_none() && windows(4, 0, 1, 0).is_none() && windows(4, 2, 0, 0).is_none(),
    );
    for (channels, kernel, stride, padding) in
        [(0, 3, 1, 0), (1, 0, 1, 0), (1, 3, 0, 0), (1, 6, 1, 0), (1, 2, 1, 2)]
    {
        worst.holds(Conv::new([5, 9, 1], ConvSpec { channels, kernel, stride, padding }).is_err());
    }
    worst.done()
}

/// All passes against the definition. The layer is bilinear, so its derivatives are the layer itself with one factor
/// replaced by its tangent.
fn definition(layer: Layer) -> Result<f64, String> {
    let passes = layer.run::<f64>();
    let mut worst = Worst::new();
    worst.all(&passes.y, &layer.plain(&layer.w, &layer.b, &layer.x));
    let along_parameters = layer.plain(&layer.d_w, &layer.d_b, &layer.x);
    worst.all(&passes.jvp_of_constant_input, &along_parameters);
    let along_input = layer.plain(&layer.w, &vec![0.0; layer.b.len()], &layer.d_x);
    let both: Vec<f64> = along_parameters.iter().zip(&along_input).map(|(p, x)| p + x).collect();
    worst.all(&passes.jvp, &both);
    // An image's output does not depend on the others in its batch.
    let conv = layer.conv();
    let mut ws = conv.workspace(1);
    let mut one = vec![f64::NAN; conv.outputs()];
    for (x, want) in layer.x.chunks(conv.inputs()).zip(passes.y.chunks(conv.outputs())) {
        conv.forward(&layer.w, &layer.b, x, &mut ws, &mut one);
        worst.all(&one, want);
    }
    worst.done()
}

fn layer_gradient(layer: Layer) -> Result<f64, String> {
    let passes = layer.run::<f64>();
    let loss = |y: Vec<f64>| y.iter().zip(&layer.d_y).map(|(y, d)| y * d).sum::<f64>();
    let mut worst = Worst::new();
    worst.gradient(&passes.d_w, &gradient(|w| loss(layer.plain(w, &layer.b, &layer.x)), &layer.w));
    worst.gradient(&passes.d_b, &gradient(|b| loss(layer.plain(&layer.w, b, &layer.x)), &layer.b));
    worst.gradient(&passes.d_x, &gradient(|x| loss(layer.plain(&layer.w, &layer.b, x)), &layer.x));
    worst.done()
}

/// `<d_y, J t> = <J^T d_y, t>`, with the directions of weights, bias and input.
fn layer_adjoint(layer: Layer) -> Result<f64, String> {
    let passes = layer.run::<f64>();
    let products = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<f64>>();
    let forward = products(&layer.d_y, &passes.jvp);
    let mut backward = products(&layer.d_w, &passes.d_w);
    backward.extend(products(&layer.d_b, &passes.d_b));
    backward.extend(products(&layer.d_x, &passes.d_x));
    let scale = forward.iter().chain(&backward).map(|x| x.abs()).sum();
    let mut worst = Worst::new();
    worst.scaled(forward.iter().sum(), backward.iter().sum(), scale);
    worst.done()
}

/// With stride 1, moving the image moves the output, wherever the windows lie inside the image; bit for bit.
fn shift((layer, down, right): (Layer, usize, usize)) -> Result<f64, String> {
    let mut layer = layer;
    layer.spec.stride = 1;
    let conv = layer.conv();
    let [height, width, depth] = layer.input;
    let [out_height, out_width, channels] = conv.output();
    let mut moved = normals_of(layer.x.len(), 7);
    let index = |image: usize, i: usize, j: usize| ((image * height + i) * width + j) * depth;
    for image in 0..layer.images() {
        for i in down..height {
            for j in right..width {
                let (to, from) = (index(image, i, j), index(image, i - down, j - right));
                moved[to..to + depth].copy_from_slice(&layer.x[from..from + depth]);
            }
        }
    }
    let mut ws = conv.workspace(layer.images());
    let mut run = |x: &[f64]| {
        let mut y = vec![f64::NAN; layer.images() * conv.outputs()];
        conv.forward(&layer.w, &layer.b, x, &mut ws, &mut y);
        y
    };
    let (before, after) = (run(&layer.x), run(&moved));
    let mut worst = Worst::new();
    let ConvSpec { kernel, padding, .. } = layer.spec;
    // The windows that lie inside the image before and after, and behind the rows and columns that were shifted in.
    let inside = |i: usize, n: usize, by: usize| i >= padding + by && i + kernel <= n + padding;
    let at = |image: usize, i: usize, j: usize| ((image * out_height + i) * out_width + j) * channels;
    for image in 0..layer.images() {
        for i in (0..out_height).filter(|&i| inside(i, height, down)) {
            for j in (0..out_width).filter(|&j| inside(j, width, right)) {
                let (now, then) = (at(image, i, j), at(image, i - down, j - right));
                worst.holds(after[now..now + channels] == before[then..then + channels]);
            }
        }
    }
    worst.done()
}

fn normals_of(len: usize, seed: u64) -> Vec<f64> {
    let mut next = normal_numbers(seed);
    (0..len).map(|_| next()).collect()
}

/// A kernel as large as a square image makes a dense layer of the convolution.
fn whole_image(layer: Layer) -> Result<f64, String> {
    let mut layer = layer;
    let side = layer.input[0];
    layer.input[1] = side;
    layer.spec = ConvSpec { kernel: side, padding: 0, ..layer.spec };
    let (inputs, images) = (layer.input.iter().product::<usize>(), 3);
    layer.x = normals_of(images * inputs, 3);
    layer.d_x = normals_of(images * inputs, 4);
    layer.w = normals_of(inputs * layer.spec.channels, 5);
    layer.d_w = normals_of(inputs * layer.spec.channels, 6);
    layer.d_y = normals_of(images * layer.spec.channels, 8);
    let passes = layer.run::<f64>();
    let matrix = |x: &[f64], rows: usize| {
        Array2::from_shape_vec((rows, x.len() / rows), x.to_vec()).expect("whole rows")
    };
    let (x, w, d_y) = (matrix(&layer.x, images), matrix(&layer.w, inputs), matrix(&layer.d_y, images));
    let mut worst = Worst::new();
    worst.all(&passes.y, &(x.dot(&w) + ndarray::aview1(&layer.b)));
    worst.all(&passes.d_w, &x.t().dot(&d_y)).all(&passes.d_x, &d_y.dot(&w.t()));
    worst.all(&passes.d_b, &d_y.sum_axis(ndarray::Axis(0)));
    worst.done()
}

/// The kernels for `f32` against the generic code in `f64`, which runs on the same rounded numbers.
fn single_precision(layer: Layer) -> Result<f64, String> {
    let mut layer = layer;
    for list in [
        &mut layer.w,
        &mut layer.b,
        &mut layer.x,
        &mut layer.d_y,
        &mut layer.d_w,
        &mut layer.d_b,
        &mut layer.d_x,
    ] {
        list.iter_mut().for_each(|x| *x = f64::from(*x as f32));
    }
    let (narrow, wide) = (layer.run::<f32>(), layer.run::<f64>());
    let mut worst = Worst::new();
    worst.all(&narrow.y, &wide.y).all(&narrow.d_w, &wide.d_w).all(&narrow.d_b, &wide.d_b);
    worst.all(&narrow.d_x, &wide.d_x).all(&narrow.jvp, &wide.jvp);
    worst.all(&narrow.jvp_of_constant_input, &wide.jvp_of_constant_input);
    worst.done()
}

// Networks of convolutions, dense layers and a dueling head.

#[derive(Clone, Debug)]
struct Case {
    spec: NetworkSpec,
    params: Vec<f64>,
    tangent: Vec<f64>,
    x: Array2<f64>,
    d_out: Array2<f64>,
}

/// Networks on vectors or images, with up to two convolutions and two hidden layers at most `widest` wide, with and without a
/// dueling head, on at most `rows` inputs; pre-activations are about 1.
fn network(widest: usize, rows: usize) -> impl Strategy<Value = Case> + Clone + Send + Sync {
    let conv =
        (1..=widest, 1..=3usize, 1..=2usize, 0..=1usize).prop_map(|(channels, kernel, stride, padding)| {
            ConvSpec { channels, kernel, stride, padding: padding.min(kernel - 1) }
        });
    let activation = prop_oneof![
        Just(Activation::Identity),
        Just(Activation::Relu),
        Just(Activation::Tanh),
        Just(Activation::Softplus)
    ];
    let image = (3..=5usize, 3..=5usize, 1..=3usize);
    (
        (image, any::<bool>()),
        vec(conv, 0..=2),
        vec(1..=widest, 0..=2),
        1..=4usize,
        activation,
        any::<bool>(),
        1..=rows,
        any::<u64>(),
    )
        .prop_map(|((image, flat), conv, hidden, outputs, activation, dueling, rows, seed)| {
            let (height, width, depth) = image;
            let input = if flat && conv.is_empty() {
                Input::Flat(height * width * depth)
            } else {
                Input::Image([height, width, depth])
            };
            (NetworkSpec { input, conv, hidden, outputs, activation, dueling }, rows, seed)
        })
        .prop_filter("all windows must fit", |(spec, ..)| Network::new(spec).is_ok())
        .prop_map(|(spec, rows, seed)| {
            let network = Network::new(&spec).expect("all windows fit");
            let mut next = normal_numbers(seed);
            let mut params = Vec::with_capacity(network.num_params());
            for view in network.layout().views() {
                let scale = if view.shape.len() == 2 { (view.shape[0] as f64).sqrt().recip() } else { 0.5 };
                params.extend((0..view.range.len()).map(|_| scale * next()));
            }
            let tangent = (0..params.len()).map(|_| next()).collect();
            let x = Array2::from_shape_simple_fn((rows, network.inputs()), &mut next);
            let d_out = Array2::from_shape_simple_fn((rows, network.outputs()), &mut next);
            Case { spec, params, tangent, x, d_out }
        })
}

/// Only networks without a ReLU within `margin` of its kink, on any input.
fn smooth(
    networks: impl Strategy<Value = Case> + Clone + Send + Sync,
    margin: f64,
) -> impl Strategy<Value = Case> + Clone + Send + Sync {
    networks.prop_filter("a unit is too close to its kink", move |case| {
        if case.spec.activation != Activation::Relu {
            return true;
        }
        let mut nearest = f64::INFINITY;
        case.plain(&case.params, |z| nearest = nearest.min(z.abs()));
        nearest > margin
    })
}

impl Case {
    /// The outputs row by row by the definitions; `seen` is shown every pre-activation.
    fn plain(&self, params: &[f64], mut seen: impl FnMut(f64)) -> Vec<f64> {
        let spec = &self.spec;
        let mut all = Vec::new();
        for row in self.x.rows() {
            let mut h = row.to_vec();
            let mut rest = params;
            if let Input::Image(mut shape) = spec.input {
                for layer in &spec.conv {
                    let (w, after) = rest.split_at(layer.kernel * layer.kernel * shape[2] * layer.channels);
                    let (b, after) = after.split_at(layer.channels);
                    rest = after;
                    h = plain_conv(shape, layer, w, b, &h);
                    shape = [out(shape[0], layer), out(shape[1], layer), layer.channels];
                    for z in &mut h {
                        seen(*z);
                        *z = super::nn::plain_activation(spec.activation, *z);
                    }
                }
            }
            let mut sizes = vec![h.len()];
            sizes.extend(&spec.hidden);
            sizes.push(spec.outputs + usize::from(spec.dueling));
            let y = plain_forward(&sizes, spec.activation, rest, &h, &mut seen);
            all.extend(if spec.dueling { plain_dueling(&y) } else { y });
        }
        all
    }

    fn plain_loss(&self, params: &[f64]) -> f64 {
        self.plain(params, |_| ()).iter().zip(&self.d_out).map(|(y, d)| y * d).sum()
    }

    /// Outputs, gradient and derivative along the tangent, computed in the scalar `F`.
    fn run<F: Real>(&self) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let network = Network::new(&self.spec).expect("all windows fit");
        let flat = |x: &[f64]| x.iter().map(|&x| F::of(x)).collect::<Vec<F>>();
        let (params, tangent) = (flat(&self.params), flat(&self.tangent));
        let (x, d_out) = (self.x.mapv(F::of), self.d_out.mapv(F::of));
        // Room for more than is used.
        let mut ws = network.workspace(x.nrows() + 3);
        let y = network.forward(&params, &x, &mut ws).mapv(Real::to_f64);
        let mut jvp = Array2::from_elem(d_out.dim(), F::nan());
        network.jvp(&params, &x, &tangent, &mut ws, &mut jvp);
        // The gradient is added to what is there.
        let mut grad = vec![F::one(); params.len()];
        network.backward(&params, &x, &d_out, &mut ws, &mut grad);
        let grad = grad.into_iter().map(|g| g.to_f64() - 1.0).collect();
        (y.into_iter().collect(), grad, jvp.into_iter().map(Real::to_f64).collect())
    }
}

fn network_definition(case: Case) -> Result<f64, String> {
    let (y, _, _) = case.run::<f64>();
    let mut worst = Worst::new();
    worst.all(&y, &case.plain(&case.params, |_| ()));
    // A batch of one gives the row of the whole batch.
    let network = Network::new(&case.spec)?;
    let mut ws = network.workspace(1);
    for (row, want) in case.x.rows().into_iter().zip(y.chunks(network.outputs())) {
        let one = row.to_owned().insert_axis(ndarray::Axis(0));
        worst.all(network.forward(&case.params, &one, &mut ws), want);
    }
    worst.done()
}

fn network_gradient(case: Case) -> Result<f64, String> {
    let (_, grad, _) = case.run::<f64>();
    let mut worst = Worst::new();
    worst.gradient(&grad, &gradient(|params| case.plain_loss(params), &case.params));
    worst.done()
}

fn network_jvp(case: Case) -> Result<f64, String> {
    let (_, _, jvp) = case.run::<f64>();
    let moved = |sign: f64| {
        let step = |(p, t): (&f64, &f64)| p + sign * FD_STEP * t;
        case.plain(&case.params.iter().zip(&case.tangent).map(step).collect::<Vec<f64>>(), |_| ())
    };
    let difference: Vec<f64> =
        moved(1.0).iter().zip(moved(-1.0)).map(|(a, b)| (a - b) / (2.0 * FD_STEP)).collect();
    // A step along a direction of norm |t| has a truncation error of order |t|^3.
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scale = 1.0 + norm(&jvp) + norm(&case.tangent);
    let mut worst = Worst::new();
    jvp.iter().zip(&difference).for_each(|(j, d)| _ = worst.add((j - d).abs() / scale));
    worst.done()
}

/// Forward and backward differentiation are transposes of one another: `<d_out, J t> = <J^T d_out, t>`.
fn network_adjoint(case: Case) -> Result<f64, String> {
    let (_, grad, jvp) = case.run::<f64>();
    let forward: Vec<f64> = case.d_out.iter().zip(&jvp).map(|(d, j)| d * j).collect();
    let backward: Vec<f64> = grad.iter().zip(&case.tangent).map(|(g, t)| g * t).collect();
    let scale = forward.iter().chain(&backward).map(|x| x.abs()).sum();
    let mut worst = Worst::new();
    worst.scaled(forward.iter().sum(), backward.iter().sum(), scale);
    worst.done()
}

fn network_single_precision(case: Case) -> Result<f64, String> {
    let mut case = case;
    let round = |x: &mut f64| *x = f64::from(*x as f32);
    case.params.iter_mut().for_each(round);
    case.tangent.iter_mut().for_each(round);
    case.x.iter_mut().for_each(round);
    case.d_out.iter_mut().for_each(round);
    let ((y, grad, jvp), (y32, grad32, jvp32)) = (case.run::<f64>(), case.run::<f32>());
    let mut worst = Worst::new();
    worst.all(&y32, &y).all(&grad32, &grad).all(&jvp32, &jvp);
    worst.done()
}

// dqn.dueling

/// Rows of a value and the advantages of some actions.
fn heads(
    actions: std::ops::RangeInclusive<usize>,
    rows: usize,
) -> impl Strategy<Value = Vec<Vec<f64>>> + Clone + Send + Sync {
    (actions, 1..=rows).prop_flat_map(|(actions, rows)| vec(normals(1 + actions..=1 + actions), rows))
}

/// The formula, with one loop per sum.
fn plain_dueling(heads: &[f64]) -> Vec<f64> {
    let mut mean = 0.0;
    for advantage in &heads[1..] {
        mean += advantage / (heads.len() - 1) as f64;
    }
    heads[1..].iter().map(|advantage| heads[0] + advantage - mean).collect()
}

/// The layer on all rows at once.
fn dueling_of(rows: &[Vec<f64>]) -> Vec<f64> {
    let actions = rows[0].len() - 1;
    let mut q = vec![f64::NAN; rows.len() * actions];
    dueling(&rows.concat(), actions, &mut q);
    q
}

fn dueling_definition(rows: Vec<Vec<f64>>) -> Result<f64, String> {
    let mut worst = Worst::new();
    worst.all(&dueling_of(&rows), &rows.iter().flat_map(|row| plain_dueling(row)).collect::<Vec<f64>>());
    worst.done()
}

/// The gradient is the transpose of the Jacobian, whose columns are 1 for the value and those of `I - 1 1^T / n` for the
/// advantages.
fn dueling_jacobian(rows: Vec<Vec<f64>>) -> Result<f64, String> {
    let actions = rows[0].len() - 1;
    let mut worst = Worst::new();
    for row in &rows {
        let difference = jacobian(plain_dueling, row);
        for a in 0..actions {
            let mut d_q = vec![0.0; actions];
            d_q[a] = 1.0;
            let mut d_heads = vec![f64::NAN; 1 + actions];
            dueling_gradient(&d_q, actions, &mut d_heads);
            worst.gradient(&d_heads, &difference[a]);
            worst.same(d_heads[0], 1.0);
            for (other, d) in d_heads[1..].iter().enumerate() {
                worst.same(*d, f64::from(other == a) - 1.0 / actions as f64);
            }
        }
    }
    // All rows at once.
    let d_q = normals_of(rows.len() * actions, 11);
    let mut d_heads = vec![f64::NAN; rows.len() * (1 + actions)];
    dueling_gradient(&d_q, actions, &mut d_heads);
    let loss = |heads: &[f64]| -> f64 {
        heads.chunks(1 + actions).flat_map(plain_dueling).zip(&d_q).map(|(q, d)| q * d).sum()
    };
    worst.gradient(&d_heads, &gradient(loss, &rows.concat()));
    worst.done()
}

/// The mean over the actions is the value, the best action is the one with the largest advantage, and a constant added to all
/// advantages changes nothing.
fn dueling_mean_and_order((rows, c): (Vec<Vec<f64>>, f64)) -> Result<f64, String> {
    let actions = rows[0].len() - 1;
    let q = dueling_of(&rows);
    let best = |x: &[f64]| (0..x.len()).fold(0, |best, a| if x[a] > x[best] { a } else { best });
    let mut worst = Worst::new();
    for (row, q) in rows.iter().zip(q.chunks(actions)) {
        worst.same(q.iter().sum::<f64>() / actions as f64, row[0]);
        let (by_q, by_advantage) = (best(q), best(&row[1..]));
        // A tie may be broken by rounding.
        worst.holds(by_q == by_advantage || (row[1 + by_q] - row[1 + by_advantage]).abs() < 1e-12);
    }
    let moved: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| [&row[..1], &row[1..].iter().map(|a| a + c).collect::<Vec<f64>>()].concat())
        .collect();
    worst.all(&dueling_of(&moved), &q);
    worst.done()
}

/// With one action the advantage cancels.
fn dueling_one_action(rows: Vec<Vec<f64>>) -> Result<f64, String> {
    let mut worst = Worst::new();
    worst.all(&dueling_of(&rows), &rows.iter().map(|row| row[0]).collect::<Vec<f64>>());
    worst.done()
}

/// Two actions worth 0, each seen with noise of +-1: the expected maximum is 0.5 with plain heads and with dueling heads alike, and
/// 0 if independent noise picks the action and another values it.
fn dueling_no_cure(_: u64) -> Result<f64, String> {
    let signs = [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]];
    let max = |q: &[f64]| q[0].max(q[1]);
    let (mut plain, mut duelling, mut double) = (0.0, 0.0, 0.0);
    for noise in signs {
        plain += max(&noise) / 4.0;
        let mean = (noise[0] + noise[1]) / 2.0;
        duelling += max(&dueling_of(&[vec![mean, noise[0], noise[1]]])) / 4.0;
        let chosen = usize::from(noise[1] > noise[0]);
        double += signs.iter().map(|other| other[chosen]).sum::<f64>() / 16.0;
    }
    let mut worst = Worst::new();
    worst.holds(plain == 0.5 && duelling == 0.5 && double == 0.0);
    worst.done()
}

/// The scalar head is the mean of the action values under the uniform policy, and not the value of another one.
fn dueling_uniform_mean(_: u64) -> Result<f64, String> {
    let q = dueling_of(&[vec![2.0, -3.0, 1.0]]);
    let mut worst = Worst::new();
    worst.holds(q == [0.0, 4.0]);
    let value = |policy: [f64; 2]| policy[0] * q[0] + policy[1] * q[1];
    worst.holds(value([0.5, 0.5]) == 2.0 && value([0.1, 0.9]) == 3.6 && value([0.0, 1.0]) == 4.0);
    worst.done()
}
