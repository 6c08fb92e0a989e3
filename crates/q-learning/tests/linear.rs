//! The linear agent: against the table, across a stop, on a box, and with what does not fit.

use rederive_env::{VecEnv, make_vec};
use rederive_q_learning::{Config, LinearConfig, LinearQ, Method, QLearning, Target};
use rederive_train::{Checkpoint, EpisodeLog, EpisodeStats, Learner, Report};

const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

struct Run<L> {
    agent: L,
    env: Box<dyn VecEnv>,
    log: EpisodeLog,
    ended: Vec<EpisodeStats>,
}

impl<L: Learner> Run<L> {
    fn new(agent: L, mut env: Box<dyn VecEnv>, seed: u64) -> Self {
        env.reset(seed);
        let log = EpisodeLog::new(env.num_envs());
        Run { agent, env, log, ended: Vec::new() }
    }

    fn iterate(&mut self, times: usize) {
        let mut report = Report::default();
        for i in 0..times {
            self.agent
                .iterate(self.env.as_mut(), i as f64 / times as f64, &mut self.log, &mut report)
                .unwrap();
            self.ended.extend(self.log.drain());
        }
    }
}

fn linear(config: &LinearConfig, id: &str, seed: u64) -> Run<LinearQ> {
    let env = make_vec(id, config.num_envs).unwrap();
    Run::new(LinearQ::new(config.clone(), env.as_ref(), seed).unwrap(), env, seed)
}

#[test]
fn one_feature_per_state_is_a_table_bit_for_bit() {
    for (target, method) in [(Target::QLearning, Method::QLearning), (Target::Sarsa, Method::Sarsa)] {
        for id in ["FrozenLake-v1?max_steps=20", "Taxi-v3?max_steps=50", "CliffWalking-v1?max_steps=30"] {
            for num_envs in [1, 3] {
                let shared = Config {
                    num_envs,
                    num_steps: 500,
                    alpha: 0.3,
                    epsilon: 0.2,
                    init: 0.5,
                    ..Config::default()
                };
                let config = LinearConfig {
                    num_envs,
                    num_steps: 500,
                    target,
                    alpha: 0.3,
                    epsilon: 0.2,
                    init: 0.5,
                    ..LinearConfig::default()
                };
                let env = make_vec(id, num_envs).unwrap();
                let mut table = Run::new(QLearning::new(method, shared, env.as_ref(), 5).unwrap(), env, 5);
                let mut linear = linear(&config, id, 5);
                table.iterate(6);
                linear.iterate(6);
                assert_eq!(table.agent.q(), linear.agent.weights(), "{method:?} on {id}, {num_envs}");
                assert_eq!(table.ended, linear.ended);
                assert!(!linear.ended.is_empty(), "{id}");
            }
        }
    }
}

