//! REINFORCE and actor-critic: returns and losses on their own, and whole updates on CartPole-v1.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use rederive_env::End;
use rederive_math::Stream;
use rederive_math::policy_gradient::{loss::surrogate, weights};
use rederive_reinforce::{A2c, A2cConfig, Config, Reinforce};
use rederive_train::{EpisodeLog, Learner, Report};
use std::hint::black_box;

fn reward_to_go(c: &mut Criterion) {
    let mut group = c.benchmark_group("pg.reward-to-go");
    let mut rng = Stream::new(1, "bench", 0);
    for (steps, envs) in [(4096, 1), (128, 8), (128, 4096)] {
        let mut draw = || Array2::from_shape_simple_fn((steps, envs), || rng.normal() as f32);
        let (reward, next_value) = (draw(), draw());
        let end =
            Array2::from_shape_fn(
                (steps, envs),
                |(t, n)| {
                    if (t + n) % 100 == 99 { End::Terminated } else { End::No }
                },
            );
        let mut out = Array2::zeros((steps, envs));
        group.throughput(Throughput::Elements((steps * envs) as u64));
        group.bench_function(format!("{steps}x{envs}"), |bench| {
            bench.iter(|| weights::reward_to_go(black_box(&reward), &next_value, &end, 0.99, &mut out));
        });
    }
    group.finish();
}

fn loss_surrogate(c: &mut Criterion) {
    let mut group = c.benchmark_group("pg.loss-surrogate");
    let mut rng = Stream::new(1, "bench", 1);
    for n in [40usize, 4096] {
        let mut draw = || (0..n).map(|_| rng.normal() as f32).collect::<Vec<_>>();
        let (log_prob, advantage) = (draw(), draw());
        let mut d_log_prob = vec![0.0; n];
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(n.to_string(), |bench| {
            bench.iter(|| surrogate(black_box(&log_prob), &advantage, 0.01, &mut d_log_prob));
        });
    }
    group.finish();
}

fn updates(c: &mut Criterion) {
    let mut group = c.benchmark_group("reinforce.update");
    let config = A2cConfig::default();
    let mut env = rederive_env::make_vec("CartPole-v1", config.num_envs).expect("a known environment");
    let mut agent = A2c::new(config.clone(), env.as_ref(), 1).expect("the defaults are valid");
    env.reset(1);
    let (mut episodes, mut report) = (EpisodeLog::new(config.num_envs), Report::default());
    group.throughput(Throughput::Elements(agent.steps_per_iteration()));
    group.bench_function("a2c 8x5", |bench| {
        bench.iter(|| {
            agent.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).expect("finite");
            episodes.drain();
        });
    });
    // An untrained policy that stays one: episodes do not grow.
    let config = Config { lr: 1e-12, ..Config::default() };
    let mut env = rederive_env::make_vec("CartPole-v1?max_steps=8", 1).expect("a known environment");
    let mut agent = Reinforce::new(config, env.as_ref(), 1).expect("the configuration is valid");
    env.reset(1);
    let mut episodes = EpisodeLog::new(1);
    group.throughput(Throughput::Elements(64));
    group.bench_function("reinforce, 8 episodes of 8", |bench| {
        bench.iter(|| {
            agent.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).expect("finite");
            episodes.drain();
        });
    });
    group.finish();
}

criterion_group!(benches, reward_to_go, loss_surrogate, updates);
criterion_main!(benches);
