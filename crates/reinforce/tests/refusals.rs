//! Environments and configurations that do not fit, and numbers that are not finite.

use ndarray::ArrayView2;
use rederive_env::{Actions, End, Space, StateError, VecEnv, make_vec};
use rederive_reinforce::{A2c, A2cConfig, Config, Reinforce};
use rederive_train::{EpisodeLog, Learner, Policy, Report};

#[test]
fn the_number_of_environments_has_to_be_the_configured_one() {
    let env = make_vec("CartPole-v1", 3).unwrap();
    let error = Reinforce::new(Config::default(), env.as_ref(), 1).unwrap_err();
    assert_eq!(error.to_string(), "num_envs = 1: must be 3, the number of environments");
    let error = A2c::new(A2cConfig::default(), env.as_ref(), 1).unwrap_err();
    assert_eq!(error.to_string(), "num_envs = 8: must be 3, the number of environments");
}

/// An environment with other actions, or whose rewards go bad.
struct Odd {
    inner: Box<dyn VecEnv>,
    action_space: Option<Space>,
    reward: Vec<f32>,
    bad_at: usize,
    steps: usize,
}

impl Odd {
    fn new(id: &str, num_envs: usize, action_space: Option<Space>, bad_at: usize) -> Self {
        let inner = make_vec(id, num_envs).unwrap();
        Odd { inner, action_space, reward: vec![0.0; num_envs], bad_at, steps: 0 }
    }
}

impl VecEnv for Odd {
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
        self.action_space.as_ref().unwrap_or(self.inner.action_space())
    }
    fn reset(&mut self, seed: u64) {
        self.inner.reset(seed);
    }
    fn step(&mut self, actions: Actions<'_>) {
        self.inner.step(actions);
        self.steps += 1;
        self.reward.copy_from_slice(self.inner.reward());
        if self.steps == self.bad_at {
            self.reward[0] = f32::INFINITY;
        }
    }
    fn obs(&self) -> ArrayView2<'_, f32> {
        self.inner.obs()
    }
    fn reward(&self) -> &[f32] {
        &self.reward
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

#[test]
fn actions_without_a_distribution_are_refused() {
    let endless = Space::Box { low: vec![f32::NEG_INFINITY], high: vec![f32::INFINITY] };
    let env = Odd::new("Pendulum-v1", 1, Some(endless), 0);
    let error = Reinforce::new(Config { policy: Policy::Beta, ..Config::default() }, &env, 1).unwrap_err();
    assert_eq!(error.field, "policy");
}

#[test]
fn a_reward_that_is_not_finite_stops_the_run() {
    for num_envs in [1, 2] {
        let config = Config { num_envs, hidden: vec![4], ..Config::default() };
        let mut env = Odd::new("CartPole-v1", num_envs, None, 20);
        let mut agent = Reinforce::new(config, &env, 1).unwrap();
        env.reset(1);
        let error = until_it_stops(&mut agent, &mut env);
        assert_eq!(error, "diverged in update 1: reward is not finite");
    }
    let config = A2cConfig { num_envs: 2, hidden: vec![4], ..A2cConfig::default() };
    let mut env = Odd::new("CartPole-v1", 2, None, 12);
    let mut agent = A2c::new(config, &env, 1).unwrap();
    env.reset(1);
    assert_eq!(until_it_stops(&mut agent, &mut env), "diverged in update 3: reward is not finite");
}

fn until_it_stops(agent: &mut dyn Learner, env: &mut dyn VecEnv) -> String {
    let (mut log, mut report) = (EpisodeLog::new(env.num_envs()), Report::default());
    for _ in 0..20 {
        if let Err(diverged) = agent.iterate(env, 0.0, &mut log, &mut report) {
            return diverged.to_string();
        }
    }
    panic!("it went on");
}
