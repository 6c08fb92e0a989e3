//! Networks and optimisers: `nn.mlp`, `opt.first-order`.
//!
//! The network under test runs on flat arrays with blocked and vectorised products; the other side is one loop per sum.
//! The optimisers under test are recursions with state; the other side adds up the whole history of gradients.

use crate::generators::{normal, normals};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_STAT, Worst};
use crate::oracles::gradient;
use crate::{Check, fixed, random};
use ndarray::{Array2, array};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::Real;
use rederive_nn::{Activation, Mlp, Optimizer, OptimizerConfig, clip_global_norm};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("nn.mlp", "definition", TOL_ID, network(1..=3, 9, 100), mlp_definition),
        random("nn.mlp", "gradient", TOL_FD, smooth(network(1..=3, 5, 4), 1e-3), mlp_gradient),
        random("nn.mlp", "jvp", TOL_FD, smooth(network(1..=3, 5, 4), 1e-3), mlp_jvp),
        random("nn.mlp", "many-rows", TOL_FD, smooth(network(1..=2, 4, 80), 1e-3), mlp_gradient).at_most(96),
        random("nn.mlp", "adjoint", TOL_ID, network(1..=4, 12, 90), mlp_adjoint),
        random("nn.mlp", "collapse", TOL_ID, (network(2..=2, 8, 5), 0.0..=3.0f64), mlp_collapse),
        random("nn.mlp", "dead-units", EXACT, network(2..=3, 8, 5), mlp_dead_units),
        random(
            "nn.mlp",
            "single-precision",
            2e-5,
            smooth(network(1..=3, 70, 120), 1e-5),
            mlp_single_precision,
        )
        .at_most(96),
        random("opt.first-order", "definition", TOL_ID, history(), optimizer_definition),
        fixed("opt.first-order", "first-step", TOL_STAT, optimizer_first_step),
        random("opt.first-order", "limits", TOL_ID, (-3.0..=3.0f64, 0.0..=0.95f64), optimizer_limits),
        random(
            "opt.first-order",
            "reductions",
            TOL_ID,
            (normals(1..=6), 1e-9..=1e-2f64, 1e-4..=1.0f64),
            optimizer_reductions,
        ),
        random("opt.first-order", "zero-gradient", EXACT, (rule(), normals(1..=6)), optimizer_zero_gradient),
        random("opt.first-order", "single-precision", 1e-5, wide_history(), optimizer_single_precision),
        random("opt.first-order", "clipping", 1e-10, (normals(1..=100), 1e-2..=20.0f64), clipping),
        fixed("opt.first-order", "clipping-non-finite", EXACT, clipping_non_finite),
    ]
}

// nn.mlp

/// A network with its parameters, a batch of inputs, the gradient of a loss at the outputs, and a direction.
#[derive(Clone, Debug)]
struct Network {
    sizes: Vec<usize>,
    activation: Activation,
    params: Vec<f64>,
    x: Array2<f64>,
    d_out: Array2<f64>,
    tangent: Vec<f64>,
}

/// Networks of `layers` layers, each at most `widest` wide, on at most `rows` inputs; pre-activations are about 1.
fn network(
    layers: std::ops::RangeInclusive<usize>,
    widest: usize,
    rows: usize,
) -> impl Strategy<Value = Network> + Clone + Send + Sync {
    let activation = prop_oneof![
        Just(Activation::Identity),
        Just(Activation::Relu),
        Just(Activation::Tanh),
        Just(Activation::Softplus)
    ];
    (vec(1..=widest, layers.start() + 1..=layers.end() + 1), activation, 1..=rows, any::<u64>()).prop_map(
        |(sizes, activation, rows, seed)| {
            let mut next = normal_numbers(seed);
            let mut params = Vec::new();
            let mut tangent = Vec::new();
            for pair in sizes.windows(2) {
                let scale = (pair[0] as f64).sqrt().recip();
                params.extend((0..pair[0] * pair[1]).map(|_| scale * next()));
                params.extend((0..pair[1]).map(|_| 0.5 * next()));
            }
            tangent.extend((0..params.len()).map(|_| next()));
            let x = Array2::from_shape_simple_fn((rows, sizes[0]), &mut next);
            let d_out = Array2::from_shape_simple_fn((rows, sizes[sizes.len() - 1]), &mut next);
            Network { sizes, activation, params, x, d_out, tangent }
        },
    )
}

