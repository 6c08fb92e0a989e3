//! The training loop of `rederive_ppo` against one written out in `f64`.
//!
//! The environment of these checks is a script: observations, rewards and ends follow from the environment's number, the
//! steps it has taken and the action. The other side therefore knows the rollout from the actions alone. It evaluates the
//! networks with one loop per sum, differentiates the whole loss by central differences, and takes Adam's steps by hand.

use super::{moments, naive_clip, softmax};
use crate::checks::nn::plain_forward;
use crate::measure::{EXACT, Worst, relative, require};
use crate::oracles::gradient;
use crate::{Check, fixed, random};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_env::{Action, End, Env, Space, StateError, Stream, SyncVec, VecEnv};
use rederive_nn::{Activation, Schedule};
use rederive_ppo::{Config, Objective, Ppo};
use rederive_train::{ActionBuffer, Checkpoint, EpisodeLog, Init, Learner, Minibatches, Policy, Report};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Single precision through a whole phase: forward and backward passes and a few optimiser steps.
const TOL_PHASE: f64 = 2e-4;

/// The checks of the loop.
pub(super) fn checks() -> Vec<Check> {
    vec![
        random("gae.terminal-truncation", "training-loop", 1e-5, plan(), rollout_targets).at_most(96),
        random("ppo.first-step", "training-loop", TOL_PHASE, plan(), first_step).at_most(64),
        fixed("ppo.first-step", "clip-binds", EXACT, clip_binds),
        random("ppo.beta-adapt", "training-loop", TOL_PHASE, plan(), beta_adapt).at_most(48),
        random("ppo.target-reuse", "training-loop", 1e-5, plan(), targets_stay).at_most(64),
        random("ppo.total-loss", "training-loop", TOL_PHASE, plan(), whole_phase).at_most(128),
        random("ppo.total-loss", "decoupled", EXACT, (plan(), 0.0..=2.0f64), decoupled).at_most(48),
        random("ppo.early-stop", "training-loop", EXACT, (plan(), 0.0..=1.2f64), early_stop).at_most(64),
        random("ppo.epochs", "training-loop", TOL_PHASE, plan(), next_phase).at_most(48),
    ]
}

// The scripted environment

/// Observations per step.
pub(in crate::checks) const FEATURES: usize = 2;
/// Discrete actions, or dimensions of a continuous one.
pub(in crate::checks) const ACTIONS: usize = 3;

/// An environment without chance and without state but for its number and a count of its steps.
#[derive(Clone, Debug)]
pub(in crate::checks) struct Script {
    number: u64,
    steps: u64,
    continuous: bool,
}

