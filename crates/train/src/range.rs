//! What configurations are checked with: each function fails with the field, its value and its range in words.

use crate::ConfigError;
use rederive_env::VecEnv;
use std::fmt::Display;

/// A whole number in `1..=max`.
pub fn count(field: &str, value: usize, max: usize) -> Result<(), ConfigError> {
    let ok = (1..=max).contains(&value);
    if ok { Ok(()) } else { Err(ConfigError::new(field, value, format_args!("in 1..={max}"))) }
}

/// A finite number that is `ok`, which is to say `allowed`.
pub fn number(field: &str, value: f64, ok: bool, allowed: impl Display) -> Result<(), ConfigError> {
    if ok && value.is_finite() { Ok(()) } else { Err(ConfigError::new(field, value, allowed)) }
}

/// A discount, a probability, a mixture.
pub fn share(field: &str, value: f64) -> Result<(), ConfigError> {
    number(field, value, (0.0..=1.0).contains(&value), "in [0, 1]")
}

/// A step size, or a share that may not be 0.
pub fn positive_share(field: &str, value: f64) -> Result<(), ConfigError> {
    number(field, value, value > 0.0 && value <= 1.0, "in (0, 1]")
}

/// A share that may be neither 0 nor 1.
pub fn inner_share(field: &str, value: f64) -> Result<(), ConfigError> {
    number(field, value, value > 0.0 && value < 1.0, "in (0, 1)")
}

/// A weight, a norm, a divergence that may not be 0.
pub fn positive(field: &str, value: f64) -> Result<(), ConfigError> {
    number(field, value, value > 0.0, "greater than 0")
}

/// A weight that may be 0.
pub fn not_negative(field: &str, value: f64) -> Result<(), ConfigError> {
    number(field, value, value >= 0.0, "at least 0")
}

/// The steps of one rollout: 2^16 environments, 2^20 steps of each, and not more than `most` together.
pub fn rollout(num_envs: usize, num_steps: usize, most: usize) -> Result<(), ConfigError> {
    count("num_envs", num_envs, 1 << 16)?;
    count("num_steps", num_steps, 1 << 20)?;
    let samples = num_envs * num_steps;
    let allowed = format_args!("at most {most}");
    if samples <= most { Ok(()) } else { Err(ConfigError::new("num_envs * num_steps", samples, allowed)) }
}

/// As many environments as `env` has.
pub fn same_num_envs(num_envs: usize, env: &dyn VecEnv) -> Result<(), ConfigError> {
    let n = env.num_envs();
    let allowed = format_args!("{n}, the number of environments");
    if num_envs == n { Ok(()) } else { Err(ConfigError::new("num_envs", num_envs, allowed)) }
}
