//! What every agent shares: rollouts, the run loop and its typed events, run folders, checkpoints and statistics.

mod checkpoint;
mod error;
mod learner;

pub use checkpoint::Checkpoint;
pub use error::{ConfigError, Diverged, FormatError};
pub use learner::{ActionBuffer, EpisodeLog, EpisodeStats, Learner, Metric, Report};
