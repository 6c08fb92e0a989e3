//! The training loops of `rederive_reinforce` against ones written out in `f64`.
//!
//! The environments are scripts, so that the other side knows what happened from the actions alone. It estimates returns and
//! advantages by their definitions, differentiates the losses by central differences, and takes the optimiser's steps by hand.

use crate::checks::actor_critic::{Nets, Steps, Taken, clipped, normalised};
use crate::checks::ppo::training::{Script, ending, observation, one_hot, reward};
use crate::measure::Worst;
use crate::oracles::gradient;
use crate::{Check, Measured, random};
use ndarray::ArrayView2;
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_env::{Actions, End, Space, StateError, SyncVec, VecEnv};
use rederive_nn::{Activation, Schedule};
use rederive_reinforce::{
    A2c, A2cConfig, Advantage, Aggregation, Baseline, Config, Reinforce, Returns, Rule,
};
use rederive_train::{EpisodeLog, Init, Learner, Report};

/// Single precision through two updates.
const TOL_LOOP: f64 = 2e-4;

/// The checks of the loops.
pub(super) fn checks() -> Vec<Check> {
    vec![
        random("ac.one-step", "training-loop", TOL_LOOP, a2c_plan(), a2c_updates).at_most(128),
        random("pg.loss-surrogate", "training-loop", TOL_LOOP, reinforce_plan(1..=4), reinforce_updates)
            .at_most(96),
        // More steps than pass through the networks at once.
        random("pg.aggregation", "training-loop", TOL_LOOP, long_plan(), reinforce_updates).at_most(8),
    ]
}

const RMS_DECAY: f64 = 0.99;

fn schedule() -> impl Strategy<Value = Schedule> + Clone + Send + Sync {
    prop_oneof![Just(Schedule::Constant), Just(Schedule::Linear)]
}

fn activation() -> impl Strategy<Value = Activation> + Clone + Send + Sync {
    prop_oneof![Just(Activation::Tanh), Just(Activation::Identity)]
}

fn clip() -> impl Strategy<Value = f64> + Clone + Send + Sync {
    prop_oneof![Just(1e6), 0.05..=1.0f64]
}

fn at(schedule: Schedule, progress: f64) -> f64 {
    if schedule == Schedule::Linear { 1.0 - progress } else { 1.0 }
}

fn wide(params: &[f32]) -> Vec<f64> {
    params.iter().map(|&p| f64::from(p)).collect()
}

// Actor-critic

#[derive(Clone, Debug)]
struct A2cPlan {
    config: A2cConfig,
    continuous: bool,
    seed: u64,
    progress: f64,
}

fn a2c_plan() -> impl Strategy<Value = A2cPlan> + Clone + Send + Sync {
    let sizes = (1..=3usize, 2..=9usize, 1..=5usize, any::<bool>(), any::<bool>());
    let rates = (0.0..=1.0f64, 0.0..=1.0f64, 0.02..=0.3f64, schedule(), any::<bool>(), clip());
    let terms = (0.0..=1.5f64, 0.0..=1.5f64, any::<bool>());
    let network = (vec(1..=4usize, 0..=2), activation(), any::<bool>(), -1.0..=0.5f64);
    (sizes, rates, terms, network, any::<bool>(), 0..1000u64, 0.0..=0.9f64).prop_map(
        |(sizes, rates, terms, network, continuous, seed, progress)| {
            let config = A2cConfig {
                num_envs: sizes.0,
                num_steps: sizes.1,
                n_step: sizes.2,
                advantage: if sizes.3 { Advantage::Gae } else { Advantage::NStep },
                discount_weights: sizes.4,
                gamma: rates.0,
                gae_lambda: rates.1,
                lr: rates.2,
                lr_schedule: rates.3,
                optimizer: if rates.4 { Rule::Sgd } else { Rule::RmsProp },
                optimizer_eps: 1.0,
                max_grad_norm: rates.5,
                vf_coef: terms.0,
                ent_coef: terms.1,
                normalize_advantage: terms.2,
                hidden: network.0,
                activation: network.1,
                init: if network.2 { Init::Orthogonal } else { Init::Uniform },
                log_std: network.3,
                ..A2cConfig::default()
            };
            A2cPlan { config, continuous, seed, progress }
        },
    )
}

