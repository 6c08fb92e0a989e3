//! Networks and optimisers: `nn.mlp`, `nn.conv`, `dqn.dueling`, `opt.first-order`, and the matrix products under them.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use rederive_math::Stream;
use rederive_nn::dueling::{dueling, dueling_gradient};
use rederive_nn::product::{Matrix, Start, product};
use rederive_nn::{
    Activation, Conv, ConvSpec, Input, Mlp, Network, NetworkSpec, Optimizer, OptimizerConfig,
    clip_global_norm,
};
use std::hint::black_box;

fn normals(rng: &mut Stream, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.normal() as f32).collect()
}

/// The products that PPO's 64 x 64 networks are made of. One element is one floating-point operation, so that the throughput
/// reads as flop/s, to be held against the peak that `fma-peak` measures in the same run.
fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("nn.product");
    let mut rng = Stream::new(1, "bench", 0);
    for (m, k, n) in [(4, 64, 64), (128, 64, 64), (512, 64, 64), (128, 64, 2), (128, 4, 64)] {
        let (a, b, bias) = (normals(&mut rng, m * k), normals(&mut rng, k * n), normals(&mut rng, n));
        let mut out = vec![0.0; m * n];
        group.throughput(Throughput::Elements((2 * m * k * n) as u64));
        group.bench_function(format!("{m}x{k}x{n}"), |bench| {
            bench.iter(|| product(m, k, n, Matrix::rows(&a, k), &b, Start::Bias(&bias), black_box(&mut out)));
        });
    }
    group.finish();
}

/// Independent fused multiply-adds in registers: the roof of this core. In assembly, since a compiler may keep the sums in memory.
#[cfg(target_arch = "x86_64")]
fn fma_peak(c: &mut Criterion) {
    const CHAINS: u64 = 12;
    const ROUNDS: u64 = 1000;

    if is_x86_feature_detected!("avx512f") {
        let mut group = c.benchmark_group("fma-peak");
        group.throughput(Throughput::Elements(CHAINS * ROUNDS * 16 * 2));
        group.bench_function("avx512", |bench| {
            bench.iter(|| {
                // SAFETY: the CPU has AVX-512F; only the registers named are changed, and no memory is touched.
                unsafe {
                    std::arch::asm!(
                        "vzeroall",
                        "2:",
                        "vfmadd231ps zmm0, zmm12, zmm12",
                        "vfmadd231ps zmm1, zmm12, zmm12",
                        "vfmadd231ps zmm2, zmm12, zmm12",
                        "vfmadd231ps zmm3, zmm12, zmm12",
                        "vfmadd231ps zmm4, zmm12, zmm12",
                        "vfmadd231ps zmm5, zmm12, zmm12",
                        "vfmadd231ps zmm6, zmm12, zmm12",
                        "vfmadd231ps zmm7, zmm12, zmm12",
                        "vfmadd231ps zmm8, zmm12, zmm12",
                        "vfmadd231ps zmm9, zmm12, zmm12",
                        "vfmadd231ps zmm10, zmm12, zmm12",
                        "vfmadd231ps zmm11, zmm12, zmm12",
                        "dec {rounds}",
                        "jnz 2b",
                        "vzeroupper",
                        rounds = inout(reg) ROUNDS => _,
                        out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _,
                        out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                        out("zmm12") _,
                        options(nomem, nostack),
                    );
                }
            });
        });
        group.finish();
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn fma_peak(_: &mut Criterion) {}

fn mlp(c: &mut Criterion) {
    let mut group = c.benchmark_group("nn.mlp");
    let mlp = Mlp::new(&[4, 64, 64, 2], Activation::Tanh);
    let mut rng = Stream::new(1, "bench", 1);
    let mut params = vec![0.0f32; mlp.num_params()];
    mlp.init_orthogonal(&mut params, 2f64.sqrt(), 0.01, &mut rng);
    let tangent = normals(&mut rng, params.len());
    let mut grad = vec![0.0; params.len()];
    for batch in [4, 128, 512] {
        let x = Array2::from_shape_vec((batch, 4), normals(&mut rng, batch * 4)).expect("the shape fits");
        let d_out = Array2::from_elem((batch, 2), 0.1f32);
        let mut out = Array2::zeros((batch, 2));
        let mut ws = mlp.workspace(batch);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("forward", batch), |bench| {
            bench.iter(|| black_box(mlp.forward(&params, &x, &mut ws))[[0, 0]]);
        });
        group.bench_function(BenchmarkId::new("forward and backward", batch), |bench| {
            bench.iter(|| {
                mlp.forward(&params, &x, &mut ws);
                grad.fill(0.0);
                mlp.backward(&params, &x, &d_out, &mut ws, black_box(&mut grad));
            });
        });
        group.bench_function(BenchmarkId::new("jvp", batch), |bench| {
            bench.iter(|| mlp.jvp(&params, &x, &tangent, &mut ws, black_box(&mut out)));
        });
    }
    group.finish();
}

/// Channels of MinAtar's games: Breakout and Asterix 4, SpaceInvaders 6, Freeway 7, Seaquest 10.
const MINATAR: [usize; 4] = [4, 6, 7, 10];
const MINATAR_CONV: ConvSpec = ConvSpec { channels: 16, kernel: 3, stride: 1, padding: 0 };
const MINATAR_BATCH: usize = 32;

/// A convolution over MinAtar's 10 x 10 images alone, then the whole network with a dense layer of 128 units: forward and
/// backward for a batch of 32. Throughput in floating-point operations, two per multiply-add of the products; that of the
/// gradient at the images is not among them, since nobody asks for it.
fn conv(c: &mut Criterion) {
    let mut group = c.benchmark_group("nn.conv");
    let mut rng = Stream::new(1, "bench", 4);
    for depth in MINATAR {
        let conv = Conv::new([10, 10, depth], MINATAR_CONV).expect("a window fits");
        let [height, width, channels] = conv.output();
        let products = MINATAR_BATCH * height * width * conv.window() * channels;
        let (w, b) = (normals(&mut rng, conv.window() * channels), normals(&mut rng, channels));
        let x = normals(&mut rng, MINATAR_BATCH * conv.inputs());
        let d_y = normals(&mut rng, MINATAR_BATCH * conv.outputs());
        let mut y = vec![0.0; d_y.len()];
        let (mut d_w, mut d_b) = (vec![0.0; w.len()], vec![0.0; b.len()]);
        let mut ws = conv.workspace(MINATAR_BATCH);
        group.throughput(Throughput::Elements(2 * products as u64));
        group.bench_function(format!("layer 10x10x{depth}, forward"), |bench| {
            bench.iter(|| conv.forward(&w, &b, &x, &mut ws, black_box(&mut y)));
        });
        group.throughput(Throughput::Elements(4 * products as u64));
        group.bench_function(format!("layer 10x10x{depth}, forward and backward"), |bench| {
            bench.iter(|| {
                conv.forward(&w, &b, &x, &mut ws, black_box(&mut y));
                d_w.fill(0.0);
                d_b.fill(0.0);
                conv.backward(&w, &x, &d_y, &mut ws, black_box(&mut d_w), &mut d_b, None);
            });
        });
    }
    for depth in MINATAR {
        let network = minatar_network(depth);
        let mut params = vec![0.0f32; network.num_params()];
        network.init_orthogonal(&mut params, 2f64.sqrt(), 1.0, &mut rng);
        let mut grad = vec![0.0; params.len()];
        let x = normals(&mut rng, MINATAR_BATCH * network.inputs());
        let x = Array2::from_shape_vec((MINATAR_BATCH, network.inputs()), x).expect("the shape fits");
        let d_out = Array2::from_elem((MINATAR_BATCH, network.outputs()), 0.1f32);
        let mut ws = network.workspace(MINATAR_BATCH);
        let conv = 64 * 9 * depth * 16;
        let dense = 1024 * 128 + 128 * network.outputs();
        group.throughput(Throughput::Elements((2 * MINATAR_BATCH * (conv + dense)) as u64));
        group.bench_function(format!("network 10x10x{depth}, forward"), |bench| {
            bench.iter(|| black_box(network.forward(&params, &x, &mut ws))[[0, 0]]);
        });
        group.throughput(Throughput::Elements((2 * MINATAR_BATCH * (2 * conv + 3 * dense)) as u64));
        group.bench_function(format!("network 10x10x{depth}, forward and backward"), |bench| {
            bench.iter(|| {
                network.forward(&params, &x, &mut ws);
                grad.fill(0.0);
                network.backward(&params, &x, &d_out, &mut ws, black_box(&mut grad));
            });
        });
    }
    group.finish();
}

/// The network of MinAtar's paper: 16 channels of 3 x 3, 128 units, 6 actions.
fn minatar_network(depth: usize) -> Network {
    Network::new(&NetworkSpec {
        input: Input::Image([10, 10, depth]),
        conv: vec![MINATAR_CONV],
        hidden: vec![128],
        outputs: 6,
        activation: Activation::Relu,
        dueling: false,
    })
    .expect("a window fits")
}

/// The dueling head alone, forward and gradient, for batches of 6 actions.
fn heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("dqn.dueling");
    let mut rng = Stream::new(1, "bench", 5);
    for batch in [32, 128] {
        let heads = normals(&mut rng, batch * 7);
        let (mut q, mut d_heads) = (vec![0.0; batch * 6], vec![0.0; batch * 7]);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("head and gradient", batch), |bench| {
            bench.iter(|| {
                dueling(black_box(&heads), 6, &mut q);
                dueling_gradient(black_box(&q), 6, &mut d_heads);
            });
        });
    }
    group.finish();
}

