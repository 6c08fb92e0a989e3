use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a run went: the content of `summary.json` and of the command's `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The algorithm's name.
    pub algo: String,
    /// The environment's ID.
    pub env: String,
    /// The run's seed.
    pub seed: u64,
    /// Environment steps taken.
    pub steps: u64,
    /// Seconds that they took, learning and logging included.
    pub wall_seconds: f64,
    /// `steps / wall_seconds`.
    pub steps_per_second: f64,
    /// Episodes finished.
    pub episodes: u64,
    /// The mean return of the last 100 episodes (of all, if there are fewer); `null` without any.
    pub final_return_mean: Option<f64>,
    /// The best mean return of any 100 successive episodes (of all, if there are fewer); `null` without any.
    pub best_return_mean: Option<f64>,
    /// The step at which the mean return of 100 successive episodes first reached the environment's threshold; `null` where
    /// it did not, or where there is no threshold.
    pub first_step_at_threshold: Option<u64>,
    /// The run's folder; `null` where nothing was written.
    pub run_dir: Option<PathBuf>,
}
