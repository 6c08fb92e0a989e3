//! DQN on CartPole-v1 with CleanRL's settings: targets and losses, the target network, the replay buffer, a whole update.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use rederive_dqn::n_step::Steps;
use rederive_dqn::replay::{Batch, Precision, Replay};
use rederive_dqn::{Config, Dqn, Loss, Priorities, loss, target};
use rederive_math::Stream;
use rederive_train::{EpisodeLog, Learner, Report};
use std::hint::black_box;

const BATCH: usize = 128;
const ACTIONS: usize = 2;

fn columns() -> (Vec<f32>, Vec<bool>, Vec<f32>, [Array2<f32>; 2]) {
    let mut rng = Stream::new(1, "bench", 0);
    let reward = (0..BATCH).map(|_| rng.normal() as f32).collect();
    let terminated = (0..BATCH).map(|i| i % 16 == 0).collect();
    let tables = [(); 2].map(|()| Array2::from_shape_fn((BATCH, ACTIONS), |_| rng.normal() as f32));
    (reward, terminated, vec![0.99; BATCH], tables)
}

fn targets(c: &mut Criterion) {
    let (reward, terminated, discount, [next, select]) = columns();
    let mut y = vec![0.0; BATCH];
    let mut group = c.benchmark_group("dqn.td-target");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("target", |bench| {
        bench.iter(|| loss::td_target(&reward, &terminated, &discount, black_box(&next), &mut y));
    });
    let action: Vec<u32> = (0..BATCH as u32).map(|i| i % 2).collect();
    let (mut d_q, mut error) = (Array2::zeros((BATCH, ACTIONS)), vec![0.0; BATCH]);
    for (name, kind) in [("squared loss", Loss::Squared), ("huber loss", Loss::Huber)] {
        group.bench_function(name, |bench| {
            bench.iter(|| {
                loss::td_loss(black_box(&select), &action, &reward, None, kind, &mut d_q, &mut error)
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group("dqn.double-q");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("target", |bench| {
        bench.iter(|| {
            loss::double_q_target(&reward, &terminated, &discount, &select, black_box(&next), &mut y)
        });
    });
    group.finish();
}

fn soft(c: &mut Criterion) {
    let mut group = c.benchmark_group("dqn.target-soft");
    // The networks for CartPole and for MinAtar.
    for params in [10_934, 134_000] {
        let (mut kept, online) = (vec![0.5f32; params], vec![0.25f32; params]);
        group.throughput(Throughput::Elements(params as u64));
        group.bench_function(params.to_string(), |bench| {
            bench.iter(|| target::soft(&mut kept, black_box(&online), 0.005));
        });
    }
    group.finish();
}

/// A full buffer of rows like those of CartPole or, in bytes, of MinAtar's Breakout.
fn filled(capacity: usize, width: usize, precision: Precision) -> Replay {
    let mut replay = Replay::new(capacity, width, precision).expect("there is room");
    let mut rng = Stream::new(1, "bench", 1);
    let mut obs = vec![0.0f32; width];
    for i in 0..capacity {
        obs[i % width] = rng.unit() as f32;
        let steps = Steps { obs: &obs, action: i as u32 % 2, reward: 1.0, discount: 0.99, terminated: false };
        replay.push(steps, &obs);
    }
    replay
}

fn replay(c: &mut Criterion) {
    let mut group = c.benchmark_group("dqn.replay");
    let mut rng = Stream::new(1, "bench", 2);
    group.throughput(Throughput::Elements(BATCH as u64));
    for capacity in [10_000, 1_000_000] {
        let mut replay = filled(capacity, 4, Precision::F32);
        let mut batch = Batch::new(BATCH, 4);
        group.bench_function(format!("uniform 128 of {capacity}"), |bench| {
            bench.iter(|| replay.sample(black_box(&mut batch), &mut rng));
        });
        let mut priorities = Priorities::new(capacity, 0.6, 1e-6);
        (0..capacity).for_each(|slot| priorities.insert(slot));
        let errors: Vec<f32> = (0..capacity).map(|_| rng.normal() as f32).collect();
        (0..capacity).for_each(|i| priorities.update(&[i as u32], &errors[i..=i]));
        let mut weight = vec![0.0; BATCH];
        group.bench_function(format!("prioritised 128 of {capacity}"), |bench| {
            bench.iter(|| {
                priorities.sample(0.5, &mut rng, &mut batch.slot, &mut weight);
                replay.gather(black_box(&mut batch));
            });
        });
        group.bench_function(format!("new priorities for 128 of {capacity}"), |bench| {
            bench.iter(|| priorities.update(black_box(&batch.slot), &errors[..BATCH]));
        });
    }
    let mut replay = filled(100_000, 400, Precision::Byte);
    let mut batch = Batch::new(32, 400);
    group.throughput(Throughput::Elements(32));
    group.bench_function("uniform 32 of 100000 images", |bench| {
        bench.iter(|| replay.sample(black_box(&mut batch), &mut rng));
    });
    group.finish();
}

fn iterations(c: &mut Criterion) {
    let mut group = c.benchmark_group("dqn.iteration");
    let plain = Config { learning_starts: 0, num_steps: 10, ..Config::default() };
    let all = Config { double: true, dueling: true, prioritized: true, n_step: 3, ..plain.clone() };
    for (name, config) in [("10 steps and an update", plain), ("the same with every extension", all)] {
        let mut env = rederive_env::make_vec("CartPole-v1", 1).expect("a known environment");
        let mut dqn = Dqn::new(config, env.as_ref(), 1).expect("the settings are valid");
        env.reset(1);
        let (mut episodes, mut report) = (EpisodeLog::new(1), Report::default());
        for _ in 0..1000 {
            dqn.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).expect("finite");
        }
        group.throughput(Throughput::Elements(10));
        group.bench_function(name, |bench| {
            bench.iter(|| {
                dqn.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).expect("finite");
                episodes.drain();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, targets, soft, replay, iterations);
criterion_main!(benches);
