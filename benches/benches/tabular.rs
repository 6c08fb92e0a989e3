//! Solvers of finite processes, by equation. Throughput counts transitions read.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rederive_env::{Mdp, finite_table};
use rederive_tabular::{Options, finite_horizon, inexact_policy_iteration, policy_iteration};
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

criterion_group!(solvers, dp_finite_horizon_vi, dp_policy_iteration);
criterion_main!(solvers);