/// Standard normal numbers by Box and Muller from a 64-bit mixer (Steele, Lea and Flood, 2014).
pub(super) fn normal_numbers(mut state: u64) -> impl FnMut() -> f64 {
    let mut unit = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    move || (-2.0 * (1.0 - unit()).ln()).sqrt() * (std::f64::consts::TAU * unit()).cos()
}

/// Only networks without a ReLU within `margin` of its kink, on any input.
fn smooth(
    networks: impl Strategy<Value = Network> + Clone + Send + Sync,
    margin: f64,
) -> impl Strategy<Value = Network> + Clone + Send + Sync {
    networks.prop_filter("a unit is too close to its kink", move |net| {
        if net.activation != Activation::Relu {
            return true;
        }
        let mut nearest = f64::INFINITY;
        net.plain(&net.params, |z| nearest = nearest.min(z.abs()));
        nearest > margin
    })
}

/// One row through a network of layers `act(x W + b)`, the last without activation, with one loop per sum; `seen` is shown
/// every hidden pre-activation.
pub(super) fn plain_forward(
    sizes: &[usize],
    activation: Activation,
    params: &[f64],
    x: &[f64],
    mut seen: impl FnMut(f64),
) -> Vec<f64> {
    let mut h = x.to_vec();
    let mut at = 0;
    for (l, pair) in sizes.windows(2).enumerate() {
        let (w, b) = params[at..].split_at(pair[0] * pair[1]);
        at += pair[0] * pair[1] + pair[1];
        h = (0..pair[1])
            .map(|o| {
                let z = b[o] + (0..pair[0]).map(|i| h[i] * w[i * pair[1] + o]).sum::<f64>();
                if l + 2 == sizes.len() {
                    return z;
                }
                seen(z);
                plain_activation(activation, z)
            })
            .collect();
    }
    h
}

/// The non-linearity, as it is defined.
pub(super) fn plain_activation(activation: Activation, z: f64) -> f64 {
    match activation {
        Activation::Tanh => z.tanh(),
        Activation::Relu => z.max(0.0),
        Activation::Softplus => z.exp().ln_1p(),
        Activation::Identity => z,
    }
}

impl Network {
    /// The outputs row by row with one loop per sum; `seen` is shown every hidden pre-activation.
    fn plain(&self, params: &[f64], mut seen: impl FnMut(f64)) -> Vec<f64> {
        let row = |row: ndarray::ArrayView1<'_, f64>| {
            plain_forward(&self.sizes, self.activation, params, &row.to_vec(), &mut seen)
        };
        self.x.rows().into_iter().flat_map(row).collect()
    }

    /// The loss whose gradient at the outputs is `d_out`.
    fn plain_loss(&self, params: &[f64]) -> f64 {
        self.plain(params, |_| ()).iter().zip(&self.d_out).map(|(y, d)| y * d).sum()
    }

    fn mlp(&self) -> Mlp {
        Mlp::new(&self.sizes, self.activation)
    }

    /// Outputs, gradient and directional derivative by the functions under test.
    fn run<F: Real>(&self) -> (Array2<f64>, Vec<f64>, Array2<f64>) {
        let mlp = self.mlp();
        let cast = |x: &Array2<f64>| x.mapv(F::of);
        let flat = |x: &[f64]| x.iter().map(|&x| F::of(x)).collect::<Vec<F>>();
        let (params, x, d_out, tangent) =
            (flat(&self.params), cast(&self.x), cast(&self.d_out), flat(&self.tangent));
        // A workspace larger than the batch, used before.
        let mut ws = mlp.workspace(x.nrows() + 3);
        mlp.forward(&params, &Array2::from_elem((x.nrows() + 2, x.ncols()), F::one()), &mut ws);
        let y = mlp.forward(&params, &x, &mut ws).mapv(Real::to_f64);
        let mut jvp = Array2::from_elem(d_out.dim(), F::nan());
        mlp.jvp(&params, &x, &tangent, &mut ws, &mut jvp);
        // The gradient is added to what is there.
        let mut grad = vec![F::one(); params.len()];
        mlp.backward(&params, &x, &d_out, &mut ws, &mut grad);
        let grad = grad.into_iter().map(|g| g.to_f64() - 1.0).collect();
        (y, grad, jvp.mapv(Real::to_f64))
    }

    /// Sets all biases to zero.
    fn without_biases(mut self) -> Self {
        let mlp = self.mlp();
        for view in mlp.layout().views().iter().filter(|view| view.name.starts_with('b')) {
            self.params[view.range.clone()].fill(0.0);
        }
        self
    }
}

