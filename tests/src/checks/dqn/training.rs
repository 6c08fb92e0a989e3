//! The training loop of `rederive_dqn` against one written out in `f64`.
//!
//! The environment of these checks is a script that writes down what happens. The agent learns twice, each time from all
//! transitions that its buffer holds, so that no draw matters; the other side gathers these transitions by their
//! definition, evaluates the networks with one loop per sum, differentiates the loss by central differences, and takes
//! the optimiser's steps by hand.

use super::{kind, largest, plain_loss};
use crate::checks::actor_critic::clipped;
use crate::checks::nn::plain_forward;
use crate::measure::{EXACT, TOL_STAT, Worst, require};
use crate::oracles::gradient;
use crate::{Check, Measured, fixed, random};
use proptest::prelude::*;
use rederive_dqn::{Config, Dqn, EpsilonSchedule, OptimizerKind, Priorities, TargetUpdate};
use rederive_env::{Action, End, Env, Space, StateError, Stream, SyncVec, VecEnv};
use rederive_nn::{Activation, Schedule};
use rederive_train::{ActionBuffer, EpisodeLog, Init, Learner, Report};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// Single precision through two gradient steps.
const TOL_LOOP: f64 = 2e-4;

/// The checks of the loop.
pub(super) fn checks() -> Vec<Check> {
    let single = || plan().prop_map(|plan| Plan { double: false, ..plan });
    let double = || plan().prop_map(|plan| Plan { double: true, ..plan });
    let weighted = || plan().prop_map(|plan| Plan { prioritized: true, ..plan });
    let following = |soft: bool| plan().prop_map(move |plan| Plan { soft, ..plan });
    vec![
        random("dqn.td-target", "training-loop", TOL_LOOP, single(), two_updates).at_most(128),
        random("dqn.double-q", "training-loop", TOL_LOOP, double(), two_updates).at_most(128),
        random("dqn.target-hard", "training-loop", EXACT, following(false), target_follows).at_most(96),
        random("dqn.target-soft", "training-loop", 1e-6, following(true), target_follows).at_most(96),
        random("dqn.replay", "training-loop", 1e-5, plan(), replay_holds_what_happened).at_most(96),
        random("dqn.replay", "prioritized-loop", TOL_LOOP, weighted(), prioritized_updates).at_most(128),
        random("dqn.td-target", "greedy-actions", EXACT, acting(), greedy_actions).at_most(96),
        fixed("dqn.td-target", "random-actions", TOL_STAT, random_actions),
    ]
}

const FEATURES: usize = 3;
const ACTIONS: usize = 3;
const HIDDEN: usize = 4;

/// One number of an observation has two bounds, one has none, and one has one.
const LOW: [f32; FEATURES] = [-1.25, f32::NEG_INFINITY, -1.0];
const HIGH: [f32; FEATURES] = [2.0, f32::INFINITY, f32::INFINITY];

/// What one environment saw, did and got.
#[derive(Clone, Debug)]
struct Entry {
    obs: [f32; FEATURES],
    action: u32,
    reward: f32,
    end: End,
    next: [f32; FEATURES],
}

/// An environment without chance: what comes depends on its number, the count of its steps, and the action.
struct Script {
    number: u64,
    steps: u64,
    obs: [f32; FEATURES],
    log: Arc<Mutex<Vec<Vec<Entry>>>>,
}

