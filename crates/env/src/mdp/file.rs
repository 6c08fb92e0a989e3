use super::Mdp;
use std::{fmt, io, path::Path, path::PathBuf};

/// A finite process as a file holds it: with probabilities in single or in double precision.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyMdp {
    /// Probabilities are `f32`.
    F32(Mdp<f32>),
    /// Probabilities are `f64`.
    F64(Mdp<f64>),
}

impl AnyMdp {
    /// How many states there are, S.
    pub fn num_states(&self) -> usize {
        match self {
            AnyMdp::F32(mdp) => mdp.num_states(),
            AnyMdp::F64(mdp) => mdp.num_states(),
        }
    }

    /// The largest number of actions of a state.
    pub fn num_actions(&self) -> usize {
        match self {
            AnyMdp::F32(mdp) => mdp.num_actions(),
            AnyMdp::F64(mdp) => mdp.num_actions(),
        }
    }
}

impl From<Mdp<f32>> for AnyMdp {
    fn from(mdp: Mdp<f32>) -> Self {
        AnyMdp::F32(mdp)
    }
}

impl From<Mdp<f64>> for AnyMdp {
    fn from(mdp: Mdp<f64>) -> Self {
        AnyMdp::F64(mdp)
    }
}

/// A file that can't be read, or that holds no finite Markov decision process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MdpFileError {
    /// Which file, if it was one.
    pub path: Option<PathBuf>,
    /// Where in it, where that is known: `"line 3, column 7"`, `"array next"`.
    pub position: Option<String>,
    /// What is wrong; it names state and action where there are such.
    pub problem: String,
}

impl MdpFileError {
    pub(super) fn new(problem: impl fmt::Display) -> Self {
        MdpFileError { path: None, position: None, problem: problem.to_string() }
    }

    pub(super) fn at(position: impl fmt::Display, problem: impl fmt::Display) -> Self {
        MdpFileError { position: Some(position.to_string()), ..MdpFileError::new(problem) }
    }

    pub(super) fn io(doing: &str, error: &io::Error) -> Self {
        MdpFileError::new(format_args!("{doing}: {error}"))
    }

    pub(super) fn in_file(self, path: &Path) -> Self {
        MdpFileError { path: Some(path.to_owned()), ..self }
    }
}

impl fmt::Display for MdpFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}", path.display())?;
        }
        if let Some(position) = &self.position {
            write!(f, "{}{position}", if self.path.is_some() { ", " } else { "" })?;
        }
        let colon = if self.path.is_some() || self.position.is_some() { ": " } else { "" };
        write!(f, "{colon}{}", self.problem)
    }
}

impl std::error::Error for MdpFileError {}

/// Reads a finite process from a file: Gymnasium's `P` as JSON ([`Mdp::from_json`]) if its name ends in `.json`, arrays
/// ([`AnyMdp::from_npz`]) if it ends in `.npz`.
///
/// # Errors
/// A file that can't be read, has another ending, or holds no finite process.
pub fn read_mdp(path: &Path) -> Result<AnyMdp, MdpFileError> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    let unreadable = |error: io::Error| MdpFileError::io("can't be read", &error);
    let result = match ending.as_deref() {
        Some("json") => {
            std::fs::read(path).map_err(unreadable).and_then(|text| Mdp::from_json(&text).map(AnyMdp::F64))
        }
        Some("npz") => std::fs::File::open(path).map_err(unreadable).and_then(AnyMdp::from_npz),
        _ => Err(MdpFileError::new("must end in .json or .npz")),
    };
    result.map_err(|error| error.in_file(path))
}
