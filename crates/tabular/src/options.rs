use rederive_train::ConfigError;
use std::fmt;

/// What every solver wants to know.
///
/// | field | default | range | meaning |
/// |---|---|---|---|
/// | `gamma` | | [0, 1) or 1 | the discount; 1 only for a process that ends under every policy |
/// | `tol` | 1e-6 | above 0 | how far from the truth any value may be, at most |
/// | `max_iterations` | 100 million | from 1 | after how many iterations to give up |
/// | `threads` | 1 | from 1 | how many threads share a sweep; results do not depend on it |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The discount.
    pub gamma: f64,
    /// The largest error of a value that is allowed.
    pub tol: f64,
    /// After how many iterations to give up.
    pub max_iterations: u64,
    /// How many threads share a sweep.
    pub threads: usize,
}

impl Options {
    /// The defaults, for the discount `gamma`.
    pub fn new(gamma: f64) -> Self {
        Options { gamma, tol: 1e-6, max_iterations: 100_000_000, threads: 1 }
    }

    /// The first field that is out of its range.
    pub(crate) fn validate(&self) -> Result<(), SolveError> {
        if !(0.0..=1.0).contains(&self.gamma) {
            return Err(config("gamma", self.gamma, "in [0, 1]"));
        }
        if !(self.tol > 0.0 && self.tol.is_finite()) {
            return Err(config("tol", self.tol, "a finite number above 0"));
        }
        if self.max_iterations == 0 {
            return Err(config("max_iterations", 0, "1 or more"));
        }
        if !(1..=1024).contains(&self.threads) {
            return Err(config("threads", self.threads, "in 1..=1024"));
        }
        Ok(())
    }
}

pub(crate) fn config(field: &str, value: impl fmt::Display, allowed: impl fmt::Display) -> SolveError {
    SolveError::Config(ConfigError::new(field, value, allowed))
}

/// Why there is no solution.
#[derive(Clone, Debug, PartialEq)]
pub enum SolveError {
    /// A field out of its range.
    Config(ConfigError),
    /// The discount is 1, and some policy never ends the episode.
    NeverEnds {
        /// A state from which the episode can be kept going for ever...
        state: usize,
        /// ... beginning with this action.
        action: usize,
    },
    /// The iterations ran out.
    MaxIterations {
        /// How many there were.
        iterations: u64,
        /// The error bound that was reached.
        error_bound: f64,
        /// The error bound that was wanted.
        tol: f64,
    },
}

impl fmt::Display for SolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SolveError::Config(error) => error.fmt(f),
            SolveError::NeverEnds { state, action } => write!(
                f,
                "gamma = 1: must be below 1, because some policy never ends the episode (from state {state}, action \
                 {action} goes on for ever)"
            ),
            SolveError::MaxIterations { iterations, error_bound, tol } => write!(
                f,
                "after max_iterations = {iterations} the error may still be {error_bound:.3e}, and tol = {tol:e} was wanted"
            ),
        }
    }
}

impl std::error::Error for SolveError {}

impl From<ConfigError> for SolveError {
    fn from(error: ConfigError) -> Self {
        SolveError::Config(error)
    }
}
