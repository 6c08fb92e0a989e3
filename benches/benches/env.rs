//! Steps per second of every environment, action slices given; stacking observations.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use rederive_env::{
    Action, Actions, EnvSpec, FrameStack, IDS, Space, Stream, VecEnv, make, make_vec, reset_stream,
    step_stream,
};
use std::hint::black_box;

/// How many sets of random actions are drawn beforehand and used in turn.
const SETS: usize = 64;

/// Random actions for `env`, drawn beforehand.
enum Given {
    Discrete(Vec<Vec<u32>>),
    Continuous(Vec<Array2<f32>>),
}

impl Given {
    fn new(space: &Space, num_envs: usize) -> Self {
        let mut rng = Stream::new(1, "action", 0);
        match space {
            Space::Discrete { n } => {
                let set = |_| (0..num_envs).map(|_| rng.below(*n as u32)).collect();
                Given::Discrete((0..SETS).map(set).collect())
            }
            Space::Box { low, high } => {
                let (low, high) = (f64::from(low[0]), f64::from(high[0]));
                let set = |_| Array2::from_shape_simple_fn((num_envs, 1), || rng.uniform(low, high) as f32);
                Given::Continuous((0..SETS).map(set).collect())
            }
            Space::MultiDiscrete { .. } | Space::Image { .. } => {
                unreachable!("no environment has such actions")
            }
        }
    }

    fn get(&self, step: usize) -> Actions<'_> {
        match self {
            Given::Discrete(sets) => Actions::Discrete(&sets[step % SETS]),
            Given::Continuous(sets) => Actions::Continuous(&sets[step % SETS]),
        }
    }
}

/// All environments, but no game of MinAtar twice: it has the same rules with all six actions.
fn environments() -> impl Iterator<Item = &'static EnvSpec> {
    IDS.iter().filter(|spec| !(spec.id.starts_with("MinAtar/") && spec.id.ends_with("-v0")))
}

fn vectors(c: &mut Criterion) {
    for spec in environments() {
        let mut group = c.benchmark_group(format!("env.{}", spec.id));
        let sizes: &[usize] = if spec.id == "CartPole-v1" { &[1, 4, 64, 4096] } else { &[4, 1024] };
        for &num_envs in sizes {
            let mut env: Box<dyn VecEnv> = make_vec(spec.id, num_envs).expect("a listed environment");
            let given = Given::new(env.action_space(), num_envs);
            env.reset(1);
            let mut step = 0;
            group.throughput(Throughput::Elements(num_envs as u64));
            group.bench_function(BenchmarkId::new("vector", num_envs), |b| {
                b.iter(|| {
                    env.step(given.get(step));
                    step += 1;
                    black_box((env.obs()[[0, 0]], env.reward()[0], env.end()[0]))
                });
            });
        }
        group.finish();
    }
}

fn singles(c: &mut Criterion) {
    for spec in environments() {
        let mut group = c.benchmark_group(format!("env.{}", spec.id));
        let mut env = make(spec.id).expect("a listed environment");
        let given = Given::new(&env.action_space(), 1);
        let (mut resets, mut steps) = (reset_stream(1, 0), step_stream(1, 0));
        let mut obs = vec![0.0; env.observation_space().len()];
        env.reset(&mut resets, &mut obs);
        let mut step = 0;
        group.throughput(Throughput::Elements(1));
        group.bench_function("single", |b| {
            b.iter(|| {
                let (reward, end) = match given.get(step) {
                    Actions::Discrete(a) => env.step(Action::Discrete(a[0]), &mut steps, &mut obs),
                    Actions::Continuous(a) => {
                        env.step(Action::Continuous(&[a[[0, 0]]]), &mut steps, &mut obs)
                    }
                };
                if end.done() {
                    env.reset(&mut resets, &mut obs);
                }
                step += 1;
                black_box((reward, obs[0]))
            });
        });
        group.finish();
    }
}

/// Four frames: of CartPole's four numbers, of MinAtar's Breakout, and of Atari's grey pixels.
fn stacks(c: &mut Criterion) {
    let mut group = c.benchmark_group("dqn.frame-stack");
    for (name, frame, channels) in [("4", 4, 4), ("10x10x4", 400, 4), ("84x84x1", 84 * 84, 1)] {
        let mut stack = FrameStack::<f32>::new(4, frame, channels);
        let frames = [vec![0.25; frame], vec![0.75; frame]];
        stack.start(&frames[0]);
        let mut step = 0;
        group.throughput(Throughput::Elements(frame as u64));
        group.bench_function(BenchmarkId::new("push", name), |b| {
            b.iter(|| {
                stack.push(&frames[step % 2]);
                step += 1;
                black_box(stack.values()[0])
            });
        });
    }
    group.finish();
}

criterion_group!(benches, vectors, singles, stacks);
criterion_main!(benches);
