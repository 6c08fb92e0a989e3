use crate::ConfigError;
use serde::{Deserialize, Serialize};

/// What a run is: all that decides its result, and the content of its `config.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// The algorithm's name.
    pub algo: String,
    /// The environment's ID.
    pub env: String,
    /// The seed of every random stream, below 2^63 (TOML has no larger integers).
    pub seed: u64,
    /// Environment steps. A run takes whole iterations: as many as fit, and at least one.
    pub steps: u64,
    /// The mean return that counts as solved, where the environment has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The algorithm's own configuration, every field written out.
    pub config: toml::Table,
}

impl RunSpec {
    /// Checks the ranges of the run's own fields; those of [`config`](Self::config) are the algorithm's to check.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.steps == 0 || self.steps > i64::MAX as u64 {
            return Err(ConfigError::new("steps", self.steps, "at least 1 and below 2^63"));
        }
        if self.seed > i64::MAX as u64 {
            return Err(ConfigError::new("seed", self.seed, "below 2^63"));
        }
        if let Some(threshold) = self.threshold.filter(|t| !t.is_finite()) {
            return Err(ConfigError::new("threshold", threshold, "finite"));
        }
        Ok(())
    }

    /// A number that changes with the algorithm, the environment, the seed or the configuration, but not with the number of
    /// steps (a run may be extended) or the threshold.
    pub fn fingerprint(&self) -> String {
        let text = format!("{}\n{}\n{}\n{}", self.algo, self.env, self.seed, self.config);
        // FNV-1a, 64 bits: against mix-ups, not against malice.
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        format!("{hash:016x}")
    }
}