/// A number in [-1, 1) from what it is for.
fn scripted(number: u64, step: u64, what: u64) -> f64 {
    let mut x = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step.wrapping_mul(0xd1b5_4a32_d192_ed03) ^ what;
    for shift in [30, 27, 31] {
        x = (x ^ (x >> shift)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(0x94d0_49bb_1331_11eb);
    }
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn observation(number: u64, step: u64, first: bool) -> [f32; FEATURES] {
    std::array::from_fn(|i| scripted(number, step, 10 + 2 * i as u64 + u64::from(first)) as f32)
}

/// How step number `step`, counted from 1, ends.
fn ending(number: u64, step: u64) -> End {
    match scripted(number, step, 1) {
        x if x < -0.7 => End::Terminated,
        x if x < -0.3 => End::Truncated,
        _ => End::No,
    }
}

impl Env for Script {
    fn observation_space(&self) -> Space {
        Space::Box { low: LOW.to_vec(), high: HIGH.to_vec() }
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: ACTIONS }
    }

    fn reset(&mut self, _: &mut Stream, obs: &mut [f32]) {
        self.obs = observation(self.number, self.steps, true);
        obs.copy_from_slice(&self.obs);
    }

    fn step(&mut self, action: Action<'_>, _: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        let Action::Discrete(action) = action else { panic!("a continuous action") };
        self.steps += 1;
        let reward = (scripted(self.number, self.steps, 2) + 0.5 * f64::from(action)) as f32;
        let (next, end) = (observation(self.number, self.steps, false), ending(self.number, self.steps));
        let index = (self.number % 64) as usize;
        let entry = Entry { obs: self.obs, action, reward, end, next };
        self.log.lock().expect("no panic while it is held")[index].push(entry);
        self.obs = next;
        obs.copy_from_slice(&next);
        (reward, end)
    }

    fn save(&self) -> Value {
        json!(self.steps)
    }

    fn load(&mut self, state: &Value) -> Result<(), StateError> {
        self.steps = state.as_u64().ok_or_else(|| StateError("no number of steps".to_owned()))?;
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Plan {
    num_envs: usize,
    /// Rounds until the first gradient step, and from there until the second.
    rounds: usize,
    n_step: usize,
    double: bool,
    dueling: bool,
    soft: bool,
    huber: bool,
    gamma: f64,
    lr: f64,
    kappa: f64,
    period: u64,
    max_grad_norm: Option<f64>,
    /// Takes observations to [-1, 1] where they have bounds.
    scale: bool,
    /// The share of random actions, and whether it falls to nothing until the first gradient step.
    epsilon: f64,
    falling: bool,
    /// Whether the step size falls, and how far the run has come at the second gradient step.
    linear: bool,
    progress: f64,
    prioritized: bool,
    alpha: f64,
    beta: f64,
    seed: u64,
}

fn plan() -> impl Strategy<Value = Plan> + Clone + Send + Sync {
    let sizes = (1..=3usize, 5..=14usize, 1..=4usize, prop_oneof![4 => 1..=30u64, 1 => Just(10_000)]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let clip = prop_oneof![Just(None), (0.05..=1.0f64).prop_map(Some)];
    let priorities = (0.3..=1.0f64, 0.0..=1.0f64);
    let rest = (any::<bool>(), any::<bool>(), 0.0..=0.9f64, priorities);
    (sizes, flags, 0.0..=1.0f64, 0.05..=0.5f64, 0.01..=1.0f64, clip, rest, 0..1000u64).prop_map(
        |(
            (num_envs, rounds, n_step, period),
            (double, dueling, soft, huber),
            gamma,
            lr,
            kappa,
            clip,
            (scale, linear, progress, (alpha, beta)),
            seed,
        )| {
            Plan {
                num_envs,
                rounds,
                n_step,
                double,
                dueling,
                soft,
                huber,
                gamma,
                lr,
                kappa,
                period,
                max_grad_norm: clip,
                scale,
                epsilon: 0.5,
                falling: false,
                linear,
                progress,
                prioritized: false,
                alpha,
                beta,
                seed,
            }
        },
    )
}

/// Plans without random actions, throughout or from the first gradient step on.
fn acting() -> impl Strategy<Value = Plan> + Clone + Send + Sync {
    (plan(), any::<bool>()).prop_map(|(plan, falling)| {
        let epsilon = if falling { 1.0 } else { 0.0 };
        Plan { epsilon, falling, ..plan }
    })
}

/// A transition of up to `n` steps.
#[derive(Clone, Debug, PartialEq)]
struct Transition {
    obs: Vec<f64>,
    action: usize,
    reward: f64,
    discount: f64,
    terminated: bool,
    next: Vec<f64>,
}

/// An agent that learnt twice, and all that it should have learnt from.
struct Played {
    agent: Dqn,
    /// Online and target parameters at the start, after one phase and after both.
    online: [Vec<f64>; 3],
    target: [Vec<f64>; 3],
    /// What the buffer held in each phase.
    batches: [Vec<Transition>; 2],
    /// Weights of the transitions in their slots after each phase, where there are priorities.
    weights: [Vec<f64>; 2],
    /// The priorities as they were after the first phase.
    between: Option<Priorities>,
    /// How many transitions were complete by the end of each phase.
    complete: [usize; 2],
    /// What was reported of each phase.
    reports: Vec<Vec<f64>>,
    /// What each environment did, step by step.
    log: Vec<Vec<Entry>>,
}

const RMS_DECAY: f64 = 0.7;
const PRIORITY_EPS: f64 = 0.01;

impl Plan {
    fn number(&self, env: usize) -> u64 {
        self.seed * 64 + env as u64
    }

    /// For each transition that is complete by round `until`, in the order in which they become so: its environment, and the
    /// rounds in which it begins and ends.
    fn complete(&self, until: usize) -> Vec<(usize, usize, usize)> {
        let mut found = Vec::new();
        let mut first = vec![0; self.num_envs];
        for t in 0..until {
            for (env, first) in first.iter_mut().enumerate() {
                let done = ending(self.number(env), t as u64 + 1).done();
                let n = self.n_step;
                let starts = (*first..=t).filter(|s| t + 1 - s == n || (done && t + 1 - s < n));
                found.extend(starts.map(|s| (env, s, t)));
                if done {
                    *first = t + 1;
                }
            }
        }
        found
    }

    fn play(&self) -> Result<Played, String> {
        let log = Arc::new(Mutex::new(vec![Vec::new(); 64]));
        let envs = (0..self.num_envs).map(|env| Script {
            number: self.number(env),
            steps: 0,
            obs: [0.0; FEATURES],
            log: Arc::clone(&log),
        });
        // A reset happens when the environments are put together; the number of steps stays 0.
        let mut envs = SyncVec::new("Script-v0", envs.collect::<Vec<_>>());
        let size = self.complete(self.rounds).len();
        let config = Config {
            num_envs: self.num_envs,
            num_steps: self.rounds,
            gamma: self.gamma,
            lr: self.lr,
            lr_schedule: if self.linear { Schedule::Linear } else { Schedule::Constant },
            optimizer: OptimizerKind::RmsProp,
            optimizer_eps: 1.0,
            rms_decay: RMS_DECAY,
            replay: size,
            batch: size,
            learning_starts: 0,
            train_every: (self.num_envs * self.rounds) as u64,
            gradient_steps: 1,
            target: if self.soft { TargetUpdate::Soft } else { TargetUpdate::Hard },
            target_period: self.period,
            kappa: self.kappa,
            double: self.double,
            dueling: self.dueling,
            n_step: self.n_step,
            loss: kind(self.huber),
            max_grad_norm: self.max_grad_norm,
            epsilon: self.epsilon,
            epsilon_final: 0.0,
            epsilon_steps: (self.num_envs * self.rounds) as u64,
            epsilon_schedule: if self.falling { EpsilonSchedule::Linear } else { EpsilonSchedule::Constant },
            prioritized: self.prioritized,
            priority_alpha: self.alpha,
            priority_beta: self.beta,
            priority_eps: PRIORITY_EPS,
            scale_obs: self.scale,
            hidden: vec![HIDDEN],
            activation: Activation::Tanh,
            init: Init::Orthogonal,
            ..Config::default()
        };
        let mut agent = Dqn::new(config, &envs, self.seed).map_err(|e| e.to_string())?;
        envs.reset(self.seed);
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let (mut online, mut target) = (Vec::new(), Vec::new());
        let (mut episodes, mut report) = (EpisodeLog::new(self.num_envs), Report::default());
        let (mut weights, mut between, mut reports) = (Vec::new(), None, Vec::new());
        for phase in 0..3 {
            online.push(wide(agent.networks().online()));
            target.push(wide(agent.networks().target()));
            if phase < 2 {
                let progress = self.progress * f64::from(phase);
                agent.iterate(&mut envs, progress, &mut episodes, &mut report).map_err(|e| e.to_string())?;
                let tree = agent.priorities().map(Priorities::tree);
                weights.push(tree.map_or(Vec::new(), |tree| (0..size).map(|i| tree.get(i)).collect()));
                between = between.or(agent.priorities().cloned());
                reports.push(report.values.clone());
            }
        }
        let log = log.lock().expect("no panic while it is held");
        let gather = |until: usize| {
            let all = self.complete(until);
            let last = all[all.len() - size..].iter().map(|&(env, from, to)| {
                let steps = &log[(self.number(env) % 64) as usize][from..=to];
                let reward = |i: usize| self.gamma.powi(i as i32) * f64::from(steps[i].reward);
                Transition {
                    obs: wide(&steps[0].obs),
                    action: steps[0].action as usize,
                    reward: (0..steps.len()).map(reward).sum(),
                    discount: self.gamma.powi(steps.len() as i32),
                    terminated: steps[steps.len() - 1].end == End::Terminated,
                    next: wide(&steps[steps.len() - 1].next),
                }
            });
            last.collect::<Vec<_>>()
        };
        Ok(Played {
            batches: [gather(self.rounds), gather(2 * self.rounds)],
            weights: weights.try_into().expect("two"),
            between,
            reports,
            complete: [size, self.complete(2 * self.rounds).len()],
            log: (0..self.num_envs).map(|env| log[(self.number(env) % 64) as usize].clone()).collect(),
            online: online.try_into().expect("three"),
            target: target.try_into().expect("three"),
            agent,
        })
    }

    /// What the network reads.
    fn seen(&self, obs: &[f64]) -> Vec<f64> {
        let one = |(i, &x): (usize, &f64)| {
            let (low, high) = (f64::from(LOW[i]), f64::from(HIGH[i]));
            if self.scale && low.is_finite() && high.is_finite() {
                2.0 * (x - low) / (high - low) - 1.0
            } else {
                x
            }
        };
        obs.iter().enumerate().map(one).collect()
    }

    fn values(&self, params: &[f64], obs: &[f64]) -> Vec<f64> {
        let obs = &self.seen(obs);
        let sizes = [FEATURES, HIDDEN, ACTIONS + usize::from(self.dueling)];
        let heads = plain_forward(&sizes, Activation::Tanh, params, obs, |_| {});
        if !self.dueling {
            return heads;
        }
        let mean = heads[1..].iter().sum::<f64>() / ACTIONS as f64;
        heads[1..].iter().map(|advantage| heads[0] + advantage - mean).collect()
    }

    /// The targets, or nothing where the choice of a next action hangs by a hair.
    fn targets(&self, batch: &[Transition], online: &[f64], target: &[f64]) -> Option<Vec<f64>> {
        let mut y = Vec::new();
        for t in batch {
            let values = self.values(target, &t.next);
            let mut next = values[largest(&values)];
            if self.double {
                let select = self.values(online, &t.next);
                let chosen = largest(&select);
                if (0..ACTIONS).any(|a| a != chosen && select[chosen] - select[a] < 1e-5) {
                    return None;
                }
                next = values[chosen];
            }
            y.push(t.reward + if t.terminated { 0.0 } else { t.discount * next });
        }
        Some(y)
    }

    /// The gradient of the weighted mean loss with the targets held.
    fn gradient(&self, batch: &[Transition], y: &[f64], weight: &[f64], online: &[f64]) -> Vec<f64> {
        let total = |params: &[f64]| {
            let one = |((t, y), w): ((&Transition, &f64), &f64)| {
                let error = self.values(params, &t.obs)[t.action] - y;
                w * plain_loss(kind(self.huber), error) / batch.len() as f64
            };
            batch.iter().zip(y).zip(weight).map(one).sum::<f64>()
        };
        gradient(total, online)
    }

    fn lr(&self, phase: usize) -> f64 {
        self.lr * if self.linear { 1.0 - self.progress * phase as f64 } else { 1.0 }
    }
}

fn two_updates(plan: Plan) -> Measured {
    let Played { online, target, batches, agent, reports, .. } = plan.play()?;
    require(agent.gradient_steps() == 2, || format!("{} gradient steps", agent.gradient_steps()))?;
    let mut worst = Worst::new();
    let mut square = vec![0.0; online[0].len()];
    for phase in 0..2 {
        let target = plan.target_in(phase, &online, &target);
        let Some(y) = plan.targets(&batches[phase], &online[phase], target) else { return worst.done() };
        let (weight, share) = (vec![1.0; y.len()], 1.0 / y.len() as f64);
        let g = plan.gradient(&batches[phase], &y, &weight, &online[phase]);
        let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
        plan.step(phase, g, &mut square, &online, &mut worst);
        let value = |t: &Transition| plan.values(&online[phase], &t.obs)[t.action];
        let error: Vec<f64> = batches[phase].iter().zip(&y).map(|(t, y)| y - value(t)).collect();
        let wanted = [
            share * error.iter().map(|&e| plain_loss(kind(plan.huber), e)).sum::<f64>(),
            share * error.iter().map(|e| e.abs()).sum::<f64>(),
            share * batches[phase].iter().map(value).sum::<f64>(),
            norm,
            if plan.falling { 0.0 } else { plan.epsilon },
            plan.lr(phase),
            batches[phase].len() as f64,
            (phase + 1) as f64,
        ];
        worst.all(&reports[phase], &wanted);
    }
    worst.done()
}

/// The same where transitions are drawn by their priorities. The draws themselves are those of `Priorities::sample`, which
/// has checks of its own; what the agent feeds it with, and what it makes of the draws, is worked out here.
fn prioritized_updates(plan: Plan) -> Measured {
    let Played { online, target, batches, weights: found, between, complete, .. } = plan.play()?;
    let size = batches[0].len();
    let mut sampler = Stream::new(plan.seed, "replay", 0);
    let mut priorities = Priorities::new(size, plan.alpha, PRIORITY_EPS);
    let (mut weights, mut largest) = (vec![0.0; size], 1.0f64);
    let (mut slot, mut importance) = (vec![0; size], vec![0.0; size]);
    let mut worst = Worst::new();
    let mut square = vec![0.0; online[0].len()];
    for phase in 0..2 {
        let (from, to) = if phase == 0 { (0, complete[0]) } else { (complete[0], complete[1]) };
        for new in from..to {
            priorities.insert(new % size);
            weights[new % size] = largest;
        }
        priorities.sample(0.0, &mut sampler, &mut slot, &mut importance);
        // Slot `k % size` holds transition number k; the batch lists the newest `size` of them, the oldest first.
        let place = |slot: u32| (slot as usize + size - to % size) % size;
        let batch: Vec<Transition> = slot.iter().map(|&s| batches[phase][place(s)].clone()).collect();
        let beta = plan.beta + (1.0 - plan.beta) * plan.progress * phase as f64;
        let total: f64 = weights.iter().sum();
        let raw: Vec<f64> =
            slot.iter().map(|&s| (size as f64 * weights[s as usize] / total).powf(-beta)).collect();
        let top = raw.iter().copied().fold(0.0, f64::max);
        let raw: Vec<f64> = raw.iter().map(|w| w / top).collect();
        let target = plan.target_in(phase, &online, &target);
        let Some(y) = plan.targets(&batch, &online[phase], target) else { return worst.done() };
        let g = plan.gradient(&batch, &y, &raw, &online[phase]);
        plan.step(phase, g, &mut square, &online, &mut worst);
        for ((t, y), &s) in batch.iter().zip(&y).zip(&slot) {
            let error = (y - plan.values(&online[phase], &t.obs)[t.action]).abs();
            weights[s as usize] = (error + PRIORITY_EPS).powf(plan.alpha);
            largest = largest.max(weights[s as usize]);
        }
        worst.all(&found[phase], &weights);
        // From here on with the agent's own, so that rounding can't turn a draw.
        priorities = between.clone().ok_or("no priorities")?;
    }
    worst.done()
}

/// Without random actions the online network decides, on what it reads; afterwards too.
fn greedy_actions(plan: Plan) -> Measured {
    let Played { online, log, mut agent, reports, .. } = plan.play()?;
    let mut worst = Worst::new();
    // No random actions are left by the end of either phase, and the report says so.
    worst.holds(reports.iter().all(|report| report[4] == 0.0));
    let mut judge = |params: &[f64], obs: &[f32], action: u32| {
        let obs: Vec<f64> = obs.iter().map(|&x| f64::from(x)).collect();
        let values = plan.values(params, &obs);
        worst.holds(values.iter().all(|v| values[action as usize] - v > -1e-5));
    };
    for steps in &log {
        for (t, entry) in steps.iter().enumerate() {
            let phase = t / plan.rounds;
            if !plan.falling || phase == 1 {
                judge(&online[phase], &entry.obs, entry.action);
            }
        }
    }
    let all: Vec<&Entry> = log.iter().flatten().collect();
    let obs = ndarray::Array2::from_shape_fn((all.len(), FEATURES), |(i, k)| all[i].obs[k]);
    let mut chosen = ActionBuffer::Discrete(vec![u32::MAX; all.len()]);
    agent.act_greedy(obs.view(), &mut chosen);
    let ActionBuffer::Discrete(chosen) = chosen else { return Err("continuous actions".to_owned()) };
    for (entry, action) in all.iter().zip(chosen) {
        judge(&online[2], &entry.obs, action);
    }
    worst.done()
}

/// Three in ten actions are random, any of the three, whatever the other environment does; the rest are greedy.
fn random_actions(seed: u64) -> Measured {
    let log = Arc::new(Mutex::new(vec![Vec::new(); 64]));
    let script = |env| Script { number: env, steps: 0, obs: [0.0; FEATURES], log: Arc::clone(&log) };
    let mut envs = SyncVec::new("Script-v0", (0..2).map(script).collect::<Vec<_>>());
    let (rounds, epsilon) = (6000, 0.3);
    let config = Config {
        num_envs: 2,
        num_steps: rounds,
        learning_starts: u64::MAX,
        epsilon,
        epsilon_schedule: EpsilonSchedule::Constant,
        hidden: vec![HIDDEN],
        ..Config::default()
    };
    let mut agent = Dqn::new(config, &envs, seed).map_err(|e| e.to_string())?;
    envs.reset(seed);
    let (mut episodes, mut report) = (EpisodeLog::new(2), Report::default());
    agent.iterate(&mut envs, 0.0, &mut episodes, &mut report).map_err(|e| e.to_string())?;
    let log = log.lock().expect("no panic while it is held");
    // How far each action is from the greedy one, so that the greedy ones are all 0.
    let distance = |env: usize| -> Vec<u32> {
        let obs = ndarray::Array2::from_shape_fn((rounds, FEATURES), |(t, k)| log[env][t].obs[k]);
        let mut greedy = ActionBuffer::Discrete(vec![0; rounds]);
        agent.clone().act_greedy(obs.view(), &mut greedy);
        let ActionBuffer::Discrete(greedy) = greedy else { unreachable!("discrete actions") };
        log[env].iter().zip(greedy).map(|(e, g)| (e.action + ACTIONS as u32 - g) % ACTIONS as u32).collect()
    };
    let (first, second) = (distance(0), distance(1));
    let mut worst = Worst::new();
    let n = rounds as f64;
    let prob = |d: u32| epsilon / 3.0 + if d == 0 { 1.0 - epsilon } else { 0.0 };
    for a in 0..3 {
        for b in 0..3 {
            let p = prob(a) * prob(b);
            let count = first.iter().zip(&second).filter(|(x, y)| (**x, **y) == (a, b)).count();
            worst.within_five_se(count as f64 / n, p, (p * (1.0 - p) / n).sqrt());
        }
    }
    for env in 0..2 {
        for action in 0..3u32 {
            // Any action is chosen at times.
            worst.holds(log[env].iter().filter(|e| e.action == action).count() as f64 > 0.05 * n);
        }
    }
    worst.done()
}

impl Plan {
    /// The target's parameters in a phase's gradient step. In the second they are not what they were at the end of the first
    /// if a copy fell in between.
    fn target_in<'a>(&self, phase: usize, online: &'a [Vec<f64>; 3], target: &'a [Vec<f64>; 3]) -> &'a [f64] {
        if phase == 1 && !self.soft && self.copies_between() { &online[1] } else { &target[phase] }
    }

    /// RMSProp's step along `g`, which is made shorter if it is too long, against where the parameters went.
    fn step(&self, phase: usize, g: Vec<f64>, square: &mut [f64], online: &[Vec<f64>; 3], worst: &mut Worst) {
        let g = clipped(g, self.max_grad_norm.unwrap_or(f64::INFINITY));
        for (i, g) in g.iter().enumerate() {
            square[i] = RMS_DECAY * square[i] + (1.0 - RMS_DECAY) * g * g;
            worst
                .same(online[phase + 1][i], online[phase][i] - self.lr(phase) * g / (square[i].sqrt() + 1.0));
        }
    }

    /// Whether a multiple of the period lies among the steps from the first gradient step to just before the second.
    fn copies_between(&self) -> bool {
        let n = self.num_envs as u64;
        let (first, second) = (self.rounds as u64 * n, 2 * self.rounds as u64 * n);
        (first + 1..=second - n).any(|t| t % self.period == 0)
    }
}

fn target_follows(plan: Plan) -> Measured {
    let Played { online, target, .. } = plan.play()?;
    let mut worst = Worst::new();
    worst.holds(target[0] == online[0] && online[1] != online[0]);
    if plan.soft {
        for phase in 1..3 {
            for ((now, before), online) in target[phase].iter().zip(&target[phase - 1]).zip(&online[phase]) {
                worst.same(*now, (1.0 - plan.kappa) * before + plan.kappa * online);
            }
        }
        return worst.done();
    }
    // Round by round, as it is defined: the copy comes after learning.
    let (mut present, mut copy) = (0, 0);
    let n = plan.num_envs as u64;
    for round in 1..=2 * plan.rounds as u64 {
        if round % plan.rounds as u64 == 0 {
            present += 1;
        }
        if (n * (round - 1) + 1..=n * round).any(|t| t % plan.period == 0) {
            copy = present;
        }
        if round % plan.rounds as u64 == 0 {
            worst.holds(target[present] == online[copy]);
        }
    }
    worst.done()
}

fn replay_holds_what_happened(plan: Plan) -> Measured {
    let Played { agent, batches, .. } = plan.play()?;
    let slots: Vec<u32> = agent.replay().slots().collect();
    let mut found = rederive_dqn::Batch::new(slots.len(), FEATURES);
    found.slot.copy_from_slice(&slots);
    agent.replay().gather(&mut found);
    let mut worst = Worst::new();
    worst.holds(slots.len() == batches[1].len());
    for (i, wanted) in batches[1].iter().enumerate() {
        worst.holds(found.action[i] as usize == wanted.action && found.terminated[i] == wanted.terminated);
        worst.same(f64::from(found.reward[i]), wanted.reward);
        worst.same(f64::from(found.discount[i]), wanted.discount);
        worst.holds(found.obs.row(i).iter().zip(&wanted.obs).all(|(&a, &b)| f64::from(a) == b));
        worst.holds(found.next_obs.row(i).iter().zip(&wanted.next).all(|(&a, &b)| f64::from(a) == b));
    }
    worst.done()
}
