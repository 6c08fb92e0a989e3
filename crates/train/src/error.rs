use std::fmt;
use std::path::PathBuf;

/// A configuration value outside its allowed range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field, as it is written in TOML.
    pub field: String,
    /// The value that was given.
    pub value: String,
    /// What is allowed, in words: `"in (0, 1]"`.
    pub allowed: String,
}

impl ConfigError {
    /// An error for `field`, whose `value` is not `allowed`.
    pub fn new(field: &str, value: impl fmt::Display, allowed: impl fmt::Display) -> Self {
        ConfigError { field: field.to_owned(), value: value.to_string(), allowed: allowed.to_string() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: must be {}", self.field, self.value, self.allowed)
    }
}

impl std::error::Error for ConfigError {}

/// A number that must be finite is not: training can't go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diverged {
    /// The update in which it happened, counted from 1.
    pub update: u64,
    /// What was not finite: `"reward"`, `"observation"`, `"policy loss"`, ...
    pub term: String,
}

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "diverged in update {}: {} is not finite", self.update, self.term)
    }
}

impl std::error::Error for Diverged {}

/// A file that can't be read, written or understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// Which file.
    pub path: PathBuf,
    /// Where in it, where that is known: `"line 3, column 7"`, `"tensor actor.w1"`.
    pub position: Option<String>,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(position) = &self.position {
            write!(f, ", {position}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for FormatError {}
