//! Solvers of finite processes, by equation. Throughput counts transitions read.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rederive_env::generate::random;
use rederive_env::{Mdp, finite_table};
use rederive_tabular::{
    Optimality, Options, finite_horizon, inexact_policy_iteration, policy_iteration, solve,
};
use std::hint::black_box;

const GAMMA: f64 = 0.99;

/// Environments with their exact tables.
fn processes() -> [(&'static str, Mdp<f64>); 2] {
    ["FrozenLake8x8-v1", "Taxi-v3"]
        .map(|id| (id, Mdp::from_table(&finite_table(id).expect("a registered environment"))))
}

fn dp_finite_horizon_vi(c: &mut Criterion) {
    let mut group = c.benchmark_group("dp.finite-horizon-vi");
    for (id, mdp) in processes() {
        group.throughput(Throughput::Elements(100 * mdp.prob().len() as u64));
        group.bench_function(BenchmarkId::new("100 decisions", id), |b| {
            b.iter(|| finite_horizon(black_box(&mdp), 100, GAMMA, 1));
        });
    }
    group.finish();
}

fn dp_policy_iteration(c: &mut Criterion) {
    let mut group = c.benchmark_group("dp.policy-iteration");
    let options = Options { tol: 1e-8, ..Options::new(GAMMA) };
    for (id, mdp) in processes() {
        group.bench_function(BenchmarkId::new("exact", id), |b| {
            b.iter(|| policy_iteration(black_box(&mdp), &options));
        });
        group.bench_function(BenchmarkId::new("inexact", id), |b| {
            b.iter(|| inexact_policy_iteration(black_box(&mdp), &options));
        });
    }
    group.finish();
}

/// A sweep over a process that does not fit the caches, against reading as many bytes: what a sweep has to move is a probability and
/// an index per entry, an offset and a reward per pair, an old and a new value per state.
fn sweep(c: &mut Criterion) {
    let mut group = c.benchmark_group("sweep");
    let shape = [100_000, 8, 8];
    let bytes = |prob: u64| 6_400_000 * (prob + 4) + 800_000 * 12 + 100_000 * 16;
    let (double, single) = (random::<f64>(shape, 1, 1), random::<f32>(shape, 1, 1));
    let v: Vec<f64> = (0..100_000).map(|s| (s % 97) as f64).collect();
    let mut new = v.clone();
    for threads in [1, 2] {
        let options = Options { threads, ..Options::new(GAMMA) };
        group.throughput(Throughput::Bytes(bytes(8)));
        let operator = Optimality::new(&double, &options).expect("options in range");
        group.bench_function(BenchmarkId::new("f64 100000x8x8", threads), |b| {
            b.iter(|| operator.apply(black_box(&v), &mut new));
        });
        group.throughput(Throughput::Bytes(bytes(4)));
        let operator = Optimality::new(&single, &options).expect("options in range");
        group.bench_function(BenchmarkId::new("f32 100000x8x8", threads), |b| {
            b.iter(|| operator.apply(black_box(&v), &mut new));
        });
    }
    let memory = vec![1.0_f64; bytes(8) as usize / 8];
    group.throughput(Throughput::Bytes(bytes(8)));
    group.bench_function("read", |b| b.iter(|| read(black_box(&memory))));
    let memory = vec![1.0_f64; 1 << 27];
    group.throughput(Throughput::Bytes(1 << 30));
    group.bench_function("read 1 GiB", |b| b.iter(|| read(black_box(&memory))));
    group.finish();
}

rederive_math::multiversion! {
    /// The sum, in as many running sums as it takes to wait for memory alone.
    fn read(memory: &[f64]) -> f64 {
        let mut sums = [0.0; 64];
        for chunk in memory.chunks_exact(64) {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *sum += x;
            }
        }
        sums.iter().sum()
    }
}

/// Whole solutions of larger processes.
fn solvers(c: &mut Criterion) {
    let mut group = c.benchmark_group("solve");
    group.sample_size(10);
    let random = random::<f64>([100_000, 8, 8], 1, 1);
    for threads in [1, 2] {
        let options = Options { threads, tol: 1e-4, ..Options::new(GAMMA) };
        group.bench_function(BenchmarkId::new("random 100000x8x8", threads), |b| {
            b.iter(|| solve(black_box(&random), &options));
        });
    }
    group.finish();
}

criterion_group!(tabular, dp_finite_horizon_vi, dp_policy_iteration, sweep, solvers);
criterion_main!(tabular);