fn a2c_updates(plan: A2cPlan) -> Measured {
    let c = &plan.config;
    let script = |n| Script::new(plan.seed * 16 + n, plan.continuous);
    let mut env = SyncVec::new("Script", (0..c.num_envs as u64).map(script).collect::<Vec<_>>());
    let mut agent = A2c::new(c.clone(), &env, plan.seed).map_err(|e| e.to_string())?;
    env.reset(plan.seed);
    let (mut episodes, mut report) = (EpisodeLog::new(c.num_envs), Report::default());
    let nets = Nets::new(&c.hidden, c.activation, plan.continuous);
    let mut square = vec![0.0; agent.networks().params().len()];
    // gamma^t of the steps to come.
    let mut time = vec![1.0; c.num_envs];
    let mut worst = Worst::new();
    for phase in 0..2u64 {
        let before = wide(agent.networks().params());
        let progress = plan.progress * phase as f64;
        agent.iterate(&mut env, progress, &mut episodes, &mut report).map_err(|e| e.to_string())?;
        let earlier = phase * c.num_steps as u64;
        let action = agent.rollout().action();
        let steps = Steps::new(plan.seed * 16, c.num_envs, earlier, c.num_steps, action);
        let (value, follows) = steps.values(&nets, &before);
        let delta: Vec<f64> =
            (0..steps.len()).map(|i| steps.reward[i] + c.gamma * follows[i] - value[i]).collect();
        let (decay, most) = match c.advantage {
            Advantage::Gae => (c.gamma * c.gae_lambda, usize::MAX),
            Advantage::NStep => (c.gamma, c.n_step),
        };
        let advantage: Vec<f64> = (0..steps.len()).map(|i| steps.decayed(i, decay, most, &delta)).collect();
        let return_: Vec<f64> = advantage.iter().zip(&value).map(|(a, v)| a + v).collect();
        let mut weight = advantage;
        if c.normalize_advantage {
            let Some(normal) = normalised(&weight) else { return worst.done() };
            weight = normal;
        }
        for (i, weight) in weight.iter_mut().enumerate() {
            let time = &mut time[i % c.num_envs];
            if c.discount_weights {
                *weight *= *time;
            }
            *time = if steps.end[i] == End::No { *time * c.gamma } else { 1.0 };
        }
        let loss = |params: &[f64]| {
            let one = |i: usize| {
                let (log_prob, entropy) = nets.policy(params, &steps.features[i], &steps.action[i]);
                let error = nets.value(params, &steps.features[i]) - return_[i];
                -weight[i] * log_prob + c.vf_coef * 0.5 * error * error - c.ent_coef * entropy
            };
            (0..steps.len()).map(one).sum::<f64>() / steps.len() as f64
        };
        let g = clipped(gradient(loss, &before), c.max_grad_norm);
        let lr = c.lr * at(c.lr_schedule, progress);
        for (i, (&after, g)) in agent.networks().params().iter().zip(g).enumerate() {
            square[i] = RMS_DECAY * square[i] + (1.0 - RMS_DECAY) * g * g;
            let step = if c.optimizer == Rule::Sgd { g } else { g / (square[i].sqrt() + c.optimizer_eps) };
            worst.same(f64::from(after), before[i] - lr * step);
        }
    }
    worst.done()
}

// REINFORCE

/// Environments that write down what is done to them.
struct Recording {
    inner: SyncVec<Script>,
    log: Vec<Did>,
}

#[derive(Clone, Debug)]
enum Did {
    Reset,
    Step(Vec<u32>),
}

impl VecEnv for Recording {
    fn id(&self) -> &str {
        self.inner.id()
    }
    fn num_envs(&self) -> usize {
        self.inner.num_envs()
    }
    fn observation_space(&self) -> &Space {
        self.inner.observation_space()
    }
    fn action_space(&self) -> &Space {
        self.inner.action_space()
    }
    fn reset(&mut self, seed: u64) {
        self.log.push(Did::Reset);
        self.inner.reset(seed);
    }
    fn step(&mut self, actions: Actions<'_>) {
        let Actions::Discrete(chosen) = actions else { panic!("continuous actions") };
        self.log.push(Did::Step(chosen.to_vec()));
        self.inner.step(actions);
    }
    fn obs(&self) -> ArrayView2<'_, f32> {
        self.inner.obs()
    }
    fn reward(&self) -> &[f32] {
        self.inner.reward()
    }
    fn end(&self) -> &[End] {
        self.inner.end()
    }
    fn final_obs(&self) -> ArrayView2<'_, f32> {
        self.inner.final_obs()
    }
    fn save(&self) -> serde_json::Value {
        self.inner.save()
    }
    fn load(&mut self, state: &serde_json::Value) -> Result<(), StateError> {
        self.inner.load(state)
    }
}

#[derive(Clone, Debug)]
struct ReinforcePlan {
    config: Config,
    seed: u64,
    progress: f64,
}

