//! A small environment and a small learner, whose every number depends on everything before it: whatever a checkpoint forgets
//! shows in the next row.

#![allow(dead_code)] // Each test file uses its part of it.

use ndarray::{Array2, ArrayView2};
use rederive_env::{Actions, End, Space, StateError, Stream, VecEnv};
use rederive_train::{ActionBuffer, Checkpoint, Diverged, EpisodeLog, Learner, Metric, Report, RunSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENV: &str = "Fake-v0";

/// Walks on a line; the reward is the action's agreement with the position. Episodes last 3 to 12 steps, or as long as
/// `lengths` says, per environment.
#[derive(Clone)]
pub struct FakeEnv {
    observation: Space,
    action: Space,
    state: State,
    reward: Vec<f32>,
    end: Vec<End>,
    final_obs: Array2<f32>,
    obs: Array2<f32>,
    pub lengths: Option<Vec<u32>>,
    /// From this step of the whole run on, rewards are NaN.
    pub nan_from: Option<u64>,
}

#[derive(Clone, Serialize, Deserialize)]
struct State {
    streams: Vec<Stream>,
    position: Vec<f32>,
    left: Vec<u32>,
    steps: u64,
}

impl FakeEnv {
    pub fn new(num_envs: usize) -> Self {
        FakeEnv {
            observation: Space::Box { low: vec![-9.0; 2], high: vec![9.0; 2] },
            action: Space::Discrete { n: 2 },
            state: State {
                streams: vec![],
                position: vec![0.0; num_envs],
                left: vec![1; num_envs],
                steps: 0,
            },
            reward: vec![0.0; num_envs],
            end: vec![End::No; num_envs],
            final_obs: Array2::zeros((num_envs, 2)),
            obs: Array2::zeros((num_envs, 2)),
            lengths: None,
            nan_from: None,
        }
    }

    fn begin(&mut self, n: usize) {
        let stream = &mut self.state.streams[n];
        self.state.position[n] = stream.uniform(-1.0, 1.0) as f32;
        let random = 3 + stream.below(10);
        self.state.left[n] = self.lengths.as_ref().map_or(random, |l| l[n]);
    }

    fn look(&mut self) {
        for (n, &x) in self.state.position.iter().enumerate() {
            (self.obs[[n, 0]], self.obs[[n, 1]]) = (x, x * x);
        }
    }
}

impl VecEnv for FakeEnv {
    fn id(&self) -> &str {
        ENV
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

    fn reset(&mut self, seed: u64) {
        let n = self.num_envs();
        self.state.streams = (0..n as u64).map(|i| Stream::new(seed, "fake", i)).collect();
        self.state.steps = 0;
        (0..n).for_each(|n| self.begin(n));
        self.look();
    }

    fn step(&mut self, actions: Actions<'_>) {
        let Actions::Discrete(actions) = actions else { panic!("discrete actions") };
        for (n, &action) in actions.iter().enumerate() {
            self.state.steps += 1;
            let push = if action == 1 { 0.1 } else { -0.1 };
            let noise = 0.05 * self.state.streams[n].normal() as f32;
            let x = (self.state.position[n] + push + noise).clamp(-9.0, 9.0);
            let nan = self.nan_from.is_some_and(|from| self.state.steps >= from);
            self.reward[n] = if nan { f32::NAN } else { 1.0 - (x - 0.5).abs() };
            self.state.position[n] = x;
            self.state.left[n] -= 1;
            self.end[n] = if self.state.left[n] == 0 { End::Terminated } else { End::No };
            if self.end[n].done() {
                (self.final_obs[[n, 0]], self.final_obs[[n, 1]]) = (x, x * x);
                self.begin(n);
            }
        }
        self.look();
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
        self.final_obs.view()
    }

    fn save(&self) -> Value {
        serde_json::to_value(&self.state).unwrap()
    }

    fn load(&mut self, state: &Value) -> Result<(), StateError> {
        let state = State::deserialize(state).map_err(|e| StateError(e.to_string()))?;
        if state.position.len() != self.num_envs() {
            return Err(StateError(format!("{} environments", state.position.len())));
        }
        self.state = state;
        self.look();
        Ok(())
    }
}

/// Takes five steps in each environment per iteration and lets its parameters drift with what it sees.
#[derive(Clone)]
pub struct FakeLearner {
    pub weights: Vec<f32>,
    rng: Stream,
    pub update: u64,
    steps: u64,
    num_envs: usize,
    /// The update in which it says that it diverged.
    pub diverge_at: Option<u64>,
    /// The update after which a weight is NaN without its noticing.
    pub poison_at: Option<u64>,
}

pub const ROLLOUT: u64 = 5;

impl FakeLearner {
    pub fn new(seed: u64, num_envs: usize) -> Self {
        let mut rng = Stream::new(seed, "fake learner", 0);
        let weights = (0..8).map(|_| rng.normal() as f32).collect();
        FakeLearner { weights, rng, update: 0, steps: 0, num_envs, diverge_at: None, poison_at: None }
    }

    fn score(&self, x: f32) -> f32 {
        self.weights.iter().rev().fold(0.0, |sum, w| 0.3 * sum * x + w)
    }
}

impl Learner for FakeLearner {
    fn algo(&self) -> &'static str {
        "fake"
    }

    fn metrics(&self) -> &'static [Metric] {
        &[
            Metric { name: "weight", meaning: "The first weight." },
            Metric { name: "progress", meaning: "The share of the run that was done." },
            Metric { name: "odd", meaning: "Not finite in every second update." },
        ]
    }

    fn steps_per_iteration(&self) -> u64 {
        ROLLOUT * self.num_envs as u64
    }

    fn iterate(
        &mut self,
        env: &mut dyn VecEnv,
        progress: f64,
        episodes: &mut EpisodeLog,
        report: &mut Report,
    ) -> Result<(), Diverged> {
        self.update += 1;
        if self.diverge_at == Some(self.update) {
            return Err(Diverged { update: self.update, term: "fake loss".to_owned() });
        }
        let mut actions = vec![0; self.num_envs];
        for _ in 0..ROLLOUT {
            for (n, action) in actions.iter_mut().enumerate() {
                let score = self.score(env.obs()[[n, 0]]);
                *action = u32::from(self.rng.unit() < f64::from(1.0 / (1.0 + (-score).exp())));
            }
            env.step(Actions::Discrete(&actions));
            self.steps += self.num_envs as u64;
            for n in 0..self.num_envs {
                episodes.record(n, env.reward()[n], env.end()[n].done(), self.steps);
            }
            let reward: f32 = env.reward().iter().sum();
            let step = 0.01 * (1.0 - progress) as f32 * reward;
            self.weights.iter_mut().enumerate().for_each(|(i, w)| *w = 0.999 * *w + step / (1 + i) as f32);
        }
        if self.poison_at == Some(self.update) {
            self.weights[3] = f32::NAN;
        }
        report.steps = self.steps_per_iteration();
        let odd = if self.update % 2 == 1 { f64::NAN } else { f64::NEG_INFINITY };
        report.values = vec![f64::from(self.weights[0]), progress, odd];
        Ok(())
    }

    fn act_greedy(&mut self, obs: ArrayView2<'_, f32>, actions: &mut ActionBuffer) {
        let ActionBuffer::Discrete(actions) = actions else { panic!("discrete actions") };
        for (action, row) in actions.iter_mut().zip(obs.rows()) {
            *action = u32::from(self.score(row[0]) > 0.0);
        }
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put_tensor("weights", &self.weights);
        checkpoint.put("fake", &(&self.rng, self.update, self.steps));
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        checkpoint.get_tensor("weights", &mut self.weights)?;
        (self.rng, self.update, self.steps) = checkpoint.get("fake")?;
        Ok(())
    }
}

pub fn spec(seed: u64, steps: u64) -> RunSpec {
    let config = toml::from_str("num_envs = 3\nlearning_rate = 0.01\n").unwrap();
    RunSpec { algo: "fake".into(), env: ENV.into(), seed, steps, threshold: Some(3.0), config }
}
