//! The formulas, by equation. Throughput counts entries of the batch or steps of the rollout.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use rederive_benches::{Rollout, gae_c};
use rederive_math::{End, Stream, estimators, gae, normalise, returns, surrogate, value_loss};
use std::hint::black_box;

const GAMMA: f32 = 0.99;
const LAMBDA: f32 = 0.95;

/// One rollout with its outputs; an episode lasts 100 steps on average.
struct Data {
    reward: Array2<f32>,
    value: Array2<f32>,
    next_value: Array2<f32>,
    end: Array2<End>,
    advantage: Array2<f32>,
    return_: Array2<f32>,
}

impl Data {
    fn new(steps: usize, envs: usize) -> Self {
        let mut rng = Stream::new(1, "bench", 0);
        let mut array = || Array2::from_shape_simple_fn((steps, envs), || rng.uniform(-1.0, 1.0) as f32);
        let (reward, value, next_value) = (array(), array(), array());
        let end = Array2::from_shape_simple_fn((steps, envs), || match rng.below(200) {
            0 => End::Terminated,
            1 => End::Truncated,
            _ => End::No,
        });
        // Written once here, so that no page is touched for the first time while the clock runs.
        let written = || Array2::from_elem((steps, envs), 1.0);
        Data { reward, value, next_value, end, advantage: written(), return_: written() }
    }

    fn gae(&mut self, threads: usize) {
        let Data { reward, value, next_value, end, advantage, return_ } = self;
        gae::gae_threads(threads, reward, value, next_value, end, GAMMA, LAMBDA, advantage, return_);
    }

    fn gae_c(&mut self) -> Option<()> {
        let Data { reward, value, next_value, end, advantage, return_ } = self;
        let rollout = Rollout {
            reward: reward.view(),
            value: value.view(),
            next_value: next_value.view(),
            end: end.view(),
        };
        gae_c(&rollout, GAMMA, LAMBDA, advantage, return_)
    }

    /// Two arrays copied to the two outputs, a part of the columns per thread: the floor that memory sets. It moves 16 bytes per
    /// step, advantage estimation 21.
    fn copy(&mut self, threads: usize) {
        let block = self.reward.len().div_ceil(threads);
        let from = [&self.reward, &self.value].map(|a| a.as_slice().expect("row-major"));
        let into = [&mut self.advantage, &mut self.return_].map(|a| a.as_slice_mut().expect("row-major"));
        std::thread::scope(|scope| {
            let mut here = Vec::new();
            for (from, into) in from.into_iter().zip(into) {
                for (k, (from, into)) in from.chunks(block).zip(into.chunks_mut(block)).enumerate() {
                    if k == 0 {
                        here.push((from, into));
                    } else {
                        scope.spawn(move || into.copy_from_slice(from));
                    }
                }
            }
            here.into_iter().for_each(|(from, into)| into.copy_from_slice(from));
        });
    }
}

const SHAPES: [(usize, usize); 3] = [(128, 8), (128, 4096), (2048, 2048)];

fn gae_recursion(c: &mut Criterion) {
    let mut group = c.benchmark_group("gae.recursion");
    for (steps, envs) in SHAPES {
        let mut data = Data::new(steps, envs);
        let shape = format!("{steps}x{envs}");
        group.throughput(Throughput::Elements((steps * envs) as u64));
        group.bench_function(BenchmarkId::new("one thread", &shape), |b| {
            b.iter(|| black_box(&mut data).gae(1))
        });
        if data.gae_c().is_some() {
            group.bench_function(BenchmarkId::new("C loop", &shape), |b| {
                b.iter(|| black_box(&mut data).gae_c())
            });
        }
        group.bench_function(BenchmarkId::new("copy", &shape), |b| b.iter(|| black_box(&mut data).copy(1)));
        if steps * envs >= 1 << 20 {
            group.bench_function(BenchmarkId::new("two threads", &shape), |b| {
                b.iter(|| black_box(&mut data).gae(2));
            });
            group.bench_function(BenchmarkId::new("copy, two threads", &shape), |b| {
                b.iter(|| black_box(&mut data).copy(2));
            });
        }
    }
    group.finish();
}

fn gae_lambda_return(c: &mut Criterion) {
    let mut group = c.benchmark_group("gae.lambda-return");
    for (steps, envs) in SHAPES {
        let Data { reward, next_value, end, mut return_, .. } = Data::new(steps, envs);
        group.throughput(Throughput::Elements((steps * envs) as u64));
        group.bench_function(format!("{steps}x{envs}"), |b| {
            b.iter(|| {
                returns::lambda_return(&reward, &next_value, &end, GAMMA, LAMBDA, black_box(&mut return_));
            });
        });
    }
    group.finish();
}