fn mlp_definition(net: Network) -> Result<f64, String> {
    let (y, _, _) = net.run::<f64>();
    let mut worst = Worst::new();
    worst.all(&y, &net.plain(&net.params, |_| ()));
    // A batch of one gives the row of the whole batch.
    let mlp = net.mlp();
    let mut ws = mlp.workspace(1);
    for (row, want) in net.x.rows().into_iter().zip(y.rows()) {
        let one = row.to_owned().insert_axis(ndarray::Axis(0));
        worst.all(mlp.forward(&net.params, &one, &mut ws), want);
    }
    worst.done()
}

fn mlp_gradient(net: Network) -> Result<f64, String> {
    let (_, grad, _) = net.run::<f64>();
    let mut worst = Worst::new();
    worst.gradient(&grad, &gradient(|params| net.plain_loss(params), &net.params));
    worst.done()
}

fn mlp_jvp(net: Network) -> Result<f64, String> {
    let (_, _, jvp) = net.run::<f64>();
    let h = crate::oracles::FD_STEP;
    let moved = |sign: f64| {
        let params: Vec<f64> = net.params.iter().zip(&net.tangent).map(|(p, t)| p + sign * h * t).collect();
        net.plain(&params, |_| ())
    };
    let difference: Vec<f64> = moved(1.0).iter().zip(moved(-1.0)).map(|(a, b)| (a - b) / (2.0 * h)).collect();
    let mut worst = Worst::new();
    // A step along a direction of norm |t| has a truncation error of order |t|^3.
    let norm = net.tangent.iter().map(|t| t * t).sum::<f64>().sqrt();
    let scale = 1.0 + jvp.iter().map(|x| x * x).sum::<f64>().sqrt() + norm;
    jvp.iter().zip(&difference).for_each(|(j, d)| _ = worst.add((j - d).abs() / scale));
    worst.done()
}

/// Forward and backward differentiation are transposes of one another: `<d_out, J t> = <J^T d_out, t>`.
fn mlp_adjoint(net: Network) -> Result<f64, String> {
    let (_, grad, jvp) = net.run::<f64>();
    let forward: Vec<f64> = net.d_out.iter().zip(&jvp).map(|(d, j)| d * j).collect();
    let backward: Vec<f64> = grad.iter().zip(&net.tangent).map(|(g, t)| g * t).collect();
    let scale = forward.iter().chain(&backward).map(|x| x.abs()).sum();
    let mut worst = Worst::new();
    worst.scaled(forward.iter().sum(), backward.iter().sum(), scale);
    worst.done()
}

/// Without a non-linearity two layers are one; without biases a ReLU network is positively homogeneous.
fn mlp_collapse((net, c): (Network, f64)) -> Result<f64, String> {
    let mut worst = Worst::new();
    let affine = Network { activation: Activation::Identity, ..net.clone() };
    let mlp = affine.mlp();
    let view = |name: &str| {
        let view = mlp.layout().get(name).expect("every layer has weights and biases");
        let columns = view.shape[view.shape.len() - 1];
        Array2::from_shape_vec((view.range.len() / columns, columns), net.params[view.range.clone()].to_vec())
            .expect("the view's shape fits its range")
    };
    let (w, b) = (view("w0").dot(&view("w1")), view("b0").dot(&view("w1")) + view("b1"));
    worst.all(&affine.run::<f64>().0, &(net.x.dot(&w) + &b));

    let relu = Network { activation: Activation::Relu, ..net }.without_biases();
    let scaled = Network { x: relu.x.mapv(|x| c * x), ..relu.clone() };
    worst.all(&scaled.run::<f64>().0, &relu.run::<f64>().0.mapv(|y| c * y));
    worst.done()
}

