use crate::{Diverged, EpisodeStats, Metric, Summary};
use std::path::Path;

/// What the run loop tells the world, in the order in which it happens.
///
/// A run sends one [`Started`](Event::Started), then for each iteration its finished episodes and one
/// [`Update`](Event::Update), with a [`CheckpointSaved`](Event::CheckpointSaved) now and then, and ends with exactly one of
/// [`Finished`](Event::Finished), [`Interrupted`](Event::Interrupted) and [`Diverged`](Event::Diverged). A run that an
/// I/O error stops sends none of these three.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run is ready to take its first step, or the next one after a checkpoint.
    Started(Started<'a>),
    /// An episode ended.
    EpisodeEnd(EpisodeStats),
    /// An iteration is over.
    Update(Update<'a>),
    /// The folder's checkpoint is up to date.
    CheckpointSaved {
        /// The file.
        path: &'a Path,
        /// Updates done so far.
        update: u64,
        /// Environment steps taken so far.
        steps: u64,
    },
    /// The run was asked to stop; its checkpoint has been saved.
    Interrupted(&'a Summary),
    /// A number was not finite. The last good checkpoint stays.
    Diverged(&'a Diverged),
    /// All steps have been taken; every file has been written.
    Finished(&'a Summary),
}

/// What is known before the first step.
#[derive(Clone, Copy, Debug)]
pub struct Started<'a> {
    /// The algorithm's name.
    pub algo: &'a str,
    /// The environment's ID.
    pub env: &'a str,
    /// The run's seed.
    pub seed: u64,
    /// Environment steps taken before now: not 0 where a run is resumed.
    pub steps: u64,
    /// Environment steps at the end of the run: whole iterations, at most as many as asked for (but at least one).
    pub total_steps: u64,
    /// The mean return that counts as solved, where the environment has one.
    pub threshold: Option<f64>,
    /// The columns of [`Update::values`].
    pub metrics: &'static [Metric],
    /// Where the run's files are, if anywhere.
    pub run_dir: Option<&'a Path>,
}

/// What is known after an iteration.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// The number of the iteration, counted from 1.
    pub update: u64,
    /// Environment steps taken so far.
    pub steps: u64,
    /// Environment steps at the end of the run.
    pub total_steps: u64,
    /// Episodes finished so far.
    pub episodes: u64,
    /// The mean return of the last 100 episodes (fewer at the start).
    pub return_mean: Option<f64>,
    /// The mean length of the last 100 episodes (fewer at the start).
    pub length_mean: Option<f64>,
    /// The columns' names.
    pub metrics: &'static [Metric],
    /// One number per column.
    pub values: &'a [f64],
    /// Seconds spent in this run, those before an interruption included.
    pub wall_seconds: f64,
    /// Environment steps per second since this process started or resumed the run.
    pub steps_per_second: f64,
}

impl Update<'_> {
    /// The value of the metric called `name`, if the learner reports it.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics.iter().position(|m| m.name == name).and_then(|i| self.values.get(i).copied())
    }

    /// The share of the run's steps that are done, in `[0, 1]`.
    pub fn progress(&self) -> f64 {
        self.steps as f64 / self.total_steps.max(1) as f64
    }

    /// Seconds until the end at the present speed.
    pub fn seconds_left(&self) -> f64 {
        self.total_steps.saturating_sub(self.steps) as f64 / self.steps_per_second
    }
}
