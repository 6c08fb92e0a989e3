use crate::{Checkpoint, Diverged};
use ndarray::{Array2, ArrayView2, s};
use rederive_env::{Actions, Space, VecEnv};
use serde::{Deserialize, Serialize};

/// A column of the metrics log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The column's name: `approx_kl`.
    pub name: &'static str,
    /// What it means, in one sentence.
    pub meaning: &'static str,
}

/// What one iteration did. `values` are in the order of [`Learner::metrics`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Environment steps taken in this iteration.
    pub steps: u64,
    /// One number per metric.
    pub values: Vec<f64>,
}

/// An algorithm with its networks: everything the run loop needs to know of it.
///
/// An iteration collects some steps and learns from them; for PPO it is one rollout and its epochs.
pub trait Learner: Send {
    /// The algorithm's name on the command line: `"ppo"`.
    fn algo(&self) -> &'static str;

    /// The columns that [`iterate`](Self::iterate) reports.
    fn metrics(&self) -> &'static [Metric];

    /// Environment steps of one iteration.
    fn steps_per_iteration(&self) -> u64;

    /// Collects and learns once. `progress` in [0, 1) is the share of the run's steps done before this iteration, for
    /// schedules. The environment has been reset before the first call.
    fn iterate(
        &mut self,
        env: &mut dyn VecEnv,
        progress: f64,
        episodes: &mut EpisodeLog,
        report: &mut Report,
    ) -> Result<(), Diverged>;

    /// The greedy (or mean) action for each row of `obs` `[N, D]`.
    fn act_greedy(&mut self, obs: ArrayView2<'_, f32>, actions: &mut ActionBuffer);

    /// Adds everything this learner needs to go on.
    fn save(&self, checkpoint: &mut Checkpoint);

    /// Restores what [`save`](Self::save) added; the problem in words if it does not fit.
    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), String>;
}

/// Room for one action per environment, of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionBuffer {
    /// `[N]` discrete actions.
    Discrete(Vec<u32>),
    /// `[N, D]` continuous actions.
    Continuous(Array2<f32>),
}

impl ActionBuffer {
    /// Room for `num_envs` actions of `space`.
    ///
    /// # Panics
    /// If the space is `MultiDiscrete` or an image, which no environment here has for actions.
    pub fn new(space: &Space, num_envs: usize) -> Self {
        match space {
            Space::Discrete { .. } => ActionBuffer::Discrete(vec![0; num_envs]),
            Space::Box { low, .. } => ActionBuffer::Continuous(Array2::zeros((num_envs, low.len()))),
            Space::MultiDiscrete { .. } | Space::Image { .. } => {
                panic!("actions of {space:?} are not supported")
            }
        }
    }

    /// Overwrites the rows from `row` on with all rows of `from`.
    ///
    /// # Panics
    /// If they do not fit, or the kinds differ.
    pub fn copy_rows(&mut self, row: usize, from: &ActionBuffer) {
        match (self, from) {
            (ActionBuffer::Discrete(to), ActionBuffer::Discrete(from)) => {
                to[row..row + from.len()].copy_from_slice(from);
            }
            (ActionBuffer::Continuous(to), ActionBuffer::Continuous(from)) => {
                to.slice_mut(s![row..row + from.nrows(), ..]).assign(from);
            }
            _ => panic!("discrete actions against continuous ones"),
        }
    }

    /// The actions as an environment takes them.
    pub fn as_actions(&self) -> Actions<'_> {
        match self {
            ActionBuffer::Discrete(actions) => Actions::Discrete(actions),
            ActionBuffer::Continuous(actions) => Actions::Continuous(actions),
        }
    }
}

/// A finished episode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpisodeStats {
    /// Environment steps of the whole run when it ended, over all environments.
    pub step: u64,
    /// Undiscounted sum of rewards.
    pub return_: f64,
    /// Number of steps.
    pub length: u64,
}

/// Adds up rewards per environment and keeps the finished episodes until the run loop takes them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpisodeLog {
    /// Return and length of the running episodes.
    running: Vec<(f64, u64)>,
    /// Empty whenever a checkpoint is saved.
    #[serde(skip)]
    finished: Vec<EpisodeStats>,
    count: u64,
}

impl EpisodeLog {
    /// A log for `num_envs` environments.
    pub fn new(num_envs: usize) -> Self {
        EpisodeLog { running: vec![(0.0, 0); num_envs], ..Default::default() }
    }

    /// How many environments it follows.
    pub fn num_envs(&self) -> usize {
        self.running.len()
    }

    /// Records the reward of environment `n`, and the end of its episode where `done`; `step` counts all environments.
    #[inline]
    pub fn record(&mut self, n: usize, reward: f32, done: bool, step: u64) {
        let (return_, length) = &mut self.running[n];
        *return_ += f64::from(reward);
        *length += 1;
        if done {
            let episode = EpisodeStats { step, return_: *return_, length: *length };
            (*return_, *length) = (0.0, 0);
            self.finish(episode);
        }
    }

    /// The return and length so far of the running episode of environment `n`: a loop may take over the adding up, if it
    /// [finishes](Self::finish) episodes itself and puts what is left [back](Self::set_running).
    pub fn running(&self, n: usize) -> (f64, u64) {
        self.running[n]
    }

    /// Replaces the return and length so far of environment `n`.
    pub fn set_running(&mut self, n: usize, running: (f64, u64)) {
        self.running[n] = running;
    }

    /// Adds a finished episode.
    pub fn finish(&mut self, episode: EpisodeStats) {
        self.count += 1;
        self.finished.push(episode);
    }

    /// Episodes finished in the whole run.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes the episodes that finished since the last call.
    pub fn drain(&mut self) -> std::vec::Drain<'_, EpisodeStats> {
        self.finished.drain(..)
    }
}
