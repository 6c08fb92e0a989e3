//! Actions are clipped for the environment and not for the gradient, whose log-probabilities are those of what was drawn.

use ndarray::Array2;
use rederive_env::{Action, End, Env, Space, StateError, Stream, SyncVec, VecEnv};
use rederive_reinforce::{Baseline, Config, Reinforce, Rule};
use rederive_train::{ActionBuffer, EpisodeLog, Learner, Report};

const BOUND: f32 = 0.1;

/// One step, which is worth 1; refuses actions beyond its bounds.
struct Narrow;

impl Env for Narrow {
    fn observation_space(&self) -> Space {
        Space::Box { low: vec![-1.0], high: vec![1.0] }
    }

    fn action_space(&self) -> Space {
        Space::Box { low: vec![-BOUND; 2], high: vec![BOUND; 2] }
    }

    fn reset(&mut self, _: &mut Stream, obs: &mut [f32]) {
        obs.fill(0.0);
    }

    fn step(&mut self, action: Action<'_>, _: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        let Action::Continuous(action) = action else { panic!("a discrete action") };
        assert!(action.iter().all(|x| x.abs() <= BOUND), "{action:?} beyond {BOUND}");
        obs.fill(0.0);
        (1.0, End::Terminated)
    }

    fn save(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    fn load(&mut self, _: &serde_json::Value) -> Result<(), StateError> {
        Ok(())
    }
}

#[test]
fn the_environment_sees_clipped_actions_and_the_gradient_drawn_ones() {
    let episodes = 4000;
    let config = Config {
        episodes,
        baseline: Baseline::None,
        optimizer: Rule::Sgd,
        lr: 0.01,
        hidden: vec![],
        ..Config::default()
    };
    let mut env = SyncVec::new("Narrow-v0", vec![Narrow]);
    let mut agent = Reinforce::new(config, &env, 1).unwrap();
    env.reset(1);
    let (mut log, mut report) = (EpisodeLog::new(1), Report::default());
    agent.iterate(&mut env, 0.0, &mut log, &mut report).unwrap();
    // All returns are 1, so that the step is the mean score times 0.01. The score in log sigma, z^2 - 1, has mean 0 and variance 2;
    // of clipped actions it would be near -1.
    for &log_std in agent.networks().log_std() {
        assert!(log_std.abs() < 0.01 * 5.0 * (2.0 / episodes as f32).sqrt(), "{log_std}");
    }
    // The most likely action is clipped as well.
    let range = agent.networks().policy_range();
    agent.networks_mut().params_mut()[range].fill(3.0);
    let mut action = ActionBuffer::Continuous(Array2::zeros((1, 2)));
    agent.act_greedy(env.obs(), &mut action);
    assert_eq!(action, ActionBuffer::Continuous(Array2::from_elem((1, 2), BOUND)));
}
