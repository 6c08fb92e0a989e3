//! `Corridor-v0`: two cells look the same, and the goal lies between them. The best policy that sees what the agent sees tosses a
//! coin, and what that is worth has a closed form (`alias.stochastic`).

use rederive_env::{Actions, Stream, make_vec};
use rederive_math::{aliasing::merged_cells_value, td};
use rederive_nn::Schedule;
use rederive_reinforce::{A2c, A2cConfig, Baseline, Config, Reinforce, Returns, Rule};
use rederive_train::{ActionBuffer, Checkpoint, EpisodeLog, Evaluator, Learner, Report};

const GAMMA: f64 = 0.9;

/// A table of logits: no hidden layer over one-hot observations. Actions: left, right.
fn config(returns: Returns, baseline: Baseline) -> Config {
    Config {
        episodes: 64,
        gamma: GAMMA,
        returns,
        baseline,
        discount_weights: returns == Returns::RewardToGo,
        lr: 0.05,
        vf_lr: 0.05,
        lr_schedule: Schedule::Linear,
        hidden: vec![],
        ..Config::default()
    }
}

/// Where the logit of going right in the two cells lies among the parameters: row 0 of the weights `[2, 2]`.
const RIGHT: usize = 1;

/// A policy that goes right with probability `p`, and a critic that knows nothing.
fn start(agent: &mut Reinforce, p: f64) {
    let params = agent.networks_mut().params_mut();
    params.fill(0.0);
    params[RIGHT] = (p / (1.0 - p)).ln() as f32;
}

fn right(params: &[f32]) -> f64 {
    // Weights [2, 2] and biases [2] of the only layer.
    let logit = |action: usize| f64::from(params[action] + params[4 + action]);
    1.0 / (1.0 + (logit(0) - logit(1)).exp())
}

#[test]
fn reinforce_finds_the_coin_that_no_deterministic_policy_equals() {
    let best = merged_cells_value(0.5, GAMMA);
    let cases = [
        (Returns::Total, Baseline::None),
        (Returns::Total, Baseline::Constant),
        (Returns::RewardToGo, Baseline::None),
        (Returns::RewardToGo, Baseline::Time),
        (Returns::RewardToGo, Baseline::Value),
    ];
    for (seed, (returns, baseline)) in (1..).zip(cases) {
        for p in [0.05, 0.95] {
            let mut env = make_vec("Corridor-v0", 1).unwrap();
            let mut agent = Reinforce::new(config(returns, baseline), env.as_ref(), seed).unwrap();
            env.reset(seed);
            start(&mut agent, p);
            let before = merged_cells_value(right(agent.networks().params()), GAMMA);
            let (mut log, mut report) = (EpisodeLog::new(1), Report::default());
            let updates = 400;
            for k in 0..updates {
                let progress = f64::from(k) / f64::from(updates);
                agent.iterate(env.as_mut(), progress, &mut log, &mut report).unwrap();
                log.drain();
            }
            let p = right(agent.networks().params());
            let value = merged_cells_value(p, GAMMA);
            assert!(before < 0.8 && value > best - 0.003, "{returns:?}, {baseline:?}: p = {p}, J = {value}");

            // The control: its most likely action alone reaches the goal from one of the cells.
            let mut env = make_vec("Corridor-v0", 64).unwrap();
            let greedy = Evaluator { episodes: 400, ..Evaluator::default() };
            let greedy = greedy.greedy(&mut agent, env.as_mut()).unwrap().return_mean;
            assert!((greedy - 0.5).abs() < 0.13, "{greedy}");
        }
    }
}

#[test]
fn an_actor_critic_finds_it_too() {
    let config = A2cConfig {
        num_envs: 16,
        num_steps: 16,
        gamma: GAMMA,
        gae_lambda: 0.9,
        discount_weights: true,
        lr: 0.05,
        lr_schedule: Schedule::Linear,
        optimizer: Rule::Adam,
        hidden: vec![],
        ..A2cConfig::default()
    };
    let mut env = make_vec("Corridor-v0", config.num_envs).unwrap();
    let mut agent = A2c::new(config, env.as_ref(), 1).unwrap();
    env.reset(1);
    let mut checkpoint = Checkpoint::default();
    agent.save(&mut checkpoint);
    let params = checkpoint.tensors.get_mut("params").unwrap();
    params.fill(0.0);
    params[RIGHT] = 3.0;
    agent.load(&checkpoint).unwrap();
    let (mut log, mut report) = (EpisodeLog::new(16), Report::default());
    for k in 0..600 {
        agent.iterate(env.as_mut(), f64::from(k) / 600.0, &mut log, &mut report).unwrap();
        log.drain();
    }
    let value = merged_cells_value(right(agent.networks().params()), GAMMA);
    assert!(value > merged_cells_value(0.5, GAMMA) - 0.003, "J = {value}");
}

