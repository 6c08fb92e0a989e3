//! The formulas, by equation. Throughput counts entries of the batch or steps of the rollout.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array2, Array3};
use rederive_benches::{Rollout, gae_c};
use rederive_math::{
    End, Stream, bellman, beta, categorical, estimators, gae, gaussian, linear, maxent, normalise,
    preference, returns, surrogate, td, value_loss,
};
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

/// Random transitions between table rows of `actions` values: reward, whether it ended, next row.
fn transitions(rows: u32) -> Vec<(f32, bool, usize)> {
    let mut rng = Stream::new(1, "bench", 1);
    (0..1024).map(|_| (rng.unit() as f32, rng.below(50) == 0, rng.below(rows) as usize)).collect()
}

fn sarsa_expected_update(c: &mut Criterion) {
    let mut group = c.benchmark_group("sarsa.expected-update");
    for actions in [4, 6, 64] {
        let transitions = transitions(64);
        let [q, logits] = normals(64 * actions, 1.0);
        let policy: Vec<f32> = logits
            .chunks_exact(actions)
            .flat_map(|row| {
                let total: f32 = row.iter().map(|x| x.exp()).sum();
                row.iter().map(move |x| x.exp() / total)
            })
            .collect();
        group.throughput(Throughput::Elements(transitions.len() as u64));
        group.bench_function(format!("{actions} actions"), |b| {
            b.iter(|| {
                let mut sum = 0.0;
                for &(reward, ended, next) in black_box(&transitions) {
                    let (q, policy) = (&q[next * actions..][..actions], &policy[next * actions..][..actions]);
                    sum += td::expected_sarsa_target(reward, ended, q, policy, GAMMA);
                }
                sum
            });
        });
    }
    group.finish();
}

fn qlearn_terminal(c: &mut Criterion) {
    let mut group = c.benchmark_group("qlearn.terminal");
    for actions in [4, 6, 64] {
        let transitions = transitions(64);
        let [q] = normals(64 * actions, 1.0);
        group.throughput(Throughput::Elements(transitions.len() as u64));
        group.bench_function(format!("{actions} actions"), |b| {
            b.iter(|| {
                let mut sum = 0.0;
                for &(reward, ended, next) in black_box(&transitions) {
                    sum += td::q_target(reward, ended, &q[next * actions..][..actions], GAMMA);
                }
                sum
            });
        });
        let mut table = q.clone();
        group.bench_function(format!("{actions} actions, with the update"), |b| {
            b.iter(|| {
                for (i, &(reward, ended, next)) in black_box(&transitions).iter().enumerate() {
                    let led_to = (!ended).then_some(next);
                    td::q_update(&mut table, actions, (i % 64, i % actions), reward, led_to, 0.1, GAMMA);
                }
            });
        });
    }
    group.finish();
}

fn fa_linear_q(c: &mut Criterion) {
    let mut group = c.benchmark_group("fa.linear-q");
    for width in [8, 64, 1024] {
        let [features, mut weights] = normals(width, 1.0);
        group.throughput(Throughput::Elements(width as u64));
        group.bench_function(format!("{width} features"), |b| {
            b.iter(|| {
                let delta = 0.5 - linear::value(black_box(&features), &weights);
                linear::step(&mut weights, &features, delta, 1e-4);
            });
        });
    }
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

fn policy_softmax(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy.softmax");
    for batch in BATCHES {
        let actions = 6;
        let [logits, mut d_logits] = normals(batch * actions, 1.0);
        let [d_log_prob] = normals(batch, 1.0);
        let zeros = vec![0.0; batch];
        let action: Vec<u32> = (0..batch).map(|i| (i % actions) as u32).collect();
        let mut evaluation = categorical::Evaluation::new(batch, actions);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("evaluate, 6 actions", batch), |b| {
            b.iter(|| categorical::evaluate(black_box(&logits), &action, black_box(&mut evaluation)));
        });
        group.bench_function(BenchmarkId::new("gradient, 6 actions", batch), |b| {
            b.iter(|| {
                let out = black_box(&mut d_logits);
                categorical::backward(black_box(&evaluation), &action, &d_log_prob, &zeros, out);
            });
        });
    }
    group.finish();
}