/// With every hidden unit off, only the last bias has a gradient, and the output is that bias.
fn mlp_dead_units(net: Network) -> Result<f64, String> {
    let mut net = Network { activation: Activation::Relu, ..net };
    let mlp = net.mlp();
    let last = net.sizes.len() - 2;
    for view in mlp.layout().views() {
        if view.name.starts_with('b') && view.name != format!("b{last}") {
            net.params[view.range.clone()].fill(-1e6);
        }
    }
    let (y, grad, jvp) = net.run::<f64>();
    let bias = mlp.layout().get(&format!("b{last}")).expect("every layer has biases").range.clone();
    let mut worst = Worst::new();
    for row in y.rows() {
        worst.holds(row.iter().eq(&net.params[bias.clone()]));
    }
    for row in jvp.rows() {
        worst.holds(row.iter().eq(&net.tangent[bias.clone()]));
    }
    for (i, &g) in grad.iter().enumerate() {
        if bias.contains(&i) {
            let want = net.d_out.column(i - bias.start).sum();
            worst.holds((g - want).abs() < 1e-12 * (1.0 + want.abs()));
        } else {
            worst.holds(g == 0.0);
        }
    }
    worst.done()
}

/// The code for `f32` against the generic code in `f64`, which runs on the same rounded numbers.
fn mlp_single_precision(net: Network) -> Result<f64, String> {
    let round = |x: &mut f64| *x = f64::from(*x as f32);
    let mut net = net;
    net.params.iter_mut().for_each(round);
    net.tangent.iter_mut().for_each(round);
    net.x.iter_mut().for_each(round);
    net.d_out.iter_mut().for_each(round);
    let (y, grad, jvp) = net.run::<f64>();
    let (y32, grad32, jvp32) = net.run::<f32>();
    let mut worst = Worst::new();
    worst.all(&y32, &y).all(&grad32, &grad).all(&jvp32, &jvp);
    worst.done()
}

// opt.first-order

/// Any rule with any hyper-parameters, the ends of their ranges included.
fn rule() -> impl Strategy<Value = OptimizerConfig> + Clone + Send + Sync {
    let beta = || prop_oneof![4 => 0.0..=0.999f64, 1 => Just(0.0)];
    let eps = || (1.0..=9.0f64).prop_map(|x| 10f64.powf(-x));
    prop_oneof![
        beta().prop_map(|momentum| OptimizerConfig::Sgd { momentum }),
        (beta(), eps()).prop_map(|(decay, eps)| OptimizerConfig::RmsProp { decay, eps }),
        (beta(), beta(), eps()).prop_map(|(beta1, beta2, eps)| OptimizerConfig::Adam { beta1, beta2, eps }),
        (beta(), beta(), eps()).prop_map(|(beta1, beta2, eps)| OptimizerConfig::AdaMax { beta1, beta2, eps }),
    ]
}

/// What an optimiser went through.
#[derive(Clone, Debug)]
struct History {
    rule: OptimizerConfig,
    start: Vec<f64>,
    /// One gradient per step.
    grads: Vec<Vec<f64>>,
    /// One step size per step.
    lr: Vec<f64>,
}

fn history_of(params: usize, steps: usize) -> impl Strategy<Value = History> + Clone + Send + Sync {
    // A gradient of exactly zero now and then.
    let entry = prop_oneof![6 => normal(), 1 => Just(0.0)];
    let step = (vec(entry, params), 1e-3..=1.0f64);
    (rule(), normals(params), 1..=params, vec(step, 1..=steps)).prop_map(|(rule, start, params, steps)| {
        History {
            rule,
            start: start[..params].to_vec(),
            grads: steps.iter().map(|step| step.0[..params].to_vec()).collect(),
            lr: steps.iter().map(|step| step.1).collect(),
        }
    })
}

fn history() -> impl Strategy<Value = History> + Clone + Send + Sync {
    history_of(6, 40)
}

fn wide_history() -> impl Strategy<Value = History> + Clone + Send + Sync {
    history_of(70, 8)
}

impl History {
    fn run<F: Real>(&self) -> Vec<f64> {
        let flat = |x: &[f64]| x.iter().map(|&x| F::of(x)).collect::<Vec<F>>();
        let mut params = flat(&self.start);
        let mut optimizer = Optimizer::<F>::new(self.rule, params.len());
        for (grad, &lr) in self.grads.iter().zip(&self.lr) {
            optimizer.step(&mut params, &flat(grad), F::of(lr));
        }
        params.into_iter().map(Real::to_f64).collect()
    }