/// A number in [-1, 1) from what it is for.
fn scripted(number: u64, step: u64, what: u64) -> f64 {
    let mut x = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step.wrapping_mul(0xd1b5_4a32_d192_ed03) ^ what;
    for shift in [30, 27, 31] {
        x = (x ^ (x >> shift)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(0x94d0_49bb_1331_11eb);
    }
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// What is seen after `step` steps: the successor, or the first observation of a new episode.
pub(in crate::checks) fn observation(number: u64, step: u64, first: bool) -> [f32; FEATURES] {
    std::array::from_fn(|i| scripted(number, step, 10 + 2 * i as u64 + u64::from(first)) as f32)
}

/// How step number `step`, counted from 1, ends.
pub(in crate::checks) fn ending(number: u64, step: u64) -> End {
    match scripted(number, step, 1) {
        x if x < -0.7 => End::Terminated,
        x if x < -0.3 => End::Truncated,
        _ => End::No,
    }
}

/// What step number `step` pays.
pub(in crate::checks) fn reward(number: u64, step: u64, action: &[f32]) -> f32 {
    let preference = |i: usize| scripted(number % 2, 0, 100 + i as u64) as f32;
    scripted(number, step, 2) as f32 + action.iter().enumerate().map(|(i, a)| a * preference(i)).sum::<f32>()
}

/// A discrete action as a vector.
pub(in crate::checks) fn one_hot(action: u32) -> [f32; ACTIONS] {
    std::array::from_fn(|i| f32::from(u8::from(i == action as usize)))
}

impl Script {
    pub(in crate::checks) fn new(number: u64, continuous: bool) -> Self {
        Script { number, steps: 0, continuous }
    }
}

impl Env for Script {
    fn observation_space(&self) -> Space {
        Space::Box { low: vec![-1.0; FEATURES], high: vec![1.0; FEATURES] }
    }

    fn action_space(&self) -> Space {
        if self.continuous {
            Space::Box { low: vec![-0.5; ACTIONS], high: vec![0.75; ACTIONS] }
        } else {
            Space::Discrete { n: ACTIONS }
        }
    }

    fn reset(&mut self, _: &mut Stream, obs: &mut [f32]) {
        obs.copy_from_slice(&observation(self.number, self.steps, true));
    }

    fn step(&mut self, action: Action<'_>, _: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        self.steps += 1;
        obs.copy_from_slice(&observation(self.number, self.steps, false));
        let reward = match action {
            Action::Discrete(a) => reward(self.number, self.steps, &one_hot(a)),
            Action::Continuous(a) => reward(self.number, self.steps, a),
        };
        (reward, ending(self.number, self.steps))
    }

    fn save(&self) -> Value {
        json!(self.steps)
    }

    fn load(&mut self, state: &Value) -> Result<(), StateError> {
        self.steps = state.as_u64().ok_or_else(|| StateError("no number of steps".to_owned()))?;
        Ok(())
    }
}

// Plans

/// A configuration of the real thing, and where in a run its phase lies.
#[derive(Clone, Debug)]
struct Plan {
    config: Config,
    continuous: bool,
    seed: u64,
    progress: f64,
}

fn plan() -> impl Strategy<Value = Plan> + Clone + Send + Sync {
    let weight = || prop_oneof![4 => 0.0..=1.5f64, 1 => Just(0.0)];
    let schedule = || prop_oneof![Just(Schedule::Constant), Just(Schedule::Linear)];
    let sizes = (1..=3usize, 2..=10usize, 1..=3usize, 0.25..=1.2f64);
    let learning = (0.02..=0.3f64, schedule(), 0.05..=1.0f64, prop_oneof![Just(1e6), 0.05..=1.0f64]);
    let policy = (any::<bool>(), 0.05..=0.4f64, schedule(), 0.1..=3.0f64, 0.001..=0.2f64);
    let terms = (any::<bool>(), weight(), weight(), any::<bool>());
    let activation = prop_oneof![Just(Activation::Tanh), Just(Activation::Identity)];
    let network = (vec(1..=4usize, 0..=2), activation, any::<bool>(), -1.0..=0.5f64, 0.0..=0.9f64);
    let rest = (0.0..=1.0f64, 0.0..=1.0f64, any::<bool>(), 0..1000u64, 0.0..=0.9f64);
    (sizes, learning, policy, terms, network, rest).prop_map(
        |(sizes, learning, policy, terms, network, rest)| {
            let (num_envs, num_steps, num_epochs, share) = sizes;
            let config = Config {
                num_envs,
                num_steps,
                num_epochs,
                // At most four minibatches; more than the rollout has at the upper end.
                minibatch: ((num_envs * num_steps) as f64 * share).ceil() as usize,
                gamma: rest.0,
                gae_lambda: rest.1,
                lr: learning.0,
                lr_schedule: learning.1,
                adam_eps: learning.2,
                max_grad_norm: learning.3,
                objective: if policy.0 { Objective::Clip } else { Objective::Penalty },
                clip_eps: policy.1,
                clip_schedule: policy.2,
                kl_coef: policy.3,
                target_kl: (!policy.0).then_some(policy.4),
                clip_value: terms.0,
                vf_coef: terms.1,
                ent_coef: terms.2,
                normalize_advantage: terms.3,
                normalize_obs: false,
                normalize_reward: false,
                hidden: network.0,
                activation: network.1,
                init: if network.2 { Init::Orthogonal } else { Init::Uniform },
                policy: Policy::Gaussian,
                log_std: network.3,
                noise_correlation: network.4,
            };
            Plan { config, continuous: rest.2, seed: rest.3, progress: rest.4 }
        },
    )
}

impl Plan {
    fn with(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut plan = self.clone();
        change(&mut plan.config);
        plan
    }

    /// One minibatch per epoch.
    fn whole(&self) -> Self {
        self.with(|c| c.minibatch = c.num_envs * c.num_steps)
    }

    fn start(&self) -> Result<Session, String> {
        let script = |n| Script::new(self.seed * 16 + n, self.continuous);
        let mut env = SyncVec::new("Script", (0..self.config.num_envs as u64).map(script).collect());
        let ppo = Ppo::new(self.config.clone(), &env, self.seed).map_err(|e| e.to_string())?;
        env.reset(self.seed);
        let episodes = EpisodeLog::new(self.config.num_envs);
        Ok(Session { plan: self.clone(), env, ppo, episodes, report: Report::default(), before: Vec::new() })
    }
}

/// An agent under test with its environments.
struct Session {
    plan: Plan,
    env: SyncVec<Script>,
    ppo: Ppo,
    episodes: EpisodeLog,
    report: Report,
    /// The parameters before the last phase.
    before: Vec<f64>,
}

impl Session {
    fn iterate(&mut self) -> Result<(), String> {
        self.before = self.params();
        let progress = self.plan.progress;
        self.ppo
            .iterate(&mut self.env, progress, &mut self.episodes, &mut self.report)
            .map_err(|e| e.to_string())
    }

    fn params(&self) -> Vec<f64> {
        self.ppo.networks().params().iter().map(|&p| f64::from(p)).collect()
    }

    /// A number of the last report.
    fn metric(&self, name: &str) -> f64 {
        let place = self.ppo.metrics().iter().position(|m| m.name == name).expect("a metric of this name");
        self.report.values[place]
    }

    fn checkpoint(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        self.ppo.save(&mut checkpoint);
        checkpoint
    }
}

// The loop, written out

/// What was done in a step.
#[derive(Clone, Debug)]
enum Taken {
    Number(usize),
    Vector(Vec<f64>),
}

/// One phase: everything that the rollout fixes, from the parameters that collected it.
#[derive(Clone, Debug)]
struct Phase {
    plan: Plan,
    actor: Vec<usize>,
    critic: Vec<usize>,
    features: Vec<Vec<f64>>,
    action: Vec<Taken>,
    old_log_prob: Vec<f64>,
    value: Vec<f64>,
    next_value: Vec<f64>,
    reward: Vec<f64>,
    end: Vec<End>,
    advantage: Vec<f64>,
    return_: Vec<f64>,
}

/// How many parameters a network has.
pub(in crate::checks) fn count(sizes: &[usize]) -> usize {
    sizes.windows(2).map(|s| s[0] * s[1] + s[1]).sum()
}

impl Phase {
    /// The phase that `session` has just been through, `earlier` phases after its start. Of its rollout only the actions are
    /// read.
    fn new(session: &Session, earlier: u64) -> Self {
        let plan = session.plan.clone();
        let c = &plan.config;
        let sizes = |outputs: usize| [&[FEATURES], c.hidden.as_slice(), &[outputs]].concat();
        let (steps, envs) = (c.num_steps, c.num_envs);
        let mut phase = Phase {
            actor: sizes(ACTIONS),
            critic: sizes(1),
            features: vec![],
            action: vec![],
            old_log_prob: vec![],
            value: vec![],
            next_value: vec![],
            reward: vec![],
            end: vec![],
            advantage: vec![0.0; steps * envs],
            return_: vec![0.0; steps * envs],
            plan: plan.clone(),
        };
        let wide = |x: [f32; FEATURES]| x.map(f64::from).to_vec();
        for i in 0..steps * envs {
            let (t, n) = (i / envs, i % envs);
            let number = plan.seed * 16 + n as u64;
            let step = earlier * steps as u64 + t as u64;
            let first = step == 0 || ending(number, step).done();
            phase.features.push(wide(observation(number, step, first)));
            let (taken, paid) = match session.ppo.rollout().action() {
                ActionBuffer::Discrete(a) => (Taken::Number(a[i] as usize), one_hot(a[i])),
                ActionBuffer::Continuous(a) => {
                    let row: Vec<f32> = a.row(i).to_vec();
                    let clipped = std::array::from_fn(|d| row[d].clamp(-0.5, 0.75));
                    (Taken::Vector(row.iter().map(|&x| f64::from(x)).collect()), clipped)
                }
            };
            phase.action.push(taken);
            phase.reward.push(f64::from(reward(number, step + 1, &paid)));
            let end = ending(number, step + 1);
            phase.end.push(end);
            let params = &session.before;
            let (log_prob, _) = phase.policy(params, i);
            phase.old_log_prob.push(log_prob);
            phase.value.push(phase.value_of(params, &phase.features[i]));
            let successor = wide(observation(number, step + 1, false));
            phase.next_value.push(match end {
                End::Terminated => 0.0,
                End::No | End::Truncated => phase.value_of(params, &successor),
            });
        }
        for n in 0..envs {
            let mut chain = 0.0;
            for t in (0..steps).rev() {
                let i = t * envs + n;
                let delta = phase.reward[i] + c.gamma * phase.next_value[i] - phase.value[i];
                chain = delta + if phase.end[i] == End::No { c.gamma * c.gae_lambda * chain } else { 0.0 };
                phase.advantage[i] = chain;
                phase.return_[i] = chain + phase.value[i];
            }
        }
        phase
    }

    /// Where the critic's parameters start: after the actor's and the standard deviations, on a cache line of its own.
    fn critic_start(&self) -> usize {
        (count(&self.actor) + if self.plan.continuous { ACTIONS } else { 0 }).next_multiple_of(16)
    }

    fn value_of(&self, params: &[f64], features: &[f64]) -> f64 {
        let critic = &params[self.critic_start()..];
        plain_forward(&self.critic, self.plan.config.activation, critic, features, |_| ())[0]
    }

    /// The log-probability of the action of sample `i`, and the entropy.
    fn policy(&self, params: &[f64], i: usize) -> (f64, f64) {
        let outputs =
            plain_forward(&self.actor, self.plan.config.activation, params, &self.features[i], |_| ());
        match &self.action[i] {
            Taken::Number(a) => {
                let pi = softmax(&outputs);
                (pi[*a].ln(), -pi.iter().map(|p| p * p.ln()).sum::<f64>())
            }
            Taken::Vector(x) => {
                let log_std = &params[count(&self.actor)..][..ACTIONS];
                let tau = std::f64::consts::TAU;
                let density = |d: usize| -> f64 {
                    let z = (x[d] - outputs[d]) / log_std[d].exp();
                    -0.5 * z * z - log_std[d] - 0.5 * tau.ln()
                };
                let entropy = log_std.iter().map(|s| s + 0.5 * (tau * std::f64::consts::E).ln()).sum();
                ((0..ACTIONS).map(density).sum(), entropy)
            }
        }
    }

    fn clip_eps(&self) -> f64 {
        let c = &self.plan.config;
        c.clip_eps * if c.clip_schedule == Schedule::Linear { 1.0 - self.plan.progress } else { 1.0 }
    }

    /// The advantages of a minibatch, as the loss sees them.
    fn seen_advantage(&self, rows: &[usize]) -> Vec<f64> {
        let mut advantage: Vec<f64> = rows.iter().map(|&i| self.advantage[i]).collect();
        if self.plan.config.normalize_advantage {
            let (mean, std) = moments(&advantage);
            let constant = advantage.iter().all(|&a| a == advantage[0]);
            advantage.iter_mut().for_each(|a| *a = if constant { 0.0 } else { (*a - mean) / (std + 1e-8) });
        }
        advantage
    }

    /// The means of the minibatch: loss, surrogate's loss, value loss, entropy, k3 estimate, share of clipped ratios.
    fn terms(&self, params: &[f64], rows: &[usize], kl_coef: f64) -> [f64; 6] {
        let (c, eps) = (&self.plan.config, self.clip_eps());
        let advantage = self.seen_advantage(rows);
        let mut sums = [0.0; 5];
        for (&i, &a) in rows.iter().zip(&advantage) {
            let (log_prob, entropy) = self.policy(params, i);
            let x = log_prob - self.old_log_prob[i];
            let k3 = x.exp() - 1.0 - x;
            let policy = match c.objective {
                Objective::Clip => -naive_clip(x.exp(), a, eps),
                Objective::Penalty => kl_coef * k3 - x.exp() * a,
            };
            let (value, old, y) = (self.value_of(params, &self.features[i]), self.value[i], self.return_[i]);
            let clipped = (old + (value - old).clamp(-eps, eps) - y).powi(2);
            let square = (value - y).powi(2);
            let fit = 0.5 * if c.clip_value { square.max(clipped) } else { square };
            let outside = c.objective == Objective::Clip && (x.exp() - 1.0).abs() > eps;
            for (sum, term) in sums.iter_mut().zip([policy, fit, entropy, k3, f64::from(u8::from(outside))]) {
                *sum += term / rows.len() as f64;
            }
        }
        let [policy, fit, entropy, k3, outside] = sums;
        [policy + c.vf_coef * fit - c.ent_coef * entropy, policy, fit, entropy, k3, outside]
    }

    /// Whether rounding may decide on which side of a kink a sample lies.
    fn near_a_kink(&self, params: &[f64], rows: &[usize]) -> bool {
        let (c, eps, margin) = (&self.plan.config, self.clip_eps(), 2e-4);
        rows.iter().any(|&i| {
            let ratio = (self.policy(params, i).0 - self.old_log_prob[i]).exp();
            let moved = self.value_of(params, &self.features[i]) - self.value[i];
            let error = self.value[i] + moved - self.return_[i];
            let clipped = self.value[i] + moved.clamp(-eps, eps) - self.return_[i];
            let tie = moved.abs() > eps && (error.abs() - clipped.abs()).abs() < margin;
            c.objective == Objective::Clip && ((ratio - 1.0).abs() - eps).abs() < margin
                || c.clip_value && ((moved.abs() - eps).abs() < margin || tie)
        }) || {
            // Nearly equal advantages are normalised into noise.
            let (_, std) = moments(&rows.iter().map(|&i| self.advantage[i]).collect::<Vec<f64>>());
            c.normalize_advantage && rows.len() > 1 && std < 1e-2
        }
    }
}

/// What the phase ends with.
#[derive(Debug)]
struct Learned {
    params: Vec<f64>,
    metrics: BTreeMap<&'static str, f64>,
}

/// Adam from fresh moments over the phase's minibatches, as the shuffling stream draws them. `None` if a sample comes too
/// close to a kink for single precision to tell the side.
fn learn(phase: &Phase, start: &[f64], mut shuffle: Stream, kl_coef: f64) -> Option<Learned> {
    let c = &phase.plan.config;
    let lr = c.lr * if c.lr_schedule == Schedule::Linear { 1.0 - phase.plan.progress } else { 1.0 };
    let mut params = start.to_vec();
    let (mut first, mut second) = (vec![0.0; params.len()], vec![0.0; params.len()]);
    let mut minibatches = Minibatches::new(c.num_envs * c.num_steps, c.minibatch);
    let mut sums = [0.0; 5];
    let (mut samples, mut steps, mut epochs, mut kl) = (0.0, 0, 0.0, 0.0);
    for _ in 0..c.num_epochs {
        minibatches.shuffle(&mut shuffle);
        let (mut kl_sum, mut seen) = (0.0, 0.0);
        for list in 0..minibatches.count() {
            let rows: Vec<usize> = minibatches.get(list).iter().map(|&i| i as usize).collect();
            if phase.near_a_kink(&params, &rows) {
                return None;
            }
            let size = rows.len() as f64;
            let [_, policy, fit, entropy, k3, outside] = phase.terms(&params, &rows, kl_coef);
            let mut grad = gradient(|p| phase.terms(p, &rows, kl_coef)[0], &params);
            let norm = grad.iter().map(|g| g * g).sum::<f64>().sqrt();
            let scale = (c.max_grad_norm / (norm + 1e-6)).min(1.0);
            grad.iter_mut().for_each(|g| *g *= scale);
            steps += 1;
            for (((p, g), m), v) in params.iter_mut().zip(&grad).zip(&mut first).zip(&mut second) {
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                let (m_hat, v_hat) = (*m / (1.0 - 0.9f64.powi(steps)), *v / (1.0 - 0.999f64.powi(steps)));
                *p -= lr * m_hat / (v_hat.sqrt() + c.adam_eps);
            }
            for (sum, term) in sums.iter_mut().zip([policy, fit, entropy, outside, norm]) {
                *sum += size * term;
            }
            samples += size;
            kl_sum += size * k3;
            seen += size;
        }
        epochs += 1.0;
        kl = kl_sum / seen;
        if c.objective == Objective::Clip && c.target_kl.is_some_and(|target| kl > target) {
            break;
        }
    }
    let [policy, fit, entropy, outside, norm] = sums.map(|sum| sum / samples);
    let metrics = BTreeMap::from([
        ("policy_loss", policy),
        ("value_loss", fit),
        ("entropy", entropy),
        ("approx_kl", kl),
        ("clip_fraction", outside),
        ("grad_norm", norm),
        ("epochs", epochs),
        ("lr", lr),
        ("clip_eps", phase.clip_eps()),
        ("kl_coef", kl_coef),
    ]);
    Some(Learned { params, metrics })
}

/// Runs one phase on both sides and compares parameters and report.
fn compare_phase(plan: &Plan, worst: &mut Worst) -> Result<Option<Session>, String> {
    let mut session = plan.start()?;
    let shuffle: Stream = session.checkpoint().get("shuffle")?;
    session.iterate()?;
    let phase = Phase::new(&session, 0);
    let Some(learned) = learn(&phase, &session.before, shuffle, plan.config.kl_coef) else { return Ok(None) };
    for (name, want) in &learned.metrics {
        let error = relative(session.metric(name), *want, 0.0);
        require(error <= TOL_PHASE, || format!("{name} is {} instead of {want}", session.metric(name)))?;
        worst.add(error);
    }
    worst.all(&session.params(), &learned.params);
    Ok(Some(session))
}

// The checks

/// Features, rewards, ends, values of true successors, advantages and returns, all as the script and the first parameters
/// have them: truncation keeps the value of the last observation, termination does not, and neither looks into the next
/// episode.
fn rollout_targets(plan: Plan) -> Result<f64, String> {
    let mut session = plan.start()?;
    let mut worst = Worst::new();
    for earlier in 0..2 {
        session.iterate()?;
        let phase = Phase::new(&session, earlier);
        let rollout = session.ppo.rollout();
        let wide = |x: &ndarray::ArrayRef2<f32>| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        worst.holds(wide(rollout.features()) == phase.features.concat());
        worst.holds(rollout.end().iter().eq(&phase.end));
        worst.all(&wide(rollout.reward()), &phase.reward);
        worst.all(&wide(rollout.value()), &phase.value).all(&wide(rollout.next_value()), &phase.next_value);
        let (advantage, return_) = session.ppo.targets();
        worst.all(&wide(advantage), &phase.advantage).all(&wide(return_), &phase.return_);
    }
    worst.done()
}

/// The first minibatch sees ratios of 1 and the gradient without any clip or penalty; the second sees the first one's step.
fn first_step(plan: Plan) -> Result<f64, String> {
    let mut worst = Worst::new();
    let one = plan.whole().with(|c| c.num_epochs = 1);
    // Both surrogates take the same step, and it is that of the surrogate without either.
    let clip = one.with(|c| (c.objective, c.target_kl) = (Objective::Clip, None));
    let penalty = one.with(|c| (c.objective, c.target_kl) = (Objective::Penalty, Some(0.1)));
    let heavier = penalty.with(|c| c.kl_coef *= 10.0);
    let (mut a, mut b, mut d) = (clip.start()?, penalty.start()?, heavier.start()?);
    for session in [&mut a, &mut b, &mut d] {
        session.iterate()?;
        require(session.metric("approx_kl").abs() < 1e-12, || {
            "the first minibatch sees a divergence".to_owned()
        })?;
        require(session.metric("clip_fraction") == 0.0, || "the first minibatch sees a clip".to_owned())?;
    }
    worst.all(&b.params(), &a.params()).all(&d.params(), &a.params());
    // Two epochs: what the second one measures is what the first one did.
    let two = plan.whole().with(|c| c.num_epochs = 2);
    let Some(session) = compare_phase(&two, &mut worst)? else { return worst.done() };
    let phase = Phase::new(&session, 0);
    let rows: Vec<usize> = (0..phase.value.len()).collect();
    let mut after_one = two.with(|c| c.num_epochs = 1).start()?;
    after_one.iterate()?;
    let [.., k3, outside] = phase.terms(&after_one.params(), &rows, 0.0);
    worst.same(session.metric("approx_kl"), k3);
    // The report averages over both epochs; the first has no ratio outside.
    if two.config.objective == Objective::Clip && !phase.near_a_kink(&after_one.params(), &rows) {
        worst.same(session.metric("clip_fraction"), 0.5 * outside);
    }
    worst.done()
}

/// A large step at a small interval: the second epoch finds ratios outside. If the acting policy were refreshed for it, it
/// would find none.
fn clip_binds(seed: u64) -> Result<f64, String> {
    let config = Config {
        num_envs: 3,
        num_steps: 8,
        num_epochs: 2,
        minibatch: 24,
        lr: 0.5,
        lr_schedule: Schedule::Constant,
        clip_eps: 0.05,
        adam_eps: 0.05,
        hidden: vec![4],
        init: Init::Uniform,
        ..Config::default()
    };
    let plan = Plan { config, continuous: false, seed: seed % 1000, progress: 0.0 };
    let mut session = plan.start()?;
    session.iterate()?;
    let (outside, kl) = (session.metric("clip_fraction"), session.metric("approx_kl"));
    require(outside > 0.2 && kl > 1e-3, || format!("share {outside} outside, divergence {kl}"))?;
    Ok(0.0)
}

/// The penalty's weight doubles or halves by the divergence of the last epoch, once per phase.
fn beta_adapt(plan: Plan) -> Result<f64, String> {
    let plan = plan.with(|c| {
        c.objective = Objective::Penalty;
        c.target_kl = Some(c.target_kl.unwrap_or(0.01));
    });
    let mut worst = Worst::new();
    let mut session = plan.start()?;
    let mut kl_coef = plan.config.kl_coef;
    for _ in 0..3 {
        session.iterate()?;
        worst.same(session.metric("kl_coef"), kl_coef);
        let (kl, target) = (session.metric("approx_kl"), plan.config.target_kl.unwrap_or(f64::NAN));
        kl_coef *= if kl > 1.5 * target {
            2.0
        } else if kl < target / 1.5 {
            0.5
        } else {
            1.0
        };
        let saved: f64 = session.checkpoint().get("kl_coef")?;
        worst.holds(saved == kl_coef);
    }
    worst.done()
}

/// After all epochs the rollout and its targets are still those of the parameters that collected it.
fn targets_stay(plan: Plan) -> Result<f64, String> {
    let mut session = plan.with(|c| c.num_epochs = 5).start()?;
    let mut worst = Worst::new();
    for earlier in 0..2 {
        session.iterate()?;
        let moved = session.params().iter().zip(&session.before).any(|(a, b)| (a - b).abs() > 1e-4);
        let phase = Phase::new(&session, earlier);
        let rollout = session.ppo.rollout();
        let wide = |x: &ndarray::ArrayRef2<f32>| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        worst.all(&wide(rollout.log_prob()), &phase.old_log_prob).all(&wide(rollout.value()), &phase.value);
        let (advantage, return_) = session.ppo.targets();
        worst.all(&wide(advantage), &phase.advantage).all(&wide(return_), &phase.return_);
        let still = plan.config.vf_coef == 0.0 && plan.config.ent_coef == 0.0;
        worst.holds(moved || still);
    }
    worst.done()
}

/// A whole phase with everything drawn: minibatches that do not divide the rollout, schedules, clipped gradients.
fn whole_phase(plan: Plan) -> Result<f64, String> {
    let mut worst = Worst::new();
    compare_phase(&plan, &mut worst)?;
    worst.done()
}

/// Actor and critic share nothing: the actor's parameters do not depend on the critic's weight, nor the critic's on the
/// entropy's. A limit on the norm of the whole gradient couples them again.
fn decoupled((plan, other): (Plan, f64)) -> Result<f64, String> {
    let plan = plan.with(|c| (c.max_grad_norm, c.hidden) = (1e6, vec![3]));
    let halves = |plan: &Plan| {
        let mut session = plan.start()?;
        session.iterate()?;
        let start = Phase::new(&session, 0).critic_start();
        let params = session.params();
        Ok::<_, String>((params[..start].to_vec(), params[start..].to_vec()))
    };
    let (actor, critic) = halves(&plan)?;
    let (same_actor, _) = halves(&plan.with(|c| c.vf_coef = other))?;
    let (_, same_critic) = halves(&plan.with(|c| c.ent_coef = other))?;
    require(actor == same_actor, || "the critic's weight moved the actor".to_owned())?;
    require(critic == same_critic, || "the entropy's weight moved the critic".to_owned())?;
    let limited = |vf_coef: f64| {
        halves(&plan.whole().with(|c| (c.max_grad_norm, c.vf_coef, c.num_epochs) = (1e-2, vf_coef, 1)))
    };
    let (light, heavy) = (limited(0.1)?.0, limited(10.0)?.0);
    let still = light == plan.start()?.params()[..light.len()];
    require(still || light != heavy, || "a shared limit did not couple them".to_owned())?;
    Ok(0.0)
}

/// The number of epochs is the first whose divergence exceeds the target; the parameters are those of that many epochs.
fn early_stop((plan, share): (Plan, f64)) -> Result<f64, String> {
    let plan = plan.with(|c| (c.objective, c.target_kl) = (Objective::Clip, None));
    let most = 5;
    let mut measured = Vec::new();
    let mut reached = Vec::new();
    for epochs in 1..=most {
        let mut session = plan.with(|c| c.num_epochs = epochs).start()?;
        session.iterate()?;
        measured.push(session.metric("approx_kl"));
        reached.push(session.params());
        require(session.metric("epochs") == epochs as f64, || {
            format!("stopped without a target at {epochs}")
        })?;
    }
    // A target between the smallest and a little more than the largest.
    let largest = measured.iter().copied().fold(0.0, f64::max);
    let target = (share * largest).max(1e-12);
    let mut session = plan.with(|c| (c.num_epochs, c.target_kl) = (most, Some(target))).start()?;
    session.iterate()?;
    let want = measured.iter().position(|&kl| kl > target).map_or(most, |i| i + 1);
    let got = session.metric("epochs");
    require(got == want as f64, || format!("{got} epochs instead of {want}: {measured:?} against {target}"))?;
    require(session.params() == reached[want - 1], || "the step that crossed was undone".to_owned())?;
    Ok(0.0)
}

/// After a phase the trained policy is the acting one: the next phase starts with ratios of 1. Within a phase all samples
/// count, also those of a last minibatch that is not full.
fn next_phase(plan: Plan) -> Result<f64, String> {
    let mut worst = Worst::new();
    let mut session = plan.whole().with(|c| c.num_epochs = 1).start()?;
    for _ in 0..3 {
        session.iterate()?;
        let kl = session.metric("approx_kl");
        require(kl.abs() < 1e-9, || format!("a phase starts with a divergence of {kl}"))?;
    }
    let ragged = plan.with(|c| {
        let samples = c.num_envs * c.num_steps;
        c.minibatch = (samples * 2).div_ceil(3);
        c.num_epochs = 2;
    });
    compare_phase(&ragged, &mut worst)?;
    worst.done()
}