fn ent_bonus(c: &mut Criterion) {
    let mut group = c.benchmark_group("ent.bonus");
    for batch in BATCHES {
        let actions = 6;
        let [logits, mut d_logits] = normals(batch * actions, 1.0);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("gradient, 6 actions", batch), |b| {
            b.iter(|| {
                let rows = black_box(&logits).chunks_exact(actions);
                for (z, d) in rows.zip(black_box(&mut d_logits).chunks_exact_mut(actions)) {
                    categorical::add_d_entropy(z, 0.01, d);
                }
            });
        });
    }
    group.finish();
}

fn policy_gaussian(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy.gaussian");
    for batch in BATCHES {
        let (dims, log_std) = (3, [-0.5; 3]);
        let [mean, action, mut d_mean] = normals(batch * dims, 1.0);
        let [d_log_prob, mut log_prob] = normals(batch, 1.0);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("evaluate, 3 dimensions", batch), |b| {
            b.iter(|| gaussian::evaluate(black_box(&mean), &log_std, &action, black_box(&mut log_prob)));
        });
        group.bench_function(BenchmarkId::new("gradient, 3 dimensions", batch), |b| {
            b.iter(|| {
                let (out, mut d_log_std) = (black_box(&mut d_mean), [0.0; 3]);
                gaussian::backward(&mean, &log_std, &action, &d_log_prob, 0.0, out, &mut d_log_std);
                d_log_std
            });
        });
    }
    group.finish();
}

/// Shapes of a Beta policy with three dimensions, actions drawn from it, and room for gradients.
struct BetaBatch {
    a: Vec<f32>,
    b: Vec<f32>,
    action: Vec<f32>,
    evaluation: beta::Evaluation<f32>,
}

impl BetaBatch {
    const DIMS: usize = 3;

    fn interval() -> [beta::Interval<f32>; Self::DIMS] {
        [beta::Interval::new(-1.0, 1.0); Self::DIMS]
    }

    fn new(batch: usize) -> Self {
        let [a, b] = normals(batch * Self::DIMS, 3.0).map(|z: Vec<f32>| {
            let mut shapes = z.clone();
            beta::shapes(&z, &mut shapes);
            shapes
        });
        let mut streams: Vec<Stream> = (0..batch as u64).map(|i| Stream::new(1, "bench", i)).collect();
        let (mut action, mut log_prob) = (vec![0.0; a.len()], vec![0.0; batch]);
        beta::sample_rows(&a, &b, &Self::interval(), &mut streams, &mut action, &mut log_prob);
        BetaBatch { a, b, action, evaluation: beta::Evaluation::new(batch, Self::DIMS) }
    }

    fn evaluate(&mut self) {
        beta::evaluate(&self.a, &self.b, &Self::interval(), &self.action, &mut self.evaluation);
    }
}

fn policy_beta_density(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy.beta-density");
    for batch in BATCHES {
        let mut data = BetaBatch::new(batch);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("evaluate, 3 dimensions", batch), |b| {
            b.iter(|| black_box(&mut data).evaluate());
        });
    }
    group.finish();
}

fn policy_beta_score(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy.beta-score");
    for batch in BATCHES {
        let mut data = BetaBatch::new(batch);
        data.evaluate();
        let BetaBatch { a, b, evaluation, .. } = &data;
        let [mut d_a, mut d_b] = normals(batch * BetaBatch::DIMS, 1.0);
        let [d_log_prob, d_entropy] = normals(batch, 1.0);
        let zeros = vec![0.0; batch];
        group.throughput(Throughput::Elements(batch as u64));
        for (name, d_entropy) in [("gradient", &zeros), ("gradient with entropy", &d_entropy)] {
            group.bench_function(BenchmarkId::new(format!("{name}, 3 dimensions"), batch), |bench| {
                bench.iter(|| {
                    let (d_a, d_b) = (black_box(&mut d_a), black_box(&mut d_b));
                    beta::backward(black_box(evaluation), a, b, &d_log_prob, d_entropy, d_a, d_b);
                });
            });
        }
    }
    group.finish();
}

fn prob_bt_mle(c: &mut Criterion) {
    let mut group = c.benchmark_group("prob.bt-mle");
    for players in [16, 256] {
        let mut rng = Stream::new(1, "bench", 0);
        let wins =
            Array2::from_shape_fn((players, players), |(i, j)| f32::from(i != j) * rng.below(5) as f32);
        let games = preference::Games::new(&wins).expect("numbers of wins");
        let (strength, mut next) = (vec![1.0; players], vec![0.0; players]);
        group.throughput(Throughput::Elements((players * players) as u64));
        group.bench_function(BenchmarkId::new("MM step", players), |b| {
            b.iter(|| games.mm_step(black_box(&strength), black_box(&mut next)));
        });
    }
    group.finish();
}