fn reinforce_plan(
    per_env: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = ReinforcePlan> + Clone + Send + Sync {
    let baseline = prop_oneof![
        Just(Baseline::None),
        Just(Baseline::Constant),
        Just(Baseline::Time),
        Just(Baseline::Value)
    ];
    let limit = prop_oneof![2 => Just(10_000usize), 1 => 1..=4usize];
    let sizes = (1..=3usize, per_env, limit);
    let credit = (any::<bool>(), any::<bool>(), baseline, 0.05..=1.0f64, any::<bool>(), any::<bool>());
    let rates = (0.0..=1.0f64, 0.02..=0.3f64, 0.02..=0.3f64, 1..=3usize, schedule(), 0.0..=1.5f64, clip());
    let network = (vec(1..=4usize, 0..=1), activation(), any::<bool>());
    (sizes, credit, rates, network, 0..1000u64, 0.0..=0.9f64).prop_map(
        |(sizes, credit, rates, network, seed, progress)| {
            let (num_envs, per_env) = (sizes.0, sizes.1);
            let (total, alone) = (credit.0, num_envs * per_env == 1);
            let config = Config {
                num_envs,
                episodes: num_envs * per_env,
                max_episode_steps: sizes.2,
                returns: if total { Returns::Total } else { Returns::RewardToGo },
                discount_weights: credit.1 && !total,
                // Time needs others to compare with.
                baseline: if alone && credit.2 == Baseline::Time { Baseline::None } else { credit.2 },
                baseline_rate: credit.3,
                aggregation: if credit.4 { Aggregation::Trajectories } else { Aggregation::Steps },
                normalize_advantage: credit.5,
                gamma: rates.0,
                lr: rates.1,
                vf_lr: rates.2,
                vf_updates: rates.3,
                lr_schedule: rates.4,
                optimizer: Rule::Sgd,
                ent_coef: rates.5,
                max_grad_norm: rates.6,
                hidden: network.0,
                activation: network.1,
                init: if network.2 { Init::Orthogonal } else { Init::Uniform },
                ..Config::default()
            };
            ReinforcePlan { config, seed, progress }
        },
    )
}

/// A thousand steps through networks without hidden layers.
fn long_plan() -> impl Strategy<Value = ReinforcePlan> + Clone + Send + Sync {
    reinforce_plan(330..=350).prop_map(|mut plan| {
        let c = &mut plan.config;
        (c.num_envs, c.hidden, c.max_episode_steps, c.vf_updates) = (1, Vec::new(), 10_000, 2);
        plan
    })
}

/// A batch of whole episodes, one after another.
#[derive(Clone, Debug, Default)]
struct Batch {
    features: Vec<Vec<f64>>,
    action: Vec<Taken>,
    reward: Vec<f64>,
    end: Vec<End>,
    successor: Vec<Vec<f64>>,
    /// Steps of the episode before each one.
    time: Vec<usize>,
}

/// What one batch consists of, from what was done to the environments. `taken` counts the steps of all before, and `fresh` says
/// whether the environments are at the start of an episode.
fn batch(plan: &ReinforcePlan, log: &[Did], taken: &mut u64) -> Batch {
    let c = &plan.config;
    let mut lanes = vec![Batch::default(); c.num_envs];
    let mut left = vec![c.episodes / c.num_envs; c.num_envs];
    let mut time = vec![0usize; c.num_envs];
    let mut first = *taken == 0;
    let narrow = |x: [f32; 2]| x.map(f64::from).to_vec();
    for did in log {
        let Did::Step(action) = did else {
            first = true;
            continue;
        };
        for n in 0..c.num_envs {
            let (number, step) = (plan.seed * 16 + n as u64, *taken);
            if left[n] == 0 {
                continue;
            }
            let lane = &mut lanes[n];
            let begins = first || ending(number, step).done();
            lane.features.push(narrow(observation(number, step, begins)));
            lane.action.push(Taken::Number(action[n] as usize));
            lane.reward.push(f64::from(reward(number, step + 1, &one_hot(action[n]))));
            lane.successor.push(narrow(observation(number, step + 1, false)));
            lane.time.push(time[n]);
            let mut end = ending(number, step + 1);
            time[n] += 1;
            if end != End::No {
                left[n] -= 1;
            } else if time[n] == c.max_episode_steps {
                // The environment can't be told to start anew: it has no more to say in this batch.
                (end, left[n]) = (End::Truncated, 0);
            }
            if end != End::No {
                time[n] = 0;
            }
            lane.end.push(end);
        }
        first = false;
        *taken += 1;
    }
    let mut all = Batch::default();
    for lane in lanes {
        all.features.extend(lane.features);
        all.action.extend(lane.action);
        all.reward.extend(lane.reward);
        all.end.extend(lane.end);
        all.successor.extend(lane.successor);
        all.time.extend(lane.time);
    }
    all
}

fn reinforce_updates(plan: ReinforcePlan) -> Measured {
    let c = &plan.config;
    let script = |n| Script::new(plan.seed * 16 + n, false);
    let inner = SyncVec::new("Script", (0..c.num_envs as u64).map(script).collect::<Vec<_>>());
    let mut env = Recording { inner, log: Vec::new() };
    let mut agent = Reinforce::new(c.clone(), &env, plan.seed).map_err(|e| e.to_string())?;
    env.reset(plan.seed);
    let (mut episodes, mut report) = (EpisodeLog::new(c.num_envs), Report::default());
    let nets = Nets::new(&c.hidden, c.activation, false);
    let (mut taken, mut running) = (0, (0.0, 0.0));
    let mut worst = Worst::new();
    for phase in 0..2 {
        let before = wide(agent.networks().params());
        let progress = plan.progress * f64::from(phase);
        agent.iterate(&mut env, progress, &mut episodes, &mut report).map_err(|e| e.to_string())?;
        let b = batch(&plan, &std::mem::take(&mut env.log), &mut taken);
        let rows = b.reward.len();
        let value: Vec<f64> = b.features.iter().map(|x| nets.value(&before, x)).collect();
        let mut return_ = vec![0.0; rows];
        for i in (0..rows).rev() {
            return_[i] = b.reward[i]
                + c.gamma
                    * match b.end[i] {
                        End::No => return_[i + 1],
                        End::Truncated if c.baseline == Baseline::Value => {
                            nets.value(&before, &b.successor[i])
                        }
                        _ => 0.0,
                    };
        }
        let mut weight: Vec<f64> = match c.returns {
            Returns::RewardToGo => return_.clone(),
            Returns::Total => (0..rows).map(|i| return_[i - b.time[i]]).collect(),
        };
        let others = |i: usize| {
            let same: Vec<f64> =
                (0..rows).filter(|&j| j != i && b.time[j] == b.time[i]).map(|j| weight[j]).collect();
            if same.is_empty() { 0.0 } else { same.iter().sum::<f64>() / same.len() as f64 }
        };
        let baseline: Vec<f64> = match c.baseline {
            Baseline::None => vec![0.0; rows],
            Baseline::Constant => vec![if phase == 0 { 0.0 } else { running.0 / running.1 }; rows],
            Baseline::Time => (0..rows).map(others).collect(),
            Baseline::Value => value,
        };
        let mean = weight.iter().sum::<f64>() / rows as f64;
        running = (
            (1.0 - c.baseline_rate) * running.0 + c.baseline_rate * mean,
            (1.0 - c.baseline_rate) * running.1 + c.baseline_rate,
        );
        weight.iter_mut().zip(&baseline).for_each(|(w, b)| *w -= b);
        if c.normalize_advantage {
            let Some(normal) = normalised(&weight) else { return worst.done() };
            weight = normal;
        }
        if c.discount_weights {
            weight.iter_mut().zip(&b.time).for_each(|(w, &t)| *w *= c.gamma.powi(t as i32));
        }
        let share = match c.aggregation {
            Aggregation::Trajectories => b.end.iter().filter(|&&e| e != End::No).count(),
            Aggregation::Steps => rows,
        };
        let loss = |params: &[f64]| {
            let one = |i: usize| {
                let (log_prob, entropy) = nets.policy(params, &b.features[i], &b.action[i]);
                -weight[i] * log_prob - c.ent_coef * entropy
            };
            (0..rows).map(one).sum::<f64>() / share as f64
        };
        let split = nets.critic_start();
        let mut wanted = before.clone();
        let g = clipped(gradient(loss, &before[..split]), c.max_grad_norm);
        let rate = at(c.lr_schedule, progress);
        wanted.iter_mut().zip(g).for_each(|(p, g)| *p -= c.lr * rate * g);
        if c.baseline == Baseline::Value {
            for _ in 0..c.vf_updates {
                let fit = |critic: &[f64]| {
                    let params = [&before[..split], critic].concat();
                    let error = |i: usize| nets.value(&params, &b.features[i]) - return_[i];
                    (0..rows).map(|i| 0.5 * error(i).powi(2)).sum::<f64>() / rows as f64
                };
                let g = clipped(gradient(fit, &wanted[split..]), c.max_grad_norm);
                wanted[split..].iter_mut().zip(g).for_each(|(p, g)| *p -= c.vf_lr * rate * g);
            }
        }
        worst.all(&wide(agent.networks().params()), &wanted);
    }
    worst.done()
}
