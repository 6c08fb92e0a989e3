//! PPO on CartPole-v1 with CleanRL's settings: the loss on its own, a rollout, and whole iterations.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rederive_math::Stream;
use rederive_ppo::loss::{Batch, Coefficients, Gradients, Surrogate, total};
use rederive_ppo::{Config, Ppo};
use rederive_train::{Collector, EpisodeLog, Learner, Minibatches, Report, on_policy_config};
use std::hint::black_box;

fn total_loss(c: &mut Criterion) {
    let mut group = c.benchmark_group("ppo.total-loss");
    let mut rng = Stream::new(1, "bench", 0);
    for n in [128usize, 4096] {
        let mut draw = || (0..n).map(|_| 0.3 * rng.normal() as f32).collect::<Vec<f32>>();
        let columns: [Vec<f32>; 7] = std::array::from_fn(|_| draw());
        let [log_prob, old_log_prob, advantage, entropy, value, old_value, return_] = &columns;
        let batch = Batch { log_prob, old_log_prob, advantage, entropy, value, old_value, return_ };
        let weights = Coefficients {
            surrogate: Surrogate::Clip { clip_eps: 0.2 },
            clip_value: Some(0.2),
            vf_coef: 0.5,
            ent_coef: 0.01,
        };
        let (mut d_log_prob, mut d_entropy, mut d_value) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(n.to_string(), |bench| {
            bench.iter(|| {
                let mut grad =
                    Gradients { log_prob: &mut d_log_prob, entropy: &mut d_entropy, value: &mut d_value };
                total(black_box(&batch), &weights, &mut grad)
            });
        });
    }
    group.finish();
}

fn epochs(c: &mut Criterion) {
    let mut group = c.benchmark_group("ppo.epochs");
    let mut minibatches = Minibatches::new(512, 128);
    let mut rng = Stream::new(1, "bench", 1);
    group.throughput(Throughput::Elements(512));
    group.bench_function("shuffle 512", |bench| bench.iter(|| black_box(&mut minibatches).shuffle(&mut rng)));
    group.finish();
}

fn iterations(c: &mut Criterion) {
    let mut group = c.benchmark_group("ppo.iteration");
    let config = Config::default();
    let mut env = rederive_env::make_vec("CartPole-v1", config.num_envs).expect("a known environment");
    let mut ppo = Ppo::new(config.clone(), env.as_ref(), 1).expect("the defaults are valid");
    env.reset(1);
    let (mut episodes, mut report) = (EpisodeLog::new(config.num_envs), Report::default());
    group.throughput(Throughput::Elements(ppo.steps_per_iteration()));
    group.bench_function("rollout", |bench| {
        let mut networks = ppo.networks().clone();
        let mut collector = Collector::new(env.as_ref(), &on_policy_config!(config));
        bench.iter(|| {
            collector.collect(env.as_mut(), &mut networks, &mut episodes, 0, 1).expect("finite").reward()
                [[0, 0]]
        });
        episodes.drain();
    });
    group.bench_function("rollout and learning", |bench| {
        bench.iter(|| ppo.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).expect("finite"));
        episodes.drain();
    });
    group.finish();
}

criterion_group!(benches, total_loss, epochs, iterations);
criterion_main!(benches);
