//! What must be the same bit for bit: a run with or without a stop, and on any thread.

use rederive_env::{VecEnv, make_vec};
use rederive_reinforce::{A2c, A2cConfig, Advantage, Baseline, Config, Reinforce, Returns, Rule};
use rederive_train::{Checkpoint, EpisodeLog, EpisodeStats, Learner, Policy, Report, spread};

/// A run's whole state, with the episodes that ended.
struct Run {
    agent: Box<dyn Learner>,
    env: Box<dyn VecEnv>,
    log: EpisodeLog,
    ended: Vec<EpisodeStats>,
    values: Vec<u64>,
}

type State = (Checkpoint, serde_json::Value, EpisodeLog);

impl Run {
    fn new(case: &Case, seed: u64) -> Self {
        let mut env = make_vec(case.id, case.num_envs).unwrap();
        let agent = (case.make)(env.as_ref(), seed);
        env.reset(seed);
        let log = EpisodeLog::new(case.num_envs);
        Run { agent, env, log, ended: Vec::new(), values: Vec::new() }
    }

    fn iterate(&mut self, times: usize) {
        let mut report = Report::default();
        for _ in 0..times {
            self.agent.iterate(self.env.as_mut(), 0.3, &mut self.log, &mut report).unwrap();
            self.ended.extend(self.log.drain());
            // As bits: a variance that can't be explained is NaN.
            self.values.extend(report.values.iter().map(|x| x.to_bits()));
        }
    }

    fn state(&self) -> State {
        let mut checkpoint = Checkpoint::default();
        self.agent.save(&mut checkpoint);
        assert_eq!(checkpoint.not_finite(), None);
        (checkpoint, self.env.save(), self.log.clone())
    }
}

/// Builds a learner for environments from a seed.
type Make = Box<dyn Fn(&dyn VecEnv, u64) -> Box<dyn Learner> + Sync>;

struct Case {
    name: String,
    id: &'static str,
    num_envs: usize,
    make: Make,
}

fn reinforce(id: &'static str, config: Config) -> Case {
    Case {
        name: format!("{config:?}"),
        id,
        num_envs: config.num_envs,
        make: Box::new(move |env, seed| Box::new(Reinforce::new(config.clone(), env, seed).unwrap())),
    }
}

fn a2c(id: &'static str, config: A2cConfig) -> Case {
    Case {
        name: format!("{config:?}"),
        id,
        num_envs: config.num_envs,
        make: Box::new(move |env, seed| Box::new(A2c::new(config.clone(), env, seed).unwrap())),
    }
}

fn cases() -> Vec<Case> {
    let whole = Config { episodes: 4, hidden: vec![8], ..Config::default() };
    let short = A2cConfig { num_envs: 3, num_steps: 7, hidden: vec![8], ..A2cConfig::default() };
    vec![
        reinforce("CartPole-v1", whole.clone()),
        reinforce("CartPole-v1", Config { num_envs: 2, baseline: Baseline::Time, ..whole.clone() }),
        reinforce(
            "Corridor-v0",
            Config { returns: Returns::Total, baseline: Baseline::Constant, ..whole.clone() },
        ),
        // A limit of the agent's own, in an environment with none and in one with a later one.
        reinforce("Crawler-v0", Config { max_episode_steps: 9, num_envs: 2, ..whole.clone() }),
        reinforce(
            "Pendulum-v1",
            Config {
                num_envs: 2,
                max_episode_steps: 11,
                normalize_obs: true,
                normalize_advantage: true,
                noise_correlation: 0.5,
                optimizer: Rule::RmsProp,
                ..whole.clone()
            },
        ),
        reinforce(
            "Pendulum-v1",
            Config { policy: Policy::Beta, discount_weights: true, optimizer: Rule::Sgd, ..whole },
        ),
        a2c("CartPole-v1", A2cConfig { discount_weights: true, ent_coef: 0.01, ..short.clone() }),
        a2c(
            "Taxi-v3",
            A2cConfig { advantage: Advantage::NStep, n_step: 3, optimizer: Rule::Adam, ..short.clone() },
        ),
        a2c(
            "Pendulum-v1",
            A2cConfig {
                normalize_obs: true,
                normalize_reward: true,
                normalize_advantage: true,
                noise_correlation: 0.9,
                ..short.clone()
            },
        ),
        a2c("MountainCarContinuous-v0", A2cConfig { policy: Policy::Beta, ..short }),
    ]
}

#[test]
fn a_resumed_run_is_one_that_never_stopped() {
    for case in cases() {
        let mut whole = Run::new(&case, 3);
        whole.iterate(9);
        let mut first = Run::new(&case, 3);
        first.iterate(4);
        let (checkpoint, env, log) = first.state();
        // Another seed: everything that counts comes from the checkpoint.
        let mut second = Run::new(&case, 4);
        second.agent.load(&checkpoint).unwrap();
        second.env.load(&env).unwrap();
        second.log = log;
        second.iterate(5);
        assert!(whole.state() == second.state(), "{} on {}", case.name, case.id);
        assert_eq!(whole.ended[first.ended.len()..], second.ended);
        assert_eq!(whole.values[first.values.len()..], second.values);
    }
}

#[test]
fn a_seed_decides_and_the_number_of_threads_does_not() {
    for case in cases() {
        let run = |_, seed| {
            let mut run = Run::new(&case, seed);
            run.iterate(3);
            run.state()
        };
        let seeds = [1, 2, 1];
        let (one, three) = (spread(&seeds, 1, run), spread(&seeds, 3, run));
        assert!(one == three && one[0] == one[2] && one[0] != one[1], "{} on {}", case.name, case.id);
    }
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_and_changes_nothing() {
    let cases = cases();
    for (case, other) in cases.iter().zip(cases.iter().skip(1)) {
        let (mut run, mut strange) = (Run::new(case, 1), Run::new(other, 1));
        run.iterate(2);
        strange.iterate(1);
        let before = run.state();
        assert!(!run.agent.load(&strange.state().0).unwrap_err().is_empty());
        assert!(run.agent.load(&Checkpoint::default()).unwrap_err().contains("tensor params is missing"));
        for missing in ["streams", "updates", "obs_normalizer"] {
            let mut broken = before.0.clone();
            broken.state.remove(missing);
            let problem = run.agent.load(&broken).unwrap_err();
            assert!(problem.contains(&format!("state {missing} is missing")), "{problem}");
        }
        assert!(run.state() == before, "{} on {}", case.name, case.id);
    }
}