#[test]
fn a_resumed_run_is_one_that_never_stopped() {
    let bounds = ([-2.4, -3.0, -0.21, -3.0].to_vec(), [2.4, 3.0, 0.21, 3.0].to_vec());
    for target in [Target::QLearning, Target::Sarsa] {
        for (id, num_envs) in [("CartPole-v1?max_steps=30", 3), ("Blackjack-v1", 1)] {
            let config = LinearConfig {
                num_envs,
                num_steps: 97,
                target,
                low: bounds.0.clone(),
                high: bounds.1.clone(),
                ..LinearConfig::default()
            };
            let mut whole = linear(&config, id, 3);
            let mut first = linear(&config, id, 3);
            for _ in 0..5 {
                whole.iterate(1);
            }
            first.iterate(1);
            first.iterate(1);
            let mut checkpoint = Checkpoint::default();
            first.agent.save(&mut checkpoint);
            // Another seed: everything that counts comes from the checkpoint.
            let mut second = linear(&config, id, 4);
            second.agent.load(&checkpoint).unwrap();
            second.env.load(&first.env.save()).unwrap();
            second.log = first.log.clone();
            for _ in 0..3 {
                second.iterate(1);
            }
            let (mut a, mut b) = (Checkpoint::default(), Checkpoint::default());
            whole.agent.save(&mut a);
            second.agent.save(&mut b);
            assert!(a == b && whole.env.save() == second.env.save(), "{target:?} on {id}");
            assert_eq!(whole.ended[first.ended.len()..], second.ended);
        }
    }
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused() {
    let config = LinearConfig { num_steps: 50, ..LinearConfig::default() };
    let two = linear(&LinearConfig { num_envs: 2, ..config.clone() }, "MountainCar-v0", 1);
    let mut checkpoint = Checkpoint::default();
    two.agent.save(&mut checkpoint);
    let mut one = linear(&config, "MountainCar-v0", 1);
    let problem = one.agent.load(&checkpoint).unwrap_err();
    assert!(problem.contains("lanes has 2 entries, expected 1"), "{problem}");
    assert!(one.agent.load(&Checkpoint::default()).unwrap_err().contains("tensor w is missing"));
}

/// The mean of the last hundred returns.
fn learnt(config: &LinearConfig, id: &str, seed: u64, iterations: usize) -> f64 {
    let mut run = linear(config, id, seed);
    run.iterate(iterations);
    let last = &run.ended[run.ended.len().saturating_sub(100)..];
    last.iter().map(|episode| episode.return_).sum::<f64>() / last.len() as f64
}

#[test]
fn a_car_learns_to_swing_out_of_the_valley_and_with_one_tile_it_does_not() {
    for target in [Target::Sarsa, Target::QLearning] {
        let config = LinearConfig { target, gamma: 1.0, alpha: 0.3, epsilon: 0.0, ..LinearConfig::default() };
        for seed in SEEDS {
            let return_ = learnt(&config, "MountainCar-v0", seed, 200);
            assert!(return_ > -150.0, "{target:?}, seed {seed}: {return_}");
            let blind = LinearConfig { tiles: 1, tilings: 1, ..config.clone() };
            let return_ = learnt(&blind, "MountainCar-v0", seed, 200);
            assert!(return_ < -190.0, "control of {target:?}, seed {seed}: {return_}");
        }
    }
}

#[test]
fn being_cut_off_is_not_the_end_and_termination_is() {
    // Every step costs 1, every episode is cut off after the first one, and the car never arrives: what lies behind the
    // cut counts, so that values go on towards -1 / (1 - gamma) = -2 instead of -1.
    let config = LinearConfig { gamma: 0.5, epsilon: 1.0, ..LinearConfig::default() };
    for target in [Target::QLearning, Target::Sarsa] {
        let mut run = linear(&LinearConfig { target, ..config.clone() }, "MountainCar-v0?max_steps=1", 1);
        run.iterate(40);
        let mut report = Report::default();
        run.agent.iterate(run.env.as_mut(), 0.0, &mut run.log, &mut report).unwrap();
        let value = report.values[2];
        assert!((-2.01..-1.6).contains(&value), "{target:?}: {value}");
        // A hand of cards terminates: its worth lies between losing and winning, whatever the discount.
        let cards = LinearConfig { target, gamma: 1.0, epsilon: 1.0, alpha: 0.01, ..config.clone() };
        let mut run = linear(&cards, "Blackjack-v1", 1);
        run.iterate(200);
        assert!(run.agent.weights().iter().all(|w| w.abs() < 2.0), "{target:?}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let refused = |config: LinearConfig, id: &str| {
        let env = make_vec(id, 1).unwrap();
        let error = LinearQ::new(config, env.as_ref(), 1).unwrap_err();
        (error.field.clone(), error.to_string())
    };
    let base = LinearConfig::default;
    let (field, text) = refused(base(), "Pendulum-v1");
    assert_eq!(field, "env");
    assert!(text.contains("discrete actions for linear-q: CartPole-v1, MountainCar-v0"), "{text}");
    assert!(!text.contains("MountainCarContinuous"), "{text}");
    let (field, text) = refused(base(), "CartPole-v1");
    assert_eq!(field, "low");
    assert!(text.contains("4 finite numbers: dimension 1 has no bound of its own"), "{text}");
    let cases = [
        (LinearConfig { num_envs: 2, ..base() }, "num_envs"),
        (LinearConfig { num_steps: 0, ..base() }, "num_steps"),
        (LinearConfig { gamma: 1.5, ..base() }, "gamma"),
        (LinearConfig { alpha: 0.0, ..base() }, "alpha"),
        (LinearConfig { init: 1e39, ..base() }, "init"),
        (LinearConfig { epsilon: f64::NAN, ..base() }, "epsilon"),
        (LinearConfig { epsilon_final: -0.1, ..base() }, "epsilon_final"),
        (LinearConfig { epsilon_decay: 2.0, ..base() }, "epsilon_decay"),
        (LinearConfig { tilings: 0, ..base() }, "tilings"),
        (LinearConfig { tiles: 5000, ..base() }, "tiles"),
        (LinearConfig { tiles: 4096, tilings: 8, ..base() }, "tiles"),
        (LinearConfig { low: vec![0.0], ..base() }, "low"),
        (LinearConfig { high: vec![1.0, f64::INFINITY], ..base() }, "high"),
        (LinearConfig { high: vec![-5.0, 1.0], ..base() }, "high"),
    ];
    for (config, expected) in cases {
        let (field, text) = refused(config, "MountainCar-v0");
        assert_eq!(field, expected, "{text}");
    }
}
