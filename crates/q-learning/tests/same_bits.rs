//! What must be the same bit for bit: environments called or stepped in the learner's loop, and a run with or without a stop.

use rederive_env::{VecEnv, make_vec};
use rederive_q_learning::{Config, Exploration, Method, QLearning, Trace, Visit};
use rederive_train::{Checkpoint, EpisodeLog, EpisodeStats, Learner, Report};

const ENVS: [&str; 8] = [
    "Crawler-v0?max_steps=25",
    "Corridor-v0?max_steps=9",
    "FrozenLake-v1?max_steps=20",
    "Taxi-v3?max_steps=50",
    "CliffWalking-v1?max_steps=30",
    "Blackjack-v1",
    "FrozenLake-v1?slippery=false&max_steps=30",
    "GridWorld-v0?max_steps=10",
];

fn configs(num_envs: usize) -> Vec<Config> {
    let base = Config { num_envs, num_steps: 97, alpha: 0.5, epsilon: 0.3, ..Config::default() };
    vec![
        base.clone(),
        Config { alpha_power: 0.7, trace: Trace::Accumulating, visit: Visit::Every, ..base.clone() },
        Config { exploration: Exploration::Softmax, temperature: 0.3, n_step: 7, ..base.clone() },
        Config { exploration: Exploration::Ucb, max_segment: 11, ..base },
    ]
}

/// A run's whole state, with the episodes that ended.
struct Run {
    agent: QLearning,
    env: Box<dyn VecEnv>,
    log: EpisodeLog,
    ended: Vec<EpisodeStats>,
    values: Vec<f64>,
}

impl Run {
    fn new(method: Method, config: &Config, id: &str, seed: u64) -> Self {
        let mut env = make_vec(id, config.num_envs).unwrap();
        let agent = QLearning::new(method, config.clone(), env.as_ref(), seed).unwrap();
        env.reset(seed);
        Run { agent, env, log: EpisodeLog::new(config.num_envs), ended: Vec::new(), values: Vec::new() }
    }

    fn iterate(&mut self, times: usize) {
        let mut report = Report::default();
        for _ in 0..times {
            self.agent.iterate(self.env.as_mut(), 0.3, &mut self.log, &mut report).unwrap();
            self.ended.extend(self.log.drain());
            self.values.extend(&report.values);
        }
    }

    fn state(&self) -> (Checkpoint, serde_json::Value, Vec<EpisodeStats>, Vec<f64>) {
        let mut checkpoint = Checkpoint::default();
        self.agent.save(&mut checkpoint);
        (checkpoint, self.env.save(), self.ended.clone(), self.values.clone())
    }
}

fn every_case(mut case: impl FnMut(Method, &Config, &str)) {
    for method in Method::ALL {
        for id in ENVS {
            for num_envs in [1, 3] {
                configs(num_envs).iter().for_each(|config| case(method, config, id));
            }
        }
    }
}

#[test]
fn the_model_in_the_loop_is_the_environment_that_is_called() {
    every_case(|method, config, id| {
        let (mut fast, mut slow) = (Run::new(method, config, id, 7), Run::new(method, config, id, 7));
        slow.agent.call_environments();
        fast.iterate(5);
        slow.iterate(5);
        assert!(fast.state() == slow.state(), "{method:?} on {id} with {config:?}");
        assert!(!fast.ended.is_empty(), "{id}");
    });
}

#[test]
fn a_resumed_run_is_one_that_never_stopped() {
    every_case(|method, config, id| {
        let mut whole = Run::new(method, config, id, 3);
        whole.iterate(6);
        let mut first = Run::new(method, config, id, 3);
        first.iterate(2);
        let (checkpoint, env, ..) = first.state();
        // Another seed: everything that counts comes from the checkpoint.
        let mut second = Run::new(method, config, id, 4);
        second.agent.load(&checkpoint).unwrap();
        second.env.load(&env).unwrap();
        second.log = first.log.clone();
        second.iterate(4);
        let (a, b) = (whole.state(), second.state());
        assert!(a.0 == b.0 && a.1 == b.1, "{method:?} on {id} with {config:?}");
        assert_eq!(whole.ended[first.ended.len()..], second.ended);
    });
}

#[test]
fn a_seed_decides() {
    let config = Config { num_steps: 200, ..Config::default() };
    let run = |seed| {
        let mut run = Run::new(Method::QLearning, &config, "FrozenLake-v1", seed);
        run.iterate(3);
        run.state()
    };
    assert!(run(1) == run(1));
    assert!(run(1) != run(2));
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_and_changes_nothing() {
    let config = Config { num_steps: 50, ..Config::default() };
    let mut other =
        Run::new(Method::NStepSarsa, &Config { num_envs: 2, ..config.clone() }, "FrozenLake-v1", 1);
    other.iterate(2);
    let mut run = Run::new(Method::NStepSarsa, &config, "FrozenLake-v1", 1);
    run.iterate(1);
    let before = run.state();
    let problem = run.agent.load(&other.state().0).unwrap_err();
    assert!(problem.contains("lanes has 2 entries, expected 1"), "{problem}");
    let mut broken = before.0.clone();
    broken.put("visits", &[1u32]);
    assert!(run.agent.load(&broken).unwrap_err().contains("visits has 1 entries, expected 64"));
    assert!(run.agent.load(&Checkpoint::default()).unwrap_err().contains("tensor q is missing"));
    assert!(run.state() == before);
}