fn return_recursion(c: &mut Criterion) {
    let mut group = c.benchmark_group("return.recursion");
    for (steps, envs) in SHAPES {
        let Data { reward, next_value, end, mut return_, .. } = Data::new(steps, envs);
        group.throughput(Throughput::Elements((steps * envs) as u64));
        group.bench_function(format!("{steps}x{envs}"), |b| {
            b.iter(|| returns::discounted(&reward, &next_value, &end, GAMMA, black_box(&mut return_)));
        });
    }
    group.finish();
}

fn td_update_rule(c: &mut Criterion) {
    let mut group = c.benchmark_group("td.update-rule");
    let mut rng = Stream::new(1, "bench", 0);
    let steps: Vec<(usize, f32, usize)> =
        (0..1024).map(|_| (rng.below(64) as usize, rng.unit() as f32, rng.below(64) as usize)).collect();
    let mut value = vec![0.0f32; 64];
    group.throughput(Throughput::Elements(steps.len() as u64));
    group.bench_function("64 states", |b| {
        b.iter(|| {
            for &(state, reward, next_state) in black_box(&steps) {
                returns::td_update(&mut value, state, reward, next_state, End::No, 0.1, GAMMA);
            }
        });
    });
    group.finish();
}

/// Sizes of a minibatch.
const BATCHES: [usize; 3] = [128, 256, 4096];

/// `K` vectors of normal numbers with the given spread.
fn normals<const K: usize>(len: usize, spread: f64) -> [Vec<f32>; K] {
    let mut rng = Stream::new(1, "bench", 0);
    std::array::from_fn(|_| (0..len).map(|_| (spread * rng.normal()) as f32).collect())
}

fn ppo_clip_form(c: &mut Criterion) {
    let mut group = c.benchmark_group("ppo.clip-form");
    for batch in BATCHES {
        let [log_prob, old_log_prob, advantage, mut d] = normals(batch, 0.3);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(batch.to_string(), |b| {
            b.iter(|| {
                surrogate::clip_loss(black_box(&log_prob), &old_log_prob, &advantage, 0.2, black_box(&mut d))
            });
        });
    }
    group.finish();
}

fn ppo_penalty(c: &mut Criterion) {
    let mut group = c.benchmark_group("ppo.penalty");
    for batch in BATCHES {
        let [log_prob, old_log_prob, advantage, mut d] = normals(batch, 0.3);
        group.throughput(Throughput::Elements(batch as u64));
        for direction in [surrogate::Direction::OldNew, surrogate::Direction::NewOld] {
            group.bench_function(BenchmarkId::new(format!("{direction:?}"), batch), |b| {
                b.iter(|| {
                    let (new, out) = (black_box(&log_prob), black_box(&mut d));
                    surrogate::penalty_loss(new, &old_log_prob, &advantage, 0.5, direction, out)
                });
            });
        }
    }
    group.finish();
}

fn ppo_value_loss(c: &mut Criterion) {
    let mut group = c.benchmark_group("ppo.value-loss");
    for batch in BATCHES {
        let [value, old_value, target, mut d] = normals(batch, 0.3);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("mse", batch), |b| {
            b.iter(|| value_loss::mse(black_box(&value), &target, black_box(&mut d)));
        });
        group.bench_function(BenchmarkId::new("clipped", batch), |b| {
            b.iter(|| value_loss::clipped(black_box(&value), &old_value, &target, 0.2, black_box(&mut d)));
        });
    }
    group.finish();
}

fn ppo_adv_norm(c: &mut Criterion) {
    let mut group = c.benchmark_group("ppo.adv-norm");
    for batch in BATCHES {
        let [mut advantage] = normals(batch, 1.0);
        let mask: Vec<bool> = (0..batch).map(|i| i % 7 != 0).collect();
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("all", batch), |b| {
            b.iter(|| normalise::advantages(black_box(&mut advantage), 1e-8));
        });
        group.bench_function(BenchmarkId::new("masked", batch), |b| {
            b.iter(|| normalise::masked(black_box(&mut advantage), &mask, 1e-8));
        });
    }
    group.finish();
}

fn kl_k123(c: &mut Criterion) {
    let mut group = c.benchmark_group("kl.k123");
    for batch in BATCHES {
        let [log_prob, old_log_prob, mut k1, mut k2, mut k3] = normals(batch, 0.3);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("each", batch), |b| {
            b.iter(|| {
                estimators::estimates(black_box(&log_prob), &mut k1, &mut k2, black_box(&mut k3));
            });
        });
        group.bench_function(BenchmarkId::new("means", batch), |b| {
            b.iter(|| estimators::approx_kl(black_box(&log_prob), &old_log_prob));
        });
    }
    group.finish();
}

criterion_group!(returns_and_advantages, return_recursion, td_update_rule, gae_recursion, gae_lambda_return,);
criterion_group!(losses, ppo_clip_form, ppo_penalty, ppo_value_loss, ppo_adv_norm, kl_k123);
criterion_main!(returns_and_advantages, losses);