    /// The step of parameter `i` at step `t` (from 0), from all gradients so far.
    fn unrolled(&self, i: usize, t: usize) -> f64 {
        let sum = |beta: f64, f: &dyn Fn(f64) -> f64| -> f64 {
            (0..=t).map(|k| beta.powi((t - k) as i32) * f(self.grads[k][i])).sum()
        };
        // A weighted mean: the weights 1, beta, beta^2, ... divided by their sum.
        let mean = |beta: f64, f: &dyn Fn(f64) -> f64| {
            sum(beta, f) / (0..=t).map(|k| beta.powi(k as i32)).sum::<f64>()
        };
        let g = self.grads[t][i];
        match self.rule {
            OptimizerConfig::Sgd { momentum } => sum(momentum, &|g| g),
            OptimizerConfig::RmsProp { decay, eps } => {
                g / (((1.0 - decay) * sum(decay, &|g| g * g)).sqrt() + eps)
            }
            OptimizerConfig::Adam { beta1, beta2, eps } => {
                mean(beta1, &|g| g) / (mean(beta2, &|g| g * g).sqrt() + eps)
            }
            OptimizerConfig::AdaMax { beta1, beta2, eps } => {
                let largest =
                    (0..=t).map(|k| beta2.powi((t - k) as i32) * self.grads[k][i].abs()).fold(0.0, f64::max);
                mean(beta1, &|g| g) / (largest + eps)
            }
        }
    }

    fn expected(&self) -> Vec<f64> {
        let moved = |i: usize| (0..self.grads.len()).map(|t| self.lr[t] * self.unrolled(i, t)).sum::<f64>();
        self.start.iter().enumerate().map(|(i, p)| p - moved(i)).collect()
    }
}

fn optimizer_definition(history: History) -> Result<f64, String> {
    let mut worst = Worst::new();
    worst.all(&history.run::<f64>(), &history.expected());
    worst.done()
}

/// One step from 0 with `lr`.
fn one_step(rule: OptimizerConfig, grad: &[f64], lr: f64) -> Vec<f64> {
    let mut params = vec![0.0; grad.len()];
    Optimizer::new(rule, grad.len()).step(&mut params, grad, lr);
    params
}

/// The first Adam step has the size of `lr` whatever the gradient's, because the moments are corrected; uncorrected it would
/// be `0.1 / sqrt(0.001)` times too big.
fn optimizer_first_step(_: u64) -> Result<f64, String> {
    let mut worst = Worst::new();
    let (beta1, beta2): (f64, f64) = (0.9, 0.999);
    for g in [3.0, -0.02, 1e-3, -500.0] {
        for eps in [1e-8, 1e-5, 0.1] {
            let step = one_step(OptimizerConfig::Adam { beta1, beta2, eps }, &[g], 0.25)[0];
            worst.printed(step, -0.25 * g / (f64::abs(g) + eps), 12);
        }
    }
    let corrected = one_step(OptimizerConfig::adam(1e-12), &[1.0], 1.0)[0];
    let uncorrected = -(1.0 - beta1) / (1.0 - beta2).sqrt();
    worst.printed(uncorrected / corrected, 3.16, 2);
    worst.done()
}

/// Momentum under a constant gradient: `v` tends to `g / (1 - beta)`.
fn optimizer_limits((g, momentum): (f64, f64)) -> Result<f64, String> {
    let mut optimizer = Optimizer::new(OptimizerConfig::Sgd { momentum }, 1);
    let mut x = [0.0];
    let steps = if momentum == 0.0 { 1 } else { (1e-13f64.ln() / momentum.ln()).ceil() as usize + 1 };
    for _ in 0..steps {
        optimizer.step(&mut x, &[g], 0.0);
    }
    let before = x[0];
    optimizer.step(&mut x, &[g], 1.0);
    let mut worst = Worst::new();
    worst.same(before - x[0], g / (1.0 - momentum));
    worst.done()
}

/// Without memory every rule is plain descent or a step along the gradient's sign.
fn optimizer_reductions((grad, eps, lr): (Vec<f64>, f64, f64)) -> Result<f64, String> {
    let plain: Vec<f64> = grad.iter().map(|g| -lr * g).collect();
    let sign: Vec<f64> = grad.iter().map(|g| -lr * g / (g.abs() + eps)).collect();
    let mut worst = Worst::new();
    worst.all(&one_step(OptimizerConfig::Sgd { momentum: 0.0 }, &grad, lr), &plain);
    worst.all(&one_step(OptimizerConfig::Sgd { momentum: 0.7 }, &grad, lr), &plain);
    worst.all(&one_step(OptimizerConfig::RmsProp { decay: 0.0, eps }, &grad, lr), &sign);
    worst.all(&one_step(OptimizerConfig::Adam { beta1: 0.0, beta2: 0.0, eps }, &grad, lr), &sign);
    worst.all(&one_step(OptimizerConfig::AdaMax { beta1: 0.0, beta2: 0.0, eps }, &grad, lr), &sign);
    // The second step too: nothing of the first gradient is left.
    for (rule, want) in [
        (OptimizerConfig::Sgd { momentum: 0.0 }, &plain),
        (OptimizerConfig::RmsProp { decay: 0.0, eps }, &sign),
        (OptimizerConfig::Adam { beta1: 0.0, beta2: 0.0, eps }, &sign),
        (OptimizerConfig::AdaMax { beta1: 0.0, beta2: 0.0, eps }, &sign),
    ] {
        let mut optimizer = Optimizer::new(rule, grad.len());
        let mut params = vec![0.0; grad.len()];
        optimizer.step(&mut params, &vec![5.0; grad.len()], 0.0);
        optimizer.step(&mut params, &grad, lr);
        worst.all(&params, want);
    }
    worst.done()
}

