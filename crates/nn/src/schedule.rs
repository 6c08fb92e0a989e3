//! How a hyper-parameter changes over a run.

use rederive_math::Real;
use serde::{Deserialize, Serialize};

/// Constant, or falling in a straight line to zero over the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The same throughout.
    #[default]
    Constant,
    /// Times `1 - progress`.
    Linear,
}

impl Schedule {
    /// The value at `progress` in [0, 1].
    pub fn at<F: Real>(self, initial: F, progress: F) -> F {
        match self {
            Schedule::Constant => initial,
            Schedule::Linear => initial * (F::one() - progress),
        }
    }
}
