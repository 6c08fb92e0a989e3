//! Evaluation, with a learner that costs nothing.

mod fake;

use fake::{FakeEnv, FakeLearner};
use ndarray::{Array2, ArrayView2};
use rederive_env::{Actions, End, Space, StateError, VecEnv};
use rederive_train::{Diverged, Evaluator, RunError, stats};
use serde_json::Value;

fn evaluator(episodes: u64) -> Evaluator {
    Evaluator { episodes, seed: 3, ..Evaluator::default() }
}

#[test]
fn an_evaluation_repeats_and_counts_every_episode() {
    let mut learner = FakeLearner::new(1, 4);
    for (episodes, num_envs) in [(1, 1), (1, 4), (10, 4), (12, 4), (100, 64), (3, 64)] {
        let mut env = FakeEnv::new(num_envs);
        let result = evaluator(episodes).greedy(&mut learner, &mut env).unwrap();
        assert_eq!((result.episodes, result.returns.len() as u64, result.cut), (episodes, episodes, 0));
        assert_eq!(result.return_mean, stats::mean(&result.returns));
        assert!((3.0..=12.0).contains(&result.length_mean));
        assert_eq!(result.return_std == 0.0, episodes == 1);
        // It begins anew, whatever was done with the environment before.
        assert_eq!(evaluator(episodes).greedy(&mut learner, &mut env).unwrap(), result);
        let other = Evaluator { seed: 4, ..evaluator(episodes) }.greedy(&mut learner, &mut env).unwrap();
        assert_ne!(other.returns, result.returns);
    }
    let json =
        serde_json::to_value(evaluator(5).greedy(&mut learner, &mut FakeEnv::new(2)).unwrap()).unwrap();
    let mut keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["episodes", "length_mean", "return_mean", "return_std"]);
}

#[test]
fn long_episodes_count_as_often_as_short_ones() {
    // One environment has episodes of 2 steps, the other of 100. Those who finish first would all be short.
    let mut env = FakeEnv::new(2);
    env.lengths = Some(vec![2, 100]);
    let result = evaluator(40).greedy(&mut FakeLearner::new(1, 2), &mut env).unwrap();
    assert_eq!(result.length_mean, 51.0);
}

#[test]
fn an_endless_episode_is_cut_off_and_counted() {
    let mut env = FakeEnv::new(2);
    env.lengths = Some(vec![5, 1_000_000]);
    let evaluator = Evaluator { max_episode_steps: 50, ..evaluator(6) };
    let result = evaluator.greedy(&mut FakeLearner::new(1, 2), &mut env).unwrap();
    assert_eq!((result.cut, result.length_mean), (3, 27.5));
}

#[test]
fn bad_input_is_refused() {
    let mut learner = FakeLearner::new(1, 2);
    let mut refused = |evaluator: Evaluator| match evaluator.greedy(&mut learner, &mut FakeEnv::new(2)) {
        Err(RunError::Config(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(evaluator(0)), "episodes = 0: must be at least 1");
    let none = Evaluator { max_episode_steps: 0, ..evaluator(1) };
    assert_eq!(refused(none), "max_episode_steps = 0: must be at least 1");

    let mut env = FakeEnv::new(2);
    env.nan_from = Some(4);
    let diverged = Diverged { update: 0, term: "reward (in the evaluation)".into() };
    assert_eq!(evaluator(9).greedy(&mut learner, &mut env), Err(RunError::Diverged(diverged.clone())));
    assert_eq!(evaluator(9).random(&mut env), Err(RunError::Diverged(diverged)));
}

/// Episodes of one step, whose reward is the mean of the action: it shows what random actions are.
struct Echo {
    action: Space,
    observation: Space,
    reward: Vec<f32>,
    obs: Array2<f32>,
    end: Vec<End>,
}

impl Echo {
    fn new(action: Space, num_envs: usize) -> Self {
        let observation = Space::Discrete { n: 1 };
        let (reward, end) = (vec![0.0; num_envs], vec![End::Truncated; num_envs]);
        Echo { action, observation, reward, obs: Array2::zeros((num_envs, 1)), end }
    }
}

impl VecEnv for Echo {
    fn id(&self) -> &str {
        "Echo-v0"
    }

    fn num_envs(&self) -> usize {
        self.reward.len()
    }

    fn observation_space(&self) -> &Space {
        &self.observation
    }

    fn action_space(&self) -> &Space {
        &self.action
    }

    fn reset(&mut self, _: u64) {}

    fn step(&mut self, actions: Actions<'_>) {
        match actions {
            Actions::Discrete(actions) => {
                self.reward.iter_mut().zip(actions).for_each(|(r, &a)| *r = a as f32);
            }
            Actions::Continuous(actions) => {
                self.reward.iter_mut().zip(actions.rows()).for_each(|(r, a)| *r = a.mean().unwrap());
            }
        }
    }

    fn obs(&self) -> ArrayView2<'_, f32> {
        self.obs.view()
    }

    fn reward(&self) -> &[f32] {
        &self.reward
    }

    fn end(&self) -> &[End] {
        &self.end
    }

    fn final_obs(&self) -> ArrayView2<'_, f32> {
        self.obs.view()
    }

    fn save(&self) -> Value {
        Value::Null
    }

    fn load(&mut self, _: &Value) -> Result<(), StateError> {
        Ok(())
    }
}

#[test]
fn random_actions_are_uniform_where_there_are_bounds() {
    let play = |action: Space| evaluator(4000).random(&mut Echo::new(action, 50)).unwrap();
    let near =
        |x: f64, expected: f64, error: f64| assert!((x - expected).abs() < error, "{x}, expected {expected}");

    let discrete = play(Space::Discrete { n: 5 });
    near(discrete.return_mean, 2.0, 0.1);
    near(discrete.return_std, 2f64.sqrt(), 0.1);
    for a in 0..5 {
        let count = discrete.returns.iter().filter(|r| **r == f64::from(a)).count() as f64;
        near(count, 800.0, 130.0);
    }

    let bounded = play(Space::Box { low: vec![-1.0, 3.0], high: vec![1.0, 7.0] });
    near(bounded.return_mean, 2.5, 0.05);
    near(bounded.return_std, (5.0f64 / 12.0).sqrt(), 0.03);
    assert!(bounded.returns.iter().all(|r| (1.0..=4.0).contains(r)));

    let free = play(Space::Box { low: vec![f32::NEG_INFINITY], high: vec![f32::INFINITY] });
    near(free.return_mean, 0.0, 0.08);
    near(free.return_std, 1.0, 0.06);
}
