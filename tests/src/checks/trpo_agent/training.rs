//! The training loop of `rederive_trpo` against one written out in `f64`.
//!
//! The environments are scripts, so that the rollout follows from the actions. The other side differentiates the surrogate by
//! central differences, builds the Fisher matrix, solves for the natural gradient by elimination, backtracks by the definition,
//! and fits the critic with Adam's steps by hand.

use crate::checks::actor_critic::{Nets, Steps, normalised};
use crate::checks::ppo::training::Script;
use crate::measure::Worst;
use crate::oracles::{gradient, jacobian, solve};
use crate::{Check, Measured, random};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_env::{SyncVec, VecEnv};
use rederive_nn::{Activation, Schedule};
use rederive_train::{EpisodeLog, Init, Learner, Report};
use rederive_trpo::{Config, Method, Trpo};

/// A linear solve, a step and the critic's steps in single precision.
const TOL_LOOP: f64 = 1e-3;

/// The checks of the loop.
pub(super) fn checks() -> Vec<Check> {
    let of = |method: Method| plan().prop_map(move |plan| Plan { method, ..plan });
    vec![
        random("trpo.line-search", "training-loop", TOL_LOOP, of(Method::Trpo), two_updates).at_most(96),
        random("trpo.step", "training-loop", TOL_LOOP, of(Method::Npg), two_updates).at_most(96),
    ]
}

#[derive(Clone, Debug)]
struct Plan {
    method: Method,
    config: Config,
    continuous: bool,
    seed: u64,
    progress: f64,
}

