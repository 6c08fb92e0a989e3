//! Learning with tables: environment steps with their updates, by method, environment and number of environments.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rederive_q_learning::{Config, Method, QLearning};
use rederive_train::{EpisodeLog, Learner, Report};

const STEPS: usize = 16_000;

/// Steps of a run that has learnt for a while.
fn learn(c: &mut Criterion, group: &str, env: &str, methods: &[Method]) {
    let mut group = c.benchmark_group(group);
    group.throughput(Throughput::Elements(STEPS as u64));
    for &method in methods {
        for num_envs in [1, 4] {
            let config = Config { num_envs, num_steps: STEPS / num_envs, ..Config::default() };
            let mut env = rederive_env::make_vec(env, num_envs).expect("the environment is built in");
            let mut agent = QLearning::new(method, config, env.as_ref(), 1).expect("it has a table");
            env.reset(1);
            let (mut episodes, mut report) = (EpisodeLog::new(num_envs), Report::default());
            let mut iterate = || {
                agent.iterate(env.as_mut(), 0.0, &mut episodes, &mut report).expect("values stay finite");
                episodes.drain().count()
            };
            for _ in 0..50 {
                iterate();
            }
            group.bench_function(BenchmarkId::new(method.name(), num_envs), |b| b.iter(&mut iterate));
        }
    }
}

fn frozen_lake(c: &mut Criterion) {
    learn(c, "q-learning/frozen-lake", "FrozenLake-v1", &Method::ALL);
}

fn taxi(c: &mut Criterion) {
    learn(c, "q-learning/taxi", "Taxi-v3", &[Method::QLearning, Method::Sarsa]);
}

criterion_group!(benches, frozen_lake, taxi);
criterion_main!(benches);