/// A dense process with random transitions, and room for values. Throughput counts the transitions of a sweep.
struct Process {
    p: Array3<f64>,
    r: Array3<f64>,
    value: Vec<f64>,
    out: Vec<f64>,
    policy: Array2<f64>,
    q: Array2<f64>,
    q_out: Array2<f64>,
}

impl Process {
    const ACTIONS: usize = 4;
    const STATES: [usize; 2] = [64, 512];
    const GAMMA: f64 = 0.99;

    fn new(states: usize) -> Self {
        let mut rng = Stream::new(1, "bench", 0);
        let shape = (states, Self::ACTIONS, states);
        let mut p = Array3::from_shape_simple_fn(shape, || rng.unit());
        for mut row in p.rows_mut() {
            let sum = row.sum();
            row /= sum;
        }
        let r = Array3::from_shape_simple_fn(shape, || rng.uniform(-1.0, 1.0));
        let q = Array2::from_shape_simple_fn((states, Self::ACTIONS), || rng.unit());
        let value = (0..states).map(|_| rng.unit()).collect();
        let policy = Array2::from_elem(q.dim(), 1.0 / Self::ACTIONS as f64);
        Process { p, r, value, out: vec![1.0; states], policy, q_out: q.clone(), q }
    }

    /// Runs `f` as the benchmark `name` for every number of states.
    fn each(c: &mut Criterion, id: &str, name: &str, mut f: impl FnMut(&mut Process)) {
        let mut group = c.benchmark_group(id);
        for states in Self::STATES {
            let mut process = Process::new(states);
            group.throughput(Throughput::Elements((states * Self::ACTIONS * states) as u64));
            group.bench_function(BenchmarkId::new(name, format!("{states} states, 4 actions")), |b| {
                b.iter(|| f(black_box(&mut process)));
            });
        }
        group.finish();
    }
}

fn bellman_v(c: &mut Criterion) {
    Process::each(c, "bellman.v", "sweep", |x| {
        bellman::expectation_backup_v(&x.p, &x.r, &x.policy, Process::GAMMA, &x.value, &mut x.out);
    });
}

fn dp_policy_evaluation(c: &mut Criterion) {
    // The chain of the policy is formed once, and a hundred sweeps follow.
    Process::each(c, "dp.policy-evaluation", "100 sweeps", |x| {
        bellman::evaluate(&x.p, &x.r, &x.policy, Process::GAMMA, 100, &mut x.value);
    });
}

fn dp_q_vi(c: &mut Criterion) {
    Process::each(c, "dp.q-vi", "sweep", |x| {
        bellman::optimality_backup_q(&x.p, &x.r, Process::GAMMA, &x.q, &mut x.value, &mut x.q_out);
    });
}

fn rtdp_async_backup(c: &mut Criterion) {
    Process::each(c, "rtdp.async-backup", "every state once, in place", |x| {
        for state in 0..x.value.len() {
            bellman::backup_state(&x.p, &x.r, Process::GAMMA, &mut x.value, state);
        }
    });
}

fn maxent_soft_bellman(c: &mut Criterion) {
    Process::each(c, "maxent.soft-bellman", "sweep", |x| {
        maxent::soft_backup(&x.p, &x.r, Process::GAMMA, 0.1, &x.value, &mut x.q, &mut x.out);
    });
}

criterion_group!(
    dynamic_programming,
    bellman_v,
    dp_policy_evaluation,
    dp_q_vi,
    rtdp_async_backup,
    maxent_soft_bellman
);
criterion_group!(returns_and_advantages, return_recursion, td_update_rule, gae_recursion, gae_lambda_return,);
criterion_group!(temporal_differences, sarsa_expected_update, qlearn_terminal, fa_linear_q);
criterion_group!(losses, ppo_clip_form, ppo_penalty, ppo_value_loss, ppo_adv_norm, kl_k123);
criterion_group!(
    policies,
    policy_softmax,
    ent_bonus,
    policy_gaussian,
    policy_beta_density,
    policy_beta_score,
    prob_bt_mle
);
criterion_main!(dynamic_programming, returns_and_advantages, temporal_differences, losses, policies);