fn plan() -> impl Strategy<Value = Plan> + Clone + Send + Sync {
    let sizes = (1..=3usize, 4..=12usize, prop_oneof![Just(1.0), Just(0.5), Just(0.34)]);
    let rates = (0.0..=1.0f64, 0.0..=1.0f64, any::<bool>());
    // Radii from small to so large that the whole step is too long.
    let step = (
        -3.0..=0.0f64,
        0.05..=0.5f64,
        0.3..=0.9f64,
        1..=8usize,
        prop_oneof![Just(None), (0.1..=2.0f64).prop_map(Some)],
    );
    let critic = (1..=3usize, 0.01..=0.3f64, any::<bool>(), 0.1..=1.0f64);
    let activation = prop_oneof![Just(Activation::Tanh), Just(Activation::Identity)];
    let network = (vec(1..=4usize, 0..=1), activation, -1.0..=0.5f64, any::<bool>());
    (sizes, rates, step, critic, network, any::<bool>(), 0..1000u64, 0.0..=0.9f64).prop_map(
        |(sizes, rates, step, critic, network, continuous, seed, progress)| {
            let config = Config {
                num_envs: sizes.0,
                num_steps: sizes.1,
                fisher_fraction: sizes.2,
                gamma: rates.0,
                gae_lambda: rates.1,
                normalize_advantage: rates.2,
                target_kl: 10f64.powf(step.0),
                cg_damping: step.1,
                cg_iterations: 100,
                cg_tolerance: 1e-6,
                backtrack: step.2,
                max_backtracks: step.3,
                policy_lr: step.4,
                critic_epochs: critic.0,
                // All at once, so that their order does not matter.
                minibatch: sizes.0 * sizes.1,
                lr: critic.1,
                lr_schedule: if critic.2 { Schedule::Linear } else { Schedule::Constant },
                adam_eps: critic.3,
                hidden: network.0,
                activation: network.1,
                log_std: network.2,
                init: if network.3 { Init::Orthogonal } else { Init::Uniform },
                ..Config::default()
            };
            Plan { method: Method::Trpo, config, continuous, seed, progress }
        },
    )
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Where the policy goes, and what it reports of that.
struct Wanted {
    params: Vec<f64>,
    /// Divergence and gain of the step, and its share of the whole one; of which the quadratic model says `model_kl`.
    kl: f64,
    gain: f64,
    share: f64,
    model_kl: f64,
    trials: usize,
    grad_norm: f64,
}

/// The policy's step from `before`, or nothing where rounding may decide about it.
fn step(
    config: &Config,
    method: Method,
    nets: &Nets,
    before: &[f64],
    steps: &Steps,
    advantage: &[f64],
) -> Option<Wanted> {
    let n = nets.policy_params();
    let rows = steps.len();
    let log_prob = |params: &[f64], i: usize| nets.policy(params, &steps.features[i], &steps.action[i]).0;
    let old: Vec<f64> = (0..rows).map(|i| log_prob(before, i)).collect();
    let gain = |params: &[f64]| {
        let one = |i: usize| ((log_prob(params, i) - old[i]).exp() - 1.0) * advantage[i];
        (0..rows).map(one).sum::<f64>() / rows as f64
    };
    let g = gradient(gain, &before[..n]);
    // Every state, or every second or third.
    let stride = (1.0 / config.fisher_fraction).round() as usize;
    let seen: Vec<&Vec<f64>> = steps.features.iter().step_by(stride).collect();
    let mut matrix = vec![vec![0.0; n]; n];
    for x in &seen {
        let rows = jacobian(|params| nets.outputs(params, x), &before[..n]);
        let out = nets.outputs(before, x);
        let log_std = nets.log_std(before);
        let total: f64 = out.iter().map(|z| z.exp()).sum();
        for (a, left) in rows.iter().enumerate() {
            for (b, right) in rows.iter().enumerate() {
                let same = f64::from(u8::from(a == b));
                let inner = if log_std.is_empty() {
                    let (p, q) = (out[a].exp() / total, out[b].exp() / total);
                    same * p - p * q
                } else {
                    same * (-2.0 * log_std[a]).exp()
                };
                for (i, l) in left.iter().enumerate() {
                    for (j, r) in right.iter().enumerate() {
                        matrix[i][j] += l * inner * r / seen.len() as f64;
                    }
                }
            }
        }
    }
    let network = n - nets.log_std(before).len();
    for (i, row) in matrix.iter_mut().enumerate() {
        // The information about each log standard deviation is 2 in every state.
        row[i] += config.cg_damping + if i < network { 0.0 } else { 2.0 };
    }
    let grad_norm = dot(&g, &g).sqrt();
    let natural = solve(matrix.clone(), g);
    let curvature: f64 = natural.iter().zip(&matrix).map(|(x, row)| x * dot(row, &natural)).sum();
    let factor = match (method, config.policy_lr) {
        (Method::Npg, Some(lr)) => lr,
        _ if curvature < 1e-6 => return None,
        _ => (2.0 * config.target_kl / curvature).sqrt(),
    };
    let moved = |share: f64| -> Vec<f64> {
        let mut params = before[..n].to_vec();
        params.iter_mut().zip(&natural).for_each(|(p, d)| *p += share * factor * d);
        params
    };
    let kl = |params: &[f64]| {
        let one = |i: usize| divergence(nets, before, params, &steps.features[i]);
        (0..rows).map(one).sum::<f64>() / rows as f64
    };
    let undamped = curvature - config.cg_damping * dot(&natural, &natural);
    let model_kl = 0.5 * factor * factor * undamped;
    let wanted = |params: Vec<f64>, share: f64, trials: usize| {
        let (kl, gain) = (kl(&params), gain(&params));
        Some(Wanted { params, kl, gain, share, model_kl, trials, grad_norm })
    };
    if method == Method::Npg {
        return wanted(moved(1.0), 1.0, 0);
    }
    for k in 0..config.max_backtracks {
        let share = config.backtrack.powi(k as i32);
        let candidate = moved(share);
        let (kl, gained) = (kl(&candidate), gain(&candidate));
        if (kl - config.target_kl).abs() < 1e-3 * config.target_kl || gained.abs() < 1e-4 {
            return None;
        }
        if kl < config.target_kl && gained > 0.0 {
            return wanted(candidate, share, k + 1);
        }
    }
    wanted(before[..n].to_vec(), 0.0, config.max_backtracks)
}

/// `KL(old || new)` in one state.
fn divergence(nets: &Nets, old: &[f64], new: &[f64], x: &[f64]) -> f64 {
    let (z, y) = (nets.outputs(old, x), nets.outputs(new, x));
    let (s, t) = (nets.log_std(old), nets.log_std(new));
    if s.is_empty() {
        let total = |z: &[f64]| z.iter().map(|z| z.exp()).sum::<f64>().ln();
        let (a, b) = (total(&z), total(&y));
        return z.iter().zip(&y).map(|(z, y)| (z - a).exp() * (z - a - y + b)).sum();
    }
    let one = |d: usize| {
        let square = (2.0 * s[d]).exp() + (z[d] - y[d]).powi(2);
        t[d] - s[d] + 0.5 * square * (-2.0 * t[d]).exp() - 0.5
    };
    (0..z.len()).map(one).sum()
}

fn two_updates(mut plan: Plan) -> Measured {
    if plan.method == Method::Trpo {
        plan.config.policy_lr = None;
    }
    let c = &plan.config;
    let script = |n| Script::new(plan.seed * 16 + n, plan.continuous);
    let mut env = SyncVec::new("Script", (0..c.num_envs as u64).map(script).collect::<Vec<_>>());
    let mut agent = Trpo::new(plan.method, c.clone(), &env, plan.seed).map_err(|e| e.to_string())?;
    env.reset(plan.seed);
    let (mut episodes, mut report) = (EpisodeLog::new(c.num_envs), Report::default());
    let nets = Nets::new(&c.hidden, c.activation, plan.continuous);
    let split = nets.critic_start();
    let critic = agent.networks().params().len() - split;
    let (mut first, mut second, mut updates) = (vec![0.0; critic], vec![0.0; critic], 0);
    let mut worst = Worst::new();
    for phase in 0..2u64 {
        let wide = |agent: &Trpo| agent.networks().params().iter().map(|&p| f64::from(p)).collect::<Vec<_>>();
        let before = wide(&agent);
        let progress = plan.progress * phase as f64;
        agent.iterate(&mut env, progress, &mut episodes, &mut report).map_err(|e| e.to_string())?;
        let after = wide(&agent);
        let earlier = phase * c.num_steps as u64;
        let action = agent.rollout().action();
        let steps = Steps::new(plan.seed * 16, c.num_envs, earlier, c.num_steps, action);
        let (value, follows) = steps.values(&nets, &before);
        let delta: Vec<f64> =
            (0..steps.len()).map(|i| steps.reward[i] + c.gamma * follows[i] - value[i]).collect();
        let mut advantage: Vec<f64> =
            (0..steps.len()).map(|i| steps.decayed(i, c.gamma * c.gae_lambda, usize::MAX, &delta)).collect();
        let return_: Vec<f64> = advantage.iter().zip(&value).map(|(a, v)| a + v).collect();
        if c.normalize_advantage {
            let Some(normal) = normalised(&advantage) else { return worst.done() };
            advantage = normal;
        }
        let Some(step) = step(c, plan.method, &nets, &before, &steps, &advantage) else {
            return worst.done();
        };
        worst.all(&after[..step.params.len()], &step.params);
        let metric = |name: &str| {
            let place = agent.metrics().iter().position(|m| m.name == name).expect("a metric of this name");
            report.values[place]
        };
        worst.same(metric("kl") / c.target_kl, step.kl / c.target_kl);
        worst.same(metric("model_kl") / c.target_kl, step.model_kl / c.target_kl);
        worst.same(metric("surrogate_gain"), step.gain).same(metric("step_share"), step.share);
        worst.same(metric("grad_norm"), step.grad_norm);
        worst.holds(metric("line_search_trials") == step.trials as f64);
        // The critic learns after the policy, from the same rollout.
        let mut fitted = before[split..].to_vec();
        let lr = c.lr * if c.lr_schedule == Schedule::Linear { 1.0 - progress } else { 1.0 };
        for _ in 0..c.critic_epochs {
            let fit = |critic: &[f64]| {
                let params = [&before[..split], critic].concat();
                let error = |i: usize| nets.value(&params, &steps.features[i]) - return_[i];
                (0..steps.len()).map(|i| 0.5 * error(i).powi(2)).sum::<f64>() / steps.len() as f64
            };
            updates += 1;
            for (i, g) in gradient(fit, &fitted.clone()).into_iter().enumerate() {
                first[i] = 0.9 * first[i] + 0.1 * g;
                second[i] = 0.999 * second[i] + 0.001 * g * g;
                let mean = first[i] / (1.0 - 0.9f64.powi(updates));
                let root = (second[i] / (1.0 - 0.999f64.powi(updates))).sqrt();
                fitted[i] -= lr * mean / (root + c.adam_eps);
            }
        }
        worst.all(&after[split..], &fitted);
    }
    worst.done()
}