/// The control: Q-learning on what the agent sees ends with a rule, and every rule is worth one half.
#[test]
fn q_learning_on_what_is_seen_does_not() {
    let mut env = make_vec("Corridor-v0", 1).unwrap();
    env.reset(1);
    let (mut q, mut rng) = ([0.0f64; 4], Stream::new(1, "test", 0));
    for _ in 0..200_000 {
        let seen = env.obs()[[0, 0]] as usize;
        let greedy = td::argmax(&q[2 * seen..2 * seen + 2]);
        let action = if rng.unit() < 0.1 { rng.below(2) as usize } else { greedy };
        env.step(Actions::Discrete(&[action as u32]));
        let next = (!env.end()[0].terminated()).then(|| env.obs()[[0, 0]] as usize);
        td::q_update(&mut q, 2, (seen, action), f64::from(env.reward()[0]), next, 0.02, GAMMA);
    }
    let p = td::argmax(&q[..2]) as f64;
    assert_eq!(merged_cells_value(p, GAMMA), 0.5);
    // Its values promise more than any rule gives.
    assert!(q[0].max(q[1]) > 0.55, "{q:?}");
}

/// The gradient that an agent follows, from one step of size 1 along the plain estimate, `[batches]`: that of the logit of going
/// right, less that of going left, halved.
fn estimates(config: &Config, p: f64, batches: u64) -> Vec<f64> {
    (0..batches)
        .map(|seed| {
            let mut env = make_vec("Corridor-v0?max_steps=1000", config.num_envs).unwrap();
            let mut agent = Reinforce::new(config.clone(), env.as_ref(), seed).unwrap();
            env.reset(seed);
            start(&mut agent, p);
            let before = agent.networks().params().to_vec();
            let (mut log, mut report) = (EpisodeLog::new(config.num_envs), Report::default());
            agent.iterate(env.as_mut(), 0.0, &mut log, &mut report).unwrap();
            let moved = |i: usize| f64::from(agent.networks().params()[i] - before[i]);
            0.5 * (moved(RIGHT) - moved(RIGHT - 1))
        })
        .collect()
}

fn mean_and_error(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// What the mean estimate has to be: from a cell that is left with probability `q` per step, by an action of which the score in
/// the logit of going right is `score` times the probability of the other one; `decay` is what a visit counts less than the
/// one before it.
fn exact(p: f64, decay: f64) -> f64 {
    let cell = |q: f64, sign: f64| {
        let value = q / (1.0 - GAMMA * (1.0 - q));
        let visits = 1.0 / (1.0 - decay * (1.0 - q));
        sign * q * (1.0 - q) * (1.0 - GAMMA * value) * visits
    };
    0.5 * (cell(p, 1.0) + cell(1.0 - p, -1.0))
}

#[test]
fn every_estimator_has_the_mean_that_it_should_have() {
    let p = 0.8;
    let slope = (merged_cells_value(p + 1e-5, GAMMA) - merged_cells_value(p - 1e-5, GAMMA)) / 2e-5;
    assert!((exact(p, GAMMA) - slope * p * (1.0 - p)).abs() < 1e-9, "the closed form against the slope of J");
    let plain = |returns, baseline, num_envs| Config {
        num_envs,
        episodes: 32,
        lr: 1.0,
        optimizer: Rule::Sgd,
        lr_schedule: Schedule::Constant,
        // The critic must not move with steps of this size.
        vf_lr: 1e-3,
        vf_updates: 1,
        ..config(returns, baseline)
    };
    let mut errors = Vec::new();
    for (returns, baseline, num_envs) in [
        (Returns::Total, Baseline::None, 1),
        (Returns::RewardToGo, Baseline::None, 1),
        (Returns::RewardToGo, Baseline::Time, 1),
        (Returns::RewardToGo, Baseline::Value, 1),
        // Side by side, where who took the first episodes to end would take the short ones.
        (Returns::RewardToGo, Baseline::None, 8),
    ] {
        let (mean, error) = mean_and_error(&estimates(&plain(returns, baseline, num_envs), p, 400));
        let want = exact(p, GAMMA);
        assert!((mean - want).abs() < 5.0 * error, "{returns:?}, {baseline:?}: {mean} +- {error}, {want}");
        errors.push(error);
    }
    assert!(errors[2] < errors[1], "the mean of the others has to lower the variance: {errors:?}");
    // Without the factor gamma^t it is another vector.
    let undiscounted = Config { discount_weights: false, ..plain(Returns::RewardToGo, Baseline::None, 1) };
    let (mean, error) = mean_and_error(&estimates(&undiscounted, p, 400));
    let want = exact(p, 1.0);
    assert!((mean - want).abs() < 5.0 * error, "without the factor: {mean} +- {error}, {want}");
    assert!((want - exact(p, GAMMA)).abs() > 10.0 * error, "{want}, {error}");
}

#[test]
fn the_greedy_action_is_the_more_likely_one() {
    let env = make_vec("Corridor-v0", 1).unwrap();
    let mut agent = Reinforce::new(config(Returns::Total, Baseline::None), env.as_ref(), 1).unwrap();
    for (p, want) in [(0.3, 0), (0.7, 1)] {
        start(&mut agent, p);
        let mut action = ActionBuffer::new(env.action_space(), 1);
        agent.act_greedy(env.obs(), &mut action);
        assert_eq!(action, ActionBuffer::Discrete(vec![want]));
    }
}
