use rederive_math::Real;
use std::path::{Path, PathBuf};
use std::{fmt, io};

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

impl Diverged {
    /// An error that names `term` unless all its `values` are finite.
    pub fn check<'a, F: Real>(
        update: u64,
        term: &str,
        values: impl IntoIterator<Item = &'a F>,
    ) -> Result<(), Diverged> {
        let finite = values.into_iter().all(|x| x.is_finite());
        if finite { Ok(()) } else { Err(Diverged { update, term: term.to_owned() }) }
    }
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

impl FormatError {
    /// An error in `path`, at no particular position.
    pub fn new(path: &Path, problem: impl fmt::Display) -> Self {
        FormatError { path: path.to_owned(), position: None, problem: problem.to_string() }
    }

    /// An error at `position` in `path`.
    pub fn at(path: &Path, position: impl fmt::Display, problem: impl fmt::Display) -> Self {
        FormatError {
            path: path.to_owned(),
            position: Some(position.to_string()),
            problem: problem.to_string(),
        }
    }

    /// What the operating system said when `doing` (`"can't be written"`) something with `path`.
    pub fn io(path: &Path, doing: &str, error: &io::Error) -> Self {
        FormatError::new(path, format_args!("{doing}: {error}"))
    }
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

/// What can stop a run: one of the three kinds of error, and there is no fourth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// A configuration value is outside its range.
    Config(ConfigError),
    /// A number is not finite.
    Diverged(Diverged),
    /// A file can't be read, written or understood.
    Format(FormatError),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Config(e) => e.fmt(f),
            RunError::Diverged(e) => e.fmt(f),
            RunError::Format(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            RunError::Config(e) => e,
            RunError::Diverged(e) => e,
            RunError::Format(e) => e,
        })
    }
}

impl From<ConfigError> for RunError {
    fn from(e: ConfigError) -> Self {
        RunError::Config(e)
    }
}

impl From<Diverged> for RunError {
    fn from(e: Diverged) -> Self {
        RunError::Diverged(e)
    }
}

impl From<FormatError> for RunError {
    fn from(e: FormatError) -> Self {
        RunError::Format(e)
    }
}
