//! What every agent shares: rollouts, the run loop and its typed events, run folders, checkpoints and statistics.

mod atomic;
mod chart;
mod checkpoint;
mod curve;
mod error;
mod evaluate;
mod event;
mod folder;
mod learner;
mod log;
mod minibatch;
mod networks;
pub mod normalize;
mod plot;
mod rollout;
mod run;
mod seeds;
mod spec;
pub mod stats;
mod summary;

pub use atomic::write_file;
pub use checkpoint::{Checkpoint, CheckpointId, FORMAT_VERSION};
pub use error::{ConfigError, Diverged, FormatError, RunError};
pub use evaluate::{Evaluation, Evaluator};
pub use event::{Event, Started, Update};
pub use folder::{CheckpointEvery, RunFolder, files};
pub use learner::{ActionBuffer, EpisodeLog, EpisodeStats, Learner, Metric, Report};
pub use minibatch::Minibatches;
pub use networks::{Init, NetworkConfig, Networks, Policy, PolicyBatch};
pub use normalize::{ObsNormalizer, RewardNormalizer};
pub use plot::{PlottedCurve, plot_runs};
pub use rollout::{ActorCritic, Collector, Rollout, encode};
pub use run::{Outcome, train};
pub use seeds::spread;
pub use spec::RunSpec;
pub use summary::Summary;