fn activations(c: &mut Criterion) {
    let mut group = c.benchmark_group("nn.activation");
    group.throughput(Throughput::Elements(8192));
    let mut x = normals(&mut Stream::new(1, "bench", 2), 8192);
    group.bench_function("tanh", |bench| bench.iter(|| Activation::Tanh.apply(black_box(&mut x))));
    group.finish();
}

fn optimizers(c: &mut Criterion) {
    let mut group = c.benchmark_group("opt.first-order");
    let mut rng = Stream::new(1, "bench", 3);
    // Actor and critic of CartPole together.
    let len = 9155;
    let mut params = normals(&mut rng, len);
    let mut grad = normals(&mut rng, len);
    group.throughput(Throughput::Elements(len as u64));
    let rules = [
        ("sgd", OptimizerConfig::Sgd { momentum: 0.9 }),
        ("rmsprop", OptimizerConfig::RmsProp { decay: 0.99, eps: 1e-5 }),
        ("adam", OptimizerConfig::adam(1e-5)),
        ("adamax", OptimizerConfig::AdaMax { beta1: 0.9, beta2: 0.999, eps: 1e-8 }),
    ];
    for (name, config) in rules {
        let mut optimizer = Optimizer::new(config, len);
        group
            .bench_function(name, |bench| bench.iter(|| optimizer.step(black_box(&mut params), &grad, 1e-9)));
    }
    group.bench_function("clip_global_norm", |bench| {
        bench.iter(|| clip_global_norm(black_box(&mut grad), 1e9))
    });
    group.finish();
}

criterion_group!(benches, fma_peak, products, mlp, conv, heads, activations, optimizers);
criterion_main!(benches);
