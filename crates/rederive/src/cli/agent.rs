//! An environment and the learner for it, from what a run is.

use super::report::Failure;
use super::settings::find_algorithm;
use rederive::env::{VecEnv, make_vec};
use rederive::train::{ConfigError, Learner, RunFolder, RunSpec, files};
use std::path::Path;
use toml::Value;

pub struct Agent {
    pub learner: Box<dyn Learner>,
    pub env: Box<dyn VecEnv>,
}

/// More environments than this are a slip of the keyboard, and they have to be made before an algorithm sees them.
const MAX_ENVS: i64 = 1 << 16;

impl Agent {
    /// Builds what `spec` names; `explain` says of a wrong value where it came from.
    pub fn make(spec: &RunSpec, explain: impl Fn(&ConfigError) -> Failure) -> Result<Self, Failure> {
        let algo = find_algorithm(&spec.algo, None)?;
        let config = algo.complete(&spec.config).map_err(|e| explain(&e))?;
        let num_envs = match config.get("num_envs") {
            // An algorithm without that field steps a single environment.
            None => 1,
            Some(Value::Integer(n @ 1..=MAX_ENVS)) => *n as usize,
            Some(other) => {
                return Err(explain(&ConfigError::new("num_envs", other, format!("in 1..={MAX_ENVS}"))));
            }
        };
        let env = make_vec(&spec.env, num_envs).map_err(|e| Failure::Input(e.to_string()))?;
        let learner = algo.make(&config, &*env, spec.seed).map_err(|e| explain(&e))?;
        Ok(Agent { learner, env })
    }

    /// Builds what the folder of a run names, in its initial state.
    pub fn open(path: &Path) -> Result<(Self, RunFolder, RunSpec), Failure> {
        let (folder, spec) = RunFolder::open(path)?;
        let config = path.join(files::CONFIG);
        let agent = Agent::make(&spec, |e| Failure::Input(format!("{}: {e}", config.display())))?;
        Ok((agent, folder, spec))
    }
}