/// A gradient of zero from the start moves nothing, in either precision.
fn optimizer_zero_gradient((rule, start): (OptimizerConfig, Vec<f64>)) -> Result<f64, String> {
    let grads = vec![vec![0.0; start.len()]; 3];
    let history = History { rule, start: start.clone(), grads, lr: vec![1.0; 3] };
    let narrow: Vec<f64> = start.iter().map(|&x| f64::from(x as f32)).collect();
    let mut worst = Worst::new();
    worst.holds(history.run::<f64>() == start).holds(history.run::<f32>() == narrow);
    worst.done()
}

fn optimizer_single_precision(history: History) -> Result<f64, String> {
    let round = |x: &mut f64| *x = f64::from(*x as f32);
    let mut history = history;
    history.start.iter_mut().for_each(round);
    history.grads.iter_mut().flatten().for_each(round);
    history.lr.iter_mut().for_each(round);
    match &mut history.rule {
        OptimizerConfig::Sgd { momentum } => round(momentum),
        OptimizerConfig::RmsProp { decay, .. } => round(decay),
        OptimizerConfig::Adam { beta1, beta2, .. } | OptimizerConfig::AdaMax { beta1, beta2, .. } => {
            round(beta1);
            round(beta2);
        }
    }
    let (narrow, wide) = (history.run::<f32>(), history.run::<f64>());
    // Rounding is relative to what is added up, and both gradients and steps may cancel.
    let mut added = history.clone();
    added.grads.iter_mut().flatten().for_each(|g| *g = g.abs());
    let mut worst = Worst::new();
    for (i, (narrow, wide)) in narrow.iter().zip(&wide).enumerate() {
        let lengths = added.lr.iter().enumerate().map(|(t, lr)| lr * added.unrolled(i, t));
        let path = added.start[i].abs() + lengths.sum::<f64>();
        worst.add((narrow - wide).abs() / path.max(1.0));
    }
    worst.done()
}

/// A gradient longer than the limit is scaled back to it and keeps its direction; a shorter one is left alone.
fn clipping((grad, max_norm): (Vec<f64>, f64)) -> Result<f64, String> {
    let norm = grad.iter().map(|g| g * g).sum::<f64>().sqrt();
    let mut clipped = grad.clone();
    let mut worst = Worst::new();
    worst.same(clip_global_norm(&mut clipped, max_norm), norm);
    let after = clipped.iter().map(|g| g * g).sum::<f64>().sqrt();
    if norm + 1e-6 <= max_norm {
        worst.holds(clipped == grad);
    } else {
        worst.same(after, norm * max_norm / (norm + 1e-6)).at_most(after, max_norm);
        for (c, g) in clipped.iter().zip(&grad) {
            worst.same(c * norm, g * after);
        }
    }
    worst.done()
}

/// A norm that is not finite is reported, and the gradient is left as it was for whoever looks for the cause.
fn clipping_non_finite(_: u64) -> Result<f64, String> {
    let mut worst = Worst::new();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut grad = [1.0, bad, -2.0];
        worst.holds(!clip_global_norm(&mut grad, 0.5).is_finite());
        worst
            .holds(grad[0] == 1.0 && grad[2] == -2.0 && (grad[1] == bad || bad.is_nan() && grad[1].is_nan()));
    }
    let zero = array![0.0, 0.0];
    let mut grad = zero.to_vec();
    worst.holds(clip_global_norm(&mut grad, 0.5) == 0.0 && grad == zero.to_vec());
    worst.done()
}
