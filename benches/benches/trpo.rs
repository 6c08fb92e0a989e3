//! Natural gradients: products with the Fisher matrix, conjugate gradients, the step, the line search, and a whole update at
//! the defaults of sb3-contrib on CartPole-v1.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use rederive_math::Stream;
use rederive_nn::{Activation, Mlp};
use rederive_train::{EpisodeLog, Learner, Report};
use rederive_trpo::conjugate_gradient::{ConjugateGradient, Limits};
use rederive_trpo::fisher::{self, MlpJacobian};
use rederive_trpo::line_search::{Backtracking, Trial, line_search};
use rederive_trpo::{Config, Law, Method, Trpo, step};
use std::hint::black_box;

/// Parameters of the actor that sb3-contrib uses on CartPole-v1: 4-64-64-2.
const PARAMS: usize = 4 * 64 + 64 + 64 * 64 + 64 + 64 * 2 + 2;

fn normals(n: usize, scale: f32) -> Vec<f32> {
    let mut rng = Stream::new(1, "bench", 0);
    (0..n).map(|_| scale * rng.normal() as f32).collect()
}

fn solve(c: &mut Criterion) {
    let mut group = c.benchmark_group("cg.solve");
    let limits = Limits { max_iterations: 15, tolerance: 0.0 };
    let diagonal: Vec<f32> = (0..PARAMS).map(|i| 0.1 + i as f32).collect();
    let b = normals(PARAMS, 1.0);
    let (mut solver, mut x) = (ConjugateGradient::new(PARAMS), vec![0.0; PARAMS]);
    // The matrix is next to nothing here: what is left is the solver's own work.
    group.throughput(Throughput::Elements(15));
    group.bench_function(format!("15 steps, {PARAMS} unknowns"), |bench| {
        bench.iter(|| {
            let product = |v: &[f32], out: &mut [f32]| {
                for ((o, v), d) in out.iter_mut().zip(v).zip(&diagonal) {
                    *o = v * d;
                }
            };
            solver.solve(product, black_box(&b), None, limits, &mut x)
        });
    });
    group.finish();
}

fn product(c: &mut Criterion) {
    let mut group = c.benchmark_group("cg.fisher-product");
    for (name, sizes, mut law) in
        [("categorical", [4, 64, 64, 2], Law::categorical(2)), ("gaussian", [17, 64, 64, 6], Law::gaussian())]
    {
        let mlp = Mlp::new(&sizes, Activation::Tanh);
        let rows = 2048;
        let own = if name == "gaussian" { sizes[3] } else { 0 };
        let params = normals(mlp.num_params(), 0.2);
        let x = Array2::from_shape_vec((rows, sizes[0]), normals(rows * sizes[0], 1.0)).expect("the shape");
        let mut workspace = mlp.workspace(rows);
        let mut tangent = mlp.forward(&params, &x, &mut workspace).to_owned();
        law.set(tangent.as_slice().expect("contiguous"), &vec![-0.5; own]);
        let v = normals(mlp.num_params() + own, 1.0);
        let mut out = vec![0.0; v.len()];
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(format!("{name}, {rows} states"), |bench| {
            let mut jacobian = MlpJacobian { mlp: &mlp, params: &params, x: &x, workspace: &mut workspace };
            bench.iter(|| {
                fisher::product(&law, &mut jacobian, black_box(&v), 0.1, &mut tangent, &mut out);
                out[0]
            });
        });
    }
    group.finish();
}

fn scaled_step(c: &mut Criterion) {
    let mut group = c.benchmark_group("trpo.step");
    let mut x = normals(PARAMS, 1.0);
    group.throughput(Throughput::Elements(PARAMS as u64));
    // The factor is 1, so that the direction stays what it is however often it is scaled.
    group.bench_function(PARAMS.to_string(), |bench| {
        bench.iter(|| step::trust_region(black_box(&mut x), 0.02, 0.01));
    });
    group.finish();
}

fn backtracking(c: &mut Criterion) {
    let mut group = c.benchmark_group("trpo.line-search");
    let rule = Backtracking { target_kl: 0.01, shrink: 0.8, max_trials: 10 };
    let (old, direction) = (normals(PARAMS, 0.2), normals(PARAMS, 0.01));
    let (mut params, mut room) = (old.clone(), old.clone());
    // The third candidate is accepted; measuring it is the policy's business.
    group.throughput(Throughput::Elements(3));
    group.bench_function(format!("3 candidates, {PARAMS} parameters"), |bench| {
        bench.iter(|| {
            params.copy_from_slice(&old);
            let mut kl = 0.02;
            line_search(&mut params, black_box(&direction), &mut room, rule, |_| {
                kl *= 0.64;
                Trial { kl, gain: 1.0 }
            })
        });
    });
    group.finish();
}

fn iterations(c: &mut Criterion) {
    let mut group = c.benchmark_group("trpo.iteration");
    let config = Config { num_envs: 1, num_steps: 2048, ..Config::default() };
    let mut env = rederive_env::make_vec("CartPole-v1", config.num_envs).expect("a known environment");
    let mut agent = Trpo::new(Method::Trpo, config, env.as_ref(), 1).expect("a valid configuration");
    env.reset(1);
    let (mut episodes, mut report) = (EpisodeLog::new(1), Report::default());
    group.sample_size(20);
    group.throughput(Throughput::Elements(agent.steps_per_iteration()));
    group.bench_function("rollout, policy and critic", |bench| {
        bench.iter(|| agent.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).expect("finite"));
        episodes.drain();
    });
    group.finish();
}

criterion_group!(benches, solve, product, scaled_step, backtracking, iterations);
criterion_main!(benches);
