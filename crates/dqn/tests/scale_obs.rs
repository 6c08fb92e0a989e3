//! `scale_obs`: an agent that scales what it sees is, bit for bit, one that is shown scaled numbers.

use ndarray::Array2;
use rederive_dqn::{Config, Dqn};
use rederive_env::{Action, End, Env, Space, StateError, Stream, SyncVec, VecEnv};
use rederive_train::{ActionBuffer, Checkpoint, EpisodeLog, Learner, Report};
use serde_json::{Value, json};

/// The bounds of each number of an observation, and the centre and half width that they come to. All are so that no number
/// rounds. What has no bound on one side has none, what can only be one number is left alone, and so is what is so wide that the
/// width is not finite: some environments write the largest number for no bound.
const BOUNDS: [(f32, f32, f32, f32); 6] = [
    (-2.0, 6.0, 2.0, 4.0),
    (0.0, 1.0, 0.5, 0.5),
    (f32::NEG_INFINITY, f32::INFINITY, 0.0, 1.0),
    (f32::NEG_INFINITY, 3.0, 0.0, 1.0),
    (5.0, 5.0, 0.0, 1.0),
    (-f32::MAX, f32::MAX, 0.0, 1.0),
];

/// Walks through numbers that depend on what was done; shows them as they are, or scaled by hand.
#[derive(Clone)]
struct Shown {
    scaled: bool,
    at: i64,
    steps: u32,
}

fn shown(scaled: bool, at: i64, obs: &mut [f32]) {
    for (i, (x, &(_, _, centre, half))) in obs.iter_mut().zip(&BOUNDS).enumerate() {
        let unit = ((at * (2 * i as i64 + 3)).rem_euclid(129) - 64) as f32 / 64.0;
        *x = if scaled { unit } else { centre + half * unit };
    }
}

impl Env for Shown {
    fn observation_space(&self) -> Space {
        Space::Box {
            low: BOUNDS.iter().map(|b| if self.scaled { f32::NEG_INFINITY } else { b.0 }).collect(),
            high: BOUNDS.iter().map(|b| if self.scaled { f32::INFINITY } else { b.1 }).collect(),
        }
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: 3 }
    }

    fn reset(&mut self, rng: &mut Stream, obs: &mut [f32]) {
        self.at = i64::from(rng.below(1000));
        self.steps = 0;
        shown(self.scaled, self.at, obs);
    }

    fn step(&mut self, action: Action<'_>, _: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        let Action::Discrete(action) = action else { unreachable!() };
        self.at = (7 * self.at + 11 * i64::from(action) + 5) % 1000;
        self.steps += 1;
        shown(self.scaled, self.at, obs);
        let end = match self.steps {
            13 if self.at % 2 == 0 => End::Terminated,
            13 => End::Truncated,
            _ => End::No,
        };
        ((self.at % 10) as f32 / 10.0, end)
    }

    fn save(&self) -> Value {
        json!([self.at, self.steps])
    }

    fn load(&mut self, state: &Value) -> Result<(), StateError> {
        let number = |i: usize| state[i].as_i64().ok_or_else(|| StateError("no number".to_owned()));
        (self.at, self.steps) = (number(0)?, number(1)? as u32);
        Ok(())
    }
}

fn config() -> Config {
    Config {
        num_steps: 100,
        replay: 150,
        batch: 16,
        learning_starts: 40,
        train_every: 2,
        target_period: 60,
        lr: 1e-2,
        epsilon: 0.3,
        epsilon_steps: 200,
        hidden: vec![16],
        ..Config::default()
    }
}

struct Run {
    env: SyncVec<Shown>,
    agent: Dqn,
}

impl Run {
    fn new(config: &Config, scaled: bool) -> Self {
        let one = Shown { scaled, at: 0, steps: 0 };
        let mut env = SyncVec::new("Shown-v0", vec![one; config.num_envs]);
        let agent = Dqn::new(Config { scale_obs: !scaled, ..config.clone() }, &env, 3).unwrap();
        env.reset(3);
        Run { env, agent }
    }

    fn iterate(&mut self, times: usize) {
        let (mut log, mut report) = (EpisodeLog::new(self.env.num_envs()), Report::default());
        for _ in 0..times {
            self.agent.iterate(&mut self.env, 0.3, &mut log, &mut report).unwrap();
        }
    }

    fn saved(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        self.agent.save(&mut checkpoint);
        checkpoint
    }

    /// The greedy actions for a range of what can be seen.
    fn greedy(&mut self, scaled: bool) -> Vec<u32> {
        let mut obs = Array2::zeros((300, BOUNDS.len()));
        for (at, mut row) in obs.rows_mut().into_iter().enumerate() {
            shown(scaled, at as i64, row.as_slice_mut().unwrap());
        }
        let mut actions = ActionBuffer::Discrete(vec![9; 300]);
        self.agent.act_greedy(obs.view(), &mut actions);
        let ActionBuffer::Discrete(actions) = actions else { unreachable!() };
        actions
    }
}

/// All that has to be the same: everything but the observations that are kept.
fn without_observations(mut checkpoint: Checkpoint) -> Checkpoint {
    checkpoint.bytes.remove("replay").unwrap();
    checkpoint.tensors.remove("n_step.obs").unwrap();
    checkpoint
}

#[test]
fn scaling_is_being_shown_scaled_numbers() {
    let rich = Config {
        num_envs: 2,
        n_step: 3,
        double: true,
        dueling: true,
        prioritized: true,
        target_period: 50,
        ..config()
    };
    for config in [config(), rich] {
        let (mut raw, mut scaled) = (Run::new(&config, false), Run::new(&config, true));
        for _ in 0..3 {
            raw.iterate(1);
            scaled.iterate(1);
            assert!(raw.agent.gradient_steps() > 0);
            assert_eq!(without_observations(raw.saved()), without_observations(scaled.saved()));
            let greedy = raw.greedy(false);
            assert_eq!(greedy, scaled.greedy(true));
            assert!((0..3).filter(|a| greedy.contains(a)).count() > 1, "no observation matters");
        }
        // The control: unscaled numbers lead elsewhere.
        let mut plain = Run::new(&Config { scale_obs: false, ..config.clone() }, false);
        plain.agent = Dqn::new(config.clone(), &plain.env, 3).unwrap();
        plain.iterate(3);
        assert_ne!(plain.agent.networks().online(), raw.agent.networks().online());
    }
}

#[test]
fn a_stop_does_not_forget_the_scale() {
    let mut whole = Run::new(&config(), false);
    whole.iterate(2);
    let mut resumed = Run::new(&config(), false);
    resumed.agent.load(&whole.saved()).unwrap();
    resumed.env.load(&whole.env.save()).unwrap();
    assert_eq!(resumed.greedy(false), whole.greedy(false));
    whole.iterate(2);
    resumed.iterate(2);
    assert_eq!(resumed.saved(), whole.saved());
}

#[test]
fn what_is_no_box_stays_as_it_is() {
    for id in ["MinAtar/Breakout-v1", "Taxi-v3"] {
        let run = |scale_obs: bool| {
            let mut env = rederive_env::make_vec(id, 1).unwrap();
            let mut agent = Dqn::new(Config { scale_obs, ..config() }, env.as_ref(), 3).unwrap();
            env.reset(3);
            let (mut log, mut report) = (EpisodeLog::new(1), Report::default());
            agent.iterate(env.as_mut(), 0.0, &mut log, &mut report).unwrap();
            let mut checkpoint = Checkpoint::default();
            agent.save(&mut checkpoint);
            checkpoint
        };
        assert_eq!(run(true), run(false), "{id}");
    }
}
